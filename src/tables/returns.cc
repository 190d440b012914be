// A failed member's own disk is taken back, and gets only what was written without it.
//
//   missed   what a region leaves an intent page with a part of its zone missing is noted in the map before.
//            So a missing segment lacks at most the regions that are noted, and those in intent pages.
//   shrunk   that holds for a disk which has all that it was given before it failed, not for an older state.
//            Each AMF that acknowledges that a member has failed, and so will note what leaves, tells the
//            newest of its pages by which regions have left until then. These are noted, too: a disk that has
//            them, or later ones, had been flushed with all that had been written in those regions.
//   the map  as the disk has it says which segments were whole on it.
//
//   config page: another id of the disk, so that no older state of it is taken for it -> all have opened it
//   -> map pages: what it has moves in place -> its tables are written anew -> state page: ok
//
// Whoever dies on the way leaves a failed member; moves in place without their target are given up.
#include <algorithm>
#include <bit>

#include "base/log.h"
#include "tables/assembly.h"
#include "tables/tables.h"

namespace braid {
namespace {

constexpr std::uint32_t kRegions = kExtentSize / kRegionSize;  ///< of an extent
constexpr std::uint16_t kAllRegions = 0xffff;
static_assert(kRegions == 16);

ExtentIndex extent_of(RegionIndex region) { return ExtentIndex(region.v / kRegions); }
std::uint16_t bit_of(RegionIndex region) { return static_cast<std::uint16_t>(1u << region.v % kRegions); }

std::optional<ZonePosition> position_on(const Zone& zone, MemberIndex member) {
    const auto parts = zone.parts();
    const auto at = std::ranges::find(parts, member, &Segment::member);
    if (at == parts.end()) return std::nullopt;
    return ZonePosition(static_cast<std::uint8_t>(at - parts.begin()));
}

}  // namespace

std::uint16_t regions_in(ExtentIndex extent, const std::set<RegionIndex>& regions) {
    unsigned out = 0;
    const auto end = regions.lower_bound(RegionIndex((extent.v + 1) * kRegions));
    for (auto at = regions.lower_bound(RegionIndex(extent.v * kRegions)); at != end; ++at) out |= bit_of(*at);
    return static_cast<std::uint16_t>(out);
}

// ---- what is noted

/// Nothing of its zone is missing, or it is noted.
bool Tables::may_forget(RegionIndex region) const {
    const Zone& zone = zones_[extent_of(region).v];
    if (!zone.allocated() || (zone.missed & bit_of(region)) != 0) return true;
    MemberMask missing = gone();
    for (const std::uint8_t member : write_errors_) missing.set(member);
    return positions_on(zone, missing) == 0;
}

/// Under the tables lock, and until members that failed a write are declared failed: a zone that is whole by
/// then notes nothing.
Task<Status> Tables::note_missed(std::vector<RegionIndex> regions) {
    std::map<PageNumber, MapPage> pages;
    for (const RegionIndex region : regions) {
        if (may_forget(region)) continue;
        const PageNumber page = map_page(extent_of(region));
        MapPage& content = pages.try_emplace(page, map_content(page)).first->second;
        content.zones[map_entry(extent_of(region))].missed |= bit_of(region);
    }
    for (auto& [page, content] : pages) CO_TRY(co_await commit(page, std::move(content)));
    co_return Status{};
}

/// All AMFs have just acknowledged that they have failed. Without one a disk is not taken back.
Task<Status> Tables::note_return_points(MemberMask members) {
    const auto acked = acked_;
    const AmfView view = view_;
    ReturnPoint point;
    for (std::uint8_t slot = 0; slot < config_.amf_slots(); ++slot) {
        const Result<SlotIntents> left = co_await intents_of(AmfSlot(slot));
        if (!left) co_return Status{};
        point.shrunk[slot] = left->shrunk;
        const auto ack = acked.find(left->owner.id.v);
        if (AmfSlot(slot) == slot_) {
            point.shrunk[slot] = shrunk_;
        } else if (ack != acked.end()) {
            point.shrunk[slot] = std::max(left->shrunk, ack->second.shrunk);
        } else if (view.contains(left->owner)) {
            co_return Status{};
        }
    }
    GroupState state = state_;
    for (std::uint8_t i = 0; i < state.members.size(); ++i) {
        if (!members[i]) continue;
        if (state.returns.size() == kMaxReturnPoints) state.returns.erase(state.returns.begin());
        point.member = MemberIndex(i);
        state.returns.push_back(point);
    }
    co_return co_await commit(kStatePage, std::move(state));
}

// ---- a disk that is back

/// As this disk alone has it.
Task<Tables::Pick> Tables::page_on(Disk& disk, PageNumber page) {
    const Buffer slots(2 * kPageSize);
    const Status read =
        co_await run(executor_, disk, DiskVerb::read, slot_offset(table_start_, page, 0), slots.span());
    if (!read) co_return std::nullopt;
    const std::span<const std::byte> bytes = slots.span();
    const PagePick pick = pick_slot(ConstPageBytes(bytes.first(kPageSize)),
                                    ConstPageBytes(bytes.subspan(kPageSize)), group_, page);
    if (!pick.found) co_return std::nullopt;
    co_return std::pair(pick.header, Buffer::copy_of(bytes.subspan(pick.slot * kPageSize, kPageSize)));
}

/// The map pages that change when the disk is taken back. A segment that was not whole on it is copied
/// whole; moves and successors that the member had a part in when it failed are given up. A zone has one
/// move: another disk that is back is brought up to date first.
Task<Result<Tables::MapPages>> Tables::zones_if_back(Disk& disk, Superblock superblock) {
    const MemberIndex member = superblock.member;
    const auto& members = config_.members;
    if (superblock.group != group_ || member.v >= members.size() ||
        members[member.v] != MemberRecord{superblock.disk, superblock.units} ||
        state_.members[member.v].state != MemberState::failed)
        co_return fail(Errc::not_found);
    MapPages out;
    bool has_segments = false;
    for (std::uint32_t i = 0; i < map_pages(); ++i) {
        const PageNumber page(kFirstMapPage.v + i);
        MapPage content = map_content(page);
        std::optional<MapPage> there;
        bool changed = false;
        for (std::size_t entry = 0; entry < content.zones.size(); ++entry) {
            Zone& zone = content.zones[entry];
            const auto position = position_on(zone, member);
            const bool target = zone.move && zone.move->target.member == member;
            const bool succeeds = std::ranges::any_of(
                zone.successor.segments, [member](const Segment& part) { return part.member == member; });
            if (!position && !target && !succeeds) continue;
            const bool another = zone.moves_in_place() && !target && member_ok(zone.move->target.member);
            if (another) co_return fail(Errc::busy, zone.move->target.member.v);
            changed = true;
            zone.move.reset();
            zone.successor = {};
            if (!position) continue;
            has_segments = true;
            if (!there) {
                const auto found = co_await page_on(disk, page);
                there = found ? MapPage::decode(ConstPageBytes(found->second.span())).value_or(MapPage{})
                              : MapPage{};
            }
            const Zone& was = there->zones[entry];
            const bool whole = was.allocated() && was.generation == zone.generation &&
                               was.segments[position->v] == zone.segments[position->v];
            const bool moved = was.moves_in_place() && was.move->position == *position;
            zone.missed |= !whole ? kAllRegions : moved ? was.missed : 0;
            zone.move = {*position, zone.segments[position->v], 0};
        }
        if (changed) out.emplace(page, std::move(content));
    }
    if (!has_segments) co_return out;
    const auto point = std::ranges::find(state_.returns, member, &ReturnPoint::member);
    if (point == state_.returns.end()) co_return fail(Errc::refused);
    for (std::uint8_t slot = 0; slot < config_.amf_slots(); ++slot) {
        const auto found = co_await page_on(disk, intent_page(AmfSlot(slot)));
        if ((found ? found->first.sequence : 0) < point->shrunk[slot]) co_return fail(Errc::refused);
    }
    co_return out;
}

Task<Result<Tables::Return>> Tables::may_return(Disk& disk, Superblock superblock) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY_LET(const MapPages pages, co_await zones_if_back(disk, superblock));
    CO_TRY_LET(const std::set<RegionIndex> intents, co_await all_intents());
    Return out{superblock.member};
    for (const auto& [page, content] : pages) {
        for (std::uint32_t i = 0; i < content.zones.size(); ++i) {
            const Zone& zone = content.zones[i];
            if (!zone.moves_in_place() || zone.move->target.member != out.member) continue;
            const ExtentIndex extent((page.v - kFirstMapPage.v) * kZonesPerPage + i);
            const unsigned missed = zone.missed | unsigned{regions_in(extent, intents)};
            out.regions += kRegions;
            out.missed += static_cast<std::uint32_t>(std::popcount(missed));
        }
    }
    co_return out;
}

