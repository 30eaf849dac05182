// Sums over a block, for kernels whose block owns a row.
#pragma once

#include "vectors.h"

// Sums over all threads of a block, the same in each of them. Waves add up by shuffles, then meet
// in shared memory.
template <int THREADS, int N>
PORT_DEVICE void block_sum(float (&sums)[N]) {
    constexpr int WAVES = THREADS / WAVE;
    PORT_SHARED float parts[N][WAVES];
    PORT_UNROLL
    for (int n = 0; n < N; ++n) {
        PORT_UNROLL
        for (int step = WAVE / 2; step > 0; step /= 2) {
            sums[n] += shuffle_xor(sums[n], step);
        }
    }
    block_barrier();  // whoever reads an earlier sum has read it
    if (thread_index() % WAVE == 0) {
        PORT_UNROLL
        for (int n = 0; n < N; ++n) {
            parts[n][thread_index() / WAVE] = sums[n];
        }
    }
    block_barrier();
    PORT_UNROLL
    for (int n = 0; n < N; ++n) {
        sums[n] = 0.0f;
        PORT_UNROLL
        for (int wave = 0; wave < WAVES; ++wave) {
            sums[n] += parts[n][wave];
        }
    }
}
