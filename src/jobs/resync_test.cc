#include "jobs/resync.h"

#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;

TEST(Resync, MakesParityFitTheDataAsItIs) {
    World world({.level = Level::raid6, .disks = 6, .strip_size = 16u << 10, .checksums = false});
    world.start(1);
    const Buffer data = pattern(1, 1u << 20);
    ASSERT_TRUE(world.write(1, 0, data));
    const Geometry& geometry = world.config.geometry;
    const Zone& zone = *world.amf(1).tables().zone(ExtentIndex(0));
    for (std::uint32_t row : {3u, 9u}) {
        const DiskPlace at = strip_place(geometry, zone, Row(row), Role(5), world.config.data_start);
        world.media[at.member.v]->pages[at.offset / kBlockSize] = pattern(row, kBlockSize);
    }
    EXPECT_EQ(world.unclean(1, kExtentSize).size(), 2u);
    Resync resync(world.amf(1));
    ASSERT_TRUE(world.run(1, resync.regions({RegionIndex(0)})));
    EXPECT_EQ(resync.progress().corrected, 2u);
    EXPECT_EQ(resync.progress().checked, kRegionSize / (4 * (16u << 10)));
    EXPECT_EQ(resync.progress().done_bytes, resync.progress().total_bytes);
    EXPECT_TRUE(world.unclean(1, kExtentSize).empty());
    const Buffer back = world.read(1, 0, data.size());
    EXPECT_EQ(std::memcmp(back.data(), data.data(), data.size()), 0);
}

TEST(Resync, MakesParityRightAfterAllHoldersOfARecordDied) {
    std::uint64_t corrected = 0;
    for (std::size_t step = 0; step < 60; ++step) {
        World world({.level = Level::raid5, .disks = 5, .strip_size = 16u << 10});
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * (16u << 10))));
        world.settle();
        std::optional<Status> result;
        const Buffer data = pattern(2, 8192);
        world.node(1).scope->spawn(World::keep(world.amf(1).write(4096, Slice(data), false), result));
        for (std::size_t i = 0; i < step; ++i) world.step();
        world.kill(1, InFlight::mixed);
        world.kill(2, InFlight::mixed);
        world.adopt();
        Amf& last = world.amf(3);
        ASSERT_TRUE(last.keeper());
        Resync job(last);
        for (std::uint8_t slot = 0; slot < 2; ++slot) {
            ASSERT_TRUE(world.run(3, job.of(AmfSlot(slot), [] { return true; })));
            corrected += job.progress().corrected;
        }
        EXPECT_TRUE(world.unclean(3, 4 * (16u << 10)).empty()) << step;
        EXPECT_TRUE(world.run(3, last.tables().intents_of(AmfSlot(0)))->regions.empty());
    }
    EXPECT_GT(corrected, 0u);
}

TEST(Resync, MakesParityRightAfterAllControllersDied) {
    std::uint64_t corrected = 0;
    for (std::size_t step = 0; step < 40; ++step) {
        World world({.level = Level::raid5, .disks = 5, .strip_size = 16u << 10, .dimension = 1});
        world.start(1);
        ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * (16u << 10))));
        std::optional<Status> result;
        const Buffer data = pattern(2, 8192);
        world.node(1).scope->spawn(World::keep(world.amf(1).write(4096, Slice(data), false), result));
        for (std::size_t i = 0; i < step; ++i) world.step();
        world.kill(1, InFlight::mixed);
        world.adopt();
        world.start(1);
        Resync job(world.amf(1));
        ASSERT_TRUE(world.run(1, job.own()));
        corrected += job.progress().corrected;
        EXPECT_TRUE(world.unclean(1, 4 * (16u << 10)).empty()) << step;
    }
    EXPECT_GT(corrected, 0u);
}

// While the keeper goes through what slot 0 left, slot 0 returns, writes elsewhere, and dies again.
TEST(Resync, DoesNotEmptyAPageThatItsControllerHasWrittenSince) {
    std::size_t lost = 0;
    for (std::size_t step = 0; step < 40; ++step) {
        World world({.level = Level::raid5, .disks = 5, .strip_size = (16u << 10), .dimension = 1});
        world.start(1);
        world.start(2);
        ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * (16u << 10))));
        ASSERT_TRUE(world.write(1, kRegionSize, pattern(1, 4 * (16u << 10))));
        ASSERT_TRUE(world.run(1, world.amf(1).tables().clear_idle_intents(Nanos{0})));
        ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * (16u << 10))));
        world.settle();
        world.kill(1, InFlight::lost);
        world.adopt();
        world.hold(2);
        Resync job(world.amf(2));
        std::optional<Status> done;
        world.node(2).scope->spawn(World::keep(job.of(AmfSlot(0), [&] { return !world.alive(1); }), done));
        ASSERT_TRUE(world.run_until([&] { return job.progress().total_bytes != 0; }, 10s));
        world.start(1);  // back
        std::optional<Status> written;
        const Buffer data = pattern(2, 8192);
        world.node(1).scope->spawn(
            World::keep(world.amf(1).write(kRegionSize + 4096, Slice(data), false), written));
        for (std::size_t i = 0; i < step; ++i) world.step();
        world.kill(1, InFlight::lost);
        world.adopt();
        world.held.clear();
        ASSERT_TRUE(world.run_until([&] { return done.has_value(); }, 100s));
        ASSERT_TRUE(*done);
        // what the keeper does next, because of the second loss
        Resync again(world.amf(2));
        ASSERT_TRUE(world.run(2, again.of(AmfSlot(0), [&] { return true; })));
        if (!world.unclean(2, kRegionSize + 4 * (16u << 10)).empty()) ++lost;
    }
    EXPECT_EQ(lost, 0u) << "wrong parity that no intent names";
}

/// The rebuild that would choose another target may be paused.
TEST(Resync, DoesNotWaitForATargetThatHasFailed) {
    World world({.level = Level::raid5, .disks = 6, .strip_size = 256u << 10, .width = 3});
    world.start(1);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 1u << 20)));
    Tables& tables = world.amf(1).tables();
    const ExtentIndex extent(0);
    const auto fail = [&](MemberIndex member) { return world.run(1, tables.fail_member(member)); };
    ASSERT_TRUE(fail(tables.zone(extent)->segments[0].member));
    ASSERT_TRUE(world.run(1, tables.open_move(extent)));
    ASSERT_TRUE(fail(tables.zone(extent)->move->target.member));
    Resync resync(world.amf(1));
    std::optional<Status> done;
    world.node(1).scope->spawn(World::keep(resync.regions({RegionIndex(0)}), done));
    EXPECT_TRUE(world.run_until([&] { return done.has_value(); }, 10s));
}

}  // namespace
}  // namespace braid
