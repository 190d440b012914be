// A controller that reaches too few members while the others reach all of them: what it was doing is finished
// by the others, once it has left, and by nobody before.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::size_t kStrip = 16u << 10;

bool is(const Buffer& got, const Buffer& want) {
    return got.size() == want.size() && std::memcmp(got.data(), want.data(), got.size()) == 0;
}

void cut_all(Node& node) { node.cut.fill(true); }

/// Controller 1 writes, loses its paths after some steps, and leaves; meanwhile 3 writes the same blocks.
class Leave {
public:
    explicit Leave(std::uint64_t seed, bool rival) : rival_(rival), world_(options(seed)) {
        for (std::uint16_t id = 1; id <= 3; ++id) world_.start(id);
        EXPECT_TRUE(world_.write(1, 0, first_));
        world_.settle();
    }

    /// True while the write was still going on at that step.
    bool go(std::size_t step) {
        std::optional<Status> written, rival;
        world_.node(1).scope->spawn(World::keep(world_.amf(1).write(4096, Slice(second_), false), written));
        for (std::size_t i = 0; i < step; ++i) world_.step();
        const bool late = written.has_value();
        cut_all(world_.node(1));
        const Buffer third = pattern(3, second_.size());
        if (rival_) {
            world_.node(3).scope->spawn(World::keep(world_.amf(3).write(4096, Slice(third), false), rival));
        }
        world_.run_until([&] { return written.has_value(); }, 10s);
        EXPECT_TRUE(written.has_value());
        // It learns at the latest by its next write.
        EXPECT_FALSE(world_.write(1, 40 * kStrip, second_));
        EXPECT_TRUE(world_.run_until([&] { return world_.amf(1).tables().offline(); }, 5s));
        EXPECT_FALSE(world_.amf(2).tables().offline());
        world_.leave(1);
        world_.settle();
        world_.run_until([&] { return !rival_ || rival.has_value(); }, 10s);

        const Buffer before = Buffer::copy_of(first_.span(4096, second_.size()));
        const Buffer got = world_.read(2, 4096, second_.size());
        if (rival_) {
            EXPECT_TRUE(rival && *rival);
            // An answered write of ours may only be followed by theirs.
            EXPECT_TRUE(is(got, third) || (is(got, second_) && *written));
        } else if (*written) {
            EXPECT_TRUE(is(got, second_));
        } else {
            EXPECT_TRUE(is(got, second_) || is(got, before));
        }
        EXPECT_TRUE(is(world_.read(3, 4096, second_.size()), got));
        EXPECT_TRUE(world_.unclean(3, 4 * kStrip).empty());
        for (std::uint16_t id = 2; id <= 3; ++id) {
            EXPECT_EQ(world_.bytes_left_at(id), 0u);
            EXPECT_EQ(world_.amf(id).conditions().quarantined_stripes, 0u);
        }
        // Degraded it is the same: parity was right.
        world_.media[0]->dead = true;
        EXPECT_TRUE(is(world_.read(2, 4096, second_.size()), got));
        return !late;
    }

private:
    static WorldOptions options(std::uint64_t seed) {
        return {.level = Level::raid5, .disks = 5, .strip_size = kStrip, .seed = seed};
    }
    bool rival_;
    World world_;
    Buffer first_ = pattern(1, 4 * kStrip);
    Buffer second_ = pattern(2, 8192);
};

TEST(Leave, AtEveryStepOfAWriteItIsFinishedOrNeverWas) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
        bool going_on = true;
        for (std::size_t step = 0; going_on && !HasFailure(); ++step) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed << ", step " << step);
            going_on = Leave(seed, false).go(step);
        }
    }
}

TEST(Leave, TheLockOfAHalfWrittenStripeGoesToNobodyBefore) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
        bool going_on = true;
        for (std::size_t step = 0; going_on && !HasFailure(); ++step) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed << ", step " << step);
            going_on = Leave(seed, true).go(step);
        }
    }
}

