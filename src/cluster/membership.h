// Who is alive: the interface to the engines that decide it. `local` (controllers of one machine) is
// local_membership.h; engines for several machines stand behind the same calls.
//
// Guarantees: every live controller is told the same sequence of views, in order of epochs (it may skip
// some). When a view lacks a controller that an earlier one held, that one can no longer change a disk: it
// left in order, or it was cut off and what it had begun has drained. A controller that is not in the view
// any more learns it by on_fenced(), perhaps late (when it wakes): then it must touch nothing.
#pragma once

#include <string>

#include "async/task.h"
#include "base/result.h"
#include "base/types.h"
#include "icl/suspicion.h"
#include "icl/view.h"

namespace braid {

struct JoinRequest {
    std::string name;     ///< 1 .. 31 bytes, unique among the living
    std::string address;  ///< where the peers dial us
    ServedGroups groups;  ///< attached from the start
    Location location{};
};

/// Who we are in the cluster since the join.
struct Joined {
    Uuid cluster;
    ControllerId self;
    Incarnation incarnation;
};

/// Called on the executor from tasks of the membership, never from inside one of its calls; must not block.
class MembershipEvents {
public:
    virtual ~MembershipEvents() = default;
    /// Once, right before the first on_view().
    virtual void on_joined(const Joined& joined) = 0;
    virtual void on_view(const View& view) = 0;
    /// The cluster has gone on without us. The last event.
    virtual void on_fenced() = 0;
};

class Membership {
public:
    virtual ~Membership() = default;

    /// exists: a live controller has this name; corrupt: the member record cannot be read; no_space, invalid.
    /// The first view has been handed to the sink when it returns.
    virtual Task<Result<Joined>> join(JoinRequest request) = 0;
    /// Orderly end: returns when the others' next view lacks us. No events after it.
    virtual Task<Status> leave() = 0;

    /// The last view handed to the sink; epoch 0 before the join.
    virtual const View& view() const = 0;
    virtual ControllerId self() const = 0;

    /// From now on every view shows us with this group and so many AMFs / without it. Returns when that view
    /// has been handed to the sink; `fenced` if we are out.
    virtual Task<Status> attach(Uuid group, std::uint8_t amfs) = 0;
    virtual Task<Status> detach(Uuid group) = 0;

    /// From the links (IclEvents) and from operators.
    virtual void suspect(ControllerId peer, SuspectReason reason) = 0;
    virtual void restored(ControllerId peer) = 0;
    /// Heard again: who was suspected of nothing but silence is not fenced, if that has not begun.
    virtual void heard(ControllerId peer) = 0;
    /// It is to be fenced, or is being fenced.
    virtual bool condemned(ControllerId peer) const = 0;
    /// A newer view is said to exist.
    virtual void refresh() = 0;
};

}  // namespace braid
