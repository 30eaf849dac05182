// GEMM for Hopper (sm_90a): bf16 and fp16 with fp32 sums, at the rate of its tensor cores.
//
// Blocks are persistent, one on each multiprocessor. One warp group copies: tensor maps made on the
// host bring boxes of both operands, swizzled, into a ring of stages. Two warp groups multiply 64 rows
// each of a tile of 128 x 128, 192 or 256, straight from shared memory. Barriers in shared memory
// count bytes that arrive (full) and warps that are done (empty); the copies of the next tile run
// while this one is stored. Boxes are zero outside the matrices, and stores are guarded.
#include "port.h"

#include "port_sm90.h"
#include "tiles.h"
#include "wgmma_store.h"

namespace {

constexpr int TILE_M = 128;
constexpr int TILE_N = ENTRY_TILE_N;
constexpr int DEPTH = 64;  // 128 bytes, the width of the swizzle
constexpr int GROUP = 8;
constexpr int BOX_BYTES = 64 * DEPTH * 2;  // of 64 lines
constexpr int A_BYTES = TILE_M / 64 * BOX_BYTES;
constexpr int B_BYTES = TILE_N / 64 * BOX_BYTES;
constexpr int STAGE_BYTES = A_BYTES + B_BYTES;
constexpr int STAGES = 196608 / STAGE_BYTES;  // four, or six of narrow tiles, within 192 KiB
constexpr int CONSUMER_WARPS = 8;

// A place in the ring; its parity flips with every round.
struct Place {
    int stage = 0;
    u32 parity = 0;

    PORT_DEVICE void advance() {
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        parity ^= stage == 0 ? 1u : 0u;
    }
};

struct Ring {
    unsigned char* stages;
    u64* full;
    u64* empty;
};

// The tiles of one persistent block.
struct Work {
    int n_rows;
    int n_columns;
    int n_all;

