#include "amf/trimmed_blocks.h"

#include <algorithm>

namespace braid {
namespace {

ExtentIndex extent_at(std::uint64_t offset) {
    return ExtentIndex(static_cast<std::uint32_t>(offset / kExtentSize));
}
std::size_t block_in(ExtentIndex extent, std::uint64_t offset) {
    return static_cast<std::size_t>((offset - extent.v * kExtentSize) / kBlockSize);
}

}  // namespace

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
    for (std::size_t i = block_in(extent, from); i < block_in(extent, to - 1) + 1; ++i) at->blocks.set(i);
}

void TrimmedBlocks::remove(const LogicalRange& range) {
    for (auto at = extents_.begin(); at != extents_.end();) {
        const std::uint64_t begin = at->extent.v * kExtentSize;
        const std::uint64_t from = std::max(range.offset, begin);
        const std::uint64_t to = std::min(range.end(), begin + kExtentSize);
        for (std::uint64_t i = from; i < to; i = (i / kBlockSize + 1) * kBlockSize)
            at->blocks.reset(block_in(at->extent, i));
        at = at->blocks.none() ? extents_.erase(at) : std::next(at);
    }
}

bool TrimmedBlocks::covers(std::uint32_t generation, const LogicalRange& range) const {
    if (extents_.empty() || range.length == 0) return false;
    const ExtentIndex extent = extent_at(range.offset);
    const auto at = std::ranges::find(extents_, extent, &Extent::extent);
    if (at == extents_.end() || at->generation != generation) return false;
    for (std::size_t i = block_in(extent, range.offset); i <= block_in(extent, range.end() - 1); ++i) {
        if (!at->blocks[i]) return false;
    }
    return true;
}

}  // namespace braid
