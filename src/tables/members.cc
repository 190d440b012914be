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

Result<std::vector<MemberIndex>> Tables::places_for(std::size_t disks) const {
    std::vector<MemberIndex> out;
    for (std::size_t i = 0; i < kMaxMembers && out.size() < disks; ++i) {
        const bool free = i >= state_.members.size() || state_.members[i].state == MemberState::gone;
        if (free) out.emplace_back(static_cast<std::uint8_t>(i));
    }
    if (out.size() < disks) return fail(Errc::no_space);
    return out;
}

Task<Result<std::vector<MemberIndex>>> Tables::admit(std::vector<Newcomer> disks,
                                                     std::optional<MemberIndex> instead) {
    for (const Newcomer& each : disks)
        CO_TRY(co_await clear_tables(executor_, *each.disk, config_.data_start));
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY_LET(const std::vector<MemberIndex> places, places_for(disks.size()));
    GroupConfig config = config_;
    Units units;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        units.push_back(units_on(disks[i].disk->size(), config.data_start));
        if (units.back() < largest_zone().units) co_return fail(Errc::invalid);
        config.members.resize(std::max(config.members.size(), places[i].v + std::size_t{1}));
        config.members[places[i].v] = {disks[i].id, units.back()};
    }
    if (instead) CO_TRY(without(*instead, units));
    for (std::size_t i = 0; i < disks.size(); ++i) {
        Disk& disk = *disks[i].disk;
        const Superblock superblock = superblock_of(config, group_, table_start_, places[i], disk.size(),
                                                    sequences_[kConfigPage.v] + 1);
        CO_TRY(co_await write_superblock(executor_, disk, superblock));
    }
    CO_TRY(co_await name_members(places, std::move(config)));
    GroupState state = state_;
    if (instead) {
        CO_TRY_LET(state, without(*instead, units));
    }
    for (const MemberIndex place : places) state.members[place.v] = {MemberState::ok, view_.epoch, 0};
    place_rings(state);
    CO_TRY(co_await commit_members(places, std::move(state)));
    for (std::size_t i = 0; i < disks.size(); ++i) {
        LOG_INFO("group.member_added", {"group", config_.name}, {"member", places[i]},
                 {"disk", disks[i].disk->name()});
    }
    CO_TRY(co_await end_change());
    co_return places;
}

/// All of the view have the configuration that names their disks, and have opened these.
Task<Status> Tables::name_members(std::vector<MemberIndex> members, GroupConfig config) {
    Epoch epoch;
    do {
        epoch = view_.epoch;
        CO_TRY(co_await commit(kConfigPage, config));
    } while (view_.epoch != epoch);
    for (const MemberIndex member : members) {
        for (const auto& [peer, ack] : acked_) {
            if (!ack.reached[member.v]) co_return fail(Errc::not_ready, peer);
        }
        if (disks_[member.v] == nullptr) co_return fail(Errc::not_ready, view_.self.v);
    }
    co_return Status{};
}

/// The shared ones of [first, end), as all have them, so that the disk has everything before it is asked for
/// it. Nothing that is still to be decided: if this controller dies now others decide, and give what they
/// decide the same number.
Task<Status> Tables::copy_pages(Disk& disk, PageNumber first, std::uint32_t end) {
    for (std::uint32_t number = first.v; number < end; ++number) {
        const PageNumber page(number);
        const std::uint64_t sequence = sequences_[number];
        if (!is_shared(page) || sequence == 0) continue;
        const Buffer bytes = encode_page(page, sequence);
        CO_TRY(co_await write(executor_, disk, slot_offset(table_start_, page, slot_of(sequence)),
                              bytes.span()));
    }
    co_return co_await run(executor_, disk, DiskVerb::flush, 0, {});
}

/// They count from here on, and have it, too.
Task<Status> Tables::commit_members(std::vector<MemberIndex> members, GroupState state) {
    for (const MemberIndex member : members)
        CO_TRY(co_await copy_pages(*disks_[member.v], kConfigPage, page_count()));
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    for (const MemberIndex member : members) {
        if (!co_await copy_pages(*disks_[member.v], kStatePage, kStatePage.v + 1))
            write_errors_.insert(member.v);
    }
    co_return Status{};
}

// ---- room

std::uint32_t Tables::usable_extents() const {
    return std::min(config_.extents, zones_on(counted_members(), largest_zone().width, config_.spares));
}

std::uint32_t Tables::extents_if_expanded(StripeShape wanted, const Units& coming) const {
    const Prospect then = prospect(wanted, coming);
    const std::uint32_t zones = then.zones_on(counted_members() | then.coming, then.zone);
    return std::max(config_.extents, std::min(zones, config_.most_extents()));
}

