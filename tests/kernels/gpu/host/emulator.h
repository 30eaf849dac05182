// Runs a kernel on the host: every thread of a block is a fibre, blocks run one after the other.
//
// Fibres change only where they wait for each other, so a kernel runs like on a device of one lane.
// Everything asynchronous has two extremes: copies, and matrix products, happen when they are asked
// for, or only when somebody waits for them. A kernel that is right under each of the four
// combinations, and under several orders of threads, waits for what it needs and overwrites nothing
// too early. Shared memory begins as NaN.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#define PORT_DEVICE inline
#define PORT_SHARED static
#define PORT_KERNEL(threads, blocks) extern "C" void
#define PORT_UNROLL
#define PORT_NO_UNROLL
#define PORT_UNROLL_BY_2
#define PORT_DYNAMIC_SHARED(name) unsigned char* name = emulator::machine().shared

namespace emulator {

constexpr int MAX_THREADS = 512;
constexpr int MEETING_KINDS = 7;  // operations of a warp, a wave or a quad, each with its own
constexpr std::size_t STACK_BYTES = 128 * 1024;
constexpr std::size_t SHARED_BYTES = 256 * 1024;

using Action = std::function<void()>;

struct Fibre {
    ucontext_t context;  // where it begins; afterwards it goes on where it left
    jmp_buf place;
    std::unique_ptr<unsigned char[]> stack;
    bool is_begun, is_done;
    std::vector<Action> open;                 // copies not yet in a group
    std::deque<std::vector<Action>> groups;   // groups of copies, oldest first
    std::vector<Action> open_products;        // the same for wgmma
    std::deque<std::vector<Action>> products;
};

// Where a number of threads meet; the last to come does the work for all.
struct Meeting {
    int n_arrived = 0;
    u64 generation = 0;
    void* brought[MAX_THREADS];
};

struct Machine {
    Fibre fibre[MAX_THREADS];
    Meeting block, group[MEETING_KINDS][MAX_THREADS / 4];
    jmp_buf scheduler;
    unsigned char* shared;
    Action body;
    int n_threads, current;
    u32 block_index, batch_index, n_blocks;
    u64 progress;  // grows whenever somebody need not wait any longer
    bool are_copies_late, are_products_late;
    // Bulk copies that nobody has waited for yet, and the barriers that count their bytes.
    std::vector<std::pair<u32, Action>> memory_engine;
    std::vector<Action> unpublished, published;  // stores that other devices do not see yet
};

// The block that runs, where several are under way (ranks.cpp); else the only one.
inline Machine*& running_machine() {
    static Machine* it = nullptr;
    return it;
}
inline Machine& machine() {
    static Machine only;
    return running_machine() ? *running_machine() : only;
}

inline Fibre& self() { return machine().fibre[machine().current]; }

// Jumps and not swapcontext, which asks the kernel to keep the signal mask each time.
[[gnu::noinline]] inline void enter(Fibre& fibre) {
    if (_setjmp(machine().scheduler) == 0) {
        if (fibre.is_begun) {
            _longjmp(fibre.place, 1);
        }
        fibre.is_begun = true;
        setcontext(&fibre.context);
    }
}
[[gnu::noinline]] inline void leave() {
    if (_setjmp(self().place) == 0) {
        _longjmp(machine().scheduler, 1);
    }
}

template <class Condition>
void wait_until(Condition condition) {
    while (!condition()) {
        leave();
    }
    ++machine().progress;
}

inline void give_way() {
    leave();
    ++machine().progress;
}

// The threads first to first + size - 1 meet; `work` is given what each of them brought.
template <class Work>
void meet(Meeting& meeting, int rank, int size, void* brought, Work work) {
    meeting.brought[rank] = brought;
    if (++meeting.n_arrived == size) {
        work(meeting.brought);
        meeting.n_arrived = 0;
        ++meeting.generation;
        ++machine().progress;
        return;
    }
    const u64 mine = meeting.generation;
    wait_until([&] { return meeting.generation != mine; });
}

// Meeting of the aligned group of `size` threads that this one belongs to. What they bring must be
// of the same operation, hence a meeting for each kind.
template <class Work>
void meet_in_group(int kind, int size, void* brought, Work work) {
    const int thread = machine().current;
    meet(machine().group[kind][thread / size], thread % size, size, brought, work);
}

inline void fibre_main() {
    machine().body();
    self().is_done = true;
    ++machine().progress;
    leave();
}

inline void start(Fibre& fibre) {
    if (!fibre.stack) {
        fibre.stack.reset(new unsigned char[STACK_BYTES]);
    }
    fibre.is_begun = fibre.is_done = false;
    fibre.open.clear();
    fibre.groups.clear();
    fibre.open_products.clear();
    fibre.products.clear();
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = STACK_BYTES;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, fibre_main, 0);
}

