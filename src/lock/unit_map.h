// Which lock units the stripes and blocks of a group belong to (row L4): pure arithmetic.
//
//   granularity     unit of a stripe             units of its content
//   stripes:N       N neighbouring stripes       that same unit
//   blocks:N        the stripe                   N neighbouring 4 KiB blocks of the logical space each,
//                                                numbered from kFirstBlockUnit on
//
// Guarantees: units of content never reach over a strip's end, and ascend with the offset. Which stripe a
// unit of blocks lies in depends on the shape of its extent, and so do the bytes of a unit of stripes; both
// are the same as long as anybody holds the unit.
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
    explicit UnitMap(Granularity granularity) : granularity_(granularity) {}

    /// Content has units of its own.
    bool fine() const { return granularity_.blocks != 0; }
    bool is_blocks(UnitIndex unit) const { return fine() && unit >= kFirstBlockUnit && unit != kTablesUnit; }

    UnitIndex of_stripe(StripeIndex stripe) const { return UnitIndex(stripe.v / granularity_.stripes); }
    /// The units that protect what readers see of a piece, which is not empty.
    LockUnits content(const StripePiece& piece) const {
        if (!fine()) return {of_stripe(piece.stripe)};
        const std::uint64_t first = piece.at / block_bytes();
        const std::uint64_t last = (piece.end() - 1) / block_bytes();
        return {UnitIndex(kFirstBlockUnit.v + first), static_cast<std::uint32_t>(last - first + 1)};
    }

    /// Of a unit of stripes.
    StripeIndex first_stripe(UnitIndex unit) const { return StripeIndex(unit.v * granularity_.stripes); }
    std::uint32_t stripes() const { return granularity_.stripes; }
    /// The bytes of the logical space that a unit of blocks is about.
    LogicalRange bytes_of(UnitIndex unit) const {
        ASSERT(is_blocks(unit));
        return {(unit.v - kFirstBlockUnit.v) * block_bytes(), block_bytes()};
    }

private:
    std::uint32_t block_bytes() const { return std::uint32_t{granularity_.blocks} * kBlockSize; }

    Granularity granularity_;
};

}  // namespace braid
