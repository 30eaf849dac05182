// What the flash-attention kernels for AMD's CDNA share: tiles in local memory, operands and products
// of matrix cores.
//
// v_mfma_f32_32x32x8 gives a lane one column of the product and, of every eight rows, four
// neighbouring ones: those that the same lane holds of the second operand of the next product. So
// scores are always computed with what a wave owns in the columns, and become that operand where they
// are: a lane's softmax is over its own registers and those of one other lane.
#pragma once

#include "flash_call.h"
#include "matrix_fragments.h"

constexpr int WAVES = 4;
constexpr int THREADS = 64 * WAVES;
constexpr int WAVE_COLUMNS = 32;
constexpr int ROWS = WAVES * WAVE_COLUMNS;  // queries or keys that a block owns

PORT_DEVICE int wave_lane() { return static_cast<int>(thread_index() % 64); }
PORT_DEVICE int wave_index() { return static_cast<int>(thread_index() / 64); }

PORT_DEVICE void multiply_add(Bf16, Fragment16& d, u64 a, u64 b) { mfma_bf16(d, a, b); }
PORT_DEVICE void multiply_add(Fp16, Fragment16& d, u64 a, u64 b) { mfma_fp16(d, a, b); }

// A tile of lines in local memory, each of DEPTHS elements in groups of four. Sixteen lines of one
// four are read at once; the exclusive or spreads them over all banks.
template <int DEPTHS>
struct FoursTile {
    static constexpr int FOURS = DEPTHS / 4;

    PORT_DEVICE static constexpr int turn(int line) {
        return FOURS >= 16 ? line & 15 : (line >> 1) & 7;
    }
    PORT_DEVICE static constexpr int place(int line, int four) {
        return line * DEPTHS + ((four ^ turn(line)) << 2);
    }
    // First operand: 32 lines from `line`, a multiple of 32, on, depths 8 step to that plus 7. The same
    // place as above, by an exclusive or of few constants: addresses that differ by more than an
    // offset cost a register each.
    PORT_DEVICE static u64 load(const u16* tile, int line, int step) {
        const int lane = wave_lane();
        const int own = (lane % 32) * DEPTHS + ((lane / 32 ^ turn(lane % 32)) << 2);
        return *reinterpret_cast<const u64*>(
            tile + (own ^ step % 8 << 3) + line * DEPTHS + step / 8 * 64);
    }
};

PORT_DEVICE u64 joined(u32 low, u32 high) { return low | static_cast<u64>(high) << 32; }

// Rows of a sequence on their way from global memory: what one thread brings of LENGTH rows of DIM
// columns, four rows of one 16-byte chunk at a time. Beyond the sequence and its columns come zeros.
template <int DIM, int LENGTH>
struct Rows {
    static constexpr int CHUNKS = DIM / 8;
    static constexpr int ROW_FOURS = LENGTH / 4;
    static constexpr int PIECES = n_parts(CHUNKS * ROW_FOURS, THREADS);
    static constexpr bool IS_EVEN = CHUNKS * ROW_FOURS % THREADS == 0;

    Chunk chunk[PIECES][4];

    PORT_DEVICE static int piece(int i) { return static_cast<int>(thread_index()) + i * THREADS; }
    PORT_DEVICE static bool is_mine(int i) { return IS_EVEN || piece(i) < CHUNKS * ROW_FOURS; }

    template <class T>
    PORT_DEVICE void fetch(const T* base, i64 row_stride, int first, int n_rows, int n_columns) {
        PORT_UNROLL
        for (int i = 0; i < PIECES; ++i) {
            const int row = first + piece(i) % ROW_FOURS * 4;
            const int column = piece(i) / ROW_FOURS * 8;
            PORT_UNROLL
            for (int r = 0; r < 4; ++r) {
                const bool is_inside = is_mine(i) && row + r < n_rows && column < n_columns;
                chunk[i][r] = is_inside ? *reinterpret_cast<const Chunk*>(
                                              base + (row + r) * row_stride + column)
                                        : Chunk{};
            }
        }
    }

    // Lines are rows of the sequence, depths are columns.
    PORT_DEVICE void keep(u16* tile) const {
        PORT_UNROLL
        for (int i = 0; i < PIECES; ++i) {
            if (!is_mine(i)) {
                break;
            }
            const int row = piece(i) % ROW_FOURS * 4;
            const int four = piece(i) / ROW_FOURS * 2;
            PORT_UNROLL
            for (int r = 0; r < 4; ++r) {
                const Chunk& from = chunk[i][r];
                *reinterpret_cast<u64*>(tile + FoursTile<DIM>::place(row + r, four)) =
                    joined(from.word[0], from.word[1]);
                *reinterpret_cast<u64*>(tile + FoursTile<DIM>::place(row + r, four + 1)) =
                    joined(from.word[2], from.word[3]);
            }
        }
    }

