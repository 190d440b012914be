// Pages between memory and disks: which copy of a page is right, and bringing all members to it.
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {
namespace {

/// Another extent may get what the zone had and does not have any more.
bool gives_up_segments(const Zone& zone, const Zone& next) {
    const auto keeps = [&](const Segment& part) {
        return std::ranges::find(next.parts(), part) != next.parts().end() ||
               (next.move && next.move->target == part);
    };
    // What was copied to a successor that is not the zone now, and not to be, may be under way.
    const bool succeeds = next.successor == zone.successor ||
                          std::ranges::equal(next.parts(), std::span<const Segment>(zone.successor.segments));
    return !std::ranges::all_of(zone.parts(), keeps) || (zone.move && !keeps(zone.move->target)) ||
           (zone.successor && !succeeds);
}

}  // namespace

// ---- content

Status Tables::apply_config(ConstPageBytes bytes) {
    TRY_LET(GroupConfig config, GroupConfig::decode(bytes));
    const bool first = sequences_.empty();
    if (!first && !config_.may_become(config)) return fail(Errc::corrupt);
    const GroupConfig before = std::exchange(config_, std::move(config));
    TRY(take_members(before));
    locks_->obey(config_.sharing);
    sequences_.resize(page_count());
    zones_.resize(config_.extents, Zone{.shape = config_.geometry.shape()});
    regions_.resize(config_.extents * (kExtentSize / kRegionSize));
    if (first) {
        volume_pages_.assign(kVolumePages, VolumesPage{});
        state_.members.assign(disks_.size(), MemberStatus{});
    }
    recount();
    count_shapes();
    return {};
}

void Tables::apply_zones(std::uint32_t first, const MapPage& content) {
    const std::uint32_t count = std::min<std::uint32_t>(kZonesPerPage, config_.extents - first);
    for (std::uint32_t i = 0; i < count; ++i) {
        const ExtentIndex extent(first + i);
        const Zone& zone = zones_[extent.v];
        if (zone == content.zones[i] || !zone.allocated()) continue;
        if (gives_up_segments(zone, content.zones[i])) zone_uses_.await_those_of(extent);
        allocator_->release(zone, units_of(zone));
        if (zone.successor) allocator_->release(zone.succeeded(), units_of(zone.succeeded()));
        note_missing(zone, -1);
        open_moves_ -= zone.move ? 1 : 0;
        --allocated_extents_;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        const ExtentIndex extent(first + i);
        Zone& zone = zones_[extent.v];
        if (zone == content.zones[i]) continue;
        other_shapes_ -= zone.shape != config_.wanted ? 1 : 0;
        zone = content.zones[i];
        other_shapes_ += zone.shape != config_.wanted ? 1 : 0;
        if (!zone.allocated()) continue;
        Status taken = allocator_->take(zone, units_of(zone));
        if (taken && zone.successor) taken = allocator_->take(zone.succeeded(), units_of(zone.succeeded()));
        if (!taken) LOG_ERROR("tables.segment_taken_twice", {"extent", extent});
        ASSERT(taken.has_value());
        note_missing(zone, +1);
        open_moves_ += zone.move ? 1 : 0;
        ++allocated_extents_;
    }
    find_missing();
}

MapPage Tables::map_content(PageNumber page) const {
    MapPage content;
    const std::uint32_t first = (page.v - kFirstMapPage.v) * kZonesPerPage;
    const std::uint32_t count = std::min<std::uint32_t>(kZonesPerPage, config_.extents - first);
    for (std::uint32_t i = 0; i < count; ++i) content.zones[i] = zones_[first + i];
    return content;
}

Status Tables::apply_page(PageNumber page, ConstPageBytes bytes) {
    TRY_LET(const PageHeader header, open_page(bytes, group_, page));
    if (page != kConfigPage && (sequences_.empty() || page.v >= page_count())) return fail(Errc::corrupt);
    switch (kind_of(page)) {
        case PageKind::config:
            TRY(apply_config(bytes));
            break;
        case PageKind::state: {
            TRY_LET(GroupState state, GroupState::decode(bytes));
            if (state.members.size() > disks_.size()) return fail(Errc::corrupt);
            state.members.resize(disks_.size(), MemberStatus{MemberState::gone, Epoch(0), 0});
            const MemberMask others = MemberMask().set() << disks_.size();
            for (const JournalState& ring : state.journals) {
                if ((ring.members & others).any()) return fail(Errc::corrupt);
            }
            for (const JobRecord& job : state.jobs) {
                if (job.cursor.v > config_.extents) return fail(Errc::corrupt);
            }
            const GroupState former = std::exchange(state_, std::move(state));
            recount();
            if (loaded_ && comes_without_us(former)) go_offline();
            break;
        }
        case PageKind::intent:
            return fail(Errc::invalid);
        case PageKind::volumes: {
            TRY_LET(volume_pages_[page.v - kFirstVolumePage.v], VolumesPage::decode(bytes));
            break;
        }
        case PageKind::map: {
            TRY_LET(MapPage content, MapPage::decode(bytes));
            for (Zone& zone : content.zones) {
                if (!zone.shape) zone.shape = geometry().shape();
            }
            const auto beyond = [this](const Zone& zone) {
                const std::uint32_t rows = config_.geometry_of(zone.shape).rows_per_extent();
                return (zone.move && zone.move->rows_done >= rows) ||
                       (zone.quarantine.any() && zone.quarantine.ranges().back().end() > rows);
            };
            if (std::ranges::any_of(content.zones, beyond)) return fail(Errc::corrupt);
            apply_zones((page.v - kFirstMapPage.v) * kZonesPerPage, content);
            break;
        }
    }
    sequences_[page.v] = header.sequence;
    room_.clear();
    return {};
}

Buffer Tables::encode_page(PageNumber page, std::uint64_t sequence) const {
    Buffer buffer = Buffer::zeroed(kPageSize);
    const PageBytes bytes(buffer.span());
    const PageHeader header{page, group_, sequence, view_.epoch, slot_};
    switch (kind_of(page)) {
        case PageKind::config:
            write_page(bytes, config_, header);
            break;
        case PageKind::state:
            write_page(bytes, state_, header);
            break;
        case PageKind::intent:
            break;
        case PageKind::volumes:
            write_page(bytes, volume_pages_[page.v - kFirstVolumePage.v], header);
            break;
        case PageKind::map: {
            write_page(bytes, map_content(page), header);
            break;
        }
    }
    return buffer;
}

// ---- disks

MemberMask Tables::serving() const {
    MemberMask out;
    for (std::size_t i = 0; i < state_.members.size(); ++i) out[i] = serves(state_.members[i].state);
    return out;
}

/// What each of these members has of a page, by member: nothing where it is absent or unreadable.
Task<std::vector<Tables::Pick>> Tables::read_page(PageNumber page, MemberMask members) {
    std::vector<Pick> picks(disks_.size());
    std::vector<Buffer> slots(disks_.size());
    std::vector<DiskOp> ops(disks_.size());
    Join join(executor_);
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (disks_[i] == nullptr || !members[i]) continue;
        slots[i] = Buffer(2 * kPageSize);
        ops[i].verb = DiskVerb::read;
        ops[i].offset = slot_offset(table_start_, page, 0);
        ops[i].memory = slots[i].span();
        disks_[i]->submit(ops[i], join);
    }
    co_await join;
    // Members may have come meanwhile.
    for (std::size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].empty() || !ops[i].status) continue;
        const auto bytes = std::span<const std::byte>(slots[i].span());
        const PagePick pick = pick_slot(ConstPageBytes(bytes.first(kPageSize)),
                                        ConstPageBytes(bytes.subspan(kPageSize)), group_, page);
        if (!pick.found) continue;
        picks[i].emplace(pick.header, Buffer::copy_of(bytes.subspan(pick.slot * kPageSize, kPageSize)));
    }
    co_return picks;
}

