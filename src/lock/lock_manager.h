// The locks of one group on one AMF: arbiter and client, joined to the links and to the coroutines that wait.
//
//   { LockPin pin = ...acquire(unit, mode)...; work under the lock }   // the pin's end lets the lock go when
//   asked for
//
// Guarantees: rows L1 L2 L3 L6 L8 L9, see arbiter.h and lock_client.h. An acquire that waits is cancelled by
// destroying its frame. While this AMF is not in the view acquire() waits; what it held is lost then, and
// pins of that time mean nothing any more. Needs: adopt() for every view of the group, before any message of
// that epoch is delivered; the transport, the hooks and the clock outlive the manager, and it outlives all
// pins and waiting acquires.
#pragma once

#include <array>
#include <bit>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "base/result.h"
#include "icl/message.h"
#include "icl/view.h"
#include "io/clock.h"
#include "layout/sharing.h"
#include "lock/arbiter.h"
#include "lock/hot_units.h"
#include "lock/lock_client.h"
#include "lock/lock_types.h"
#include "lock/streams.h"

namespace braid {

/// What the AMF does for its locks.
class LockHooks {
public:
    virtual ~LockHooks() = default;
    /// The release rule: returns when no partner holds live state of a stripe in the unit. Called for write
    /// locks that nobody here uses any more; nobody here gets the unit before it has returned. `next`: who
    /// wants to write and gets it next, if that is known. Returns that one if it has state of ours that may
    /// meet nobody else: then nobody else gets the unit before it.
    virtual Task<AmfId> before_release(UnitIndex unit, AmfId next) = 0;
    /// The unit is about to be held for writing, by a request: not for recovery.
    virtual void granted(UnitIndex) {}
    /// The unit is not held any more: given back (nobody else has heard of it yet), or lost with the view.
    virtual void released(UnitIndex unit) = 0;
    /// The unit is held for writing, for recovery alone: finish what the orphan records say, then call
    /// recovered(), also when there is nothing (left) to finish. Views may change meanwhile: the unit stays
    /// held, and a unit that was claimed again is given again afterwards. If this AMF leaves the view
    /// meanwhile, recovered() does nothing. Returns at once.
    virtual void recover(UnitIndex unit) = 0;
    /// A peer is about to read this range of the group: its bytes, if all of them are at hand and no other
    /// AMF has had the unit for writing since this one held it; otherwise nothing.
    virtual Slice cached(UnitIndex, LockRange) { return {}; }
    /// What a peer had of the unit, valid as long as the unit is held. Called before the operations that
    /// wait for the unit go on.
    virtual void received(UnitIndex, LockRange, Slice) {}
};

struct LockOptions {
    std::size_t held_idle = LockClient::kHeldIdle;  ///< units kept though no operation uses them
    SharingOptions sharing{};                       ///< of the group
};

struct LockCounters {
    std::uint64_t held = 0;        ///< acquires served by what was held: no message
    std::uint64_t prefetched = 0;  ///< of those the first of a unit that came ahead
    std::uint64_t peer = 0;        ///< acquires that had to wait
    std::uint64_t cancelled = 0;   ///< of those that waited
    /// Sent, by type from lock_request on; those to this AMF itself are none.
    std::array<std::uint64_t, 16> messages{};
    std::uint64_t sent(MessageType type) const { return messages[static_cast<std::size_t>(type) - kFirst]; }
    void count_sent(MessageType type) { ++messages[static_cast<std::size_t>(type) - kFirst]; }
    static constexpr std::size_t kFirst = static_cast<std::size_t>(MessageType::lock_request);
    std::uint64_t data_sent = 0, data_received = 0;  ///< yields and grants that carried some
    std::uint64_t recoveries = 0;                    ///< units given to this AMF for recovery
    std::uint64_t dropped = 0;                       ///< messages that made no sense
    /// Waits by duration: bucket i counts those of [2^i, 2^(i+1)) ns, the last one all longer ones.
    std::array<std::uint64_t, 40> waits{};
    std::uint64_t wait_ns = 0;  ///< all of them together

    /// Acquires by how they were had: held, peer, cancelled.
    std::vector<std::pair<std::string, std::uint64_t>> by_result() const;
};

class LockManager;

/// Keeps a unit locked, or several that follow each other. Movable; an empty one holds nothing.
class [[nodiscard]] LockPin {
public:
    LockPin() = default;
    LockPin(LockPin&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)),
          unit_(other.unit_),
          count_(other.count_),
          mode_(other.mode_),
          life_(other.life_) {}
    LockPin& operator=(LockPin&& other) noexcept {
        if (this != &other) {
            release();
            locks_ = std::exchange(other.locks_, nullptr);
            unit_ = other.unit_;
            count_ = other.count_;
            mode_ = other.mode_;
            life_ = other.life_;
        }
        return *this;
    }
    ~LockPin() { release(); }

    /// Ends the pin early. Never resumes or calls anybody.
    void release();
    explicit operator bool() const { return locks_ != nullptr; }
    UnitIndex unit() const { return unit_; }  ///< the first one
    std::uint32_t count() const { return locks_ == nullptr ? 0 : count_; }
    /// Takes over the pin of the unit that follows, in the same mode, had in the same view; any, if empty.
    void join(LockPin next);
    LockMode mode() const { return mode_; }  ///< the mode that was asked for
    /// What it pins was not lost with the view.
    bool live() const;

private:
    friend class LockManager;
    LockPin(LockManager& locks, UnitIndex unit, LockMode mode, std::uint32_t life)
        : locks_(&locks), unit_(unit), mode_(mode), life_(life) {}
    LockManager* locks_ = nullptr;
    UnitIndex unit_;
    std::uint32_t count_ = 1;
    LockMode mode_ = LockMode::read;
    std::uint32_t life_ = 0;
};

