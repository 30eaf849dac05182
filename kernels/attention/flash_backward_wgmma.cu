// Flash attention, backward, for Hopper (sm_90a): bf16 and fp16, fp32 sums.
//
// The same two passes as in flash_backward.cu, each a block of one warp group that copies and two that
// multiply: flash_d_kv keeps 128 keys and values and walks over the queries that see them, flash_d_q
// keeps 128 queries and walks over keys. A warp group owns 64 of the rows that stay. Its scores are
// computed with those rows down and what passes by across, so that weights and gradients of scores
// are first operands of the sums without leaving the registers: nothing is written to shared memory
// but by the copy engine, and nothing is summed by atomics.
//
// Products are asynchronous and end in order: a warp group turns scores into weights while its
// gradients of weights are multiplied, and asks for the scores of the next tile together with the sums
// of this one. What it has to wait for then, the other warp group fills with its own.
#include "port.h"

#include "flash_wgmma.h"

namespace {

// Tiles of both operands that stay, and rings of those that pass by, in shared memory.
template <class Staying, class Passing, int STAGES>
struct Memory {
    static constexpr u32 STAGE_BYTES = 2 * Passing::BYTES;

    unsigned char* staying;
    u64* staying_full;
    TileRing<STAGES> ring;
    float* terms;  // behind the barriers: what belongs to rows that pass by

    PORT_DEVICE explicit Memory(unsigned char* memory)
        : staying(first_tile(memory)) {
        ring.tiles = staying + 2 * Staying::BYTES;
        staying_full = reinterpret_cast<u64*>(ring.tiles + STAGES * STAGE_BYTES);
        ring.full = staying_full + 1;
        ring.empty = ring.full + STAGES;
        terms = reinterpret_cast<float*>(ring.empty + STAGES);
    }

    // `n_writers` threads write into a stage besides the one that asks for copies.
    PORT_DEVICE void init(int n_writers) const {
        if (thread_index() == 0) {
            barrier_init(staying_full, 1);
            ring.init(1 + n_writers);
            barrier_publish();
        }
    }
    PORT_DEVICE void copy_staying(const TensorMap* first, const TensorMap* second, int row,
                                  int head, int batch) const {
        barrier_expect(staying_full, 2 * Staying::BYTES);
        Staying::copy(staying, first, staying_full, row, head, batch);
        Staying::copy(staying + Staying::BYTES, second, staying_full, row, head, batch);
    }
    PORT_DEVICE void copy_passing(const RingPlace<STAGES>& at, const TensorMap* first,
                                  const TensorMap* second, int row, int head, int batch) const {
        unsigned char* const stage = ring.tiles + at.stage * STAGE_BYTES;
        u64* const full = ring.expect(at, STAGE_BYTES);
        Passing::copy(stage, first, full, row, head, batch);
        Passing::copy(stage + Passing::BYTES, second, full, row, head, batch);
    }
    PORT_DEVICE u32 stage(const RingPlace<STAGES>& at) const {
        return shared_address(ring.tiles) + at.stage * STAGE_BYTES;
    }
};

template <class T, int DIM, int QUERIES, int STAGES>
struct KeyBlock {
    static constexpr int KEYS = CONSUMERS * GROUP_ROWS;
    using Keys = BoxedTile<DIM, KEYS>;
    using Queries = BoxedTile<DIM, QUERIES>;
    using Shared = Memory<Keys, Queries, STAGES>;

    const FlashArguments& g;
    Shared memory;
    int first_key;
    int kv_head;
    int batch;
    int n_sharing;
    int begin;    // first query of the first tile
    int n_tiles;  // of each of the heads that share the keys

    PORT_DEVICE KeyBlock(const FlashArguments& g, unsigned char* shared)
        : g(g), memory(shared), n_sharing(g.n_heads / g.n_kv_heads) {
        const int n_blocks = n_parts(g.key_len, KEYS);
        // Under a causal mask the first keys are seen by the most queries: those blocks start first.
        const Place backwards(static_cast<int>(block_index()), n_blocks, g.n_kv_heads);
        first_key = (n_blocks - 1 - backwards.tile) * KEYS;
        kv_head = backwards.head;
        batch = backwards.batch;
        const int last_key = smaller(first_key + KEYS, g.key_len) - 1;
        begin = larger(0, first_key - g.last) / QUERIES * QUERIES;
        const int end = smaller(g.query_len, last_key - g.first + 1);
        n_tiles = end > begin ? n_parts(end - begin, QUERIES) : 0;
    }

