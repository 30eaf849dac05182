// Scalar meaning of v_mfma_f32_32x32x8, after AMD's matrix instruction tables: with h = lane / 32,
// a lane holds row (of a) or column (of b) lane % 32 at depths 4 h to 4 h + 3, and element i of the
// result in row 8 (i / 4) + 4 h + i % 4, column lane % 32.
#pragma once

struct Fragment16 {
    float value[16] = {};
    float& operator[](int i) { return value[i]; }
    float operator[](int i) const { return value[i]; }
};

namespace emulator {

struct WaveProduct {
    Fragment16* d;
    u64 a, b;
};

inline void multiply_wave(Fragment16& d, u64 a, u64 b, float (*of)(u16)) {
    WaveProduct mine{&d, a, b};
    meet_in_group(2, 64, &mine, [=](void** brought) {
        const auto lane = [=](int l) { return static_cast<WaveProduct*>(brought[l]); };
        float a_all[32][8], b_all[8][32];
        for (int l = 0; l < 64; ++l) {
            for (int e = 0; e < 4; ++e) {
                a_all[l % 32][4 * (l / 32) + e] = of(static_cast<u16>(lane(l)->a >> 16 * e));
                b_all[4 * (l / 32) + e][l % 32] = of(static_cast<u16>(lane(l)->b >> 16 * e));
            }
        }
        for (int l = 0; l < 64; ++l) {
            for (int i = 0; i < 16; ++i) {
                float sum = (*lane(l)->d)[i];
                for (int k = 0; k < 8; ++k) {
                    sum += a_all[8 * (i / 4) + 4 * (l / 32) + i % 4][k] * b_all[k][l % 32];
                }
                (*lane(l)->d)[i] = sum;
            }
        }
    });
}

}  // namespace emulator

inline void mfma_bf16(Fragment16& d, u64 a, u64 b) {
    emulator::multiply_wave(d, a, b, bf16_value);
}
inline void mfma_fp16(Fragment16& d, u64 a, u64 b) {
    emulator::multiply_wave(d, a, b, fp16_value);
}
inline void keep_order() {}
