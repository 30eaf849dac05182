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

inline float shuffle_xor(float value, int mask) {
    emulator::LaneValue mine{value, mask, 0.0f};
    emulator::meet_in_group(3, 32, &mine, [](void** brought) {
        for (int l = 0; l < 32; ++l) {
            auto* own = static_cast<emulator::LaneValue*>(brought[l]);
            own->received = static_cast<emulator::LaneValue*>(brought[l ^ own->mask])->value;
        }
    });
    return mine.received;
}
inline float exp2_fast(float value) { return std::exp2(value); }
inline float log2_fast(float value) { return std::log2(value); }
inline float larger_of(float a, float b) { return std::fmax(a, b); }
inline float minus_infinity() { return -INFINITY; }
inline float square_root(float value) { return std::sqrt(value); }
inline float absolute(float value) { return std::fabs(value); }
