// One extent whose content is being copied to a successor of another shape (reshape.cc).
#pragma once

#include <algorithm>

#include "amf/amf.h"

namespace braid {

/// Over what has been written to since it was copied, before all is locked.
constexpr unsigned kReshapeRounds = 4;
/// For the rows of all rounds.
constexpr unsigned kVersionBits = 24;

struct Amf::HeldExtent {
    PieceLock lock;
    std::vector<StripeLocks::Guard> guards;
    std::uint32_t rows = 0;
};

struct Amf::Reshaping {
    Reshaping(Amf& a, ExtentIndex e, const Zone& z, Epoch when, unsigned rows, const Turn& may)
        : amf(a),
          extent(e),
          zone(z),
          next(z.succeeded()),
          from(a.tables_.config().geometry_of(z.shape)),
          to(a.tables_.config().geometry_of(next.shape)),
          epoch(when),
          depth(rows),
          turn(may),
          fresh(to.rows_per_extent()),
          stale(to.rows_per_extent()),
          version(a.tables_.map_sequence(e) << kVersionBits) {
        amf.reshaping_ = this;
    }
    Reshaping(const Reshaping&) = delete;
    Reshaping& operator=(const Reshaping&) = delete;
    ~Reshaping() { amf.reshaping_ = nullptr; }

    /// What has been copied of these bytes of the logical space, or of these stripes as they are cut by this
    /// geometry, is old from now on.
    void touch(LogicalRange range);
    void touch(const Geometry& geometry, StripeIndex first, std::uint64_t count);

    /// Of a row that will be.
    LogicalRange range_of(Row row) const { return to.range_of(to.stripe_of(extent, row)); }
    /// The stripes as they are that a row is made of: first and last.
    std::pair<StripeIndex, StripeIndex> stripes_of(Row row) const {
        const LogicalRange range = range_of(row);
        return {from.locate(range.offset).stripe, from.locate(range.end() - 1).stripe};
    }
    /// The zone has this successor still, and it can be written.
    bool goes_on() const {
        const Zone* present = amf.tables_.zone(extent);
        const auto there = [this](const Segment& part) { return amf.tables_.member_ok(part.member); };
        return amf.ready_ && amf.view_.epoch == epoch && !amf.tables_.offline() && present != nullptr &&
               present->generation == zone.generation && present->successor == zone.successor &&
               std::ranges::all_of(next.parts(), there);
    }

    Amf& amf;
    const ExtentIndex extent;
    const Zone zone, next;
    const Geometry from, to;
    const Epoch epoch;        ///< in which it began
    const unsigned depth;     ///< rows at once
    const Turn& turn;         ///< before each row
    std::vector<bool> fresh;  ///< by row: copied, and nobody has written there since
    std::size_t stale;        ///< rows that are not
    std::uint64_t version;    ///< of checksums: newer than what an earlier copy has left at the same places
};

}  // namespace braid
