// What one AMF holds. A pure machine: it is told, and puts what is to be done into an outbox (rows L1 L2 L9).
//
//   none --wait()--> requested --grant--> held --asked, no pins--> releasing --release_prepared()--> none
//                                          ^ |                     (read: at once)
//                                    pins  +-+  kept until asked, or until too many are held idle
//
// Guarantees: a lock leaves only when no local operation has it pinned, and a write lock only after
// release_prepared(); operations that waited at the grant are served before it leaves; those that come after
// somebody asked wait for the next grant. What is held survives a view change (it is reported), what is
// requested is requested again. A lock granted with `recover` serves nobody: it is held from the recover
// output until recovered(). Needs: waiters are cancelled before they are destroyed. Out of the view
// everything is lost and the pins count no more.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lock/arbitration.h"

namespace braid {

/// One operation that waits for a unit; lives in its coroutine's frame.
struct LockWaiter {
    UnitIndex unit;
    LockMode mode = LockMode::read;
    bool background = false;  ///< no host waits for it
    std::uint8_t ahead = 0;   ///< units behind it that will be wanted too
    LockRange range;          ///< what a reader wants to see
    bool queued = false;
    bool granted = false;    ///< it has a pin
    std::uint32_t life = 0;  ///< the client's at the grant
    LockWaiter* prev = nullptr;
    LockWaiter* next = nullptr;
};

class LockClient {
public:
    static constexpr std::size_t kHeldIdle = 65536;

    struct Options {
        std::size_t held_idle = kHeldIdle;  ///< units kept though no operation uses them
        Nanos min_hold{};                   ///< a unit is not given back earlier than this after its grant
    };
    struct Prepare {
        UnitIndex unit;
        std::uint64_t ticket;
        AmfId next;  ///< gets it next, to write; 0: not known
    };
    /// Done by the driver in this order: wake, gone, reports, messages, prepare, recover.
    struct Outbox {
        std::vector<LockWaiter*> granted;
        std::vector<UnitIndex> gone;  ///< not held any more
        std::vector<std::pair<AmfId, LockReport>> reports;
        std::vector<LockFrame> messages;  ///< to the unit's arbiter, when that is known
        std::vector<Prepare> prepare;     ///< answer each with release_prepared()
        std::vector<UnitIndex> recover;   ///< answer each with recovered()
        bool empty() const {
            return granted.empty() && gone.empty() && reports.empty() && messages.empty() &&
                   prepare.empty() && recover.empty();
        }
    };

    /// Of the units that no operation uses, those that were prefetched in vain go first, then the least
    /// recently used. `arbitration` outlives the client and has adopted a view before it.
    explicit LockClient(const Arbitration& arbitration) : LockClient(arbitration, Options{}) {}
    LockClient(const Arbitration& arbitration, Options options)
        : arbitration_(arbitration), options_(options) {}
    LockClient(const LockClient&) = delete;
    LockClient& operator=(const LockClient&) = delete;

    void adopt(const AmfView& view, std::span<const LockClaim> claims);

    /// The unit is held in a mode that covers `mode`, and nobody asked for it.
    bool holds(UnitIndex unit, LockMode mode) const;
    /// Pins the unit if it is so.
    bool try_pin(UnitIndex unit, LockMode mode);
    /// After try_pin() said no: queues `waiter`; it comes out as granted, with its pin, or stays.
    void wait(LockWaiter& waiter);
    /// A queued waiter gives up.
    void cancel(LockWaiter& waiter);
    /// `life` is what life() was at the pin.
    void unpin(UnitIndex unit, std::uint32_t life);
    /// Counts how often everything was lost.
    std::uint32_t life() const { return life_; }
    /// All queued waiters, oldest unit first, taken out of their queues.
    std::vector<LockWaiter*> cancel_all();

    /// It answers what we have requested or claimed, and have not got yet.
    bool awaits(const LockFrame& grant) const;
    /// False: the grant makes no sense. A grant of a request that is not ours (any more) is given back.
    bool granted(const LockFrame& frame, Nanos now);
    void revoked(const LockFrame& frame, Nanos now);
    /// When the next unit has been held for long enough that somebody wants, if there is one.
    std::optional<Nanos> next_due() const;
    /// From now on, for what is held already, too.
    void hold_at_least(Nanos time);
    /// Gives back what is due.
    void tick(Nanos now);
    /// `next`: gets it before anybody else; 0: whoever is next.
    void release_prepared(UnitIndex unit, std::uint64_t ticket, AmfId next = {});
    void recovered(UnitIndex unit);

