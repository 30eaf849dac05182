// Flash attention, backward, on tensor cores of sm_80 and later: bf16 and fp16, fp32 sums.
//
// Two passes over the scores instead of one with atomic sums: one block owns keys and gathers their
// gradients from all queries, another owns queries. That is seven products in place of five, but
// the result does not depend on the order of blocks and needs no buffer in fp32.
//
//   P = exp(S - lse),  dS = P (dO V' - delta),  delta = rows of dO O (flash_delta.cu)
//   dV = P' dO,  dK = scale dS' Q,  dQ = scale dS K
#include "port.h"

#include "flash.h"

namespace {

// Gradients of keys and values. A warp owns 16 keys; scores are computed transposed, so that they
// are the first operand of both sums without leaving the registers. COLUMNS of the head dim are
// summed by a block; wider heads take several blocks, each computing the scores again.
template <class T, int DIM, int COLUMNS, int QUERIES, int WARPS>
PORT_DEVICE void flash_d_kv(const FlashArguments& g, unsigned char* shared) {
    constexpr int KEYS = 16 * WARPS;
    constexpr int THREADS = 32 * WARPS;
    constexpr int N_PARTS = DIM / COLUMNS;
    using Shared = SharedRows<DIM>;
    unsigned char* const k_tile = shared;
    unsigned char* const v_tile = k_tile + Shared::n_bytes(KEYS);
    unsigned char* const q_tile = v_tile + Shared::n_bytes(KEYS);
    unsigned char* const d_tile = q_tile + Shared::n_bytes(QUERIES);
    float* const lse = reinterpret_cast<float*>(d_tile + Shared::n_bytes(QUERIES));
    float* const delta = lse + QUERIES;

    const int index = static_cast<int>(block_index());
    const int part = index % N_PARTS;
    const int n_tiles = n_parts(g.key_len, KEYS);
    // Under a causal mask the first keys are seen by the most queries: those blocks start first.
    const Place backwards(index / N_PARTS, n_tiles, g.n_kv_heads);
    const int first_key = (n_tiles - 1 - backwards.tile) * KEYS;
    const int batch = backwards.batch;
    const int kv_head = backwards.head;
    const int lane = lane_index();
    const int own_key = first_key + 16 * warp_index();
    const int last_key = smaller(first_key + KEYS, g.key_len) - 1;
    const int begin = larger(0, first_key - g.last) / QUERIES * QUERIES;
    const int end = smaller(g.query_len, last_key - g.first + 1);
    const float factor = g.scale * LOG2_E;

    fetch_rows<DIM, KEYS, THREADS>(k_tile, rows_of<const T>(g.k, batch, kv_head), g.k.row_stride,
                                   first_key, g.key_len, g.head_dim);
    fetch_rows<DIM, KEYS, THREADS>(v_tile, rows_of<const T>(g.v, batch, kv_head), g.v.row_stride,
                                   first_key, g.key_len, g.head_dim);
    copy_commit();

    float d_k[COLUMNS / 8][4];
    float d_v[COLUMNS / 8][4];
    clear(d_k);
    clear(d_v);
    const int n_sharing = g.n_heads / g.n_kv_heads;
    for (int head = kv_head * n_sharing; head < (kv_head + 1) * n_sharing; ++head) {
        const T* const q = rows_of<const T>(g.q, batch, head);
        const T* const d_out = rows_of<const T>(g.d_out, batch, head);
        const i64 row = (static_cast<i64>(batch) * g.n_heads + head) * g.query_len;
        for (int query = begin; query < end; query += QUERIES) {
            block_barrier();  // every warp has read the previous queries
            fetch_rows<DIM, QUERIES, THREADS>(q_tile, q, g.q.row_stride, query, g.query_len,
                                              g.head_dim);
            fetch_rows<DIM, QUERIES, THREADS>(d_tile, d_out, g.d_out.row_stride, query,
                                              g.query_len, g.head_dim);
            copy_commit();
            for (int i = static_cast<int>(thread_index()); i < QUERIES; i += THREADS) {
                const bool is_inside = query + i < g.query_len;
                lse[i] = is_inside ? g.lse[row + query + i] * LOG2_E : 0.0f;
                delta[i] = is_inside ? g.delta[row + query + i] : 0.0f;
            }
            copy_wait<0>();
            block_barrier();

            float weights[QUERIES / 8][4];
            clear(weights);
            multiply_rows<T, DIM>(weights, k_tile, 16 * warp_index(), q_tile);
            const bool is_whole = first_key >= query + QUERIES - 1 + g.first &&
                                  first_key + KEYS - 1 <= query + g.last &&
                                  first_key + KEYS <= g.key_len && query + QUERIES <= g.query_len;
            PORT_UNROLL
            for (int n = 0; n < QUERIES / 8; ++n) {
                PORT_UNROLL
                for (int i = 0; i < 4; ++i) {
                    const int column = n * 8 + lane % 4 * 2 + i % 2;
                    const int key = own_key + lane / 4 + 8 * (i / 2);
                    const float weight = exp2_fast(weights[n][i] * factor - lse[column]);
                    weights[n][i] =
                        is_whole || is_visible(g, query + column, key) ? weight : 0.0f;
                }
            }
            multiply_weights<T, DIM>(d_v, weights, d_tile, part * (COLUMNS / 16));

            float d_scores[QUERIES / 8][4];
            clear(d_scores);
            multiply_rows<T, DIM>(d_scores, v_tile, 16 * warp_index(), d_tile);
            PORT_UNROLL
            for (int n = 0; n < QUERIES / 8; ++n) {
                PORT_UNROLL
                for (int i = 0; i < 4; ++i) {
                    const int column = n * 8 + lane % 4 * 2 + i % 2;
                    d_scores[n][i] = weights[n][i] * (d_scores[n][i] - delta[column]);
                }
            }
            multiply_weights<T, DIM>(d_k, d_scores, q_tile, part * (COLUMNS / 16));
        }
    }
    copy_wait<0>();
    const float scaled[2] = {g.scale, g.scale};
    const float ones[2] = {1.0f, 1.0f};
    store_rows(rows_of<T>(g.d_k, batch, kv_head), g.d_k.row_stride, own_key, g.key_len,
               part * COLUMNS, g.head_dim, d_k, scaled);
    store_rows(rows_of<T>(g.d_v, batch, kv_head), g.d_v.row_stride, own_key, g.key_len,
               part * COLUMNS, g.head_dim, d_v, ones);
}

// Gradients of queries. A warp owns 16 queries and walks over the keys they see.
template <class T, int DIM, int KEYS, int WARPS>
PORT_DEVICE void flash_d_q(const FlashArguments& g, unsigned char* shared) {
    constexpr int QUERIES = 16 * WARPS;
    constexpr int THREADS = 32 * WARPS;
    using Shared = SharedRows<DIM>;
    unsigned char* const q_tile = shared;
    unsigned char* const d_tile = q_tile + Shared::n_bytes(QUERIES);
    unsigned char* const k_tile = d_tile + Shared::n_bytes(QUERIES);
    unsigned char* const v_tile = k_tile + Shared::n_bytes(KEYS);

    const Place place(static_cast<int>(block_index()), n_parts(g.query_len, QUERIES), g.n_heads);
    const int kv_head = place.head / (g.n_heads / g.n_kv_heads);
    const T* const k = rows_of<const T>(g.k, place.batch, kv_head);
    const T* const v = rows_of<const T>(g.v, place.batch, kv_head);
    const int lane = lane_index();
    const int first_query = place.tile * QUERIES;
    const int own_query = first_query + 16 * warp_index();
    const int last_query = smaller(first_query + QUERIES, g.query_len) - 1;
    const int begin = larger(0, first_query + g.first) / KEYS * KEYS;
    const int end = smaller(g.key_len, last_query + g.last + 1);
    const float factor = g.scale * LOG2_E;

    float lse[2];
    float delta[2];
    const i64 row = (static_cast<i64>(place.batch) * g.n_heads + place.head) * g.query_len;
    PORT_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int query = own_query + lane / 4 + 8 * half;
        lse[half] = query < g.query_len ? g.lse[row + query] * LOG2_E : 0.0f;
        delta[half] = query < g.query_len ? g.delta[row + query] : 0.0f;
    }
    fetch_rows<DIM, QUERIES, THREADS>(q_tile, rows_of<const T>(g.q, place.batch, place.head),
                                      g.q.row_stride, first_query, g.query_len, g.head_dim);
    fetch_rows<DIM, QUERIES, THREADS>(d_tile, rows_of<const T>(g.d_out, place.batch, place.head),
                                      g.d_out.row_stride, first_query, g.query_len, g.head_dim);
    copy_commit();

