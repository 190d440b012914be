// What an operator should know now, and what to do about it.
#include <algorithm>
#include <set>

#include "controller/controller.h"

namespace braid {
namespace {

Health worst(Health a, Health b) { return std::max(a, b); }

/// "0.3", "214".
std::string milliseconds(Nanos time) {
    const std::int64_t tenths = time / 100us;
    return std::to_string(tenths / 10) + (tenths < 100 ? "." + std::to_string(tenths % 10) : "");
}

/// Of zones, on the members that are there.
struct Space {
    std::uint64_t usable = 0, used = 0;
    std::uint64_t promised = 0;  ///< that virtual disks may still need
    std::uint64_t missing = 0;   ///< of these

    std::uint64_t used_of_100() const {
        return usable == 0 ? 100 : std::min<std::uint64_t>(100, used * 100 / usable);
    }
    bool nearly_full() const { return missing != 0 || (promised != 0 && used_of_100() >= 85); }
};

Space space_of(const Tables& tables) {
    const GroupConfig& config = tables.config();
    MemberMask there;
    for (std::uint8_t i = 0; i < config.members.size(); ++i) there[i] = tables.member_ok(MemberIndex(i));
    // A zone that is made now may lack as many parts as the level survives.
    const std::size_t width = std::min<std::size_t>(config.wanted.width(), there.count());
    Space space;
    space.used = tables.allocated_extents();
    space.usable = width < config.wanted.k
                       ? 0
                       : tables.zones_on(there, static_cast<unsigned>(width), tables.spares_left());
    space.promised = tables.promised_zones();
    space.missing = space.used + space.promised - std::min(space.used + space.promised, space.usable);
    return space;
}

}  // namespace

/// The time at which a condition was first seen; forgotten when it is not asked for in a report.
Nanos Controller::since(const std::string& key) {
    return condition_since_.try_emplace(key, env_.clock.now()).first->second;
}

/// Of what a controller that has died had answered (docs/fault-model.md): how much is gone at most, by each
/// group that it shared. It is as large as its own [limits] say; ours are told, which are meant to be the
/// same.
std::string Controller::what_may_be_lost(const std::string& controller) const {
    std::string out;
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        const GroupInfo info = describe(*group);
        if (std::ranges::find(info.controllers, controller) == info.controllers.end()) continue;
        out += out.empty() ? "; " : ", ";
        if (!info.answers_early()) {
            out += "nothing that hosts of " + info.name + " were answered is lost";
            continue;
        }
        const std::uint64_t bytes = info.window_bytes * info.sharing.amfs;
        out += "of what hosts of " + info.name + " were answered at most the last " + std::to_string(bytes) +
               " bytes, of its last " + std::to_string(info.window_age / 1ms) + " ms, may be lost, by " +
               std::string(to_string(info.sharing.replication)) + " replication; what was flushed is there";
    }
    return out;
}

