// One redundancy group on one controller: its disks, tables and AMF, and the ports that the tables give this
// controller.
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
#include <set>
#include <string>
#include <vector>

#include "amf/amf.h"
#include "async/scope.h"
#include "controller/environment.h"
#include "controller/jobs.h"
#include "jobs/parity_job.h"
#include "tables/assembly.h"
#include "tables/tables.h"
#include "volume/port_registry.h"

namespace braid {

class GroupRuntime {
public:
    enum class State : std::uint8_t { attaching, loading, serving, refused, stopping };

    /// `found` becomes this object's own. `config` names this controller among those that share the group.
    /// `lease` is asked before a host is served from memory.
    GroupRuntime(const Environment& env, const ControllerConfig& controller, Transport& transport,
                 const Lease& lease, PortRegistry& registry, Jobs& jobs, FoundGroup found,
                 const GroupConfig& config);
    ~GroupRuntime();

    const Uuid& uuid() const { return uuid_; }
    const std::string& name() const { return name_; }
    State state() const { return state_; }
    ControllerSlot slot() const { return slot_; }
    Tables& tables() { return amf_.tables(); }
    const Tables& tables() const { return amf_.tables(); }
    Amf& amf() { return amf_; }
    const Amf& amf() const { return amf_; }
    std::vector<std::string> disk_names() const;
    std::size_t member_count() const { return disks_.size(); }
    Disk* disk(MemberIndex member) const { return disks_[member.v].get(); }

    /// `live`: names of the controllers in it.
    void adopt(const AmfView& view, std::set<std::string> live);

    /// Loads the tables, repairs what this controller's earlier life left open, opens the ports. On an error
    /// the state is `refused`.
    Task<Status> start();
    /// Goes on when the group cannot be served here any more: too many members are out of reach, or somebody
    /// called stop(). Then stop() and leave the view, so that others can finish what was begun here.
    Task<void> served();
    /// Closes the ports, waits for their operations, clears the intents. The state is `refused` when it
    /// returns, and no disk command of this runtime is in flight. May be called more than once.
    Task<void> stop();
    /// Begins to compare all parity with the data; the job's number.
    std::uint64_t begin_verify();
    /// What absent controllers may have left half-written has not been looked at yet, and it is this one's to
    /// do.
    bool resync_pending() const { return resync_runs_ || (resync_due_ && amf_.keeper()); }
    /// Something in the tables or of the state changed: for those who wait for an outcome.
    Event& changed() { return changed_; }
    /// The slot of a controller in the group's list, or not_found.
    Result<ControllerSlot> slot_of(std::string_view controller_name) const;

private:
    struct OpenPort {
        std::shared_ptr<Port> port;
        bool closing = false;
    };

    void on_tables_changed();
    void open_ports();
    Task<void> drain_port(VolumeId id);
    Task<void> verify(std::uint64_t number, std::shared_ptr<ParityJob> job);
    Task<void> resync_own();
    void resync_if_due();
    Task<void> resync_of_the_dead();
    Task<bool> resync_absent_slots();
    std::uint64_t list_job(std::string kind, std::shared_ptr<ParityJob> job);
    void job_ended(std::uint64_t number, const ParityJob& job, const Status& status);
    bool slot_is_live(ControllerSlot slot) const;

    Environment env_;
    PortRegistry& registry_;
    Jobs& jobs_;
    Uuid uuid_;
    std::string name_;
    ControllerSlot slot_;
    std::vector<std::unique_ptr<Disk>> disks_;  ///< by member, null where absent
    Amf amf_;
    State state_ = State::attaching;
    std::map<std::uint32_t, OpenPort> ports_;  ///< by VolumeId
    std::set<std::string> live_;               ///< names of the controllers in the view that serve the group
    bool resync_due_ = true;  ///< since the last look at the intents of absent controllers an AMF has gone;
                              ///< in a new life nobody knows
    bool resync_runs_ = false;
    std::vector<std::shared_ptr<ParityJob>> running_;
    Event changed_;
    Scope scope_;
};

}  // namespace braid