TEST(Leave, AnAnsweredWriteOfAnotherIsNeverUndoneByALaterRecovery) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    world.settle();
    // The data goes to the disks, the parity does not, and then nothing does.
    const Zone zone = *world.amf(1).tables().zone(ExtentIndex(0));
    const auto member = [&](std::uint8_t role) {
        return strip_place(world.config.geometry, zone, Row(0), Role(role), world.config.data_start).member.v;
    };
    for (const std::uint8_t role : {std::uint8_t{0}, std::uint8_t{4}}) world.node(1).cut[member(role)] = true;
    EXPECT_FALSE(world.write(1, 0, pattern(2, 8192)));
    EXPECT_TRUE(world.amf(1).conditions().offline);
    EXPECT_TRUE(world.read(1, 0, 8192).empty());  // not from a stripe that may be half-written
    std::optional<Status> second;
    const Buffer data = pattern(3, 8192);
    world.node(3).scope->spawn(World::keep(world.amf(3).write(0, Slice(data), false), second));
    world.run_until([] { return false; }, 5s);
    EXPECT_FALSE(second.has_value());
    world.leave(1);
    world.run_until([&] { return second.has_value(); }, 5s);
    ASSERT_TRUE(second && *second);
    world.kill(2);
    world.adopt();
    world.settle();
    EXPECT_TRUE(is(world.read(3, 0, 8192), data));
    EXPECT_TRUE(world.unclean(3, 4 * kStrip).empty());
}

TEST(Leave, WhatItRecoveredForAnotherIsFinishedByAThird) {
    for (std::size_t step = 0; step < 60; ++step) {
        SCOPED_TRACE(::testing::Message() << "step " << step);
        World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
        for (std::uint16_t id = 1; id <= 4; ++id) world.start(id);
        ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
        world.settle();
        std::optional<Status> written;
        const Buffer data = pattern(2, 8192);
        world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(data), false), written));
        for (std::size_t i = 0; i < 12; ++i) world.step();
        world.kill(1, InFlight::mixed);
        world.adopt();
        for (std::size_t i = 0; i < step; ++i) world.step();
        cut_all(world.node(2));
        world.settle();
        (void)world.write(2, 2 * kStrip, data);
        ASSERT_TRUE(world.run_until([&] { return world.amf(2).tables().offline(); }, 5s));
        world.leave(2);
        const Buffer got = world.read(3, 0, 8192);
        ASSERT_EQ(got.size(), 8192u);
        EXPECT_TRUE(is(got, data) || is(got, Buffer::copy_of(pattern(1, 4 * kStrip).span(0, 8192))));
        EXPECT_TRUE(world.unclean(4, 4 * kStrip).empty());
        EXPECT_EQ(world.bytes_left_at(3) + world.bytes_left_at(4), 0u);
    }
}

TEST(Leave, ARecordOfAnEarlierZoneIsDropped) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    const Buffer data = pattern(1, 4 * kStrip);
    ASSERT_TRUE(world.write(2, 0, data));
    world.settle();
    const std::uint32_t now = world.amf(1).tables().zone(ExtentIndex(0))->generation;
    const RecordId id{AmfId(1), world.node(1).incarnation, 1u << 24};
    BeginFrame begin{
        {id, id, 0, StripeIndex(0), 0, now - 1, 0, kBlockSize}, 0, Slice(pattern(7, kBlockSize))};
    RedoFrame redo{id, {1, 0, kBlockSize, Slice(pattern(8, kBlockSize))}};
    world.amf(2).deliver(AmfId(1), encode(world.group, begin));
    world.amf(2).deliver(AmfId(1), encode(world.group, redo));
    EXPECT_GT(world.bytes_left_at(2), 0u);
    world.kill(1);
    world.adopt();
    world.settle();
    EXPECT_EQ(world.bytes_left_at(2), 0u);
    EXPECT_TRUE(is(world.read(2, 0, data.size()), data));
    EXPECT_TRUE(world.unclean(2, 4 * kStrip).empty());
}

WorldOptions writing_back(PowerLoss power_loss, std::uint8_t dimension) {
    SharingOptions sharing;
    sharing.write_cache = WriteCache::back;
    AmfOptions amf;
    amf.dirty_age = 20s;
    return {.strip_size = kStrip,
            .dimension = dimension,
            .sharing = sharing,
            .power_loss = power_loss,
            .amf = amf};
}

