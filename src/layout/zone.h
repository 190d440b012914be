// A zone is the place of one extent: a segment on each of k + m different members. The allocator keeps, per
// member, which segments no zone uses; it is derived from all zones and holds no truth of its own.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "layout/geometry.h"

namespace braid {

/// The numbers are those on the disk.
enum class ZoneState : std::uint8_t { none = 0, allocated = 1 };

struct Segment {
    MemberIndex member;
    SegmentIndex index;
    friend auto operator<=>(const Segment&, const Segment&) = default;
};

struct Zone {
    ZoneState state = ZoneState::none;
    std::uint8_t width = 0;
    std::uint32_t generation = 0;  ///< raised when the extent gets or loses its zone; kept while it has none
    std::array<Segment, kMaxMembers> segments{};

    bool allocated() const { return state == ZoneState::allocated; }
    std::span<const Segment> parts() const { return {segments.data(), width}; }
    friend bool operator==(const Zone&, const Zone&) = default;
};

/// A byte of a member's disk.
struct DiskPlace {
    MemberIndex member;
    std::uint64_t offset = 0;
    friend bool operator==(const DiskPlace&, const DiskPlace&) = default;
};

/// Where the strip of `role` in `row` begins. The zone is allocated and as wide as the geometry.
DiskPlace strip_place(const Geometry& geometry, const Zone& zone, Row row, Role role,
                      std::uint64_t data_start);
/// Where a copy, 0 .. checksum_copies() - 1, of the checksum record of `row` begins.
DiskPlace checksum_place(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                         std::uint64_t data_start);
/// The role that `member` has in `row`, or nothing if the zone does not use the member.
Result<Role> role_of_member(const Geometry& geometry, const Zone& zone, Row row, MemberIndex member);

/// How many zones of `width` distinct members fit at most, however they are allocated and freed: the largest
/// E with sum(min(segments, E)) >= width * E. With width == members that is the smallest member's count.
std::uint32_t zone_capacity(std::span<const std::uint32_t> segments_by_member, unsigned width);

class SegmentAllocator {
public:
    SegmentAllocator(unsigned width, std::span<const std::uint32_t> segments_by_member);

    /// Marks the segments of a zone that was read from the map. corrupt, and nothing changed, if one is out
    /// of range or taken.
    Status take(const Zone& zone);
    /// A zone of `width` segments on distinct members of `usable`, those with the most free segments, equal
    /// ones taken turn by turn with the extent; generation 0. Only if there are too few, members of `reserve`
    /// complete it: a degraded group gives its missing members here. no_space.
    Result<Zone> allocate(ExtentIndex extent, MemberMask usable, MemberMask reserve = {});
    /// Returns the segments of a zone that was taken or allocated here.
    void release(const Zone& zone);

    std::uint32_t free_on(MemberIndex member) const { return members_.at(member.v).free; }

private:
    struct Member {
        std::vector<bool> used;
        std::uint32_t free = 0;
        std::uint32_t first_free = 0;  ///< no free segment lies below
    };
    void pick(std::vector<MemberIndex>& chosen, ExtentIndex extent, MemberMask from) const;
    SegmentIndex take_first(Member& member);

    unsigned width_;
    std::vector<Member> members_;
};

}  // namespace braid
