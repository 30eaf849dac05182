// Sum over the rows of a matrix, for CUDA and HIP: what blocks of a backward pass kept apart.
//
// One thread a column; neighbours read neighbouring addresses.
#include "port.h"

struct SumArguments {
    const float* parts;
    void* out;
    int n_parts;
    int n_columns;
};

namespace {

template <class T>
PORT_DEVICE void sum_rows(const SumArguments& g) {
    const int column = static_cast<int>(block_index() * ENTRY_THREADS + thread_index());
    if (column >= g.n_columns) {
        return;
    }
    float sum = 0.0f;
    for (int part = 0; part < g.n_parts; ++part) {
        sum += g.parts[static_cast<i64>(part) * g.n_columns + column];
    }
    static_cast<T*>(g.out)[column] = from_float<T>(sum);
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const SumArguments g) { ENTRY_BODY(g); }
