// Hopper: barriers in shared memory, bulk tensor copies and products of warp groups. sm_90a only.
#pragma once

#if defined(TWEELING_HOST)
#include "emulated_wgmma.h"
#else

#define PORT_GRID_CONSTANT __grid_constant__

// What cuTensorMapEncodeTiled fills in on the host (kernels/gpu/tensor_map.py).
struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

PORT_DEVICE void barrier_init(u64* barrier, u32 n_arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(n_arrivals)
                 : "memory");
}
// Makes initialised barriers visible to the copy engine.
PORT_DEVICE void barrier_publish() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
}
PORT_DEVICE void barrier_expect(u64* barrier, u32 n_bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                     shared_address(barrier)),
                 "r"(n_bytes)
                 : "memory");
}
PORT_DEVICE void barrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}
// Waits until the phase of this parity is over.
PORT_DEVICE void barrier_wait(u64* barrier, u32 parity) {
    u32 is_over = 0;
    while (is_over == 0) {
        asm volatile(
            "{\n.reg .pred over;\n"
            "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
            "selp.u32 %0, 1, 0, over;\n}\n"
            : "=r"(is_over)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
    }
}

PORT_DEVICE void tensor_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// Copies the box at (x, y, z); the barrier counts its bytes, zeros outside the tensor included.
PORT_DEVICE void tensor_copy(void* to, const TensorMap* map, u64* barrier, int x, int y, int z) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
        : "memory");
}

// The same of a tensor of four axes.
PORT_DEVICE void tensor_copy(void* to, const TensorMap* map, u64* barrier, int x, int y, int z,
                             int w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
        : "memory");
}

// Named barriers: whole warps arrive, and those that meet wait until THREADS have come. Number 0
// is block_barrier's.
template <int THREADS>
PORT_DEVICE void group_meet(int number) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(THREADS) : "memory");
}
template <int THREADS>
PORT_DEVICE void group_arrive(int number) {
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "n"(THREADS) : "memory");
}

template <int N>
PORT_DEVICE void registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N>
PORT_DEVICE void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

PORT_DEVICE void product_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
PORT_DEVICE void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N_PENDING>
PORT_DEVICE void product_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N_PENDING) : "memory");
}
// Keeps the compiler from touching sums between a product and the wait for it.
template <int N>
PORT_DEVICE void product_pin(float (&d)[N]) {
    PORT_UNROLL
    for (int i = 0; i < N; ++i) {
        asm volatile("" : "+f"(d[i])::"memory");
    }
}

PORT_DEVICE void product_pin(u32 (&a)[4]) {
    asm volatile("" : "+r"(a[0]), "+r"(a[1]), "+r"(a[2]), "+r"(a[3])::"memory");
}

template <class T, int N>
struct WarpGroupProduct;

#define ELEMENT Bf16
#define NAME "bf16"
#include "wgmma_shapes.h"
#undef ELEMENT
#undef NAME
#define ELEMENT Fp16
#define NAME "f16"
#include "wgmma_shapes.h"
#undef ELEMENT
#undef NAME

#endif
