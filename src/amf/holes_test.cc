// What several AMFs have trimmed (decisions/019): what hosts are told of it, and zones that go because of it,
// beside writes of others and deaths at every step.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::size_t kPiece = 8192;
constexpr std::uint64_t kHalf = 30u << 20;  // where a unit begins
using Runs = std::vector<AllocationRun>;

struct Shape {
    const char* name;
    bool write_back = false;
    Granularity granularity{.stripes = 3};  // one unit reaches into the next extent
    Coherency coherency = Coherency::arbiter;
    Replication replication = Replication::synchronous;
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

struct TestLease final : Lease {
    bool live() const override { return is_live; }
    bool is_live = true;
};

WorldOptions options_of(const Shape& shape, std::uint64_t seed = 1) {
    WorldOptions out;
    out.strip_size = 512u << 10;  // few stripes, few steps
    out.seed = seed;
    out.sharing.granularity = shape.granularity;
    out.sharing.coherency = shape.coherency;
    if (shape.write_back) out.sharing.write_cache = WriteCache::back;
    out.sharing.replication = shape.replication;
    out.amf.cache = 1u << 20;
    return out;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}
Buffer zeros() { return Buffer::zeroed(kPiece); }
bool has_zone(Amf& amf) { return amf.tables().zone(ExtentIndex(0)) != nullptr; }
Status trim(World& world, std::uint16_t id, std::uint64_t at, std::uint64_t length) {
    return world.run(id, world.amf(id).write_zeroes(at, length, true, false));
}
Runs map(World& world, std::uint16_t id, std::uint64_t at, std::uint64_t length, std::size_t most = 100) {
    return *world.run(id, world.amf(id).allocation(at, length, most, AllocationDetail::blocks));
}
bool released(World& world, std::uint16_t id) {
    return world.run_until([&] { return !has_zone(world.amf(id)); }, 5s);
}

class Holes : public ::testing::TestWithParam<Shape> {};

TEST_P(Holes, TrimmedPartsAreToldThroughEverybodyUntilTheyAreWritten) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    EXPECT_EQ(map(world, 1, 0, 2 * kExtentSize), (Runs{{2 * kExtentSize, true}}));
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    EXPECT_EQ(map(world, 2, 0, 2 * kExtentSize), (Runs{{kExtentSize, false}, {kExtentSize, true}}));
    const std::uint64_t mib = 1u << 20;
    ASSERT_TRUE(trim(world, 1, mib, mib + 1));  // ends inside of a block
    ASSERT_TRUE(trim(world, 2, 20 * mib, mib));
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_EQ(map(world, id, 100, 2 * kExtentSize - 100), (Runs{{mib - 100, false},
                                                                    {mib, true},
                                                                    {18 * mib, false},
                                                                    {mib, true},
                                                                    {kExtentSize - 21 * mib, false},
                                                                    {kExtentSize, true}}));
        EXPECT_EQ(map(world, id, mib + 5, mib, 1), (Runs{{mib - 5, true}}));
        EXPECT_EQ(*world.run(id, world.amf(id).allocation(0, kExtentSize, 9, AllocationDetail::extents)),
                  (Runs{{kExtentSize, false}}));
    }
    ASSERT_TRUE(world.write(3, mib + kPiece, pattern(2, kPiece)));
    for (std::uint16_t id = 1; id <= 3; ++id) {
        for (std::uint64_t at = mib; const AllocationRun& run : map(world, id, mib, mib)) {
            const bool meets = at < mib + 2 * kPiece && at + run.length > mib + kPiece;
            if (run.hole) EXPECT_FALSE(meets) << "at " << at << ", " << run.length;
            at += run.length;
        }
        EXPECT_EQ(map(world, id, 20 * mib, mib), (Runs{{mib, true}}));
    }
    world.kill(2, InFlight::lost);
    world.adopt();
    EXPECT_EQ(map(world, 3, 20 * mib, mib), (Runs{{mib, false}})) << "nobody remembers";
}

