// Changes of the tables: each is one page (deleting a virtual disk is several, each of them harmless alone),
// decided and written under the tables lock, and visible in memory only after every AMF of the view has it.
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {

Task<Result<Tables::Turn>> Tables::begin_change() {
    co_await turn_.take();
    Turn turn(turn_);
    Result<LockPin> pin = co_await locks_->acquire(kTablesUnit, LockMode::write);
    if (!pin) co_return fail(offline() ? Errc::offline : pin.error().code);
    turn.pin = std::move(*pin);
    while (!settled()) co_await changed_.next();
    if (offline()) co_return fail(Errc::offline);
    if (verify_before_change_) CO_TRY(co_await verify_pages());
    co_return std::move(turn);
}

/// Members that failed a write on the way are declared failed while the lock is still held.
Task<Status> Tables::end_change() {
    while (true) {
        GroupState state = state_;
        MemberMask fresh;
        for (const std::uint8_t member : write_errors_) {
            MemberStatus& status = state.members[member];
            if (!serves(status.state)) continue;
            status = {MemberState::failed, view_.epoch, status.errors + 1};
            fresh.set(member);
        }
        if (fresh.none()) break;
        if (!survives(fresh) || (co_await reached_by_others_alone(fresh & ~certainly_failed_)).any()) {
            go_offline();
            co_return fail(Errc::offline);
        }
        place_rings(state);
        const auto failed = std::ranges::count(state.members, MemberState::failed, &MemberStatus::state);
        CO_TRY(co_await commit(kStatePage, std::move(state)));
        LOG_WARN("group.member_failed", {"group", config_.name}, {"failed", static_cast<int>(failed)},
                 {"epoch", view_.epoch});
        CO_TRY(co_await note_return_points(fresh));
    }
    write_errors_.clear();
    certainly_failed_.reset();
    co_return Status{};
}

Task<void> Tables::settle_pages() {
    if (!verify_before_change_) co_return;
    const Result<Turn> turn = co_await begin_change();
    if (turn) (void)co_await end_change();
}

Task<Status> Tables::commit_page(PageNumber page, Buffer bytes) {
    CO_TRY(co_await store_page(page, bytes));
    co_await agree(page, std::move(bytes));
    if (listener_) listener_();
    co_return Status{};
}

// ---- zones

Task<Status> Tables::zero_segments(Zone zone) {
    const Geometry geometry = config_.geometry_of(zone.shape);
    std::vector<DiskOp> ops(zone.width);
    Join join(executor_);
    for (const DiskVerb verb : {DiskVerb::zero, DiskVerb::flush}) {
        for (std::size_t i = 0; i < zone.width; ++i) {
            const Segment& segment = zone.segments[i];
            if (!member_ok(segment.member) || write_errors_.contains(segment.member.v)) continue;
            ops[i].verb = verb;
            ops[i].offset = config_.data_start + segment.index.v * kSegmentUnit;
            ops[i].zero_length = geometry.segment_size();
            disks_[segment.member.v]->submit(ops[i], join);
        }
        co_await join;
        for (std::size_t i = 0; i < zone.width; ++i) {
            if (!ops[i].status) write_errors_.insert(zone.segments[i].member.v);
        }
    }
    co_return Status{};
}

Task<Result<const Zone*>> Tables::allocate_zone(ExtentIndex extent) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (const Zone* present = zone(extent)) co_return present;
    MemberMask usable, reserve;
    const MemberMask never =
        in_state(MemberState::leaving) | in_state(MemberState::gone) | in_state(MemberState::dismissed);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        const bool there = member_ok(MemberIndex(static_cast<std::uint8_t>(i)));
        if (!never[i]) (there ? usable : reserve).set(i);
    }
    Promise others = promise();
    others.zones -= std::min(others.zones, 1u);
    const ZoneSize size = geometry_of(extent).zone_size();
    Result<Zone> place = allocator_->allocate(size, extent, usable, reserve, others);
    // Taken for good when the page is applied, here as everywhere.
    if (place) allocator_->release(*place, size.units);
    if (!place || missing_of(*place) > shape_of(extent).m) {
        LOG_WARN("group.no_space", {"group", config_.name}, {"extent", extent});
        co_return fail(Errc::no_space);
    }
    place->shape = shape_of(extent);
    place->generation = zones_[extent.v].generation + 1;
    CO_TRY(co_await zero_segments(*place));
    CO_TRY(co_await end_change());  // a segment that could not be zeroed is a failed member's, or there is no
                                    // zone

    CO_TRY(co_await commit_zone(extent, *place));
    CO_TRY(co_await end_change());
    co_return zone(extent);
}

