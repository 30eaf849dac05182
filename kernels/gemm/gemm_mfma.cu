// GEMM on matrix cores of AMD's CDNA 2 and 3: bf16 and fp16 with fp32 sums.
//
// A block of four waves owns 128 x 128 of the result, each wave 64 x 64 as 2 x 2 products of 32 x 32.
// Slices of 32 along k are fetched into registers while the slice before is multiplied out of one of
// two buffers of local memory, in which every line lies along k. Any m, n, k and leading dimension.
#include "port.h"

#include "tiles.h"

namespace {

constexpr int TILE = 128;
constexpr int DEPTH = 32;
constexpr int THREADS = 256;
constexpr int GROUP = 8;
constexpr int RUN = 8;                                  // neighbouring elements a thread fetches
constexpr int RUNS = TILE * DEPTH / RUN / THREADS;      // how often per slice
constexpr int BUFFER = TILE * DEPTH;  // elements of one operand; two blocks fit a compute unit

PORT_DEVICE void multiply(Bf16, Fragment16& d, u64 a, u64 b) { mfma_bf16(d, a, b); }
PORT_DEVICE void multiply(Fp16, Fragment16& d, u64 a, u64 b) { mfma_fp16(d, a, b); }

// What one thread brings of op(matrix); a line is a row of op(a) or a column of op(b).
template <bool ALONG_K>
struct Operand {
    static constexpr int PER_ROW = (ALONG_K ? DEPTH : TILE) / RUN;

    const u16* base;
    i64 ld;
    int n_lines;   // left from the first line of the tile
    int n_depths;  // of the whole matrix
    bool is_aligned;

    PORT_DEVICE Operand(const void* matrix, i64 ld, i64 batch_stride, int first_line, int n_lines,
                        int n_depths)
        : base(static_cast<const u16*>(matrix) + batch_index() * batch_stride +
               first_line * (ALONG_K ? ld : 1)),
          ld(ld),
          n_lines(n_lines - first_line),
          n_depths(n_depths),
          is_aligned((reinterpret_cast<u64>(matrix) % 16 | static_cast<u64>(ld * 2) % 16 |
                      static_cast<u64>(batch_stride * 2) % 16) == 0) {}

    PORT_DEVICE void fetch(Chunk (&to)[RUNS], int first_depth) const {
        PORT_UNROLL
        for (int i = 0; i < RUNS; ++i) {
            const int index = static_cast<int>(thread_index()) + i * THREADS;
            const int major = (ALONG_K ? 0 : first_depth) + index / PER_ROW;
            const int minor = (ALONG_K ? first_depth : 0) + index % PER_ROW * RUN;
            const bool is_row = major < (ALONG_K ? n_lines : n_depths);
            const int extent = is_row ? (ALONG_K ? n_depths : n_lines) : 0;
            const u16* from = base + major * ld + minor;
            if (is_aligned && minor + RUN <= extent) {
                to[i] = *reinterpret_cast<const Chunk*>(from);
                continue;
            }
            PORT_UNROLL
            for (int w = 0; w < RUN / 2; ++w) {
                const u32 low = minor + 2 * w < extent ? from[2 * w] : 0u;
                const u32 high = minor + 2 * w + 1 < extent ? from[2 * w + 1] : 0u;
                to[i].word[w] = low | high << 16;
            }
        }
    }

