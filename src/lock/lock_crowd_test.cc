// The driver with many operations of several AMFs at once.
#include "lock/lock_manager_testing.h"

namespace braid {
namespace {

using namespace testing;

struct Yield {
    Executor& executor;
    Wakeup wakeup{};
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        wakeup.handle = h;
        executor.post(wakeup);
    }
    void await_resume() noexcept {}
};

/// Who is inside a unit.
struct Inside {
    std::map<std::uint16_t, int> readers, writers;
    static int others(const std::map<std::uint16_t, int>& count, std::uint16_t self) {
        int sum = 0;
        for (const auto& [id, n] : count) sum += id == self ? 0 : n;
        return sum;
    }
};

struct Visit {
    Visit(Inside& where, std::uint16_t who, LockMode mode)
        : count((mode == write ? where.writers : where.readers)[who]) {
        EXPECT_EQ(Inside::others(where.writers, who), 0);
        if (mode == write) EXPECT_EQ(Inside::others(where.readers, who), 0);
        ++count;
    }
    Visit(const Visit&) = delete;
    ~Visit() { --count; }
    int& count;
};

struct Tally {
    std::uint64_t started = 0, finished = 0;
};

Task<void> use(Peer& peer, UnitIndex unit, LockMode mode, Inside& inside, std::uint64_t turns, Tally& tally) {
    const Result<LockPin> pin = co_await peer.locks.acquire(unit, mode);
    if (!pin) co_return;
    const Visit visit(inside, peer.id.v, mode);
    for (; turns > 0; --turns) co_await Yield{peer.world.executor};
    ++tally.finished;
}

/// Random operations, deliveries, views that arrive late, operations cut off, one crash.
void live_through(std::uint64_t seed, Tally& total) {
    Prng random(seed);
    LockOptions options;
    options.held_idle = random.chance(1, 2) ? 1 : 100;
    std::map<std::uint64_t, Inside> inside;  // outlives the frames in the world
    Tally tally;
    World world(4, options);
    const auto any = [&]() -> Peer& {
        return *std::next(world.peers.begin(), static_cast<std::ptrdiff_t>(random.below(world.peers.size())))
                    ->second;
    };
    for (int step = 0; step < 3000; ++step) {
        const std::uint64_t draw = random.below(1000);
        if (draw < 150) {
            Peer& peer = any();
            const UnitIndex unit(random.below(3) * kNeighbourhoodUnits);
            ++tally.started;
            peer.scope.spawn(
                use(peer, unit, random.chance(1, 2) ? write : read, inside[unit.v], random.below(6), tally));
        } else if (draw < 550) {
            world.deliver(random.below(16));
        } else if (draw < 970) {
            world.executor.run_one();
        } else if (draw < 990) {
            Peer& peer = any();
            if (peer.epoch < world.epoch) world.adopt(peer);
        } else if (draw < 995) {
            world.bump();
        } else if (draw < 998) {
            any().scope.destroy_all();
        } else if (world.peers.size() > 2 && random.chance(1, 4)) {
            world.peers.erase(any().id.v);
            world.bump();
        }
    }
    world.next_view();
    world.run();
    for (const auto& [id, peer] : world.peers) {
        EXPECT_EQ(peer->scope.running(), 0u) << "somebody waits for ever, seed " << seed;
        EXPECT_EQ(peer->locks.counters().dropped, 0u);
    }
    total.started += tally.started;
    total.finished += tally.finished;
}

TEST(LockManager, NobodyMeetsAWriterOfAnotherAmfAndNobodyWaitsForEver) {
    Tally total;
    for (std::uint64_t seed = 1; seed <= 40 && !::testing::Test::HasFailure(); ++seed)
        live_through(seed, total);
    EXPECT_GT(total.finished, total.started / 2);
    EXPECT_GT(total.finished, 5000u);
}

}  // namespace
}  // namespace braid
