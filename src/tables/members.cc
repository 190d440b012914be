// Which disks are members: they come, fail, leave. A disk that comes has a superblock and all pages before it
// counts, and counts only if all AMFs of the view have opened it: each acknowledges the configuration that
// names it when it has tried to, and says which members it has.
//
//   configuration names the disk (its place is `gone`) -> all have it -> the pages are copied to it -> ok
#include <algorithm>

#include "base/log.h"
#include "ondisk/space.h"
#include "tables/assembly.h"
#include "tables/tables.h"

namespace braid {

// ---- members that come

/// The configuration has changed. The disk of a place that another one has by now is not ours to use.
Status Tables::take_members(const GroupConfig& before) {
    const auto& members = config_.members;
    if (members.size() < disks_.size()) return fail(Errc::corrupt);
    disks_.resize(members.size());
    disk_ids_.resize(members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (disk_ids_[i] != members[i].disk) disks_[i] = nullptr;
    }
    if (!allocator_) {
        std::vector<std::uint32_t> units;
        for (const MemberRecord& member : members) units.push_back(member.units);
        allocator_.emplace(units);
        return {};
    }
    state_.members.resize(members.size(), MemberStatus{MemberState::gone, Epoch(0), 0});
    for (std::size_t i = 0; i < members.size(); ++i) {
        const bool same = i < before.members.size() && before.members[i].units == members[i].units;
        if (!same) allocator_->put_member(MemberIndex(static_cast<std::uint8_t>(i)), members[i].units);
    }
    return {};
}

/// Those that have come since we looked; nothing before there is a configuration.
Task<void> Tables::open_members() {
    while (opening_members_) co_await changed_.next();
    opening_members_ = true;
    for (std::uint8_t i = 0; i < config_.members.size(); ++i) {
        const Uuid id = config_.members[i].disk;
        if (disk_ids_[i] == id) continue;
        Disk* disk = open_member_ ? co_await open_member_(MemberIndex(i), id) : nullptr;
        LOG_INFO("tables.member_opened", {"group", config_.name}, {"member", i},
                 {"disk", disk != nullptr ? std::string_view(disk->name()) : "not reached"});
        disks_[i] = disk;
        disk_ids_[i] = id;
        recount();
    }
    opening_members_ = false;
    changed_.notify_all();
}

/// A member serves that did not, and we do not reach it: the others work with it.
bool Tables::comes_without_us(const GroupState& before) const {
    for (std::size_t i = 0; i < state_.members.size(); ++i) {
        const bool came = serves(state_.members[i].state) && !serves(before.members[i].state);
        if (came && disks_[i] == nullptr) return true;
    }
    return false;
}

/// Who has not loaded the tables says nothing against any: it serves only if it reaches all when it has.
MemberMask Tables::reached_members() const {
    if (!loaded_) return ~MemberMask();
    MemberMask out;
    for (std::size_t i = 0; i < disks_.size(); ++i) out[i] = disks_[i] != nullptr;
    return out;
}

Result<MemberIndex> Tables::place_for_member() const {
    const auto free = std::ranges::find(state_.members, MemberState::gone, &MemberStatus::state);
    const auto place = static_cast<std::size_t>(free - state_.members.begin());
    if (place == kMaxMembers) return fail(Errc::no_space);
    return MemberIndex(static_cast<std::uint8_t>(place));
}

Task<Result<MemberIndex>> Tables::admit(Disk& disk, Uuid id) {
    CO_TRY(co_await clear_tables(executor_, disk, config_.data_start));
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY_LET(const MemberIndex member, place_for_member());
    const std::uint32_t units = units_on(disk.size(), config_.data_start);
    if (units < largest_zone().units) co_return fail(Errc::invalid);
    GroupConfig config = config_;
    config.members.resize(std::max(config.members.size(), member.v + std::size_t{1}));
    config.members[member.v] = {id, units};
    const Superblock superblock =
        superblock_of(config, group_, table_start_, member, disk.size(), sequences_[kConfigPage.v] + 1);
    CO_TRY(co_await write_superblock(executor_, disk, superblock));
    CO_TRY(co_await name_member(member, std::move(config)));
    GroupState state = state_;
    state.members[member.v] = {MemberState::ok, view_.epoch, 0};
    place_rings(state);
    CO_TRY(co_await copy_pages(*disks_[member.v], state));
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    LOG_INFO("group.member_added", {"group", config_.name}, {"member", member}, {"disk", disk.name()});
    CO_TRY(co_await end_change());
    co_return member;
}

/// All of the view have the configuration that names its disk, and have opened that.
Task<Status> Tables::name_member(MemberIndex member, GroupConfig config) {
    Epoch epoch;
    do {
        epoch = view_.epoch;
        CO_TRY(co_await commit(kConfigPage, config));
    } while (view_.epoch != epoch);
    for (const auto& [peer, ack] : acked_) {
        if (!ack.reached[member.v]) co_return fail(Errc::not_ready, peer);
    }
    if (disks_[member.v] == nullptr) co_return fail(Errc::not_ready, view_.self.v);
    co_return Status{};
}

/// All that are shared, the next state among them; so the disk has everything before it is asked for it.
Task<Status> Tables::copy_pages(Disk& disk, const GroupState& state) {
    for (std::uint32_t number = 0; number < page_count(); ++number) {
        const PageNumber page(number);
        if (!is_shared(page) || sequences_[number] == 0) continue;
        const std::uint64_t sequence = sequences_[number] + (page == kStatePage ? 1 : 0);
        Buffer bytes = encode_page(page, sequence);
        if (page == kStatePage)
            write_page(PageBytes(bytes.span()), state,
                       PageHeader{page, group_, sequence, view_.epoch, slot_});
        const std::uint64_t at = slot_offset(table_start_, page, slot_of(sequence));
        CO_TRY(co_await write(executor_, disk, at, bytes.span()));
    }
    co_return co_await run(executor_, disk, DiskVerb::flush, 0, {});
}

// ---- room

std::uint32_t Tables::usable_extents() const {
    return std::min(config_.extents, zones_on(counted_members(), largest_zone().width, config_.spares));
}

std::uint32_t Tables::extents_if_expanded() const {
    const std::uint32_t zones = zones_on(counted_members(), largest_zone().width, config_.spares);
    return std::max(config_.extents, std::min(zones, config_.most_extents()));
}

std::uint32_t Tables::zones_on(MemberMask members, unsigned width, unsigned spares) const {
    return capacity(members, {static_cast<std::uint8_t>(width), largest_zone().units}, spares);
}

std::uint32_t Tables::capacity(MemberMask members, ZoneSize size, unsigned spares) const {
    std::vector<std::uint32_t> segments;
    for (std::size_t i = 0; i < config_.members.size(); ++i) {
        if (members[i]) segments.push_back(config_.members[i].units / size.units);
    }
    return zone_capacity(segments, size.width, spares);
}

unsigned Tables::spares_left() const {
    const MemberMask there = in_state(MemberState::ok) & ~gone();
    unsigned left = config_.spares;
    while (left != 0 && !keeps(there, left)) --left;
    return left;
}

Task<Status> Tables::set_spares(std::uint8_t spares) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (spares == config_.spares) co_return Status{};
    CO_TRY(can_spare(spares));
    GroupConfig config = config_;
    config.spares = spares;
    LOG_INFO("group.spares", {"group", config.name}, {"spares", unsigned{spares}});
    CO_TRY(co_await commit(kConfigPage, std::move(config)));
    CO_TRY(co_await grow());
    co_return co_await end_change();
}