    float d_q[DIM / 8][4];
    clear(d_q);
    for (int key = begin; key < end; key += KEYS) {
        block_barrier();  // every warp has read the previous keys
        fetch_rows<DIM, KEYS, THREADS>(k_tile, k, g.k.row_stride, key, g.key_len, g.head_dim);
        fetch_rows<DIM, KEYS, THREADS>(v_tile, v, g.v.row_stride, key, g.key_len, g.head_dim);
        copy_commit();
        copy_wait<0>();
        block_barrier();

        float weights[KEYS / 8][4];
        float d_scores[KEYS / 8][4];
        clear(weights);
        clear(d_scores);
        multiply_rows<T, DIM>(weights, q_tile, 16 * warp_index(), k_tile);
        multiply_rows<T, DIM>(d_scores, d_tile, 16 * warp_index(), v_tile);
        const bool is_whole = key >= last_query + g.first && key + KEYS - 1 <= first_query + g.last &&
                              key + KEYS <= g.key_len && first_query + QUERIES <= g.query_len;
        PORT_UNROLL
        for (int n = 0; n < KEYS / 8; ++n) {
            PORT_UNROLL
            for (int i = 0; i < 4; ++i) {
                const int query = own_query + lane / 4 + 8 * (i / 2);
                const int column = key + n * 8 + lane % 4 * 2 + i % 2;
                const float weight = exp2_fast(weights[n][i] * factor - lse[i / 2]);
                d_scores[n][i] = is_whole || is_visible(g, query, column)
                                     ? weight * (d_scores[n][i] - delta[i / 2])
                                     : 0.0f;
            }
        }
        multiply_weights<T, DIM>(d_q, d_scores, k_tile, 0);
    }
    copy_wait<0>();
    const float scaled[2] = {g.scale, g.scale};
    store_rows(rows_of<T>(g.d_q, place.batch, place.head), g.d_q.row_stride, own_query, g.query_len,
               0, g.head_dim, d_q, scaled);
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const FlashArguments g) {
    PORT_DYNAMIC_SHARED(shared);
    ENTRY_BODY(g, shared);
}
