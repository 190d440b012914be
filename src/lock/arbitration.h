// Who decides, for one AMF, who may have which unit: the seam between the kinds of arbitration and the lock
// client, which is the same for all. A pure machine: it is told, and puts what is to be sent into an outbox;
// what goes to the view's `self` is for this AMF's own client or arbitration.
#pragma once

#include <vector>

#include "lock/lock_queue.h"
#include "lock/lock_types.h"

namespace braid {

class Arbitration {
public:
    virtual ~Arbitration() = default;

    /// Everything is forgotten; what is held is reported again. Before the client adopts the same view.
    virtual void adopt(const AmfView& view) = 0;
    /// Where this AMF's client sends requests and releases of the unit, in the present view.
    virtual AmfId arbiter(UnitIndex unit) const = 0;
    /// Who waits at a new view for the report of this AMF's client, if only to hear that there is nothing.
    virtual std::vector<AmfId> audience() const = 0;
    /// Each of them is told all that the client holds and claims; else a unit's arbiter alone is told of it.
    virtual bool all_hear_all() const = 0;
    /// In which order they are served that wait for one unit, from now on: where there is a queue.
    virtual void queue_by(const LockQueuePolicy&) {}
    /// Lines of `from`'s report of the present view; false, and nothing changes, if they make no sense.
    virtual bool report(AmfId from, const LockReport& report) = 0;
    /// A request, a release, or what the kind has of its own; false, and nothing changes, if it makes no
    /// sense.
    virtual bool take(AmfId from, const LockFrame& frame) = 0;
    /// Whether `who` may grant the unit to this AMF's client or ask for it.
    virtual bool decides(AmfId who, UnitIndex unit) const = 0;
    /// arbiter() can be answered: until then the client's requests and releases wait.
    virtual bool routed() const = 0;
    /// What somebody else has granted to this AMF's client, before the client is told.
    virtual void granted(const LockFrame& frame) = 0;
    /// All that has to be known of this view is known here.
    virtual bool thawed() const = 0;
    /// Units that this AMF decides about and that somebody holds, claims or waits for.
    virtual std::size_t units() const = 0;
    /// Who holds and who waits, as far as it is decided here.
    virtual LockStanding standing(UnitIndex) const { return {}; }
    /// Requests that wait here.
    virtual std::size_t waiting(UnitIndex unit) const = 0;

    /// What is to be sent, in order; the driver takes it away.
    std::vector<LockSend>& outbox() { return outbox_; }

protected:
    std::vector<LockSend> outbox_;
};

}  // namespace braid
