// Flash attention, forward, for Hopper (sm_90a): bf16 and fp16, fp32 sums.
//
// A block owns 128 queries. One warp group copies tiles of keys and values into two rings; two warp
// groups own 64 queries each. The products of a warp group are asynchronous: while it turns the
// scores of one tile into weights, its tensor cores sum the values of the tile before, and the other
// warp group's scores. Named barriers let the groups ask for products in turn, so that one multiplies
// while the other has exponentials to do. Keys go from the last to the first, so that tiles that the
// mask cuts come before the long run of whole ones.
//
// Shah et al., FlashAttention-3 (2024), sections 3.1 and 3.2.
#include "port.h"

#include "flash_wgmma.h"

namespace {

// Softmax of a warp group's rows, two of them in each thread.
template <int KEYS>
struct Rows {
    const FlashArguments& g;
    int first_query;  // of the warp group
    // The largest score so far, and this thread's share of the sum of exponentials.
    float top[2];
    float sum[2];

    PORT_DEVICE Rows(const FlashArguments& g, int first_query)
        : g(g), first_query(first_query) {
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            top[half] = minus_infinity();
            sum[half] = 0.0f;
        }
    }

    // True where every query of the warp group sees every key of the tile.
    PORT_DEVICE bool is_whole(int key) const {
        const int last_query = smaller(first_query + GROUP_ROWS, g.query_len) - 1;
        return key >= last_query + g.first && key + KEYS - 1 <= first_query + g.last &&
               key + KEYS <= g.key_len;
    }

    PORT_DEVICE void hide(float (&scores)[KEYS / 2], int key) const {
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            const int query = first_query + wgmma_row(group_thread(), 2 * half);
            const int last = smaller(query + g.last, g.key_len - 1);
            cut<KEYS>(scores, half, query + g.first - key, last - key, minus_infinity());
        }
    }

    // Turns scores into exponentials relative to the largest so far; what was summed before is to
    // be multiplied with `kept`.
    PORT_DEVICE void soften(float (&scores)[KEYS / 2], float (&kept)[2]) {
        const float factor = g.scale * LOG2_E;
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            float most = top[half];
            PORT_UNROLL
            for (int i = 2 * half; i < KEYS / 2; i += 4) {
                most = larger_of(most, larger_of(scores[i], scores[i + 1]));
            }
            most = larger_of(most, shuffle_xor(most, 1));
            most = larger_of(most, shuffle_xor(most, 2));
            // A row that has seen no key yet: all exponentials are zero, not 0/0.
            const float base = most == minus_infinity() ? 0.0f : most * factor;
            kept[half] = exp2_fast(top[half] * factor - base);
            top[half] = most;
            float added = 0.0f;
            PORT_UNROLL
            for (int i = 2 * half; i < KEYS / 2; i += 4) {
                PORT_UNROLL
                for (int e = 0; e < 2; ++e) {
                    scores[i + e] = exp2_fast(scores[i + e] * factor - base);
                    added += scores[i + e];
                }
            }
            sum[half] = sum[half] * kept[half] + added;
        }
    }

    // Writes the log-sum-exp of the rows, and returns what their sums are to be multiplied with.
    PORT_DEVICE void finish(const Place& place, float (&factor)[2]) {
        PORT_UNROLL
        for (int half = 0; half < 2; ++half) {
            sum[half] += shuffle_xor(sum[half], 1);
            sum[half] += shuffle_xor(sum[half], 2);
            factor[half] = sum[half] > 0.0f ? 1.0f / sum[half] : 0.0f;
            const int query = first_query + wgmma_row(group_thread(), 2 * half);
            if (lane_index() % 4 == 0 && query < g.query_len) {
                const i64 head = static_cast<i64>(place.batch) * g.n_heads + place.head;
                g.lse[head * g.query_len + query] =
                    sum[half] > 0.0f ? top[half] * g.scale + log2_fast(sum[half]) * LN_2
                                     : minus_infinity();
            }
        }
    }
};

