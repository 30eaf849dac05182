// GEMM on tensor cores of sm_80 and later: bf16, fp16 and tf32 with fp32 sums.
//
// A block of 8 warps owns 128 x 128 of the result. Slices of 64 bytes along k go through a ring of
// four stages filled by asynchronous copies, three ahead of the arithmetic. Shared memory is
// swizzled so that ldmatrix never conflicts (tiles.h). Operands are read as stored: matrices along
// k through ldmatrix, across k through its transposing form, or word by word where elements have
// 32 bits. Tails are filled with zeros and stores are guarded, so any m, n and k will do; operands
// that are not aligned to 16 bytes are copied element by element.
#include "port.h"

#include "tiles.h"

namespace {

constexpr int TILE = 128;
constexpr int THREADS = 256;
constexpr int STAGES = 4;
constexpr int GROUP = 8;
constexpr int SLICE_BYTES = 64;                   // of a line, along k
constexpr int OPERAND_BYTES = TILE * SLICE_BYTES;  // of one operand in one stage
constexpr int STAGE_BYTES = 2 * OPERAND_BYTES;
constexpr int CHUNKS = OPERAND_BYTES / 16 / THREADS;  // that a thread copies
// Two rows of four warps; each warp owns 64 x 32, as 4 x 4 products of 16 x 8.
constexpr int WARP_ROWS = 64;
constexpr int WARP_COLUMNS = 32;

PORT_DEVICE void multiply(Bf16, float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    mma_bf16(d, a, b_0, b_1);
}
PORT_DEVICE void multiply(Fp16, float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    mma_fp16(d, a, b_0, b_1);
}
PORT_DEVICE void multiply(Tf32, float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    mma_tf32(d, a, b_0, b_1);
}

// What one thread copies of op(matrix); a line is a row of op(a) or a column of op(b).
template <class T, bool ALONG_K>
struct Operand {
    static constexpr int SIZE = sizeof(T);
    static constexpr int DEPTH = SLICE_BYTES / SIZE;
    static constexpr int PER_CHUNK = 16 / SIZE;
    static constexpr int ROW_BYTES = ALONG_K ? SLICE_BYTES : TILE * SIZE;
    static constexpr int ROW_CHUNKS = ROW_BYTES / 16;

    const T* base;
    i64 ld;
    int n_lines;   // left from the first line of the tile
    int n_depths;  // of the whole matrix
    bool is_aligned;

    PORT_DEVICE Operand(const void* matrix, i64 ld, i64 batch_stride, int first_line, int n_lines,
                        int n_depths)
        : base(static_cast<const T*>(matrix) + batch_index() * batch_stride +
               first_line * (ALONG_K ? ld : 1)),
          ld(ld),
          n_lines(n_lines - first_line),
          n_depths(n_depths),
          is_aligned((reinterpret_cast<u64>(matrix) % 16 | static_cast<u64>(ld * SIZE) % 16 |
                      static_cast<u64>(batch_stride * SIZE) % 16) == 0) {}

    PORT_DEVICE void load(unsigned char* to, int first_depth) const {
        PORT_UNROLL
        for (int i = 0; i < CHUNKS; ++i) {
            const int index = static_cast<int>(thread_index()) + i * THREADS;
            const int row = index / ROW_CHUNKS;
            const int chunk = index % ROW_CHUNKS;
            unsigned char* place =
                to + (ALONG_K ? place_along_k(row, chunk)
                              : place_across_k(row, chunk, ROW_BYTES, SIZE));
            const int major = ALONG_K ? row : first_depth + row;
            const int minor = (ALONG_K ? first_depth : 0) + chunk * PER_CHUNK;
            const bool is_row = major < (ALONG_K ? n_lines : n_depths);
            const int extent = is_row ? (ALONG_K ? n_depths : n_lines) : 0;
            if (is_aligned) {
                const int n_valid = valid_bytes(minor, extent, SIZE);
                // An address must be valid even where nothing is read.
                copy_async(place, n_valid > 0 ? base + major * ld + minor : base, n_valid);
            } else {
                copy_elements(reinterpret_cast<T*>(place), major, minor, extent);
            }
        }
    }

    PORT_DEVICE void copy_elements(T* to, int major, int minor, int extent) const {
        PORT_NO_UNROLL
        for (int i = 0; i < PER_CHUNK; ++i) {
            to[i] = minor + i < extent ? base[major * ld + minor + i] : from_float<T>(0.0f);
        }
    }
};

// Four registers of operands: lines `first` to `first` + 15, and the 32 bytes along k that `part`
// numbers. The halves along lines and along k
// swap places between a (lines first) and b.
template <class T, bool ALONG_K, bool LINES_FIRST>
PORT_DEVICE void load_fragment(u32 (&to)[4], const unsigned char* tile, int first, int part) {
    using Source = Operand<T, ALONG_K>;
    const int lane = static_cast<int>(thread_index()) % 32;
    if constexpr (ALONG_K || Source::SIZE == 2) {
        const int matrix = lane / 8;
        const int line_half = LINES_FIRST ? matrix % 2 : matrix / 2;
        const int depth_half = LINES_FIRST ? matrix / 2 : matrix % 2;
        if constexpr (ALONG_K) {
            const int line = first + line_half * 8 + lane % 8;
            load_matrix_x4(to, tile + place_along_k(line, part * 2 + depth_half));
        } else {
            const int depth = part * 16 + depth_half * 8 + lane % 8;
            const int chunk = first / 8 + line_half;
            load_matrix_x4_transposed(
                to, tile + place_across_k(depth, chunk, Source::ROW_BYTES, Source::SIZE));
        }
    } else {
        PORT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const int line = first + (LINES_FIRST ? i % 2 : i / 2) * 8 + lane / 4;
            const int depth = part * 8 + (LINES_FIRST ? i / 2 : i % 2) * 4;
            // Multiples of four depths leave the swizzle alone.
            const int place = depth * Source::ROW_BYTES +
                              place_across_k(lane % 4, line / 4, Source::ROW_BYTES, Source::SIZE);
            to[i] = *reinterpret_cast<const u32*>(tile + place + line % 4 * 4);
        }
    }
    if constexpr (Source::SIZE == 4) {
        // The hardware would cut 13 bits off; rounding halves the error and leaves no bias.
        PORT_UNROLL
        for (int i = 0; i < 4; ++i) {
            to[i] = tf32_bits(to[i]);
        }
    }
}

