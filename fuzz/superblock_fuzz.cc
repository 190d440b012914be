// link: ondisk
// Two blocks from the input, as they are and with their checksums made right: no input may crash the decoder,
// and what it accepts must survive being written again.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "layout/geometry.h"
#include "ondisk/fields.h"
#include "ondisk/superblock.h"

namespace {

using Block = std::array<std::byte, braid::kPageSize>;

void check(const Block& block) {
    const auto decoded = braid::Superblock::decode(block);
    if (!decoded) return;
    Block again;
    decoded->encode(again);
    const auto second = braid::Superblock::decode(again);
    ASSERT(second && *second == *decoded);
    const std::uint64_t data_end = decoded->data_start + decoded->units * braid::kSegmentUnit;
    ASSERT(data_end <= braid::superblock_copy_offset(decoded->disk_size));
}

void repair(Block& block) {
    braid::FieldWriter(std::span(block).subspan(12, 4)).put(braid::block_checksum(block, 12));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    // The used part of a block is small: the input's halves are the heads of the two blocks.
    std::array<Block, 2> blocks{};
    const std::size_t half = std::min(size / 2, braid::kPageSize);
    std::ranges::copy(input.first(half), blocks[0].begin());
    std::ranges::copy(input.subspan(half, std::min(size - half, braid::kPageSize)), blocks[1].begin());
    for (bool repaired : {false, true}) {
        for (Block& block : blocks) {
            if (repaired) repair(block);
            check(block);
        }
        (void)braid::choose_superblock(blocks[0], blocks[1]);
    }
    return 0;
}
