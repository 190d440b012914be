#include "jobs/reshaper.h"

#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"
#include "jobs/resync.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr StripeShape kDouble{Level::raid6, 2, 2};
constexpr StripeShape kWide{Level::raid5, 4, 1};
constexpr std::array<std::uint16_t, 2> kBoth{1, 2};
constexpr std::uint32_t kWritten = 3;
constexpr std::size_t kPiece = 1u << 20;

WorldOptions small() {
    WorldOptions out{.disks = 6, .strip_size = 1u << 20, .width = 3};
    out.extents = 8;
    return out;
}

class Wider {
public:
    Wider() : world(small()) {
        for (const std::uint16_t id : kBoth) start(id);
        for (std::uint32_t i = 0; i < kWritten; ++i)
            EXPECT_TRUE(world.write(1, i * kExtentSize + 8192, pattern(i, kPiece)));
    }
    ~Wider() {
        for (auto& [id, node] : world.nodes) node->scope->destroy_all();
    }
    void start(std::uint16_t id) {
        world.start(id);
        const ReshaperOptions quick{.poll = 1ms, .retry = 10ms};
        jobs[id] = std::make_unique<Reshaper>(world.amf(id), world.clock, pace, quick);
        world.node(id).scope->spawn(jobs[id]->run());
    }
    const Tables& tables(std::uint16_t id) { return world.amf(id).tables(); }
    bool over(std::uint16_t id) {
        return world.run_until([&] {
            return tables(id).extents_of_other_shapes() == 0 &&
                   tables(id).state().active(JobKind::reshape) == nullptr;
        });
    }
    void all_there(std::uint16_t id) {
        for (std::uint32_t i = 0; i < kWritten; ++i) {
            const Buffer back = world.read(id, i * kExtentSize + 8192, kPiece);
            ASSERT_EQ(back.size(), kPiece);
            EXPECT_EQ(std::memcmp(back.data(), pattern(i, kPiece).data(), kPiece), 0) << i;
        }
    }

    World world;
    Pace pace{{}};
    std::map<std::uint16_t, std::unique_ptr<Reshaper>> jobs;
};

TEST(Reshaper, AllOfThemConvertWhatThereIs) {
    Wider w;
    const std::uint32_t before = w.tables(1).config().extents;
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set({.wanted = kWide})));
    ASSERT_TRUE(w.over(1) && w.over(2));
    for (const std::uint16_t id : kBoth) {
        w.all_there(id);
        for (std::uint32_t i = 0; i < w.tables(id).config().extents; ++i)
            EXPECT_EQ(w.tables(id).shape_of(ExtentIndex(i)), kWide) << i;
        EXPECT_GT(w.world.amf(id).counters().reshaped_extents, 0u);
    }
    EXPECT_GT(w.tables(1).config().extents, before) << "wider stripes take less";
    const auto& jobs = w.tables(2).state().jobs;
    const auto job = std::ranges::find(jobs, JobKind::reshape, &JobRecord::kind);
    ASSERT_NE(job, jobs.end());
    EXPECT_EQ(job->state, JobState::done);
    EXPECT_TRUE(w.world.unclean(1, kWritten * kExtentSize).empty());
}

TEST(Reshaper, WhoIsLeftGoesOn) {
    for (const std::size_t steps : {200u, 700u, 1500u}) {
        Wider w;
        ASSERT_TRUE(w.world.run(2, w.world.amf(2).tables().set({.wanted = kDouble})));
        for (std::size_t i = 0; i < steps; ++i) {
            if (!w.world.step()) w.world.clock.advance(w.world.clock.now() + 10ms);
        }
        w.world.node(1).scope->destroy_all();
        w.jobs.erase(1);
        w.world.kill(1, InFlight::mixed);
        w.world.adopt();
        // Not what may be half-written.
        Resync resync(w.world.amf(2));
        ASSERT_TRUE(w.world.run(2, resync.of(AmfSlot(0), [] { return true; })));
        ASSERT_TRUE(w.over(2)) << steps;
        w.all_there(2);
        // Two may fail.
        const Zone zone = *w.tables(2).zone(ExtentIndex(0));
        for (const std::size_t i : {0u, 2u})
            ASSERT_TRUE(w.world.run(2, w.world.amf(2).tables().fail_member(zone.segments[i].member)));
        w.all_there(2);
    }
}

