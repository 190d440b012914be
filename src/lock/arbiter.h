// The arbiter of one AMF: decides about the units whose arbiter it is (rows L1 L3 L6 to L10).
//
//   adopt(view) -> empty, frozen --all members reported--> thawed: grants
//
//   of a unit, when thawed                        does
//   a recovery runs                               waits for its end
//   claims, and somebody holds                    asks the holders back
//   claims, nobody holds                          grants writing to the furthest claim, with `recover`
//   next request fits the holders                 grants; the grant says what somebody else waits for already
//   next request does not fit                     asks each holder in its way, once, and says for what: who
//                                                 writes may go on reading if it is for a reader
//
// Which AMF is the arbiter of a unit: its home, by rendezvous hash over the view (L8). With two AMFs the last
// one that got the unit for writing (L7): the role goes with the grant. A writer in the home keeps it there;
// a writer elsewhere has it as long as it keeps the unit in any mode, and gives it back with lock_returned.
//
//   unit at its home    away from home
//   not away            unknown         home decides; what the other one wants comes here
//   away                known           the other one decides; what is wanted here goes there, and waits here
//                                       too: if the role comes back instead of a grant it is decided here
//
// That two AMFs agree on who has the role rests on the order of messages within an epoch: a grant that moves
// the role goes out before anything that relies on it, and what crosses with lock_returned is asked again by
// the home itself. At a new view of two both report everything to both, so both see the same: the role is
// with the one that holds for writing, else, and for units with claims, at home.
//
// Guarantees: many holders for reading or one for writing; a reader that asks to write is granted when nobody
// else holds; claims before requests; messages per lock do not depend on the number of AMFs. Needs: reports
// are true: two AMFs that report holdings that do not go together have broken the protocol before (ASSERT).
#pragma once

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "lock/arbitration.h"
#include "lock/lock_queue.h"

namespace braid {

class Arbiter final : public Arbitration {
public:
    /// `policy` outlives the arbiter.
    explicit Arbiter(const LockQueuePolicy& policy = fifo_lock_queue()) : policy_(&policy) {}

    void adopt(const AmfView& view) override;
    AmfId arbiter(UnitIndex unit) const override;
    std::vector<AmfId> audience() const override;
    bool all_hear_all() const override { return two(); }
    void queue_by(const LockQueuePolicy& policy) override { policy_ = &policy; }
    bool decides(AmfId who, UnitIndex unit) const override { return two() || who == home(unit); }
    /// With two AMFs nobody knows who the arbiter is before both have reported.
    bool routed() const override { return !two() || thawed(); }
    /// False if the report was already complete, or is about units that are not ours.
    bool report(AmfId from, const LockReport& report) override;
    bool take(AmfId from, const LockFrame& frame) override;
    void granted(const LockFrame& frame) override;
    bool thawed() const override { return in_view_ && missing_.empty(); }
    std::size_t units() const override {
        return static_cast<std::size_t>(
            std::ranges::count_if(units_, [](const auto& u) { return !u.second.away; }));
    }
    std::size_t waiting(UnitIndex unit) const override;
    LockStanding standing(UnitIndex unit) const override;

private:
    struct Holder {
        AmfId who;
        LockMode mode;
        std::uint64_t ticket;
        bool recovering;
        LockMode asked = LockMode::none;  ///< what it knows that others want
        AmfId next;                       ///< who of them gets it next, to write
    };
    struct Claim {
        AmfId who;
        std::uint8_t progress;
        std::uint64_t ticket;
    };
    struct Unit {
        bool away = false;  ///< the other of two AMFs is the arbiter: holders and queue are our own
        std::vector<Holder> holders;
        std::vector<WaitingRequest> queue;
        std::vector<Claim> claims;  ///< the next one last
        AmfId heir;                 ///< waits, and gets it before all others
    };

    bool two() const { return view_.members.size() == 2; }
    AmfId home(UnitIndex unit) const { return arbiter_of(unit, view_); }
    bool at_home(UnitIndex unit) const { return home(unit) == view_.self; }
    AmfId other() const;
    const Unit* find(UnitIndex unit) const;

    void request(AmfId from, const LockFrame& frame);
    void released(AmfId from, const LockFrame& frame);
    void returned(UnitIndex index);
    void add_holder(Unit& unit, const Holder& holder);
    void add_claim(Unit& unit, const Claim& claim);
    void settle_role(UnitIndex index);
    void decide(UnitIndex index);
    void decide_claims(UnitIndex index, Unit& unit);
    void decide_requests(UnitIndex index, Unit& unit);
    void tidy_up(UnitIndex index);
    std::size_t next_of(const Unit& unit) const;
    void ask(UnitIndex index, Holder& holder, LockMode wanted, AmfId next);
    void grant(UnitIndex index, const Unit& unit, const Holder& holder, std::uint8_t ahead);
    std::uint64_t grant_ahead(UnitIndex index, const Holder& holder, std::uint8_t ahead);
    void move_role(UnitIndex index);
    void send(AmfId to, const LockFrame& frame) { outbox_.push_back({to, frame}); }
    static LockMode wanted(const Unit& unit);
    static bool fits(const Unit& unit, const WaitingRequest& request);

    const LockQueuePolicy* policy_;
    AmfView view_;
    bool in_view_ = false;
    std::vector<AmfId> missing_;  ///< members whose report is not complete
    std::unordered_map<UnitIndex, Unit> units_;
    /// Touched while frozen, in the order of what came; repeats do no harm.
    std::vector<UnitIndex> undecided_;
};

}  // namespace braid
