// The `local` membership: all controllers on one machine. The view stands in the MemberStore's record and
// changes only under its lock; to fence is to kill the process and wait until it is gone, so cut and drained
// are one.
//
//   a process dies          the kernel tells every other one: the first under the lock removes it, the others
//   find it done a peer is silent        it is killed under the lock, then removed a link breaks, returns the
//   epoch goes on with the same members, so that both ends say again what they had said
//
// The lock's holder may itself have been stopped: whoever waits longer than the ping timeout for the lock
// kills the peers that it knows to be silent first, which frees the lock; a holder that keeps it for four
// times as long is killed whoever it is, one that had not even joined yet.
#pragma once

#include <map>
#include <memory>

#include "async/scope.h"
#include "cluster/membership.h"
#include "cluster/record.h"
#include "icl/message.h"
#include "io/clock.h"
#include "io/member_store.h"
#include "io/random.h"

namespace braid {

struct LocalMembershipOptions {
    Nanos poll = 200ms;           ///< between looks at the record when nobody says that it changed
    Nanos lock_patience = 1s;     ///< the ping timeout: see above
    Nanos holder_patience = 15s;  ///< longer than a few fences that wait for their drain, two seconds each
    Nanos renew_patience = 50ms;  ///< how long the end with the larger id lets the other one renew the epoch
    Nanos exit_patience = 100ms;  ///< how long a join waits for a process of its own name to be gone
    Nanos retry = 20ms;           ///< after a change that could not be made
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
    Task<Status> attach(Uuid group, std::uint8_t amfs) override;
    Task<Status> detach(Uuid group) override;
    void suspect(ControllerId peer, SuspectReason reason) override;
    void restored(ControllerId peer) override;
    void heard(ControllerId peer) override;
    bool condemned(ControllerId peer) const override;
    void refresh() override;

private:
    struct Watch;
    enum class State : std::uint8_t { outside, joining, inside, leaving, out };
    /// On a member that is to be fenced.
    struct Sentence {
        Incarnation incarnation;
        bool revocable;  ///< for silence alone, and the fence has not begun
    };

    // the record and its lock
    Task<Result<ClusterRecord>> read();
    Task<Status> acquire();
    Task<void> take_lock();
    Task<void> free_lock(ProcessRef holder);
    void release();

    // join and leave
    Task<Result<ClusterRecord>> enter(const JoinRequest& request);
    Task<Status> clear_dead(ClusterRecord& next, std::string name);
    Task<Status> remove_self();

    // changes of the view by us
    void want_change();
    bool change_due() const;
    Task<void> change_loop();
    Task<Status> change();
    struct Applied {
        bool changed = false;
        bool undrained = false;  ///< somebody could not be fenced yet: try again
    };
    Task<Result<Applied>> apply(ClusterRecord& next);
    std::vector<ControllerId> sentenced() const;
    const ViewMember* execute(const View& view, ControllerId id);
    Task<Status> wait_groups(Uuid group, bool attached);
    Task<void> renew_later(Epoch epoch);

    // what others did
    Task<void> read_loop();
    Task<void> watch_process(std::shared_ptr<Watch> watch);
    bool lacks_us(const ClusterRecord& record) const;
    void adopt(const ClusterRecord& record);
    void renew_watches();
    void end_watch(Watch& watch);
    void end_all(State state);
    void be_fenced();
    void tell_peers(Epoch epoch);

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
    ServedGroups groups_;                        ///< as wanted
    std::map<ControllerId, Sentence> to_fence_;  ///< dead, or not to be trusted
    Epoch renew_;                                ///< this epoch, if it still stands, is to be renewed
    std::map<ControllerId, std::shared_ptr<Watch>> watches_;
    Semaphore turn_;  ///< one user of the store's lock in this process
    Event locked_;
    Status lock_status_;
    Event change_wanted_;
    Event read_wanted_;
    Event view_changed_;
    Scope scope_;
};

}  // namespace braid
