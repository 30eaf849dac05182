// CUDA: synchronisation, asynchronous copies and tensor cores of sm_80 and later.
#pragma once

#define PORT_DEVICE __device__ __forceinline__
#define PORT_SHARED __shared__
#define PORT_KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)
#define PORT_UNROLL _Pragma("unroll")
#define PORT_NO_UNROLL _Pragma("unroll 1")
#define PORT_UNROLL_BY_2 _Pragma("unroll 2")
#define PORT_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

PORT_DEVICE u32 thread_index() { return threadIdx.x; }
PORT_DEVICE u32 block_index() { return blockIdx.x; }
PORT_DEVICE u32 batch_index() { return blockIdx.z; }
PORT_DEVICE u32 n_blocks() { return gridDim.x; }
PORT_DEVICE void block_barrier() { __syncthreads(); }

// Lanes of a warp, and functions of the special-function unit.
constexpr int WAVE = 32;
PORT_DEVICE float shuffle_xor(float value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}
PORT_DEVICE u32 shuffle_xor_bits(u32 bits, int mask) {
    return __shfl_xor_sync(0xffffffffu, bits, mask);
}
PORT_DEVICE float exp2_fast(float value) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
    return power;
}
PORT_DEVICE float log2_fast(float value) {
    float logarithm;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(logarithm) : "f"(value));
    return logarithm;
}
PORT_DEVICE float reciprocal_fast(float value) {
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(value));
    return inverse;
}
PORT_DEVICE float square_root(float value) {
    float root;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(root) : "f"(value));
    return root;
}
PORT_DEVICE float larger_of(float a, float b) {
    float larger;
    asm("max.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
    return larger;
}
PORT_DEVICE float absolute(float value) {
    return __uint_as_float(__float_as_uint(value) & 0x7fffffffu);
}
PORT_DEVICE float minus_infinity() { return __uint_as_float(0xff800000u); }

PORT_DEVICE u32 shared_address(const void* pointer) {
    return static_cast<u32>(__cvta_generic_to_shared(pointer));
}

PORT_DEVICE u16 bf16_bits(float value) {
    u16 bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
PORT_DEVICE float bf16_value(u16 bits) { return __uint_as_float(static_cast<u32>(bits) << 16); }
PORT_DEVICE u16 fp16_bits(float value) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
PORT_DEVICE float fp16_value(u16 bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
PORT_DEVICE u32 tf32_bits(u32 fp32_bits) {
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(__uint_as_float(fp32_bits)));
    return bits;
}

// Copies n_valid_bytes (0 to 16) from global to shared memory and fills the rest with zeros.
PORT_DEVICE void copy_async(void* to, const void* from, u32 n_valid_bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(n_valid_bytes)
                 : "memory");
}
PORT_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N_PENDING>
PORT_DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N_PENDING) : "memory");
}

// Four 8 x 8 matrices of 16 bits; lane l names row l % 8 of matrix l / 8.
PORT_DEVICE void load_matrix_x4(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}
PORT_DEVICE void load_matrix_x4_transposed(u32 (&to)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(shared_address(row))
                 : "memory");
}

#define PORT_MMA(name, shape)                                                                \
    PORT_DEVICE void name(float (&d)[4], const u32 (&a)[4], u32 b_0, u32 b_1) {              \
        asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, "       \
                     "{%8, %9}, {%0, %1, %2, %3};"                                           \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                        \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_0), "r"(b_1));      \
    }
PORT_MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
PORT_MMA(mma_fp16, "m16n8k16.row.col.f32.f16.f16.f32")
PORT_MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef PORT_MMA