namespace {

Task<Status> carry_out(Executor& executor, Disk& disk, DiskVerb verb, std::uint64_t offset,
                       std::span<std::byte> memory) {
    if (verb == DiskVerb::write) co_return co_await write_durably(executor, disk, offset, memory);
    co_return co_await run(executor, disk, verb, offset, memory);
}

}  // namespace

/// One command on all ok members; what is written is durable.
/// Members that fail are noted in write_errors_; offline when more of them are gone than the level survives.
Task<Status> Tables::on_all_members(DiskVerb verb, std::uint64_t offset, std::span<std::byte> memory) {
    const auto writable = [&](std::size_t i) {
        return member_ok(MemberIndex(static_cast<std::uint8_t>(i))) &&
               !write_errors_.contains(static_cast<std::uint8_t>(i));
    };
    std::vector<std::size_t> members;
    std::vector<Task<Status>> commands;
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (!writable(i)) continue;
        members.push_back(i);
        commands.push_back(carry_out(executor_, *disks_[i], verb, offset, memory));
    }
    const std::vector<Status> done = co_await gather(executor_, std::move(commands));
    for (std::size_t command = 0; command < done.size(); ++command) {
        const std::size_t i = members[command];
        if (!done[command] && writable(i)) {
            LOG_WARN("tables.member_failed_write", {"disk", disks_[i]->name()}, {"member", i});
            write_errors_.insert(static_cast<std::uint8_t>(i));
        }
    }
    MemberMask failing;
    for (std::size_t i = 0; i < disks_.size(); ++i) failing[i] = !writable(i);
    if (!survives(failing)) {
        go_offline();
        co_return fail(Errc::offline);
    }
    co_return Status{};
}

Task<Status> Tables::flush_members() { co_return co_await on_all_members(DiskVerb::flush, 0, {}); }

/// Writes a sealed page on all ok members, durably.
Task<Status> Tables::store_page(PageNumber page, Buffer bytes) {
    const auto header = open_page(ConstPageBytes(bytes.span()), group_, page);
    ASSERT(header.has_value());
    const std::uint64_t offset = slot_offset(table_start_, page, slot_of(header->sequence));
    co_return co_await on_all_members(DiskVerb::write, offset, bytes.span());
}