class LockManager {
public:
    LockManager(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
                LockOptions options, LockHooks& hooks);
    LockManager(const LockManager&) = delete;
    LockManager& operator=(const LockManager&) = delete;
    ~LockManager();

    /// Reports to every member of the view what is held, then requests again what is waited for. `claims`:
    /// units with stripes of orphan records that this AMF keeps; duplicates are fine, the most progress
    /// counts.
    void adopt(const AmfView& view, const std::vector<LockClaim>& claims);
    /// Takes lock_*. What makes no sense is counted and dropped.
    void deliver(AmfId from, const Message& message);

    /// Pins the unit without waiting: it is held in a mode that covers `mode`, and nobody asked for it. Does
    /// not allocate.
    bool try_acquire(UnitIndex unit, LockMode mode, LockPin& pin) {
        if (stopped_ || !client_.try_pin(unit, mode)) return false;
        ++counters_.held;
        pin = LockPin(*this, unit, mode, client_.life());
        return true;
    }
    /// try_acquire() would not wait now.
    bool holds(UnitIndex unit, LockMode mode) const { return !stopped_ && client_.holds(unit, mode); }
    /// Waits as long as it takes. `background`: no host waits for it. `range`: what a reader is about to
    /// read; a peer may have it at hand (LockHooks::received). `more`: so many units right behind this one
    /// will be acquired next. cancelled: stop() was called.
    Task<Result<LockPin>> acquire(UnitIndex unit, LockMode mode, bool background = false,
                                  LockRange range = {}, std::uint32_t more = 0);

    /// The end of what hooks.recover() began.
    void recovered(UnitIndex unit);

    /// The order of the queue, the minimum hold and the prefetch are these from now on; the rest of the
    /// options is what it was.
    void obey(const SharingOptions& sharing);
    const SharingOptions& sharing() const { return sharing_; }

    /// Acquires fail from now on, and those that wait do. Arbitration and giving back go on until the manager
    /// is gone.
    void stop();
    bool stopped() const { return stopped_; }

    /// Units held; call(UnitIndex, LockMode) for each, in a fixed order. No two AMFs alive ever hold what
    /// does not go together.
    std::size_t held() const { return client_.held(); }
    /// Units that somebody here uses or waits for.
    std::size_t in_use() const { return client_.units() - client_.idle(); }
    template <class Call>
    void for_each_held(Call&& call) const {
        client_.for_each_held(std::forward<Call>(call));
    }
    /// All members of the present view have reported here.
    bool thawed() const { return arbitration_->thawed(); }
    LockCounters counters() const {
        LockCounters out = counters_;
        out.prefetched = client_.prefetched();
        return out;
    }
    /// Who may have the data of a unit that is held here; 0: nobody. What it answers to be wrong is
    /// forgotten.
    AmfId copy_at(UnitIndex unit) const { return client_.copy_at(unit); }
    void forget_copy(UnitIndex unit) { client_.forget_copy(unit); }
    /// At most `limit` of the units that change hands most.
    std::vector<HotUnit> hottest(std::size_t limit) const { return hot_.hottest(limit, clock_.now()); }
    /// Who holds and who waits: all of it if the unit is decided here, else what this AMF has to do with it.
    LockStanding standing(UnitIndex unit) const;

private:
    friend class LockPin;
    class Wait;

    void unpin(UnitIndex unit, std::uint32_t life);
    void count_wait(UnitIndex unit, Nanos begun);
    void call_when_due();
    /// False: the message made no sense.
    bool take(AmfId from, const Message& message);
    bool take_frame(AmfId from, const LockFrame& frame);
    Task<void> pump_when_due();
    Task<void> end_holds();
    Task<void> prepare_release(LockClient::Prepare prepare);
    /// Carries out what the machines put out. Called within itself it leaves the work to the outer call. A
    /// release and the request that follows it leave in one call: with two AMFs nothing may come between.
    void pump();
    bool something_to_do();
    void carry_out(LockClient::Outbox& work);
    void send(AmfId to, LockFrame frame);
    void send_report(AmfId to, const LockReport& report);

    Executor& executor_;
    Clock& clock_;
    Transport& transport_;
    Uuid group_;
    LockHooks& hooks_;
    SharingOptions sharing_;
    std::unique_ptr<Arbitration> arbitration_;
    LockClient client_;
    Streams streams_;
    LockCounters counters_;
    HotUnits hot_;
    LockClient::Outbox work_;        ///< being carried out
    std::vector<LockSend> sending_;  ///< of the arbiter, being sent
    bool stopped_ = false;
    bool pumping_ = false;
    std::optional<Nanos> hold_due_;
    Event holds_;  ///< the first unit that is held for a while yet may be another one
    Event due_;    ///< the machines put something out where nobody may be called
    Scope scope_;  ///< last: its tasks use all of the above
};

inline bool LockPin::live() const { return locks_ != nullptr && locks_->client_.life() == life_; }

inline void LockPin::release() {
    LockManager* const locks = std::exchange(locks_, nullptr);
    for (std::uint32_t i = 0; locks != nullptr && i < count_; ++i)
        locks->unpin(UnitIndex(unit_.v + i), life_);
}

inline void LockPin::join(LockPin next) {
    if (!*this) {
        *this = std::move(next);
        return;
    }
    ASSERT(next && next.unit_.v == unit_.v + count_ && next.mode_ == mode_ && next.life_ == life_);
    next.locks_ = nullptr;
    ++count_;
}

}  // namespace braid