/// So that the disk has them, should it fail again before they are written anew. Nobody else writes them
/// there before it is ok.
Task<Status> Tables::copy_intents(Disk& disk) {
    for (std::uint8_t slot = 0; slot < config_.amf_slots(); ++slot) {
        const PageNumber page = intent_page(AmfSlot(slot));
        std::vector<Pick> picks = co_await read_page(page, serving());
        const auto newest = std::ranges::max_element(
            picks, {}, [](const Pick& pick) { return pick ? pick->first.sequence : 0; });
        if (newest == picks.end() || !*newest) continue;
        const std::uint64_t at = slot_offset(table_start_, page, slot_of((*newest)->first.sequence));
        CO_TRY(co_await write(executor_, disk, at, (*newest)->second.span()));
    }
    co_return Status{};
}

Task<Result<MemberIndex>> Tables::take_back(Disk& disk, Superblock superblock, Uuid id) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    CO_TRY_LET(MapPages pages, co_await zones_if_back(disk, superblock));
    const MemberIndex member = superblock.member;
    GroupConfig config = config_;
    config.members[member.v].disk = id;
    const Superblock next = superblock_of(config, group_, table_start_, member, disk.size(),
                                          std::max(superblock.sequence, sequences_[kConfigPage.v]) + 1);
    CO_TRY(co_await write_superblock(executor_, disk, next));
    CO_TRY(co_await name_members({member}, std::move(config)));
    for (auto& [page, content] : pages) CO_TRY(co_await commit(page, std::move(content)));
    GroupState state = state_;
    state.members[member.v] = {MemberState::ok, view_.epoch, state.members[member.v].errors};
    std::erase_if(state.returns, [member](const ReturnPoint& point) { return point.member == member; });
    place_rings(state);
    CO_TRY(co_await clear_tables(executor_, disk, config_.data_start, table_start_));
    CO_TRY(co_await copy_intents(*disks_[member.v]));
    CO_TRY(co_await commit_members({member}, std::move(state)));
    LOG_INFO("group.member_back", {"group", config_.name}, {"member", member}, {"disk", disk.name()});
    CO_TRY(co_await end_change());
    co_return member;
}

/// Only under the lock, and only if nothing of them has to be copied.
Task<Result<std::uint32_t>> Tables::end_moves_in_place(PageNumber page, std::set<RegionIndex> intents,
                                                       std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (!still()) co_return fail(Errc::busy);
    MapPage content = map_content(page);
    std::uint32_t ended = 0;
    for (std::uint32_t i = 0; i < content.zones.size(); ++i) {
        Zone& zone = content.zones[i];
        const ExtentIndex extent((page.v - kFirstMapPage.v) * kZonesPerPage + i);
        if (!zone.moves_in_place() || !member_ok(zone.move->target.member)) continue;
        if (zone.missed != 0 || regions_in(extent, intents) != 0) continue;
        end_move(zone);
        ++ended;
    }
    if (ended != 0) CO_TRY(co_await commit(page, std::move(content)));
    CO_TRY(co_await end_change());
    co_return ended;
}

}  // namespace braid
