// Scalar meaning of cp.async, ldmatrix and mma.sync, after the tables of the PTX documentation.
#pragma once

inline u32 tf32_bits(u32 bits) { return (bits + 0x1000u) & ~0x1fffu; }

inline void copy_async(void* to, const void* from, u32 n_valid_bytes) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 || reinterpret_cast<std::uintptr_t>(from) % 16 ||
        n_valid_bytes > 16) {
        std::memset(to, 0xff, 16);  // a device would fault
        return;
    }
    const auto copy = [=] {
        std::memset(to, 0, 16);
        std::memcpy(to, from, n_valid_bytes);
    };
    if (emulator::machine().are_copies_late) {
        emulator::self().open.push_back(copy);
    } else {
        copy();
    }
}
inline void copy_commit() {
    emulator::Fibre& fibre = emulator::self();
    fibre.groups.push_back(std::move(fibre.open));
    fibre.open.clear();
}
template <int N_PENDING>
inline void copy_wait() {
    auto& groups = emulator::self().groups;
    while (groups.size() > N_PENDING) {
        for (const auto& copy : groups.front()) {
            copy();
        }
        groups.pop_front();
    }
}

namespace emulator {

struct MatrixLoad {
    u32* to;
    const u16* row;
};

// PTX, ldmatrix: lane l gets, of matrix i, elements 2 (l % 4) and the next of row l / 4; rows of
// matrix i are named by lanes 8 i to 8 i + 7. The transposed form takes columns for rows.
inline void load_matrices(u32 (&to)[4], const void* row, bool is_transposed) {
    MatrixLoad mine{to, static_cast<const u16*>(row)};
    meet_in_group(0, 32, &mine, [=](void** brought) {
        const auto lane = [=](int l) { return static_cast<MatrixLoad*>(brought[l]); };
        for (int l = 0; l < 32; ++l) {
            for (int i = 0; i < 4; ++i) {
                u16 pair[2];
                for (int e = 0; e < 2; ++e) {
                    const int r = is_transposed ? l % 4 * 2 + e : l / 4;
                    const int c = is_transposed ? l / 4 : l % 4 * 2 + e;
                    pair[e] = lane(8 * i + r)->row[c];
                }
                lane(l)->to[i] = pair[0] | static_cast<u32>(pair[1]) << 16;
            }
        }
    });
}

struct MatrixProduct {
    float* d;
    const u32* a;
    u32 b[2];
};

using Element = float (*)(u32 word, int index);

inline float bf16_of(u32 word, int i) { return bf16_value(static_cast<u16>(word >> 16 * i)); }
inline float fp16_of(u32 word, int i) { return fp16_value(static_cast<u16>(word >> 16 * i)); }
inline float tf32_of(u32 word, int) { return bit_copy<float>(word & ~0x1fffu); }

// PTX, mma.m16n8k16 (two elements a word) and mma.m16n8k8 (tf32, one): with g = lane / 4 and
// t = lane % 4, a word i holds row g + 8 (i % 2) at depths w t + … + 4 w (i / 2), b word i holds
// column g at depths w t + … + 4 w i, and d element i is in row g + 8 (i / 2), column 2 t + i % 2.
inline void multiply_matrices(float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1, int w, Element of) {
    MatrixProduct mine{d, a, {b_0, b_1}};
    meet_in_group(1, 32, &mine, [=](void** brought) {
        const auto lane = [=](int l) { return static_cast<MatrixProduct*>(brought[l]); };
        float a_all[16][16], b_all[16][8];
        for (int l = 0; l < 32; ++l) {
            const int g = l / 4, t = l % 4;
            for (int e = 0; e < w; ++e) {
                for (int i = 0; i < 4; ++i) {
                    a_all[g + 8 * (i % 2)][w * t + e + 4 * w * (i / 2)] = of(lane(l)->a[i], e);
                }
                for (int i = 0; i < 2; ++i) {
                    b_all[w * t + e + 4 * w * i][g] = of(lane(l)->b[i], e);
                }
            }
        }
        for (int l = 0; l < 32; ++l) {
            for (int i = 0; i < 4; ++i) {
                const int row = l / 4 + 8 * (i / 2), column = l % 4 * 2 + i % 2;
                float sum = lane(l)->d[i];
                for (int k = 0; k < 8 * w; ++k) {
                    sum += a_all[row][k] * b_all[k][column];
                }
                lane(l)->d[i] = sum;
            }
        }
    });
}

}  // namespace emulator

inline void load_matrix_x4(u32 (&to)[4], const void* row) {
    emulator::load_matrices(to, row, false);
}
inline void load_matrix_x4_transposed(u32 (&to)[4], const void* row) {
    emulator::load_matrices(to, row, true);
}
inline void mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    emulator::multiply_matrices(d, a, b_0, b_1, 2, emulator::bf16_of);
}
inline void mma_fp16(float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    emulator::multiply_matrices(d, a, b_0, b_1, 2, emulator::fp16_of);
}
inline void mma_tf32(float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {
    emulator::multiply_matrices(d, a, b_0, b_1, 1, emulator::tf32_of);
}
