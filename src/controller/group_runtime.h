// One redundancy group on one controller: its AMFs, and the ports that the tables give this controller. All
// AMFs of a controller join and leave the group together. The first one speaks for them where one alone
// should: it opens the ports, keeps the group, is asked by operators. A port has a side on each of them, and
// hosts are spread over the sides by connection: the data of one connection stays on one AMF, from its socket
// to its disks.
//
//   attaching -> loading -> serving (degraded is a state of the group, not of the runtime)
//                  |          |  controller stops, or too few members are reachable from here
//                  |          v
//                  |       stopping -> refused
//                  +-> refused: not served here; a new runtime may try again
//
// Needs: adopt() of every view that has this controller attached, before start(). Never decides membership.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "controller/amf_seat.h"
#include "controller/environment.h"
#include "controller/jobs.h"
#include "controller/outside_ports.h"
#include "controller/side_host.h"
#include "jobs/resync.h"
#include "tables/assembly.h"
#include "tables/tables.h"
#include "volume/port_registry.h"

namespace braid {

class GroupRuntime {
public:
    enum class State : std::uint8_t { attaching, loading, serving, refused, stopping };

    /// `found` becomes this object's own. `config` names this controller among those that share the group.
    GroupRuntime(const Environment& env, const ControllerConfig& controller, Icl& links,
                 PortRegistry& registry, SideHosts& sides, Jobs& jobs, FoundGroup found,
                 const GroupConfig& config);
    ~GroupRuntime();

    const Uuid& uuid() const { return uuid_; }
    const std::string& name() const { return name_; }
    State state() const { return state_; }
    ControllerSlot slot() const { return slot_; }
    Tables& tables() { return amf().tables(); }
    const Tables& tables() const { return amf().tables(); }
    /// The first AMF: it runs on the controller's thread.
    Amf& amf() { return seats_.front()->runtime().amf(); }
    const Amf& amf() const { return seats_.front()->runtime().amf(); }
    unsigned amfs() const { return static_cast<unsigned>(seats_.size()); }
    AmfSeat& seat(unsigned index) const { return *seats_[index]; }
    /// Of its members; not of those that have left.
    std::vector<std::string> disk_names() const;
    std::size_t member_count() const { return seats_.front()->runtime().member_count(); }
    Disk* disk(MemberIndex member) const { return seats_.front()->runtime().disk(member); }

    /// Of all its AMFs together: conditions, disks and their latencies by member, dirty regions, operations
    /// inside ports. The rest of the report is empty.
    AmfReport together() const;

    /// A view with this controller in it, which serves the group.
    void adopt(const View& view, ControllerId self);

    /// Loads the tables, repairs what this controller's earlier life left open, opens the ports. On an error
    /// the state is `refused`.
    Task<Status> start();
    /// Goes on when the group cannot be served here any more: too many members are out of reach, or somebody
    /// called stop(). Then stop() and leave the view, so that others can finish what was begun here.
    Task<void> served();
    /// Closes the ports, waits for their operations, clears the intents. The state is `refused` when it
    /// returns, and no disk command of this runtime is in flight. May be called more than once.
    Task<void> stop();
    /// What absent controllers may have left half-written has not been looked at yet, and it is this one's to
    /// do.
    bool resync_pending() const { return resync_runs_ || (resync_due_ && amf().keeper()); }
    /// Something in the tables or of the state changed: for those who wait for an outcome.
    Event& changed() { return changed_; }
    OutsidePorts& outside() { return *outside_; }
    /// Nothing is at work here that came through a port of a controller outside of the group.
    Task<void> forwarded_drained(std::string controller, VolumeId volume);

private:
    struct OpenPort {
        std::string name;
        bool closing = false;
    };

    void on_tables_changed();
    void open_ports();
    void open_port(const VolumeRecord& record);
    Task<void> drain_port(VolumeId id);
    Task<void> resync_own(unsigned index);
    void resync_if_due();
    Task<void> resync_of_the_dead();
    Task<bool> resync_absent_slots();
    void leave_with_the_others();
    Task<void> stop_amfs(std::size_t count);
    void resync_ended(std::uint64_t number, const ResyncProgress& progress, const Status& status);
    bool slot_is_live(AmfSlot slot) const;

    Environment env_;
    PortRegistry& registry_;
    Jobs& jobs_;
    Uuid uuid_;
    std::string name_;
    ControllerSlot slot_;
    std::vector<std::unique_ptr<AmfSeat>> seats_;  ///< by index
    State state_ = State::attaching;
    std::map<std::uint32_t, OpenPort> ports_;  ///< by VolumeId
    std::set<std::string> live_;               ///< names of the controllers in the view that serve the group
    bool resync_due_ = true;  ///< since the last look at the intents of absent controllers an AMF has gone;
                              ///< in a new life nobody knows
    bool resync_runs_ = false;
    bool left_ = false;               ///< an AMF is offline, and the others have been told
    std::shared_ptr<Resync> resync_;  ///< of the dead, while it runs
    Event changed_;
    std::optional<OutsidePorts> outside_;
    Scope scope_;
};

}  // namespace braid