TEST_P(Holes, WhatWasTrimmedThroughSeveralGivesTheZoneBack) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(3, kHalf, pattern(1, kPiece)));
    ASSERT_TRUE(world.write(3, kExtentSize - kPiece, pattern(3, kPiece)));
    ASSERT_TRUE(world.write(1, kExtentSize, pattern(2, kPiece)));
    // Inside of a stripe: what was trimmed of it first is forgotten when the other one takes its lock.
    const std::uint64_t first = kHalf + 5 * kPiece + 100, second = kExtentSize - (3u << 20);
    ASSERT_TRUE(trim(world, 1, 0, first));
    ASSERT_TRUE(trim(world, 2, first, second - first));
    EXPECT_FALSE(released(world, 1));
    ASSERT_TRUE(trim(world, 3, second, kExtentSize - second));
    for (std::uint16_t id = 1; id <= 3; ++id) EXPECT_TRUE(released(world, id));
    std::uint64_t added_up = 0;
    for (std::uint16_t id = 1; id <= 3; ++id) added_up += world.amf(id).counters().added_up_extents;
    EXPECT_EQ(added_up, 1u);
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_TRUE(same(world.read(id, kHalf, kPiece), zeros()));
        EXPECT_TRUE(same(world.read(id, kExtentSize, kPiece), pattern(2, kPiece)));
    }
}

TEST_P(Holes, TheOthersAreAskedOnceForManyTrims) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(trim(world, 1, std::uint64_t(i) << 20, kPiece));
    (void)world.run_until([] { return false; }, 10s);
    EXPECT_EQ(world.amf(1).counters().trims_asked, 1u);
    EXPECT_TRUE(has_zone(world.amf(1)));
}

TEST_P(Holes, WhatLiesBetweenAndWasNotTrimmedStays) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, kHalf, pattern(1, kPiece)));
    ASSERT_TRUE(trim(world, 1, 0, kHalf));
    ASSERT_TRUE(trim(world, 2, kHalf + kPiece, kExtentSize - kHalf - kPiece));
    EXPECT_FALSE(released(world, 1));
    EXPECT_EQ(world.amf(1).counters().trims_not_zeros + world.amf(2).counters().trims_not_zeros, 2u);
    for (std::uint16_t id = 1; id <= 2; ++id)
        EXPECT_TRUE(same(world.read(id, kHalf, kPiece), pattern(1, kPiece)));
}

/// `other` so many steps after the question of who has trimmed last. False when all was over before.
template <class Other>
bool beside(World& world, std::size_t steps, Other&& other) {
    EXPECT_TRUE(world.write(3, 0, pattern(1, kPiece)));
    EXPECT_TRUE(trim(world, 1, 0, kHalf));
    (void)world.run_until([&] { return false; }, 2s);
    EXPECT_TRUE(trim(world, 2, kHalf, kExtentSize - kHalf));
    const std::uint64_t asked = world.amf(2).counters().trims_asked;
    EXPECT_TRUE(world.run_until([&] { return world.amf(2).counters().trims_asked != asked; }, 2s));
    for (std::size_t i = 0; i < steps && has_zone(world.amf(2)); ++i) world.step();
    const bool inside = has_zone(world.amf(2));
    if (inside) other();
    return inside;
}

/// What is written after its trim was told is there, and is told to hosts.
bool a_write_beside_stays(const Shape& shape, std::size_t steps, std::uint64_t seed) {
    World world(options_of(shape, seed));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const std::uint64_t at = seed % 2 == 0 ? 3u << 20 : kExtentSize - kPiece;
    const Buffer fresh = pattern(2, kPiece);
    const bool inside = beside(world, steps, [&] { EXPECT_TRUE(world.write(3, at, fresh)); });
    if (inside) EXPECT_EQ(map(world, 1, at, kPiece), (Runs{{kPiece, false}}));
    (void)world.run_until([&] { return false; }, 2s);
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_TRUE(same(world.read(id, at, kPiece), inside ? fresh : zeros()));
        EXPECT_TRUE(same(world.read(id, 5u << 20, kPiece), zeros()));
    }
    EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_TRUE(world.unclean(3, kExtentSize).empty());
    return inside && !::testing::Test::HasFailure();
}

TEST_P(Holes, AWriteBesideItStays) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        std::size_t steps = 0;
        while (a_write_beside_stays(GetParam(), steps, seed)) steps += 1 + steps / 2;
        ASSERT_FALSE(HasFailure()) << "step " << steps << ", seed " << seed;
        EXPECT_GT(steps, 20u);
    }
}

/// What is taken from others in vain, because a third one trims it again, is known to nobody afterwards.
TEST_P(Holes, ATrimBesideItAddsUpTheSame) {
    std::size_t steps = 0;
    for (bool inside = true; inside; steps += 1 + steps / 2) {
        World world(options_of(GetParam()));
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        inside = beside(world, steps, [&] { EXPECT_TRUE(trim(world, 3, 0, kHalf)); });
        ASSERT_TRUE(released(world, 1)) << "step " << steps;
    }
    EXPECT_GT(steps, 20u);
}

