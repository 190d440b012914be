#include "ondisk/superblock.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cstring>

#include "base/crc32c.h"
#include "ondisk/space.h"

namespace braid {
namespace {

using Block = std::array<std::byte, kPageSize>;

Superblock sample(std::uint64_t sequence = 5) {
    Superblock s;
    s.sequence = sequence;
    s.group.bytes.fill(0x11);
    s.disk.bytes.fill(0x22);
    s.member = MemberIndex(3);
    s.group_name = "g0";
    s.disk_size = 1ull << 30;
    s.table_start = kTableStart;
    s.page_count = 100;
    s.data_start = 1 << 20;
    s.units = 16367;
    return s;
}

Block encoded(const Superblock& s) {
    Block block;
    block.fill(std::byte{0xA5});
    s.encode(block);
    return block;
}

// Changes bytes and makes the checksum right again, as a hostile or a later writer would.
template <class T>
Block altered(Block block, std::size_t offset, T value) {
    std::memcpy(block.data() + offset, &value, sizeof(value));
    std::memset(block.data() + 12, 0, 4);
    const std::uint32_t crc = crc32c(block);
    std::memcpy(block.data() + 12, &crc, 4);
    return block;
}

Errc code_of(const auto& result) { return result ? Errc::exists : result.error().code; }

}  // namespace

TEST(Superblock, ComesBack) {
    const auto decoded = Superblock::decode(encoded(sample()));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, sample());
    EXPECT_EQ(superblock_copy_offset(10 * 4096 + 100), 9u * 4096);
}

TEST(Superblock, HasTheDocumentedOffsets) {
    const Block block = encoded(sample());
    const auto at = [&](std::size_t offset) { return std::to_integer<unsigned>(block[offset]); };
    EXPECT_EQ(std::memcmp(block.data(), "braidRG1", 8), 0);
    EXPECT_EQ(at(8), 1u);
    EXPECT_EQ(at(32), 5u);
    EXPECT_EQ(at(40), 0x11u);
    EXPECT_EQ(at(56), 0x22u);
    EXPECT_EQ(at(72 + 3), 0x40u);
    EXPECT_EQ(at(80 + 1), 0x20u);
    EXPECT_EQ(at(88 + 2), 0x10u);
    EXPECT_EQ(at(96), 100u);
    EXPECT_EQ(at(100) | at(101) << 8, 16367u);
    EXPECT_EQ(at(104), 3u);
    EXPECT_EQ(at(112), static_cast<unsigned>('g'));
    EXPECT_EQ(at(176), 0u);
}

TEST(Superblock, RefusesEveryFlippedBit) {
    const Block good = encoded(sample());
    for (std::size_t bit = 0; bit < kPageSize * 8; bit += 7) {
        Block block = good;
        block[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
        ASSERT_EQ(code_of(Superblock::decode(block)), bit < 64 ? Errc::not_found : Errc::corrupt) << bit;
    }
}

TEST(Superblock, TellsLaterVersionsFromDamage) {
    const Block good = encoded(sample());
    EXPECT_EQ(code_of(Superblock::decode(altered<std::uint16_t>(good, 8, 2))), Errc::unsupported);
    EXPECT_EQ(code_of(Superblock::decode(altered<std::uint64_t>(good, 16, 1ull << 40))), Errc::unsupported);
    const auto compatible = Superblock::decode(altered<std::uint64_t>(good, 24, 1ull << 40));
    ASSERT_TRUE(compatible);
    EXPECT_EQ(compatible->compat_features, 1ull << 40);
}

TEST(Superblock, RefusesAreasThatOverlapOrLeaveTheDisk) {
    const Block good = encoded(sample());
    const auto refuses = [&](std::size_t offset, auto value) {
        return code_of(Superblock::decode(altered(good, offset, value))) == Errc::corrupt;
    };
    EXPECT_FALSE(refuses(96, std::uint32_t{124}));
    EXPECT_TRUE(refuses(96, std::uint32_t{128}));
    EXPECT_TRUE(refuses(96, std::uint32_t{34}));
    EXPECT_TRUE(refuses(100, std::uint32_t{16368}));
    EXPECT_TRUE(refuses(100, ~std::uint32_t{0}));
    EXPECT_TRUE(refuses(72, std::uint64_t{0}));
    EXPECT_TRUE(refuses(72, ~std::uint64_t{0}));
    EXPECT_TRUE(refuses(80, std::uint64_t{0}));
    EXPECT_TRUE(refuses(80, std::uint64_t{0xfffffffffffff000}));
    EXPECT_TRUE(refuses(88, std::uint64_t{4096}));
    EXPECT_TRUE(refuses(88, std::uint64_t{0xfffffffffffff000}));
    EXPECT_TRUE(refuses(104, std::uint8_t{64}));
    EXPECT_TRUE(refuses(112, std::uint8_t{'/'}));
}

TEST(ChooseSuperblock, TakesTheNewestThatIsWhole) {
    const Block old = encoded(sample(5));
    const Block recent = encoded(sample(6));
    Block torn = recent;
    torn[2000] = std::byte{1};
    auto choice = choose_superblock(old, recent);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->superblock.sequence, 6u);
    EXPECT_TRUE(choice->from_copy);
    EXPECT_FALSE(choice->both_agree);
    choice = choose_superblock(recent, old);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->superblock.sequence, 6u);
    EXPECT_FALSE(choice->from_copy);
    choice = choose_superblock(torn, old);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->superblock.sequence, 5u);
    choice = choose_superblock(old, torn);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->superblock.sequence, 5u);
    EXPECT_TRUE(choose_superblock(old, old)->both_agree);
    EXPECT_EQ(code_of(choose_superblock(torn, torn)), Errc::corrupt);
    EXPECT_EQ(code_of(choose_superblock(Block{}, torn)), Errc::corrupt);
    EXPECT_EQ(code_of(choose_superblock(Block{}, Block{})), Errc::not_found);
}

