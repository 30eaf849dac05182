// RMSNorm and LayerNorm, forward and backward, for CUDA and HIP: bf16, fp16 and fp32, fp32 sums.
//
// A block owns a row at a time. What fits of it stays in registers between the sum and its use; the
// rest comes again, from the cache. Backward blocks take many rows, and keep their share of the
// weights' gradients in registers until the end; `sum_rows` adds the blocks' shares.
#include "port.h"

#include "rows.h"

struct NormArguments {
    const void* x;
    const void* weight;
    const void* bias;  // LayerNorm only
    void* out;         // forward
    const void* d_out;
    void* d_x;
    // (n_blocks, n_columns) each: one row of every block of the backward pass.
    float* d_weight_parts;
    float* d_bias_parts;  // LayerNorm only
    int n_rows;
    int n_columns;
    float epsilon;
};

namespace {

constexpr int THREADS = ENTRY_THREADS;
constexpr int KEPT = 4;  // vectors of a row that a thread keeps

// One thread's part of a row: every THREADS-th vector.
template <class T, int N>
struct RowPart {
    const T* row;
    int n;
    Packed<T, N> kept[KEPT];

    PORT_DEVICE RowPart(const T* row, int n_columns) : row(row), n(n_columns / N) {
        PORT_UNROLL
        for (int i = 0; i < KEPT; ++i) {
            const int at = static_cast<int>(thread_index()) + i * THREADS;
            if (at < n) {
                kept[i].load(row + at * N);
            }
        }
    }

    // Calls work(vector, index of its first element) for each vector.
    template <class Work>
    PORT_DEVICE void each(Work work) const {
        PORT_UNROLL
        for (int i = 0; i < KEPT; ++i) {
            const int at = static_cast<int>(thread_index()) + i * THREADS;
            if (at < n) {
                work(kept[i].values(), at * N);
            }
        }
        for (int at = static_cast<int>(thread_index()) + KEPT * THREADS; at < n; at += THREADS) {
            Vector<T, N> vector;
            vector.load(row + at * N);
            work(vector, at * N);
        }
    }
};

struct Moments {
    float mean;
    float inverse;  // one over the root of the mean square about it
};

template <class T, int N, bool IS_CENTRED>
PORT_DEVICE Moments moments_of(const RowPart<T, N>& part, int n_columns, float epsilon) {
    float mean = 0.0f;
    if (IS_CENTRED) {
        float sum[1] = {0.0f};
        part.each([&](const Vector<T, N>& x, int) {
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                sum[0] += x.value[i];
            }
        });
        block_sum<THREADS>(sum);
        mean = sum[0] / static_cast<float>(n_columns);
    }
    float square[1] = {0.0f};
    part.each([&](const Vector<T, N>& x, int) {
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            square[0] += (x.value[i] - mean) * (x.value[i] - mean);
        }
    });
    block_sum<THREADS>(square);
    return {mean, 1.0f / square_root(square[0] / static_cast<float>(n_columns) + epsilon)};
}

template <class T, int N, bool IS_CENTRED>
PORT_DEVICE void forward(const NormArguments& g) {
    const i64 row = static_cast<i64>(block_index()) * g.n_columns;
    const RowPart<T, N> part(static_cast<const T*>(g.x) + row, g.n_columns);
    const Moments moments = moments_of<T, N, IS_CENTRED>(part, g.n_columns, g.epsilon);
    const T* const weights = static_cast<const T*>(g.weight);
    const T* const biases = static_cast<const T*>(g.bias);
    T* const out = static_cast<T*>(g.out) + row;
    part.each([&](const Vector<T, N>& x, int at) {
        Vector<T, N> weight, result;
        weight.load(weights + at);
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            result.value[i] = (x.value[i] - moments.mean) * moments.inverse * weight.value[i];
        }
        if (IS_CENTRED) {
            Vector<T, N> bias;
            bias.load(biases + at);
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                result.value[i] += bias.value[i];
            }
        }
        result.store(out + at);
    });
}