/// Who adds up dies, or who had trimmed the other half: all reads as zeros, and nothing is in the way.
bool dies_at(const Shape& shape, std::size_t steps, std::uint16_t who) {
    World world(options_of(shape));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const bool inside = beside(world, steps, [&] {
        world.kill(who, InFlight::torn);
        world.adopt();
    });
    if (!inside) return false;
    const std::uint16_t left = who == 1 ? 2 : 1;
    (void)world.run_until([&] { return false; }, 2s);
    for (const std::uint16_t id : {left, std::uint16_t{3}}) {
        for (const std::uint64_t at : {std::uint64_t{0}, kHalf, kExtentSize - kPiece})
            EXPECT_TRUE(same(world.read(id, at, kPiece), zeros()));
    }
    EXPECT_TRUE(trim(world, left, 0, kHalf));
    EXPECT_TRUE(trim(world, 3, kHalf, kExtentSize - kHalf));
    EXPECT_TRUE(released(world, 3));
    return !::testing::Test::HasFailure();
}

TEST_P(Holes, ADeathLosesNothing) {
    for (const std::uint16_t who : {std::uint16_t{1}, std::uint16_t{2}}) {
        std::size_t steps = 0;
        while (dies_at(GetParam(), steps, who)) steps += 1 + steps / 2;
        ASSERT_FALSE(HasFailure()) << "step " << steps << ", dies " << who;
        EXPECT_GT(steps, 20u);
    }
}

TEST_P(Holes, TrimsAtTheSameTimeAddUp) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        World world(options_of(GetParam(), seed));
        std::array<std::optional<Status>, 3> done;
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
        for (std::uint16_t id = 1; id <= 3; ++id) {
            const std::uint64_t from = (id - 1) * (kExtentSize / 3),
                                to = id == 3 ? kExtentSize : id * (kExtentSize / 3);
            world.node(id).scope->spawn(
                World::keep(world.amf(id).write_zeroes(from, to - from, true, false), done[id - 1]));
        }
        EXPECT_TRUE(released(world, 2)) << "seed " << seed;
    }
}

TEST_P(Holes, WhoDoesNotAnswerIsAskedAgainAndKeepsNobodyWaiting) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(trim(world, 1, 0, kHalf));
    ASSERT_TRUE(trim(world, 2, kHalf, kExtentSize - kHalf));
    const Runs half = map(world, 2, 0, kExtentSize);
    EXPECT_EQ(half, (Runs{{kExtentSize, true}}));
    world.slow.insert({1, 2});
    const Nanos begun = world.clock.now();
    const Runs seen = map(world, 2, 0, kExtentSize);
    EXPECT_LT(world.clock.now() - begun, 100ms);
    EXPECT_FALSE(seen.front().hole);
    EXPECT_TRUE(seen.back().hole);
    EXPECT_FALSE(released(world, 2));
    world.slow.clear();
    EXPECT_TRUE(released(world, 2));
}

TEST_P(Holes, WithoutALeaseNothingIsTold) {
    TestLease lease;
    WorldOptions options = options_of(GetParam());
    options.amf.lease = &lease;
    World world(options);
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(trim(world, 1, kHalf, kPiece));
    EXPECT_EQ(map(world, 2, kHalf, kPiece), (Runs{{kPiece, true}}));
    lease.is_live = false;
    for (std::uint16_t id = 1; id <= 2; ++id)
        EXPECT_EQ(map(world, id, kHalf, kPiece), (Runs{{kPiece, false}}));
}

/// A death may take back what was answered before its copies stood, and nobody has been told of it.
TEST(HolesEarly, AreToldWhenTheCopiesStand) {
    WorldOptions options = options_of({"early", true, {}, Coherency::arbiter, Replication::asynchronous});
    options.amf.destages = 0;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    world.settle();
    for (std::uint16_t partner : {std::uint16_t{2}, std::uint16_t{3}}) world.slow.insert({partner, 1});
    ASSERT_TRUE(trim(world, 1, 0, kPiece));
    EXPECT_NE(world.amf(1).conditions().uncopied_bytes, 0u);
    std::optional<Result<Runs>> told;
    world.node(1).scope->spawn(
        World::keep(world.amf(1).allocation(0, kPiece, 9, AllocationDetail::blocks), told));
    world.settle();
    EXPECT_FALSE(told);
    world.slow.clear();
    ASSERT_TRUE(world.run_until([&] { return told.has_value(); }));
    EXPECT_EQ(**told, (Runs{{kPiece, true}}));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Holes,
    ::testing::Values(Shape{"write_through"}, Shape{.name = "write_back", .write_back = true},
                      Shape{.name = "blocks", .granularity = {.stripes = 1, .blocks = 128}},
                      Shape{.name = "broadcast", .coherency = Coherency::broadcast}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace braid::testing
