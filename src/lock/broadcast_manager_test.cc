// The driver with the broadcast: what a claim costs, and data that comes with the answer.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>

#include "lock/lock_manager.h"

namespace braid {
namespace {

using enum LockMode;

constexpr UnitIndex kUnit{5};
constexpr LockRange kRange{81920, 4096};

AmfId id_of(int i) { return AmfId(static_cast<std::uint16_t>(i)); }

struct StillClock final : Clock {
    Nanos now() const override { return time; }
    void arm(TimerOp&) override { ASSERT(false); }
    void disarm(TimerOp&) override {}
    Nanos time{1000};
};

/// Messages between AMFs take one tick, those to oneself none.
struct Peers {
    struct Peer final : Transport, LockHooks {
        Peer(Peers& p, AmfId number, Coherency coherency)
            : peers(p),
              id(number),
              locks(p.executor, p.clock, *this, Uuid{}, {.sharing = {.coherency = coherency}}, *this),
              scope(p.executor) {}
        void send(AmfId to, Message message) override {
            if (to != id) ++peers.messages;
            (to == id ? peers.now : peers.next).push_back({id, to, std::move(message)});
        }
        Task<AmfId> before_release(UnitIndex, AmfId) override { co_return AmfId(); }
        void released(UnitIndex) override {}
        void recover(UnitIndex) override {}
        Slice cached(UnitIndex unit, LockRange range) override {
            EXPECT_EQ(unit, kUnit);
            EXPECT_EQ(range, kRange);
            return data;
        }
        void received(UnitIndex unit, LockRange range, Slice bytes) override {
            EXPECT_EQ(unit, kUnit);
            EXPECT_EQ(range, kRange);
            EXPECT_FALSE(got) << "nobody may have used the unit yet";
            came = std::move(bytes);
        }
        static Task<void> acquire(Peer& peer, LockMode mode, LockRange range) {
            peer.got.release();
            Result<LockPin> pin = co_await peer.locks.acquire(kUnit, mode, false, range);
            peer.got = std::move(*pin);
        }

        Peers& peers;
        AmfId id;
        Slice data;  ///< its cache has this
        Slice came;
        LockPin got;
        LockManager locks;
        Scope scope;
    };
    struct Flight {
        AmfId from, to;
        Message message;
    };

    Peers(Coherency coherency, int count) {
        std::vector<AmfMember> members;
        for (int i = 1; i <= count; ++i) members.push_back({id_of(i), Incarnation(1)});
        for (const AmfMember& m : members) all[m.id.v] = std::make_unique<Peer>(*this, m.id, coherency);
        for (const AmfMember& m : members) all[m.id.v]->locks.adopt({Epoch(1), m.id, members}, {});
        run();
    }
    Peer& operator[](int i) { return *all.at(id_of(i).v); }
    /// Until nothing is under way; how many ticks that took.
    int run() {
        for (int ticks = 0;; ++ticks) {
            while (executor.run_until_idle(), !now.empty()) {
                const Flight flight = std::move(now.front());
                now.pop_front();
                all.at(flight.to.v)->locks.deliver(flight.from, flight.message);
            }
            if (next.empty()) return ticks;
            std::swap(now, next);
        }
    }
    struct Cost {
        int messages, ticks;
        friend bool operator==(const Cost&, const Cost&) = default;
    };
    Cost acquire(int who, LockMode mode, LockRange range = {}) {
        messages = 0;
        Peer& peer = (*this)[who];
        peer.scope.spawn(Peer::acquire(peer, mode, range));
        const int ticks = run();
        EXPECT_TRUE(peer.got);
        peer.got.release();
        run();
        return {messages, ticks};
    }

