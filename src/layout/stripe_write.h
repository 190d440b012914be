// What a write of one stripe changes, strip by strip: pure arithmetic, for who writes it and for who writes
// it again.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "layout/geometry.h"

namespace braid {

/// Bytes [from, to) of a strip.
struct StripRange {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::uint32_t length() const { return to - from; }
    friend bool operator==(const StripRange&, const StripRange&) = default;
};

/// The new data of a write, strip by strip.
struct StripeWrite {
    std::uint32_t strip_size = 0;
    std::uint32_t offset = 0;  ///< in the stripe's data bytes
    std::uint32_t length = 0;  ///< not 0

    unsigned first_column() const { return offset / strip_size; }
    unsigned last_column() const { return (offset + length - 1) / strip_size; }
    bool touches(unsigned column) const { return column >= first_column() && column <= last_column(); }
    /// What is written of a touched column.
    StripRange part(unsigned column) const {
        return {column == first_column() ? offset % strip_size : 0,
                column == last_column() ? (offset + length - 1) % strip_size + 1 : strip_size};
    }
    /// What changes in the parity strips: from the first to the last byte that any column changes.
    StripRange hull() const {
        return first_column() == last_column() ? part(first_column()) : StripRange{0, strip_size};
    }
    bool covers_hull(unsigned column) const { return touches(column) && part(column) == hull(); }
    /// Where a touched column's bytes begin in the new data.
    std::uint32_t data_at(unsigned column) const {
        return column == first_column() ? 0 : column * strip_size - offset;
    }
};

/// New parity of a stripe: the bytes [at, at + length) of some of its parity strips.
struct ParityPart {
    std::uint8_t parities = 0;  ///< bit j: parity strip j
    std::uint32_t at = 0;
    std::uint32_t length = 0;
    std::span<const std::byte> bytes;  ///< `length` for each bit, ascending
};

/// Calls put(role, offset in the strip, bytes) for all that a write puts on the members. `write` may be
/// empty: parity alone. A mirror's copies are the data itself.
template <class Put>
void for_each_strip(const Geometry& geometry, const StripeWrite& write, std::span<const std::byte> data,
                    const ParityPart& parity, Put put) {
    const unsigned k = geometry.k;
    if (write.length != 0) {
        for (unsigned column = write.first_column(); column <= write.last_column(); ++column) {
            const StripRange part = write.part(column);
            put(column, part.from, data.subspan(write.data_at(column), part.length()));
        }
    }
    std::size_t used = 0;
    for (unsigned j = 0; j < geometry.m; ++j) {
        if (k == 1 && write.length != 0) {
            put(k + j, write.offset, data);
        } else if ((parity.parities >> j & 1u) != 0) {
            put(k + j, parity.at, parity.bytes.subspan(used, parity.length));
            used += parity.length;
        }
    }
}

}  // namespace braid