/// Whoever waits for a lock here must not: its holder may be another controller that leaves, waiting for us.
void Tables::go_offline() {
    if (std::exchange(lost_quorum_, true)) return;
    locks_->stop();
    LOG_ERROR("group.offline", {"group", config_.name}, {"survives", config_.most_parity()});
    if (listener_) listener_();
}

/// A group goes on with all but m of the members that it had, whichever they are. So these tables are the
/// newest for certain only if the members that are not here, and not failed by what is here, are too few to
/// have gone on alone.
Status Tables::check_quorum() const {
    std::size_t absent = 0, members = 0;
    for (std::size_t i = 0; i < disks_.size(); ++i) {
        if (!serves(state_.members[i].state)) continue;
        ++members;
        absent += disks_[i] == nullptr ? 1 : 0;
    }
    const std::size_t enough = std::max<std::size_t>(
        members - std::min<std::size_t>(members, config_.most_parity()), config_.least_data());
    if (absent < enough) return {};
    LOG_ERROR("tables.no_quorum", {"group", config_.name}, {"absent", absent}, {"could_go_on", enough});
    return fail(Errc::offline);
}

/// A page is on all ok members before it is written again, so one that lags was missed by a death in the
/// middle: one page for each death in a row. A member that lags by more is an older state of itself, as a
/// restored snapshot is: its data is old too, and it is declared failed.
void Tables::note_stale(PageNumber page, const std::vector<Pick>& picks) {
    constexpr std::uint64_t kDeathsInARow = 8;
    std::uint64_t newest = 0;
    for (const Pick& pick : picks) newest = std::max(newest, pick ? pick->first.sequence : 0);
    for (std::size_t i = 0; i < picks.size(); ++i) {
        if (!picks[i] || picks[i]->first.sequence + kDeathsInARow >= newest) continue;
        LOG_ERROR("tables.member_stale", {"disk", disks_[i]->name()}, {"member", i}, {"page", page},
                  {"sequence", picks[i]->first.sequence}, {"newest", newest});
        write_errors_.insert(static_cast<std::uint8_t>(i));
    }
}

Task<Status> Tables::load_from_disks() {
    for (const PageNumber page : {kConfigPage, kStatePage}) {
        const auto picks = co_await read_page(page, ~MemberMask());
        const Pick* newest = nullptr;
        for (const Pick& pick : picks) {
            if (pick && (newest == nullptr || pick->first.sequence > (*newest)->first.sequence))
                newest = &pick;
        }
        if (newest == nullptr) co_return fail(Errc::corrupt);
        CO_TRY(apply_page(page, ConstPageBytes((*newest)->second.span())));
    }
    co_await open_members();
    CO_TRY(check_quorum());
    for (std::uint32_t number = 0; number < page_count(); ++number) {
        const PageNumber page(number);
        const auto picks = co_await read_page(page, serving());
        note_stale(page, picks);
        if (!is_shared(page)) continue;
        const Pick* newest = nullptr;
        bool differ = false;
        for (std::size_t i = 0; i < picks.size(); ++i) {
            const Pick& pick = picks[i];
            if (!member_ok(MemberIndex(static_cast<std::uint8_t>(i)))) continue;
            if (newest != nullptr && (!pick || pick->first.sequence != (*newest)->first.sequence))
                differ = true;
            if (pick && (newest == nullptr || pick->first.sequence > (*newest)->first.sequence)) {
                if (newest != nullptr || i != 0) differ = true;
                newest = &pick;
            }
        }
        if (newest == nullptr) continue;
        CO_TRY(apply_page(page, ConstPageBytes((*newest)->second.span())));
        if (differ) CO_TRY(co_await store_page(page, (*newest)->second));
    }
    co_return Status{};
}

/// After a loss: a page on some member may be newer than what anybody alive knows (its writer died before it
/// told), or a member may lack what all know. What all know wins, under a new sequence number.
Task<Status> Tables::verify_pages() {
    for (std::uint32_t number = 0; number < page_count(); ++number) {
        const PageNumber page(number);
        if (!is_shared(page)) continue;
        const auto picks = co_await read_page(page, serving());
        std::uint64_t highest = sequences_[number];
        bool differ = false;
        for (std::size_t i = 0; i < picks.size(); ++i) {
            if (!member_ok(MemberIndex(static_cast<std::uint8_t>(i)))) continue;
            const std::uint64_t sequence = picks[i] ? picks[i]->first.sequence : 0;
            if (sequence != sequences_[number]) differ = true;
            highest = std::max(highest, sequence);
        }
        if (!differ) continue;
        LOG_INFO("tables.page_repaired", {"page", number}, {"sequence", highest + 1});
        CO_TRY(co_await commit_page(page, encode_page(page, highest + 1)));
    }
    verify_before_change_ = false;
    co_return Status{};
}

}  // namespace braid
