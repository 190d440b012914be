#include "amf/trimmed_blocks.h"

#include <algorithm>

namespace braid {

void TrimmedBlocks::add(std::uint32_t generation, const LogicalRange& range) {
    const std::uint64_t from = (range.offset + kBlockSize - 1) / kBlockSize * kBlockSize;
    const std::uint64_t to = range.end() / kBlockSize * kBlockSize;
    if (from >= to || most_ == 0) return;
    const ExtentIndex extent = extent_at(from);
    auto at = std::ranges::find(extents_, extent, &Extent::extent);
    if (at != extents_.end() && at->generation != generation) {
        extents_.erase(at);
        at = extents_.end();
    }
    if (at == extents_.end()) {
        if (extents_.size() == most_) extents_.pop_front();
        at = extents_.insert(at, {extent, generation, {}});
    }
    const auto [first, end] = blocks_of({from, to - from});
    for (std::size_t i = first; i < end; ++i) at->blocks.set(i);
}

void TrimmedBlocks::remove(const LogicalRange& range) {
    for (auto at = extents_.begin(); at != extents_.end();) {
        const std::uint64_t begin = at->extent.v * kExtentSize;
        const std::uint64_t from = std::max(range.offset, begin);
        const std::uint64_t to = std::min(range.end(), begin + kExtentSize);
        if (from < to) {
            const auto [first, end] = blocks_of({from, to - from});
            for (std::size_t i = first; i < end; ++i) at->blocks.reset(i);
        }
        at = at->blocks.none() ? extents_.erase(at) : std::next(at);
    }
}

bool TrimmedBlocks::covers(std::uint32_t generation, const LogicalRange& range) const {
    const ExtentBlocks* blocks = of(extent_at(range.offset), generation);
    if (blocks == nullptr || range.length == 0) return false;
    const auto [first, end] = blocks_of(range);
    for (std::size_t i = first; i < end; ++i) {
        if (!(*blocks)[i]) return false;
    }
    return true;
}

const ExtentBlocks* TrimmedBlocks::of(ExtentIndex extent, std::uint32_t generation) const {
    const auto at = std::ranges::find(extents_, extent, &Extent::extent);
    return at != extents_.end() && at->generation == generation ? &at->blocks : nullptr;
}

}  // namespace braid