template <class T, int N, bool IS_CENTRED>
PORT_DEVICE void backward(const NormArguments& g) {
    const T* const weights = static_cast<const T*>(g.weight);
    float* const d_weights = g.d_weight_parts + static_cast<i64>(block_index()) * g.n_columns;
    float* const d_biases = g.d_bias_parts + static_cast<i64>(block_index()) * g.n_columns;
    const float n = static_cast<float>(g.n_columns);
    // Shares of the weights' gradients: the kept vectors' in registers, the others' in memory.
    float d_weight[KEPT][N] = {};
    float d_bias[KEPT][N] = {};
    for (int index = static_cast<int>(block_index()); index < g.n_rows;
         index += static_cast<int>(n_blocks())) {
        const i64 row = static_cast<i64>(index) * g.n_columns;
        const RowPart<T, N> x_part(static_cast<const T*>(g.x) + row, g.n_columns);
        const RowPart<T, N> d_part(static_cast<const T*>(g.d_out) + row, g.n_columns);
        const Moments moments = moments_of<T, N, IS_CENTRED>(x_part, g.n_columns, g.epsilon);
        T* const d_x = static_cast<T*>(g.d_x) + row;

        // Sums of d_unit, and of d_unit times the unit row.
        float sums[2] = {0.0f, 0.0f};
        const auto unit = [&](float x) { return (x - moments.mean) * moments.inverse; };
        const auto both = [&](auto work) {
            PORT_UNROLL
            for (int i = 0; i < KEPT; ++i) {
                const int at = static_cast<int>(thread_index()) + i * THREADS;
                if (at < x_part.n) {
                    work(x_part.kept[i].values(), d_part.kept[i].values(), at * N, i);
                }
            }
            for (int at = static_cast<int>(thread_index()) + KEPT * THREADS; at < x_part.n;
                 at += THREADS) {
                Vector<T, N> x, d;
                x.load(x_part.row + at * N);
                d.load(d_part.row + at * N);
                work(x, d, at * N, KEPT);
            }
        };
        both([&](const Vector<T, N>& x, const Vector<T, N>& d, int at, int) {
            Vector<T, N> weight;
            weight.load(weights + at);
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                const float d_unit = d.value[i] * weight.value[i];
                sums[0] += d_unit;
                sums[1] += d_unit * unit(x.value[i]);
            }
        });
        block_sum<THREADS>(sums);
        const float shift = IS_CENTRED ? sums[0] / n : 0.0f;
        const float along = sums[1] / n;
        const bool is_first = index == static_cast<int>(block_index());
        both([&](const Vector<T, N>& x, const Vector<T, N>& d, int at, int i_kept) {
            Vector<T, N> weight, result;
            weight.load(weights + at);
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                const float d_unit = d.value[i] * weight.value[i];
                const float u = unit(x.value[i]);
                result.value[i] = moments.inverse * (d_unit - shift - u * along);
                if (i_kept < KEPT) {
                    d_weight[i_kept % KEPT][i] += d.value[i] * u;
                    d_bias[i_kept % KEPT][i] += d.value[i];
                } else {
                    d_weights[at + i] = (is_first ? 0.0f : d_weights[at + i]) + d.value[i] * u;
                    if (IS_CENTRED) {
                        d_biases[at + i] = (is_first ? 0.0f : d_biases[at + i]) + d.value[i];
                    }
                }
            }
            result.store(d_x + at);
        });
    }
    PORT_UNROLL
    for (int i_kept = 0; i_kept < KEPT; ++i_kept) {
        const int at = (static_cast<int>(thread_index()) + i_kept * THREADS) * N;
        if (at < g.n_columns) {
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                d_weights[at + i] = d_weight[i_kept][i];
                if (IS_CENTRED) {
                    d_biases[at + i] = d_bias[i_kept][i];
                }
            }
        }
    }
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, ENTRY_BLOCKS) ENTRY_NAME(const NormArguments g) { ENTRY_BODY(g); }
