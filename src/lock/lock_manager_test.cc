// The driver: managers of several AMFs on one executor, their messages in queues that the test lets run.
#include "lock/lock_manager.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "base/prng.h"

namespace braid {
namespace {

using enum LockMode;

struct StillClock final : Clock {
    Nanos now() const override { return time; }
    void arm(TimerOp&) override { ASSERT(false); }
    void disarm(TimerOp&) override {}
    Nanos time{1000};
};

struct World;

/// One AMF.
struct Peer final : Transport, LockHooks {
    Peer(World& w, std::uint16_t number, LockOptions options);
    void send(AmfId to, Message message) override;
    Task<void> before_release(UnitIndex unit) override {
        ++prepared;
        last_prepared = unit;
        co_await may_release;
    }
    void recover(UnitIndex unit) override { recovering.push_back(unit); }

    World& world;
    AmfId id;
    Epoch epoch;
    int prepared = 0;
    UnitIndex last_prepared;
    Event may_release;
    std::vector<UnitIndex> recovering;
    LockManager locks;
    Scope scope;
};

struct World {
    explicit World(std::uint16_t count, LockOptions options = {}) {
        group.bytes[3] = 9;
        for (std::uint16_t i = 1; i <= count; ++i) peers[i] = std::make_unique<Peer>(*this, i, options);
        next_view();
        run();
    }
    Peer& operator[](int i) { return *peers.at(static_cast<std::uint16_t>(i)); }

    AmfView view(AmfId self) const { return {epoch, self, members}; }
    /// The view of the next epoch, which nobody has adopted yet.
    void bump() {
        epoch = epoch.next();
        members.clear();
        for (const auto& [id, peer] : peers) {
            if (!absent.contains(id)) members.push_back({AmfId(id), Incarnation(1)});
        }
    }
    void adopt(Peer& peer, std::vector<LockClaim> claims = {}) {
        peer.epoch = epoch;
        peer.locks.adopt(view(peer.id), claims);
    }
    void next_view(std::vector<LockClaim> claims = {}) {
        bump();
        for (const auto& [id, peer] : peers) adopt(*peer, claims);
    }

    struct Flight {
        AmfId from, to;
        Epoch epoch;
        Message message;
    };
    /// One message of one link; those of a passed epoch fall off, those of a coming one wait.
    bool deliver(std::uint64_t start) {
        std::vector<decltype(links)::iterator> ready;
        for (auto it = links.begin(); it != links.end(); ++it) {
            auto& queue = it->second;
            const auto to = peers.find(it->first.second);
            while (!queue.empty() && (to == peers.end() || queue.front().epoch < to->second->epoch))
                queue.pop_front();
            if (!queue.empty() && queue.front().epoch == to->second->epoch) ready.push_back(it);
        }
        if (ready.empty()) return false;
        auto& queue = ready[start % ready.size()]->second;
        const Flight flight = std::move(queue.front());
        queue.pop_front();
        (*this)[flight.to.v].locks.deliver(flight.from, flight.message);
        return true;
    }
    void run() {
        do executor.run_until_idle();
        while (deliver(0));
    }
    std::uint64_t sent(MessageType type) { return std::exchange(counts[type], 0); }
    void forget_counts() { counts.clear(); }

