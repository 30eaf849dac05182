// Flash attention, backward, on matrix cores of AMD's CDNA 2 and 3: bf16 and fp16, fp32 sums.
//
// The same two passes as in flash_backward.cu: flash_d_kv keeps 32 keys and values in the registers of
// each wave and walks over the queries that see them, flash_d_q keeps 32 queries and walks over keys.
// What passes by is fetched a step ahead and lies in local memory as it is, for scores, and transposed,
// for sums. Scores have what the wave keeps in their columns, so that weights are second operands of
// the sums where they are.
#include "port.h"

#include "flash_mfma.h"

namespace {

// Gradients of keys and values. COLUMNS of the head dim are summed by a block; wider heads take several
// blocks, each computing the scores again.
template <class T, int DIM, int COLUMNS, int QUERIES>
PORT_DEVICE void flash_d_kv(const FlashArguments& g) {
    constexpr int N_SCORES = QUERIES / 32;
    constexpr int N_SUMS = COLUMNS / 32;
    constexpr int N_PARTS = DIM / COLUMNS;
    alignas(16) PORT_SHARED u16 q_tile[QUERIES * DIM];
    alignas(16) PORT_SHARED u16 d_tile[QUERIES * DIM];
    alignas(16) PORT_SHARED u16 q_transposed[COLUMNS * QUERIES];
    alignas(16) PORT_SHARED u16 d_transposed[COLUMNS * QUERIES];
    alignas(16) PORT_SHARED float lse[QUERIES];
    alignas(16) PORT_SHARED float delta[QUERIES];

    const int thread = static_cast<int>(thread_index());
    const int index = static_cast<int>(block_index());
    const int first_column = index % N_PARTS * COLUMNS;
    const int n_tiles = n_parts(g.key_len, ROWS);
    // Under a causal mask the first keys are seen by the most queries: those blocks start first.
    const Place backwards(index / N_PARTS, n_tiles, g.n_kv_heads);
    const int first_key = (n_tiles - 1 - backwards.tile) * ROWS;
    const int batch = backwards.batch;
    const int kv_head = backwards.head;
    const int wave_key = first_key + wave_index() * WAVE_COLUMNS;
    const int key = wave_key + mfma_column(wave_lane());
    const int last_key = smaller(first_key + ROWS, g.key_len) - 1;
    const int begin = larger(0, first_key - g.last) / QUERIES * QUERIES;
    const int end = smaller(g.query_len, last_key - g.first + 1);
    const int n_steps = end > begin ? n_parts(end - begin, QUERIES) : 0;
    const int n_sharing = g.n_heads / g.n_kv_heads;
    const float factor = g.scale * LOG2_E;

    OwnRows<DIM> own_k;
    OwnRows<DIM> own_v;
    own_k.fetch(rows_of<const T>(g.k, batch, kv_head), g.k.row_stride, key, g.key_len, g.head_dim);
    own_v.fetch(rows_of<const T>(g.v, batch, kv_head), g.v.row_stride, key, g.key_len, g.head_dim);

    Rows<DIM, QUERIES> q_next;
    Rows<DIM, QUERIES> d_next;
    float lse_next;
    float delta_next;
    const auto fetch = [&](int item) {
        const int head = kv_head * n_sharing + item / n_steps;
        const int query = begin + item % n_steps * QUERIES;
        q_next.fetch(rows_of<const T>(g.q, batch, head), g.q.row_stride, query, g.query_len,
                     g.head_dim);
        d_next.fetch(rows_of<const T>(g.d_out, batch, head), g.d_out.row_stride, query,
                     g.query_len, g.head_dim);
        // Weights of queries behind the last are zero by that.
        const i64 row = (static_cast<i64>(batch) * g.n_heads + head) * g.query_len;
        const bool is_inside = thread < QUERIES && query + thread < g.query_len;
        lse_next = is_inside ? g.lse[row + query + thread] * LOG2_E : -minus_infinity();
        delta_next = is_inside ? g.delta[row + query + thread] : 0.0f;
    };

    Fragment16 d_k[N_SUMS] = {};
    Fragment16 d_v[N_SUMS] = {};
    const int n_items = n_sharing * n_steps;
    if (n_items > 0) {
        fetch(0);
    }
    for (int item = 0; item < n_items; ++item) {
        block_barrier();  // every wave has read the queries before
        q_next.keep(q_tile);
        q_next.template keep_transposed<COLUMNS>(q_transposed, first_column);
        d_next.keep(d_tile);
        d_next.template keep_transposed<COLUMNS>(d_transposed, first_column);
        if (thread < QUERIES) {
            lse[thread] = lse_next;
            delta[thread] = delta_next;
        }
        block_barrier();
        const int query = begin + item % n_steps * QUERIES;
        Fragment16 weights[N_SCORES];
        multiply_lines<T>(weights, q_tile, own_k);
        keep_order();
        const bool is_whole = wave_key >= query + QUERIES - 1 + g.first &&
                              wave_key + WAVE_COLUMNS - 1 <= query + g.last;
        PORT_UNROLL
        for (int n = 0; n < N_SCORES; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                const int row = 32 * n + mfma_row(wave_lane(), i);
                const float weight = exp2_fast(weights[n][i] * factor - lse[row]);
                const int distance = key - (query + row);
                weights[n][i] =
                    is_whole || (distance >= g.first && distance <= g.last) ? weight : 0.0f;
            }
        }
        keep_order();
        multiply_weights<T, QUERIES>(d_v, d_transposed, weights);
        keep_order();
        // Two products are left to hide it; asked for before all four, it would want more registers.
        if (item + 1 < n_items) {
            fetch(item + 1);
        }
        keep_order();

        Fragment16 d_scores[N_SCORES];
        multiply_lines<T>(d_scores, d_tile, own_v);
        keep_order();
        PORT_UNROLL
        for (int n = 0; n < N_SCORES; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                const int row = 32 * n + mfma_row(wave_lane(), i);
                d_scores[n][i] = weights[n][i] * (d_scores[n][i] - delta[row]);
            }
        }
        keep_order();
        multiply_weights<T, QUERIES>(d_k, q_transposed, d_scores);
    }
    store_columns(rows_of<T>(g.d_k, batch, kv_head), g.d_k.row_stride, key, g.key_len, first_column,
                  g.head_dim, d_k, g.scale);
    store_columns(rows_of<T>(g.d_v, batch, kv_head), g.d_v.row_stride, key, g.key_len, first_column,
                  g.head_dim, d_v, 1.0f);
}