    PORT_DEVICE int n_items() const { return n_sharing * n_tiles; }
    PORT_DEVICE int head_of(int item) const { return kv_head * n_sharing + item / n_tiles; }
    PORT_DEVICE int query_of(int item) const { return begin + item % n_tiles * QUERIES; }
    PORT_DEVICE float* lse_of(int stage) const { return memory.terms + stage * 2 * QUERIES; }

    // One warp: its first lane asks for tiles, all bring what belongs to the queries.
    PORT_DEVICE void produce(const TensorMap* q_map, const TensorMap* k_map,
                             const TensorMap* v_map, const TensorMap* d_map) const {
        const int lane = lane_index();
        // Nobody would wait for keys that no query sees, and no copy may outlive the block.
        if (lane == 0 && n_items() > 0) {
            memory.copy_staying(k_map, v_map, first_key, kv_head, batch);
        }
        RingPlace<STAGES> at;
        for (int item = 0; item < n_items(); ++item) {
            const int head = head_of(item);
            const int query = query_of(item);
            memory.ring.await_empty(at);
            if (lane == 0) {
                memory.copy_passing(at, q_map, d_map, query, head, batch);
            }
            const i64 row = (static_cast<i64>(batch) * g.n_heads + head) * g.query_len + query;
            float* const lse = lse_of(at.stage);
            PORT_NO_UNROLL
            for (int i = lane; i < QUERIES; i += 32) {
                // Weights of queries behind the last are zero by that.
                const bool is_inside = query + i < g.query_len;
                lse[i] = is_inside ? g.lse[row + i] * LOG2_E : -minus_infinity();
                lse[QUERIES + i] = is_inside ? g.delta[row + i] : 0.0f;
            }
            barrier_arrive(memory.ring.full + at.stage);
            at.advance();
        }
    }

    // Turns transposed scores into weights.
    PORT_DEVICE void weigh(float (&scores)[QUERIES / 2], const float* lse, int own_key,
                           int query) const {
        const int thread = group_thread();
        const float factor = g.scale * LOG2_E;
        const bool is_whole = own_key >= query + QUERIES - 1 + g.first &&
                              own_key + GROUP_ROWS - 1 <= query + g.last;
        PORT_UNROLL
        for (int i = 0; i < QUERIES / 2; ++i) {
            scores[i] = exp2_fast(scores[i] * factor - lse[wgmma_column(thread, i)]);
        }
        if (!is_whole) {
            PORT_UNROLL
            for (int half = 0; half < 2; ++half) {
                // Queries of the tile that see the key.
                const int key = own_key + wgmma_row(thread, 2 * half) - query;
                cut<QUERIES>(scores, half, key - g.last, key - g.first, 0.0f);
            }
        }
    }

    PORT_DEVICE void consume(int consumer) const {
        float d_k[DIM / 2] = {};
        float d_v[DIM / 2] = {};
        const int own_key = first_key + consumer * GROUP_ROWS;
        if (n_items() > 0) {
            gather(d_k, d_v, consumer);
        }
        const float scaled[2] = {g.scale, g.scale};
        const float ones[2] = {1.0f, 1.0f};
        store_sums(rows_of<T>(g.d_k, batch, kv_head), g.d_k.row_stride, own_key, g.key_len,
                   g.head_dim, d_k, scaled);
        store_sums(rows_of<T>(g.d_v, batch, kv_head), g.d_v.row_stride, own_key, g.key_len,
                   g.head_dim, d_v, ones);
    }