/// Though it has the shape that is wanted, and nobody asks for it.
TEST(Reshaper, TakesBackWhatADeadOneWasAboutToConvert) {
    Wider w;
    const ExtentIndex extent(0);
    std::optional<Status> done;
    w.world.node(1).scope->spawn(World::keep(w.world.amf(1).reshape(extent, kWide), done));
    ASSERT_TRUE(w.world.run_until([&] { return w.tables(2).emptying(extent); }));
    w.world.node(1).scope->destroy_all();
    w.jobs.erase(1);
    w.world.kill(1, InFlight::lost);
    w.world.adopt();
    EXPECT_TRUE(w.tables(2).emptying(extent));
    EXPECT_TRUE(w.world.run_until(
        [&] { return !w.tables(2).emptying(extent) && !w.tables(2).zone(extent)->successor; }, 5s));
    EXPECT_NE(w.tables(2).shape_of(extent), kWide);
    w.all_there(2);
}

TEST(Reshaper, LeavesAHostThatWaitsWhatItCan) {
    Wider w;
    w.pace = Pace({10ms, 64u << 20});
    w.pace.host_began(w.world.clock.now());
    const Nanos begun = w.world.clock.now();
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set({.wanted = kWide})));
    ASSERT_TRUE(w.over(1));
    EXPECT_NEAR(static_cast<double>((w.world.clock.now() - begun) / 1ms), 1000 * kWritten, 300);
    EXPECT_EQ(w.pace.report(begun).bytes_of(JobKind::reshape), kWritten * kExtentSize);
    w.all_there(2);
}

TEST(Reshaper, EndsInTheMiddleOfAnExtent) {
    Wider w;
    w.pace = Pace({10ms, 1u << 20});
    w.pace.host_began(w.world.clock.now());
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set({.wanted = kWide})));
    const auto begun = [&] { return w.world.amf(1).counters().reshaped_rows != 0; };
    ASSERT_TRUE(w.world.run_until(begun));
    w.jobs[1]->end();
    EXPECT_TRUE(w.world.run_until([&] { return !w.jobs[1]->busy(); }, 200ms));
}

/// Until that is written again.
TEST(Reshaper, SaysThatSomethingCannotBeRead) {
    Wider w;
    const Zone zone = *w.tables(1).zone(ExtentIndex(0));
    const Geometry geometry = w.tables(1).geometry_of(ExtentIndex(0));
    for (const std::size_t position : {0u, 1u}) {
        const DiskPlace at =
            strip_place(geometry, zone.segments[position], Row(0), w.world.config.data_start);
        w.world.media[at.member.v]->bad.insert(at.offset / kBlockSize);
    }
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set({.wanted = kWide})));
    const auto unreadable = [&] { return w.jobs[1]->unreadable() + w.jobs[2]->unreadable(); };
    ASSERT_TRUE(w.world.run_until([&] { return unreadable() == 1; }));
    EXPECT_TRUE(w.world.run_until([&] { return w.tables(1).extents_of_other_shapes() == 1; }));
    for (const auto& media : w.world.media) media->bad.clear();
    ASSERT_TRUE(w.over(1));
    EXPECT_EQ(unreadable(), 0u);
    w.all_there(2);
}

TEST(Reshaper, WaitsWhileItIsPaused) {
    Wider w;
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set({.wanted = kWide})));
    ASSERT_TRUE(w.world.run_until([&] { return w.tables(1).state().active(JobKind::reshape) != nullptr; }));
    const std::uint32_t id = w.tables(1).state().active(JobKind::reshape)->id;
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set_job(id, JobState::paused)));
    const auto pause = w.world.clock.now() + 1s;
    EXPECT_FALSE(w.world.run_until([&] { return w.tables(1).extents_of_other_shapes() == 0; }, 1s));
    EXPECT_GE(w.world.clock.now() + 1ms, pause);
    ASSERT_TRUE(w.world.run(1, w.world.amf(1).tables().set_job(id, JobState::running)));
    ASSERT_TRUE(w.over(1));
    w.all_there(2);
}

}  // namespace
}  // namespace braid
