// HIP on AMD's CDNA: indices, barrier, conversions and matrix cores, from clang's builtins alone.
#pragma once

#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define PORT_DEVICE __device__ inline __attribute__((always_inline))
#define PORT_SHARED __shared__
// A compute unit has four SIMDs; the registers must suffice for as many blocks at once.
#define PORT_KERNEL(threads, blocks)                                             \
    extern "C" __global__ void __attribute__((                                   \
        amdgpu_flat_work_group_size(threads, threads),                           \
        amdgpu_waves_per_eu(((threads) * (blocks) + 255) / 256)))
#define PORT_UNROLL _Pragma("unroll")
#define PORT_NO_UNROLL _Pragma("unroll 1")
#define PORT_UNROLL_BY_2 _Pragma("unroll 2")

PORT_DEVICE u32 thread_index() { return __builtin_amdgcn_workitem_id_x(); }
PORT_DEVICE u32 block_index() { return __builtin_amdgcn_workgroup_id_x(); }
PORT_DEVICE u32 batch_index() { return __builtin_amdgcn_workgroup_id_z(); }
PORT_DEVICE void block_barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}

PORT_DEVICE u32 n_blocks() {
    return __builtin_amdgcn_grid_size_x() / __builtin_amdgcn_workgroup_size_x();
}

// Lanes of a wave, and functions of the transcendental unit.
constexpr int WAVE = 64;
PORT_DEVICE float shuffle_xor(float value, int mask) {
    const int lane = __builtin_amdgcn_mbcnt_hi(~0u, __builtin_amdgcn_mbcnt_lo(~0u, 0u));
    return __builtin_bit_cast(
        float, __builtin_amdgcn_ds_bpermute((lane ^ mask) << 2, __builtin_bit_cast(int, value)));
}
PORT_DEVICE float exp2_fast(float value) { return __builtin_amdgcn_exp2f(value); }
PORT_DEVICE float log2_fast(float value) { return __builtin_amdgcn_logf(value); }
PORT_DEVICE float reciprocal_fast(float value) { return __builtin_amdgcn_rcpf(value); }
PORT_DEVICE float square_root(float value) { return __builtin_amdgcn_sqrtf(value); }
PORT_DEVICE float larger_of(float a, float b) { return __builtin_fmaxf(a, b); }
PORT_DEVICE float absolute(float value) { return __builtin_fabsf(value); }
PORT_DEVICE float minus_infinity() { return __builtin_bit_cast(float, 0xff800000u); }

PORT_DEVICE u16 bf16_bits(float value) {
    const u32 bits = __builtin_bit_cast(u32, value);
    if (value != value) {
        return static_cast<u16>((bits >> 16) | 0x40u);
    }
    return static_cast<u16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
PORT_DEVICE float bf16_value(u16 bits) {
    return __builtin_bit_cast(float, static_cast<u32>(bits) << 16);
}
PORT_DEVICE u16 fp16_bits(float value) {
    return __builtin_bit_cast(u16, static_cast<_Float16>(value));
}
PORT_DEVICE float fp16_value(u16 bits) {
    return static_cast<float>(__builtin_bit_cast(_Float16, bits));
}

// The compiler moves nothing across: what it would bring forward wants registers.
PORT_DEVICE void keep_order() { __builtin_amdgcn_sched_barrier(0); }

using Fragment16 = __attribute__((ext_vector_type(16))) float;

// 32 x 32 x 8: lane l holds row (of a) or column (of b) l % 32 at depths 4 (l / 32) to that plus 3.
PORT_DEVICE void mfma_bf16(Fragment16& d, u64 a, u64 b) {
    using Short4 = __attribute__((ext_vector_type(4))) short;
    d = __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(
        __builtin_bit_cast(Short4, a), __builtin_bit_cast(Short4, b), d, 0, 0, 0);
}
PORT_DEVICE void mfma_fp16(Fragment16& d, u64 a, u64 b) {
    using Half4 = __attribute__((ext_vector_type(4))) _Float16;
    d = __builtin_amdgcn_mfma_f32_32x32x8f16(
        __builtin_bit_cast(Half4, a), __builtin_bit_cast(Half4, b), d, 0, 0, 0);
}
