// Flash attention, forward, on tensor cores of sm_80 and later: bf16 and fp16, fp32 sums.
//
// A block owns a run of queries and walks over the keys they see. Keys of the next step are copied
// while this step's values are summed, values while scores are computed. Each warp owns whole rows,
// so that softmax needs no other warp.
#include "port.h"

#include "flash.h"

namespace {

template <class T, int DIM, int KEYS, int WARPS>
struct Forward {
    static constexpr int QUERIES = 16 * WARPS;
    static constexpr int THREADS = 32 * WARPS;
    static constexpr int N_KEYS = KEYS / 8;
    static constexpr int N_COLUMNS = DIM / 8;

    const FlashArguments& g;
    int first_query;
    float out[N_COLUMNS][4];
    // Of a lane's two rows: the largest score so far, and its share of the sum of exponentials.
    float top[2];
    float sum[2];

    PORT_DEVICE Forward(const FlashArguments& g, int first_query)
        : g(g), first_query(first_query) {
        clear(out);
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            top[half] = minus_infinity();
            sum[half] = 0.0f;
        }
    }

    PORT_DEVICE int first_row() const { return first_query + 16 * warp_index(); }

    // True where every query of the block sees every key of the step.
    PORT_DEVICE bool is_whole(int key) const {
        const int last_query = smaller(first_query + QUERIES, g.query_len) - 1;
        return key >= last_query + g.first && key + KEYS - 1 <= first_query + g.last &&
               key + KEYS <= g.key_len;
    }

    PORT_DEVICE void hide(float (&scores)[N_KEYS][4], int key) const {
        const int lane = lane_index();
        PORT_UNROLL
        for (int n = 0; n < N_KEYS; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 4; ++i) {
                const int query = first_row() + lane / 4 + 8 * (i / 2);
                if (!is_visible(g, query, key + n * 8 + lane % 4 * 2 + i % 2)) {
                    scores[n][i] = minus_infinity();
                }
            }
        }
    }

    // Turns scores into exponentials relative to the largest so far, and what was summed before
    // with them.
    PORT_DEVICE void soften(float (&scores)[N_KEYS][4]) {
        const float factor = g.scale * LOG2_E;
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            float most = top[half];
            PORT_UNROLL
            for (int n = 0; n < N_KEYS; ++n) {
                most = larger_of(most, larger_of(scores[n][2 * half], scores[n][2 * half + 1]));
            }
            most = larger_of(most, shuffle_xor(most, 1));
            most = larger_of(most, shuffle_xor(most, 2));
            // A row that has seen no key yet: all exponentials are zero, not 0/0.
            const float base = most == minus_infinity() ? 0.0f : most * factor;
            const float kept = exp2_fast(top[half] * factor - base);
            top[half] = most;
            sum[half] *= kept;
            PORT_UNROLL
            for (int n = 0; n < N_COLUMNS; ++n) {
                out[n][2 * half] *= kept;
                out[n][2 * half + 1] *= kept;
            }
            PORT_UNROLL
            for (int n = 0; n < N_KEYS; ++n) {
                PORT_UNROLL
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    scores[n][i] = exp2_fast(scores[n][i] * factor - base);
                    sum[half] += scores[n][i];
                }
            }
        }
    }

    PORT_DEVICE void store(const Place& place) {
        float factor[2];
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            sum[half] += shuffle_xor(sum[half], 1);
            sum[half] += shuffle_xor(sum[half], 2);
            factor[half] = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
            const int query = first_row() + lane_index() / 4 + 8 * half;
            if (lane_index() % 4 == 0 && query < g.query_len) {
                const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
                g.lse[head * g.query_len + query] =
                    sum[half] > 0.0f ? top[half] * g.scale + log2_fast(sum[half]) * LN_2
                                     : minus_infinity();
            }
        }
        store_rows(rows_of<T>(g.out, place.batch, place.head), g.out.row_stride, first_row(),
                   g.query_len, 0, g.head_dim, out, factor);
    }
};

template <class T, int DIM, int KEYS, int WARPS>
PORT_DEVICE void flash_forward(const FlashArguments& g, unsigned char* shared) {
    using Block = Forward<T, DIM, KEYS, WARPS>;
    unsigned char* const q_tile = shared;
    unsigned char* const k_tile = q_tile + SharedRows<DIM>::n_bytes(Block::QUERIES);
    unsigned char* const v_tile = k_tile + SharedRows<DIM>::n_bytes(KEYS);

    const Place place(static_cast<int>(block_index()), n_parts(g.query_len, Block::QUERIES),
                      g.n_heads);
    const int kv_head = place.head / (g.n_heads / g.n_kv_heads);
    const T* const q = rows_of<const T>(g.q, place.batch, place.head);
    const T* const k = rows_of<const T>(g.k, place.batch, kv_head);
    const T* const v = rows_of<const T>(g.v, place.batch, kv_head);

    Block block(g, place.tile * Block::QUERIES);
    const int last_query = smaller(block.first_query + Block::QUERIES, g.query_len) - 1;
    const int begin = larger(0, block.first_query + g.first) / KEYS * KEYS;
    const int end = smaller(g.key_len, last_query + g.last + 1);

    fetch_rows<DIM, Block::QUERIES, Block::THREADS>(q_tile, q, g.q.row_stride, block.first_query,
                                                    g.query_len, g.head_dim);
    fetch_rows<DIM, KEYS, Block::THREADS>(k_tile, k, g.k.row_stride, begin, g.key_len, g.head_dim);
    copy_commit();
    for (int key = begin; key < end; key += KEYS) {
        copy_wait<0>();
        block_barrier();  // keys are here, and every warp has read the previous values
        fetch_rows<DIM, KEYS, Block::THREADS>(v_tile, v, g.v.row_stride, key, g.key_len,
                                              g.head_dim);
        copy_commit();
        float scores[Block::N_KEYS][4];
        clear(scores);
        multiply_rows<T, DIM>(scores, q_tile, 16 * warp_index(), k_tile);
        copy_wait<0>();
        block_barrier();  // values are here, and every warp has read these keys
        if (key + KEYS < end) {
            fetch_rows<DIM, KEYS, Block::THREADS>(k_tile, k, g.k.row_stride, key + KEYS,
                                                  g.key_len, g.head_dim);
            copy_commit();
        }
        if (!block.is_whole(key)) {
            block.hide(scores, key);
        }
        block.soften(scores);
        multiply_weights<T, DIM>(block.out, scores, v_tile, 0);
    }
    copy_wait<0>();
    block.store(place);
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const FlashArguments g) {
    PORT_DYNAMIC_SHARED(shared);
    ENTRY_BODY(g, shared);
}
