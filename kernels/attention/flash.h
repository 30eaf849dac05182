// What the flash-attention kernels for mma.sync share: tiles in shared memory, operands and products
// of tensor cores.
#pragma once

#include "flash_call.h"

// Rows of DIM elements of 16 bits in shared memory. Eight rows of one 16-byte chunk lie in eight
// different groups of four banks, so that neither ldmatrix nor its transposed form conflicts.
template <int DIM>
struct SharedRows {
    static constexpr int CHUNKS = DIM / 8;

    PORT_DEVICE static constexpr int place(int row, int chunk) {
        return row * DIM * 2 + ((chunk ^ (row & 7)) << 4);
    }
    PORT_DEVICE static constexpr int n_bytes(int n_rows) { return n_rows * DIM * 2; }
};

// Starts the copy of ROWS rows of a sequence from `first` on; beyond its end come zeros.
template <int DIM, int ROWS, int THREADS, class T>
PORT_DEVICE void fetch_rows(unsigned char* tile, const T* base, i64 row_stride, int first,
                            int n_rows, int n_columns) {
    using Shared = SharedRows<DIM>;
    PORT_UNROLL
    for (int i = 0; i < n_parts(ROWS * Shared::CHUNKS, THREADS); ++i) {
        const int index = static_cast<int>(thread_index()) + i * THREADS;
        const int row = index / Shared::CHUNKS;
        const int chunk = index % Shared::CHUNKS;
        if (ROWS * Shared::CHUNKS % THREADS != 0 && row >= ROWS) {
            break;
        }
        const bool is_inside = first + row < n_rows && chunk * 8 < n_columns;
        const T* from = base + (is_inside ? (first + row) * row_stride + chunk * 8 : 0);
        copy_async(tile + Shared::place(row, chunk), from, is_inside ? 16u : 0u);
    }
}

// First operand of a product: 16 rows from `row` on, depths 16 step to that plus 15.
template <int DIM>
PORT_DEVICE void load_rows(u32 (&to)[4], const unsigned char* tile, int row, int step) {
    const int lane = lane_index();
    load_matrix_x4(to, tile + SharedRows<DIM>::place(row + lane % 16, 2 * step + lane / 16));
}

// Second operand, 16 columns of the product from `row` on: each is a row of the tile.
// Registers 0 and 1 are for the first eight columns, 2 and 3 for the others.
template <int DIM>
PORT_DEVICE void load_columns(u32 (&to)[4], const unsigned char* tile, int row, int step) {
    const int lane = lane_index();
    const int line = row + lane / 16 * 8 + lane % 8;
    load_matrix_x4(to, tile + SharedRows<DIM>::place(line, 2 * step + lane / 8 % 2));
}

// Second operand whose depth runs down the rows of the tile: 16 rows from `row` on, columns
// 16 step to that plus 15.
template <int DIM>
PORT_DEVICE void load_depths(u32 (&to)[4], const unsigned char* tile, int row, int step) {
    const int lane = lane_index();
    load_matrix_x4_transposed(
        to, tile + SharedRows<DIM>::place(row + lane % 16, 2 * step + lane / 16));
}

PORT_DEVICE void multiply_add(Bf16, float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    mma_bf16(d, a, b_0, b_1);
}
PORT_DEVICE void multiply_add(Fp16, float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    mma_fp16(d, a, b_0, b_1);
}

// Results of two neighbouring products become the first operand of the next one, in place: a lane
// holds the same rows and columns of both.
template <class T>
PORT_DEVICE void pack_operand(u32 (&to)[4], const float (&left)[4], const float (&right)[4]) {
    to[0] = pack<T>(left[0], left[1]);
    to[1] = pack<T>(left[2], left[3]);
    to[2] = pack<T>(right[0], right[1]);
    to[3] = pack<T>(right[2], right[3]);
}

template <int N>
PORT_DEVICE void clear(float (&sums)[N][4]) {
    PORT_UNROLL
    for (int n = 0; n < N; ++n) {
        PORT_UNROLL
        for (int i = 0; i < 4; ++i) {
            sums[n][i] = 0.0f;
        }
    }
}

// One step of the sums below: 16 columns of the head dim.
template <class T, int DIM, int N>
PORT_DEVICE void multiply_step(float (&sums)[N][4], const unsigned char* left, int left_row,
                               const unsigned char* right, int step) {
    u32 a[4];
    load_rows<DIM>(a, left, left_row, step);
    PORT_UNROLL
    for (int n = 0; n < N; n += 2) {
        u32 b[4];
        load_columns<DIM>(b, right, n * 8, step);
        multiply_add(T{}, sums[n], a, b[0], b[1]);
        multiply_add(T{}, sums[n + 1], a, b[2], b[3]);
    }
}

// sums[column] += rows of `left` times rows of `right`: both run along the head dim. Unrolled in
// full, the loads of all steps come first; wide heads have no registers for them.
template <class T, int DIM, int N>
PORT_DEVICE void multiply_rows(float (&sums)[N][4], const unsigned char* left, int left_row,
                               const unsigned char* right) {
    if constexpr (DIM <= 64) {
        PORT_UNROLL
        for (int step = 0; step < DIM / 16; ++step) {
            multiply_step<T, DIM>(sums, left, left_row, right, step);
        }
    } else if constexpr (DIM <= 128) {
        PORT_UNROLL_BY_2
        for (int step = 0; step < DIM / 16; ++step) {
            multiply_step<T, DIM>(sums, left, left_row, right, step);
        }
    } else {
        PORT_NO_UNROLL
        for (int step = 0; step < DIM / 16; ++step) {
            multiply_step<T, DIM>(sums, left, left_row, right, step);
        }
    }
}

// sums[column] += weights times `right`, whose rows the weights run along; columns of `right` from
// 16 first_step on.
template <class T, int DIM, int N_DEPTHS, int N>
PORT_DEVICE void multiply_weights(float (&sums)[N][4], const float (&weights)[N_DEPTHS][4],
                                  const unsigned char* right, int first_step) {
    PORT_UNROLL
    for (int depth = 0; depth < N_DEPTHS; depth += 2) {
        u32 a[4];
        pack_operand<T>(a, weights[depth], weights[depth + 1]);
        PORT_UNROLL
        for (int n = 0; n < N; n += 2) {
            u32 b[4];
            load_depths<DIM>(b, right, depth * 8, first_step + n / 2);
            multiply_add(T{}, sums[n], a, b[0], b[1]);
            multiply_add(T{}, sums[n + 1], a, b[2], b[3]);
        }
    }
}

// Writes a warp's 16 rows: sums times a factor for each half of a lane's rows.
template <class T, int N>
PORT_DEVICE void store_rows(T* base, i64 row_stride, int first_row, int n_rows, int first_column,
                            int n_columns, const float (&sums)[N][4], const float (&factor)[2]) {
    const int lane = lane_index();
    PORT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first_row + lane / 4 + 8 * half;
        PORT_UNROLL
        for (int n = 0; n < N; ++n) {
            const int column = first_column + n * 8 + lane % 4 * 2;
            if (row < n_rows && column < n_columns) {
                *reinterpret_cast<u32*>(base + row * row_stride + column) =
                    pack<T>(sums[n][2 * half] * factor[half], sums[n][2 * half + 1] * factor[half]);
            }
        }
    }
}
