// The `local` membership: all controllers on one machine. The view stands in the MemberStore's record and
// changes only under its lock; to fence is to kill the process and wait until it is gone, so cut and drained
// are one.
//
//   a process dies          the kernel tells every other one: the first under the lock removes it, the others
//   find it done a peer is silent        it is killed under the lock, then removed a link breaks, returns the
//   epoch goes on with the same members, so that both ends say again what they had said
//
// The lock's holder may itself have been stopped: whoever waits longer than the ping timeout for the lock
// kills the peers that it knows to be silent first, which frees the lock.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "async/scope.h"
#include "cluster/membership.h"
#include "cluster/record.h"
#include "icl/message.h"
#include "io/clock.h"
#include "io/member_store.h"
#include "io/random.h"

namespace braid {

struct LocalMembershipOptions {
    Nanos poll = 200ms;          ///< between looks at the record when nobody says that it changed
    Nanos lock_patience = 1s;    ///< the ping timeout: see above
    Nanos bump_patience = 50ms;  ///< how long the end with the larger id lets the other one renew the epoch
};

class LocalMembership final : public Membership {
public:
    /// `transport` carries view_changed to the peers.
    LocalMembership(Executor& executor, Clock& clock, MemberStore& store, Random& random,
                    Transport& transport, MembershipEvents& events, LocalMembershipOptions options = {});
    ~LocalMembership() override;

    Task<Result<Joined>> join(JoinRequest request) override;
    Task<Status> leave() override;
    const View& view() const override { return view_; }
    ControllerId self() const override { return joined_.self; }
    Task<Status> attach(Uuid group) override;
    Task<Status> detach(Uuid group) override;
    void suspect(ControllerId peer, SuspectReason reason) override;
    void restored(ControllerId peer) override;
    void refresh() override;

private:
    struct Watch;
    enum class State : std::uint8_t { outside, joining, inside, leaving, fenced };

    Task<Result<ClusterRecord>> read();
    Task<Status> acquire();
    Task<void> take_lock();
    Task<void> kill_silent();
    Task<Status> join_locked(const JoinRequest& request);
    Task<Status> remove_dead(ClusterRecord& record, const JoinRequest& request);

    void want_change();
    Task<void> change_loop();
    Task<Status> change();
    Task<bool> apply_fences(ClusterRecord& record);
    bool apply_groups(ClusterRecord& record);
    Task<Status> wait_groups(Uuid group, bool attached);

    Task<void> read_loop();
    Task<void> watch_process(std::shared_ptr<Watch> watch);
    Task<void> bump_later(Epoch epoch, Nanos patience);
    bool adopt(const ClusterRecord& record);
    void adopt_watches();
    void drop_watches();
    void be_fenced();
    void broadcast(Epoch epoch);

    Executor& executor_;
    Clock& clock_;
    MemberStore& store_;
    Random& random_;
    Transport& transport_;
    MembershipEvents& events_;
    const LocalMembershipOptions options_;

    State state_ = State::outside;
    Joined joined_;
    View view_;
    std::set<Uuid> groups_;                         ///< as wanted
    std::map<ControllerId, Incarnation> to_fence_;  ///< dead or not to be trusted
    std::map<ControllerId, Epoch> broken_;          ///< epoch in which the session broke
    Epoch bump_;                                    ///< this epoch, if it still stands, is to be renewed
    std::map<ControllerId, std::shared_ptr<Watch>> watches_;
    Semaphore turn_;  ///< one user of the store's lock in this process
    Event locked_;
    Status lock_status_;
    Event change_wanted_;
    Event read_wanted_;
    Event view_changed_;
    Event loops_ended_;
    std::size_t loops_ = 0;
    Scope scope_;
};

}  // namespace braid
