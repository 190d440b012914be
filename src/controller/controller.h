// One controller: links, membership, a runtime for each group it shares, ports, and the answers to operators.
// It is the only place where a view is taken apart: on_view() is synchronous, links first, then every group,
// so all of a controller stands in one epoch.
//
//   start: listen -> join the view -> scan the disks -> for each group that names this controller: attach (a
//   new view) -> load -> ports stop:  ports closed and drained -> groups left in order -> leave the view ->
//   links closed
//
// A controller that is not in the view any more touches nothing: fenced() is set and everything it runs is
// dropped.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cluster/membership.h"
#include "controller/admin_target.h"
#include "controller/environment.h"
#include "controller/forwarder.h"
#include "controller/group_runtime.h"
#include "controller/jobs.h"
#include "host/nbd/server.h"
#include "icl/icl.h"

namespace braid {

class Controller final : public AdminTarget,
                         private MembershipEvents,
                         private IclEvents,
                         private MessageSink {
public:
    Controller(const Environment& env, ControllerConfig config);
    ~Controller() override;
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;

    /// Joins, attaches what it finds and begins to serve. Groups that cannot be served yet are tried again
    /// for ever; only a cluster that cannot be joined or an address that cannot be listened on is an error.
    Task<Status> start();
    /// Orderly end: hosts see their ports close, peers see this controller leave.
    Task<void> stop();

    const std::string& name() const { return config_.name; }
    const View& view() const { return view_; }
    /// Set when the view has gone on without us: stop at once.
    Event& fenced() { return fenced_; }
    PortRegistry& registry() { return registry_; }
    Icl& icl() { return icl_; }
    const std::map<Uuid, std::shared_ptr<GroupRuntime>>& groups() const { return groups_; }
    const Forwarder& forwarder() const { return forwarder_; }
    std::shared_ptr<GroupRuntime> find_group(std::string_view name) const;
    struct MemberPlace {
        std::shared_ptr<GroupRuntime> group;
        MemberIndex member;
        std::string text;
    };
    std::optional<MemberPlace> member_named(const std::string& name) const;

    // AdminTarget
    StatusReport status() override;
    std::vector<VolumeInfo> volumes() override;
    std::vector<PortInfo> ports() override;
    std::vector<DiskInfo> disks() override;
    std::vector<Metric> metrics() override;
    LoadReport load(std::size_t hot) override;
    std::optional<GroupMap> group_map(const std::string& group, std::size_t bands) override;
    /// Those of status(), alone.
    std::vector<JobInfo> jobs() const;
    Task<AdminResult<Outcome>> create_group(CreateGroup request) override;
    Task<AdminResult<Outcome>> set_group(SetGroup request) override;
    Task<AdminResult<Outcome>> scrub_group(ScrubGroup request) override;
    Task<AdminResult<Outcome>> change_job(std::uint64_t id, JobChange change, bool dry_run) override;
    Task<AdminResult<Outcome>> set_job(SetJob request) override;
    Task<AdminResult<Outcome>> create_volume(CreateVolume request) override;
    Task<AdminResult<Outcome>> delete_volume(std::string volume, bool force, bool dry_run) override;
    Task<AdminResult<Outcome>> create_ports(CreatePorts request) override;
    Task<AdminResult<Outcome>> delete_port(std::string volume, std::string controller, bool dry_run) override;
    Task<AdminResult<Outcome>> fail_disk(std::string disk, bool dry_run) override;
    Task<AdminResult<Outcome>> add_disk(AddDisk request) override;
    Task<AdminResult<Outcome>> expand_group(ExpandGroup request) override;
    Task<AdminResult<Outcome>> remove_disk(std::string disk, bool dry_run) override;
    Task<AdminResult<Outcome>> fence_controller(std::string controller, bool dry_run) override;

private:
    std::uint32_t newest_job() const;
    /// A job of a group, which goes on.
    struct JobRef {
        std::shared_ptr<GroupRuntime> group;
        JobRecord job;
        std::string text;
    };
    AdminResult<JobRef> active_job(std::uint64_t id) const;
    Task<std::optional<std::uint64_t>> job_of_moves(Tables& tables, JobKind kind);
    Task<std::optional<std::uint64_t>> job_of_shapes(Tables& tables);
    /// Two or more AMFs that trade neighbouring units too often.
    struct PingPong {
        std::string group;
        std::string controllers;  ///< "ctl-a, ctl-b"
        std::string where;        ///< "v0 bytes 0 to 4194303"
        std::uint64_t transfers_per_s = 0;
        unsigned further_ranges = 0;  ///< of the same
    };
    struct VolumeRef {
        std::shared_ptr<GroupRuntime> group;
        VolumeRecord record;
    };

    // controller.cc: the view and the groups
    void on_joined(const Joined& joined) override;
    void on_view(const View& view) override;
    void on_fenced() override;
    void on_suspect(ControllerId peer, SuspectReason reason) override;
    void on_restored(ControllerId peer) override;
    void on_newer_epoch(Epoch epoch) override;
    void on_heard(ControllerId peer) override;
    bool condemned(ControllerId peer) const override;
    void deliver(AmfId from, Message message) override;
    Task<void> rescan_loop();
    Task<void> rescan();
    bool rescan_is_due(bool told);
    bool still_arriving(const FoundGroup& found, const GroupPages& pages);
    bool may_attach(const FoundGroup& found, const GroupPages& pages);
    Task<Status> attach_group(FoundGroup found, const GroupConfig& config);
    void drop_group(const Uuid& uuid);
    Task<void> serve_group(Uuid uuid);
    Task<void> end_if_stuck();
    Task<void> watch_sides();
    void take_list(AmfId from, const ForwardPorts& list);
    Task<void> tell_drained(AmfId to, Epoch epoch, ForwardDrained what, std::string controller);
    void tell_groups_changed();
    void want_rescan();

    // queries.cc
    GroupInfo describe(const GroupRuntime& group) const;
    using AddCondition = std::function<void(std::string code, Severity severity, std::string object,
                                            std::string text, std::string fix)>;
    // conditions.cc
    void add_conditions(StatusReport& report);
    Nanos since(const std::string& key);
    std::string what_may_be_lost(const std::string& controller) const;

    PortState port_state(const GroupRuntime& group, const VolumeRecord& record, ControllerSlot slot) const;
    std::string first_asked(const Uuid& group, ControllerId outside) const;
    std::string controller_name(ControllerId id) const;

    // load.cc
    std::string amf_name(AmfId id) const;
    HotUnitInfo describe(const GroupRuntime& group, const HotReport& report) const;
    std::vector<PingPong> ping_pongs() const;

    // job_changes.cc
    void add_job_conditions(const GroupRuntime& group, const AddCondition& add) const;

    // changes.cc, port_changes.cc
    AdminResult<VolumeRef> find_volume(std::string_view name) const;
    AdminResult<std::shared_ptr<GroupRuntime>> serving_group(std::string_view name) const;
    const ViewMember* live(std::string_view controller) const;
    Task<AdminResult<std::vector<std::unique_ptr<Disk>>>> open_new_disks(std::vector<std::string> names,
                                                                         bool force, std::string away = {});
    /// A disk of the shelf that is a failed member's, open.
    struct DiskBack {
        std::unique_ptr<Disk> disk;
        Superblock superblock;
        Result<Tables::Return> may;
    };
    Task<std::optional<DiskBack>> disk_back(Tables& tables, const std::string& name);
    Task<AdminResult<Outcome>> take_back(MemberPlace member, DiskBack& back, bool dry_run);
    struct NewDisks {
        std::vector<std::unique_ptr<Disk>> disks;
        Units units;
    };
    Task<AdminResult<NewDisks>> new_disks(GroupRuntime& group, std::vector<std::string> names, bool force,
                                          std::string away);
    Task<AdminResult<void>> admit(GroupRuntime& group, NewDisks& disks, std::optional<MemberIndex> instead);
    AdminError not_reached(Error error, const std::string& what) const;
    Task<bool> wait_attached(Uuid group, std::vector<std::string> controllers);
    Task<AdminResult<Outcome>> close_ports(VolumeRef volume, std::vector<ControllerSlot> slots);
    Task<AdminResult<Outcome>> wait_closed(VolumeRef volume, std::uint32_t slots);

    Environment env_;
    ControllerConfig config_;
    Icl icl_;
    std::unique_ptr<Membership> membership_;
    PortRegistry registry_;
    View view_;
    ControllerId self_;
    std::map<Uuid, std::shared_ptr<GroupRuntime>> groups_;  ///< an operator's change may outlast its entry
    // After the groups: the operations of connections go before the AMFs that they are inside of.
    Forwarder forwarder_;
    SideHosts sides_;
    nbd::Server nbd_;
    std::map<std::string, Nanos> condition_since_;
    Jobs jobs_;
    Event view_changed_;
    Event fenced_;
    Event rescan_wanted_;
    std::map<Uuid, Nanos> incomplete_since_;  ///< groups on the shelf that some member is missing of
    std::vector<std::string> last_scan_;
    Nanos retry_pause_{}, next_retry_{};
    bool stopping_ = false;
    Scope scope_;
    Scope scans_;  ///< the loop that looks for disks: it alone adds and removes groups
};

}  // namespace braid
