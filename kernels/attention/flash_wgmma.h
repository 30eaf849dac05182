// What the flash-attention kernels for Hopper share: tiles that the copy engine brings, their
// descriptors, rings of them, and rows of sums.
//
// A tile of DIM columns is a row of boxes of 64 columns, 128 bytes wide, which is the swizzle's
// width. Whatever lies outside a sequence or behind its head dim arrives as zeros.
#pragma once

#include "port_sm90.h"

#include "flash_call.h"
#include "matrix_fragments.h"
#include "quads.h"

constexpr int GROUP_THREADS = 128;
constexpr int CONSUMERS = 2;
constexpr int BLOCK_THREADS = GROUP_THREADS * (1 + CONSUMERS);
constexpr int READER_WARPS = CONSUMERS * GROUP_THREADS / 32;
constexpr int GROUP_ROWS = 64;  // of one product of a warp group

PORT_DEVICE int group_index() { return static_cast<int>(thread_index()) / GROUP_THREADS; }
PORT_DEVICE int group_thread() { return static_cast<int>(thread_index()) % GROUP_THREADS; }

template <int DIM, int ROWS>
struct BoxedTile {
    static constexpr u32 BOX_BYTES = ROWS * 128;
    static constexpr u32 BYTES = DIM / 64 * BOX_BYTES;

    // The barrier counts the bytes of all boxes.
    PORT_DEVICE static void copy(unsigned char* to, const TensorMap* map, u64* barrier, int row,
                                 int head, int batch) {
        PORT_UNROLL
        for (int i = 0; i < DIM / 64; ++i) {
            tensor_copy(to + i * BOX_BYTES, map, barrier, i * 64, row, head, batch);
        }
    }
    // Lines of a product from `row` on, depths 16 step to that plus 15: both as they lie.
    PORT_DEVICE static u64 along(u32 address, int row, int step) {
        return wgmma_descriptor(address + step / 4 * BOX_BYTES + row * 128 +
                                    step % 4 * wgmma_part_bytes(true),
                                0);
    }
    // The other way round: depths are rows from 16 step on, and lines are columns from 64 box on.
    PORT_DEVICE static u64 across(u32 address, int box, int step) {
        return wgmma_descriptor(address + box * BOX_BYTES + step * wgmma_part_bytes(false),
                                BOX_BYTES);
    }
};

// A place in a ring of STAGES; its parity flips with every round.
template <int STAGES>
struct RingPlace {
    int stage = 0;
    u32 parity = 0;

    PORT_DEVICE void advance() {
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        parity ^= stage == 0 ? 1u : 0u;
    }
};

// Tiles on their way from one thread that copies to the warp groups that multiply.
template <int STAGES>
struct TileRing {
    unsigned char* tiles;
    u64* full;
    u64* empty;

    PORT_DEVICE void init(int n_writers) const {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + stage, n_writers);
            barrier_init(empty + stage, READER_WARPS);
        }
    }
    // In the first round nobody has emptied anything: the phase before counts as over.
    PORT_DEVICE void await_empty(const RingPlace<STAGES>& place) const {
        barrier_wait(empty + place.stage, place.parity ^ 1u);
    }
    PORT_DEVICE u64* expect(const RingPlace<STAGES>& place, u32 n_bytes) const {
        barrier_expect(full + place.stage, n_bytes);
        return full + place.stage;
    }
    PORT_DEVICE void await(const RingPlace<STAGES>& place) const {
        barrier_wait(full + place.stage, place.parity);
    }
    PORT_DEVICE void release(const RingPlace<STAGES>& place) const {
        if (lane_index() == 0) {
            barrier_arrive(empty + place.stage);
        }
    }
};

// Tiles begin at multiples of eight rows of the swizzle, because it turns bits of their address.
PORT_DEVICE unsigned char* first_tile(unsigned char* memory) {
    return memory + (1024u - shared_address(memory) % 1024u) % 1024u;
}

// Of a thread's row `half` of sums N columns wide, what lies outside columns first to last.
template <int N>
PORT_DEVICE void cut(float (&sums)[N / 2], int half, int first, int last, float value) {
    const int thread = group_thread();
    PORT_UNROLL
    for (int i = 2 * half; i < N / 2; i += 4) {
        PORT_UNROLL
        for (int e = 0; e < 2; ++e) {
            const int column = wgmma_column(thread, i + e);
            if (column < first || column > last) {
                sums[i + e] = value;
            }
        }
    }
}

// sums = rows of `left` times rows of `right`: both run along the head dim.
template <class T, class Left, class Right, int DIM, int N>
PORT_DEVICE void multiply_lines(float (&sums)[N / 2], u32 left, int left_row, u32 right) {
    PORT_UNROLL
    for (int step = 0; step < DIM / 16; ++step) {
        WarpGroupProduct<T, N>::template add<true, true>(
            sums, Left::along(left, left_row, step), Right::along(right, 0, step),
            step == 0 ? 0u : 1u);
    }
}

// sums += weights times the rows of `right`, which the weights run along.
template <class T, class Right, int N, int STEPS>
PORT_DEVICE void multiply_weights(float (&sums)[N / 2], const u32 (&weights)[STEPS][4], u32 right) {
    PORT_UNROLL
    for (int step = 0; step < STEPS; ++step) {
        WarpGroupProduct<T, N>::template add_rows<false>(
            sums, weights[step], Right::across(right, 0, step), 1u);
    }
}

// Sums become the first operand of a product in place: a thread holds the same rows and columns.
template <class T, int N, int STEPS>
PORT_DEVICE void pack_weights(u32 (&to)[STEPS][4], const float (&from)[N]) {
    static_assert(STEPS * 8 == N, "16 columns a step");
    PORT_UNROLL
    for (int step = 0; step < STEPS; ++step) {
        PORT_UNROLL
        for (int i = 0; i < 4; ++i) {
            to[step][i] = pack<T>(from[step * 8 + 2 * i], from[step * 8 + 2 * i + 1]);
        }
    }
}

// Writes a warp group's 64 rows by chunks of 16 bytes: sums times a factor for each half of a thread's
// rows. Rows are whole chunks long.
template <class T, int N>
PORT_DEVICE void store_sums(T* base, i64 row_stride, int first_row, int n_rows, int n_columns,
                            const float (&sums)[N], const float (&factor)[2]) {
    PORT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first_row + wgmma_row(group_thread(), 2 * half);
        PORT_UNROLL
        for (int i = 0; i < N; i += 16) {
            Chunk chunk;
            PORT_UNROLL
            for (int w = 0; w < 4; ++w) {
                const int at = i + 4 * w + 2 * half;
                chunk.word[w] = pack<T>(sums[at] * factor[half], sums[at + 1] * factor[half]);
            }
            exchange_in_fours(chunk.word);
            const int column = 2 * i + lane_index() % 4 * 8;
            if (row < n_rows && column < n_columns) {
                *reinterpret_cast<Chunk*>(base + row * row_stride + column) = chunk;
            }
        }
    }
}
