#include "jobs/scrub.h"

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

/// AMFs that scrub when the tables say so.
class Scrubbing {
public:
    explicit Scrubbing(WorldOptions options, std::uint16_t amfs = 2) : world(options) {
        for (std::uint16_t id = 1; id <= amfs; ++id) start(id);
    }
    ~Scrubbing() {
        for (auto& [id, node] : world.nodes) node->scope->destroy_all();
    }
    void start(std::uint16_t id) {
        world.start(id);
        scrubs[id] = std::make_unique<Scrub>(world.amf(id), world.clock, pace, ScrubOptions{1ms, 5ms});
        world.node(id).scope->spawn(scrubs[id]->run());
    }
    Tables& tables(std::uint16_t id = 0) {
        return world.amf(id == 0 ? world.nodes.begin()->first : id).tables();
    }
    std::uint32_t begin(JobRecord job = {}) {
        const auto id = world.run(world.nodes.begin()->first, tables().add_job(job, 0));
        return id ? *id : 0;
    }
    JobRecord job(std::uint32_t id) {
        return tables().state().job(id) ? *tables().state().job(id) : JobRecord{};
    }
    JobRecord done(std::uint32_t id) {
        EXPECT_TRUE(world.run_until([&] { return !job(id).active(); }));
        return job(id);
    }
    std::uint64_t extents() const { return world.config.extents; }
    JobRecord scrub() { return done(begin()); }
    Buffer& page_of(ExtentIndex extent, std::uint32_t row, std::uint8_t role) {
        const Zone& zone = *tables().zone(extent);
        const DiskPlace at =
            strip_place(world.config.geometry, zone, Row(row), Role(role), world.config.data_start);
        return world.media[at.member.v]->pages[at.offset / kBlockSize];
    }
    bool writes_all() {
        for (std::uint64_t extent = 0; extent < world.config.extents; ++extent)
            if (!world.write(1, extent * kExtentSize, pattern(extent, 1u << 20))) return false;
        return true;
    }

    World world;
    Pace pace{{}};
    std::map<std::uint16_t, std::unique_ptr<Scrub>> scrubs;
};

WorldOptions options(bool checksums = true) {
    WorldOptions out{.level = Level::raid6, .disks = 6, .strip_size = 64u << 10, .checksums = checksums};
    out.extents = 6;
    return out;
}

TEST(Scrub, IsDoneByAllAmfsTogether) {
    Scrubbing s(options(), 3);
    ASSERT_TRUE(s.writes_all());
    const JobRecord job = s.scrub();
    s.world.settle();
    EXPECT_EQ(job.state, JobState::done);
    EXPECT_EQ(job.units_done(), s.extents());
    for (std::uint8_t slot = 0; slot < 3; ++slot) EXPECT_GE(job.done[slot], 2u);
    EXPECT_EQ(job.counts, ScrubCounts{});
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_EQ(*s.tables(id).state().job(job.id), job);
        EXPECT_EQ(s.tables(id).size_of(job).done_bytes, s.extents() * kExtentSize);
        EXPECT_EQ(s.tables(id).size_of(job).total_bytes, s.extents() * kExtentSize);
    }
}

TEST(Scrub, PutsRightWhatChecksumsTell) {
    Scrubbing s(options());
    ASSERT_TRUE(s.writes_all());
    for (std::uint8_t role : {std::uint8_t{1}, std::uint8_t{5}})
        s.page_of(ExtentIndex(1), 3, role) = pattern(9, kBlockSize);
    s.page_of(ExtentIndex(4), 2, 0) = pattern(9, kBlockSize);
    EXPECT_EQ(s.scrub().counts, (ScrubCounts{.repaired = 2}));
    EXPECT_EQ(s.scrub().counts, ScrubCounts{});
    EXPECT_TRUE(s.world.unclean(1, s.extents() * kExtentSize).empty());
}

/// Nobody can say what is right: data may be, or parity.
TEST(Scrub, CountsAndLeavesWhatNothingTells) {
    for (const bool checksums : {false, true}) {
        Scrubbing s(options(checksums));
        ASSERT_TRUE(s.writes_all());
        const auto rotten = checksums ? std::vector<std::uint8_t>{1, 2, 5} : std::vector<std::uint8_t>{5};
        for (const std::uint8_t role : rotten) s.page_of(ExtentIndex(3), 7, role) = pattern(role, kBlockSize);
        const ScrubCounts found = s.scrub().counts;
        EXPECT_EQ(found.unattributed, 1u);
        EXPECT_EQ(found.first_unattributed, s.world.config.geometry.stripe_of(ExtentIndex(3), Row(7)));
        EXPECT_EQ(s.scrub().counts.unattributed, 1u);
        for (const std::uint8_t role : rotten)
            EXPECT_EQ(std::memcmp(s.page_of(ExtentIndex(3), 7, role).data(), pattern(role, kBlockSize).data(),
                                  kBlockSize),
                      0);
    }
}

