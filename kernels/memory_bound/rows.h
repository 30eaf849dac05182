// What the memory-bound kernels share: vectors of 16 bytes, and sums over a block.
#pragma once

// N neighbouring elements in fp32: 16 bytes of T, or one where rows do not begin on 16 bytes.
template <class T, int N>
struct Vector {
    float value[N];

    PORT_DEVICE void load(const T* from) {
        if constexpr (N == 1) {
            value[0] = to_float(*from);
        } else {
            static_assert(N * sizeof(T) == sizeof(Chunk), "a vector is one chunk");
            const Chunk chunk = *reinterpret_cast<const Chunk*>(from);
            const T* elements = reinterpret_cast<const T*>(&chunk);
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                value[i] = to_float(elements[i]);
            }
        }
    }
    PORT_DEVICE void store(T* to) const {
        if constexpr (N == 1) {
            *to = from_float<T>(value[0]);
        } else {
            Chunk chunk;
            T* elements = reinterpret_cast<T*>(&chunk);
            PORT_UNROLL
            for (int i = 0; i < N; ++i) {
                elements[i] = from_float<T>(value[i]);
            }
            *reinterpret_cast<Chunk*>(to) = chunk;
        }
    }
};

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