    Executor executor;
    StillClock clock;
    Uuid group;
    Epoch epoch;
    std::vector<AmfMember> members;
    std::set<std::uint16_t> absent;
    std::map<MessageType, std::uint64_t> counts;
    std::map<std::pair<std::uint16_t, std::uint16_t>, std::deque<Flight>> links;
    std::map<std::uint16_t, std::unique_ptr<Peer>> peers;
};

Peer::Peer(World& w, std::uint16_t number, LockOptions options)
    : world(w),
      id(number),
      may_release(w.executor),
      locks(w.executor, w.clock, *this, w.group, options, *this),
      scope(w.executor) {
    may_release.set();
}

void Peer::send(AmfId to, Message message) {
    ++world.counts[message.type];
    world.links[{id.v, to.v}].push_back({id, to, epoch, std::move(message)});
}

/// A place for the outcome of one acquire.
struct Slot {
    LockPin pin;
    bool done = false;
    Errc error{};
};

Task<void> acquire(LockManager& locks, UnitIndex unit, LockMode mode, Slot& slot) {
    Result<LockPin> pin = co_await locks.acquire(unit, mode);
    slot.done = true;
    if (pin) {
        slot.pin = std::move(*pin);
    } else {
        slot.error = pin.error().code;
    }
}

void start(Peer& peer, UnitIndex unit, LockMode mode, Slot& slot) {
    peer.scope.spawn(acquire(peer.locks, unit, mode, slot));
}

/// A unit whose arbiter is `arbiter`.
UnitIndex unit_at(const World& world, std::uint16_t arbiter) {
    for (std::uint64_t n = 0;; ++n) {
        const UnitIndex unit(n * kNeighbourhoodUnits);
        if (arbiter_of(unit, world.view(AmfId(arbiter))).v == arbiter) return unit;
    }
}

TEST(LockManager, AContendedLockCostsFourMessagesHoweverManyAmfsThereAre) {
    for (const int count : {3, 4, 8, 16}) {
        World world(static_cast<std::uint16_t>(count));
        const UnitIndex unit = unit_at(world, 3);
        Slot a, b;
        start(world[1], unit, write, a);
        world.run();
        EXPECT_TRUE(a.pin);
        a.pin.release();
        world.run();
        world.forget_counts();
        start(world[2], unit, write, b);
        world.run();
        EXPECT_TRUE(b.pin);
        EXPECT_EQ(world.sent(MessageType::lock_request), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_revoke), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_released), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_grant), 1u);
        EXPECT_EQ(world[1].locks.held(), 0u);
        EXPECT_EQ(world[2].locks.held(), 1u);
    }
}

TEST(LockManager, AGrantThatSaysReleaseWhenDoneSavesTheRevoke) {
    World world(4);
    const UnitIndex unit = unit_at(world, 4);
    Slot a, b, c;
    start(world[1], unit, write, a);
    world.run();
    start(world[2], unit, write, b);
    start(world[3], unit, write, c);
    world.run();
    EXPECT_EQ(world.sent(MessageType::lock_revoke), 1u);
    a.pin.release();
    world.run();
    ASSERT_TRUE(b.pin);
    EXPECT_FALSE(c.done);
    b.pin.release();
    world.run();
    EXPECT_TRUE(c.pin);
    EXPECT_EQ(world.sent(MessageType::lock_revoke), 0u);
    EXPECT_EQ(world.sent(MessageType::lock_released), 2u);
}

TEST(LockManager, WhoWorksAloneSendsNoMessageAfterTheFirst) {
    World world(3);
    Slot first;
    start(world[1], UnitIndex(5), write, first);
    world.run();
    first.pin.release();
    world.forget_counts();
    for (int i = 0; i < 100; ++i) {
        LockPin pin, other;
        EXPECT_TRUE(world[1].locks.try_acquire(UnitIndex(5), write, pin));
        EXPECT_TRUE(world[1].locks.try_acquire(UnitIndex(5), read, other));
    }
    world.run();
    EXPECT_TRUE(world.counts.empty());
    EXPECT_EQ(world[1].locks.counters().held, 200u);
    EXPECT_EQ(world[1].locks.counters().peer, 1u);
    LockPin pin;
    EXPECT_FALSE(world[2].locks.try_acquire(UnitIndex(5), read, pin));
}

TEST(LockManager, AWriteLockLeavesOnlyAfterTheReleaseRule) {
    World world(2);
    Slot a, b, again;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    world[1].may_release.reset();
    start(world[2], UnitIndex(5), read, b);
    world.run();
    EXPECT_EQ(world[1].prepared, 0) << "pinned";
    a.pin.release();
    EXPECT_EQ(world[1].prepared, 0) << "the end of a pin calls nobody";
    world.run();
    EXPECT_EQ(world[1].prepared, 1);
    EXPECT_EQ(world[1].last_prepared, UnitIndex(5));
    start(world[1], UnitIndex(5), write, again);
    world.next_view();
    world.run();
    EXPECT_FALSE(b.done || again.done);
    EXPECT_EQ(world[1].locks.held(), 1u);
    world[1].may_release.set();
    world.run();
    EXPECT_TRUE(b.pin);
    b.pin.release();
    world.run();
    EXPECT_TRUE(again.pin);
    EXPECT_EQ(world[2].prepared, 0) << "readers have nothing to prepare";
}

TEST(LockManager, AWaiterThatIsDestroyedLeavesTheQueue) {
    World world(2);
    Slot a, b;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    world[2].scope.destroy_all();
    EXPECT_EQ(world[2].locks.counters().cancelled, 1u);
    a.pin.release();
    world.run();
    EXPECT_FALSE(b.done);
    LockPin pin;
    EXPECT_TRUE(world[2].locks.try_acquire(UnitIndex(5), write, pin)) << "the grant came and stays idle";
}

