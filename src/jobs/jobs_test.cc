#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"
#include "jobs/parity_job.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;

TEST(ParityJob, CountsWrongStripesAndResyncCorrectsThem) {
    World world({.level = Level::raid6, .disks = 6, .strip_size = 16u << 10, .checksums = false});
    world.start(1);
    const Buffer data = pattern(1, 1u << 20);
    ASSERT_TRUE(world.write(1, 0, data));
    ParityJob job(world.amf(1));
    ASSERT_TRUE(world.run(1, job.scrub()));
    EXPECT_EQ(job.progress().mismatches, 0u);
    EXPECT_EQ(job.progress().done_bytes, job.progress().total_bytes);
    EXPECT_EQ(job.progress().checked, kExtentSize / (4 * (16u << 10)));

    // Parity strips of two stripes rot: pages that are no data of ours.
    std::size_t rotten = 0;
    const Geometry& geometry = world.config.geometry;
    const Zone& zone = *world.amf(1).tables().zone(ExtentIndex(0));
    for (std::uint32_t row : {3u, 9u}) {
        const DiskPlace at = strip_place(geometry, zone, Row(row), Role(5), world.config.data_start);
        Buffer& page = world.media[at.member.v]->pages[at.offset / kBlockSize];
        page = pattern(row, kBlockSize);
        ++rotten;
    }
    ASSERT_TRUE(world.run(1, job.scrub()));
    EXPECT_EQ(job.progress().mismatches, rotten);
    ASSERT_TRUE(world.run(1, job.resync({RegionIndex(0)})));
    EXPECT_EQ(job.progress().mismatches, rotten);
    ASSERT_TRUE(world.run(1, job.scrub()));
    EXPECT_EQ(job.progress().mismatches, 0u);
    const Buffer back = world.read(1, 0, data.size());
    EXPECT_EQ(std::memcmp(back.data(), data.data(), data.size()), 0);
}

TEST(ParityJob, WithChecksumsPutsRightWhatIsNotWhatWasWritten) {
    World world({.level = Level::raid6, .disks = 6, .strip_size = 16u << 10});
    world.start(1);
    const Buffer data = pattern(1, 1u << 20);
    ASSERT_TRUE(world.write(1, 0, data));
    const Zone& zone = *world.amf(1).tables().zone(ExtentIndex(0));
    for (std::uint8_t role : {std::uint8_t{1}, std::uint8_t{5}}) {
        const DiskPlace at =
            strip_place(world.config.geometry, zone, Row(3), Role(role), world.config.data_start);
        world.media[at.member.v]->pages[at.offset / kBlockSize] = pattern(role, kBlockSize);
    }
    ParityJob job(world.amf(1));
    ASSERT_TRUE(world.run(1, job.scrub()));
    EXPECT_EQ(job.progress().rotten, 1u);
    EXPECT_EQ(job.progress().mismatches, 0u);
    ASSERT_TRUE(world.run(1, job.scrub()));
    EXPECT_EQ(job.progress().rotten, 0u);
    const Buffer back = world.read(1, 0, data.size());
    EXPECT_EQ(std::memcmp(back.data(), data.data(), data.size()), 0);
}

TEST(ParityJob, MakesParityRightAfterAllHoldersOfARecordDied) {
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
        ParityJob job(last);
        for (std::uint8_t slot = 0; slot < 2; ++slot) {
            ASSERT_TRUE(world.run(3, job.resync_of(AmfSlot(slot), [] { return true; })));
            corrected += job.progress().mismatches;
        }
        EXPECT_TRUE(world.unclean(3, 4 * (16u << 10)).empty()) << step;
        EXPECT_TRUE(world.run(3, last.tables().intents_of(AmfSlot(0)))->regions.empty());
    }
    EXPECT_GT(corrected, 0u);
}

TEST(ParityJob, MakesParityRightAfterAllControllersDied) {
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
        ParityJob job(world.amf(1));
        ASSERT_TRUE(world.run(1, job.resync_own()));
        corrected += job.progress().mismatches;
        EXPECT_TRUE(world.unclean(1, 4 * (16u << 10)).empty()) << step;
    }
    EXPECT_GT(corrected, 0u);
}

// While the keeper goes through what slot 0 left, slot 0 returns, writes elsewhere, and dies again.
TEST(ParityJob, DoesNotEmptyAPageThatItsControllerHasWrittenSince) {
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
        ParityJob job(world.amf(2));
        std::optional<Status> done;
        world.node(2).scope->spawn(
            World::keep(job.resync_of(AmfSlot(0), [&] { return !world.alive(1); }), done));
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
        ParityJob again(world.amf(2));
        ASSERT_TRUE(world.run(2, again.resync_of(AmfSlot(0), [&] { return true; })));
        if (!world.unclean(2, kRegionSize + 4 * (16u << 10)).empty()) ++lost;
    }
    EXPECT_EQ(lost, 0u) << "wrong parity that no intent names";
}

}  // namespace
}  // namespace braid
