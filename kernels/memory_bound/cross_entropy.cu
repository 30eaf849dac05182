// Cross-entropy over a row of logits, forward and backward, for CUDA and HIP: fp32 sums.
//
// Forward reads the logits once: each thread keeps its largest logit and its sum of exponentials
// relative to it, and the block brings them to one base at the end (Milakov and Gimelshein, Online
// normalizer calculation for softmax, 2018).
#include "port.h"

#include "rows.h"

struct CrossEntropyArguments {
    const void* logits;  // (n_rows, n_classes)
    const int* target;
    float* loss;
    float* log_sum_exp;
    const float* d_loss;
    void* d_logits;
    int n_classes;
};

namespace {

constexpr int THREADS = ENTRY_THREADS;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LN_2 = 0.6931471805599453f;

PORT_DEVICE float block_largest(float value) {
    PORT_SHARED float parts[THREADS / WAVE];
    PORT_UNROLL
    for (int step = WAVE / 2; step > 0; step /= 2) {
        value = larger_of(value, shuffle_xor(value, step));
    }
    if (thread_index() % WAVE == 0) {
        parts[thread_index() / WAVE] = value;
    }
    block_barrier();
    PORT_UNROLL
    for (int wave = 0; wave < THREADS / WAVE; ++wave) {
        value = larger_of(value, parts[wave]);
    }
    return value;
}

template <class T, int N>
PORT_DEVICE void forward(const CrossEntropyArguments& g) {
    const int row = static_cast<int>(block_index());
    const T* const logits = static_cast<const T*>(g.logits) + static_cast<i64>(row) * g.n_classes;
    float top = minus_infinity();
    float sum[1] = {0.0f};
    for (int at = static_cast<int>(thread_index()) * N; at < g.n_classes; at += THREADS * N) {
        Vector<T, N> z;
        z.load(logits + at);
        float most = top;
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            most = larger_of(most, z.value[i]);
        }
        // Until a logit above minus infinity is seen, every exponential is zero.
        const float base = most == minus_infinity() ? 0.0f : most;
        sum[0] *= exp2_fast((top - base) * LOG2_E);
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            sum[0] += exp2_fast((z.value[i] - base) * LOG2_E);
        }
        top = most;
    }
    const float largest = block_largest(top);
    sum[0] *= top == minus_infinity() ? 0.0f : exp2_fast((top - largest) * LOG2_E);
    block_sum<THREADS>(sum);
    if (thread_index() == 0) {
        const float log_sum = log2_fast(sum[0]) * LN_2;
        g.log_sum_exp[row] = largest + log_sum;
        g.loss[row] = log_sum - (to_float(logits[g.target[row]]) - largest);
    }
}

template <class T, int N>
PORT_DEVICE void backward(const CrossEntropyArguments& g) {
    const int row = static_cast<int>(block_index());
    const i64 start = static_cast<i64>(row) * g.n_classes;
    const T* const logits = static_cast<const T*>(g.logits) + start;
    T* const d_logits = static_cast<T*>(g.d_logits) + start;
    const float log_sum_exp = g.log_sum_exp[row];
    const float weight = g.d_loss[row];
    const int target = g.target[row];
    for (int at = static_cast<int>(thread_index()) * N; at < g.n_classes; at += THREADS * N) {
        Vector<T, N> z;
        z.load(logits + at);
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            const float share = exp2_fast((z.value[i] - log_sum_exp) * LOG2_E);
            z.value[i] = weight * (share - (at + i == target ? 1.0f : 0.0f));
        }
        z.store(d_logits + at);
    }
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const CrossEntropyArguments g) { ENTRY_BODY(g); }
