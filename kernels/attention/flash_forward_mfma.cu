// Flash attention, forward, on matrix cores of AMD's CDNA 2 and 3: bf16 and fp16, fp32 sums.
//
// A block of four waves owns 128 queries, each wave 32, which stay in its registers. Keys and values
// of the next step are fetched into registers while this step's are multiplied out of local memory,
// keys as they lie, values transposed. Both products are computed transposed, so that a query is a
// lane's column of scores and of sums alike.
#include "port.h"

#include "flash_mfma.h"

namespace {

// Softmax of a wave's queries, one in each lane of either half.
template <int N>
struct Softmax {
    float top = minus_infinity();
    float sum = 0.0f;  // this lane's share

    // Turns scores into exponentials relative to the largest so far; returns what was summed before
    // is to be multiplied with.
    PORT_DEVICE float soften(Fragment16 (&scores)[N], float factor) {
        float most = top;
        PORT_UNROLL
        for (int n = 0; n < N; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                most = larger_of(most, scores[n][i]);
            }
        }
        most = larger_of(most, shuffle_xor(most, 32));
        // A query that has seen no key yet: all exponentials are zero, not 0/0.
        const float base = most == minus_infinity() ? 0.0f : most * factor;
        const float kept = exp2_fast(top * factor - base);
        top = most;
        float added = 0.0f;
        PORT_UNROLL
        for (int n = 0; n < N; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                scores[n][i] = exp2_fast(scores[n][i] * factor - base);
                added += scores[n][i];
            }
        }
        sum = sum * kept + added;
        return kept;
    }
};

template <class T, int DIM, int KEYS>
PORT_DEVICE void flash_forward(const FlashArguments& g) {
    constexpr int N_SCORES = KEYS / 32;
    constexpr int N_SUMS = DIM / 32;
    alignas(16) PORT_SHARED u16 k_tile[KEYS * DIM];
    alignas(16) PORT_SHARED u16 v_tile[DIM * KEYS];

    const Place place(static_cast<int>(block_index()), n_parts(g.query_len, ROWS), g.n_heads);
    const int kv_head = place.head / (g.n_heads / g.n_kv_heads);
    const T* const k = rows_of<const T>(g.k, place.batch, kv_head);
    const T* const v = rows_of<const T>(g.v, place.batch, kv_head);
    const int first_query = place.tile * ROWS;
    const int wave_query = first_query + wave_index() * WAVE_COLUMNS;
    const int query = wave_query + mfma_column(wave_lane());
    const int last_query = smaller(first_query + ROWS, g.query_len) - 1;
    const int begin = larger(0, first_query + g.first) / KEYS * KEYS;
    const int end = smaller(g.key_len, last_query + g.last + 1);
    const float factor = g.scale * LOG2_E;

    OwnRows<DIM> own;
    own.fetch(rows_of<const T>(g.q, place.batch, place.head), g.q.row_stride, query, g.query_len,
              g.head_dim);
    Rows<DIM, KEYS> k_next;
    Rows<DIM, KEYS> v_next;
    k_next.fetch(k, g.k.row_stride, begin, g.key_len, g.head_dim);
    v_next.fetch(v, g.v.row_stride, begin, g.key_len, g.head_dim);

    Fragment16 out[N_SUMS] = {};
    Softmax<N_SCORES> softmax;
    for (int key = begin; key < end; key += KEYS) {
        block_barrier();  // every wave has read the tiles before
        k_next.keep(k_tile);
        v_next.keep_transposed(v_tile);
        block_barrier();
        k_next.fetch(k, g.k.row_stride, key + KEYS, g.key_len, g.head_dim);
        v_next.fetch(v, g.v.row_stride, key + KEYS, g.key_len, g.head_dim);
        if constexpr (DIM > 128) {
            keep_order();
        }
        Fragment16 scores[N_SCORES];
        multiply_lines<T>(scores, k_tile, own);
        const bool is_whole =
            key >= smaller(wave_query + WAVE_COLUMNS, g.query_len) - 1 + g.first &&
            key + KEYS - 1 <= wave_query + g.last && key + KEYS <= g.key_len;
        if (!is_whole) {
            PORT_UNROLL
            for (int n = 0; n < N_SCORES; ++n) {
                PORT_UNROLL
                for (int i = 0; i < 16; ++i) {
                    if (!is_visible(g, query, key + 32 * n + mfma_row(wave_lane(), i))) {
                        scores[n][i] = minus_infinity();
                    }
                }
            }
        }
        if constexpr (DIM > 128) {
            keep_order();
        }
        const float kept = softmax.soften(scores, factor);
        PORT_UNROLL
        for (int n = 0; n < N_SUMS; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                out[n][i] *= kept;
            }
        }
        if constexpr (DIM > 128) {
            keep_order();
        }
        multiply_weights<T, KEYS>(out, v_tile, scores);
    }
    const float sum = softmax.sum + shuffle_xor(softmax.sum, 32);
    store_columns(rows_of<T>(g.out, place.batch, place.head), g.out.row_stride, query, g.query_len,
                  0, g.head_dim, out, sum > 0.0f ? 1.0f / sum : 0.0f);
    if (wave_lane() < 32 && query < g.query_len) {
        const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
        g.lse[head * g.query_len + query] =
            sum > 0.0f ? softmax.top * g.scale + log2_fast(sum) * LN_2 : minus_infinity();
    }
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const FlashArguments g) { ENTRY_BODY(g); }
