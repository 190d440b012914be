// One of the AMFs that a controller runs for a group, on the thread where it runs: its disks, opened for it
// alone, its side of the group's ports, and its voice. It reaches AMFs of its own process over the bus, all
// others over the link to their controller: where the peer is decides, nothing here does.
//
// Needs: made, used and destroyed on one thread; executor and clock outlive it, the registry all that it does
// to ports; nobody is inside one of its ports when it is destroyed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "amf/amf.h"
#include "async/scope.h"
#include "forward/forward_server.h"
#include "jobs/mover.h"
#include "jobs/reshaper.h"
#include "jobs/resync.h"
#include "jobs/scrub.h"
#include "jobs/timed_space.h"
#include "volume/port_registry.h"

namespace braid {

using OpenDisks = std::vector<std::unique_ptr<Disk>>;  ///< by member, null where there is none

/// All that is needed to make one, wherever that is.
struct AmfPlan {
    Uuid group;
    GroupConfig config;
    std::uint64_t table_start = 0;
    std::vector<std::string> disks;  ///< names by member, empty where there is none
    ControllerSlot controller;
    unsigned index = 0;
    AmfOptions options;
    MoverOptions moves{};
    PaceOptions pace{};
};

/// A unit that AMFs trade, with who holds it and who waits.
struct HotReport {
    HotUnit unit;
    LockStanding standing;
    LogicalRange range;  ///< not of the tables
};

/// What others are told of an AMF: as it was a moment ago.
struct AmfReport {
    bool loaded = false;
    AmfConditions conditions;
    AmfCounters counters;
    LockCounters locks;
    BlockCacheCounters cache;
    std::size_t cache_bytes = 0, cache_capacity = 0;
    std::size_t held_units = 0, units_in_use = 0;
    std::size_t dirty_regions = 0;
    std::array<std::uint64_t, kMaxMembers>
        mismatches{};                              ///< by member: what it said was not what was written
    std::vector<DiskCounters> disks;               ///< by member
    std::vector<MemberLatency> latencies;          ///< by member
    std::map<std::string, std::size_t> in_flight;  ///< by port
    std::optional<ResyncProgress> resync;          ///< of what its earlier life left, while there is any
    bool balance_waits = false;                    ///< for a rebuild
    std::optional<Nanos> rebuild_begins;           ///< when its member has been failed for long enough
    std::uint64_t moved_bytes = 0;                 ///< that this AMF has put elsewhere
    PaceReport pace;
    std::size_t unreadable_extents = 0;           ///< that cannot be converted for it
    std::vector<StripeIndex> unreadable_stripes;  ///< that cannot be made again for it, one of each zone
    std::uint64_t window_waits = 0;               ///< of all AMFs: as AmfCounters has it of one
    ForwardServed forwarded;                      ///< what it did for controllers outside of the group
};

class AmfRuntime;

/// How an AMF speaks to its controller, which may be on another thread.
struct AmfVoice {
    /// `epoch`: the one that the AMF is in.
    std::function<void(Epoch epoch, AmfId to, Message message)> send;
    /// Its tables have changed, or it is offline.
    std::function<void(const AmfRuntime& amf)> changed;
    Nanos repeat{};  ///< after so long `changed` is called all the same; 0: never
};

class AmfRuntime final : private Transport {
public:
    /// `shelf`: where disks are found that become members later.
    AmfRuntime(Executor& executor, Clock& clock, DiskShelf& shelf, PortRegistry& registry, AmfPlan plan,
               OpenDisks disks, AmfVoice voice);
    ~AmfRuntime() override;

    Amf& amf() { return amf_; }
    const Amf& amf() const { return amf_; }
    Disk* disk(MemberIndex member) const { return disks_[member.v].get(); }
    std::size_t member_count() const { return disks_.size(); }
    AmfReport report() const;
    /// The units that change hands most, hottest first.
    std::vector<HotReport> hot_units() const;

    // The life of the AMF (amf/amf.h).
    Task<Status> load();
    Task<Status> start();
    Task<Status> finish();
    Task<Status> end();
    /// `view` as some AMF of this controller sees it; `callers`: all controllers of the cluster's view.
    void adopt(AmfView view, std::vector<ForwardCaller> callers);
    void deliver(AmfId from, Message message);

    /// Its side of a port; `sides`: of how many. exists.
    Status open_port(VolumeId id, VirtualDisk disk, unsigned sides);
    /// Lets nothing in any more; port_closed() returns when nothing is inside.
    void close_port(VolumeId id);
    Task<Status> port_closed(VolumeId id);
    void close_ports();
    Task<Status> ports_closed();
    std::shared_ptr<Port> port(std::string_view name) const;
    /// Nothing is at work here that came through a port of a controller outside of the group.
    Task<Status> forwarded_drained(std::string controller, VolumeId volume);
    const ForwardServer& forwarded() const { return forward_; }

    /// Makes right what an earlier life of this AMF may have left half-written.
    Task<Status> resync_own();
    void cancel_resync();

private:
    void send(AmfId to, Message message) override;
    Task<void> repeat(Clock& clock);
    void tell(HostLatency latency);
    Task<Disk*> open_disk(MemberIndex member, Uuid id);
    Result<ForwardServer::Place> find_forwarded(std::string_view controller, VolumeId volume) const;

    Executor& executor_;
    PortRegistry& registry_;
    unsigned index_;
    Epoch epoch_;
    DiskShelf& shelf_;
    const Uuid group_;
    OpenDisks disks_;
    OpenDisks left_;  ///< of members that are no more
    AmfVoice voice_;
    Amf amf_;
    Pace pace_;
    TimedSpace hosts_;  ///< the AMF, as all hosts have it
    ForwardServer forward_;
    std::map<std::uint32_t, std::shared_ptr<Port>> ports_;  ///< by VolumeId, until they are closed
    std::unique_ptr<Resync> resync_;
    Mover mover_;
    Reshaper reshaper_;
    Scrub scrub_;
    Clock& clock_;
    Scope scope_;
};

}  // namespace braid
