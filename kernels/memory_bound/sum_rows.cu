// Sums over the rows of matrices, for CUDA and HIP: what blocks of a backward pass kept apart.
//
// A block takes 32 columns, whose neighbours read neighbouring addresses, and every group of 32
// threads its share of the rows: one thread a column would leave most of the device without work.
#include "port.h"

struct SumArguments {
    const float* parts;  // one matrix after the other
    void* out;
    void* other_out;  // of the second matrix
    int n_parts;
    int n_columns;
};

namespace {

constexpr int COLUMNS = 32;
constexpr int GROUPS = ENTRY_THREADS / COLUMNS;

template <class T>
PORT_DEVICE void sum_rows(const SumArguments& g) {
    PORT_SHARED float shares[GROUPS][COLUMNS];
    const int n_column_blocks = (g.n_columns + COLUMNS - 1) / COLUMNS;
    const int matrix = static_cast<int>(block_index()) / n_column_blocks;
    const int first = (static_cast<int>(block_index()) % n_column_blocks) * COLUMNS;
    const int lane = static_cast<int>(thread_index()) % COLUMNS;
    const int group = static_cast<int>(thread_index()) / COLUMNS;
    const int column = first + lane;
    const float* const parts = g.parts + static_cast<i64>(matrix) * g.n_parts * g.n_columns;
    float sum = 0.0f;
    if (column < g.n_columns) {
        for (int part = group; part < g.n_parts; part += GROUPS) {
            sum += parts[static_cast<i64>(part) * g.n_columns + column];
        }
    }
    shares[group][lane] = sum;
    block_barrier();
    if (group == 0 && column < g.n_columns) {
        PORT_UNROLL
        for (int other = 1; other < GROUPS; ++other) {
            sum += shares[other][lane];
        }
        T* const out = static_cast<T*>(matrix == 0 ? g.out : g.other_out);
        out[column] = from_float<T>(sum);
    }
}

}  // namespace

PORT_KERNEL(ENTRY_THREADS, 1) ENTRY_NAME(const SumArguments g) { ENTRY_BODY(g); }
