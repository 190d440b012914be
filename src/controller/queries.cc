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
    if (info.answers_early()) {
        info.window_bytes = config_.window;
        info.window_age = config_.window_age;
        info.window_waits = amfs.window_waits;
    }
    for (const ControllerId partner : amfs.conditions.partners)
        info.partners.push_back(controller_name(partner));
    for (std::uint8_t slot = 0; slot < config.controllers.size(); ++slot) {
        if (config.sharing.partners[slot].any())
            info.named_partners.emplace_back(config.controllers[slot],
                                             config.partners_of(ControllerSlot(slot)));
    }
    for (const std::string& name : config.controllers) {
        if (!name.empty()) info.controllers.push_back(name);
    }
    for (std::size_t i = 0; i < config.members.size(); ++i) {
        const Disk* disk = tables.disk(MemberIndex(static_cast<std::uint8_t>(i)));
        info.members.push_back(condition_of(tables.state().members[i].state, disk != nullptr));
        info.disks.push_back(disk == nullptr ? std::string{} : disk->name());
    }
    for (const WrongPlace& place : amfs.conditions.wrong_places) {
        info.wrong_blocks.push_back({info.disk_name(place.member.v), place.offset, place.stripe.v});
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
            info.host = member->location.host;
            info.site = member->location.site;
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
                info.read_bytes = counters.read_bytes();
                info.written_bytes = counters.written_bytes();
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