Status Tables::can_spare(unsigned spares) const {
    return spares == 0 || keeps(counted_members(), spares) ? Status{} : fail(Errc::no_space);
}

/// All that virtual disks may need finds room on these members, whichever `spares` of them are away.
bool Tables::keeps(MemberMask members, unsigned spares) const {
    const unsigned width = largest_zone().width;
    return members.count() >= std::size_t{width} + spares &&
           zones_on(members, width, spares) >= reserved_extents();
}

/// What virtual disks can have is on these. One that has failed counts until it is dismissed.
MemberMask Tables::counted_members() const {
    return in_state(MemberState::ok) | in_state(MemberState::failed);
}

Task<Status> Tables::expand() {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupState state = state_;
    state.balancing = true;
    if (extents_if_expanded() == config_.extents && state_.balancing) co_return fail(Errc::exists);
    CO_TRY(co_await grow());
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

/// To what virtual disks can have. Nobody can have a lock of the extents that come: no virtual disk has them.
/// So they get the shape that all are to have at once.
Task<Status> Tables::grow() {
    const std::uint32_t before = config_.extents;
    GroupConfig config = config_;
    config.extents = extents_if_expanded();
    if (config.extents == before) co_return Status{};
    LOG_INFO("group.expand", {"group", config_.name}, {"extents", config.extents}, {"before", before});
    CO_TRY(co_await commit(kConfigPage, std::move(config)));
    for (std::uint32_t extent = before; config_.wanted != geometry().shape() && extent < config_.extents;) {
        const PageNumber page = map_page(ExtentIndex(extent));
        MapPage content = map_content(page);
        for (; extent < config_.extents && map_page(ExtentIndex(extent)) == page; ++extent)
            content.zones[map_entry(ExtentIndex(extent))].shape = config_.wanted;
        CO_TRY(co_await commit(page, std::move(content)));
    }
    co_return Status{};
}

Task<Status> Tables::end_balancing() {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const auto uneven = [this](const Zone& zone) { return zone.allocated() && position_to_balance(zone); };
    if (!state_.balancing || open_moves_ != 0 || std::ranges::any_of(zones_, uneven)) co_return Status{};
    GroupState state = state_;
    state.balancing = false;
    LOG_INFO("group.balanced", {"group", config_.name});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

// ---- members that fail

Task<Status> Tables::fail_member(MemberIndex member, bool certain) {
    if (member.v >= disks_.size()) co_return fail(Errc::not_found);
    if (offline()) co_return fail(Errc::offline);
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (!serves(state_.members[member.v].state)) co_return Status{};
    write_errors_.insert(member.v);
    certainly_failed_[member.v] = certain;
    co_return co_await end_change();
}

Task<Status> Tables::dismiss_member(MemberIndex member) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (member.v >= disks_.size()) co_return fail(Errc::not_found);
    if (state_.members[member.v].state != MemberState::failed) co_return fail(Errc::busy);
    GroupState state = state_;
    state.members[member.v].state = MemberState::dismissed;
    state.members[member.v].changed = view_.epoch;
    std::erase_if(state.returns, [member](const ReturnPoint& point) { return point.member == member; });
    LOG_INFO("group.member_dismissed", {"group", config_.name}, {"member", member});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

// ---- members that leave

bool Tables::leaves_empty(MemberIndex member) const {
    const MemberState state = state_.members[member.v].state;
    return (state == MemberState::leaving || state == MemberState::dismissed) &&
           allocator_->used_units(member) == 0 &&
           std::ranges::none_of(state_.journals,
                                [member](const JournalState& ring) { return ring.members[member.v]; });
}

Status Tables::may_leave(MemberIndex member) const {
    if (member.v >= disks_.size()) return fail(Errc::not_found);
    if (!member_ok(member) || state_.members[member.v].state != MemberState::ok) return fail(Errc::busy);
    MemberMask away = gone() | in_state(MemberState::leaving);
    away.set(member.v);
    const std::uint64_t needed = allocated_extents_ + std::uint64_t{promised_zones()};
    const std::size_t stay = config_.members.size() - away.count();
    const unsigned spares = spares_left();
    if (zones_on(~away, largest_zone().width, spares) < needed || stay < largest_zone().width + spares ||
        !serves_without(away))
        return fail(Errc::would_lose_data);
    return {};
}

Task<Status> Tables::begin_leave(MemberIndex member) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY(may_leave(member));
    GroupState state = state_;
    state.members[member.v].state = MemberState::leaving;
    state.members[member.v].changed = view_.epoch;
    place_rings(state);
    LOG_INFO("group.member_leaves", {"group", config_.name}, {"member", member});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

Task<Status> Tables::end_leaves() {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupState state = state_;
    for (std::uint8_t i = 0; i < state.members.size(); ++i) {
        if (!leaves_empty(MemberIndex(i))) continue;
        if (serves(state.members[i].state) && !survives(MemberMask().set(i))) continue;
        state.members[i].state = MemberState::gone;
        state.members[i].changed = view_.epoch;
        LOG_INFO("group.member_gone", {"group", config_.name}, {"member", i});
        CO_TRY(co_await commit(kStatePage, state));
    }
    co_return co_await end_change();
}

}  // namespace braid
