#include "lock/hot_units.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

constexpr AmfId kA(1), kB(2), kC(3);

/// Seconds of grants of one unit, spread evenly, to one AMF after the other.
void trade(HotUnits& hot, UnitIndex unit, Nanos from, unsigned seconds, unsigned rate,
           std::vector<AmfId> among) {
    for (unsigned i = 0; i < seconds * rate; ++i)
        hot.granted(unit, among[i % among.size()], {}, from + i * (Nanos(1s) / rate));
}

TEST(HotUnits, TellsTheRateOfTheLastWholeSecond) {
    HotUnits hot;
    trade(hot, UnitIndex(7), 10s, 1, 40, {kA, kB});
    trade(hot, UnitIndex(8), 10s, 1, 50, {kC});
    hot.waited(UnitIndex(7), 3ms, 10500ms);
    hot.waited(UnitIndex(9), 3ms, 10500ms);  // was never granted
    EXPECT_TRUE(hot.hottest(5, 10900ms).empty());
    const auto units = hot.hottest(5, 11200ms);
    ASSERT_EQ(units.size(), 2u);
    EXPECT_EQ(units[0].unit, UnitIndex(8));
    EXPECT_EQ(units[0].transfers, 50u);
    EXPECT_EQ(units[0].parties, std::vector{kC});
    EXPECT_EQ(units[1].transfers, 40u);
    EXPECT_EQ(units[1].parties, (std::vector{kA, kB}));
    EXPECT_EQ(units[1].waits, 1u);
    EXPECT_EQ(units[1].waited, Nanos(3ms));
    EXPECT_EQ(hot.hottest(1, 11200ms).size(), 1u);
    EXPECT_TRUE(hot.hottest(5, 12100ms).empty());
}

TEST(HotUnits, CallsItPingPongWhileTwoTradeOftenEnoughAndNoLonger) {
    HotUnits hot;
    const auto seconds = [&](Nanos now) { return hot.hottest(1, now).at(0).ping_pong; };
    trade(hot, UnitIndex(1), 0s, 4, 2 * HotUnits::kPingPong, {kA, kB});
    EXPECT_EQ(seconds(4s), 4u);
    trade(hot, UnitIndex(1), 4s, 1, HotUnits::kPingPong, {kA, kB});
    EXPECT_EQ(seconds(5s), 0u);
    trade(hot, UnitIndex(1), 5s, 2, 2 * HotUnits::kPingPong, {kA, kB});
    EXPECT_EQ(seconds(7s), 2u);
    EXPECT_TRUE(hot.hottest(1, 8s).empty());
    trade(hot, UnitIndex(1), 9s, 1, 2 * HotUnits::kPingPong, {kA, kB});
    EXPECT_EQ(seconds(10s), 1u);  // it begins again
    trade(hot, UnitIndex(2), 20s, 4, 2 * HotUnits::kPingPong, {kA});
    EXPECT_EQ(seconds(24s), 0u);  // nobody to trade with
}

TEST(HotUnits, AHotUnitStaysAmongAnyNumberOfColdOnes) {
    HotUnits hot;
    std::uint64_t cold = 1000;
    for (unsigned i = 0; i < 20'000; ++i) {
        const Nanos now = i * 500us;
        // One grant of fifty: more than one of kSlots, but never the next one's neighbour.
        hot.granted(i % 50 == 0 ? UnitIndex(5) : UnitIndex(cold++), i % 100 == 0 ? kA : kB, {}, now);
    }
    const auto units = hot.hottest(1, 10s);
    ASSERT_EQ(units.size(), 1u);
    EXPECT_EQ(units[0].unit, UnitIndex(5));
    EXPECT_EQ(units[0].transfers, 40u);
}

TEST(HotUnits, WhoIsToldOfTheFormerHolderKnowsBoth) {
    HotUnits arbiter, client;
    for (unsigned i = 0; i < 600; ++i) {
        const Nanos now = i * 5ms;
        const AmfId to = i % 2 == 0 ? kA : kB;
        const AmfId former = arbiter.granted(UnitIndex(1), to, {}, now);
        EXPECT_EQ(former, i == 0 ? AmfId() : i % 2 == 0 ? kB : kA);
        if (to == kA) client.granted(UnitIndex(1), to, former, now);
    }
    EXPECT_EQ(client.hottest(1, 3s).at(0).parties, (std::vector{kA, kB}));
    EXPECT_EQ(client.hottest(1, 3s).at(0).transfers, arbiter.hottest(1, 3s).at(0).transfers);
}

TEST(HotUnits, ForgetsWhoDoesNotTakePartAnyMore) {
    HotUnits hot;
    for (std::uint16_t i = 1; i <= 8; ++i) hot.granted(UnitIndex(1), AmfId(i), {}, 1s + i * 1ms);
    EXPECT_EQ(hot.hottest(1, 2s).at(0).parties.size(), HotUnits::kParties);
    trade(hot, UnitIndex(1), 3s, 2, 10, {kA, kB});
    EXPECT_EQ(hot.hottest(1, 5s).at(0).parties, (std::vector{kA, kB}));
}

}  // namespace
}  // namespace braid
