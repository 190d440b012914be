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

DiskPlace strip_place(const Geometry& geometry, const Zone& zone, Row row, Role role,
                      std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.width == geometry.width() && role.v < zone.width);
    const Segment segment = zone.segments[geometry.position_of(role, row).v];
    return {segment.member, data_start + segment.index.v * geometry.segment_size() +
                                std::uint64_t{row.v} * geometry.strip_size};
}

DiskPlace checksum_place(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                         std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.width == geometry.width() && copy < geometry.checksum_copies());
    const Segment segment = zone.segments[geometry.checksum_position(copy, row).v];
    return {segment.member, data_start + segment.index.v * geometry.segment_size() + geometry.rows_size() +
                                geometry.checksum_offset(copy, row)};
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

Status SegmentAllocator::take(const Zone& zone) {
    for (std::size_t i = 0; i < zone.width; ++i) {
        const Segment& part = zone.segments[i];
        if (part.member.v >= members_.size()) return fail(Errc::corrupt);
        const Member& member = members_[part.member.v];
        if (part.index.v >= member.used.size() || member.used[part.index.v])
            return fail(Errc::corrupt, part.member.v);
        for (std::size_t other = 0; other < i; ++other) {
            if (zone.segments[other].member == part.member) return fail(Errc::corrupt, part.member.v);
        }
    }
    for (const Segment& part : zone.parts()) {
        Member& member = members_[part.member.v];
        member.used[part.index.v] = true;
        --member.free;
    }
    return {};
}

// Adds members of `from` with free segments to `chosen`, up to the width.
void SegmentAllocator::pick(std::vector<MemberIndex>& chosen, ExtentIndex extent, MemberMask from) const {
    std::vector<MemberIndex> candidates;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (from[i] && members_[i].free > 0) candidates.push_back(MemberIndex(static_cast<std::uint8_t>(i)));
    }
    std::ranges::sort(candidates, {}, [&](MemberIndex m) {
        return std::pair(~members_[m.v].free, turn(m, extent, members_.size()));
    });
    for (MemberIndex member : candidates) {
        if (chosen.size() < width_) chosen.push_back(member);
    }
}

SegmentIndex SegmentAllocator::take_first(Member& member) {
    while (member.used[member.first_free]) ++member.first_free;
    member.used[member.first_free] = true;
    --member.free;
    return SegmentIndex(member.first_free++);
}

Result<Zone> SegmentAllocator::allocate(ExtentIndex extent, MemberMask usable, MemberMask reserve) {
    std::vector<MemberIndex> chosen;
    pick(chosen, extent, usable);
    pick(chosen, extent, reserve & ~usable);
    if (chosen.size() < width_) return fail(Errc::no_space);
    // The order decides who holds P in row 0: by turns as well, whatever made the choice.
    std::ranges::sort(chosen, {}, [&](MemberIndex m) { return turn(m, extent, members_.size()); });
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = static_cast<std::uint8_t>(width_);
    for (std::size_t i = 0; i < width_; ++i)
        zone.segments[i] = {chosen[i], take_first(members_[chosen[i].v])};
    return zone;
}

void SegmentAllocator::release(const Zone& zone) {
    for (const Segment& part : zone.parts()) {
        Member& member = members_.at(part.member.v);
        ASSERT(member.used.at(part.index.v));
        member.used[part.index.v] = false;
        ++member.free;
        member.first_free = std::min(member.first_free, part.index.v);
    }
}

}  // namespace braid
