// What kernels need that read the memory of other devices: signals of system scope.
//
// A signal is a number of 64 bits which only grows, so that it is never set back and a late reader
// cannot mistake an old value for a new one. Blocks hand over what they wrote in four steps: the
// writers meet in publish_block, one of them releases a signal; one of the readers looks until the
// signal is there, and they meet in receive_block.
#pragma once

#if defined(TWEELING_HOST)
#include "emulated_peers.h"
#else

PORT_DEVICE void peer_store(Chunk* to, const Chunk& chunk) { *to = chunk; }
PORT_DEVICE Chunk peer_load(const Chunk* from) { return *from; }

#if defined(__HIP__)

// The barrier of a block orders memory within the device only. Every thread has its own stores on
// the way to other devices and waits for them itself; a fence of one thread does not wait for the
// stores of other waves.
PORT_DEVICE void publish_block() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "");
    __builtin_amdgcn_s_barrier();
}
PORT_DEVICE void receive_block() {
    __builtin_amdgcn_s_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "");
}
PORT_DEVICE void signal_release(u64* signal, u64 value) {
    __hip_atomic_store(signal, value, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_SYSTEM);
}
// Relaxed, because an acquire empties caches at every look; receive_block does that once.
PORT_DEVICE u64 signal_look(const u64* signal) {
    return __hip_atomic_load(signal, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM);
}
PORT_DEVICE void signal_pause() { __builtin_amdgcn_s_sleep(1); }

#else

// Release and acquire are cumulative over the barrier of a block (PTX memory model, causality order).
PORT_DEVICE void publish_block() { __syncthreads(); }
PORT_DEVICE void receive_block() { __syncthreads(); }
PORT_DEVICE void signal_release(u64* signal, u64 value) {
    asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(signal), "l"(value) : "memory");
}
PORT_DEVICE u64 signal_look(const u64* signal) {
    u64 value;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(signal) : "memory");
    return value;
}
PORT_DEVICE void signal_pause() {}

#endif
#endif
