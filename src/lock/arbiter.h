// The arbiter of one AMF: decides about the units that the view maps to it. A pure machine: it is told, and
// puts what is to be sent into an outbox (rows L1 L3 L6 L8 L9).
//
//   adopt(view) -> empty, frozen --all members reported--> thawed: grants
//
//   of a unit, when thawed                        does
//   a recovery runs                               waits for its end
//   claims, and somebody holds                    asks the holders back
//   claims, nobody holds                          grants writing to the furthest claim, with `recover`
//   next request fits the holders                 grants; the grant says if somebody else waits already
//   next request does not fit                     asks each holder in its way, once
//
// Guarantees: many holders for reading or one for writing; a reader that asks to write is granted when nobody
// else holds; claims before requests; messages per lock do not depend on the number of AMFs. Needs: reports
// are true: two AMFs that report holdings that do not go together have broken the protocol before (ASSERT).
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "lock/arbitration.h"

namespace braid {

struct WaitingRequest {
    AmfId who;
    LockMode mode = LockMode::read;
    std::uint64_t ticket = 0;
};

/// Which of the waiting requests of a unit is next. They stand in the order of their arrival.
class LockQueuePolicy {
public:
    virtual ~LockQueuePolicy() = default;
    /// An index below waiting.size(), which is not 0.
    virtual std::size_t next(UnitIndex unit, std::span<const WaitingRequest> waiting) const = 0;
};

/// First come, first served.
class FifoLockQueue final : public LockQueuePolicy {
public:
    std::size_t next(UnitIndex, std::span<const WaitingRequest>) const override { return 0; }
};
const LockQueuePolicy& fifo_lock_queue();

class Arbiter final : public Arbitration {
public:
    /// `policy` outlives the arbiter.
    explicit Arbiter(const LockQueuePolicy& policy = fifo_lock_queue()) : policy_(&policy) {}

    void adopt(const AmfView& view) override;
    AmfId arbiter(UnitIndex unit) const override { return arbiter_of(unit, view_); }
    std::vector<AmfId> audience() const override;
    std::vector<AmfId> audience(UnitIndex unit) const override { return {arbiter(unit)}; }
    /// False if the report was already complete, or is about units that are not ours.
    bool report(AmfId from, const LockReport& report) override;
    bool take(AmfId from, const LockFrame& frame) override;
    void request(AmfId from, const LockFrame& frame);
    /// A ticket that is not held (any more) is ignored.
    void released(AmfId from, const LockFrame& frame);

    bool thawed() const override { return in_view_ && missing_.empty(); }
    std::size_t units() const override { return units_.size(); }
    std::size_t waiting(UnitIndex unit) const override;

private:
    struct Holder {
        AmfId who;
        LockMode mode;
        std::uint64_t ticket;
        bool recovering;
        bool asked;  ///< it knows that it shall release
    };
    struct Claim {
        AmfId who;
        std::uint8_t progress;
        std::uint64_t ticket;
    };
    struct Unit {
        std::vector<Holder> holders;
        std::vector<WaitingRequest> queue;
        std::vector<Claim> claims;  ///< the next one last
    };

    void add_holder(Unit& unit, const Holder& holder);
    void add_claim(Unit& unit, const Claim& claim);
    void decide(UnitIndex index);
    void decide_claims(UnitIndex index, Unit& unit);
    void decide_requests(UnitIndex index, Unit& unit);
    void ask(UnitIndex index, Holder& holder);
    void grant(UnitIndex index, const Holder& holder);
    static bool fits(const Unit& unit, const WaitingRequest& request);

    const LockQueuePolicy* policy_;
    AmfView view_;
    bool in_view_ = false;
    std::vector<AmfId> missing_;  ///< members whose report is not complete
    std::unordered_map<UnitIndex, Unit> units_;
    std::vector<UnitIndex>
        undecided_;  ///< touched while frozen, in the order of what came; repeats do no harm
};

}  // namespace braid