Task<Status> Tables::commit_zone(ExtentIndex extent, Zone zone) {
    MapPage content = map_content(map_page(extent));
    content.zones[map_entry(extent)] = zone;
    co_return co_await commit(map_page(extent), std::move(content));
}

Task<Status> Tables::free_zones(VolumeRecord volume) {
    const std::uint32_t end = volume.first_extent.v + volume.extents;
    for (std::uint32_t extent = volume.first_extent.v; extent < end;) {
        const std::uint32_t first = extent - map_entry(ExtentIndex(extent));
        const std::uint32_t count = std::min<std::uint32_t>(kZonesPerPage, config_.extents - first);
        MapPage content = map_content(map_page(ExtentIndex(extent)));
        bool changed = false;
        for (std::uint32_t i = 0; i < count; ++i) {
            if (first + i < extent || first + i >= end || !content.zones[i].allocated()) continue;
            content.zones[i] = zones_[first + i].emptied();
            changed = true;
        }
        if (changed) CO_TRY(co_await commit(map_page(ExtentIndex(extent)), std::move(content)));
        extent = first + kZonesPerPage;
    }
    co_return Status{};
}

/// Two pages, because a page that its writer did not live to tell of may be found when all have gone, after
/// others have written to the zone for a long time: then it must not say more than that somebody was about to
/// (decisions/019). When the second page is written everybody knows the first one.
Task<Status> Tables::release_zone(ExtentIndex extent, std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (zone(extent) == nullptr) co_return Status{};
    if (!still()) co_return fail(Errc::fenced);
    Zone next = zones_[extent.v];
    next.state = ZoneState::emptying;
    CO_TRY(co_await commit_zone(extent, next));
    if (!still()) co_return fail(Errc::fenced);
    CO_TRY(co_await commit_zone(extent, zones_[extent.v].emptied()));
    co_return co_await end_change();
}

Task<Status> Tables::keep_zone(ExtentIndex extent) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (!emptying(extent)) co_return Status{};
    Zone next = zones_[extent.v];
    next.state = ZoneState::allocated;
    next.successor = {};
    LOG_INFO("zone.kept", {"group", config_.name}, {"extent", extent});
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

// ---- what is lost

bool Tables::quarantined(StripeIndex stripe, std::uint32_t generation) const {
    const Zone& zone = zones_[geometry().extent_of(stripe).v];
    return zone.quarantine.any() && zone.generation == generation &&
           zone.quarantine.contains(geometry().row_of(stripe));
}

std::size_t Tables::quarantined_stripes() const {
    std::size_t out = 0;
    for (const Zone& zone : zones_) out += zone.quarantine.rows();
    return out;
}

Task<Status> Tables::quarantine(StripeIndex stripe, std::uint32_t generation) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const ExtentIndex extent = geometry().extent_of(stripe);
    if (extent.v >= zones_.size() || !zones_[extent.v].allocated() || !geometry_of(extent).has(stripe) ||
        zones_[extent.v].generation != generation || quarantined(stripe, generation)) {
        co_return Status{};
    }
    Zone next = zones_[extent.v];
    next.quarantine.add(geometry().row_of(stripe));
    LOG_ERROR("stripe.quarantined", {"group", config_.name}, {"stripe", stripe});
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

// ---- how it is shared

