#include "lock/unit_map.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

// 3 data strips of 16 KiB: the last row of an extent is cut.
const Geometry kGeometry = *Geometry::make(Level::raid5, 4, 16u << 10);

UnitIndex blocks(std::uint64_t n) { return UnitIndex(kFirstBlockUnit.v + n); }

TEST(UnitMap, WithLocksOfStripesContentIsUnderTheLockOfItsStripe) {
    const UnitMap map({.stripes = 4});
    EXPECT_FALSE(map.fine());
    EXPECT_EQ(map.of_stripe(StripeIndex(7)), UnitIndex(1));
    EXPECT_EQ(map.content({StripeIndex(7), 5000, 20000, 0}), LockUnits{UnitIndex(1)});
}

TEST(UnitMap, ContentTakesTheBlocksThatItTouches) {
    const UnitMap map({.blocks = 2});
    EXPECT_EQ(map.of_stripe(StripeIndex(7)), UnitIndex(7));
    EXPECT_EQ(map.content({StripeIndex(0), 0, 8192, 0}), LockUnits{blocks(0)});
    EXPECT_EQ(map.content({StripeIndex(0), 8191, 2, 8191}), (LockUnits{blocks(0), 2}));
    EXPECT_EQ(map.content({StripeIndex(1), 0, 512, 48u << 10}), LockUnits{blocks(6)});
    EXPECT_EQ(map.content({StripeIndex(1), 0, 48u << 10, 48u << 10}), (LockUnits{blocks(6), 6}));
}

TEST(UnitMap, UnitsOfAllStripesFollowEachOtherOverTheExtentsEnd) {
    const UnitMap map({.blocks = 4});
    UnitIndex next = blocks(0);
    const auto geometry_of = [](ExtentIndex) { return kGeometry; };
    for_each_stripe(geometry_of, {0, 2 * kExtentSize}, [&](const StripePiece& piece) {
        const LockUnits units = map.content(piece);
        EXPECT_EQ(units.first, next);
        EXPECT_EQ(units.count, piece.length / (16u << 10));
        next.v += units.count;
        EXPECT_EQ(map.bytes_of(UnitIndex(next.v - 1)).end(), piece.end());
    });
    EXPECT_EQ(next, blocks(2 * kExtentSize / (16u << 10)));
}

TEST(UnitMap, NeitherTheTablesNorStripesAreBlocks) {
    const UnitMap map({.blocks = 1});
    EXPECT_FALSE(map.is_blocks(UnitIndex(12)));
    EXPECT_TRUE(map.is_blocks(blocks(12)));
    EXPECT_FALSE(map.is_blocks(kTablesUnit));
    EXPECT_FALSE(UnitMap({}).is_blocks(blocks(12)));
}

}  // namespace
}  // namespace braid