TEST(LockManager, AWaiterThatIsDestroyedBetweenGrantAndResumptionGivesItsPinBack) {
    World world(1);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.executor.run_until_idle();
    ASSERT_TRUE(world.deliver(0)) << "the request";
    ASSERT_TRUE(world.deliver(0)) << "the grant";
    EXPECT_FALSE(a.done);
    world[1].scope.destroy_all();
    world.run();
    EXPECT_FALSE(a.done);
    EXPECT_EQ(world[1].locks.held(), 1u);
    LockOptions none;
    none.held_idle = 0;
    World tight(1, none);
    start(tight[1], UnitIndex(5), write, a);
    tight.executor.run_until_idle();
    tight.deliver(0);
    tight.deliver(0);
    ASSERT_EQ(tight[1].locks.held(), 1u);
    tight[1].scope.destroy_all();
    tight.run();
    EXPECT_EQ(tight[1].locks.held(), 0u);
}

TEST(LockManager, StopFailsTheWaitersAndStillGivesBack) {
    World world(2);
    Slot a, b, late;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[1], UnitIndex(6), write, late);
    world[1].locks.stop();
    world.run();
    EXPECT_TRUE(late.done);
    EXPECT_EQ(late.error, Errc::cancelled);
    Slot after;
    start(world[1], UnitIndex(5), read, after);
    EXPECT_EQ(after.error, Errc::cancelled);
    a.pin.release();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    EXPECT_TRUE(b.pin);
}

TEST(LockManager, AClaimedUnitIsRecoveredBeforeAnybodyGetsIt) {
    World world(2);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.bump();
    world.adopt(world[1]);
    world.adopt(world[2], {{UnitIndex(5), 1}});
    world.run();
    EXPECT_FALSE(a.done);
    EXPECT_EQ(world[2].recovering, (std::vector<UnitIndex>{UnitIndex(5)}));
    LockPin pin;
    EXPECT_FALSE(world[2].locks.try_acquire(UnitIndex(5), read, pin));
    world[2].locks.recovered(UnitIndex(5));
    world[2].locks.recovered(UnitIndex(5));
    world.run();
    EXPECT_TRUE(a.pin);
    EXPECT_EQ(world[2].locks.counters().recoveries, 1u);
}

TEST(LockManager, WhatIsHeldSurvivesAViewAndItsReportComesInSeveralFrames) {
    World world(2);
    constexpr std::size_t kMany = 3 * kReportEntries;
    std::vector<Slot> slots(kMany);
    for (std::size_t i = 0; i < kMany; ++i) start(world[1], UnitIndex(i), read, slots[i]);
    world.run();
    ASSERT_EQ(world[1].locks.held(), kMany);
    world.forget_counts();
    world.next_view();
    EXPECT_GE(world.sent(MessageType::lock_report), 6u);
    Slot other;
    start(world[2], UnitIndex(kMany - 1), write, other);
    world.run();
    EXPECT_FALSE(other.done);
    EXPECT_EQ(world[1].locks.held(), kMany);
    slots.back().pin.release();
    world.run();
    EXPECT_TRUE(other.pin);
    std::size_t listed = 0;
    world[1].locks.for_each_held([&](UnitIndex, LockMode mode) { listed += mode == read ? 1 : 0; });
    EXPECT_EQ(listed, kMany - 1);
}

TEST(LockManager, OutsideTheViewAnAcquireWaitsAndWhatWasHeldIsLost) {
    World world(2);
    Slot a, b, c;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    world.absent.insert(1);
    world.next_view();
    start(world[1], UnitIndex(6), write, b);
    start(world[2], UnitIndex(5), write, c);
    world.run();
    EXPECT_FALSE(b.done);
    EXPECT_TRUE(c.pin);
    EXPECT_EQ(world[1].locks.held(), 0u);
    a.pin.release();
    world.absent.clear();
    world.next_view();
    world.run();
    EXPECT_TRUE(b.pin);
}

TEST(LockManager, AGrantLostBeforeItsWaiterRanIsWaitedForAgain) {
    World world(2);
    const UnitIndex unit = unit_at(world, 1);
    Slot a;
    start(world[1], unit, write, a);
    ASSERT_TRUE(world.deliver(0)) << "the request";
    ASSERT_TRUE(world.deliver(0)) << "the grant";
    ASSERT_EQ(world[1].locks.held(), 1u);
    world.absent.insert(1);
    world.next_view();
    world.run();
    EXPECT_FALSE(a.done);
    world.absent.clear();
    world.next_view();
    world.run();
    EXPECT_TRUE(a.pin);
    EXPECT_EQ(world[1].locks.held(), 1u);
}

