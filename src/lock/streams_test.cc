#include "lock/streams.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

/// Units from `from` on, each a miss unless it was named before. How many misses there are.
unsigned misses(Streams& streams, std::uint64_t from, std::uint64_t units) {
    unsigned out = 0;
    for (std::uint64_t unit = from; unit < from + units; ++out) unit += 1u + streams.miss(UnitIndex(unit));
    return out;
}

TEST(Streams, NameTwiceAsManyEachTime) {
    Streams streams(32);
    EXPECT_EQ(streams.miss(UnitIndex(100)), 0u);
    EXPECT_EQ(streams.miss(UnitIndex(101)), 2u);
    EXPECT_EQ(streams.miss(UnitIndex(104)), 6u);
    EXPECT_EQ(streams.miss(UnitIndex(111)), 14u);
    EXPECT_EQ(streams.miss(UnitIndex(5)), 0u);
    EXPECT_EQ(Streams(0).miss(UnitIndex(1)), 0u);
}

TEST(Streams, NameWhatAnOperationWantsAndGoOnBehindIt) {
    Streams streams(32);
    EXPECT_EQ(streams.miss(UnitIndex(100), 3), 3u);
    EXPECT_EQ(streams.miss(UnitIndex(104), 3), 5u) << "a stream: two more";
    EXPECT_EQ(streams.miss(UnitIndex(110), 3), 9u);
    EXPECT_EQ(streams.miss(UnitIndex(126), 3), 1u) << "no further than the neighbourhood";
    EXPECT_EQ(streams.miss(UnitIndex(5), 100), 58u);
    EXPECT_EQ(Streams(0).miss(UnitIndex(1), 2), 2u) << "that is no prefetch";
}

TEST(Streams, GoOnBehindTheirNeighbourhood) {
    Streams streams(32);
    (void)misses(streams, 0, 50);
    for (std::uint64_t n = 1; n < 20; ++n) {
        std::uint64_t unit = n * kNeighbourhoodUnits;
        unsigned requests = 0;
        while (unit < (n + 1) * kNeighbourhoodUnits) {
            const std::uint8_t named = streams.miss(UnitIndex(unit));
            ++requests;
            EXPECT_EQ((unit + named) / kNeighbourhoodUnits, n) << "named what it cannot get";
            unit += 1u + named;
        }
        if (n > 1) EXPECT_EQ(requests, 2u);
    }
}

}  // namespace
}  // namespace braid
