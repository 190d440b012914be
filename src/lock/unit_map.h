// Which lock units the stripes and blocks of a group belong to (row L4): pure arithmetic.
//
//   granularity     unit of a stripe             units of its content
//   stripes:N       N neighbouring stripes       that same unit
//   blocks:N        the stripe                   N neighbouring 4 KiB blocks of the logical space each,
//                                                numbered from kFirstBlockUnit on
//
// Guarantees: units of content never reach over a strip's end, and ascend with the offset.
#pragma once

#include "base/assert.h"
#include "layout/geometry.h"
#include "layout/sharing.h"
#include "lock/lock_types.h"

namespace braid {

/// Units that follow each other.
struct LockUnits {
    UnitIndex first;
    std::uint32_t count = 1;
    friend bool operator==(const LockUnits&, const LockUnits&) = default;
};

class UnitMap {
public:
    UnitMap(const Geometry& geometry, Granularity granularity)
        : geometry_(geometry), granularity_(granularity) {}

    /// Content has units of its own.
    bool fine() const { return granularity_.blocks != 0; }
    bool is_blocks(UnitIndex unit) const { return fine() && unit >= kFirstBlockUnit && unit != kTablesUnit; }

    UnitIndex of_stripe(StripeIndex stripe) const { return UnitIndex(stripe.v / granularity_.stripes); }
    /// The units that protect what readers see of a piece, which is not empty.
    LockUnits content(const StripePiece& piece) const {
        if (!fine()) return {of_stripe(piece.stripe)};
        const std::uint64_t at = geometry_.range_of(piece.stripe).offset + piece.offset;
        const std::uint64_t first = at / block_bytes();
        const std::uint64_t last = (at + piece.length - 1) / block_bytes();
        return {UnitIndex(kFirstBlockUnit.v + first), static_cast<std::uint32_t>(last - first + 1)};
    }

    /// Of a unit of stripes.
    StripeIndex first_stripe(UnitIndex unit) const { return StripeIndex(unit.v * granularity_.stripes); }
    std::uint32_t stripes() const { return granularity_.stripes; }
    /// Of a unit of blocks.
    StripePiece piece_of(UnitIndex unit) const {
        ASSERT(is_blocks(unit));
        const StripePlace place = geometry_.locate((unit.v - kFirstBlockUnit.v) * block_bytes());
        return {place.stripe, place.offset, block_bytes(), 0};
    }
    /// The bytes of the logical space that a unit other than the tables is about.
    LogicalRange range_of(UnitIndex unit) const {
        if (is_blocks(unit)) return {(unit.v - kFirstBlockUnit.v) * block_bytes(), block_bytes()};
        const StripeIndex first = first_stripe(unit);
        const std::uint64_t begin = geometry_.range_of(first).offset;
        return {begin, geometry_.range_of(StripeIndex(first.v + stripes() - 1)).end() - begin};
    }

private:
    std::uint32_t block_bytes() const { return std::uint32_t{granularity_.blocks} * kBlockSize; }

    Geometry geometry_;
    Granularity granularity_;
};

}  // namespace braid
