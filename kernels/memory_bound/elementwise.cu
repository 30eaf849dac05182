// Operations element by element, for CUDA and HIP: activations, optimizer step, copy and triad.
//
// Vectors of 16 bytes, the last few elements one by one; all arrays begin on 16 bytes.
#include "port.h"

#include "rows.h"

struct ElementArguments {
    const void* first;
    const void* second;
    const void* third;
    void* out;
    void* other_out;
    i64 n;
};

// The weights are fp32; what the next forward pass reads is written in the gradient's type as well.
struct AdamWArguments {
    float* weight;
    const void* gradient;
    float* first_moment;
    float* second_moment;
    void* weight_copy;
    i64 n;
    float keep;        // 1 - learning rate times weight decay
    float rate;        // learning rate over the first moment's correction
    float correction;  // one over the second moment's correction
    float epsilon;
    float beta_1;
    float beta_2;
};

namespace {

constexpr int THREADS = 256;
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float GELU_SCALE = 2.0f * 0.7978845608028654f;
constexpr float GELU_CUBIC = 0.044715f;

template <int N>
struct Width {
    static constexpr int n = N;
};

// Calls work(Width<N>, index) for each vector, and work(Width<1>, index) for what remains.
template <int N, class Work>
PORT_DEVICE void each_vector(i64 n, Work work) {
    const i64 stride = static_cast<i64>(n_blocks()) * THREADS;
    const i64 own = static_cast<i64>(block_index()) * THREADS + thread_index();
    for (i64 i = own; i < n / N; i += stride) {
        work(Width<N>{}, i * N);
    }
    for (i64 i = n / N * N + own; i < n; i += stride) {
        work(Width<1>{}, i);
    }
}

PORT_DEVICE float sigmoid(float x) {
    const float small = exp2_fast(-absolute(x) * LOG2_E);
    return (x < 0.0f ? small : 1.0f) / (1.0f + small);
}


template <class T, int N>
PORT_DEVICE void swiglu_forward(const ElementArguments& g) {
    each_vector<N>(g.n, [&](auto width, i64 at) {
        Vector<T, width.n> gate, value, out;
        gate.load(static_cast<const T*>(g.first) + at);
        value.load(static_cast<const T*>(g.second) + at);
        PORT_UNROLL
        for (int i = 0; i < width.n; ++i) {
            out.value[i] = gate.value[i] * sigmoid(gate.value[i]) * value.value[i];
        }
        out.store(static_cast<T*>(g.out) + at);
    });
}

// first is d_out, second the gate, third the value; d_gate and d_value come out.
template <class T, int N>
PORT_DEVICE void swiglu_backward(const ElementArguments& g) {
    each_vector<N>(g.n, [&](auto width, i64 at) {
        Vector<T, width.n> d, gate, value, d_gate, d_value;
        d.load(static_cast<const T*>(g.first) + at);
        gate.load(static_cast<const T*>(g.second) + at);
        value.load(static_cast<const T*>(g.third) + at);
        PORT_UNROLL
        for (int i = 0; i < width.n; ++i) {
            const float part = sigmoid(gate.value[i]);
            d_gate.value[i] = d.value[i] * value.value[i] * part *
                              (1.0f + gate.value[i] * (1.0f - part));
            d_value.value[i] = d.value[i] * gate.value[i] * part;
        }
        d_gate.store(static_cast<T*>(g.out) + at);
        d_value.store(static_cast<T*>(g.other_out) + at);
    });
}

template <class T, int N>
PORT_DEVICE void gelu_forward(const ElementArguments& g) {
    each_vector<N>(g.n, [&](auto width, i64 at) {
        Vector<T, width.n> x;
        x.load(static_cast<const T*>(g.first) + at);
        PORT_UNROLL
        for (int i = 0; i < width.n; ++i) {
            const float square = GELU_CUBIC * x.value[i] * x.value[i];
            x.value[i] *= sigmoid(GELU_SCALE * x.value[i] * (1.0f + square));
        }
        x.store(static_cast<T*>(g.out) + at);
    });
}

// first is d_out, second x.
template <class T, int N>
PORT_DEVICE void gelu_backward(const ElementArguments& g) {
    each_vector<N>(g.n, [&](auto width, i64 at) {
        Vector<T, width.n> d, x;
        d.load(static_cast<const T*>(g.first) + at);
        x.load(static_cast<const T*>(g.second) + at);
        PORT_UNROLL
        for (int i = 0; i < width.n; ++i) {
            const float square = GELU_CUBIC * x.value[i] * x.value[i];
            const float part = sigmoid(GELU_SCALE * x.value[i] * (1.0f + square));
            const float slope = GELU_SCALE * (1.0f + 3.0f * square);
            d.value[i] *= part + x.value[i] * part * (1.0f - part) * slope;
        }
        d.store(static_cast<T*>(g.out) + at);
    });
}

// first to out; triad adds three times second.
template <class T, int N, bool IS_TRIAD>
PORT_DEVICE void stream(const ElementArguments& g) {
    each_vector<N>(g.n, [&](auto width, i64 at) {
        Vector<T, width.n> x;
        x.load(static_cast<const T*>(g.first) + at);
        if (IS_TRIAD) {
            Vector<T, width.n> y;
            y.load(static_cast<const T*>(g.second) + at);
            PORT_UNROLL
            for (int i = 0; i < width.n; ++i) {
                x.value[i] += 3.0f * y.value[i];
            }
        }
        x.store(static_cast<T*>(g.out) + at);
    });
}

template <class T, bool HAS_COPY>
PORT_DEVICE void adamw(const AdamWArguments& g) {
    each_vector<4>(g.n, [&](auto width, i64 at) {
        Vector<float, width.n> weight, first, second;
        weight.load(g.weight + at);
        first.load(g.first_moment + at);
        second.load(g.second_moment + at);
        PORT_UNROLL
        for (int i = 0; i < width.n; ++i) {
            const float d = to_float(static_cast<const T*>(g.gradient)[at + i]);
            first.value[i] = g.beta_1 * first.value[i] + (1.0f - g.beta_1) * d;
            second.value[i] = g.beta_2 * second.value[i] + (1.0f - g.beta_2) * d * d;
            const float scale = square_root(second.value[i] * g.correction) + g.epsilon;
            weight.value[i] = weight.value[i] * g.keep - g.rate * first.value[i] / scale;
            if (HAS_COPY) {
                static_cast<T*>(g.weight_copy)[at + i] = from_float<T>(weight.value[i]);
            }
        }
        weight.store(g.weight + at);
        first.store(g.first_moment + at);
        second.store(g.second_moment + at);
    });
}

}  // namespace

