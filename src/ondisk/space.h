// Where things are on the members of a new group: superblock, tables, journals, data, copy of the superblock.
// Tables and journals have the same place and size on every member, tables sized for every extent the group
// can have when it has grown; data areas differ with the disks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "layout/geometry.h"
#include "layout/zone.h"

namespace braid {

constexpr std::uint64_t kTableStart = 8192;
constexpr std::uint64_t kDataAlignment = 1u << 20;

/// So many members, of the size that those have on average, the map of a group that begins with `members` has
/// room for: nothing moves what stands behind the map.
constexpr std::size_t members_with_map(std::size_t members) {
    return std::clamp<std::size_t>(2 * members, 24, kMaxMembers);
}

struct SpacePlan {
    std::uint64_t table_start = kTableStart;
    std::uint32_t page_count = 0;
    std::uint64_t data_start = 0;      ///< a multiple of 1 MiB
    std::vector<std::uint32_t> units;  ///< of the data area, by member
    std::uint32_t extents = 0;         ///< of the group's logical space
    friend bool operator==(const SpacePlan&, const SpacePlan&) = default;

    std::uint64_t logical_size() const { return extents * kExtentSize; }
};

/// `disk_sizes` by member, bytes; `rings`: journals of `ring_size`, 0 for a group without; `spares`:
/// members whose room virtual disks never need. invalid for fewer
/// members than the width or more than 64; no_space, the member in its detail, if a disk does not hold one
/// segment beside the tables.
Result<SpacePlan> plan_space(const Geometry& geometry, std::span<const std::uint64_t> disk_sizes,
                             unsigned rings = 0, std::uint64_t ring_size = 0, unsigned spares = 0);
/// Bytes of a ring that suits members of this size: room for a few of the largest writes of a stripe, and
/// more on large disks.
std::uint64_t usual_ring_size(const Geometry& geometry, std::span<const std::uint64_t> disk_sizes);
/// Units of the data area of a disk of this size.
std::uint32_t units_on(std::uint64_t disk_size, std::uint64_t data_start);
/// The smallest disk that has so many.
std::uint64_t smallest_disk(std::uint64_t data_start, std::uint64_t units);

}  // namespace braid
