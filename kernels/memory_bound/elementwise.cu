// Operations element by element, for CUDA and HIP: activations, copy and triad.
//
// Vectors of 16 bytes, the last few elements one by one; all arrays begin on 16 bytes.
#include "port.h"

#include "vectors.h"

struct ElementArguments {
    const void* first;
    const void* second;
    const void* third;
    void* out;
    void* other_out;
    i64 n;
};

namespace {

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float GELU_SCALE = 2.0f * 0.7978845608028654f;
constexpr float GELU_CUBIC = 0.044715f;

// Far below zero the power is infinite and its reciprocal 0. A division would take as long as memory.
PORT_DEVICE float sigmoid(float x) { return reciprocal_fast(1.0f + exp2_fast(-x * LOG2_E)); }

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

}  // namespace

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const ElementArguments g) { ENTRY_BODY(g); }
