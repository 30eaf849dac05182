// Entries of one source for the host, in one library.
#define TWEELING_HOST
#include ENTRY_SOURCE

// ENTRY_MAP is TensorMap where the source reads through such maps.
extern "C" int run(int entry, const ENTRY_ARGUMENTS* arguments, const ENTRY_MAP* maps,
                   const emulator::Grid* grid) {
    const ENTRY_ARGUMENTS& g = *arguments;
    return emulator::launch(*grid, [&] {
        PORT_DYNAMIC_SHARED(shared);
        switch (entry) { ENTRY_CASES }
    });
}