void Controller::add_conditions(StatusReport& report) {
    std::set<std::string> present;
    const auto add = [&](std::string code, Severity severity, std::string object, std::string text,
                         std::string fix) {
        const std::string key = code + ' ' + object;
        present.insert(key);
        report.conditions.push_back(
            {std::move(code), severity, std::move(object), std::move(text), since(key), std::move(fix)});
    };
    for (const ControllerInfo& controller : report.controllers) {
        if (controller.state == ControllerState::up) continue;
        const std::string epoch = std::to_string(controller.left_epoch);
        const bool fenced = controller.state == ControllerState::fenced;
        add("CONTROLLER_DOWN", fenced ? Severity::warning : Severity::info, controller.name,
            fenced ? "fenced in epoch " + epoch + ", its open operations were finished by the others" +
                         what_may_be_lost(controller.name)
                   : "left in order in epoch " + epoch,
            "start its daemon again: braidd --config FILE (in a demo: braid demo start " + controller.name +
                ")");
    }
    for (const auto& [uuid, group] : groups_) {
        const GroupInfo info = describe(*group);
        if (group->state() == GroupRuntime::State::refused) {
            add("GROUP_OFFLINE", Severity::error, info.name,
                "not served by " + config_.name +
                    ": it reaches too few of its disks, or not all that the others work with",
                "bring back the missing disks, it is tried again by itself; use its ports on controllers "
                "that "
                "reach them");
            continue;
        }
        if (!group->tables().loaded()) continue;
        for (const ViewMember& member : view_.members) {
            const auto& sharing = group->tables().config().controllers;
            if (member.attached(uuid) || std::ranges::find(sharing, member.name) == sharing.end()) continue;
            add("GROUP_NOT_ATTACHED", Severity::warning, member.name,
                "alive, but does not serve " + info.name,
                "braid status --api of " + member.name + " says why");
        }
        if (info.health != Health::ok) {
            const std::optional<Nanos> begins = group->together().rebuild_begins;
            const bool all_there = group->tables().failed_members() == 0;
            add("GROUP_DEGRADED", info.health == Health::critical ? Severity::error : Severity::warning,
                info.name,
                "can still lose " + std::to_string(info.redundancy_remaining) + " disks" +
                    (begins ? "; what is missing is made again on the other disks, beginning in " +
                                  std::to_string((*begins - std::min(*begins, env_.clock.now())) / 1s) + " s"
                            : std::string{}),
                all_there ? "wait until its rebuild has ended: braid job list"
                          : "braid disk replace OLD NEW, for each of the failed disks");
        }
        if (const Space space = space_of(group->tables()); space.nearly_full()) {
            const std::string used = std::to_string(space.used_of_100()) + " % of its space is allocated";
            add("GROUP_FULL",
                space.missing != 0 && space.used_of_100() >= 95 ? Severity::error : Severity::warning,
                info.name,
                space.missing == 0 ? used + "; what virtual disks may still need is reserved"
                                   : used + ", and " + std::to_string(space.missing * kExtentSize) +
                                         " bytes of virtual disks have no whole place left: what is written "
                                         "there can lose fewer "
                                         "disks, or fails with ENOSPC",
                (space.missing == 0 ? "" : "replace the failed disks, or ") +
                    std::string("trim what is not needed (fstrim, blkdiscard), delete virtual disks"));
        }
        if (info.spares_left < info.spares) {
            add("SPARE_USED", Severity::warning, info.name,
                "room is left for what " + std::to_string(info.spares_left) +
                    " disks hold, and is to be kept for " + std::to_string(info.spares),
                group->tables().failed_members() == 0
                    ? "braid group expand " + info.name + " --add DISK, or braid group set " + info.name +
                          " --spares " + std::to_string(info.spares_left)
                    : "replace the failed disks: braid disk replace OLD NEW");
        }
        const auto disk = [&info](std::size_t i) { return info.disk_name(i); };
        for (std::size_t i = 0; i < info.members.size(); ++i) {
            const bool lost =
                info.members[i] == MemberCondition::failed || info.members[i] == MemberCondition::missing;
            if (!lost) continue;
            const bool failed = info.members[i] == MemberCondition::failed;
            add(failed ? "DISK_FAILED" : "DISK_MISSING", Severity::warning, disk(i),
                "member " + std::to_string(i) + " of " + info.name +
                    (failed ? " was declared failed" : " is not found"),
                "check the disk and its cables; " +
                    (failed ? "braid disk add DISK if it is back, else " : std::string{}) +
                    "braid disk replace " + info.name + "/" + std::to_string(i) + " NEW");
        }
        add_job_conditions(*group, add);
        const AmfReport all = group->together();
        const AmfConditions& amf = all.conditions;
        for (std::size_t i = 0; i < info.members.size(); ++i) {
            if (all.mismatches[i] == 0) continue;
            add("DISK_LIES", Severity::warning, disk(i),
                "gave " + std::to_string(all.mismatches[i]) +
                    " times what had not been written there, since this controller started; found by "
                    "checksum "
                    "and repaired",
                "braid group scrub " + info.name + "; if it comes again, replace the disk");
        }
        for (std::size_t i = 0; i < info.members.size(); ++i) {
            if (i >= all.latencies.size() || !all.latencies[i].limps) continue;
            const MemberLatency& seen = all.latencies[i];
            const std::string kind = seen.in_reads ? "reads" : "writes";
            const std::string what = seen.waits != Nanos{}
                                         ? "a command of " + config_.name + " has been under way at it for " +
                                               std::to_string(seen.waits / 1s) + " s"
                                         : "its " + kind + " take " + milliseconds(seen.p99()) +
                                               " ms (p99) as " + config_.name +
                                               " sees them, those of the other disks of " + info.name + ' ' +
                                               milliseconds(seen.others);
            add("DISK_SLOW", Severity::warning, disk(i),
                what + "; reads go around it where all others are there, writes wait for it",
                "if only " + config_.name + " says so, check its path to the disk; else braid disk replace " +
                    info.name + "/" + std::to_string(i) + " NEW");
        }
        if (amf.missing_copies != 0) {
            const bool back = info.sharing.write_cache == WriteCache::back && info.dimension > 1;
            const bool goes_on = info.sharing.few_partners == FewPartners::go_on;
            add("COPIES_REDUCED", Severity::warning, info.name,
                "open writes have " + std::to_string(info.dimension - amf.missing_copies) +
                    " copies instead of " + std::to_string(info.dimension) +
                    (!back     ? ""
                     : goes_on ? ", and hosts are answered with these"
                               : ", so hosts are answered when the disks have their writes"),
                "start the controllers that are down");
        }
        if (info.sharing.write_cache == WriteCache::back && info.dimension == 1) {
            add("WRITE_BACK_IDLE", Severity::info, info.name,
                "its cache is write-back, but one copy of a record is no copy elsewhere: hosts are answered "
                "when "
                "the disks have their writes, as with write-through",
                "it stays so: a group made with --dimension 2 or more answers earlier");
        }
        if (all.balance_waits) {
            const JobRecord* rebuild = group->tables().state().active(JobKind::rebuild);
            const bool paused = rebuild != nullptr && rebuild->state == JobState::paused;
            add("EXPANSION_WAITS", Severity::info, info.name,
                "is not spread over all of its disks before what is missing, or has to leave, stands "
                "elsewhere",
                paused ? "braid job resume " + std::to_string(rebuild->id)
                       : "wait, it goes on by itself: braid job list");
        }
        if (amf.copying_bytes != 0) {
            add("COPYING", Severity::info, info.name,
                std::to_string(amf.copying_records) + " open writes of " + std::to_string(amf.copying_bytes) +
                    " bytes, of " + std::to_string(amf.copying_bytes_at_first) +
                    " at first, are still to be acknowledged by new partners",
                "wait, it ends by itself");
        }
        if (amf.nearest != Nearness::apart) {
            const bool host = amf.nearest == Nearness::same_host;
            add("PARTNER_NEAR", Severity::warning, info.name,
                "records of " + config_.name + " are kept on its own " + (host ? "host" : "site") +
                    ": what fails with it takes them along",
                std::string("start a controller on another ") + (host ? "host" : "site") +
                    ", or see braid group set " + info.name + " --partners");
        }
        if (amf.recovering_units != 0) {
            add("RECOVERING", Severity::info, info.name,
                std::to_string(amf.recovering_units) + " stripes of a lost controller are being finished",
                "wait, it ends by itself");
        }
        if (amf.replay.under_way()) {
            add("REPLAY", Severity::info, info.name,
                std::to_string(amf.replay.done) + " of " + std::to_string(amf.replay.entries) +
                    " writes of its journals are done again before anybody may use it",
                "wait, it ends by itself");
        }
        if (group->resync_pending()) {
            add("RESYNC", Severity::info, info.name,
                "looks for what absent controllers may have left half-written",
                "wait, it ends by itself: braid job list");
        }
        if (amf.quarantined_stripes != 0) {
            add("STRIPES_QUARANTINED", Severity::error, info.name,
                std::to_string(amf.quarantined_stripes) +
                    " stripes have lost data for good, by more faults at once than the level survives: they "
                    "answer with errors",
                "restore their data from a backup to another virtual disk; a trim of the 64 MiB around one, "
                "or "
                "braid volume delete, ends it");
        }
    }
    for (const Forwarder::PortReport& port : forwarder_.ports()) {
        if (port.through) continue;
        report.health = worst(report.health, Health::offline);
        add("FORWARD_NO_SHARER", Severity::error, port.volume,
            "no controller that shares group " + port.group + " is up: operations through " + config_.name +
                " wait for one, then fail",
            "start a controller that shares " + port.group);
    }
    for (const PingPong& p : ping_pongs()) {
        std::string text =
            "trade the locks of " + p.where + " " + std::to_string(p.transfers_per_s) + " times a second";
        if (p.further_ranges != 0) text += ", and of " + std::to_string(p.further_ranges) + " further ranges";
        add("LOCK_PING_PONG", Severity::info, p.group + ": " + p.controllers, text,
            "let one host use one controller for that range, or keep locks longer: braid group set " +
                p.group + " --min-hold 500");
    }
    std::erase_if(condition_since_, [&](const auto& entry) { return !present.contains(entry.first); });
}

}  // namespace braid
