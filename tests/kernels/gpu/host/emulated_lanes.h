// Shuffles between lanes of a warp, and the approximate functions of a device.
#pragma once

constexpr int WAVE = 32;

namespace emulator {

struct LaneValue {
    float value;
    int mask;
    float received;
};

}  // namespace emulator

// Lanes that are 32 apart are of one wave of 64.
inline float shuffle_xor(float value, int mask) {
    emulator::LaneValue mine{value, mask, 0.0f};
    const int n_lanes = mask < 32 ? 32 : 64;
    emulator::meet_in_group(mask < 32 ? 3 : 5, n_lanes, &mine, [=](void** brought) {
        for (int l = 0; l < n_lanes; ++l) {
            auto* own = static_cast<emulator::LaneValue*>(brought[l]);
            own->received = static_cast<emulator::LaneValue*>(brought[l ^ own->mask])->value;
        }
    });
    return mine.received;
}
inline u32 shuffle_xor_bits(u32 bits, int mask) {
    float value, received;
    std::memcpy(&value, &bits, sizeof(bits));
    received = shuffle_xor(value, mask);
    std::memcpy(&bits, &received, sizeof(bits));
    return bits;
}
inline float exp2_fast(float value) { return std::exp2(value); }
inline float log2_fast(float value) { return std::log2(value); }
inline float larger_of(float a, float b) { return std::fmax(a, b); }
inline float minus_infinity() { return -INFINITY; }
inline float reciprocal_fast(float value) { return 1.0f / value; }
inline float square_root(float value) { return std::sqrt(value); }
inline float absolute(float value) { return std::fabs(value); }
