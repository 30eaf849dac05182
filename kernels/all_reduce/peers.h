// Ranks that read each other's memory: what a kernel is given, how blocks of all ranks meet, and
// chunks of 16 bytes with their tails.
//
// Block b of a rank meets only block b of every other rank, and then reads only what that block has
// written; so all ranks start the same number of blocks. Signals count calls and steps and are
// never set back. The count is kept on the device, where it goes on when a captured graph runs again.
//
// Inputs that are staged, and shards, lie in two halves which calls use in turn. Whoever fills a
// half again in call c + 2 has met every peer in call c + 1, and they began that call, on their own
// stream, after they had read everything in call c. So a call need not end with a meeting. Where
// peers read an input in place, it must not change after the call either: they meet once more.
#pragma once

#include "port.h"

#include "port_peers.h"

constexpr int MOST_RANKS = 8;
constexpr u32 MOST_BLOCKS = 64;

enum Step : u64 { INPUTS_READY = 1, SHARDS_READY = 2, INPUTS_READ = 3, STEPS = 4 };

// Tables are in the order in which this rank visits its peers: from first_peer on, cyclically.
struct PeerArguments {
    const void* input;
    void* out;
    const void* inputs[MOST_RANKS];
    const void* shards[MOST_RANKS];
    u64* signals[MOST_RANKS];  // of that rank: one for each block and rank that may signal to it
    void* own_inputs;
    void* own_shards;
    u64* own_signals;
    u64* calls;   // calls so far, for each block
    u64* lost;    // in host memory: 1 + a rank that did not come, or 0
    i64 n;        // elements of the message
    i64 inputs_half_bytes;  // between the halves of staged inputs
    i64 shards_half_bytes;
    u64 most_looks;  // at a signal before its rank counts as lost
    int rank;
    int n_ranks;
    int first_peer;
    int is_direct;  // peers read the input where it is; nothing is staged
    int is_input_aligned;  // to 16 bytes
    int is_out_aligned;
};

template <class T>
constexpr int PER_CHUNK = static_cast<int>(sizeof(Chunk) / sizeof(T));

PORT_DEVICE i64 own_index() { return static_cast<i64>(block_index()) * ENTRY_THREADS + thread_index(); }
PORT_DEVICE i64 all_threads() { return static_cast<i64>(n_blocks()) * ENTRY_THREADS; }

PORT_DEVICE int visited_peer(const PeerArguments& g, int i) {
    const int peer = g.first_peer + i;
    return peer < g.n_ranks ? peer : peer - g.n_ranks;
}

PORT_DEVICE void wait_for(const PeerArguments& g, int peer, u64 value) {
    const u64* signal = g.own_signals + block_index() * MOST_RANKS + peer;
    u64 looks = 0;
    while (signal_look(signal) < value) {
        if (++looks > g.most_looks) {
            if (signal_look(g.lost) == 0) {  // the first one lost is the reason for the others
                signal_release(g.lost, static_cast<u64>(peer) + 1);
            }
            return;
        }
        // Once a rank is lost nobody waits any more: the host throws the results away.
        if (looks % 1024 == 0 && signal_look(g.lost) != 0) {
            return;
        }
        signal_pause();
    }
}

// What block b of every rank has written before is seen by block b of every rank afterwards.
template <int N>
PORT_DEVICE void meet_peers(const PeerArguments& g, u64 value) {
    publish_block();
    const int i = static_cast<int>(thread_index());
    if (i < g.n_ranks) {
        u64* signals = g.signals[0];
        PORT_UNROLL
        for (int k = 1; k < N; ++k) {  // an index into arguments would copy them to the stack
            signals = i == k ? g.signals[k] : signals;
        }
        signal_release(signals + block_index() * MOST_RANKS + g.rank, value);
        wait_for(g, visited_peer(g, i), value);
    }
    receive_block();
}

// Counts of blocks that had nothing to do in this call go on, too: all are equal between calls.
PORT_DEVICE void count_call(const PeerArguments& g, u64 call) {
    if (thread_index() == 0) {
        for (u32 block = block_index(); block < MOST_BLOCKS; block += n_blocks()) {
            g.calls[block] = call + 1;
        }
    }
}

template <class P>
PORT_DEVICE P* half_of(P* staged, i64 half_bytes, u64 call) {
    using Byte = unsigned char;
    return reinterpret_cast<P*>((Byte*)(staged) + (call % 2) * half_bytes);
}

// Chunk i of a message; elements beyond its end are zero.
template <class T>
PORT_DEVICE Chunk load_message(const PeerArguments& g, i64 i) {
    constexpr int E = PER_CHUNK<T>;
    const T* from = static_cast<const T*>(g.input) + i * E;
    if (g.is_input_aligned && (i + 1) * E <= g.n) {
        return *reinterpret_cast<const Chunk*>(from);
    }
    Chunk chunk{};
    T* elements = reinterpret_cast<T*>(&chunk);
    PORT_UNROLL
    for (int e = 0; e < E; ++e) {
        if (i * E + e < g.n) {
            elements[e] = from[e];
        }
    }
    return chunk;
}

template <class T>
PORT_DEVICE void store_message(const PeerArguments& g, i64 i, const Chunk& chunk) {
    constexpr int E = PER_CHUNK<T>;
    T* to = static_cast<T*>(g.out) + i * E;
    if (g.is_out_aligned && (i + 1) * E <= g.n) {
        *reinterpret_cast<Chunk*>(to) = chunk;
        return;
    }
    const T* elements = reinterpret_cast<const T*>(&chunk);
    PORT_UNROLL
    for (int e = 0; e < E; ++e) {
        if (i * E + e < g.n) {
            to[e] = elements[e];
        }
    }
}

// Sum of the first n in fp32, in their order, rounded once.
template <class T, int N>
PORT_DEVICE Chunk sum_of(const Chunk (&chunks)[N], int n) {
    constexpr int E = PER_CHUNK<T>;
    Chunk result;
    T* rounded = reinterpret_cast<T*>(&result);
    PORT_UNROLL
    for (int e = 0; e < E; ++e) {
        float sum = to_float(reinterpret_cast<const T*>(&chunks[0])[e]);
        PORT_UNROLL
        for (int k = 1; k < N; ++k) {
            if (k < n) {
                sum += to_float(reinterpret_cast<const T*>(&chunks[k])[e]);
            }
        }
        rounded[e] = from_float<T>(sum);
    }
    return result;
}