/// That is the resync's, and no finding.
TEST(Scrub, WaitsForWhatTheDeadLeftHalfWritten) {
    std::size_t resynced = 0;
    for (std::size_t step = 0; step < 60; ++step) {
        WorldOptions small{.level = Level::raid5, .disks = 5, .strip_size = 16u << 10, .checksums = false};
        Scrubbing s(small, 3);
        ASSERT_TRUE(s.world.write(1, 0, pattern(1, 4 * (16u << 10))));
        s.world.settle();
        std::optional<Status> result;
        const Buffer data = pattern(2, 8192);
        s.world.node(1).scope->spawn(World::keep(s.world.amf(1).write(4096, Slice(data), false), result));
        for (std::size_t i = 0; i < step; ++i) s.world.step();
        s.world.kill(1, InFlight::mixed);
        s.world.kill(2, InFlight::mixed);
        s.world.adopt();
        const std::uint32_t id = s.begin();
        (void)s.world.run_until([] { return false; }, 200ms);
        Resync resync(s.world.amf(3));
        for (std::uint8_t slot = 0; slot < 2; ++slot) {
            ASSERT_TRUE(s.world.run(3, resync.of(AmfSlot(slot), [] { return true; })));
            resynced += resync.progress().corrected;
        }
        EXPECT_EQ(s.done(id).counts.unattributed, 0u) << step;
    }
    EXPECT_GT(resynced, 0u);
}

TEST(Scrub, GoesOnWhereItWasWhenAllStartAgain) {
    Scrubbing s(options());
    ASSERT_TRUE(s.writes_all());
    s.page_of(ExtentIndex(0), 3, 1) = pattern(9, kBlockSize);
    const std::uint32_t id = s.begin();
    ASSERT_TRUE(s.world.run_until([&] { return s.job(id).units_done() >= 2; }));
    const JobRecord before = s.job(id);
    s.world.kill(1, InFlight::torn);
    s.world.kill(2, InFlight::torn);
    s.world.adopt();
    s.start(1);
    for (std::uint8_t slot = 0; slot < 2; ++slot) {
        Resync resync(s.world.amf(1));
        ASSERT_TRUE(s.world.run(1, resync.own()));
        ASSERT_TRUE(s.world.run(1, resync.of(AmfSlot(slot), [] { return true; })));
    }
    EXPECT_GE(s.job(id).units_done(), before.units_done());
    EXPECT_TRUE(s.job(id).active());
    const JobRecord after = s.done(id);
    EXPECT_EQ(after.state, JobState::done);
    EXPECT_EQ(after.units_done(), s.extents());
    EXPECT_EQ(after.counts.repaired, 1u);
    EXPECT_GE(after.done[1], before.done[1]) << "what the other one did is kept";
}

TEST(Scrub, LetsTheOthersDoWhatTheDeadHadToDo) {
    Scrubbing s(options(), 3);
    ASSERT_TRUE(s.writes_all());
    const std::uint32_t id = s.begin();
    ASSERT_TRUE(s.world.run_until([&] { return s.job(id).units_done() >= 1; }));
    s.world.kill(3, InFlight::mixed);
    s.world.adopt();
    const JobRecord job = s.done(id);
    EXPECT_EQ(job.state, JobState::done);
    EXPECT_EQ(job.units_done(), s.extents());
}

TEST(Scrub, IsPausedGoesOnAndIsCancelled) {
    Scrubbing s(options());
    ASSERT_TRUE(s.writes_all());
    const std::uint32_t id = s.begin();
    EXPECT_EQ(s.begin(), 0u) << "one at a time";
    ASSERT_TRUE(s.world.run_until([&] { return s.job(id).units_done() >= 1; }));
    ASSERT_TRUE(s.world.run(2, s.tables(2).set_job(id, JobState::paused)));
    (void)s.world.run_until([] { return false; }, 50ms);
    const JobRecord paused = s.job(id);
    EXPECT_EQ(paused.state, JobState::paused);
    EXPECT_LT(paused.units_done(), s.extents());
    (void)s.world.run_until([] { return false; }, 5s);
    EXPECT_EQ(s.job(id), paused);
    ASSERT_TRUE(s.world.run(1, s.tables(1).set_job(id, JobState::running)));
    EXPECT_EQ(s.done(id).units_done(), s.extents());
    EXPECT_EQ(s.world.run(1, s.tables(1).set_job(id, JobState::paused)).error().code, Errc::exists);

    const std::uint32_t next = s.begin();
    ASSERT_TRUE(s.world.run_until([&] { return s.job(next).units_done() >= 1; }));
    ASSERT_TRUE(s.world.run(2, s.tables(2).set_job(next, JobState::cancelled)));
    (void)s.world.run_until([] { return false; }, 5s);
    const JobRecord cancelled = s.job(next);
    EXPECT_EQ(cancelled.state, JobState::cancelled);
    EXPECT_EQ(cancelled.units_done() + cancelled.left, s.extents());
    EXPECT_GT(cancelled.left, 0u);
}

