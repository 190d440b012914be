// What a controller can tell and be told by an operator: the seam between the controller below and the
// control API above.
//
// Guarantees asked of an implementation: the reading calls answer from memory and never wait for a peer or a
// disk; a changing call returns when its effect is visible through every controller of the view; with
// `dry_run` it checks everything, changes nothing and returns the plan. Called on the data thread only;
// parameters are by value because a task outlives its caller's statement. A refusal names the thing, the
// reason and what to do (AdminError).
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "base/types.h"
#include "layout/geometry.h"
#include "layout/power_loss.h"
#include "layout/sharing.h"
#include "ondisk/job_record.h"

namespace braid {

/// `detail` names the object and the reason ("disk d3 carries an ext4 file system"), `hint` the next step
/// ("--force"). Meaning of the codes for operators: not_found no such object; would_lose_data refused; busy
/// conflict, retry; invalid a wrong argument; exists the name is taken; all others failed.
struct AdminError {
    Errc code = Errc::invalid;
    std::string detail;
    std::string hint;
};

template <class T>
using AdminResult = std::expected<T, AdminError>;

inline std::unexpected<AdminError> refuse(Errc code, std::string detail, std::string hint = {}) {
    return std::unexpected(AdminError{code, std::move(detail), std::move(hint)});
}

// ---- what is there

enum class Health : std::uint8_t {
    ok,
    degraded,
    critical,
    offline
};  ///< in order: the worst of all parts is shown
enum class Severity : std::uint8_t { info, warning, error };

/// Something an operator should know. It is there while it is true and names its fix.
struct Condition {
    std::string code;  ///< "CONTROLLER_DOWN", "DISK_FAILED", "GROUP_DEGRADED", "GROUP_OFFLINE",
                       ///< "DISK_MISSING", "LOCK_PING_PONG"
    Severity severity = Severity::warning;
    std::string object;  ///< name of the controller, disk or group
    std::string text;    ///< one sentence for people
    Nanos since{};       ///< on the clock of StatusReport::now
    std::string fix;     ///< a command, or what to look at
};

enum class ControllerState : std::uint8_t { up, down, fenced };  ///< down: it left in order

struct ControllerInfo {
    std::string name;
    ControllerId id;
    std::uint64_t pid = 0;  ///< of its last start
    ControllerState state = ControllerState::up;
    Incarnation incarnation;          ///< 0 when it is not up
    std::string address;              ///< where its peers dial it; empty when it is not up
    std::string host, site;           ///< its labels; empty when it has none, or is not up
    std::uint64_t left_epoch = 0;     ///< 0 while up
    std::vector<std::string> groups;  ///< names of the groups it serves now
};

/// Place of a disk in the picture "[UU_U]": U ok, _ failed, ? not found on this machine.
enum class MemberCondition : std::uint8_t { ok, failed, missing, leaving, gone };

struct GroupInfo {
    std::string name;
    Uuid id;
    std::string level;              ///< "raid6"
    unsigned data = 0, parity = 0;  ///< 4+2
    Health health = Health::ok;
    bool assembling = false;       ///< not serving yet
    std::uint64_t strip_size = 0;  ///< bytes
    SharingOptions sharing;
    PowerLoss power_loss = PowerLoss::resync;
    bool checksums = false;  ///< of every block
    ScrubSchedule scrub{};
    std::uint64_t journal_bytes = 0;  ///< of one AMF's journal, on each member that has it
    unsigned dimension = 1;
    unsigned spares = 0;       ///< members whose room is kept free for rebuilding
    unsigned spares_left = 0;  ///< of these: that can fail now, and all that they held finds room
    std::uint64_t usable_bytes = 0;
    std::uint64_t used_bytes = 0;       ///< extents that have a zone
    unsigned redundancy_remaining = 0;  ///< disks that may still fail
    std::vector<std::string> partners;  ///< of this controller's AMFs, now
    std::vector<std::pair<std::string, std::vector<std::string>>> named_partners;  ///< by an operator
    std::uint64_t dirty_bytes = 0;     ///< answered by this controller, and not on the disks yet
    std::uint64_t uncopied_bytes = 0;  ///< of it: that have not all their copies yet
    Nanos uncopied_age{};              ///< of the oldest of that
    Nanos dirty_age{};                 ///< of the oldest of it
    std::uint64_t window_bytes = 0;    ///< with an early answer: of that there is at most so much
    Nanos window_age{};                ///< and the oldest of it is about so old at most
    std::uint64_t window_waits = 0;    ///< writes that had to wait for their copies for that
    std::uint64_t dirty_regions = 0;   ///< regions of 4 MiB whose stripes may be half-written (own intents)
    struct WrongBlock {
        std::string disk;
        std::uint64_t offset = 0, stripe = 0;  ///< bytes on the disk; of the group
    };
    std::vector<WrongBlock> wrong_blocks;  ///< the last that checksums have told, of this controller's reads
    std::vector<MemberCondition> members;
    std::vector<std::string> disks;        ///< by member; empty for a disk that is not found
    std::vector<std::string> controllers;  ///< those that share it
    std::vector<std::string> attached;     ///< those that serve it now
    /// "g0/3" for one that is not found.
    std::string disk_name(std::size_t member) const {
        return disks[member].empty() ? name + "/" + std::to_string(member) : disks[member];
    }
    /// Hosts may be answered before their writes have all their copies.
    bool answers_early() const {
        return sharing.write_cache == WriteCache::back && dimension > 1 &&
               sharing.replication != Replication::synchronous;
    }
};

/// What stands in a part of a member: of content, of a segment on its way here, or of an extent that is being
/// copied to another shape.
enum class MapUse : std::uint8_t { content, moving, copying };

struct MapCell {
    std::uint32_t extents = 0;  ///< so many have something here
    std::uint32_t extent = 0;   ///< the lowest of them
    MapUse use = MapUse::content;
};

/// Where the content of a group stands: its members' data space cut into bands of the same height.
struct GroupMap {
    struct Disk {
        std::string name;  ///< empty: it is not found
        MemberCondition condition = MemberCondition::ok;
        std::uint64_t bytes = 0;  ///< of data space
    };
    std::string group;
    std::uint64_t band_bytes = 0;
    std::vector<Disk> disks;                  ///< by member
    std::vector<std::vector<MapCell>> bands;  ///< from the beginning of the space; by member
};

struct VolumeInfo {
    std::string name;
    std::string group;
    std::uint64_t id = 0;
    std::uint64_t size = 0;
    bool deleting = false;
    std::vector<std::string> ports;  ///< controllers that have a port
};

enum class PortState : std::uint8_t {
    open,
    closing,
    absent
};  ///< absent: its controller does not serve the group

struct PortInfo {
    std::string volume;
    std::string group;
    std::string controller;
    PortState state = PortState::open;
    std::optional<std::uint64_t> in_flight;  ///< known for the answering controller's ports only
    bool forwarded = false;                  ///< its controller does not share the group
    std::string through;                     ///< forwarded: the controller that it asks first; empty: nobody
};

enum class DiskState : std::uint8_t { member, failed, missing, leaving, gone, empty, foreign, unreadable };

struct DiskInfo {
    std::string name;  ///< as DiskShelf::scan() says it: a path
    std::optional<std::uint64_t> size;
    DiskState state = DiskState::empty;
    std::string content;  ///< foreign: "ext4 file system"
    std::string group;    ///< member, failed, missing: of which group
    std::optional<unsigned> member;
    std::uint64_t reads = 0, writes = 0, read_bytes = 0, written_bytes = 0,
                  errors = 0;                                ///< by this controller
    std::optional<std::uint64_t> read_p99_us, write_p99_us;  ///< of these, some seconds ago
    bool slow = false;  ///< much slower than the other disks of its group, as this controller sees it
};

struct JobInfo {
    std::uint64_t id = 0;
    std::string kind;  ///< "scrub", "rebuild": of all controllers together; "resync": of the one that answers
    std::string group;
    std::uint64_t done_bytes = 0, total_bytes = 0;
    std::optional<std::uint64_t> rate_bps;  ///< of finished bytes, bytes per second; nothing = not known yet
    JobState state = JobState::running;
    unsigned priority = 0;                 ///< 1 .. 9; 0: it has none
    std::uint64_t started = 0, ended = 0;  ///< seconds since 1970; 0: not known, or not yet
    std::uint64_t mismatches = 0;  ///< scrub: stripes whose parity does not fit, and nothing tells what is
                                   ///< right; resync: those whose parity was written
    std::uint64_t repaired = 0;    ///< stripes with blocks that were not what had been written
    std::uint64_t incomplete = 0;  ///< stripes that nothing can be said of: members are missing
    std::vector<std::pair<std::string, std::uint64_t>> shares;  ///< of done_bytes, by controller
    std::string detail;                                         ///< why it failed, which stripes
};

struct StatusReport {
    std::string observed_by;  ///< name of the controller that answers
    Nanos now{};
    Epoch epoch;
    Health health = Health::ok;
    std::optional<unsigned> redundancy_remaining;  ///< smallest of all groups; nothing without a group
    std::vector<ControllerInfo> controllers;
    std::vector<GroupInfo> groups;
    std::vector<JobInfo> jobs;
    std::vector<Condition> conditions;
    std::vector<std::string>
        nbd_addresses;  ///< where this controller serves NBD: "127.0.0.1:10809", "unix:/run/x"
};

/// One sample for the metrics page. Names and labels as Prometheus wants them; samples of one name follow
/// each other.
struct Metric {
    std::string name;  ///< "braid_stripe_writes_total"
    std::string help;
    bool counter = true;  ///< else a gauge
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;  ///< of a histogram: the sum of what was observed
    /// Makes it a histogram: upper bound of each bucket and how much was observed up to there; the last one's
    /// bound is infinite.
    std::vector<std::pair<double, std::uint64_t>> buckets{};
};

// ---- who does how much

struct LockHolderInfo {
    std::string amf;  ///< "ctl-a", "ctl-a/1" for its second AMF of the group
    bool writes = false;
};

/// A lock unit that changes hands often. Rates are of the last whole second.
struct HotUnitInfo {
    std::string group;
    std::optional<std::uint64_t> unit;             ///< nothing: the group's tables
    bool blocks = false;                           ///< a unit of blocks: they have numbers of their own
    LogicalRange range;                            ///< of the group's logical space, empty for the tables
    std::string volume;                            ///< that it lies in; empty: none
    std::uint64_t volume_offset = 0;               ///< where it begins there
    std::vector<LockHolderInfo> holders, waiting;  ///< as far as this controller knows
    std::uint64_t transfers_per_s = 0;
    std::optional<Nanos> mean_wait;  ///< of operations of this controller
    bool ping_pong = false;
};

/// What an AMF has done since it was started.
struct AmfLoad {
    std::string group;
    unsigned amf = 0;
    std::uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0;
    std::uint64_t held_units = 0, units_in_use = 0;                                   ///< now
    std::vector<std::pair<std::string, std::uint64_t>> lock_requests, lock_messages;  ///< by result, by type
    std::uint64_t lock_waits = 0;
    Nanos lock_wait_sum{}, lock_wait_median{}, lock_wait_p99{};  ///< the latter two to a factor of two
};

struct LinkLoad {
    std::string peer;
    std::uint64_t sent_messages = 0, sent_packets = 0, sent_bytes = 0;
    std::uint64_t received_messages = 0, received_packets = 0, received_bytes = 0;
};

struct LoadReport {
    std::string controller;
    Nanos now{};
    std::vector<AmfLoad> amfs;
    std::vector<LinkLoad> links;
    std::vector<HotUnitInfo> hot;
};

// ---- what can be asked for

struct CreateGroup {
    std::string name;
    std::string level;                     ///< mirror, raid5, raid6, raid7.3
    std::vector<std::string> disks;        ///< 3 to 64 names as DiskInfo::name
    std::uint64_t strip_size = 64 << 10;   ///< bytes, a power of two, 4 KiB .. 1 MiB
    std::vector<std::string> controllers;  ///< that share it; empty: all that are up
    unsigned dimension = 0;                ///< copies of an update record; 0: min(controllers, 2)
    SharingOptions sharing;
    PowerLoss power_loss = PowerLoss::journal;
    std::optional<bool> checksums;  ///< of every block; nothing: yes, from strips of 16 KiB on
    unsigned copies = 0;            ///< mirror: copies of each block; 0: 2
    unsigned width =
        0;  ///< others: strips of a stripe, parity too; 0: as many as disks less spares, at most 24
    unsigned spares = 0;  ///< room of so many disks is kept free for rebuilding
    bool force = false;   ///< overwrite what the disks hold
    bool dry_run = false;
};

struct AddDisk {
    std::string disk;      ///< as DiskInfo::name
    std::string group;     ///< empty: the only group there is, or that of `replaces`
    std::string replaces;  ///< a disk of the group that is to go, if not empty
    bool force = false;    ///< overwrite what the disk holds
    bool dry_run = false;
};

struct ExpandGroup {
    std::string name;
    std::vector<std::string> disks;  ///< that are taken into the group first, as DiskInfo::name
    unsigned width = 0;              ///< of all stripes from now on, those that are there too; 0: as it is
    bool force = false;              ///< overwrite what the disks hold
    bool dry_run = false;
};

struct SetGroup {
    std::string name;
    SharingChange change;                        ///< without partners
    std::string partners_of;                     ///< whose partners are set, if not empty: a controller
    std::vector<std::string> partners;           ///< controllers; none: nobody is preferred any more
    std::optional<std::uint32_t> scrub_every{};  ///< seconds; 0: never
    std::optional<std::uint8_t> spares{};        ///< room of so many disks is kept free for rebuilding
    std::optional<Level> level{};                ///< of all stripes from now on, those that are there too
    bool dry_run = false;
};

struct ScrubGroup {
    std::string name;
    unsigned priority = kDefaultPriority;  ///< 1 .. 9
    bool dry_run = false;
};

enum class JobChange : std::uint8_t { pause, resume, cancel };

struct SetJob {
    std::uint64_t id = 0;
    unsigned priority = kDefaultPriority;  ///< 1 .. 9
    bool dry_run = false;
};

struct CreateVolume {
    std::string name;
    std::string group;  ///< empty: the only group there is
    std::uint64_t size = 0;
    bool dry_run = false;
};

struct CreatePorts {
    std::string volume;
    std::vector<std::string> controllers;  ///< empty: all that share the group
    bool dry_run = false;
};

/// What was done, or with dry_run what would be done, one sentence a line.
struct Outcome {
    std::vector<std::string> steps;
    std::optional<std::uint64_t> job;  ///< the work goes on in this job
};

class AdminTarget {
public:
    virtual ~AdminTarget() = default;

