// Managers of several AMFs on one executor, their messages in queues that a test lets run. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>

#include "base/prng.h"
#include "lock/lock_manager.h"

namespace braid::testing {

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
    Task<AmfId> before_release(UnitIndex unit, AmfId) override {
        ++prepared;
        last_prepared = unit;
        co_await may_release;
        co_return AmfId();
    }
    void released(UnitIndex unit) override { gone.push_back(unit); }
    void recover(UnitIndex unit) override { recovering.push_back(unit); }

    World& world;
    AmfId id;
    Epoch epoch;
    int prepared = 0;
    UnitIndex last_prepared;
    Event may_release;
    std::vector<UnitIndex> recovering, gone, gone_when_told;
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

inline Peer::Peer(World& w, std::uint16_t number, LockOptions options)
    : world(w),
      id(number),
      may_release(w.executor),
      locks(w.executor, w.clock, *this, w.group, options, *this),
      scope(w.executor) {
    may_release.set();
}

inline void Peer::send(AmfId to, Message message) {
    ++world.counts[message.type];
    if (message.type == MessageType::lock_released) gone_when_told = gone;
    world.links[{id.v, to.v}].push_back({id, to, epoch, std::move(message)});
}

/// A place for the outcome of one acquire.
struct Slot {
    LockPin pin;
    bool done = false;
    Errc error{};
};

inline Task<void> acquire(LockManager& locks, UnitIndex unit, LockMode mode, Slot& slot) {
    Result<LockPin> pin = co_await locks.acquire(unit, mode);
    slot.done = true;
    if (pin) {
        slot.pin = std::move(*pin);
    } else {
        slot.error = pin.error().code;
    }
}

inline void start(Peer& peer, UnitIndex unit, LockMode mode, Slot& slot) {
    peer.scope.spawn(acquire(peer.locks, unit, mode, slot));
}

/// A unit whose arbiter is `arbiter`.
inline UnitIndex unit_at(const World& world, std::uint16_t arbiter) {
    for (std::uint64_t n = 0;; ++n) {
        const UnitIndex unit(n * kNeighbourhoodUnits);
        if (arbiter_of(unit, world.view(AmfId(arbiter))).v == arbiter) return unit;
    }
}

}  // namespace braid::testing
