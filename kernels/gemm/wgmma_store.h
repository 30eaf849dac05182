// How a warp group writes the sums of a product 64 x N, of which each thread holds pairs of columns.
//
// A pair is 4 bytes, and a quad of threads has 16 neighbouring ones: half a sector of memory. So
// quads exchange pairs until each thread has a chunk of 16 bytes and its quad 64 bytes of a row:
// whole sectors, and a quarter of the store instructions. Pairs remain where chunks do not fit.
#pragma once

#include "quads.h"
#include "tiles.h"

constexpr int CHUNK_COLUMNS = 8;  // of 16 bits

// Whether every row of every result begins on 16 bytes.
PORT_DEVICE bool are_chunks_aligned(const GemmArguments& g) {
    return reinterpret_cast<u64>(g.out) % sizeof(Chunk) == 0 &&
           (g.out_ld | g.out_batch_stride) % CHUNK_COLUMNS == 0;
}

template <class T, int N>
PORT_DEVICE void store_as_pairs(const GemmArguments& g, const float (&sum)[N / 2], T* out,
                                int first_row, int first_column) {
    const int thread = static_cast<int>(thread_index()) % 128;
    const bool in_pairs = are_pairs_aligned<T>(g);
    PORT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first_row + wgmma_row(thread, half * 2);
        if (row < g.m) {
            T* line = out + row * g.out_ld;
            PORT_UNROLL
            for (int i = half * 2; i < N / 2; i += 4) {
                const int column = first_column + wgmma_column(thread, i);
                store_pair(line + column, sum[i], sum[i + 1], g.n - column, in_pairs, g);
            }
        }
    }
}

// Four pairs of a thread, 8 columns apart, become the words of its quad's chunks, scaled; `old` has
// the words that were there, in the same places.
template <class T, bool ADDS_OLD>
PORT_DEVICE void scale_pairs(u32 (&word)[4], const float* sum, const u32 (&old)[4],
                             const GemmArguments& g) {
    PORT_UNROLL
    for (int w = 0; w < 4; ++w) {
        float low = g.alpha * sum[4 * w];
        float high = g.alpha * sum[4 * w + 1];
        if constexpr (ADDS_OLD) {
            low += g.beta * to_float(T{static_cast<u16>(old[w] & 0xffffu)});
            high += g.beta * to_float(T{static_cast<u16>(old[w] >> 16)});
        }
        word[w] = pack<T>(low, high);
    }
}

// Columns are a multiple of a chunk, or all inside. Lanes of rows and columns outside exchange, too.
template <class T, int N, bool ADDS_OLD>
PORT_DEVICE void store_as_chunks(const GemmArguments& g, const float (&sum)[N / 2], T* out,
                                 int first_row, int first_column) {
    constexpr int QUAD_COLUMNS = 4 * CHUNK_COLUMNS;
    const int thread = static_cast<int>(thread_index()) % 128;
    const int own_column = first_column + thread % 4 * CHUNK_COLUMNS;
    PORT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int row = first_row + wgmma_row(thread, half * 2);
        T* own = out + row * g.out_ld + own_column;
        const int n_left = row < g.m ? g.n - own_column : 0;
        Chunk old[N / QUAD_COLUMNS] = {};
        if constexpr (ADDS_OLD) {
            // All at once: a load after a store would wait for it.
            PORT_UNROLL
            for (int c = 0; c < N / QUAD_COLUMNS; ++c) {
                if (c * QUAD_COLUMNS < n_left) {
                    old[c] = *reinterpret_cast<const Chunk*>(own + c * QUAD_COLUMNS);
                }
            }
        }
        PORT_UNROLL
        for (int c = 0; c < N / QUAD_COLUMNS; ++c) {
            if constexpr (ADDS_OLD) {
                exchange_in_fours(old[c].word);
            }
            Chunk chunk;
            scale_pairs<T, ADDS_OLD>(chunk.word, sum + c * 16 + half * 2, old[c].word, g);
            exchange_in_fours(chunk.word);
            if (c * QUAD_COLUMNS < n_left) {
                *reinterpret_cast<Chunk*>(own + c * QUAD_COLUMNS) = chunk;
            }
        }
    }
}

template <class T, int N>
PORT_DEVICE void store_sums(const GemmArguments& g, const float (&sum)[N / 2], int batch,
                            int first_row, int first_column) {
    T* out = static_cast<T*>(g.out) + batch * g.out_batch_stride;
    // The same for all threads, which have to exchange together.
    const bool ends_with_chunk = first_column + N <= g.n || g.n % CHUNK_COLUMNS == 0;
    if (!ends_with_chunk || !are_chunks_aligned(g)) {
        store_as_pairs<T, N>(g, sum, out, first_row, first_column);
    } else if (g.beta == 0.0f) {
        store_as_chunks<T, N, false>(g, sum, out, first_row, first_column);
    } else {
        store_as_chunks<T, N, true>(g, sum, out, first_row, first_column);
    }
}