    virtual StatusReport status() = 0;
    virtual std::vector<VolumeInfo> volumes() = 0;
    virtual std::vector<PortInfo> ports() = 0;
    virtual std::vector<DiskInfo> disks() = 0;
    virtual std::vector<Metric> metrics() = 0;
    /// With the `hot` units that changed hands most in the last second.
    virtual LoadReport load(std::size_t hot) = 0;
    /// In at most so many bands, none lower than a segment. Nothing if no such group is served here.
    virtual std::optional<GroupMap> group_map(const std::string& group, std::size_t bands) = 0;

    virtual Task<AdminResult<Outcome>> create_group(CreateGroup request) = 0;
    /// Changes how a group's locks are kept while it is in use, on all controllers.
    virtual Task<AdminResult<Outcome>> set_group(SetGroup request) = 0;
    /// Begins to read all of the group and to compare it with checksums and parity, by all its controllers.
    /// Outcome::job tells how far it is.
    virtual Task<AdminResult<Outcome>> scrub_group(ScrubGroup request) = 0;
    virtual Task<AdminResult<Outcome>> change_job(std::uint64_t id, JobChange change, bool dry_run) = 0;
    virtual Task<AdminResult<Outcome>> set_job(SetJob request) = 0;
    virtual Task<AdminResult<Outcome>> create_volume(CreateVolume request) = 0;
    /// would_lose_data unless forced while it has open ports: with `force` the ports are closed first.
    virtual Task<AdminResult<Outcome>> delete_volume(std::string volume, bool force, bool dry_run) = 0;
    virtual Task<AdminResult<Outcome>> create_ports(CreatePorts request) = 0;
    /// Returns when the port has finished what was in flight and is gone.
    virtual Task<AdminResult<Outcome>> delete_port(std::string volume, std::string controller,
                                                   bool dry_run) = 0;
    /// Declares a disk failed by agreement. would_lose_data if the group would go offline.
    virtual Task<AdminResult<Outcome>> fail_disk(std::string disk, bool dry_run) = 0;
    /// Takes a disk into a group that is served. It gives what failed members held a place, and what the one
    /// that it replaces has; not_ready if a controller that serves the group does not reach it.
    virtual Task<AdminResult<Outcome>> add_disk(AddDisk request) = 0;
    /// More room for virtual disks, on disks that come now or have come before; what there is spreads over
    /// all.
    virtual Task<AdminResult<Outcome>> expand_group(ExpandGroup request) = 0;
    /// What it has, or had, if it has failed, goes to other members of its group; then it is gone.
    virtual Task<AdminResult<Outcome>> remove_disk(std::string disk, bool dry_run) = 0;
    /// Ends a controller for good: its process is killed, its open operations are finished by the others.
    virtual Task<AdminResult<Outcome>> fence_controller(std::string controller, bool dry_run) = 0;
};

}  // namespace braid
