// Entries of gemm_simt.cu, gemm_mma.cu and gemm_mfma.cu for the host, one library for each source.
#define TWEELING_HOST
#include ENTRY_SOURCE

#include "index_functions.h"

// The source gives the first entry; the others are instances of the same template.
extern "C" int run(int entry, const GemmArguments* arguments, const emulator::Grid* grid) {
    const GemmArguments& g = *arguments;
    return emulator::launch(*grid, [&] {
        switch (entry) {
            ENTRY_CASES
            default: ENTRY_NAME(g);
        }
    });
}
