// link: ondisk
// One table page: the first byte of the input names the page, the rest is its bytes. Header checks as it is
// and with the checksum made right; every content decoder sees it as well, whatever the header says.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "ondisk/fields.h"
#include "ondisk/table_pages.h"

namespace {

using Block = std::array<std::byte, braid::kPageSize>;

template <class Content>
void check(const Block& block) {
    const auto decoded = Content::decode(block);
    if (!decoded) return;
    Block again;
    decoded->encode(again);
    const auto second = Content::decode(again);
    ASSERT(second && *second == *decoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto input = std::as_bytes(std::span(data, size));
    const braid::PageNumber page(data[0]);
    Block block{};
    std::ranges::copy(input.subspan(1, std::min(size - 1, braid::kPageSize)), block.begin());
    // The group that the page names is the one that is asked for: otherwise nothing gets beyond that check.
    const braid::Uuid group = braid::Reader(std::span(block).subspan(16)).uuid();

    (void)braid::open_page(block, group, page);
    (void)braid::pick_slot(block, block, group, page);
    braid::FieldWriter(std::span(block).subspan(12, 4)).put(braid::block_checksum(block, 12));
    const auto header = braid::open_page(block, group, page);
    if (header) {
        Block again = block;
        braid::seal_page(again, *header);
        const auto second = braid::open_page(again, group, page);
        ASSERT(second && *second == *header);
    }

    check<braid::GroupConfig>(block);
    check<braid::GroupState>(block);
    check<braid::Intent>(block);
    check<braid::VolumesPage>(block);
    check<braid::MapPage>(block);
    return 0;
}
