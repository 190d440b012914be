#include <gtest/gtest.h>

#include <algorithm>

#include "jobs/resync.h"
#include "jobs/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::MemoryDisk;
using testing::Moving;
using testing::pattern;
using testing::shape;
using testing::World;
using testing::WorldOptions;

/// More room at once; then all members are as full as the others, hosts go on, and a death divides the rest.
TEST(Expansion, SpreadsWhatThereIsOverAllMembers) {
    WorldOptions options = shape(Level::raid5, 4, 3, true, PowerLoss::journal);
    options.extents = 6;
    Moving m(options);
    Tables& tables = m.world.amf(1).tables();
    const std::uint32_t before = tables.config().extents;
    ASSERT_TRUE(m.world.run(1, tables.create_volume("v", before * kExtentSize)));
    EXPECT_FALSE(m.world.run(1, tables.create_volume("w", kExtentSize)));
    std::vector<Buffer> data;
    for (std::uint32_t extent = 0; extent < before; ++extent) {
        data.push_back(pattern(extent, 1u << 20));
        ASSERT_TRUE(m.world.write(1 + extent % 2, extent * kExtentSize, data.back()));
    }
    for (int i = 0; i < 2; ++i) {
        MemoryDisk disk = m.world.add_disk();
        ASSERT_TRUE(m.world.run(1, tables.admit({{&disk, m.world.random.uuid()}})));
    }
    EXPECT_FALSE(m.world.run(1, tables.create_volume("w", kExtentSize))) << "before anybody has asked for it";
    ASSERT_TRUE(m.world.run(2, m.world.amf(2).tables().expand()));
    EXPECT_EQ(tables.config().extents, before + before / 2);
    EXPECT_FALSE(m.world.run(1, tables.create_volume("w", kExtentSize))) << "before there is a place for it";
    ASSERT_TRUE(m.world.run_until([&] { return tables.open_moves() != 0; }));
    m.world.kill(2, InFlight::torn);
    m.world.adopt();
    Resync resync(m.world.amf(1));
    ASSERT_TRUE(m.world.run(1, resync.of(AmfSlot(1), [] { return true; })));
    ASSERT_TRUE(m.world.run_until([&] { return !tables.state().balancing; }));
    ASSERT_TRUE(m.world.run(1, tables.create_volume("w", (tables.config().extents - before) * kExtentSize)));
    std::array<unsigned, kMaxMembers> used{};
    for (std::uint32_t extent = 0; extent < before; ++extent) {
        for (const Segment& part : tables.zone(ExtentIndex(extent))->parts()) ++used[part.member.v];
        EXPECT_TRUE(m.reads(1, extent * kExtentSize, data[extent]));
    }
    const auto [least, most] = std::minmax_element(used.begin(), used.begin() + 6);
    EXPECT_LE(*most - *least, 1u);
    EXPECT_TRUE(m.world.unclean(1, before * kExtentSize).empty());
    for (std::uint32_t extent = before; extent < tables.config().extents; ++extent)
        EXPECT_TRUE(m.world.write(1, extent * kExtentSize, pattern(extent, 4096))) << extent;
    m.world.config = tables.config();
    m.world.kill(1, InFlight::torn);
    m.world.adopt();
    m.start(1);
    for (std::uint32_t extent = 0; extent < before; ++extent)
        EXPECT_TRUE(m.reads(1, extent * kExtentSize, data[extent]));
    const std::uint32_t last = m.world.config.extents - 1;
    EXPECT_TRUE(m.reads(1, last * kExtentSize, pattern(last, 4096)));
}