    PORT_DEVICE explicit Work(const GemmArguments& g)
        : n_rows(n_tiles(g.m, TILE_M)),
          n_columns(n_tiles(g.n, TILE_N)),
          n_all(n_rows * n_columns * g.n_batches) {}
    PORT_DEVICE int batch(int index) const { return index / (n_rows * n_columns); }
    PORT_DEVICE TileIndex tile(int index) const {
        return tile_of(index % (n_rows * n_columns), n_rows, n_columns, GROUP);
    }
};

// Along k one box holds all lines; across k, boxes of 64 lines lie one after the other.
template <bool ALONG_K>
PORT_DEVICE void copy_operand(unsigned char* to, const TensorMap* map, u64* barrier, int first_line,
                              int n_lines, int first_depth, int batch) {
    if constexpr (ALONG_K) {
        tensor_copy(to, map, barrier, first_depth, first_line, batch);
    } else {
        PORT_UNROLL
        for (int i = 0; i < n_lines / 64; ++i) {
            tensor_copy(to + i * BOX_BYTES, map, barrier, first_line + i * 64, first_depth, batch);
        }
    }
}

template <bool A_ALONG_K, bool B_ALONG_K>
PORT_DEVICE void produce(const Ring& ring, const TensorMap* a_map, const TensorMap* b_map,
                         const GemmArguments& g) {
    const Work work(g);
    const int n_slices = n_tiles(g.k, DEPTH);
    Place place;
    for (int index = static_cast<int>(block_index()); index < work.n_all;
         index += static_cast<int>(n_blocks())) {
        const TileIndex tile = work.tile(index);
        const int batch = work.batch(index);
        for (int slice = 0; slice < n_slices; ++slice) {
            u64* full = ring.full + place.stage;
            unsigned char* stage = ring.stages + place.stage * STAGE_BYTES;
            // In the first round nobody has emptied anything: the phase before counts as over.
            barrier_wait(ring.empty + place.stage, place.parity ^ 1u);
            barrier_expect(full, STAGE_BYTES);
            copy_operand<A_ALONG_K>(
                stage, a_map, full, tile.row * TILE_M, TILE_M, slice * DEPTH, batch);
            copy_operand<B_ALONG_K>(
                stage + A_BYTES, b_map, full, tile.column * TILE_N, TILE_N, slice * DEPTH, batch);
            place.advance();
        }
    }
}

// What a product reads of a stage, from `address` on and 16 depths on for each part.
template <bool ALONG_K>
PORT_DEVICE u64 part_descriptor(u32 address, int part) {
    return wgmma_descriptor(
        address + part * wgmma_part_bytes(ALONG_K), ALONG_K ? 0u : BOX_BYTES);
}

PORT_DEVICE void release(const Ring& ring, int stage) {
    if (thread_index() % 32 == 0) {
        barrier_arrive(ring.empty + stage);
    }
}

template <class T, bool A_ALONG_K, bool B_ALONG_K>
PORT_DEVICE void multiply(
    float (&sum)[TILE_N / 2], const Ring& ring, Place& place, int n_slices, int consumer) {
    int before = 0;
    product_pin(sum);
    for (int slice = 0; slice < n_slices; ++slice) {
        const u32 stage = shared_address(ring.stages + place.stage * STAGE_BYTES);
        barrier_wait(ring.full + place.stage, place.parity);
        product_fence();
        PORT_UNROLL
        for (int part = 0; part < DEPTH / 16; ++part) {
            WarpGroupProduct<T, TILE_N>::template add<A_ALONG_K, B_ALONG_K>(
                sum, part_descriptor<A_ALONG_K>(stage + consumer * BOX_BYTES, part),
                part_descriptor<B_ALONG_K>(stage + A_BYTES, part),
                slice == 0 && part == 0 ? 0u : 1u);
        }
        product_commit();
        if (slice > 0) {
            product_wait<1>();  // the slice before is done; this one goes on
            release(ring, before);
        }
        before = place.stage;
        place.advance();
    }
    product_wait<0>();
    product_pin(sum);
    if (n_slices > 0) {
        release(ring, before);
    }
}

template <class T, bool A_ALONG_K, bool B_ALONG_K>
PORT_DEVICE void consume(const Ring& ring, const GemmArguments& g, int consumer) {
    const Work work(g);
    Place place;
    for (int index = static_cast<int>(block_index()); index < work.n_all;
         index += static_cast<int>(n_blocks())) {
        const TileIndex tile = work.tile(index);
        float sum[TILE_N / 2] = {};
        multiply<T, A_ALONG_K, B_ALONG_K>(sum, ring, place, n_tiles(g.k, DEPTH), consumer);
        store_sums<T, TILE_N>(g, sum, work.batch(index), tile.row * TILE_M + consumer * 64,
                              tile.column * TILE_N);
    }
}

template <class T, bool TRANSPOSE_A, bool TRANSPOSE_B>
PORT_DEVICE void gemm(const TensorMap& a_map, const TensorMap& b_map, const GemmArguments& g) {
    PORT_DYNAMIC_SHARED(memory);
    // The swizzle turns bits of the address, so stages begin at multiples of eight of its rows.
    unsigned char* stages = memory + (1024u - shared_address(memory) % 1024u) % 1024u;
    u64* barriers = reinterpret_cast<u64*>(stages + STAGES * STAGE_BYTES);
    const Ring ring{stages, barriers, barriers + STAGES};
    if (thread_index() == 0) {
        tensor_prefetch(&a_map);
        tensor_prefetch(&b_map);
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(ring.full + stage, 1);
            barrier_init(ring.empty + stage, CONSUMER_WARPS);
        }
        barrier_publish();
    }
    block_barrier();
    const int warp_group = static_cast<int>(thread_index()) / 128;
    if (warp_group == 0) {
        registers_give<40>();
        if (thread_index() == 0) {
            produce<!TRANSPOSE_A, TRANSPOSE_B>(ring, &a_map, &b_map, g);
        }
    } else {
        registers_take<232>();
        consume<T, !TRANSPOSE_A, TRANSPOSE_B>(ring, g, warp_group - 1);
    }
}

}  // namespace

PORT_KERNEL(384, 1)
ENTRY_NAME(const PORT_GRID_CONSTANT TensorMap a_map, const PORT_GRID_CONSTANT TensorMap b_map,
           const GemmArguments g) {
    gemm<ENTRY_TYPE, ENTRY_TRANSPOSE_A, ENTRY_TRANSPOSE_B>(a_map, b_map, g);
}
