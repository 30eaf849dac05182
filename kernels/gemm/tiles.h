// Arguments and index arithmetic of the GEMM kernels: plain functions that a host compiler takes
// too, so that tests can go through every index without a device.
#pragma once

#include "matrix_fragments.h"

// out[m, n] = alpha op(a) op(b) + beta out[m, n], for each of n_batches products: one block, or one
// tile of a persistent block, for each tile of each product.
// Leading dimensions and batch strides in elements; out is read only where beta is not zero.
struct GemmArguments {
    const void* a;
    const void* b;
    void* out;
    i64 a_ld;
    i64 b_ld;
    i64 out_ld;
    i64 a_batch_stride;
    i64 b_batch_stride;
    i64 out_batch_stride;
    int m;
    int n;
    int k;
    int n_batches;
    float alpha;
    float beta;
};

struct TileIndex {
    int row;
    int column;
};

PORT_DEVICE constexpr int n_tiles(int extent, int tile) { return (extent + tile - 1) / tile; }

// Blocks that run at the same time should share operands: the index goes down `group` rows of tiles
// before it goes on to the next column, so that a wave of blocks covers something near a square.
PORT_DEVICE constexpr TileIndex tile_of(int index, int n_rows, int n_columns, int group) {
    const int per_group = group * n_columns;
    const int first_row = index / per_group * group;
    const int rows = n_rows - first_row < group ? n_rows - first_row : group;
    const int inside = index % per_group;
    return {first_row + inside % rows, inside / rows};
}

// Bytes of a 16-byte chunk that lie inside a row of `extent` elements.
PORT_DEVICE constexpr int valid_bytes(int first, int extent, int element_bytes) {
    const int left = (extent - first) * element_bytes;
    return left < 0 ? 0 : left < 16 ? left : 16;
}

// Place of a 16-byte chunk in a tile whose rows are 64 bytes along k. Two rows share a line of 128
// bytes, which is all 32 banks; the exclusive or spreads eight rows of one chunk over all of them.
PORT_DEVICE constexpr int place_along_k(int row, int chunk) {
    return row * 64 + ((chunk ^ ((row >> 1) & 3)) << 4);
}

// Place of a 16-byte chunk in a tile stored depth by depth, each `row_bytes` along m or n. With
// elements of 16 bits eight depths of one chunk are read at once; with 32 bits, four depths of
// two neighbouring chunks.
PORT_DEVICE constexpr int place_across_k(int depth, int chunk, int row_bytes, int element_bytes) {
    const int turn = element_bytes == 2 ? depth & 7 : (depth & 3) << 1;
    return depth * row_bytes + ((chunk ^ turn) << 4);
}

// Place, in elements of 16 bits, of four neighbours along k in lines of 32 elements. Sixteen lines of
// one four are read at once; two lines share all 32 banks, and the exclusive or spreads eight pairs.
PORT_DEVICE constexpr int place_of_four(int line, int four) {
    return line * 32 + ((four ^ ((line >> 1) & 7)) << 2);
}

// Writes one element of the result; where beta is zero, what was there is not read.
template <class T>
PORT_DEVICE void store_scaled(T* to, float sum, float alpha, float beta) {
    const float scaled = alpha * sum;
    *to = from_float<T>(beta == 0.0f ? scaled : scaled + beta * to_float(*to));
}

// Whether two neighbouring results, the first in an even column, can be stored as one.
template <class T>
PORT_DEVICE bool are_pairs_aligned(const GemmArguments& g) {
    return reinterpret_cast<u64>(g.out) % (2 * sizeof(T)) == 0 &&
           (g.out_ld | g.out_batch_stride) % 2 == 0;
}

// Writes two neighbouring elements, or as many of them as there are columns left.
template <class T>
PORT_DEVICE void store_pair(
    T* to, float first, float second, int n_left, bool in_pairs, const GemmArguments& g) {
    struct alignas(2 * sizeof(T)) Pair {
        T first;
        T second;
    };
    if (in_pairs && n_left >= 2 && g.beta == 0.0f) {
        *reinterpret_cast<Pair*>(to) = {
            from_float<T>(g.alpha * first), from_float<T>(g.alpha * second)};
        return;
    }
    if (n_left >= 1) {
        store_scaled(to, first, g.alpha, g.beta);
    }
    if (n_left >= 2) {
        store_scaled(to + 1, second, g.alpha, g.beta);
    }
}
