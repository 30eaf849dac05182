// Several ranks at once: every rank runs its calls one after the other, as on a stream, and all
// blocks of all ranks are under way together. Who goes on, and how long others are held up, is
// drawn from a seed.
#define TWEELING_HOST
#include ENTRY_SOURCE

#include <algorithm>
#include <random>

namespace {

struct Call {
    int entry, n_blocks;
    ENTRY_ARGUMENTS arguments;
};

struct Fleet {
    int n_ranks, n_threads, are_copies_late, most_idle_rounds;
    u32 seed;
    int n_calls[8];
};

// Entry -1 is another kernel on the stream: it copies n bytes.
void run_entry(int entry, const ENTRY_ARGUMENTS& g) {
    if (entry < 0 && thread_index() == 0) {
        std::memcpy(g.out, g.input, static_cast<std::size_t>(g.n));
    }
    switch (entry) { ENTRY_CASES }
}

struct Rank {
    const Call* calls;
    int n_left;
    double share;  // of the rounds in which it goes on
    std::vector<std::unique_ptr<emulator::Machine>> blocks;
};

class Runner {
  public:
    Runner(const Fleet& fleet, const Call* calls) : fleet(fleet), chance(fleet.seed) {
        emulator::chance() = &chance;
        for (int rank = 0; rank < fleet.n_ranks; ++rank) {
            ranks.push_back({calls, fleet.n_calls[rank], 1.0, {}});
            calls += fleet.n_calls[rank];
        }
    }
    ~Runner() {
        emulator::chance() = nullptr;
        emulator::running_machine() = nullptr;
    }

    int run() {
        for (int round = 0, n_idle = 0; is_anyone_left(); ++round) {
            if (round % 64 == 0) {
                draw_shares();
            }
            const u64 before = progress;
            const bool is_complete = n_idle > 0;
            for (Rank& rank : ranks) {
                if (rank.n_left && (is_complete || draw() < rank.share)) {
                    advance(rank, is_complete);
                }
            }
            n_idle = progress == before ? n_idle + 1 : 0;
            if (n_idle > fleet.most_idle_rounds) {
                return 1;
            }
        }
        return 0;
    }

  private:
    const Fleet& fleet;
    std::mt19937 chance;
    std::vector<Rank> ranks;
    u64 progress = 0;

    double draw() { return static_cast<double>(chance()) / 4294967296.0; }
    bool is_anyone_left() const {
        return std::any_of(ranks.begin(), ranks.end(), [](auto& rank) { return rank.n_left; });
    }
    void draw_shares() {
        for (Rank& rank : ranks) {
            const double drawn = draw();
            rank.share = drawn < 0.25 ? 0.03 : drawn < 0.5 ? 0.3 : 1.0;
        }
    }

    void begin(Rank& rank) {
        const Call& call = *rank.calls;
        for (int block = 0; block < call.n_blocks; ++block) {
            rank.blocks.push_back(std::make_unique<emulator::Machine>());
            emulator::Machine& it = *rank.blocks.back();
            it.n_threads = fleet.n_threads;
            it.n_blocks = static_cast<u32>(call.n_blocks);
            it.block_index = static_cast<u32>(block);
            it.are_copies_late = fleet.are_copies_late != 0;
            it.body = [&call] { run_entry(call.entry, call.arguments); };
            emulator::running_machine() = &it;
            emulator::begin_block();
        }
    }

    // Each thread of each block goes on as far as it can, in some order; some are held up.
    void advance(Rank& rank, bool is_complete) {
        if (rank.blocks.empty()) {
            begin(rank);
            ++progress;
        }
        std::shuffle(rank.blocks.begin(), rank.blocks.end(), chance);
        bool is_running = false;
        for (auto& block : rank.blocks) {
            is_running |= run_once(*block, is_complete);
        }
        if (!is_running) {
            rank.blocks.clear();
            ++rank.calls;
            --rank.n_left;
            ++progress;
        }
    }

    bool run_once(emulator::Machine& it, bool is_complete) {
        emulator::running_machine() = &it;
        const u64 before = it.progress;
        const u32 first = chance(), stride = chance() | 1u;
        bool is_running = false;
        for (u32 i = 0; i < static_cast<u32>(it.n_threads); ++i) {
            it.current = static_cast<int>((first + i * stride) % static_cast<u32>(it.n_threads));
            if (emulator::self().is_done) {
                continue;
            }
            is_running = true;
            if (is_complete || chance() % 8 != 0) {
                emulator::enter(emulator::self());
            }
        }
        if (!is_running) {
            emulator::deliver(it.published);
            emulator::deliver(it.unpublished);
        }
        progress += it.progress - before;
        return is_running;
    }
};

}  // namespace

// 0, or 1 when everybody waits and nobody can go on.
extern "C" int run_ranks(const Fleet* fleet, const Call* calls) {
    return Runner(*fleet, calls).run();
}
