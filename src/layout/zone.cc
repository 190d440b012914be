#include "layout/zone.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/assert.h"

namespace braid {
namespace {

// Where a member stands in the order of this extent, which begins one member later at each extent.
std::size_t turn(MemberIndex member, ExtentIndex extent, std::size_t members) {
    return (member.v + members - extent.v % members) % members;
}

}  // namespace

DiskPlace strip_place(const Geometry& geometry, Segment segment, Row row, std::uint64_t data_start) {
    return {segment.member, data_start + segment.index.v * geometry.segment_place() +
                                std::uint64_t{row.v} * geometry.strip_size};
}

DiskPlace strip_place(const Geometry& geometry, const Zone& zone, Row row, Role role,
                      std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.shape == geometry.shape() && role.v < zone.width);
    return strip_place(geometry, zone.segments[geometry.position_of(role, row).v], row, data_start);
}

DiskPlace checksum_place(const Geometry& geometry, Segment segment, Row row, unsigned copy,
                         std::uint64_t data_start) {
    return {segment.member, data_start + segment.index.v * geometry.segment_place() + geometry.rows_size() +
                                geometry.checksum_offset(copy, row)};
}

DiskPlace checksum_place(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                         std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.shape == geometry.shape() && copy < geometry.checksum_copies());
    return checksum_place(geometry, zone.segments[geometry.checksum_position(copy, row).v], row, copy,
                          data_start);
}

MemberMask members_of(const Zone& zone) {
    MemberMask out;
    for (const Segment& part : zone.parts()) out.set(part.member.v);
    if (zone.move) out.set(zone.move->target.member.v);
    return out;
}

unsigned positions_on(const Zone& zone, MemberMask members) {
    return static_cast<unsigned>(
        std::ranges::count_if(zone.parts(), [&](const Segment& part) { return members[part.member.v]; }));
}

Result<Role> role_of_member(const Geometry& geometry, const Zone& zone, Row row, MemberIndex member) {
    const auto parts = zone.parts();
    const auto found = std::ranges::find(parts, member, &Segment::member);
    if (found == parts.end()) return fail(Errc::not_found);
    return geometry.role_at(ZonePosition(static_cast<std::uint8_t>(found - parts.begin())), row);
}