Task<Status> Tables::set(GroupChange change) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupConfig config = config_;
    config.sharing = change.sharing.applied_to(config_.sharing);
    config.wanted = change.wanted.value_or(config_.wanted);
    if (!config.sharing.complaint(config.controllers.size(), config.geometry.strip_size).empty())
        co_return fail(Errc::invalid);
    config.spares = change.spares.value_or(config_.spares);
    if (config.spares > config_.spares && !can_spare(config.spares, config.wanted))
        co_return fail(Errc::no_space);
    if (const Obstacle obstacle = why_not(config.wanted, {}, config.spares); obstacle != Obstacle::none)
        co_return fail(obstacle == Obstacle::no_room ? Errc::no_space : Errc::invalid);
    bool raised = false;
    if (config != config_) {
        LOG_INFO("group.set", {"group", config_.name}, {"lock_order", to_string(config.sharing.lock_order)},
                 {"min_hold_us", config.sharing.min_hold / 1us},
                 {"prefetch", unsigned{config.sharing.prefetch}},
                 {"replication", to_string(config.sharing.replication)},
                 {"few_partners", to_string(config.sharing.few_partners)},
                 {"level", to_string(config.wanted.level)}, {"data", unsigned{config.wanted.k}},
                 {"parity", unsigned{config.wanted.m}}, {"spares", unsigned{config.spares}});
        raised = config.spares > config_.spares;
        CO_TRY(co_await commit(kConfigPage, std::move(config)));
    }
    // Also if somebody set it who died before this.
    if (change.spares && !raised) CO_TRY(co_await grow());
    GroupState state = state_;
    if (change.wanted) place_rings(state);  // a ring is on as many members as may be left
    if (change.scrub_every) state.schedule.every = *change.scrub_every;
    if (state.schedule.every == 0) state.schedule = {};
    if (state != state_) CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

// ---- virtual disks

std::optional<Tables::VolumePlace> Tables::find_volume(VolumeId id) const {
    for (std::uint32_t page = 0; page < volume_pages_.size(); ++page) {
        const auto& records = volume_pages_[page].records;
        for (std::size_t i = 0; i < records.size(); ++i) {
            if (records[i].state != VolumeState::free && records[i].id == id) {
                return VolumePlace{PageNumber(kFirstVolumePage.v + page), i};
            }
        }
    }
    return std::nullopt;
}

const VolumeRecord* Tables::volume(VolumeId id) const {
    const auto place = find_volume(id);
    return place ? &volume_pages_[place->page.v - kFirstVolumePage.v].records[place->record] : nullptr;
}

Task<Status> Tables::put_volume(VolumePlace place, VolumeRecord record) {
    VolumesPage content = volume_pages_[place.page.v - kFirstVolumePage.v];
    content.records[place.record] = std::move(record);
    co_return co_await commit(place.page, std::move(content));
}

/// First fit between the virtual disks that are there.
Result<ExtentIndex> Tables::find_space(std::uint32_t extents) const {
    std::vector<VolumeRecord> present = volumes();
    std::sort(present.begin(), present.end(),
              [](const VolumeRecord& a, const VolumeRecord& b) { return a.first_extent < b.first_extent; });
    std::uint32_t at = 0;
    for (const VolumeRecord& volume : present) {
        if (volume.first_extent.v - at >= extents) return ExtentIndex(at);
        at = volume.first_extent.v + volume.extents;
    }
    if (config_.extents - at >= extents) return ExtentIndex(at);
    return fail(Errc::no_space);
}

Task<Result<VolumeRecord>> Tables::create_volume(std::string name, std::uint64_t size) {
    if (!valid_name(name) || size == 0 || size % 512 != 0) co_return fail(Errc::invalid);
    CO_TRY_LET(const Turn turn, co_await begin_change());
    std::uint32_t highest = 0;
    for (const VolumeRecord& volume : volumes()) {
        if (volume.name == name) co_return fail(Errc::exists);
        highest = std::max(highest, volume.id.v);
    }
    const std::uint64_t extents = (size + kExtentSize - 1) / kExtentSize;
    if (extents + reserved_extents() > usable_extents()) co_return fail(Errc::no_space);
    // Segments that are still to move, or have moved, may be in the way of what the members hold.
    if (extents + promised_zones() > allocator_->room(largest_zone(), counted_members()))
        co_return fail(Errc::no_space);
    CO_TRY_LET(const ExtentIndex first, find_space(static_cast<std::uint32_t>(extents)));
    VolumeRecord record;
    record.state = VolumeState::ok;
    record.id = VolumeId(highest + 1);
    record.name = std::move(name);
    record.first_extent = first;
    record.extents = static_cast<std::uint32_t>(extents);
    record.size = size;
    for (std::uint32_t page = 0; page < volume_pages_.size(); ++page) {
        const auto& records = volume_pages_[page].records;
        for (std::size_t i = 0; i < records.size(); ++i) {
            if (records[i].state != VolumeState::free) continue;
            const VolumePlace place{PageNumber(kFirstVolumePage.v + page), i};
            CO_TRY(co_await put_volume(place, record));
            CO_TRY(co_await end_change());
            co_return record;
        }
    }
    co_return fail(Errc::no_space);
}