inline void begin_block() {
    Machine& it = machine();
    if (it.shared) {
        std::memset(it.shared, 0xff, SHARED_BYTES);
    }
    it.memory_engine.clear();
    it.block = {};
    for (auto& kind : it.group) {
        for (auto& meeting : kind) {
            meeting.n_arrived = 0;
        }
    }
    for (int i = 0; i < it.n_threads; ++i) {
        start(it.fibre[i]);
    }
}

// Runs one block; `stride` orders its threads. False when all wait and nobody can go on, or when the
// block ends before a copy into its shared memory has.
inline bool run_block(int stride) {
    Machine& it = machine();
    begin_block();
    for (bool is_running = true; is_running;) {
        is_running = false;
        const u64 before = it.progress;
        for (int i = 0; i < it.n_threads; ++i) {
            it.current = static_cast<int>(static_cast<long>(i) * stride % it.n_threads);
            if (!self().is_done) {
                is_running = true;
                enter(self());
            }
        }
        if (is_running && it.progress == before) {
            return false;
        }
    }
    return it.memory_engine.empty();
}

struct Grid {
    int n_blocks, n_batches, n_threads, are_copies_late, are_products_late, stride;
};

// 0, or 1 when a block got stuck or left a copy behind.
inline int launch(const Grid& grid, const Action& body) {
    Machine& it = machine();
    static std::vector<unsigned char> memory(SHARED_BYTES + 1024);
    it.shared = reinterpret_cast<unsigned char*>(
        (reinterpret_cast<std::uintptr_t>(memory.data()) + 1023) / 1024 * 1024);
    it.body = body;
    it.n_threads = grid.n_threads;
    it.n_blocks = static_cast<u32>(grid.n_blocks);
    it.are_copies_late = grid.are_copies_late != 0;
    it.are_products_late = grid.are_products_late != 0;
    for (int batch = 0; batch < grid.n_batches; ++batch) {
        for (int block = 0; block < grid.n_blocks; ++block) {
            it.batch_index = static_cast<u32>(batch);
            it.block_index = static_cast<u32>(block);
            if (!run_block(grid.stride)) {
                return 1;
            }
        }
    }
    return 0;
}

}  // namespace emulator

inline u32 thread_index() { return static_cast<u32>(emulator::machine().current); }
inline u32 block_index() { return emulator::machine().block_index; }
inline u32 batch_index() { return emulator::machine().batch_index; }
inline u32 n_blocks() { return emulator::machine().n_blocks; }
inline void block_barrier() {
    emulator::Machine& it = emulator::machine();
    emulator::meet(it.block, it.current, it.n_threads, nullptr, [](void**) {});
}

template <class To, class From>
inline To bit_copy(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

inline u16 bf16_bits(float value) {
    const u32 bits = bit_copy<u32>(value);
    if (value != value) {
        return static_cast<u16>((bits >> 16) | 0x40u);
    }
    return static_cast<u16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline float bf16_value(u16 bits) { return bit_copy<float>(static_cast<u32>(bits) << 16); }

inline float fp16_value(u16 bits) {
    static const std::vector<float> all = [] {
        std::vector<float> values(1 << 16);
        for (int i = 0; i < 1 << 16; ++i) {
            const int exponent = i >> 10 & 31, fraction = i & 1023;
            const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                               : exponent == 0
                                   ? std::ldexp(static_cast<float>(fraction), -24)
                                   : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
            values[i] = i & 0x8000 ? -size : size;
        }
        return values;
    }();
    return all[bits];
}
inline u16 fp16_bits(float value) {
    const u16 sign = std::signbit(value) ? 0x8000 : 0;
    const float size = std::fabs(value);
    if (value != value) {
        return 0x7fff;
    }
    if (size >= 65520.0f) {
        return sign | 0x7c00;
    }
    int exponent = 0;
    std::frexp(size, &exponent);  // size is in [2^(exponent-1), 2^exponent)
    exponent = exponent < -13 || size == 0.0f ? -13 : exponent;
    const int steps = static_cast<int>(std::nearbyint(std::ldexp(size, 11 - exponent)));
    return static_cast<u16>(sign | (steps + ((exponent + 13) << 10)));
}

#include "emulated_lanes.h"
#include "emulated_mfma.h"
#include "emulated_mma.h"