#define ELEMENTWISE(name, T, n)                                                              \
    PORT_KERNEL(THREADS, 1)                                                                  \
    swiglu_forward_##name(const ElementArguments g) { swiglu_forward<T, n>(g); }             \
    PORT_KERNEL(THREADS, 1)                                                                  \
    swiglu_backward_##name(const ElementArguments g) { swiglu_backward<T, n>(g); }           \
    PORT_KERNEL(THREADS, 1)                                                                  \
    gelu_forward_##name(const ElementArguments g) { gelu_forward<T, n>(g); }                 \
    PORT_KERNEL(THREADS, 1)                                                                  \
    gelu_backward_##name(const ElementArguments g) { gelu_backward<T, n>(g); }               \
    PORT_KERNEL(THREADS, 1)                                                                  \
    copy_##name(const ElementArguments g) { stream<T, n, false>(g); }                        \
    PORT_KERNEL(THREADS, 1)                                                                  \
    triad_##name(const ElementArguments g) { stream<T, n, true>(g); }
ELEMENTWISE(bf16, Bf16, 8)
ELEMENTWISE(fp16, Fp16, 8)
ELEMENTWISE(fp32, float, 4)

#define ADAMW(name, T, has_copy) \
    PORT_KERNEL(THREADS, 1)      \
    adamw_##name(const AdamWArguments g) { adamw<T, has_copy>(g); }
ADAMW(bf16, Bf16, true)
ADAMW(fp16, Fp16, true)
ADAMW(fp32, float, false)