    Executor executor;
    StillClock clock;
    int messages = 0;
    std::deque<Flight> now, next;
    std::map<std::uint16_t, std::unique_ptr<Peer>> all;
};

Slice slice(unsigned value) {
    Slice out(Buffer(kRange.length));
    std::ranges::fill(out.owner.span(), static_cast<std::byte>(value));
    return out;
}

TEST(BroadcastLocks, AClaimCostsOneRoundTripWithEachOther) {
    for (const int count : {1, 2, 3, 4, 8}) {
        Peers peers(Coherency::broadcast, count);
        const Peers::Cost round{2 * (count - 1), count == 1 ? 0 : 2};
        EXPECT_EQ(peers.acquire(1, write), round) << "nobody has it";
        EXPECT_EQ(peers.acquire(1, write), (Peers::Cost{0, 0}));
        EXPECT_EQ(peers.acquire(count, write), count == 1 ? Peers::Cost{} : round) << "another has it";
        for (int reader = 1; reader <= count; ++reader) peers.acquire(reader, read);
        EXPECT_EQ(peers.acquire(count, write), round) << "all read it";
    }
}

TEST(BroadcastLocks, AnArbiterCostsMoreTimeAndNotMoreMessages) {
    for (const int count : {3, 4, 8}) {
        Peers peers(Coherency::arbiter, count);
        std::vector<AmfMember> members;
        for (int i = 1; i <= count; ++i) members.push_back({id_of(i), Incarnation(1)});
        const int arbiter = arbiter_of(kUnit, {Epoch(1), AmfId(1), members}).v;
        const int a = arbiter == 1 ? 2 : 1;
        const int b = arbiter == 3 ? 2 : 3;
        EXPECT_EQ(peers.acquire(a, write), (Peers::Cost{2, 2})) << "nobody has it";
        EXPECT_EQ(peers.acquire(b, write), (Peers::Cost{4, 4})) << "another has it";
    }
}

TEST(BroadcastLocks, EverybodySeesWhoTradesAUnit) {
    Peers peers(Coherency::broadcast, 3);
    for (int i = 0; i < 6; ++i) peers.acquire(1 + i % 2, write);
    peers.clock.time += 1s;
    for (const int i : {1, 2, 3}) {
        const auto hot = peers[i].locks.hottest(5);
        ASSERT_EQ(hot.size(), 1u);
        EXPECT_EQ(hot[0].unit, kUnit);
        EXPECT_EQ(hot[0].transfers, 6u);
        EXPECT_EQ(hot[0].parties, (std::vector{id_of(1), id_of(2)}));
    }
    EXPECT_EQ(peers[2].locks.standing(kUnit).holders.at(0).who, id_of(2));
}

TEST(BroadcastLocks, DataComesWithTheAnswer) {
    Peers peers(Coherency::broadcast, 3);
    peers.acquire(1, read);
    peers[1].data = slice(7);
    EXPECT_EQ(peers.acquire(2, read, kRange), (Peers::Cost{4, 2}));
    EXPECT_EQ(peers[2].came, slice(7));
    EXPECT_EQ(peers[1].locks.counters().data_sent, 1u);
    EXPECT_EQ(peers[2].locks.counters().data_received, 1u);
}

TEST(BroadcastLocks, TheLastWriterGivesItsDataToTheNextReader) {
    Peers peers(Coherency::broadcast, 3);
    peers.acquire(1, write);
    peers[1].data = slice(7);
    peers[3].data = slice(6);  // does not know better: only a mistake of its own could have it so
    peers.acquire(2, read, kRange);
    EXPECT_EQ(peers[2].came, slice(7));
}

TEST(BroadcastLocks, WhoHasNothingOfItReadsTheDisks) {
    Peers peers(Coherency::broadcast, 3);
    peers.acquire(1, write);
    peers.acquire(2, read, kRange);
    EXPECT_TRUE(peers[2].came.bytes.empty());
    peers[1].data = slice(7);
    peers.acquire(3, write, kRange);
    EXPECT_TRUE(peers[3].came.bytes.empty()) << "a writer has not asked for data";
}

}  // namespace
}  // namespace braid