// Gradients of queries.
template <class T, int DIM, int KEYS>
PORT_DEVICE void flash_d_q(const FlashArguments& g) {
    constexpr int N_SCORES = KEYS / 32;
    constexpr int N_SUMS = DIM / 32;
    alignas(16) PORT_SHARED u16 k_tile[KEYS * DIM];
    alignas(16) PORT_SHARED u16 v_tile[KEYS * DIM];
    alignas(16) PORT_SHARED u16 k_transposed[DIM * KEYS];

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

    OwnRows<DIM> own_q;
    OwnRows<DIM> own_d;
    own_q.fetch(rows_of<const T>(g.q, place.batch, place.head), g.q.row_stride, query, g.query_len,
                g.head_dim);
    own_d.fetch(rows_of<const T>(g.d_out, place.batch, place.head), g.d_out.row_stride, query,
                g.query_len, g.head_dim);
    const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
    const bool is_inside = query < g.query_len;
    const float lse = is_inside ? g.lse[head * g.query_len + query] * LOG2_E : 0.0f;
    const float delta = is_inside ? g.delta[head * g.query_len + query] : 0.0f;

    Rows<DIM, KEYS> k_next;
    Rows<DIM, KEYS> v_next;
    k_next.fetch(k, g.k.row_stride, begin, g.key_len, g.head_dim);
    v_next.fetch(v, g.v.row_stride, begin, g.key_len, g.head_dim);

    Fragment16 d_q[N_SUMS] = {};
    for (int key = begin; key < end; key += KEYS) {
        block_barrier();  // every wave has read the tiles before
        k_next.keep(k_tile);
        k_next.keep_transposed(k_transposed);
        v_next.keep(v_tile);
        block_barrier();
        k_next.fetch(k, g.k.row_stride, key + KEYS, g.key_len, g.head_dim);
        v_next.fetch(v, g.v.row_stride, key + KEYS, g.key_len, g.head_dim);
        keep_order();

        Fragment16 weights[N_SCORES];
        Fragment16 d_scores[N_SCORES];
        multiply_lines<T>(weights, k_tile, own_q);
        keep_order();
        multiply_lines<T>(d_scores, v_tile, own_d);
        const bool is_whole =
            key >= smaller(wave_query + WAVE_COLUMNS, g.query_len) - 1 + g.first &&
            key + KEYS - 1 <= wave_query + g.last && key + KEYS <= g.key_len;
        PORT_UNROLL
        for (int n = 0; n < N_SCORES; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 16; ++i) {
                const float weight = exp2_fast(weights[n][i] * factor - lse);
                const int row = key + 32 * n + mfma_row(wave_lane(), i);
                d_scores[n][i] = is_whole || is_visible(g, query, row)
                                     ? weight * (d_scores[n][i] - delta)
                                     : 0.0f;
            }
        }
        keep_order();
        multiply_weights<T, KEYS>(d_q, k_transposed, d_scores);
    }
    store_columns(rows_of<T>(g.d_q, place.batch, place.head), g.d_q.row_stride, query, g.query_len,
                  0, g.head_dim, d_q, g.scale);
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const FlashArguments g) { ENTRY_BODY(g); }