static std::uint32_t zones_of(const GroupConfig& config, MemberMask members, ZoneSize size, unsigned spares) {
    std::vector<std::uint32_t> segments;
    for (std::size_t i = 0; i < config.members.size(); ++i) {
        if (members[i]) segments.push_back(config.members[i].units / size.units);
    }
    return zone_capacity(segments, size.width, spares);
}

std::uint32_t Tables::zones_on(MemberMask members, unsigned width, unsigned spares) const {
    return zones_of(config_, members, {width, largest_zone().units}, spares);
}

std::uint32_t Prospect::zones_on(MemberMask members, ZoneSize size) const {
    return zones_of(config, members, size, config.spares);
}

unsigned Tables::spares_left() const {
    const MemberMask there = in_state(MemberState::ok) & ~gone();
    const unsigned width = largest_zone().width;
    const auto kept = [&](unsigned spares) {
        return there.count() >= std::size_t{width} + spares &&
               zones_on(there, width, spares) >= reserved_extents();
    };
    unsigned left = config_.spares;
    while (left != 0 && !kept(left)) --left;
    return left;
}

bool Tables::can_spare(unsigned spares, StripeShape wanted) const {
    Prospect then = prospect(wanted, {});
    then.config.spares = static_cast<std::uint8_t>(spares);
    const MemberMask counted = counted_members();
    return counted.count() >= std::size_t{then.zone.width} + spares &&
           then.zones_on(counted, then.zone) >= reserved_extents();
}

Prospect Tables::prospect(StripeShape wanted, const Units& coming) const {
    Prospect out{config_, *allocator_, {}, largest_zone()};
    out.config.wanted = wanted;
    if (wanted != config_.wanted) out.zone = out.config.zone_size();
    const auto places = places_for(coming.size());
    for (std::size_t i = 0; places && i < coming.size(); ++i) {
        const MemberIndex place = (*places)[i];
        out.config.members.resize(std::max(out.config.members.size(), place.v + std::size_t{1}));
        out.config.members[place.v].units = coming[i];
        out.allocator.put_member(place, coming[i]);
        out.coming.set(place.v);
    }
    return out;
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
    const bool later = segments_to_move(JobKind::rebuild) != 0;  // where that goes it may be uneven again
    if (!state_.balancing || later || open_moves_ != 0 || std::ranges::any_of(zones_, uneven))
        co_return Status{};
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

// ---- members that leave, or are dismissed

bool Tables::leaves_empty(MemberIndex member) const {
    const MemberState state = state_.members[member.v].state;
    return (state == MemberState::leaving || state == MemberState::dismissed) &&
           allocator_->used_units(member) == 0 &&
           std::ranges::none_of(state_.journals,
                                [member](const JournalState& ring) { return ring.members[member.v]; });
}

Obstacle Tables::why_stays(MemberIndex member, const Units& coming) const {
    if (member.v >= disks_.size() || state_.members[member.v].state != MemberState::ok)
        return Obstacle::not_ok;
    if (!member_ok(member)) return Obstacle::not_reached;
    MemberMask away = gone() | in_state(MemberState::leaving);
    away.set(member.v);
    Prospect then = prospect(config_.wanted, coming);
    then.config.spares = static_cast<std::uint8_t>(spares_left());  // of which a failure may have taken some
    const std::size_t stay = config_.members.size() - away.count() + coming.size();
    if (stay < std::size_t{then.zone.width} + then.config.spares) return Obstacle::few_members;
    const std::uint64_t needed = allocated_extents_ + std::uint64_t{promised_zones()};
    if (then.zones_on(~away | then.coming, then.zone) < needed) return Obstacle::no_room;
    return rings_are_on(~away) ? Obstacle::none : Obstacle::journal;
}

/// The state in which the member is on its way out.
Result<GroupState> Tables::without(MemberIndex member, const Units& coming) const {
    if (member.v >= disks_.size()) return fail(Errc::not_found);
    GroupState state = state_;
    MemberStatus& status = state.members[member.v];
    if (status.state == MemberState::failed) {
        status.state = MemberState::dismissed;
        std::erase_if(state.returns, [member](const ReturnPoint& point) { return point.member == member; });
    } else {
        if (why_stays(member, coming) != Obstacle::none) return fail(Errc::would_lose_data);
        status.state = MemberState::leaving;
    }
    status.changed = view_.epoch;
    return state;
}

Task<Status> Tables::take_out(MemberIndex member) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY_LET(GroupState state, without(member, {}));
    place_rings(state);
    LOG_INFO("group.member_leaves", {"group", config_.name}, {"member", member},
             {"state", to_string(state.members[member.v].state)});
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