TEST(Leave, AFlushDoesNotWaitForWhatWillBeFinishedWhenItHasLeft) {
    for (const PowerLoss power_loss : {PowerLoss::resync, PowerLoss::journal}) {
        World world(writing_back(power_loss, 3));
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        const Buffer data = pattern(1, 8192);
        ASSERT_TRUE(world.write(1, 0, data));
        cut_all(world.node(2));
        world.kill(1);
        world.adopt();  // 2 has the record, and cannot finish it
        std::optional<Status> flushed;
        world.node(2).scope->spawn(World::keep(world.amf(2).flush(), flushed));
        ASSERT_TRUE(world.run_until([&] { return world.amf(2).tables().offline(); }, 5s));
        ASSERT_TRUE(world.run_until([&] { return flushed.has_value(); }, 5s));
        EXPECT_FALSE(*flushed);
        world.leave(2);
        EXPECT_TRUE(is(world.read(3, 0, data.size()), data));
    }
}

TEST(Leave, TwoWhoseFlushesWaitForEachOtherLeaveBoth) {
    World world(writing_back(PowerLoss::journal, 2));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    const Buffer data = pattern(1, 8192);
    for (std::uint16_t id = 1; id <= 2; ++id) ASSERT_TRUE(world.write(id, id * 4 * kStrip, data));
    for (std::uint16_t id = 1; id <= 2; ++id) ASSERT_TRUE(world.run(id, world.amf(id).flush()));
    world.slow = {{1, 2}, {2, 1}};
    std::array<std::optional<Status>, 2> flushed;
    for (std::uint16_t id = 1; id <= 2; ++id)
        world.node(id).scope->spawn(World::keep(world.amf(id).flush(), flushed[id - 1]));
    world.settle();
    for (const auto& media : world.media) media->dead = true;
    std::array<std::optional<Status>, 2> written;
    for (std::uint16_t id = 1; id <= 2; ++id) {
        world.node(id).scope->spawn(World::keep(
            world.amf(id).write(id * 4 * kStrip, Slice(pattern(2, 4 * kStrip)), false), written[id - 1]));
    }
    world.run_until([] { return false; }, 100ms);
    world.slow.clear();
    world.run_until([&] { return world.amf(1).tables().offline() && world.amf(2).tables().offline(); }, 60s);
    EXPECT_TRUE(world.amf(1).tables().offline() && world.amf(2).tables().offline());
    EXPECT_TRUE(world.run_until([&] { return flushed[0].has_value() && flushed[1].has_value(); }, 5s));
}

/// Content that comes along with a lock is nowhere dirty while the lock is on its way; it needs copies all
/// the same.
TEST(Leave, WaitsForWhatComesToOthersWithALock) {
    WorldOptions options = writing_back(PowerLoss::resync, 3);
    options.sharing.granularity.stripes = 2;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    constexpr std::uint64_t kStripe = 4 * kStrip;
    const auto decided_by_3 = [&](std::uint64_t stripe) {
        const UnitIndex unit = world.amf(1).units().of_stripe(StripeIndex(stripe));
        return arbiter_of(unit, world.amf(1).view()) == AmfId(3);
    };
    std::uint64_t stripe = 0;
    while (!decided_by_3(stripe)) stripe += 2;
    const std::uint64_t at = stripe * kStripe;
    ASSERT_TRUE(world.write(1, at, pattern(1, 2 * kStripe)));
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    world.settle();
    const Buffer data = pattern(2, 8192);
    ASSERT_TRUE(world.write(1, at + kStripe, data));
    std::optional<Status> written, left;
    world.node(2).scope->spawn(
        World::keep(world.amf(2).write(at + kStrip, Slice(pattern(3, 4096)), false), written));
    ASSERT_TRUE(world.run_until([&] { return world.amf(1).counters().passed_on == 1; }, 5s));
    world.slow = {{3, 2}};  // the lock
    world.settle();
    ASSERT_FALSE(written.has_value());
    Scope scope(world.executor);
    scope.spawn(World::keep(World::stop(world.amf(1)), left));
    world.run_until([&] { return left.has_value(); }, 1s);
    EXPECT_FALSE(left.has_value());
    world.slow.clear();
    ASSERT_TRUE(world.run_until([&] { return left.has_value(); }, 100ms));  // not a matter of age
    world.kill(1, InFlight::lost);
    world.adopt();
    world.kill(2, InFlight::lost);
    world.kill(3, InFlight::lost);
    world.start(4);
    EXPECT_TRUE(is(world.read(4, at + kStripe, data.size()), data));
}

}  // namespace
}  // namespace braid::testing
