// What is missing, what the group survives, and segments that go to other members (rows P1 P2, figure 15).
//
//   open_move     the zone has a target: from here on all AMFs write to both places
//   advance_move  rows below a watermark are whole at the target; after the last one the old segment is free
//
// The generation of the zone stays: it names the content. While the segment of before is there it is what is
// read, and at an assembly from the disks such a move ends and begins anew, because a loss of power leaves
// the two places different where something was being written. If its member has failed, or is the target, the
// target is the only place of the rows below the watermark, and goes on to be.
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {

// ---- what is missing

unsigned Tables::failed_members() const {
    return static_cast<unsigned>((gone() & ~in_state(MemberState::gone)).count());
}

void Tables::note_missing(const Zone& zone, int change) {
    const unsigned missing = positions_on(zone, gone_);
    const auto add = [change](auto& count, unsigned amount) {
        using Count = std::remove_reference_t<decltype(count)>;
        count = static_cast<Count>(change > 0 ? count + amount : count - amount);
    };
    add(missing_parts_, missing);
    if (missing > zone.shape.m) {
        add(zones_beyond_, 1);
    } else {
        add(zones_left_[zone.shape.m - missing], 1);
    }
}

/// Members, their states, their disks, or the journals have changed.
void Tables::recount() {
    room_.clear();
    const MemberMask before = gone_;
    gone_ = {};
    in_state_ = {};
    for (std::size_t i = 0; i < state_.members.size(); ++i) {
        const MemberState state = state_.members[i].state;
        in_state_[static_cast<std::size_t>(state)].set(i);
        gone_[i] = disks_[i] == nullptr || !serves(state);
    }
    if (gone_ != before) {
        zones_left_ = {};
        missing_parts_ = zones_beyond_ = 0;
        for (const Zone& zone : zones_) {
            if (zone.allocated()) note_missing(zone, +1);
        }
    }
    find_missing();
}

void Tables::find_missing() { beyond_ = zones_beyond_ != 0 || !serves_without(gone_); }

unsigned Tables::least_redundancy(unsigned most) const {
    if (zones_beyond_ != 0) return 0;
    for (unsigned left = 0; left < std::min<std::size_t>(most, zones_left_.size()); ++left) {
        if (zones_left_[left] != 0) return left;
    }
    return most;
}

/// Leaving zones aside: there are places for new ones, and each journal is somewhere.
bool Tables::serves_without(MemberMask members) const {
    return disks_.size() - members.count() >= config_.least_data() && rings_are_on(~members);
}

bool Tables::rings_are_on(MemberMask members) const {
    return std::ranges::all_of(state_.journals, [members](const JournalState& ring) {
        return !ring.open() || (ring.whole() & members).any();
    });
}

/// Not more than m at once: whoever assembles the group from those that failed must see that others may have
/// gone on.
bool Tables::survives(MemberMask failing) const {
    const MemberMask before = gone();
    if ((failing & ~before).none()) return !offline();
    MemberMask fresh = failing & (in_state(MemberState::ok) | in_state(MemberState::leaving));
    const MemberMask all = before | failing;
    if (fresh.count() > config_.most_parity() || !serves_without(all)) return false;
    return std::ranges::none_of(
        zones_, [&](const Zone& zone) { return zone.allocated() && positions_on(zone, all) > zone.shape.m; });
}

// ---- moves

std::optional<ZonePosition> Tables::position_to_move(const Zone& zone) const {
    for (const MemberState state : {MemberState::failed, MemberState::dismissed, MemberState::leaving}) {
        const MemberMask members = in_state(state);
        for (std::uint8_t i = 0; members.any() && i < zone.width; ++i) {
            if (members[zone.segments[i].member.v]) return ZonePosition(i);
        }
    }
    return std::nullopt;
}

bool Tables::anything_to_move() const {
    return open_moves_ != 0 || any_missing() ||
           (in_state(MemberState::leaving) | in_state(MemberState::dismissed)).any() || state_.balancing;
}

/// A zone has one move: whichever it is, what is missing waits for its end.
JobKind Tables::job_of(const Zone& zone) const {
    return zone.moves_in_place() || position_to_move(zone) ? JobKind::rebuild : JobKind::rebalance;
}

bool Tables::must_move(JobKind kind) const {
    return std::ranges::any_of(zones_, [this, kind](const Zone& zone) {
        if (!zone.allocated() || job_of(zone) != kind) return false;
        if (zone.move) return true;
        const auto position = position_to_move(zone);
        if (!position) return position_to_balance(zone).has_value();
        const MemberState state = state_.members[zone.segments[position->v].member.v].state;
        return state != MemberState::failed && (with_spare(zone) & ~members_of(zone)).any();
    });
}

/// Of virtual disks.
std::uint64_t Tables::reserved_extents() const {
    std::uint64_t extents = 0;
    for (const VolumeRecord& volume : volumes()) extents += volume.extents;
    return extents;
}

std::uint32_t Tables::promised_zones() const {
    const std::uint64_t extents = reserved_extents();
    return static_cast<std::uint32_t>(extents - std::min(extents, allocated_extents_));
}

/// Balancing takes no place that virtual disks may need, unless they lack some as it is.
const Tables::Room& Tables::room(std::uint32_t units) const {
    const auto [at, fresh] = room_.try_emplace(units);
    Room& room = at->second;
    if (!fresh) return room;
    const MemberMask usable = ~(gone() | in_state(MemberState::leaving));
    const Promise promised = promise();
    const MemberMask spare = allocator_->with_spare(units, usable, promised);
    const bool kept = allocator_->room(promised.size, usable) >= promised.zones;
    room = {spare, allocator_->uneven(in_state(MemberState::ok))};
    std::erase_if(room.balance.emptier, [&](MemberIndex member) { return kept && !spare[member.v]; });
    return room;
}

std::optional<std::pair<ZonePosition, MemberIndex>> Tables::position_to_balance(const Zone& zone) const {
    if (!state_.balancing || position_to_move(zone)) return std::nullopt;
    const std::uint32_t units = units_of(zone);
    const MemberMask own = members_of(zone);
    const auto fits = [&](MemberIndex member) {
        return !own[member.v] && allocator_->free_on(member, units) > 0;
    };
    const auto& [fuller, emptier] = room(units).balance;
    const auto target = std::ranges::find_if(emptier, fits);
    if (target == emptier.end()) return std::nullopt;
    for (std::uint8_t i = 0; i < zone.width; ++i) {
        const MemberIndex from = zone.segments[i].member;
        if (fuller[from.v] && allocator_->evens_out(units, from, *target))
            return std::pair(ZonePosition(i), *target);
    }
    return std::nullopt;
}

Task<Status> Tables::open_move(ExtentIndex extent) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    Zone next = zones_[extent.v];
    std::optional<ZonePosition> position = position_to_move(next);
    MemberMask to = with_spare(next);
    // What is missing comes before another shape, and that before balance.
    if (position) next.successor = {};
    if (const auto balance = position_to_balance(next); balance && !position && !next.successor) {
        position = balance->first;
        to = MemberMask().set(balance->second.v);
    }
    if (next.move || !position) co_return fail(Errc::not_found);
    CO_TRY_LET(const Segment target, allocator_->spare(next, units_of(next), to));
    next.move = {*position, target, 0};
    LOG_INFO("zone.move", {"group", config_.name}, {"extent", extent}, {"position", *position},
             {"from", next.segments[position->v].member}, {"to", target.member});
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

Task<Status> Tables::advance_move(ExtentIndex extent, ZoneMove from, std::uint32_t rows,
                                  std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    Zone next = zones_[extent.v];
    if (next.move != from || !member_ok(from.target.member) || !still()) co_return fail(Errc::busy);
    next.move->rows_done = rows;
    if (rows == geometry_of(extent).rows_per_extent()) {
        end_move(next);
        LOG_INFO("zone.moved", {"group", config_.name}, {"extent", extent}, {"to", from.target.member});
    }
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

/// All of it is at the target.
void Tables::end_move(Zone& zone) const {
    zone.segments[zone.move->position.v] = zone.move->target;
    zone.move.reset();
    if (missing_of(zone) == 0) zone.missed = 0;
}

Task<Status> Tables::give_up_move(ExtentIndex extent) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    Zone next = zones_[extent.v];
    if (!next.move || member_ok(next.move->target.member)) co_return Status{};
    next.move.reset();
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

/// At an assembly from the disks. Moves: of the two places of what was being written one may have it and the
/// other one not. Zones that somebody was about to release: others may have written to them since.
/// Successors: whoever was copying there is gone.
Task<Status> Tables::end_what_is_doubtful() {
    for (std::uint32_t i = 0; i < map_pages(); ++i) {
        const PageNumber page(kFirstMapPage.v + i);
        MapPage content = map_content(page);
        bool changed = false;
        for (Zone& zone : content.zones) {
            if (zone.emptying()) {
                zone.state = ZoneState::allocated;
                changed = true;
            }
            if (zone.successor) {
                zone.successor = {};
                changed = true;
            }
            if (!zone.move) continue;
            const bool only_place =
                zone.moves_in_place() || !member_ok(zone.segments[zone.move->position.v].member);
            if (only_place && member_ok(zone.move->target.member)) continue;
            zone.move.reset();
            changed = true;
        }
        if (!changed) continue;
        while (!settled()) co_await changed_.next();
        CO_TRY(co_await commit(page, std::move(content)));
    }
    co_return co_await end_change();
}

}  // namespace braid