    // The other way round: lines are columns from `first_column` on, N of them; depths are rows.
    template <int N = DIM>
    PORT_DEVICE void keep_transposed(u16* tile, int first_column = 0) const {
        PORT_UNROLL
        for (int i = 0; i < PIECES; ++i) {
            const int column = piece(i) / ROW_FOURS * 8 - first_column;
            if (!is_mine(i) || (N != DIM && (column < 0 || column >= N))) {
                continue;
            }
            const int four = piece(i) % ROW_FOURS;
            PORT_UNROLL
            for (int w = 0; w < 4; ++w) {
                const u32 a = chunk[i][0].word[w], b = chunk[i][1].word[w];
                const u32 c = chunk[i][2].word[w], d = chunk[i][3].word[w];
                u16* const even = tile + FoursTile<LENGTH>::place(column + 2 * w, four);
                u16* const odd = tile + FoursTile<LENGTH>::place(column + 2 * w + 1, four);
                *reinterpret_cast<u64*>(even) =
                    joined((a & 0xffffu) | b << 16, (c & 0xffffu) | d << 16);
                *reinterpret_cast<u64*>(odd) =
                    joined(a >> 16 | (b & 0xffff0000u), c >> 16 | (d & 0xffff0000u));
            }
        }
    }
};

// Second operand of a wave: its 32 columns, each a row of the sequence, along the head dim.
template <int DIM>
struct OwnRows {
    u64 part[DIM / 8];

    template <class T>
    PORT_DEVICE void fetch(const T* base, i64 row_stride, int row, int n_rows, int n_columns) {
        const int lane = wave_lane();
        const bool is_inside = row < n_rows;
        PORT_UNROLL
        for (int step = 0; step < DIM / 8; ++step) {
            const int column = step * 8 + lane / 32 * 4;
            part[step] =
                is_inside && column < n_columns
                    ? *reinterpret_cast<const u64*>(base + row * row_stride + column)
                    : 0;
        }
    }
};

// sums[i] = 32 lines of a tile from 32 i on times the wave's own rows.
template <class T, int DIM, int N>
PORT_DEVICE void multiply_lines(Fragment16 (&sums)[N], const u16* tile, const OwnRows<DIM>& own) {
    PORT_UNROLL
    for (int i = 0; i < N; ++i) {
        sums[i] = Fragment16{};
    }
    PORT_UNROLL
    for (int step = 0; step < DIM / 8; ++step) {
        if (step % 4 == 0) {
            keep_order();  // loads of all steps at once would want as many registers
        }
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            multiply_add(T{}, sums[i], FoursTile<DIM>::load(tile, 32 * i, step), own.part[step]);
        }
    }
}

// sums[i] += 32 lines of a transposed tile times weights, whose rows are the tile's depths.
template <class T, int DEPTHS, int N>
PORT_DEVICE void multiply_weights(Fragment16 (&sums)[N], const u16* tile,
                                  const Fragment16 (&weights)[DEPTHS / 32]) {
    PORT_UNROLL
    for (int step = 0; step < DEPTHS / 8; ++step) {
        if (step % 2 == 0) {
            keep_order();
        }
        const Fragment16& from = weights[step / 4];
        const int first = step % 4 * 4;
        const u64 part = joined(pack<T>(from[first], from[first + 1]),
                                pack<T>(from[first + 2], from[first + 3]));
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            multiply_add(T{}, sums[i], FoursTile<DEPTHS>::load(tile, 32 * i, step), part);
        }
    }
}

// Writes a wave's 32 rows, which are its columns of the sums: sums times a factor.
template <class T, int N>
PORT_DEVICE void store_columns(T* base, i64 row_stride, int row, int n_rows, int first_column,
                               int n_columns, const Fragment16 (&sums)[N], float factor) {
    if (row >= n_rows) {
        return;
    }
    T* const line = base + row * row_stride;
    PORT_UNROLL
    for (int i = 0; i < N; ++i) {
        PORT_UNROLL
        for (int r = 0; r < 16; r += 4) {
            const int column = first_column + 32 * i + mfma_row(wave_lane(), r);
            if (column < n_columns) {
                *reinterpret_cast<u64*>(line + column) =
                    joined(pack<T>(sums[i][r] * factor, sums[i][r + 1] * factor),
                           pack<T>(sums[i][r + 2] * factor, sums[i][r + 3] * factor));
            }
        }
    }
}
