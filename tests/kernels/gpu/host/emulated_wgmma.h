// Scalar meaning of what port_sm90.h wraps: barriers that count arrivals and bytes, bulk tensor
// copies with zero fill and the 128-byte swizzle, and products of warp groups through descriptors.
#pragma once

#define PORT_GRID_CONSTANT

struct TensorMap {
    const u16* base;
    i64 extent[4];  // innermost first; elements of 16 bits
    i64 stride[4];
    int box[4];  // 1 along the fourth axis
};
static_assert(sizeof(TensorMap) <= 128, "as large as on a device at most");

inline u32 shared_address(const void* pointer) {
    return static_cast<u32>(static_cast<const unsigned char*>(pointer) -
                            emulator::machine().shared);
}

namespace emulator {

struct Barrier {
    u32 n_expected = 0;
    u32 n_arrived = 0;
    i64 n_bytes_pending = 0;
    u64 phase = 0;  // how many phases are over

    void settle() {
        if (n_arrived == n_expected && n_bytes_pending == 0) {
            n_arrived = 0;
            ++phase;
            ++machine().progress;
        }
    }
};

inline std::map<u32, Barrier>& barriers() {
    static std::map<u32, Barrier> all;
    return all;
}

}  // namespace emulator

inline void barrier_init(u64* barrier, u32 n_arrivals) {
    emulator::barriers()[shared_address(barrier)] = {n_arrivals, 0, 0, 0};
}
inline void barrier_publish() {}
inline void barrier_arrive(u64* barrier) {
    auto& it = emulator::barriers().at(shared_address(barrier));
    ++it.n_arrived;
    it.settle();
}
inline void barrier_expect(u64* barrier, u32 n_bytes) {
    auto& it = emulator::barriers().at(shared_address(barrier));
    it.n_bytes_pending += n_bytes;
    ++it.n_arrived;
    it.settle();
}
// A late copy lands when somebody waits for it: one box for each look at the barrier that counts it.
// A wait for anything else does not help it, so that every wait is seen to be needed.
inline void barrier_wait(u64* barrier, u32 parity) {
    const u32 counter = shared_address(barrier);
    const auto& it = emulator::barriers().at(counter);
    emulator::wait_until([&] {
        auto& engine = emulator::machine().memory_engine;
        for (auto copy = engine.begin(); (it.phase & 1) == parity && copy != engine.end(); ++copy) {
            if (copy->first == counter) {
                const auto land = copy->second;
                engine.erase(copy);
                land();
                break;
            }
        }
        return (it.phase & 1) != parity;
    });
}

inline void tensor_prefetch(const TensorMap*) {}
inline void tensor_copy(void* to, const TensorMap* map, u64* barrier, int x, int y, int z,
                        int w = 0) {
    const u32 first = shared_address(to);
    const u32 counter = shared_address(barrier);
    const auto copy = [=] {
        u32 place = first;
        const bool is_there = w >= 0 && (w == 0 || w < map->extent[3]);
        for (int c = z; c < z + map->box[2]; ++c) {
            for (int b = y; b < y + map->box[1]; ++b) {
                for (int a = x; a < x + map->box[0]; ++a, place += 2) {
                    const bool is_inside = is_there && a >= 0 && a < map->extent[0] && b >= 0 &&
                                           b < map->extent[1] && c >= 0 && c < map->extent[2];
                    const u32 turned = place ^ (place >> 7 & 7u) << 4;
                    const u16 value = is_inside ? map->base[a * map->stride[0] + b * map->stride[1] +
                                                            c * map->stride[2] + w * map->stride[3]]
                                                : 0;
                    std::memcpy(emulator::machine().shared + turned, &value, 2);
                }
            }
        }
        auto& it = emulator::barriers().at(counter);
        it.n_bytes_pending -= place - first;
        it.settle();
    };
    if (emulator::machine().are_copies_late) {
        emulator::machine().memory_engine.push_back({counter, copy});
    } else {
        copy();
    }
}

// Named barriers. A device counts warps; here every thread counts, and a phase ends with the last.
namespace emulator {

inline Barrier& named_barrier(int number) {
    static Barrier all[16];
    return all[number];
}
inline void arrive_named(int number, u32 n_threads) {
    Barrier& it = named_barrier(number);
    it.n_expected = n_threads;
    ++it.n_arrived;
    it.settle();
}

}  // namespace emulator

template <int THREADS>
inline void group_meet(int number) {
    const u64 before = emulator::named_barrier(number).phase;
    emulator::arrive_named(number, THREADS);
    emulator::wait_until([=] { return emulator::named_barrier(number).phase != before; });
}
template <int THREADS>
inline void group_arrive(int number) {
    emulator::arrive_named(number, THREADS);
}

template <int N>
inline void registers_give() {}
template <int N>
inline void registers_take() {}