std::uint32_t zone_capacity(std::span<const std::uint32_t> segments_by_member, unsigned width) {
    ASSERT(width > 0);
    const auto fits = [&](std::uint64_t zones) {
        std::uint64_t usable = 0;
        for (std::uint32_t segments : segments_by_member) usable += std::min<std::uint64_t>(segments, zones);
        return usable >= width * zones;
    };
    const std::uint64_t all =
        std::accumulate(segments_by_member.begin(), segments_by_member.end(), std::uint64_t{0});
    std::uint64_t low = 0;
    std::uint64_t high = std::min<std::uint64_t>(all / width, UINT32_MAX);
    while (low < high) {
        const std::uint64_t middle = low + (high - low + 1) / 2;
        if (fits(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return static_cast<std::uint32_t>(low);
}

SegmentAllocator::SegmentAllocator(unsigned width, std::span<const std::uint32_t> segments_by_member)
    : width_(width) {
    ASSERT(width >= 1 && width <= kMaxMembers && segments_by_member.size() <= kMaxMembers);
    for (std::uint32_t segments : segments_by_member)
        members_.push_back({std::vector<bool>(segments), segments, 0});
}

bool SegmentAllocator::evens_out(MemberIndex from, MemberIndex to) const {
    const auto used = [](const Member& member) { return std::uint64_t{member.used.size()} - member.free; };
    const Member& full = members_.at(from.v);
    const Member& empty = members_.at(to.v);
    if (used(full) == 0 || empty.free == 0) return false;
    return (used(empty) + 1) * full.used.size() <= (used(full) - 1) * empty.used.size();
}

std::optional<MemberIndex> SegmentAllocator::emptiest(MemberMask from) const {
    std::optional<MemberIndex> best;
    for (std::uint8_t i = 0; i < members_.size(); ++i) {
        if (!from[i] || members_[i].free == 0) continue;
        const Member& one = members_[i];
        const auto emptier = [&](const Member& other) {
            return std::uint64_t{one.free} * other.used.size() > std::uint64_t{other.free} * one.used.size();
        };
        if (!best || emptier(members_[best->v])) best = MemberIndex(i);
    }
    return best;
}

void SegmentAllocator::put_member(MemberIndex member, std::uint32_t segments) {
    ASSERT(member.v <= members_.size() && member.v < kMaxMembers);
    if (member.v == members_.size()) members_.emplace_back();
    Member& place = members_[member.v];
    ASSERT(place.free == place.used.size());
    place = {std::vector<bool>(segments), segments, 0};
}

namespace {

/// All that a zone uses: its parts, and where one of them goes.
std::vector<Segment> used_by(const Zone& zone) {
    std::vector<Segment> out(zone.parts().begin(), zone.parts().end());
    if (zone.move) out.push_back(zone.move->target);
    return out;
}

}  // namespace

Status SegmentAllocator::take(const Zone& zone) {
    const std::vector<Segment> parts = used_by(zone);
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const Segment& part = parts[i];
        if (part.member.v >= members_.size()) return fail(Errc::corrupt);
        const Member& member = members_[part.member.v];
        if (part.index.v >= member.used.size() || member.used[part.index.v])
            return fail(Errc::corrupt, part.member.v);
        for (std::size_t other = 0; other < i; ++other) {
            if (parts[other].member == part.member) return fail(Errc::corrupt, part.member.v);
        }
    }
    for (const Segment& part : parts) {
        Member& member = members_[part.member.v];
        member.used[part.index.v] = true;
        --member.free;
    }
    return {};
}

// Adds members of `from` with free segments to `chosen`, up to `most`.
void SegmentAllocator::pick(std::vector<MemberIndex>& chosen, std::size_t most, ExtentIndex extent,
                            MemberMask from) const {
    std::vector<MemberIndex> candidates;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (from[i] && members_[i].free > 0) candidates.push_back(MemberIndex(static_cast<std::uint8_t>(i)));
    }
    std::ranges::sort(candidates, {}, [&](MemberIndex m) {
        return std::pair(~members_[m.v].free, turn(m, extent, members_.size()));
    });
    for (MemberIndex member : candidates) {
        if (chosen.size() < most) chosen.push_back(member);
    }
}

SegmentIndex SegmentAllocator::take_first(Member& member) {
    while (member.used[member.first_free]) ++member.first_free;
    member.used[member.first_free] = true;
    --member.free;
    return SegmentIndex(member.first_free++);
}

Result<Zone> SegmentAllocator::allocate(unsigned width, ExtentIndex extent, MemberMask usable, MemberMask reserve,
                                        std::uint32_t promised) {
    std::vector<MemberIndex> chosen;
    for (unsigned absent = 0; absent <= width; ++absent) {
        std::vector<MemberIndex> next;
        pick(next, width - absent, extent, usable);
        pick(next, width, extent, reserve & ~usable);
        if (next.size() < width) continue;
        MemberMask taken;
        for (const MemberIndex member : next) taken.set(member.v);
        const bool room = fits(usable | reserve, taken, promised);
        if (chosen.empty() || room) chosen = std::move(next);
        if (room) break;
    }
    if (chosen.empty()) return fail(Errc::no_space);
    // The order decides who holds P in row 0: by turns as well, whatever made the choice.
    std::ranges::sort(chosen, {}, [&](MemberIndex m) { return turn(m, extent, members_.size()); });
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = static_cast<std::uint8_t>(width);
    for (std::size_t i = 0; i < width; ++i)
        zone.segments[i] = {chosen[i], take_first(members_[chosen[i].v])};
    return zone;
}

void SegmentAllocator::release(const Zone& zone) {
    for (const Segment& part : used_by(zone)) {
        Member& member = members_.at(part.member.v);
        ASSERT(member.used.at(part.index.v));
        member.used[part.index.v] = false;
        ++member.free;
        member.first_free = std::min(member.first_free, part.index.v);
    }
}

/// So many zones find their places, when one segment of each of some members is gone.
bool SegmentAllocator::fits(MemberMask usable, MemberMask without_one_of, std::uint32_t zones) const {
    std::vector<std::uint32_t> free;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (usable[i]) free.push_back(members_[i].free - (without_one_of[i] ? 1 : 0));
    }
    return zone_capacity(free, width_) >= zones;
}

MemberMask SegmentAllocator::with_spare(MemberMask usable, std::uint32_t promised) const {
    MemberMask out;
    for (std::size_t i = 0; i < members_.size(); ++i)
        out[i] = usable[i] && members_[i].free > 0 && fits(usable, MemberMask().set(i), promised);
    return out;
}

Result<Segment> SegmentAllocator::spare(const Zone& zone, MemberMask from) const {
    from &= ~members_of(zone);
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (!from[i] || members_[i].free == 0) continue;
        if (!best || members_[i].free > members_[*best].free) best = i;
    }
    if (!best) return fail(Errc::no_space);
    const Member& member = members_[*best];
    std::uint32_t index = member.first_free;
    while (member.used[index]) ++index;
    return Segment{MemberIndex(static_cast<std::uint8_t>(*best)), SegmentIndex(index)};
}

}  // namespace braid
