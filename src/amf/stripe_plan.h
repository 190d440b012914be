// How a stripe's write gets its new parity: pure arithmetic over which strips are written, readable and
// writable.
#pragma once

#include <cstdint>
#include <string_view>

#include "layout/geometry.h"
#include "parity/code.h"

namespace braid {

enum class WritePath : std::uint8_t { full, rmw, rcw, degraded };
constexpr std::size_t kWritePaths = 4;
std::string_view to_string(WritePath path);

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

struct WritePlan {
    WritePath path = WritePath::full;  ///< for the counters
    enum class How : std::uint8_t {
        copy,    ///< no parity to compute: a mirror, or no parity strip can be written
        encode,  ///< old data of `reads` over the hull, what is in `regenerate` computed from it, new data,
                 ///< encode
        update,  ///< old data of the written parts and old parity of the hull; the change is added to the
                 ///< parity
        impossible,  ///< fewer than k strips are readable where old data is needed
    } how = How::copy;
    RoleMask reads;
    RoleMask regenerate;  ///< data roles to decode from `reads`
};

/// `writable`: roles whose member takes writes; `readable`: those of them that can be read here. The plan
/// with the fewest reads; of equals the one that does not trust the old parity.
WritePlan plan_write(const StripeWrite& write, unsigned k, unsigned m, RoleMask writable, RoleMask readable);

}  // namespace braid
