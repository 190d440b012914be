// What a controller says of itself and of what it knows of the others: all from memory.
#include <algorithm>
#include <set>

#include "controller/controller.h"

namespace braid {
namespace {

Health worst(Health a, Health b) { return std::max(a, b); }

ControllerState state_of(const KnownController& known) {
    if (known.left_epoch == 0) return ControllerState::up;
    return known.fenced ? ControllerState::fenced : ControllerState::down;
}

MemberCondition condition_of(MemberState state, bool has_disk) {
    switch (state) {
        case MemberState::failed:
        case MemberState::dismissed:
            return MemberCondition::failed;
        case MemberState::gone:
            return MemberCondition::gone;
        case MemberState::leaving:
            return has_disk ? MemberCondition::leaving : MemberCondition::missing;
        case MemberState::ok:
            break;
    }
    return has_disk ? MemberCondition::ok : MemberCondition::missing;
}

std::optional<std::uint64_t> micros(Nanos p99) {
    if (p99 == Nanos{0}) return std::nullopt;
    return static_cast<std::uint64_t>(p99 / 1us);
}

/// "0.3", "214".
std::string milliseconds(Nanos time) {
    const std::int64_t tenths = time / 100us;
    return std::to_string(tenths / 10) + (tenths < 100 ? "." + std::to_string(tenths % 10) : "");
}

}  // namespace

std::string Controller::controller_name(ControllerId id) const {
    for (const KnownController& known : view_.known) {
        if (known.id == id) return known.name;
    }
    return "?";
}

GroupInfo Controller::describe(const GroupRuntime& group) const {
    GroupInfo info;
    info.name = group.name();
    info.id = group.uuid();
    const Tables& tables = group.tables();
    for (const ViewMember& member : view_.members) {
        if (member.attached(group.uuid())) info.attached.push_back(member.name);
    }
    info.assembling = group.state() != GroupRuntime::State::serving;
    if (!tables.loaded()) {
        info.health = Health::offline;
        return info;
    }
    const GroupConfig& config = tables.config();
    info.level = to_string(config.wanted.level);
    info.data = config.wanted.k;
    info.parity = config.wanted.m;
    info.strip_size = config.geometry.strip_size;
    info.sharing = config.sharing;
    info.power_loss = config.has_journal() ? PowerLoss::journal : PowerLoss::resync;
    info.checksums = config.geometry.checksums;
    info.scrub = tables.state().schedule;
    info.journal_bytes = config.journal.ring_size;
    info.dimension = config.dimension;
    info.spares = config.spares;
    info.spares_left = tables.spares_left();
    info.usable_bytes = tables.usable_extents() * kExtentSize;
    info.used_bytes = tables.allocated_extents() * kExtentSize;
    const AmfReport amfs = group.together();
    info.dirty_regions = amfs.dirty_regions;
    info.dirty_bytes = amfs.conditions.dirty_bytes;
    info.dirty_age = amfs.conditions.dirty_age;
    info.uncopied_bytes = amfs.conditions.uncopied_bytes;
    info.uncopied_age = amfs.conditions.uncopied_age;
    for (const ControllerId partner : amfs.conditions.partners)
        info.partners.push_back(controller_name(partner));
    for (std::uint8_t slot = 0; slot < config.controllers.size(); ++slot) {
        if (config.sharing.partners[slot] == 0) continue;
        auto& named = info.named_partners.emplace_back(config.controllers[slot], std::vector<std::string>{});
        for (std::uint8_t other = 0; other < config.controllers.size(); ++other) {
            if ((config.sharing.partners[slot] >> other & 1) != 0)
                named.second.push_back(config.controllers[other]);
        }
    }
    for (const std::string& name : config.controllers) {
        if (!name.empty()) info.controllers.push_back(name);
    }
    for (std::size_t i = 0; i < config.members.size(); ++i) {
        const Disk* disk = tables.disk(MemberIndex(static_cast<std::uint8_t>(i)));
        info.members.push_back(condition_of(tables.state().members[i].state, disk != nullptr));
        info.disks.push_back(disk == nullptr ? std::string{} : disk->name());
    }
    const unsigned gone = tables.failed_members();
    // Zones that are there, and those that are made next.
    const auto width = config.wanted.width();
    const auto left = static_cast<unsigned>(config.members.size()) - gone;
    const unsigned missing = width > left ? width - left : 0;
    info.redundancy_remaining = tables.least_redundancy(missing > info.parity ? 0 : info.parity - missing);
    if (tables.offline() || group.state() == GroupRuntime::State::refused) {
        info.health = Health::offline;
    } else if (gone != 0 || tables.any_missing()) {
        info.health = info.redundancy_remaining == 0 ? Health::critical : Health::degraded;
    }
    return info;
}

namespace {

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

StatusReport Controller::status() {
    StatusReport report;
    report.observed_by = config_.name;
    report.now = env_.clock.now();
    report.epoch = view_.epoch;
    for (const KnownController& known : view_.known) {
        ControllerInfo info;
        info.name = known.name;
        info.id = known.id;
        info.pid = known.pid;
        info.state = state_of(known);
        info.left_epoch = known.left_epoch;
        if (const ViewMember* member = view_.find(known.id)) {
            info.incarnation = member->incarnation;
            info.address = member->address;
            for (const auto& [uuid, group] : groups_) {
                if (member->attached(uuid)) info.groups.push_back(group->name());
            }
        }
        if (info.state == ControllerState::fenced) report.health = worst(report.health, Health::degraded);
        report.controllers.push_back(std::move(info));
    }
    for (const auto& [uuid, group] : groups_) {
        report.groups.push_back(describe(*group));
        const GroupInfo& info = report.groups.back();
        report.health = worst(report.health, info.health);
        if (!report.redundancy_remaining || info.redundancy_remaining < *report.redundancy_remaining) {
            report.redundancy_remaining = info.redundancy_remaining;
        }
    }
    std::sort(report.groups.begin(), report.groups.end(),
              [](const GroupInfo& a, const GroupInfo& b) { return a.name < b.name; });
    report.jobs = jobs();
    report.nbd_addresses = nbd_.addresses();
    add_conditions(report);
    return report;
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
            fenced ? "fenced in epoch " + epoch + ", its open operations were finished by the others"
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
            const bool all_there = group->tables().failed_members() == 0;
            add("GROUP_DEGRADED", info.health == Health::critical ? Severity::error : Severity::warning,
                info.name, "can still lose " + std::to_string(info.redundancy_remaining) + " disks",
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
                "replace the failed disks: braid disk replace OLD NEW");
        }
        const auto disk = [&info](std::size_t i) {
            return info.disks[i].empty() ? info.name + "/" + std::to_string(i) : info.disks[i];
        };
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
            add("DISK_SLOW", Severity::warning, disk(i),
                "its " + kind + " take " + milliseconds(seen.p99()) + " ms (p99) as " + config_.name +
                    " sees them, those of the other disks of " + info.name + ' ' + milliseconds(seen.others) +
                    "; reads go around it where all others are there, writes wait for it",
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
        if (amf.copying_bytes != 0) {
            add("COPYING", Severity::info, info.name,
                std::to_string(amf.copying_records) + " open writes of " + std::to_string(amf.copying_bytes) +
                    " bytes are on their way to new partners",
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

std::vector<VolumeInfo> Controller::volumes() {
    std::vector<VolumeInfo> out;
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        for (const VolumeRecord& record : group->tables().volumes()) {
            VolumeInfo info;
            info.name = record.name;
            info.group = group->name();
            info.id = record.id.v;
            info.size = record.size;
            info.deleting = record.state == VolumeState::deleting;
            for (std::uint8_t slot = 0; slot < kMaxControllers + kMaxOutside; ++slot) {
                if (record.has_port(ControllerSlot(slot)))
                    info.ports.push_back(group->tables().config().name_of(ControllerSlot(slot)));
            }
            out.push_back(std::move(info));
        }
    }
    return out;
}

PortState Controller::port_state(const GroupRuntime& group, const VolumeRecord& record,
                                 ControllerSlot slot) const {
    const std::string& name = group.tables().config().name_of(slot);
    const ViewMember* member = live(name);
    const bool own = name == config_.name;
    const bool served = member != nullptr && (is_outside(slot) || member->attached(group.uuid())) &&
                        (!own || group.state() == GroupRuntime::State::serving);
    if (!served) return PortState::absent;
    return record.closes_port(slot) ? PortState::closing : PortState::open;
}

/// Name of the controller that one outside of the group asks first.
std::string Controller::first_asked(const Uuid& group, ControllerId outside) const {
    const auto order = forward_order(amf_view(view_, group, amf_id(outside)), outside);
    return order.empty() ? std::string{} : controller_name(controller_of(order.front().id));
}

std::vector<PortInfo> Controller::ports() {
    std::vector<PortInfo> out;
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        const GroupConfig& config = group->tables().config();
        const auto in_flight = group->together().in_flight;
        for (const VolumeRecord& record : group->tables().volumes()) {
            for (std::uint8_t i = 0; i < kMaxControllers + kMaxOutside; ++i) {
                const ControllerSlot slot(i);
                if (!record.has_port(slot)) continue;
                PortInfo info{record.name, group->name(), config.name_of(slot),
                              port_state(*group, record, slot)};
                const auto inside = in_flight.find(record.name);
                if (info.controller == config_.name && inside != in_flight.end())
                    info.in_flight = inside->second;
                info.forwarded = is_outside(slot);
                const ViewMember* member = live(info.controller);
                if (info.forwarded && member != nullptr) info.through = first_asked(uuid, member->id);
                out.push_back(std::move(info));
            }
        }
    }
    for (const Forwarder::PortReport& port : forwarder_.ports()) {
        const PortState state = !port.through  ? PortState::absent
                                : port.closing ? PortState::closing
                                               : PortState::open;
        out.push_back({port.volume, port.group, config_.name, state, port.in_flight, true,
                       port.through ? controller_name(controller_of(*port.through)) : std::string{}});
    }
    return out;
}

std::vector<DiskInfo> Controller::disks() {
    std::vector<DiskInfo> out;
    std::set<std::string> ours;
    for (const auto& [uuid, group] : groups_) {
        const AmfReport all = group->together();
        const std::vector<DiskCounters>& moved = all.disks;
        for (std::size_t i = 0; i < group->member_count(); ++i) {
            const Disk* disk = group->disk(MemberIndex(static_cast<std::uint8_t>(i)));
            DiskInfo info;
            info.group = group->name();
            info.member = static_cast<unsigned>(i);
            info.name = group->name() + "/" + std::to_string(i);
            info.state = DiskState::missing;
            if (disk != nullptr) {
                info.name = disk->name();
                info.size = disk->size();
                info.state = DiskState::member;
                const DiskCounters& counters = moved[i];
                info.reads = counters.reads;
                info.writes = counters.writes;
                info.read_bytes = counters.read_bytes;
                info.written_bytes = counters.written_bytes;
                info.errors = counters.errors;
                info.read_p99_us = micros(all.latencies[i].reads);
                info.write_p99_us = micros(all.latencies[i].writes);
                info.slow = all.latencies[i].limps;
                ours.insert(disk->name());
            }
            if (group->tables().loaded()) {
                const MemberState state = group->tables().state().members[i].state;
                if (state == MemberState::failed || state == MemberState::dismissed)
                    info.state = DiskState::failed;
                if (state == MemberState::leaving) info.state = DiskState::leaving;
                if (state == MemberState::gone) info.state = DiskState::gone;
            }
            out.push_back(std::move(info));
        }
    }
    for (const std::string& name : env_.shelf.scan()) {
        if (ours.contains(name)) continue;
        DiskInfo info;
        info.name = name;
        if (const auto disk = env_.shelf.open(name)) info.size = (*disk)->size();
        const auto content = env_.shelf.probe(name);
        if (!content) {
            info.state = DiskState::unreadable;
        } else if (!content->empty) {
            info.state = DiskState::foreign;
            info.content = content->what;
        }
        out.push_back(std::move(info));
    }
    return out;
}

}  // namespace braid
