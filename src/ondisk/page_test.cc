#include "ondisk/page.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "base/crc32c.h"
#include "ondisk/table_pages.h"

namespace braid {
namespace {

using Block = std::array<std::byte, kPageSize>;

Uuid group() {
    Uuid id;
    id.bytes.fill(0x42);
    return id;
}

PageHeader header(std::uint64_t sequence, PageNumber page = kStatePage) {
    return {page, group(), sequence, Epoch(9), AmfSlot(3)};
}

Block sealed(std::uint64_t sequence, PageNumber page = kStatePage) {
    Block block;
    block.fill(std::byte{0xA5});
    write_page(PageBytes(block), GroupState{}, header(sequence, page));
    return block;
}

Errc code_of(const auto& result) { return result ? Errc::exists : result.error().code; }

}  // namespace

TEST(Page, KeepsItsHeader) {
    const auto opened = open_page(sealed(7), group(), kStatePage);
    ASSERT_TRUE(opened);
    EXPECT_EQ(*opened, header(7));
}

TEST(Page, HasTheDocumentedOffsets) {
    const Block block = sealed(7);
    const auto at = [&](std::size_t offset) { return std::to_integer<unsigned>(block[offset]); };
    EXPECT_EQ(std::memcmp(block.data(), "brTP", 4), 0);
    EXPECT_EQ(at(4), 1u);
    EXPECT_EQ(at(6), 2u);
    EXPECT_EQ(at(8), 1u);
    EXPECT_EQ(at(16), 0x42u);
    EXPECT_EQ(at(32), 7u);
    EXPECT_EQ(at(40), 9u);
    EXPECT_EQ(at(48), 3u);
    EXPECT_EQ(at(49), 0u);
}

TEST(Page, RefusesEveryFlippedBit) {
    const Block good = sealed(7);
    for (std::size_t bit = 0; bit < kPageSize * 8; bit += 5) {
        Block block = good;
        block[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
        ASSERT_EQ(code_of(open_page(block, group(), kStatePage)), Errc::corrupt) << bit;
    }
}

TEST(Page, RefusesOtherGroupsOtherPlacesAndLaterVersions) {
    EXPECT_EQ(code_of(open_page(sealed(7), Uuid{}, kStatePage)), Errc::corrupt);
    EXPECT_EQ(code_of(open_page(sealed(7), group(), kConfigPage)), Errc::corrupt);
    EXPECT_EQ(code_of(open_page(Block{}, group(), kStatePage)), Errc::not_found);
    EXPECT_EQ(code_of(open_page(sealed(0), group(), kStatePage)), Errc::corrupt);
    Block later = sealed(7);
    later[4] = std::byte{2};
    std::memset(later.data() + 12, 0, 4);
    const std::uint32_t crc = crc32c(later);
    std::memcpy(later.data() + 12, &crc, 4);
    EXPECT_EQ(code_of(open_page(later, group(), kStatePage)), Errc::unsupported);
    EXPECT_EQ(pick_slot(Block{}, later, group(), kStatePage).slots[1], SlotState::unsupported);
}

TEST(PickSlot, TakesTheNewestWholeSlot) {
    PagePick pick = pick_slot(sealed(8), sealed(7), group(), kStatePage);
    EXPECT_TRUE(pick.found);
    EXPECT_EQ(pick.slot, 0u);
    EXPECT_EQ(pick.header.sequence, 8u);
    pick = pick_slot(sealed(8), sealed(9), group(), kStatePage);
    EXPECT_EQ(pick.slot, 1u);
    Block torn = sealed(9);
    std::memset(torn.data() + 512, 0xEE, 1024);
    pick = pick_slot(sealed(8), torn, group(), kStatePage);
    EXPECT_TRUE(pick.found);
    EXPECT_EQ(pick.slot, 0u);
    EXPECT_EQ(pick.slots[1], SlotState::bad);
    pick = pick_slot(Block{}, torn, group(), kStatePage);
    EXPECT_FALSE(pick.found);
    EXPECT_EQ(pick.slots[0], SlotState::blank);
    EXPECT_FALSE(pick_slot(Block{}, Block{}, group(), kStatePage).found);
}

TEST(PickSlot, RefusesAPageThatLandedInTheWrongSlot) {
    const PagePick pick = pick_slot(sealed(8), sealed(10), group(), kStatePage);
    EXPECT_EQ(pick.header.sequence, 8u);
    EXPECT_EQ(pick.slots[1], SlotState::bad);
}

TEST(PageNumbers, AreWhereTheDocumentSays) {
    EXPECT_EQ(slot_offset(8192, PageNumber(3), 1), 8192u + 3 * 8192 + 4096);
    EXPECT_EQ(intent_page(AmfSlot(15)), PageNumber(17));
    EXPECT_EQ(map_page(ExtentIndex(0)), PageNumber(34));
    EXPECT_EQ(map_page(ExtentIndex(14)), PageNumber(35));
    EXPECT_EQ(map_entry(ExtentIndex(18)), 4u);
    EXPECT_EQ(kind_of(PageNumber(0)), PageKind::config);
    EXPECT_EQ(kind_of(PageNumber(1)), PageKind::state);
    EXPECT_EQ(kind_of(PageNumber(17)), PageKind::intent);
    EXPECT_EQ(kind_of(PageNumber(33)), PageKind::volumes);
    EXPECT_EQ(kind_of(PageNumber(34)), PageKind::map);
}

}  // namespace braid