template <class T, int DIM, int KEYS, int STAGES>
struct Forward {
    static constexpr int QUERIES = CONSUMERS * GROUP_ROWS;
    using Queries = BoxedTile<DIM, QUERIES>;
    using Keys = BoxedTile<DIM, KEYS>;

    const FlashArguments& g;
    Place place;
    int first_query;
    int last_tile;  // first key of the last tile, and how many tiles there are
    int n_tiles;
    unsigned char* q_tile;
    u64* q_full;
    TileRing<STAGES> k;
    TileRing<STAGES> v;

    PORT_DEVICE Forward(const FlashArguments& g, unsigned char* memory)
        : g(g),
          place(static_cast<int>(block_index()), n_parts(g.query_len, QUERIES), g.n_heads),
          first_query(place.tile * QUERIES) {
        const int last_query = smaller(first_query + QUERIES, g.query_len) - 1;
        const int begin = larger(0, first_query + g.first) / KEYS * KEYS;
        const int end = smaller(g.key_len, last_query + g.last + 1);
        n_tiles = end > begin ? n_parts(end - begin, KEYS) : 0;
        last_tile = begin + (n_tiles - 1) * KEYS;
        q_tile = first_tile(memory);
        k.tiles = q_tile + Queries::BYTES;
        v.tiles = k.tiles + STAGES * Keys::BYTES;
        q_full = reinterpret_cast<u64*>(v.tiles + STAGES * Keys::BYTES);
        k.full = q_full + 1;
        k.empty = k.full + STAGES;
        v.full = k.empty + STAGES;
        v.empty = v.full + STAGES;
    }

    PORT_DEVICE void produce(const TensorMap* q_map, const TensorMap* k_map,
                             const TensorMap* v_map) const {
        const int kv_head = place.head / (g.n_heads / g.n_kv_heads);
        if (n_tiles == 0) {
            return;  // nobody would wait for the queries, and no copy may outlive the block
        }
        RingPlace<STAGES> k_at;
        RingPlace<STAGES> v_at;
        barrier_expect(q_full, Queries::BYTES);
        Queries::copy(q_tile, q_map, q_full, first_query, place.head, place.batch);
        // In the order in which stages are emptied: scores of a tile come before values of the last.
        for (int i = 0, key = last_tile; i <= n_tiles; ++i, key -= KEYS) {
            if (i < n_tiles) {
                copy_tile(k, k_at, k_map, key, kv_head);
            }
            if (i > 0) {
                copy_tile(v, v_at, v_map, key + KEYS, kv_head);
            }
        }
    }

    PORT_DEVICE void copy_tile(const TileRing<STAGES>& ring, RingPlace<STAGES>& at,
                               const TensorMap* map, int key, int kv_head) const {
        ring.await_empty(at);
        Keys::copy(ring.tiles + at.stage * Keys::BYTES, map, ring.expect(at, Keys::BYTES), key,
                   kv_head, place.batch);
        at.advance();
    }

    PORT_DEVICE u32 tile_address(const TileRing<STAGES>& ring,
                                 const RingPlace<STAGES>& at) const {
        return shared_address(ring.tiles) + at.stage * Keys::BYTES;
    }

    // Numbers 1 and 2 are the turns of the consumers. The last turn is not passed on: nobody waits.
    PORT_DEVICE static void await_turn(int consumer) {
        group_meet<CONSUMERS * GROUP_THREADS>(1 + consumer);
    }
    PORT_DEVICE static void pass_turn(int consumer, bool is_another_round) {
        if (consumer == 0 || is_another_round) {
            group_arrive<CONSUMERS * GROUP_THREADS>(2 - consumer);
        }
    }

    PORT_DEVICE void consume(int consumer) const {
        Rows<KEYS> rows(g, first_query + consumer * GROUP_ROWS);
        float out[DIM / 2] = {};
        if (n_tiles > 0) {
            attend(rows, out, consumer);
        }
        float factor[2];
        rows.finish(place, factor);
        store_sums(rows_of<T>(g.out, place.batch, place.head), g.out.row_stride, rows.first_query,
                   g.query_len, g.head_dim, out, factor);
    }