TEST(LockManager, CountsHowLongWaitsTook) {
    World world(2);
    Slot a, b;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[2], UnitIndex(5), write, b);
    world.clock.time += 5000ns;
    a.pin.release();
    world.run();
    EXPECT_TRUE(b.pin);
    EXPECT_EQ(world[2].locks.counters().waits[12], 1u) << "4096 .. 8191 ns";
    EXPECT_EQ(world[2].locks.counters().wait_ns, 5000u);
}

TEST(LockManager, KnowsWhichUnitsAreTradedAndBetweenWhom) {
    World world(3);
    const UnitIndex unit(5);
    Peer& arbiter = world[arbiter_of(unit, world.view(AmfId(1))).v];
    for (int i = 0; i < 4; ++i) {
        for (const int who : {1, 2}) {
            Slot slot;
            start(world[who], unit, write, slot);
            world.run();
            ASSERT_TRUE(slot.pin);
        }
    }
    Slot held, wanted;
    start(world[1], unit, write, held);
    world.run();
    start(world[2], unit, write, wanted);
    world.run();
    EXPECT_EQ(arbiter.locks.standing(unit).holders,
              (std::vector<LockStanding::Party>{{AmfId(1), LockMode::write}}));
    EXPECT_EQ(arbiter.locks.standing(unit).waiting,
              (std::vector<LockStanding::Party>{{AmfId(2), LockMode::write}}));
    EXPECT_EQ(world[1].locks.standing(unit).holders.at(0).who, AmfId(1));
    EXPECT_EQ(world[2].locks.standing(unit).waiting.at(0).who, AmfId(2));
    EXPECT_TRUE(world[2].locks.standing(UnitIndex(6)).waiting.empty());
    world.clock.time += 1s;
    const auto hot = arbiter.locks.hottest(10);
    ASSERT_EQ(hot.size(), 1u);
    EXPECT_EQ(hot[0].unit, unit);
    EXPECT_EQ(hot[0].transfers, 9u);
    EXPECT_EQ(hot[0].parties, (std::vector{AmfId(1), AmfId(2)}));
}

TEST(LockManager, MessagesThatMakeNoSenseAreDropped) {
    World world(3);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    LockManager& locks = world[1].locks;
    Prng random(7);
    std::uint64_t sent = 0;
    const auto send = [&](AmfId from, Message message) {
        locks.deliver(from, message);
        EXPECT_EQ(locks.counters().dropped, ++sent);
    };
    const UnitIndex mine = unit_at(world, 1), other = unit_at(world, 2);
    const auto frame = [&](MessageType type, UnitIndex unit) {
        return Message{world.group, type, encode(LockFrame{type, unit, 1, write}), {}};
    };
    send(AmfId(9), frame(MessageType::lock_request, mine));
    send(AmfId(2), frame(MessageType::lock_request, other));
    send(AmfId(2), frame(MessageType::lock_released, other));
    send(AmfId(3), frame(MessageType::lock_grant, other));
    send(AmfId(3), frame(MessageType::lock_revoke, other));
    send(AmfId(2),
         Message{Uuid{}, MessageType::lock_request, frame(MessageType::lock_request, mine).head, {}});
    send(AmfId(2), Message{world.group, MessageType::record_begin, {}, {}});
    send(AmfId(2), Message{world.group, MessageType::lock_report, encode(LockReport{}), {}});
    for (int i = 0; i < 2000; ++i) {
        Message message{world.group, static_cast<MessageType>(random.between(16, 20)), {}, {}};
        message.head.resize(random.below(64));
        for (std::byte& b : message.head)
            b = static_cast<std::byte>(random.chance(1, 3) ? random.below(256) : 0);
        const std::size_t sizes[] = {17, 19, 29};  // may well mean something
        if (std::ranges::find(sizes, message.head.size()) != std::end(sizes)) continue;
        send(AmfId(static_cast<std::uint16_t>(random.between(1, 4))), message);
    }
    Slot b;
    a.pin.release();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    EXPECT_TRUE(b.pin);
}

// ---- many at once

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
    for (std::uint64_t seed = 1; seed <= 40 && !testing::Test::HasFailure(); ++seed)
        live_through(seed, total);
    EXPECT_GT(total.finished, total.started / 2);
    EXPECT_GT(total.finished, 5000u);
}

}  // namespace
}  // namespace braid
