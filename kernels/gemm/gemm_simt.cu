// GEMM in fp32 without matrix cores, for CUDA and HIP: 128 x 128 x 8 tiles, 8 x 8 results a thread.
//
// Operands of the next tile are fetched into registers while this one is multiplied; two buffers of
// shared memory need one barrier per tile. Any m, n, k; any leading dimension.
#include "port.h"

#include "tiles.h"

namespace {

constexpr int TILE = 128;
constexpr int DEPTH = 8;
constexpr int THREADS = 256;
constexpr int GROUP = 8;
constexpr int PER_THREAD = 4;  // elements of each operand that a thread fetches per tile
// Four more floats a row: stores across k fall into other banks, and rows stay 16-byte aligned.
constexpr int ROW = TILE + 4;

// The elements of op(matrix) that one thread brings into a tile: PER_THREAD of them, a line being a
// row of op(a) or a column of op(b). Neighbouring threads read neighbouring addresses, whichever way
// the matrix is stored.
template <bool ALONG_K>
struct Operand {
    const float* next;
    i64 ld;
    int n_lines;
    int n_depths;

    PORT_DEVICE static int line(int i) {
        const int thread = static_cast<int>(thread_index());
        return ALONG_K ? thread / DEPTH + i * (THREADS / DEPTH) : thread % TILE;
    }
    PORT_DEVICE static int depth(int i) {
        const int thread = static_cast<int>(thread_index());
        return ALONG_K ? thread % DEPTH : thread / TILE + i * (THREADS / TILE);
    }

    PORT_DEVICE Operand(const float* base, i64 ld, int n_lines, int n_depths)
        : next(base + (ALONG_K ? line(0) * ld + depth(0) : depth(0) * ld + line(0))),
          ld(ld),
          n_lines(n_lines),
          n_depths(n_depths) {}

    // Fetches what follows along k; lines and depths outside the matrix are zeros.
    PORT_DEVICE void fetch(float (&to)[PER_THREAD]) {
        PORT_UNROLL
        for (int i = 0; i < PER_THREAD; ++i) {
            const bool inside = line(i) < n_lines && depth(i) < n_depths;
            const int step = ALONG_K ? line(i) - line(0) : depth(i) - depth(0);
            to[i] = inside ? next[step * ld] : 0.0f;
        }
        next += ALONG_K ? DEPTH : DEPTH * ld;
        n_depths -= DEPTH;
    }
    PORT_DEVICE static void keep(float (*tile)[ROW], const float (&from)[PER_THREAD]) {
        PORT_UNROLL
        for (int i = 0; i < PER_THREAD; ++i) {
            tile[depth(i)][line(i)] = from[i];
        }
    }
};

// A thread's eight lines are two runs of four, 64 apart, so that vector loads do not conflict.
PORT_DEVICE int line_of(int group, int i) { return group * 4 + i / 4 * 64 + i % 4; }

PORT_DEVICE void multiply(float (&sum)[8][8], const float (*a)[ROW], const float (*b)[ROW]) {
    const int thread = static_cast<int>(thread_index());
    // Unrolled in full, the loads of all depths come first and registers run out.
    PORT_UNROLL_BY_2
    for (int depth = 0; depth < DEPTH; ++depth) {
        float a_line[8];
        float b_line[8];
        PORT_UNROLL
        for (int i = 0; i < 8; ++i) {
            a_line[i] = a[depth][line_of(thread / 16, i)];
            b_line[i] = b[depth][line_of(thread % 16, i)];
        }
        PORT_UNROLL
        for (int i = 0; i < 8; ++i) {
            PORT_UNROLL
            for (int j = 0; j < 8; ++j) {
                sum[i][j] += a_line[i] * b_line[j];
            }
        }
    }
}

PORT_DEVICE void store(
    const GemmArguments& g, const float (&sum)[8][8], int first_row, int first_column) {
    const int thread = static_cast<int>(thread_index());
    float* out = static_cast<float*>(g.out) + batch_index() * g.out_batch_stride;
    PORT_UNROLL
    for (int i = 0; i < 8; ++i) {
        const int row = first_row + line_of(thread / 16, i);
        if (row >= g.m) {
            return;
        }
        float* line = out + row * g.out_ld;
        PORT_UNROLL
        for (int j = 0; j < 8; ++j) {
            const int column = first_column + line_of(thread % 16, j);
            if (column < g.n) {
                store_scaled(line + column, sum[i][j], g.alpha, g.beta);
            }
        }
    }
}

template <bool TRANSPOSE_A, bool TRANSPOSE_B>
PORT_DEVICE void gemm(const GemmArguments& g) {
    PORT_SHARED float a_tile[2][DEPTH][ROW];
    PORT_SHARED float b_tile[2][DEPTH][ROW];
    const TileIndex tile = tile_of(
        static_cast<int>(block_index()), n_tiles(g.m, TILE), n_tiles(g.n, TILE), GROUP);
    const int first_row = tile.row * TILE;
    const int first_column = tile.column * TILE;
    const int n_steps = n_tiles(g.k, DEPTH);
    const float* a_base = static_cast<const float*>(g.a) + batch_index() * g.a_batch_stride;
    const float* b_base = static_cast<const float*>(g.b) + batch_index() * g.b_batch_stride;
    Operand<!TRANSPOSE_A> a(
        a_base + first_row * (TRANSPOSE_A ? 1 : g.a_ld), g.a_ld, g.m - first_row, g.k);
    Operand<TRANSPOSE_B> b(
        b_base + first_column * (TRANSPOSE_B ? g.b_ld : 1), g.b_ld, g.n - first_column, g.k);
    float sum[8][8] = {};
    float a_next[PER_THREAD];
    float b_next[PER_THREAD];
    a.fetch(a_next);
    b.fetch(b_next);
    for (int step = 0; step < n_steps; ++step) {
        const int buffer = step % 2;
        a.keep(a_tile[buffer], a_next);
        b.keep(b_tile[buffer], b_next);
        block_barrier();
        a.fetch(a_next);
        b.fetch(b_next);
        multiply(sum, a_tile[buffer], b_tile[buffer]);
    }
    store(g, sum, first_row, first_column);
}

}  // namespace

PORT_KERNEL(256, 2) ENTRY_NAME(const GemmArguments g) {
    gemm<ENTRY_TRANSPOSE_A, ENTRY_TRANSPOSE_B>(g);
}
