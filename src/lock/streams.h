// Finds sequential streams in the units that had to be requested, and says how many of the next ones to name
// with a request (row L10). Only misses are told: what a prefetch brought is stepped over.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "lock/lock_types.h"

namespace braid {

class Streams {
public:
    /// `most`: units named ahead, 0 = never, below kNeighbourhoodUnits.
    explicit Streams(std::uint8_t most) : most_(most) {}
    void name_at_most(std::uint8_t most) { most_ = most; }

    /// `unit` has to be requested, and so many behind it for the same operation. How many to name: those,
    /// and while a stream goes on twice as many beyond them as the last time.
    std::uint8_t miss(UnitIndex unit, std::uint32_t more = 0) {
        // Beyond its neighbourhood an arbiter grants nothing, and who was named there would be no miss.
        const std::uint64_t near = kNeighbourhoodUnits - 1 - unit.v % kNeighbourhoodUnits;
        const auto own = static_cast<std::uint8_t>(std::min<std::uint64_t>(more, near));
        if (most_ == 0 || unit == kTablesUnit) return own;
        for (Stream& stream : streams_) {
            // Several units of one operation come before the first of them is granted.
            if (unit.v < stream.next && unit.v + stream.window >= stream.next && unit.v > stream.begun)
                return own;
            if (unit.v != stream.next) continue;
            stream.window = static_cast<std::uint8_t>(std::min<unsigned>(most_, 2u * stream.window + 2));
            const auto named = static_cast<std::uint8_t>(std::min<std::uint64_t>(own + stream.window, near));
            stream.begun = unit.v;
            stream.next = unit.v + 1 + named;
            stream.used = ++clock_;
            return named;
        }
        Stream& oldest = *std::ranges::min_element(streams_, {}, &Stream::used);
        oldest = {unit.v + 1 + own, unit.v, ++clock_, 0};
        return own;
    }

private:
    struct Stream {
        std::uint64_t next = 0;   ///< the unit that would go on with it
        std::uint64_t begun = 0;  ///< unit of the last request that named some ahead
        std::uint64_t used = 0;
        std::uint8_t window = 0;
    };
    std::uint8_t most_;
    std::uint64_t clock_ = 0;
    std::array<Stream, 8> streams_{};
};

}  // namespace braid