TEST(ChooseSuperblock, NeverGoesBackBehindALaterVersion) {
    const Block old = encoded(sample(5));
    const Block later = altered<std::uint16_t>(encoded(sample(6)), 8, 2);
    EXPECT_EQ(code_of(choose_superblock(later, old)), Errc::unsupported);
    EXPECT_EQ(code_of(choose_superblock(old, later)), Errc::unsupported);
}

TEST(ChooseSuperblock, BelievesTheFirstWhenTheCopyIsOfAnotherGroup) {
    Superblock foreign = sample(99);
    foreign.group.bytes.fill(0x77);
    const auto choice = choose_superblock(encoded(sample(1)), encoded(foreign));
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->superblock, sample(1));
    EXPECT_FALSE(choice->both_agree);
}

TEST(SpacePlan, FillsEqualDisks) {
    const Geometry geometry = *Geometry::make(Level::raid6, 6);
    const auto plan = plan_space(geometry, std::vector<std::uint64_t>(6, 1ull << 30));
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->data_start, 1u << 20);
    EXPECT_EQ(plan->units, std::vector<std::uint32_t>(6, 1023 * 16 - 1));
    EXPECT_EQ(plan->extents, 63u);
    EXPECT_EQ(plan->page_count, 127u);
    EXPECT_EQ(units_on(smallest_disk(plan->data_start, 63), plan->data_start), 63u);
    EXPECT_EQ(units_on(smallest_disk(plan->data_start, 63) - kPageSize, plan->data_start), 62u);
}

TEST(SpacePlan, HasMapForTwiceTheMembersAndNotLessThanBefore) {
    EXPECT_EQ(members_with_map(3), 24u);
    EXPECT_EQ(members_with_map(20), 40u);
    EXPECT_EQ(members_with_map(60), 64u);
    const Geometry geometry = *Geometry::make(Level::raid6, 60, kDefaultStripSize, 10);
    const auto plan = plan_space(geometry, std::vector<std::uint64_t>(60, 1ull << 40));
    ASSERT_TRUE(plan);
    const std::uint64_t most = std::uint64_t{plan->page_count - kFirstMapPage.v} * kZonesPerPage;
    EXPECT_GE(most * 60, plan->extents * 64ull);
    EXPECT_LT(plan->data_start, 512u << 20);
}

TEST(SpacePlan, RefusesDisksThatHoldNothing) {
    const Geometry geometry = *Geometry::make(Level::raid5, 3);
    EXPECT_EQ(code_of(plan_space(geometry, std::vector<std::uint64_t>{1ull << 30, 1ull << 30})),
              Errc::invalid);
    EXPECT_EQ(code_of(plan_space(geometry, std::vector<std::uint64_t>(65, 1ull << 30))), Errc::invalid);
    EXPECT_EQ(code_of(plan_space(geometry, std::vector<std::uint64_t>{1ull << 30, 1ull << 30, 16 << 20})),
              Errc::no_space);
    EXPECT_EQ(
        plan_space(geometry, std::vector<std::uint64_t>{1ull << 30, 1ull << 30, 16 << 20}).error().detail,
        2u);
    EXPECT_EQ(code_of(plan_space(geometry, std::vector<std::uint64_t>(3, 0))), Errc::no_space);
}

TEST(SpacePlanProperty, EveryPlanMakesSuperblocksThatDecode) {
    EXPECT_TRUE(rc::check("areas do not overlap and the map holds every extent", [] {
        const auto members = *rc::gen::inRange<std::size_t>(5, 65);
        const Geometry geometry =
            *Geometry::make(*rc::gen::element(Level::mirror, Level::raid5, Level::raid6, Level::raid7_3),
                            members, kMinStripSize << *rc::gen::inRange(0, 9));
        const std::uint64_t unit = 80ull << (20 + *rc::gen::inRange(0, 16));
        std::vector<std::uint64_t> sizes;
        for (std::size_t i = 0; i < members; ++i) sizes.push_back(*rc::gen::inRange(unit, 64 * unit));
        const auto plan = plan_space(geometry, sizes);
        RC_ASSERT(plan.has_value());
        RC_ASSERT(plan->extents <= std::uint64_t{plan->page_count - kFirstMapPage.v} * kZonesPerPage);
        std::vector<std::uint32_t> segments = plan->units;
        for (std::uint32_t& count : segments) count /= geometry.zone_size().units;
        RC_ASSERT(plan->extents == zone_capacity(segments, geometry.width()));
        for (std::size_t i = 0; i < members; ++i) {
            Superblock s = sample();
            s.disk_size = sizes[i];
            s.page_count = plan->page_count;
            s.data_start = plan->data_start;
            s.units = plan->units[i];
            const auto decoded = Superblock::decode(encoded(s));
            RC_ASSERT(decoded.has_value());
            RC_ASSERT(*decoded == s);
            RC_ASSERT(s.data_start + (s.units + std::uint64_t{1}) * kSegmentUnit >
                      superblock_copy_offset(sizes[i]));
        }
    }));
}

}  // namespace braid
