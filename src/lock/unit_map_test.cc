#include "lock/unit_map.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

// 3 data strips of 16 KiB: the last row of an extent is cut.
const Geometry kGeometry = *Geometry::make(Level::raid5, 4, 16u << 10);

UnitIndex blocks(std::uint64_t n) { return UnitIndex(kFirstBlockUnit.v + n); }

TEST(UnitMap, WithLocksOfStripesContentIsUnderTheLockOfItsStripe) {
    const UnitMap map(kGeometry, {.stripes = 4});
    EXPECT_FALSE(map.fine());
    EXPECT_EQ(map.of_stripe(StripeIndex(7)), UnitIndex(1));
    EXPECT_EQ(map.content({StripeIndex(7), 5000, 20000, 0}), LockUnits{UnitIndex(1)});
    EXPECT_EQ(map.range_of(UnitIndex(1)), (LogicalRange{4 * (48u << 10), 4 * (48u << 10)}));
}

TEST(UnitMap, ContentTakesTheBlocksThatItTouches) {
    const UnitMap map(kGeometry, {.blocks = 2});
    EXPECT_EQ(map.of_stripe(StripeIndex(7)), UnitIndex(7));
    EXPECT_EQ(map.content({StripeIndex(0), 0, 8192, 0}), LockUnits{blocks(0)});
    EXPECT_EQ(map.content({StripeIndex(0), 8191, 2, 0}), (LockUnits{blocks(0), 2}));
    EXPECT_EQ(map.content({StripeIndex(1), 0, 512, 0}), LockUnits{blocks(6)});
    EXPECT_EQ(map.content({StripeIndex(1), 0, 48u << 10, 0}), (LockUnits{blocks(6), 6}));
}

TEST(UnitMap, UnitsOfAllStripesFollowEachOtherOverTheExtentsEnd) {
    const UnitMap map(kGeometry, {.blocks = 4});
    UnitIndex next = blocks(0);
    for (std::uint64_t s = 0; s < 2 * kGeometry.rows_per_extent(); ++s) {
        const auto length = static_cast<std::uint32_t>(kGeometry.range_of(StripeIndex(s)).length);
        const LockUnits units = map.content({StripeIndex(s), 0, length, 0});
        EXPECT_EQ(units.first, next);
        EXPECT_EQ(units.count, length / (16u << 10));
        next.v += units.count;
        const UnitIndex last(next.v - 1);
        EXPECT_EQ(map.piece_of(last).stripe, StripeIndex(s));
        EXPECT_EQ(map.range_of(last).end(), kGeometry.range_of(StripeIndex(s)).end());
    }
    EXPECT_EQ(next, blocks(2 * kExtentSize / (16u << 10)));
}

TEST(UnitMap, NeitherTheTablesNorStripesAreBlocks) {
    const UnitMap map(kGeometry, {.blocks = 1});
    EXPECT_FALSE(map.is_blocks(UnitIndex(12)));
    EXPECT_TRUE(map.is_blocks(blocks(12)));
    EXPECT_FALSE(map.is_blocks(kTablesUnit));
    EXPECT_FALSE(UnitMap(kGeometry, {}).is_blocks(blocks(12)));
}

}  // namespace
}  // namespace braid