    /// Who may have the data of a held unit too; nobody: 0.
    AmfId copy_at(UnitIndex unit) const;
    /// It has not.
    void forget_copy(UnitIndex unit);
    /// Prefetched units that were used.
    std::uint64_t prefetched() const { return prefetched_; }

    bool in_view() const { return in_view_; }
    const AmfView& view() const { return view_; }
    /// Units held, those in recovery and those being released included.
    std::size_t held() const { return held_; }
    std::size_t idle() const { return idle_; }
    /// What is held of the unit here and what operations here wait for, in the strongest modes.
    LockStanding standing(UnitIndex unit) const;
    /// Units that anything is known of: nothing is kept of others.
    std::size_t units() const { return entries_.size(); }

    /// call(unit, mode) for all held units, oldest entry first.
    template <class Call>
    void for_each_held(Call&& call) const {
        for (const Entry* e = all_.first; e != nullptr; e = e->all.next) {
            if (e->held) call(e->unit, e->mode);
        }
    }

    Outbox& outbox() { return outbox_; }

private:
    struct Entry;
    struct Links {
        Entry* prev = nullptr;
        Entry* next = nullptr;
    };
    /// Intrusive FIFO through one of an entry's links.
    struct List {
        Entry* first = nullptr;
        Entry* last = nullptr;
        void push(Entry& e, Links Entry::* links);
        void push_front(Entry& e, Links Entry::* links);
        void remove(Entry& e, Links Entry::* links);
    };
    struct Entry {
        UnitIndex unit;
        std::uint64_t hold_ticket = 0;
        std::uint64_t request_ticket = 0;  ///< 0: nothing requested
        std::uint64_t claim_ticket = 0;    ///< 0: no claim waits at the arbiter
        LockMode requested = LockMode::none;
        std::uint8_t ahead = 0;  ///< of the request
        std::uint32_t pins = 0;
        LockMode mode = LockMode::read;      ///< if held
        LockMode asked = LockMode::none;     ///< wanted by others: given back when the pins are gone
        LockMode deferred = LockMode::none;  ///< the same, when the unit has been held for long enough
        AmfId next;                          ///< of those who ask, gets it next, to write
        AmfId copy;                          ///< may have the data too
        Nanos granted_at{};
        bool held = false;
        bool prefetched = false;  ///< and not used yet
        bool preparing = false;
        bool recovering = false;
        bool in_idle = false;
        LockWaiter* first = nullptr;
        LockWaiter* last = nullptr;
        Links all;
        Links idle;
    };

    Entry& entry(UnitIndex unit);
    Entry* find(UnitIndex unit);
    const Entry* find(UnitIndex unit) const { return const_cast<LockClient*>(this)->find(unit); }
    static bool serves(const Entry& e, LockMode mode);
    void hold(Entry& e, const LockFrame& frame, Nanos now);
    bool hold_ahead(const LockFrame& frame, Nanos now);
    void want(Entry& e, const LockFrame& frame, Nanos now);
    /// The strongest of the waiters'.
    static LockMode wanted_mode(const Entry& e);
    static void enqueue(Entry& e, LockWaiter& waiter);
    static void unlink(Entry& e, LockWaiter& waiter);
    void pin(Entry& e);
    void serve(Entry& e);
    /// Brings an entry to what its state calls for: release, request, idle list, or forgetting it.
    void settle(Entry& e);
    void release(Entry& e);
    void finish_release(Entry& e, AmfId next = {});
    void request(Entry& e);
    void set_idle(Entry& e, bool idle);
    void trim();
    void lose_all();
    void make_reports(std::span<const LockClaim> claims);
    void send(UnitIndex unit, MessageType type, std::uint64_t ticket, LockMode mode, AmfId next = {});
    void forget(Entry& e);

    const Arbitration& arbitration_;
    Options options_;
    AmfView view_;
    bool in_view_ = false;
    Incarnation incarnation_;
    std::uint32_t life_ = 0;
    std::uint64_t next_ticket_ = 1;
    std::size_t held_ = 0;
    std::size_t idle_ = 0;
    std::unordered_map<UnitIndex, Entry> entries_;
    List all_;
    List idle_units_;                                 ///< least recently used first
    std::set<std::pair<Nanos, UnitIndex>> deferred_;  ///< when they are due; may have gone meanwhile
    std::uint64_t prefetched_ = 0;
    Outbox outbox_;
};

}  // namespace braid
