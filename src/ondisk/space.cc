#include "ondisk/space.h"

#include <algorithm>
#include <limits>

#include "ondisk/page.h"
#include "ondisk/superblock.h"

namespace braid {

std::uint32_t units_on(std::uint64_t disk_size, std::uint64_t data_start) {
    if (disk_size < 2 * kPageSize) return 0;
    const std::uint64_t end = superblock_copy_offset(disk_size);
    if (end <= data_start) return 0;
    const std::uint64_t count = (end - data_start) / kSegmentUnit;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(count, std::numeric_limits<std::uint32_t>::max()));
}

std::uint64_t smallest_disk(std::uint64_t data_start, std::uint64_t units) {
    return data_start + units * kSegmentUnit + kPageSize;
}

std::uint64_t usual_ring_size(const Geometry& geometry, std::span<const std::uint64_t> disk_sizes) {
    constexpr std::uint64_t kMost = 32u << 20;
    constexpr std::uint64_t kLargestWrites = 8;
    const std::uint64_t largest =
        kPageSize + std::uint64_t{geometry.stripe_size()} + std::uint64_t{geometry.m} * geometry.strip_size;
    const std::uint64_t share = std::ranges::min(disk_sizes) / 512 / kPageSize * kPageSize;
    return std::max(kLargestWrites * largest, std::min(share, kMost));
}

Result<SpacePlan> plan_space(const Geometry& geometry, std::span<const std::uint64_t> disk_sizes,
                             unsigned rings, std::uint64_t ring_size, unsigned spares) {
    if (disk_sizes.size() < geometry.width() + std::size_t{spares} || disk_sizes.size() > kMaxMembers)
        return fail(Errc::invalid);
    SpacePlan plan;
    const std::uint32_t segment = geometry.zone_size().units;
    std::vector<std::uint32_t> segments;
    const auto count = [&](std::uint64_t data_start) {
        plan.units.clear();
        segments.clear();
        for (std::uint64_t size : disk_sizes) {
            plan.units.push_back(units_on(size, data_start));
            segments.push_back(plan.units.back() / segment);
        }
        plan.extents = zone_capacity(segments, geometry.width());
    };
    // Room for the map of a group whose tables took nothing, and which has grown;
    // what rounding adds is used too.
    count(kTableStart);
    const std::uint64_t most =
        std::uint64_t{plan.extents} * members_with_map(disk_sizes.size()) / disk_sizes.size();
    const std::uint64_t map_pages = (most + kZonesPerPage - 1) / kZonesPerPage;
    const std::uint64_t table_end =
        slot_offset(kTableStart, PageNumber(kFirstMapPage.v), 0) + map_pages * 2 * kPageSize;
    plan.data_start = (table_end + rings * ring_size + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
    plan.page_count =
        static_cast<std::uint32_t>((plan.data_start - rings * ring_size - kTableStart) / (2 * kPageSize));
    count(plan.data_start);
    plan.extents = zone_capacity(segments, geometry.width(), spares);
    for (std::size_t i = 0; i < disk_sizes.size(); ++i) {
        if (segments[i] == 0) return fail(Errc::no_space, static_cast<std::uint32_t>(i));
    }
    return plan;
}

}  // namespace braid
