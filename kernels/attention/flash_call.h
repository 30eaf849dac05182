// What all flash-attention kernels share, whatever multiplies: arguments, the band of visible keys,
// which block this is.
//
// Dao, FlashAttention-2 (2023): tiles of scores never leave the chip; forward keeps each row's
// log-sum-exp, from which backward computes the probabilities again.
#pragma once

// One operand, (batch, heads, sequence, head_dim): columns are contiguous, rows begin on 16 bytes.
// Strides in elements.
struct Heads {
    void* base;
    i64 batch_stride;
    i64 head_stride;
    i64 row_stride;
};

struct FlashArguments {
    Heads q;
    Heads k;
    Heads v;
    Heads out;
    Heads d_out;
    Heads d_q;
    Heads d_k;
    Heads d_v;
    // (batch, heads, query_len), contiguous: log-sum-exp of a row's scaled scores, and the sum of
    // d_out times out over a row.
    float* lse;
    float* delta;
    int n_batches;
    int n_heads;
    int n_kv_heads;
    int query_len;
    int key_len;
    // A multiple of 8, at most what the kernel is built for; columns beyond it are zeros.
    int head_dim;
    // First and last visible key of query 0; those of query i lie i further.
    int first;
    int last;
    float scale;
};

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

PORT_DEVICE constexpr int smaller(int a, int b) { return a < b ? a : b; }
PORT_DEVICE constexpr int larger(int a, int b) { return a > b ? a : b; }
PORT_DEVICE constexpr int n_parts(int extent, int part) { return (extent + part - 1) / part; }

PORT_DEVICE bool is_visible(const FlashArguments& g, int query, int key) {
    return key >= query + g.first && key <= query + g.last && key < g.key_len &&
           query < g.query_len;
}

// Which block this is: the tile along a sequence, head and batch. Tiles of one head lie together,
// so that they share keys and values in the cache, and go from the end to the beginning: under a
// causal mask the last queries see the most keys, and long work should start first.
struct Place {
    int tile;
    int head;
    int batch;

    PORT_DEVICE Place(int index, int n_tiles, int n_heads)
        : tile(n_tiles - 1 - index % n_tiles),
          head(index / n_tiles % n_heads),
          batch(index / n_tiles / n_heads) {}
};

template <class T>
PORT_DEVICE T* rows_of(const Heads& heads, int batch, int head) {
    return static_cast<T*>(heads.base) + batch * heads.batch_stride + head * heads.head_stride;
}

PORT_DEVICE int lane_index() { return static_cast<int>(thread_index() % 32); }
PORT_DEVICE int warp_index() { return static_cast<int>(thread_index() / 32); }
