// Blocks that were trimmed, so that trims which cover an extent together find out, and that a host may be
// told of as holes. A pure container: who uses it sees to the locks (amf/trim.cc).
//
// Guarantees: bounded: of so many extents at most, the one that was begun first goes first. What is not here
// may still be zeros.
#pragma once

#include <bitset>
#include <list>

#include "layout/geometry.h"

namespace braid {

/// The blocks of one extent.
using ExtentBlocks = std::bitset<kExtentSize / kBlockSize>;

inline ExtentIndex extent_at(std::uint64_t offset) {
    return ExtentIndex(static_cast<std::uint32_t>(offset / kExtentSize));
}
/// Those that a range of one extent touches: the first, and the one behind the last.
inline std::pair<std::size_t, std::size_t> blocks_of(const LogicalRange& range) {
    const std::uint64_t begin = range.offset / kExtentSize * kExtentSize;
    return {(range.offset - begin) / kBlockSize, (range.end() - begin + kBlockSize - 1) / kBlockSize};
}

class TrimmedBlocks {
public:
    explicit TrimmedBlocks(std::size_t extents) : most_(extents) {}

    bool empty() const { return extents_.empty(); }
    /// Those that lie in the range with all their bytes. The range is of one extent, whose zone has this
    /// generation.
    void add(std::uint32_t generation, const LogicalRange& range);
    /// Those that the range touches.
    void remove(const LogicalRange& range);
    /// All that the range touches are here.
    bool covers(std::uint32_t generation, const LogicalRange& range) const;
    /// Those of an extent whose zone has this generation; null if there are none. Valid until the next
    /// change.
    const ExtentBlocks* of(ExtentIndex extent, std::uint32_t generation) const;

private:
    struct Extent {
        ExtentIndex extent;
        std::uint32_t generation = 0;
        ExtentBlocks blocks;
    };
    std::size_t most_;
    std::list<Extent> extents_;  ///< the newest last
};

}  // namespace braid