    PORT_DEVICE void gather(float (&d_k)[DIM / 2], float (&d_v)[DIM / 2], int consumer) const {
        const int thread = group_thread();
        const int row = consumer * GROUP_ROWS;
        const u32 keys = shared_address(memory.staying);
        const u32 values = keys + Keys::BYTES;
        RingPlace<STAGES> at;
        RingPlace<STAGES> next;
        float scores[QUERIES / 2] = {};
        float d_scores[QUERIES / 2] = {};
        u32 weights[QUERIES / 16][4];
        u32 d_weights[QUERIES / 16][4];

        barrier_wait(memory.staying_full, 0);
        memory.ring.await(at);
        product_pin(scores);
        product_pin(d_scores);
        product_pin(d_k);
        product_pin(d_v);
        product_fence();
        multiply_lines<T, Keys, Queries, DIM, QUERIES>(scores, keys, row, memory.stage(at));
        product_commit();
        product_wait<0>();
        product_pin(scores);
        for (int item = 0; item < n_items(); ++item) {
            const u32 queries = memory.stage(at);
            const u32 gradients = queries + Queries::BYTES;
            const float* const lse = lse_of(at.stage);
            product_fence();
            multiply_lines<T, Keys, Queries, DIM, QUERIES>(d_scores, values, row, gradients);
            product_commit();
            weigh(scores, lse, first_key + row, query_of(item));
            product_pin(scores);  // before the wait, and not behind it
            pack_weights<T>(weights, scores);
            product_fence();
            multiply_weights<T, Queries, DIM>(d_v, weights, gradients);
            product_commit();
            product_wait<1>();  // gradients of weights are there, values go on
            product_pin(d_scores);
            PORT_UNROLL
            for (int i = 0; i < QUERIES / 2; ++i) {
                d_scores[i] =
                    scores[i] * (d_scores[i] - lse[QUERIES + wgmma_column(thread, i)]);
            }
            pack_weights<T>(d_weights, d_scores);
            product_fence();
            multiply_weights<T, Queries, DIM>(d_k, d_weights, queries);
            product_commit();
            if (item + 1 < n_items()) {
                next.advance();
                memory.ring.await(next);
            }
            // The last time these scores are nobody's: for a product in a branch the assembler would
            // wait at once, and for all others too.
            product_fence();
            multiply_lines<T, Keys, Queries, DIM, QUERIES>(scores, keys, row, memory.stage(next));
            product_commit();
            product_wait<0>();
            product_pin(scores);
            product_pin(d_k);
            product_pin(d_v);
            memory.ring.release(at);
            at = next;
        }
    }
};

template <class T, int DIM, int KEYS, int STAGES>
struct QueryBlock {
    static constexpr int QUERIES = CONSUMERS * GROUP_ROWS;
    using Queries = BoxedTile<DIM, QUERIES>;
    using Keys = BoxedTile<DIM, KEYS>;
    using Shared = Memory<Queries, Keys, STAGES>;

    const FlashArguments& g;
    Shared memory;
    Place place;
    int first_query;
    int begin;  // first key of the first tile
    int n_tiles;

    PORT_DEVICE QueryBlock(const FlashArguments& g, unsigned char* shared)
        : g(g),
          memory(shared),
          place(static_cast<int>(block_index()), n_parts(g.query_len, QUERIES), g.n_heads),
          first_query(place.tile * QUERIES) {
        const int last_query = smaller(first_query + QUERIES, g.query_len) - 1;
        begin = larger(0, first_query + g.first) / KEYS * KEYS;
        const int end = smaller(g.key_len, last_query + g.last + 1);
        n_tiles = end > begin ? n_parts(end - begin, KEYS) : 0;
    }

    PORT_DEVICE void produce(const TensorMap* q_map, const TensorMap* k_map,
                             const TensorMap* v_map, const TensorMap* d_map) const {
        // Nobody would wait for queries that see no key, and no copy may outlive the block.
        if (thread_index() != 0 || n_tiles == 0) {
            return;
        }
        const int kv_head = place.head / (g.n_heads / g.n_kv_heads);
        memory.copy_staying(q_map, d_map, first_query, place.head, place.batch);
        RingPlace<STAGES> at;
        for (int i = 0; i < n_tiles; ++i) {
            memory.ring.await_empty(at);
            memory.copy_passing(at, k_map, v_map, begin + i * KEYS, kv_head, place.batch);
            at.advance();
        }
    }

    // Turns scores into weights.
    PORT_DEVICE void weigh(float (&scores)[KEYS / 2], const float (&lse)[2], int own_query,
                           int key) const {
        const float factor = g.scale * LOG2_E;
        const int last_query = smaller(own_query + GROUP_ROWS, g.query_len) - 1;
        const bool is_whole = key >= last_query + g.first &&
                              key + KEYS - 1 <= own_query + g.last && key + KEYS <= g.key_len;
        PORT_UNROLL
        for (int i = 0; i < KEYS / 2; ++i) {
            scores[i] = exp2_fast(scores[i] * factor - lse[i / 2 % 2]);
        }
        if (!is_whole) {
            PORT_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int query = own_query + wgmma_row(group_thread(), 2 * half);
                const int last = smaller(query + g.last, g.key_len - 1);
                cut<KEYS>(scores, half, query + g.first - key, last - key, 0.0f);
            }
        }
    }

    PORT_DEVICE void consume(int consumer) const {
        float d_q[DIM / 2] = {};
        if (n_tiles > 0) {
            gather(d_q, consumer);
        }
        const float scaled[2] = {g.scale, g.scale};
        store_sums(rows_of<T>(g.d_q, place.batch, place.head), g.d_q.row_stride,
                   first_query + consumer * GROUP_ROWS, g.query_len, g.head_dim, d_q, scaled);
    }