inline void product_fence() {}
inline void product_commit() {
    emulator::Fibre& fibre = emulator::self();
    fibre.products.push_back(std::move(fibre.open_products));
    fibre.open_products.clear();
}
// A warp waits as one, because its products read registers of all its lanes. Others run on before
// and after: whoever overwrites operands does so now.
template <int N_PENDING>
inline void product_wait() {
    emulator::give_way();
    emulator::meet_in_group(6, 32, &emulator::self(), [](void** brought) {
        for (int lane = 0; lane < 32; ++lane) {
            auto& products = static_cast<emulator::Fibre*>(brought[lane])->products;
            while (products.size() > N_PENDING) {
                for (const auto& product : products.front()) {
                    product();
                }
                products.pop_front();
            }
        }
    });
    emulator::give_way();
}
template <int N>
inline void product_pin(float (&)[N]) {}
inline void product_pin(u32 (&)[4]) {}

namespace emulator {

// Element (line, depth) of a descriptor's matrix: canonical layouts of the 128-byte swizzle for 16
// bits. Along k: ((8, m), (8, 2)) with strides ((64, SBO), (1, 8)); across k: ((64, m), (8, 2))
// with strides ((1, LBO), (64, SBO)); both then swizzled by address.
inline u16 described(u64 descriptor, bool is_along_k, int line, int depth) {
    const u32 start = static_cast<u32>(descriptor & 0x3fff) << 4;
    const u32 leading = static_cast<u32>(descriptor >> 16 & 0x3fff) << 4;
    const u32 stride = static_cast<u32>(descriptor >> 32 & 0x3fff) << 4;
    const u32 offset =
        is_along_k ? line / 8 * stride + line % 8 * 128 + depth * 2
                   : line / 64 * leading + depth / 8 * stride + depth % 8 * 128 + line % 64 * 2;
    u32 address = start + offset;
    if (descriptor >> 62 == 1) {
        address ^= (address >> 7 & 7u) << 4;
    }
    u16 bits;
    std::memcpy(&bits, machine().shared + address, 2);
    return bits;
}

}  // namespace emulator

namespace emulator {

using RowElement = std::function<float(int half, int depth)>;

// PTX, wgmma.m64nNk16: warp w of the group holds rows 16 w to 16 w + 15 of d as mma.sync does, the next
// four elements being eight columns on. This thread's share: its two rows of the first operand times
// all columns of the second.
struct GroupProduct {
    float* sums;
    int n_columns;
    RowElement row;
    u64 b;
    bool is_b_along_k, is_kept;
    float (*of)(u16);
    int thread = static_cast<int>(thread_index()) % 128;

    void operator()() const {
        float rows[2][16];
        for (int half = 0; half < 2; ++half) {
            for (int k = 0; k < 16; ++k) {
                rows[half][k] = row(half, k);
            }
        }
        for (int j = 0; j < n_columns / 8; ++j) {
            for (int e = 0; e < 2; ++e) {
                const int column = j * 8 + thread % 4 * 2 + e;
                float low = 0, high = 0;
                for (int k = 0; k < 16; ++k) {
                    const float value = of(described(b, is_b_along_k, column, k));
                    low += rows[0][k] * value;
                    high += rows[1][k] * value;
                }
                sums[j * 4 + e] = (is_kept ? sums[j * 4 + e] : 0.0f) + low;
                sums[j * 4 + 2 + e] = (is_kept ? sums[j * 4 + 2 + e] : 0.0f) + high;
            }
        }
    }
};

inline void start(const GroupProduct& product) {
    if (machine().are_products_late) {
        self().open_products.push_back(product);
    } else {
        product();
    }
}

struct Quad {
    const u32* own;
    const u32* words[4];
};

// A thread needs what its whole quad holds of the first operand, and a device reads it when the product
// runs: whoever writes it before is found out.
inline Quad quad_of(const u32* own) {
    Quad mine{own, {}};
    meet_in_group(4, 4, &mine, [](void** brought) {
        for (int t = 0; t < 16; ++t) {
            static_cast<Quad*>(brought[t / 4])->words[t % 4] =
                static_cast<Quad*>(brought[t % 4])->own;
        }
    });
    return mine;
}

template <class T>
float element_value(u16 bits) {
    return to_float(T{bits});
}

}  // namespace emulator

template <class T, int N>
struct WarpGroupProduct {
    template <bool A_ALONG_K, bool B_ALONG_K>
    static void add(float (&d)[N / 2], u64 a, u64 b, u32 keep) {
        const int row = static_cast<int>(thread_index()) % 128 / 32 * 16 + thread_index() % 32 / 4;
        const auto element = [=](int half, int k) {
            return emulator::element_value<T>(
                emulator::described(a, A_ALONG_K, row + half * 8, k));
        };
        emulator::start({d, N, element, b, B_ALONG_K, keep != 0, emulator::element_value<T>});
    }

    // The first operand from registers, laid out as for mma.m16n8k16.
    template <bool B_ALONG_K>
    static void add_rows(float (&d)[N / 2], const u32 (&a)[4], u64 b, u32 keep) {
        const emulator::Quad quad = emulator::quad_of(a);
        const auto element = [=](int half, int k) {
            const u32 word = quad.words[k % 8 / 2][half + 2 * (k / 8)];
            return emulator::element_value<T>(static_cast<u16>(word >> k % 2 * 16));
        };
        emulator::start({d, N, element, b, B_ALONG_K, keep != 0, emulator::element_value<T>});
    }
};
