// What operators may change of a group while it is in use, and what stands in their way.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/types.h"
#include "io/disk.h"
#include "layout/geometry.h"
#include "layout/sharing.h"
#include "layout/zone.h"
#include "ondisk/table_pages.h"

namespace braid {

/// A disk that comes into the group, and what it is called from then on: a new id.
struct Newcomer {
    Disk* disk = nullptr;
    Uuid id;
};
/// Of the data areas of disks that are about to come.
using Units = std::vector<std::uint32_t>;

/// Why members and shapes stay as they are. Operators hear it in words (controller/refusals.h).
enum class Obstacle : std::uint8_t {
    none,
    no_such_shape,
    fewer_parities,  ///< than stripes have
    narrower,        ///< than stripes are
    few_members,     ///< for stripes as wide as that
    small_journal,   ///< for stripes as wide as that
    no_room,         ///< for what there is, and for what virtual disks may need
    not_ok,          ///< the member has failed, leaves, or is gone
    not_reached,     ///< the member's disk, from here
    journal,         ///< the member has what no other one has of a journal
};

/// The group when disks have come, to the places that they will get, and another shape is wanted.
struct Prospect {
    GroupConfig config;
    SegmentAllocator allocator;
    MemberMask coming;
    ZoneSize zone;  ///< that an extent may need
    std::uint32_t zones_on(MemberMask members, ZoneSize size) const;
};

/// What an operator sets while the group is in use; what is not there stays.
struct GroupChange {
    SharingChange sharing{};
    std::optional<StripeShape> wanted{};         ///< all extents are to have it
    std::optional<std::uint32_t> scrub_every{};  ///< seconds; 0: never
    std::optional<std::uint8_t> spares{};        ///< members whose room is kept
};

}  // namespace braid