    // Of a thread's two rows.
    PORT_DEVICE void load_terms(float (&lse)[2], float (&delta)[2], int own_query) const {
        const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            const int query = own_query + wgmma_row(group_thread(), 2 * half);
            const bool is_inside = query < g.query_len;
            lse[half] = is_inside ? g.lse[head * g.query_len + query] * LOG2_E : 0.0f;
            delta[half] = is_inside ? g.delta[head * g.query_len + query] : 0.0f;
        }
    }

    PORT_DEVICE void gather(float (&d_q)[DIM / 2], int consumer) const {
        const int row = consumer * GROUP_ROWS;
        const u32 queries = shared_address(memory.staying);
        const u32 gradients = queries + Queries::BYTES;
        RingPlace<STAGES> at;
        RingPlace<STAGES> next;
        float scores[KEYS / 2] = {};
        float d_scores[KEYS / 2] = {};
        u32 weights[KEYS / 16][4];
        float lse[2];
        float delta[2];
        load_terms(lse, delta, first_query + row);

        barrier_wait(memory.staying_full, 0);
        memory.ring.await(at);
        product_pin(scores);
        product_pin(d_scores);
        product_pin(d_q);
        product_fence();
        multiply_lines<T, Queries, Keys, DIM, KEYS>(scores, queries, row, memory.stage(at));
        product_commit();
        product_wait<0>();
        product_pin(scores);
        for (int i = 0; i < n_tiles; ++i) {
            const u32 keys = memory.stage(at);
            product_fence();
            multiply_lines<T, Queries, Keys, DIM, KEYS>(
                d_scores, gradients, row, keys + Keys::BYTES);
            product_commit();
            weigh(scores, lse, first_query + row, begin + i * KEYS);
            product_pin(scores);  // before the wait, and not behind it
            product_wait<0>();
            product_pin(d_scores);
            PORT_UNROLL
            for (int n = 0; n < KEYS / 2; ++n) {
                d_scores[n] = scores[n] * (d_scores[n] - delta[n / 2 % 2]);
            }
            pack_weights<T>(weights, d_scores);
            product_fence();
            multiply_weights<T, Keys, DIM>(d_q, weights, keys);
            product_commit();
            if (i + 1 < n_tiles) {
                next.advance();
                memory.ring.await(next);
            }
            // The last time these scores are nobody's, as above.
            product_fence();
            multiply_lines<T, Queries, Keys, DIM, KEYS>(scores, queries, row, memory.stage(next));
            product_commit();
            product_wait<0>();
            product_pin(scores);
            product_pin(d_q);
            memory.ring.release(at);
            at = next;
        }
    }
};

template <class Block, int N_WRITERS>
PORT_DEVICE void run(const Block& block, const TensorMap& q_map, const TensorMap& k_map,
                     const TensorMap& v_map, const TensorMap& d_map) {
    if (thread_index() == 0) {
        tensor_prefetch(&q_map);
        tensor_prefetch(&k_map);
        tensor_prefetch(&v_map);
        tensor_prefetch(&d_map);
    }
    block.memory.init(N_WRITERS);
    block_barrier();
    if (group_index() == 0) {
        registers_give<24>();
        if (thread_index() < 32) {
            block.produce(&q_map, &k_map, &v_map, &d_map);
        }
    } else {
        registers_take<240>();
        block.consume(group_index() - 1);
    }
}

template <class T, int DIM, int QUERIES, int STAGES>
PORT_DEVICE void flash_d_kv(const FlashArguments& g, const TensorMap& q_map, const TensorMap& k_map,
                            const TensorMap& v_map, const TensorMap& d_map, unsigned char* shared) {
    run<KeyBlock<T, DIM, QUERIES, STAGES>, 32>(
        KeyBlock<T, DIM, QUERIES, STAGES>(g, shared), q_map, k_map, v_map, d_map);
}

template <class T, int DIM, int KEYS, int STAGES>
PORT_DEVICE void flash_d_q(const FlashArguments& g, const TensorMap& q_map, const TensorMap& k_map,
                           const TensorMap& v_map, const TensorMap& d_map, unsigned char* shared) {
    run<QueryBlock<T, DIM, KEYS, STAGES>, 0>(
        QueryBlock<T, DIM, KEYS, STAGES>(g, shared), q_map, k_map, v_map, d_map);
}

}  // namespace

PORT_KERNEL(BLOCK_THREADS, 1)
ENTRY_NAME(const PORT_GRID_CONSTANT TensorMap q_map, const PORT_GRID_CONSTANT TensorMap k_map,
           const PORT_GRID_CONSTANT TensorMap v_map, const PORT_GRID_CONSTANT TensorMap d_map,
           const FlashArguments g) {
    PORT_DYNAMIC_SHARED(shared);
    ENTRY_BODY(g, q_map, k_map, v_map, d_map, shared);
}