Task<Status> Tables::delete_volume(VolumeId id) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const auto place = find_volume(id);
    if (!place) co_return fail(Errc::not_found);
    VolumeRecord record = volume_pages_[place->page.v - kFirstVolumePage.v].records[place->record];
    if (record.ports != 0 || record.closing != 0) co_return fail(Errc::busy);
    record.state = VolumeState::deleting;
    CO_TRY(co_await put_volume(*place, record));
    CO_TRY(co_await free_zones(record));
    CO_TRY(co_await put_volume(*place, VolumeRecord{}));
    co_return co_await end_change();
}

// ---- ports

namespace {

std::uint32_t bit_of(ControllerSlot slot) { return 1u << slot.v; }

Status open_port(VolumeRecord& record, ControllerSlot slot) {
    if (record.state != VolumeState::ok) return fail(Errc::not_found);
    if (record.closes_port(slot)) return fail(Errc::busy);
    if (record.has_port(slot)) return fail(Errc::exists);
    record.ports |= bit_of(slot);
    return {};
}

}  // namespace

/// `change` is made to a copy of the record, which is put if it says so.
Task<Status> Tables::change_ports(VolumeId id, std::function<Status(VolumeRecord&)> change) {
    const auto place = find_volume(id);
    if (!place) co_return fail(Errc::not_found);
    VolumeRecord record = *volume(id);
    CO_TRY(change(record));
    if (record == *volume(id)) co_return Status{};
    CO_TRY(co_await put_volume(*place, std::move(record)));
    co_return co_await end_change();
}

Task<Status> Tables::add_port(VolumeId id, ControllerSlot slot) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    co_return co_await change_ports(id, [slot](VolumeRecord& record) { return open_port(record, slot); });
}

Task<Status> Tables::add_outside_port(VolumeId id, std::string controller) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (!find_volume(id)) co_return fail(Errc::not_found);
    CO_TRY_LET(const ControllerSlot slot, co_await give_outside_slot(std::move(controller)));
    co_return co_await change_ports(id, [slot](VolumeRecord& record) { return open_port(record, slot); });
}

/// The one it has, or the first that nobody needs. A slot without a port does no harm.
Task<Result<ControllerSlot>> Tables::give_outside_slot(std::string controller) {
    if (const auto present = config_.slot_of(controller)) co_return *present;
    std::uint32_t used = 0;
    for (const VolumeRecord& volume : volumes()) used |= volume.ports;
    std::size_t place = 0;
    while (place < config_.outside.size() && (used & bit_of(outside_slot(place))) != 0) ++place;
    if (place == kMaxOutside) co_return fail(Errc::no_space);
    GroupConfig config = config_;
    config.outside.resize(std::max(config.outside.size(), place + 1));
    config.outside[place] = std::move(controller);
    CO_TRY(co_await commit(kConfigPage, std::move(config)));
    co_return outside_slot(place);
}

Task<Status> Tables::close_port(VolumeId id, ControllerSlot slot) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    co_return co_await change_ports(id, [slot](VolumeRecord& record) -> Status {
        if (!record.has_port(slot)) return fail(Errc::not_found);
        record.closing |= bit_of(slot);
        return {};
    });
}

Task<Status> Tables::remove_port(VolumeId id, ControllerSlot slot, std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (still && !still()) co_return fail(Errc::cancelled);
    co_return co_await change_ports(id, [slot](VolumeRecord& record) -> Status {
        if (!record.has_port(slot)) return fail(Errc::not_found);
        record.ports &= ~bit_of(slot);
        record.closing &= ~bit_of(slot);
        return {};
    });
}

}  // namespace braid