template <class T, bool A_ALONG_K, bool B_ALONG_K>
PORT_DEVICE void multiply_stage(
    float (&sum)[4][4][4], const unsigned char* stage, int first_row, int first_column) {
    // With words of 32 bits, both parts at once would need more registers than there are.
    constexpr int UNROLL = sizeof(T) == 2 ? 2 : 1;
#pragma unroll UNROLL
    for (int part = 0; part < SLICE_BYTES / 32; ++part) {
        u32 b[2][4];
        PORT_UNROLL
        for (int j = 0; j < 2; ++j) {
            load_fragment<T, B_ALONG_K, false>(
                b[j], stage + OPERAND_BYTES, first_column + j * 16, part);
        }
        PORT_UNROLL
        for (int i = 0; i < 4; ++i) {
            u32 a[4];
            load_fragment<T, A_ALONG_K, true>(a, stage, first_row + i * 16, part);
            PORT_UNROLL
            for (int j = 0; j < 4; ++j) {
                multiply(T{}, sum[i][j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }
}

template <class T>
PORT_DEVICE void store(
    const GemmArguments& g, const float (&sum)[4][4][4], int first_row, int first_column) {
    const int lane = static_cast<int>(thread_index()) % 32;
    T* out = static_cast<T*>(g.out) + batch_index() * g.out_batch_stride;
    const bool in_pairs = are_pairs_aligned<T>(g);
    PORT_UNROLL
    for (int i = 0; i < 4; ++i) {
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            const int row = first_row + i * 16 + accumulator_row(lane, half * 2);
            if (row >= g.m) {
                return;
            }
            PORT_UNROLL
            for (int j = 0; j < 4; ++j) {
                const int column = first_column + j * 8 + accumulator_column(lane, 0);
                store_pair(out + row * g.out_ld + column, sum[i][j][half * 2],
                           sum[i][j][half * 2 + 1], g.n - column, in_pairs, g);
            }
        }
    }
}

template <class T, bool TRANSPOSE_A, bool TRANSPOSE_B>
PORT_DEVICE void gemm(const GemmArguments& g) {
    PORT_DYNAMIC_SHARED(stages);
    using A = Operand<T, !TRANSPOSE_A>;
    using B = Operand<T, TRANSPOSE_B>;
    const TileIndex tile = tile_of(
        static_cast<int>(block_index()), n_tiles(g.m, TILE), n_tiles(g.n, TILE), GROUP);
    const A a(g.a, g.a_ld, g.a_batch_stride, tile.row * TILE, g.m, g.k);
    const B b(g.b, g.b_ld, g.b_batch_stride, tile.column * TILE, g.n, g.k);
    const int n_slices = n_tiles(g.k, A::DEPTH);
    const auto load = [&](int slice) {
        if (slice < n_slices) {
            unsigned char* stage = stages + slice % STAGES * STAGE_BYTES;
            a.load(stage, slice * A::DEPTH);
            b.load(stage + OPERAND_BYTES, slice * A::DEPTH);
        }
        copy_commit();  // an empty group, too, so that the count of groups is the slice's number
    };
    PORT_NO_UNROLL
    for (int slice = 0; slice < STAGES - 1; ++slice) {
        load(slice);
    }
    const int warp = static_cast<int>(thread_index()) / 32;
    const int warp_row = warp / 4 * WARP_ROWS;
    const int warp_column = warp % 4 * WARP_COLUMNS;
    float sum[4][4][4] = {};
    for (int slice = 0; slice < n_slices; ++slice) {
        copy_wait<STAGES - 2>();
        // Everyone's copies of this slice have arrived, and everyone has left the stage that the
        // next copies overwrite.
        block_barrier();
        load(slice + STAGES - 1);
        multiply_stage<T, !TRANSPOSE_A, TRANSPOSE_B>(
            sum, stages + slice % STAGES * STAGE_BYTES, warp_row, warp_column);
    }
    store<T>(g, sum, tile.row * TILE + warp_row, tile.column * TILE + warp_column);
}

}  // namespace

PORT_KERNEL(256, 2) ENTRY_NAME(const GemmArguments g) {
    gemm<ENTRY_TYPE, ENTRY_TRANSPOSE_A, ENTRY_TRANSPOSE_B>(g);
}
