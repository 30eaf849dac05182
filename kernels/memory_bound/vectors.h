// Vectors of 16 bytes, and how a grid goes through an array by them.
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

// The same as they are stored: a thread that keeps many needs half the registers in 16 bits.
template <class T, int N>
struct Packed {
    Chunk chunk;

    PORT_DEVICE void load(const T* from) { chunk = *reinterpret_cast<const Chunk*>(from); }
    PORT_DEVICE Vector<T, N> values() const {
        Vector<T, N> vector;
        const T* elements = reinterpret_cast<const T*>(&chunk);
        PORT_UNROLL
        for (int i = 0; i < N; ++i) {
            vector.value[i] = to_float(elements[i]);
        }
        return vector;
    }
};

template <class T>
struct Packed<T, 1> {
    T element;

    PORT_DEVICE void load(const T* from) { element = *from; }
    PORT_DEVICE Vector<T, 1> values() const { return {{to_float(element)}}; }
};

template <int N>
struct Width {
    static constexpr int n = N;
};

// Calls work(Width<N>, index) for each vector, and work(Width<1>, index) for what remains.
template <int N, class Work>
PORT_DEVICE void each_vector(i64 n, Work work) {
    const i64 stride = static_cast<i64>(n_blocks()) * ENTRY_THREADS;
    const i64 own = static_cast<i64>(block_index()) * ENTRY_THREADS + thread_index();
    for (i64 i = own; i < n / N; i += stride) {
        work(Width<N>{}, i * N);
    }
    for (i64 i = n / N * N + own; i < n; i += stride) {
        work(Width<1>{}, i);
    }
}