    PORT_DEVICE void attend(Rows<KEYS>& rows, float (&out)[DIM / 2], int consumer) const {
        RingPlace<STAGES> k_at;
        RingPlace<STAGES> v_at;
        float scores[KEYS / 2] = {};
        float kept[2];
        u32 weights[KEYS / 16][4];
        const u32 queries = shared_address(q_tile);
        const int row = consumer * GROUP_ROWS;
        int key = last_tile;
        if (consumer == 1) {
            pass_turn(1, n_tiles > 1);
        }

        barrier_wait(q_full, 0);
        k.await(k_at);
        product_pin(scores);
        product_fence();
        multiply_lines<T, Queries, Keys, DIM, KEYS>(scores, queries, row, tile_address(k, k_at));
        product_commit();
        product_wait<0>();
        product_pin(scores);
        k.release(k_at);
        k_at.advance();
        if (!rows.is_whole(key)) {
            rows.hide(scores, key);
        }
        rows.soften(scores, kept);
        pack_weights<T>(weights, scores);

        product_pin(out);
        if (n_tiles > 1) {
            k.await(k_at);
        }
        for (int i = 1; i < n_tiles; ++i) {
            key -= KEYS;
            await_turn(consumer);
            product_fence();
            multiply_lines<T, Queries, Keys, DIM, KEYS>(
                scores, queries, row, tile_address(k, k_at));
            product_commit();
            v.await(v_at);
            product_fence();
            multiply_weights<T, Keys, DIM>(out, weights, tile_address(v, v_at));
            product_commit();
            pass_turn(consumer, i + 1 < n_tiles);
            product_wait<1>();  // scores are there, values go on
            product_pin(scores);
            k.release(k_at);
            k_at.advance();
            if (!rows.is_whole(key)) {
                rows.hide(scores, key);
            }
            rows.soften(scores, kept);
            product_pin(scores);
            // Keys of the next round are awaited here and not there: the assembler moves a wait for
            // products before arithmetic that it should hide, but not across this loop.
            if (i + 1 < n_tiles) {
                k.await(k_at);
            }
            product_wait<0>();
            product_pin(out);
            v.release(v_at);
            v_at.advance();
            PORT_UNROLL
            for (int n = 0; n < DIM / 2; ++n) {
                out[n] *= kept[n / 2 % 2];
            }
            pack_weights<T>(weights, scores);
        }
        v.await(v_at);
        product_fence();
        multiply_weights<T, Keys, DIM>(out, weights, tile_address(v, v_at));
        product_commit();
        product_wait<0>();
        product_pin(out);
        v.release(v_at);
    }
};

template <class T, int DIM, int KEYS, int STAGES>
PORT_DEVICE void flash_forward(const FlashArguments& g, const TensorMap& q_map,
                               const TensorMap& k_map, const TensorMap& v_map,
                               unsigned char* memory) {
    const Forward<T, DIM, KEYS, STAGES> block(g, memory);
    if (thread_index() == 0) {
        tensor_prefetch(&q_map);
        tensor_prefetch(&k_map);
        tensor_prefetch(&v_map);
        barrier_init(block.q_full, 1);
        block.k.init(1);
        block.v.init(1);
        barrier_publish();
    }
    block_barrier();
    if (group_index() == 0) {
        registers_give<24>();
        if (thread_index() == 0) {
            block.produce(&q_map, &k_map, &v_map);
        }
    } else {
        registers_take<240>();
        block.consume(group_index() - 1);
    }
}

}  // namespace

PORT_KERNEL(BLOCK_THREADS, 1)
ENTRY_NAME(const PORT_GRID_CONSTANT TensorMap q_map, const PORT_GRID_CONSTANT TensorMap k_map,
           const PORT_GRID_CONSTANT TensorMap v_map, const FlashArguments g) {
    PORT_DYNAMIC_SHARED(memory);
    ENTRY_BODY(g, q_map, k_map, v_map, memory);
}