    PORT_DEVICE static void keep(u16* tile, const Chunk (&from)[RUNS]) {
        PORT_UNROLL
        for (int i = 0; i < RUNS; ++i) {
            const int index = static_cast<int>(thread_index()) + i * THREADS;
            const int major = index / PER_ROW;
            const int minor = index % PER_ROW * RUN;
            if constexpr (ALONG_K) {
                PORT_UNROLL
                for (int w = 0; w < 2; ++w) {
                    *reinterpret_cast<u64*>(tile + place_of_four(major, minor / 4 + w)) =
                        from[i].word[2 * w] | static_cast<u64>(from[i].word[2 * w + 1]) << 32;
                }
            } else {
                PORT_UNROLL
                for (int e = 0; e < RUN; ++e) {
                    tile[place_of_four(minor + e, major / 4) + major % 4] =
                        static_cast<u16>(from[i].word[e / 2] >> (e % 2 * 16));
                }
            }
        }
    }
};

// Four elements along k, as a lane of the matrix core takes them.
PORT_DEVICE u64 load_fragment(const u16* tile, int first_line, int first_depth) {
    const int lane = static_cast<int>(thread_index()) % 64;
    return *reinterpret_cast<const u64*>(
        tile + place_of_four(first_line + lane % 32, first_depth / 4 + lane / 32));
}

template <class T>
PORT_DEVICE void multiply_slice(Fragment16 (&sum)[2][2], const u16* a, const u16* b,
                                int first_row, int first_column) {
    PORT_UNROLL
    for (int depth = 0; depth < DEPTH; depth += 8) {
        u64 b_part[2];
        PORT_UNROLL
        for (int j = 0; j < 2; ++j) {
            b_part[j] = load_fragment(b, first_column + j * 32, depth);
        }
        PORT_UNROLL
        for (int i = 0; i < 2; ++i) {
            const u64 a_part = load_fragment(a, first_row + i * 32, depth);
            PORT_UNROLL
            for (int j = 0; j < 2; ++j) {
                multiply(T{}, sum[i][j], a_part, b_part[j]);
            }
        }
    }
}

template <class T>
PORT_DEVICE void store(const GemmArguments& g, const Fragment16 (&sum)[2][2], int first_row,
                       int first_column) {
    const int lane = static_cast<int>(thread_index()) % 64;
    T* out = static_cast<T*>(g.out) + batch_index() * g.out_batch_stride;
    PORT_UNROLL
    for (int i = 0; i < 2; ++i) {
        PORT_UNROLL
        for (int r = 0; r < 16; ++r) {
            const int row = first_row + i * 32 + mfma_row(lane, r);
            PORT_UNROLL
            for (int j = 0; j < 2; ++j) {
                const int column = first_column + j * 32 + mfma_column(lane);
                if (row < g.m && column < g.n) {
                    store_scaled(out + row * g.out_ld + column, sum[i][j][r], g.alpha, g.beta);
                }
            }
        }
    }
}

template <class T, bool TRANSPOSE_A, bool TRANSPOSE_B>
PORT_DEVICE void gemm(const GemmArguments& g) {
    alignas(16) PORT_SHARED u16 a_tile[2][BUFFER];
    alignas(16) PORT_SHARED u16 b_tile[2][BUFFER];
    using A = Operand<!TRANSPOSE_A>;
    using B = Operand<TRANSPOSE_B>;
    const TileIndex tile = tile_of(
        static_cast<int>(block_index()), n_tiles(g.m, TILE), n_tiles(g.n, TILE), GROUP);
    const A a(g.a, g.a_ld, g.a_batch_stride, tile.row * TILE, g.m, g.k);
    const B b(g.b, g.b_ld, g.b_batch_stride, tile.column * TILE, g.n, g.k);
    const int wave = static_cast<int>(thread_index()) / 64;
    const int wave_row = wave / 2 * 64;
    const int wave_column = wave % 2 * 64;
    const int n_slices = n_tiles(g.k, DEPTH);
    Fragment16 sum[2][2] = {};
    Chunk a_next[RUNS];
    Chunk b_next[RUNS];
    a.fetch(a_next, 0);
    b.fetch(b_next, 0);
    for (int slice = 0; slice < n_slices; ++slice) {
        const int buffer = slice % 2;
        A::keep(a_tile[buffer], a_next);
        B::keep(b_tile[buffer], b_next);
        block_barrier();
        a.fetch(a_next, (slice + 1) * DEPTH);
        b.fetch(b_next, (slice + 1) * DEPTH);
        multiply_slice<T>(sum, a_tile[buffer], b_tile[buffer], wave_row, wave_column);
    }
    store<T>(g, sum, tile.row * TILE + wave_row, tile.column * TILE + wave_column);
}

}  // namespace

PORT_KERNEL(256, 2) ENTRY_NAME(const GemmArguments g) {
    gemm<ENTRY_TYPE, ENTRY_TRANSPOSE_A, ENTRY_TRANSPOSE_B>(g);
}
