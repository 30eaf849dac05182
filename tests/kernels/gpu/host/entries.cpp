// Entries of one source for the host, in one library.
#define TWEELING_HOST
#include ENTRY_SOURCE

extern "C" int run(int entry, const ENTRY_ARGUMENTS* arguments, const emulator::Grid* grid) {
    const ENTRY_ARGUMENTS& g = *arguments;
    return emulator::launch(*grid, [&] {
        PORT_DYNAMIC_SHARED(shared);
        switch (entry) {
            ENTRY_CASES
            default: ENTRY_NAME(g);
        }
    });
}
