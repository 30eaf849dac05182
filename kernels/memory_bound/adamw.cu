// One step of AdamW, for CUDA and HIP: weight and both moments in one pass, in place.
#include "port.h"

#include "vectors.h"

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

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const AdamWArguments g) { ENTRY_BODY(g); }