/// What is at work has its zone, however the map grows.
TEST(Expansion, DoesNotMoveWhatIsInMemory) {
    Moving m(shape(Level::raid5, 4, 3, true, PowerLoss::resync));
    Tables& tables = m.world.amf(1).tables();
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 1u << 20)));
    for (int i = 0; i < 2; ++i) {
        MemoryDisk disk = m.world.add_disk();
        ASSERT_TRUE(m.world.run(1, tables.admit({{&disk, m.world.random.uuid()}})));
    }
    const Zone* const zone = tables.zone(ExtentIndex(0));
    std::optional<Status> expanded;
    m.world.node(2).scope->spawn(World::keep(m.world.amf(2).tables().expand(), expanded));
    std::vector<std::optional<Status>> written(40);
    std::vector<Buffer> data;
    for (std::size_t i = 0; i < written.size(); ++i) {
        data.push_back(pattern(i, 5000));
        m.world.node(1).scope->spawn(
            World::keep(m.world.amf(1).write(i * 20'000, Slice(data[i]), false), written[i]));
        for (int step = 0; step < 3; ++step) (void)m.world.step();
    }
    const auto done = [&](const auto& one) { return one.has_value(); };
    ASSERT_TRUE(m.world.run_until([&] { return expanded && std::ranges::all_of(written, done); }));
    EXPECT_TRUE(*expanded);
    EXPECT_EQ(tables.zone(ExtentIndex(0)), zone);
    for (std::size_t i = 0; i < written.size(); ++i) {
        EXPECT_TRUE(*written[i]) << i;
        EXPECT_TRUE(m.reads(2, i * 20'000, data[i])) << i;
    }
    EXPECT_EQ(tables.failed_members(), 0u);
}

/// A full group of four to which three disks come.
struct Expanding : Moving {
    static WorldOptions options() {
        WorldOptions out = shape(Level::raid5, 4, 3, true, PowerLoss::resync);
        out.extents = kExtents;
        return out;
    }
    static constexpr std::uint32_t kExtents = 6;
    explicit Expanding(MoverOptions o = testing::quick()) : Moving(options(), o) {
        for (std::uint32_t extent = 0; extent < kExtents; ++extent)
            EXPECT_TRUE(world.write(1, extent * kExtentSize, pattern(extent, 1u << 20)));
        for (int i = 0; i < 3; ++i) {
            MemoryDisk disk = world.add_disk();
            EXPECT_TRUE(world.run(1, tables().admit({{&disk, world.random.uuid()}})));
        }
        EXPECT_TRUE(world.run(2, tables(2).expand()));
    }
    Tables& tables(std::uint16_t id = 1) { return world.amf(id).tables(); }
    const JobRecord* job(JobKind kind) { return tables().state().active(kind); }
    bool balances() const { return const_cast<World&>(world).amf(1).tables().state().balancing; }
    void expect_all_there() {
        for (std::uint32_t extent = 0; extent < kExtents; ++extent)
            EXPECT_TRUE(reads(2, extent * kExtentSize, pattern(extent, 1u << 20))) << extent;
    }
};

/// A member that fails meanwhile comes first.
TEST(Expansion, GoesOnWhenAMemberFails) {
    Expanding m;
    ASSERT_TRUE(m.world.run_until([&] { return m.tables().open_moves() != 0; }));
    m.fail(1);
    ASSERT_TRUE(m.world.run_until([&] { return !m.balances() && !m.lacks_something(); }));
    m.fail(4);
    m.expect_all_there();
}

/// What lacks redundancy is not behind what only stands unevenly; those who wait say so.
TEST(Expansion, WaitsForARebuild) {
    Expanding m;
    const auto evens = [&] {
        std::size_t out = 0;
        for (std::uint32_t extent = 0; extent < m.kExtents; ++extent) {
            const Zone& zone = *m.tables().zone(ExtentIndex(extent));
            out += zone.move && m.tables().job_of(zone) == JobKind::rebalance ? 1 : 0;
        }
        return out;
    };
    ASSERT_TRUE(m.world.run_until([&] { return m.job(JobKind::rebalance) != nullptr; }));
    m.fail(1);
    ASSERT_TRUE(m.world.run_until([&] { return m.movers[1]->balance_waits(); }));
    std::size_t open = evens();
    bool waits = true;
    ASSERT_TRUE(m.world.run_until([&] {
        if (m.movers[1]->balance_waits() && m.movers[2]->balance_waits()) {
            waits &= evens() <= open;
            open = evens();
        }
        return !m.tables().any_missing();
    }));
    EXPECT_TRUE(waits) << "a segment began to move that has all its redundancy";
    ASSERT_TRUE(m.world.run_until([&] { return !m.balances() && !m.lacks_something(); }));
    EXPECT_FALSE(m.movers[1]->balance_waits());
    m.expect_all_there();
}

TEST(Expansion, WaitsForARebuildThatHasNotBegun) {
    MoverOptions late = testing::quick();
    late.delay = 20s;
    Expanding m(late);
    ASSERT_TRUE(m.world.run_until([&] { return m.job(JobKind::rebalance) != nullptr; }));
    m.fail(1);
    ASSERT_TRUE(m.world.run_until([&] { return m.movers[1]->balance_waits(); }));
    EXPECT_TRUE(m.movers[1]->begins());
    ASSERT_TRUE(m.world.run_until([&] { return !m.balances() && !m.lacks_something(); }));
    EXPECT_FALSE(m.movers[1]->balance_waits());
    m.expect_all_there();
}

/// Who keeps the disks from being evened out wants redundancy nonetheless.
TEST(Expansion, ThatIsPausedHoldsUpNoRebuild) {
    Expanding m;
    ASSERT_TRUE(m.world.run_until([&] { return m.job(JobKind::rebalance) != nullptr; }));
    const std::uint32_t id = m.job(JobKind::rebalance)->id;
    ASSERT_TRUE(m.world.run(1, m.tables().set_job(id, JobState::paused)));
    m.fail(1);
    ASSERT_TRUE(m.world.run_until([&] { return !m.tables().any_missing(); }));
    ASSERT_TRUE(m.world.run_until([&] { return m.job(JobKind::rebuild) == nullptr; }, 10s));
    ASSERT_NE(m.job(JobKind::rebalance), nullptr);
    EXPECT_TRUE(m.balances());
    ASSERT_TRUE(m.world.run(1, m.tables().set_job(id, JobState::running)));
    ASSERT_TRUE(m.world.run_until([&] { return !m.balances() && m.tables().open_moves() == 0; }));
    m.expect_all_there();
}

/// It says at first how much it will be, not of how many zones a part could go.
TEST(Expansion, KnowsHowMuchThereIsToMove) {
    Expanding m;
    ASSERT_TRUE(m.world.run_until([&] { return m.job(JobKind::rebalance) != nullptr; }));
    const JobRecord* record = m.job(JobKind::rebalance);
    const std::uint32_t id = record->id;
    const auto at_first = static_cast<double>(m.tables().size_of(*record).total_bytes);
    ASSERT_TRUE(m.world.run_until([&] { return !m.tables().state().job(id)->active(); }));
    m.world.run_until([] { return false; }, 1s);
    const auto in_the_end = static_cast<double>(m.tables().size_of(*m.tables().state().job(id)).done_bytes);
    EXPECT_GT(in_the_end, 0);
    EXPECT_NEAR(at_first, in_the_end, 0.15 * in_the_end);
}

/// The group stays as uneven as it is, and as large.
TEST(Expansion, EndsWhenSomebodyCancelsIt) {
    Expanding m;
    ASSERT_TRUE(m.world.run_until([&] { return m.tables().open_moves() != 0; }));
    const std::uint32_t id = m.job(JobKind::rebalance)->id;
    ASSERT_TRUE(m.world.run(2, m.tables(2).set_job(id, JobState::cancelled)));
    EXPECT_EQ(m.tables().open_moves(), 0u);
    EXPECT_FALSE(m.balances());
    m.world.run_until([] { return false; }, 2s);
    EXPECT_EQ(m.tables().open_moves(), 0u);
    EXPECT_EQ(m.job(JobKind::rebalance), nullptr);
    m.expect_all_there();
}

}  // namespace
}  // namespace braid
