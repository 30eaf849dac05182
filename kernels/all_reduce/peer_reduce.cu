// All-reduce among 2 to 8 devices that read each other's memory, for CUDA and HIP.
//
// one_shot: every rank reads the whole input of every rank. One meeting, (N - 1) messages over each
// wire: for small ones. two_shot: every rank sums its shard and reads the others' sums. Two meetings,
// 2 (N - 1) / N messages. Either way all ranks get the same bits: sums are taken in the order of
// ranks by everybody, or by one rank for all.
//
// N is the number of ranks, or of table places of which the last are not used.
#include "peers.h"

namespace {

// Chunks that a thread asks every peer for at a time: with few peers, more of each, since what is
// in flight over the time of a round trip is the bandwidth (Little's law).
template <int N>
constexpr int ROUNDS = N >= 5 ? 1 : N >= 3 ? 2 : 4;

template <class T, int N>
PORT_DEVICE void one_shot(const PeerArguments& g) {
    const i64 n_chunks = (g.n + PER_CHUNK<T> - 1) / PER_CHUNK<T>;
    const i64 stride = all_threads();
    const u64 call = g.calls[block_index()];
    if (!g.is_direct) {
        Chunk* own = half_of(static_cast<Chunk*>(g.own_inputs), g.inputs_half_bytes, call);
        for (i64 i = own_index(); i < n_chunks; i += stride) {
            peer_store(own + i, load_message<T>(g, i));
        }
    }
    meet_peers<N>(g, call * STEPS + INPUTS_READY);
    const Chunk* inputs[N];
    PORT_UNROLL
    for (int k = 0; k < N; ++k) {
        inputs[k] = half_of(static_cast<const Chunk*>(g.inputs[k]), g.inputs_half_bytes, call);
    }
    for (i64 first = own_index(); first < n_chunks; first += ROUNDS<N> * stride) {
        Chunk chunks[ROUNDS<N>][N];
        PORT_UNROLL
        for (int round = 0; round < ROUNDS<N>; ++round) {
            const i64 i = first + round * stride;
            PORT_UNROLL
            for (int k = 0; k < N; ++k) {
                if (i < n_chunks && k < g.n_ranks) {
                    chunks[round][k] = peer_load(inputs[k] + i);
                }
            }
        }
        PORT_UNROLL
        for (int round = 0; round < ROUNDS<N>; ++round) {
            const i64 i = first + round * stride;
            if (i < n_chunks) {
                store_message<T>(g, i, sum_of<T>(chunks[round], g.n_ranks));
            }
        }
    }
    if (g.is_direct) {
        meet_peers<N>(g, call * STEPS + INPUTS_READ);
    }
    count_call(g, call);
}

template <class T, int N>
PORT_DEVICE void sum_own_shard(const PeerArguments& g, u64 call, i64 n_chunks, i64 n_shard) {
    const i64 stride = all_threads(), start = g.rank * n_shard;
    Chunk* own = half_of(static_cast<Chunk*>(g.own_shards), g.shards_half_bytes, call);
    const Chunk* inputs[N];
    PORT_UNROLL
    for (int k = 0; k < N; ++k) {
        inputs[k] =
            half_of(static_cast<const Chunk*>(g.inputs[k]), g.inputs_half_bytes, call) + start;
    }
    const i64 n_own = n_chunks - start < n_shard ? n_chunks - start : n_shard;
    for (i64 first = own_index(); first < n_own; first += ROUNDS<N> * stride) {
        Chunk chunks[ROUNDS<N>][N];
        PORT_UNROLL
        for (int round = 0; round < ROUNDS<N>; ++round) {
            const i64 i = first + round * stride;
            PORT_UNROLL
            for (int k = 0; k < N; ++k) {
                if (i < n_own && k < g.n_ranks) {
                    chunks[round][k] = peer_load(inputs[k] + i);
                }
            }
        }
        PORT_UNROLL
        for (int round = 0; round < ROUNDS<N>; ++round) {
            const i64 i = first + round * stride;
            if (i < n_own) {
                peer_store(own + i, sum_of<T>(chunks[round], g.n_ranks));
            }
        }
    }
}

template <class T, int N>
PORT_DEVICE void gather_shards(const PeerArguments& g, u64 call, i64 n_chunks, i64 n_shard) {
    const i64 stride = all_threads();
    const Chunk* shards[N];
    i64 start[N];
    PORT_UNROLL
    for (int k = 0; k < N; ++k) {
        shards[k] = half_of(static_cast<const Chunk*>(g.shards[k]), g.shards_half_bytes, call);
        start[k] = k < g.n_ranks ? visited_peer(g, k) * n_shard : n_chunks;
    }
    for (i64 i = own_index(); i < n_shard; i += stride) {
        Chunk chunks[N];
        PORT_UNROLL
        for (int k = 0; k < N; ++k) {
            if (start[k] + i < n_chunks) {
                chunks[k] = peer_load(shards[k] + i);
            }
        }
        PORT_UNROLL
        for (int k = 0; k < N; ++k) {
            if (start[k] + i < n_chunks) {
                store_message<T>(g, start[k] + i, chunks[k]);
            }
        }
    }
}

// A thread handles the same places within every shard in all three steps, so that its block needs
// nothing but what the same block of other ranks has written.
template <class T, int N>
PORT_DEVICE void two_shot(const PeerArguments& g) {
    const i64 n_chunks = (g.n + PER_CHUNK<T> - 1) / PER_CHUNK<T>;
    const i64 n_shard = (n_chunks + g.n_ranks - 1) / g.n_ranks;
    const i64 stride = all_threads();
    const u64 call = g.calls[block_index()];
    if (!g.is_direct) {
        Chunk* own = half_of(static_cast<Chunk*>(g.own_inputs), g.inputs_half_bytes, call);
        for (i64 i = own_index(); i < n_shard; i += stride) {
            PORT_UNROLL
            for (int shard = 0; shard < N; ++shard) {
                const i64 at = shard * n_shard + i;
                if (at < n_chunks) {  // none of shards beyond the last rank's
                    peer_store(own + at, load_message<T>(g, at));
                }
            }
        }
    }
    meet_peers<N>(g, call * STEPS + INPUTS_READY);
    sum_own_shard<T, N>(g, call, n_chunks, n_shard);
    meet_peers<N>(g, call * STEPS + SHARDS_READY);
    gather_shards<T, N>(g, call, n_chunks, n_shard);
    count_call(g, call);
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const PeerArguments g) { ENTRY_BODY(g); }
