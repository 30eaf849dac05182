// Entries of gemm_wgmma.cu for the host; the tile's width is that of the first entry.
#define TWEELING_HOST
#include ENTRY_SOURCE

namespace {

TensorMap map_of(const void* base, i64 ld, i64 batch_stride, int n_batches, int inner, int outer,
                 int outer_box) {
    return {static_cast<const u16*>(base),
            {inner, outer, n_batches},
            {1, ld, batch_stride},
            {64, outer_box, 1}};
}

}  // namespace

// As on a device, a persistent block goes through several tiles: three blocks are launched at most.
extern "C" int run(int entry, const GemmArguments* arguments, const emulator::Grid* grid) {
    const GemmArguments& g = *arguments;
    const char* layout = &ENTRY_LAYOUTS[2 * entry];
    const bool is_a_transposed = layout[0] == 't';
    const bool is_b_transposed = layout[1] == 't';
    const TensorMap a_map =
        is_a_transposed
            ? map_of(g.a, g.a_ld, g.a_batch_stride, g.n_batches, g.m, g.k, 64)
            : map_of(g.a, g.a_ld, g.a_batch_stride, g.n_batches, g.k, g.m, TILE_M);
    const TensorMap b_map =
        is_b_transposed
            ? map_of(g.b, g.b_ld, g.b_batch_stride, g.n_batches, g.k, g.n, TILE_N)
            : map_of(g.b, g.b_ld, g.b_batch_stride, g.n_batches, g.n, g.k, 64);
    emulator::Grid persistent = *grid;
    const int n_all = grid->n_blocks * grid->n_batches;
    persistent.n_blocks = n_all < 3 ? n_all : 3;
    persistent.n_batches = 1;
    return emulator::launch(persistent, [&] {
        switch (entry) {
            ENTRY_CASES
            default: ENTRY_NAME(a_map, b_map, g);
        }
    });
}
