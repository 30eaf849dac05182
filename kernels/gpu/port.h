// What the kernels need of a device, in the same words for CUDA, HIP and the host.
//
// A kernel includes this file and nothing of a toolkit. NVRTC and clang for AMD compile it without
// any headers; tests compile the same kernels for the host, where threads are fibres
// (tests/kernels/gpu/host/emulator.h).
#pragma once

using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

#if defined(TWEELING_HOST)
#include "emulator.h"
#elif defined(__HIP__)
#include "port_hip.h"
#else
#include "port_cuda.h"
#endif

// Element types of 16 bits are kept as bits; only conversions look into them.
struct Bf16 {
    u16 bits;
};
struct Fp16 {
    u16 bits;
};
// Fp32 operands that matrix cores round to 19 bits.
struct Tf32 {
    float value;
};

template <class T>
PORT_DEVICE T from_float(float value);
template <>
PORT_DEVICE Bf16 from_float<Bf16>(float value) {
    return {bf16_bits(value)};
}
template <>
PORT_DEVICE Fp16 from_float<Fp16>(float value) {
    return {fp16_bits(value)};
}
template <>
PORT_DEVICE Tf32 from_float<Tf32>(float value) {
    return {value};
}
template <>
PORT_DEVICE float from_float<float>(float value) {
    return value;
}

// Two neighbouring elements of 16 bits as they lie in memory.
template <class T>
PORT_DEVICE u32 pack(float low, float high) {
    return static_cast<u32>(from_float<T>(low).bits) |
           static_cast<u32>(from_float<T>(high).bits) << 16;
}

PORT_DEVICE float to_float(Bf16 value) { return bf16_value(value.bits); }
PORT_DEVICE float to_float(Fp16 value) { return fp16_value(value.bits); }
PORT_DEVICE float to_float(Tf32 value) { return value.value; }
PORT_DEVICE float to_float(float value) { return value; }

struct alignas(16) Chunk {
    u32 word[4];
};
