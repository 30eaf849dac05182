// Memory of other devices: stores that arrive at once, or only when a signal has to be later.
#pragma once

#include <random>

namespace emulator {

// Where several ranks run, threads stop in the middle of their reads and writes now and then.
inline std::mt19937*& chance() {
    static std::mt19937* it = nullptr;
    return it;
}
inline void pause_by_chance() {
    if (chance() && (*chance())() % 4 == 0) {
        give_way();
    }
}

inline void deliver(std::vector<Action>& stores) {
    for (const Action& store : stores) {
        store();
    }
    stores.clear();
}

}  // namespace emulator

inline void peer_store(Chunk* to, const Chunk& chunk) {
    emulator::pause_by_chance();
    if (emulator::machine().are_copies_late) {
        emulator::machine().unpublished.push_back([to, chunk] { *to = chunk; });
    } else {
        *to = chunk;
    }
}
inline Chunk peer_load(const Chunk* from) {
    emulator::pause_by_chance();
    return *from;
}

inline void publish_block() {
    emulator::Machine& it = emulator::machine();
    emulator::meet(it.block, it.current, it.n_threads, nullptr, [&](void**) {
        std::move(it.unpublished.begin(), it.unpublished.end(), std::back_inserter(it.published));
        it.unpublished.clear();
    });
}
inline void receive_block() { block_barrier(); }
inline void signal_release(u64* signal, u64 value) {
    emulator::pause_by_chance();
    emulator::deliver(emulator::machine().published);
    *signal = value;
    ++emulator::machine().progress;
}
inline u64 signal_look(const u64* signal) { return *signal; }
inline void signal_pause() {
    emulator::leave();
}