TEST(Scrub, OfNothingIsDoneAtOnce) {
    WorldOptions wide = options();
    wide.extents = 3000;  // more than the window holds
    Scrubbing s(wide);
    EXPECT_EQ(s.scrub().state, JobState::done);
    ASSERT_TRUE(s.world.write(1, 2500 * kExtentSize, pattern(1, 4096)));
    EXPECT_EQ(s.scrub().units_done(), 1u);
}

TEST(Scrub, BeginsByItselfSoLongAfterTheLastOne) {
    Scrubbing s(options());
    ASSERT_TRUE(s.world.write(1, 0, pattern(1, 4096)));
    const auto jobs = [&] {
        return std::ranges::count_if(s.tables().state().jobs,
                                     [](const JobRecord& job) { return job.id != 0; });
    };
    (void)s.world.run_until([] { return false; }, 100s);
    EXPECT_EQ(jobs(), 0);
    ASSERT_TRUE(s.world.run(2, s.tables(2).set({.scrub_every = 30})));
    (void)s.world.run_until([] { return false; }, 28s);
    EXPECT_EQ(jobs(), 0);
    ASSERT_TRUE(s.world.run_until([&] { return jobs() == 1; }, 5s));
    EXPECT_EQ(s.done(1).state, JobState::done);
    (void)s.world.run_until([] { return false; }, 28s);
    EXPECT_EQ(jobs(), 1);
    ASSERT_TRUE(s.world.run_until([&] { return s.tables().state().active(JobKind::scrub) != nullptr; }, 5s));
    ASSERT_TRUE(s.world.run(1, s.tables(1).set_job(2, JobState::cancelled)));
    EXPECT_FALSE(s.tables().state().schedule.overdue());
    (void)s.world.run_until([] { return false; }, 20s);
    EXPECT_EQ(jobs(), 2) << "what was cancelled does not begin anew at once";
    ASSERT_TRUE(s.world.run_until([&] { return s.tables().state().active(JobKind::scrub) != nullptr; }, 15s));
    ASSERT_TRUE(s.world.run(1, s.tables(1).set_job(3, JobState::paused)));
    ASSERT_TRUE(s.world.run_until([&] { return s.tables().state().schedule.overdue(); }, 35s));
    ASSERT_TRUE(s.world.run(1, s.tables(1).set_job(3, JobState::running)));
    s.done(3);
    EXPECT_FALSE(s.tables().state().schedule.overdue());
}

/// At an extent per second, which both have together.
TEST(Scrub, LeavesAHostThatWaitsWhatItCan) {
    Scrubbing s(options());
    ASSERT_TRUE(s.writes_all());
    bool busy_host = false;
    const auto takes = [&] {
        s.pace = Pace({10ms, kExtentSize});
        const Nanos begun = s.world.clock.now();
        if (busy_host) s.pace.host_began(begun);
        const std::uint32_t id = s.begin();
        const auto all = [&] {
            return s.pace.report(begun).bytes_of(JobKind::scrub) == s.extents() * kExtentSize;
        };
        EXPECT_TRUE(s.world.run_until(all));
        const Nanos out = s.world.clock.now() - begun;
        s.done(id);
        return out;
    };
    EXPECT_LT(takes(), 1s);
    busy_host = true;
    const Nanos beside_host = takes();
    const auto seconds = static_cast<std::int64_t>(s.extents());
    EXPECT_GE(beside_host, seconds * 1s * 98 / 100);
    EXPECT_LE(beside_host, seconds * 1s * 102 / 100);
}

TEST(Scrub, EndsThoughItsTurnIsFar) {
    WorldOptions large = options();
    large.strip_size = 1u << 20;
    Scrubbing s(large);
    ASSERT_TRUE(s.writes_all());
    s.pace = Pace({10ms, 64u << 10});
    s.pace.host_began(s.world.clock.now());
    s.begin();
    Scrub& scrub = *s.scrubs[1];
    ASSERT_TRUE(s.world.run_until([&] { return scrub.busy(); }));
    (void)s.world.run_until([] { return false; }, 10s);
    EXPECT_TRUE(scrub.busy());
    scrub.end();
    EXPECT_TRUE(s.world.run_until([&] { return !scrub.busy(); }, 2 * Pace::kAskAgain));
}

TEST(Jobs, KeepTheLastOnesAndTheLastWholeScrub) {
    Scrubbing s(options());
    const std::uint32_t whole = s.scrub().id;
    std::uint32_t id = 0;
    for (unsigned i = 0; i < 2 * kJobRecords; ++i) {
        id = s.begin({.state = JobState::paused});
        ASSERT_EQ(id, whole + 1 + i);
        ASSERT_TRUE(s.world.run(1, s.tables(1).set_job(id, JobState::cancelled)));
    }
    EXPECT_EQ(s.job(whole).id, whole);
    EXPECT_EQ(s.job(id).id, id);
    EXPECT_EQ(s.job(whole + 1).id, 0u);
}

}  // namespace
}  // namespace braid
