#include "jobs/mover.h"

#include <gtest/gtest.h>

#include <cstring>

#include "jobs/resync.h"
#include "jobs/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::kBoth;
using testing::Moving;
using testing::pattern;
using testing::shape;
using testing::WorldOptions;

constexpr std::array<std::uint64_t, 2> kTwo{0, 1};

struct Shape {
    const char* name;
    WorldOptions options;
};

class Rebuild : public ::testing::TestWithParam<Shape> {};

/// What was lost is made again, so that as many may fail once more.
TEST_P(Rebuild, OntoSpareSpaceOfAllMembers) {
    Moving m(GetParam().options);
    const Buffer first = pattern(1, 3u << 20), second = pattern(2, 1u << 20);
    ASSERT_TRUE(m.world.write(1, 0, first));
    ASSERT_TRUE(m.world.write(2, kExtentSize + 4096, second));
    ASSERT_TRUE(m.world.write(2, 5000, pattern(3, 700)));
    Buffer now = first;
    std::memcpy(now.data() + 5000, pattern(3, 700).data(), 700);
    for (const std::uint64_t extent : kTwo) {
        const Zone* zone = m.world.amf(1).tables().zone(ExtentIndex(static_cast<std::uint32_t>(extent)));
        m.fail(zone->segments[0].member.v);
        ASSERT_TRUE(m.rebuilt()) << "after " << extent;
        EXPECT_EQ(m.world.amf(2).tables().failed_members(), extent + 1);
        EXPECT_FALSE(m.world.amf(2).tables().offline());
        for (const std::uint16_t id : kBoth) {
            EXPECT_TRUE(m.reads(id, 0, now));
            EXPECT_TRUE(m.reads(id, kExtentSize + 4096, second));
        }
        EXPECT_TRUE(m.world.unclean(1, 2 * kExtentSize).empty());
    }
    EXPECT_GT(m.movers[1]->moved(), 0u);
    EXPECT_GT(m.movers[2]->moved(), 0u) << "only one of them works";
}

INSTANTIATE_TEST_SUITE_P(
    Levels, Rebuild,
    ::testing::Values(Shape{"raid5", shape(Level::raid5, 6, 3, true, PowerLoss::resync)},
                      Shape{"raid5_plain", shape(Level::raid5, 6, 3, false, PowerLoss::resync)},
                      Shape{"raid6", shape(Level::raid6, 7, 5, true, PowerLoss::journal)},
                      Shape{"mirror", shape(Level::mirror, 4, 2, true, PowerLoss::resync)},
                      Shape{"mirror_of_3", shape(Level::mirror, 5, 3, false, PowerLoss::journal)}),
    [](const auto& info) { return info.param.name; });

TEST(Mover, LeavesAHostThatWaitsWhatItCan) {
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync));
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 4096)));
    m.pace = Pace({10ms, 16u << 20});
    const Nanos begun = m.world.clock.now();
    m.pace.host_began(begun);
    m.fail(m.world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member.v);
    ASSERT_TRUE(m.rebuilt());
    // A segment of 32 MiB.
    EXPECT_NEAR(static_cast<double>((m.world.clock.now() - begun) / 1ms), 2000, 200);
}

/// Of all that was moved, the same everywhere, also when it is over.
TEST(Mover, HasARecordOfWhatItMoved) {
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync));
    constexpr std::uint32_t kWritten = 2;
    for (std::uint64_t extent = 0; extent < kWritten; ++extent)
        ASSERT_TRUE(m.world.write(1, extent * kExtentSize, pattern(1, 4096)));
    Tables& tables = m.world.amf(1).tables();
    std::uint32_t lost = 0;
    const MemberIndex member = tables.zone(ExtentIndex(0))->segments[0].member;
    for (std::uint32_t i = 0; i < kWritten; ++i)
        lost += members_of(*tables.zone(ExtentIndex(i)))[member.v] ? 1 : 0;
    m.fail(member.v);
    ASSERT_TRUE(m.world.run_until([&] { return tables.state().active(JobKind::rebuild) != nullptr; }));
    const std::uint32_t id = tables.state().active(JobKind::rebuild)->id;
    ASSERT_TRUE(m.world.run(2, m.world.amf(2).tables().set_job(id, JobState::paused)));
    (void)m.world.run_until([] { return false; }, 100ms);
    const std::uint64_t moved = tables.size_of(*tables.state().job(id)).done_bytes;
    (void)m.world.run_until([] { return false; }, 1s);
    EXPECT_EQ(tables.size_of(*tables.state().job(id)).done_bytes, moved) << "while it is paused";
    EXPECT_EQ(m.world.run(1, tables.set_job(id, JobState::cancelled)).error().code, Errc::invalid);
    ASSERT_TRUE(m.world.run(1, tables.set_job(id, JobState::running)));
    ASSERT_TRUE(m.world.run_until([&] { return !tables.state().job(id)->active(); }));
    ASSERT_TRUE(m.world.run_until([&] { return tables.state().job(id)->units_done() == lost; }, 1s));
    m.world.settle();
    for (const std::uint16_t at : kBoth) {
        const JobRecord& job = *m.world.amf(at).tables().state().job(id);
        EXPECT_EQ(job.state, JobState::done);
        const JobSize size = m.world.amf(at).tables().size_of(job);
        EXPECT_EQ(size.done_bytes,
                  lost * m.world.config.geometry.rows_per_extent() * std::uint64_t{256u << 10});
        EXPECT_EQ(size.total_bytes, size.done_bytes);
    }
}

/// Its record is not over because another one looks after it, who has not seen how long the disk is away.
TEST(Mover, APausedRebuildOutlivesWhoLooksAfterIt) {
    MoverOptions options = testing::quick();
    options.delay = 5s;
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync), options);
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 4096)));
    m.fail(m.world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member.v);
    Tables& tables = m.world.amf(1).tables();
    const std::uint32_t id = *m.world.run(1, tables.add_job({.kind = JobKind::rebuild}, 0));
    ASSERT_TRUE(m.world.run(1, tables.set_job(id, JobState::paused)));
    m.start(3);
    for (const std::uint16_t one : kBoth) m.world.leave(one);
    Tables& left = m.world.amf(3).tables();
    EXPECT_FALSE(m.world.run_until([&] { return !left.state().job(id)->active(); }, 3s));
    ASSERT_TRUE(m.world.run(3, left.set_job(id, JobState::running)));
    EXPECT_TRUE(m.rebuilt(3));
}

TEST(Mover, SaysWhenItBegins) {
    MoverOptions options = testing::quick();
    options.delay = 5s;
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync), options);
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 4096)));
    EXPECT_FALSE(m.movers[1]->begins());
    const Nanos failed = m.world.clock.now();
    m.fail(m.world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member.v);
    ASSERT_TRUE(m.world.run_until([&] { return m.movers[1]->begins(); }));
    const Nanos begins = *m.movers[1]->begins();
    EXPECT_GE(begins, failed + 5s);
    EXPECT_LE(begins, failed + 6s);
    ASSERT_TRUE(m.world.run_until([&] { return m.world.amf(1).tables().open_moves() != 0; }));
    EXPECT_GE(m.world.clock.now(), begins);
    ASSERT_TRUE(m.rebuilt());
    EXPECT_TRUE(m.world.run_until([&] { return !m.movers[1]->begins(); }));
}

/// What stood there nobody is told any more, wherever it is; the zone has all its disks again.
TEST(Mover, MovesWhatStandsAroundAStripeInQuarantine) {
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync));
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 4u << 20)));
    Tables& tables = m.world.amf(1).tables();
    const Zone zone = *tables.zone(ExtentIndex(0));
    ASSERT_TRUE(m.world.run(1, tables.quarantine(StripeIndex(0), zone.generation)));
    const Geometry geometry = tables.geometry_of(ExtentIndex(0));
    const DiskPlace lost = strip_place(geometry, zone.segments[1], Row(0), tables.config().data_start);
    m.world.media[lost.member.v]->bad.insert(lost.offset / kBlockSize);
    m.fail(zone.segments[0].member.v);
    EXPECT_TRUE(m.rebuilt());
    const std::uint64_t stripe = geometry.stripe_size();
    const Buffer all = pattern(1, 4u << 20);
    EXPECT_TRUE(m.reads(2, stripe, Buffer::copy_of(all.span().subspan(stripe))));
    EXPECT_TRUE(m.world.read(2, 0, 4096).empty());
}

/// Without checksums nobody could say later on what was not made. It stays where it is until it is written
/// anew, and what comes before it, or stands in other zones, does not wait for it.
TEST(Mover, SaysWhatCannotBeRead) {
    MoverOptions options = testing::quick();
    options.unreadable = 100ms;
    Moving m(shape(Level::raid5, 6, 3, false, PowerLoss::resync), options);
    const Buffer data = pattern(1, 4u << 20);
    for (const std::uint64_t at : {std::uint64_t{0}, kExtentSize}) ASSERT_TRUE(m.world.write(1, at, data));
    Tables& tables = m.world.amf(1).tables();
    const Zone& zone = *tables.zone(ExtentIndex(0));
    const Geometry geometry = tables.geometry_of(ExtentIndex(0));
    const DiskPlace lost = strip_place(geometry, zone.segments[1], Row(3), tables.config().data_start);
    m.world.media[lost.member.v]->bad.insert(lost.offset / kBlockSize);
    m.fail(zone.segments[0].member.v);
    const auto told = [&] {
        std::vector<StripeIndex> out = m.movers[1]->unreadable();
        for (const StripeIndex stripe : m.movers[2]->unreadable()) out.push_back(stripe);
        return out;
    };
    ASSERT_TRUE(m.world.run_until([&] { return !told().empty(); }));
    const StripeIndex stripe = geometry.stripe_of(ExtentIndex(0), Row(3));
    EXPECT_EQ(told(), std::vector{stripe});
    const auto alone = [&] {
        return zone.move && zone.move->rows_done == 3 && tables.any_missing() && tables.open_moves() == 1;
    };
    EXPECT_TRUE(m.world.run_until(alone));
    EXPECT_FALSE(m.world.run_until([&] { return !alone(); }, 1s));
    EXPECT_EQ(told(), std::vector{stripe});
    const std::uint64_t at = geometry.range_of(stripe).offset;
    const Buffer anew = pattern(2, geometry.stripe_size());
    ASSERT_TRUE(m.world.write(2, at, anew));
    EXPECT_TRUE(m.rebuilt());
    EXPECT_TRUE(told().empty());
    EXPECT_TRUE(m.reads(2, at, anew));
    EXPECT_TRUE(m.reads(2, 0, Buffer::copy_of(data.span().first(at))));
    EXPECT_TRUE(m.reads(2, kExtentSize, data));
}

/// Not only when all have nothing left to move.
TEST(Mover, LetsGoWhoHasNothingLeft) {
    WorldOptions options = shape(Level::raid5, 7, 3, false, PowerLoss::resync);
    options.extents = 10;
    Moving m(options);
    for (std::uint64_t extent = 0; extent < 4; ++extent)
        ASSERT_TRUE(m.world.write(1, extent * kExtentSize, pattern(extent, 4096)));
    Tables& tables = m.world.amf(2).tables();
    const MemberIndex lost = tables.zone(ExtentIndex(0))->segments[0].member;
    const MemberIndex leaves = tables.zone(ExtentIndex(0))->segments[1].member;
    m.pace = Pace({10ms, 16u << 20});
    m.pace.host_began(m.world.clock.now());
    m.fail(lost.v);
    ASSERT_TRUE(m.world.run(2, tables.take_out(lost)));
    ASSERT_TRUE(m.world.run(2, tables.take_out(leaves)));
    const auto gone = [&] { return tables.state().members[lost.v].state == MemberState::gone; };
    ASSERT_TRUE(m.world.run_until(gone));
    EXPECT_FALSE(tables.leaves_empty(leaves));
}

/// The next failure takes them first.
TEST(Mover, BeginsWithWhatHasLostMost) {
    WorldOptions world = shape(Level::raid6, 7, 4, false, PowerLoss::resync);
    world.extents = 12;
    const std::uint32_t used = 7;  // the rest is room to make it again
    MoverOptions options = testing::quick();
    options.poll = 500ms;  // both fail between two looks
    Moving m(world, options);
    for (std::uint64_t extent = 0; extent < used; ++extent)
        ASSERT_TRUE(m.world.write(1, extent * kExtentSize, pattern(extent, 4096)));
    m.world.leave(2);
    const Tables& tables = m.world.amf(1).tables();
    const auto lost = [&](std::uint32_t extent) {
        return static_cast<int>(tables.missing_of(*tables.zone(ExtentIndex(extent))));
    };
    // Two of which the first zone has one, and the last one both.
    const Zone &first = *tables.zone(ExtentIndex(0)), &last = *tables.zone(ExtentIndex(used - 1));
    const auto twice = members_of(last), once = members_of(first);
    std::vector<std::uint8_t> fail;
    for (std::uint8_t i = 0; i < world.disks && fail.size() < 2; ++i) {
        if (twice[i] && once[i] == fail.empty()) fail.push_back(i);
    }
    ASSERT_EQ(fail.size(), 2u) << "another shape is needed";
    for (const std::uint8_t member : fail) m.fail(member);
    ASSERT_EQ(lost(0), 1);
    ASSERT_EQ(lost(used - 1), 2);
    ASSERT_TRUE(m.world.run_until([&] { return tables.open_moves() != 0; }));
    std::uint32_t begun = 0;
    for (std::uint32_t extent = 0; extent < used; ++extent) {
        if (!tables.zone(ExtentIndex(extent))->move) continue;
        EXPECT_EQ(lost(extent), 2) << extent;
        ++begun;
    }
    EXPECT_EQ(begun, 1u);
    EXPECT_TRUE(m.rebuilt());
}

/// As long as nobody comes or goes.
TEST(Mover, LeavesToTheOthersWhatIsTheirs) {
    WorldOptions world = shape(Level::raid5, 7, 3, false, PowerLoss::resync);
    world.extents = 12;
    Moving m(world);
    for (std::uint64_t extent = 0; extent < world.extents; ++extent)
        ASSERT_TRUE(m.world.write(1, extent * kExtentSize, pattern(extent, 4096)));
    std::uint64_t rows = 0;
    for (std::uint32_t extent = 0; extent < world.extents; ++extent) {
        if (members_of(*m.world.amf(1).tables().zone(ExtentIndex(extent)))[3])
            rows += m.world.amf(1).tables().geometry().rows_per_extent();
    }
    m.fail(3);
    ASSERT_TRUE(m.rebuilt());
    const auto moved = [&](std::uint16_t id) { return m.world.amf(id).counters().moved_rows; };
    EXPECT_EQ(moved(1) + moved(2), rows);
    EXPECT_GT(moved(1), 0u);
    EXPECT_GT(moved(2), 0u);
}

TEST(Mover, GoesOnWhereItWasWhenAllStartAgain) {
    Moving m(shape(Level::raid5, 6, 3, true, PowerLoss::resync));
    const Buffer data = pattern(1, 4u << 20);
    ASSERT_TRUE(m.world.write(1, 0, data));
    m.fail(m.world.amf(1).tables().zone(ExtentIndex(0))->segments[1].member.v);
    const auto rows_done = [&](std::uint16_t id) {
        const auto& move = m.world.amf(id).tables().zone(ExtentIndex(0))->move;
        return move ? move->rows_done : 0;
    };
    ASSERT_TRUE(m.world.run_until([&] { return rows_done(1) >= 64 && rows_done(2) >= 64; }));
    m.world.kill(1, InFlight::torn);
    m.world.kill(2, InFlight::torn);
    m.world.adopt();
    m.start(1);
    EXPECT_GE(rows_done(1), 64u);
    EXPECT_FALSE(m.world.run_until([&] { return !m.lacks_something(); }, 1s)) << "from half-written stripes";
    for (const std::uint8_t slot : {std::uint8_t{0}, std::uint8_t{1}}) {
        Resync resync(m.world.amf(1));
        ASSERT_TRUE(m.world.run(1, resync.own()));
        ASSERT_TRUE(m.world.run(1, resync.of(AmfSlot(slot), [] { return true; })));
    }
    ASSERT_TRUE(m.rebuilt());
    EXPECT_TRUE(m.reads(1, 0, data));
    m.fail(m.world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member.v);
    EXPECT_TRUE(m.reads(1, 0, data));
}

TEST(Mover, LetsTheOthersDoWhatTheDeadHadToDo) {
    Moving m(shape(Level::raid6, 7, 4, true, PowerLoss::resync));
    const Buffer data = pattern(1, 1u << 20);
    for (const std::uint64_t extent : kTwo) ASSERT_TRUE(m.world.write(1, extent * kExtentSize, data));
    m.fail(2);
    ASSERT_TRUE(m.world.run_until([&] { return m.world.amf(1).tables().open_moves() != 0; }));
    m.world.kill(2, InFlight::mixed);
    m.world.adopt();
    ASSERT_TRUE(m.rebuilt());
    for (const std::uint64_t extent : kTwo) EXPECT_TRUE(m.reads(1, extent * kExtentSize, data));
    EXPECT_TRUE(m.world.unclean(1, 2 * kExtentSize).empty());
}

TEST(Mover, BeginsAnewElsewhereWhenItsTargetFails) {
    Moving m(shape(Level::raid6, 8, 4, true, PowerLoss::resync));
    const Buffer data = pattern(1, 2u << 20);
    ASSERT_TRUE(m.world.write(1, 0, data));
    const Tables& tables = m.world.amf(1).tables();
    m.fail(tables.zone(ExtentIndex(0))->segments[0].member.v);
    const auto move = [&] { return tables.zone(ExtentIndex(0))->move; };
    ASSERT_TRUE(m.world.run_until([&] { return move() && move()->rows_done != 0; }));
    m.fail(move()->target.member.v);
    ASSERT_TRUE(m.rebuilt());
    EXPECT_TRUE(m.reads(2, 0, data));
    EXPECT_TRUE(m.world.unclean(1, kExtentSize).empty());
}

/// While hosts go on writing. Both places are there, and the old one is given up in the end.
TEST(Mover, EmptiesAMemberThatLeaves) {
    for (const bool checksums : {true, false}) {
        Moving m(shape(Level::raid5, 6, 3, checksums, PowerLoss::resync));
        Buffer now = pattern(1, 3u << 20);
        ASSERT_TRUE(m.world.write(1, 0, now));
        const Tables& tables = m.world.amf(2).tables();
        const MemberIndex leaver = tables.zone(ExtentIndex(0))->segments[1].member;
        const std::uint32_t generation = tables.zone(ExtentIndex(0))->generation;
        ASSERT_TRUE(m.world.run(1, m.world.amf(1).tables().take_out(leaver)));
        const auto state = [&] { return tables.state().members[leaver.v].state; };
        for (unsigned i = 0; state() != MemberState::gone; ++i) {
            ASSERT_LT(i, 10'000u);
            const std::uint16_t id = kBoth[i % 2];
            const std::size_t at = (i * 7919u) % (2u << 20);
            ASSERT_TRUE(m.world.write(id, at, pattern(i, 9000)));
            std::memcpy(now.data() + at, pattern(i, 9000).data(), 9000);
            for (int steps = 0; steps < 50 && m.world.step(); ++steps) {
            }
            (void)m.world.clock.advance(m.world.clock.now() + 1ms);
        }
        EXPECT_EQ(tables.zone(ExtentIndex(0))->generation, generation);
        EXPECT_FALSE(members_of(*tables.zone(ExtentIndex(0)))[leaver.v]);
        EXPECT_EQ(tables.failed_members(), 0u);
        for (const std::uint16_t id : kBoth) EXPECT_TRUE(m.reads(id, 0, now));
        m.world.media[leaver.v]->dead = true;
        m.fail(tables.zone(ExtentIndex(0))->segments[0].member.v);
        for (const std::uint16_t id : kBoth) EXPECT_TRUE(m.reads(id, 0, now));
        ASSERT_TRUE(m.rebuilt());
        EXPECT_TRUE(m.world.unclean(1, kExtentSize).empty());
    }
}

/// The places differ, perhaps, and nobody would ever see it.
TEST(Mover, BeginsAnewAfterAnAssemblyIfTheOldPlaceIsThere) {
    Moving m(shape(Level::raid5, 6, 3, true, PowerLoss::resync));
    const Buffer data = pattern(1, 1u << 20);
    ASSERT_TRUE(m.world.write(1, 0, data));
    const MemberIndex leaver = m.world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member;
    ASSERT_TRUE(m.world.run(1, m.world.amf(1).tables().take_out(leaver)));
    const auto move = [&] { return m.world.amf(1).tables().zone(ExtentIndex(0))->move; };
    ASSERT_TRUE(m.world.run_until([&] { return move() && move()->rows_done >= 64; }));
    m.world.kill(1, InFlight::torn);
    m.world.kill(2, InFlight::torn);
    m.world.adopt();
    m.world.start(1);
    EXPECT_FALSE(move()) << "with " << move()->rows_done << " rows";
    EXPECT_EQ(m.world.amf(1).tables().state().members[leaver.v].state, MemberState::leaving);
    EXPECT_TRUE(m.reads(1, 0, data));
}

TEST(Mover, LetsNobodyLeaveWhoIsNeeded) {
    Moving m(shape(Level::raid5, 4, 3, false, PowerLoss::resync));
    Tables& tables = m.world.amf(1).tables();
    ASSERT_TRUE(m.world.run(1, tables.create_volume("v", m.world.config.extents * kExtentSize)));
    EXPECT_EQ(tables.why_stays(MemberIndex(0)), Obstacle::no_room);
    EXPECT_EQ(m.world.run(1, tables.take_out(MemberIndex(0))).error().code, Errc::would_lose_data);
    EXPECT_EQ(tables.why_stays(MemberIndex(9)), Obstacle::not_ok);
}

/// All that had the journals at first may fail, one after the other.
TEST(Mover, SoDoTheJournals) {
    Moving m(shape(Level::raid5, 7, 3, true, PowerLoss::journal));
    const Tables& tables = m.world.amf(1).tables();
    const auto rings = [&] {
        MemberMask out;
        for (const std::uint8_t slot : {std::uint8_t{0}, std::uint8_t{1}})
            out |= tables.journal(AmfSlot(slot)).members;
        return out;
    };
    Buffer now = pattern(1, 1u << 20);
    ASSERT_TRUE(m.world.write(1, 0, now));
    const MemberMask first = rings();
    ASSERT_EQ(first.count(), 4u);
    for (std::uint8_t member = 0; member < 7; ++member) {
        if (!first[member]) continue;
        m.fail(member);
        for (const std::uint16_t id : kBoth) {
            ASSERT_TRUE(m.world.write(id, 8192u * id, pattern(member, 9000)));
            std::memcpy(now.data() + 8192u * id, pattern(member, 9000).data(), 9000);
        }
        ASSERT_TRUE(m.world.run_until([&] { return !tables.rings_filling() && !m.lacks_something(); }, 10s));
        for (const std::uint8_t slot : {std::uint8_t{0}, std::uint8_t{1}})
            EXPECT_EQ(tables.journal(AmfSlot(slot)).members.count(), 2u);
        if (tables.failed_members() == 3) break;  // a stripe is three members wide, and a spare one
    }
    EXPECT_LE((rings() & first).count(), 1u);
    EXPECT_FALSE(tables.offline());
    ASSERT_TRUE(m.world.write(1, 0, pattern(9, 5000)));
    std::memcpy(now.data(), pattern(9, 5000).data(), 5000);
    m.world.kill(1, InFlight::torn);
    m.world.kill(2, InFlight::torn);
    m.world.adopt();
    m.start(1);
    EXPECT_TRUE(m.reads(1, 0, now));
}

/// Not into what virtual disks may still need; and they find their places, whoever has failed.
TEST(Mover, LeavesTheSpaceOfVirtualDisksAlone) {
    Moving m(shape(Level::raid5, 5, 3, false, PowerLoss::resync));
    const std::uint32_t extents = m.world.config.extents;
    const Tables& tables = m.world.amf(1).tables();
    ASSERT_TRUE(m.world.run(1, m.world.amf(1).tables().create_volume("v", extents * kExtentSize)));
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 1u << 20)));
    m.fail(tables.zone(ExtentIndex(0))->segments[0].member.v);
    EXPECT_TRUE(tables.with_spare(*tables.zone(ExtentIndex(0))).none());
    for (std::uint32_t extent = 1; extent < extents; ++extent)
        EXPECT_TRUE(m.world.write(1, extent * kExtentSize, pattern(2, 4096))) << extent;
    EXPECT_FALSE(m.world.run_until([&] { return !m.lacks_something(); }, 1s));
}

/// Virtual disks have all that they can have, and one disk after the other fails: as often as there are
/// spares all is made again.
TEST(Spares, AreRoomToMakeAgainWhatFullDisksHeld) {
    WorldOptions options = shape(Level::raid5, 6, 3, true, PowerLoss::resync);
    options.extents = 16;
    Moving without(options);
    options.spares = 2;
    Moving m(options);
    Tables& tables = m.world.amf(1).tables();
    const std::uint32_t extents = tables.usable_extents();
    ASSERT_GT(extents, 2u);
    EXPECT_LT(extents, without.world.amf(1).tables().usable_extents());
    ASSERT_TRUE(m.world.run(1, tables.create_volume("v", extents * kExtentSize)));
    EXPECT_FALSE(m.world.run(1, tables.create_volume("w", kExtentSize)));
    for (std::uint32_t extent = 0; extent < extents; ++extent)
        ASSERT_TRUE(m.world.write(1 + extent % 2, extent * kExtentSize, pattern(extent, 1u << 20)));
    for (std::uint8_t failed = 0; failed < options.spares; ++failed) {
        EXPECT_EQ(tables.spares_left(), unsigned{options.spares} - failed);
        m.fail(tables.zone(ExtentIndex(0))->segments[0].member.v);
        ASSERT_TRUE(m.rebuilt()) << "after " << unsigned{failed};
    }
    EXPECT_EQ(tables.spares_left(), 0u);
    for (std::uint32_t extent = 0; extent < extents; ++extent)
        EXPECT_TRUE(m.reads(2, extent * kExtentSize, pattern(extent, 1u << 20))) << extent;
    EXPECT_TRUE(m.world.unclean(1, extents * kExtentSize).empty());
}

/// More are refused if virtual disks have their room, or stripes their disks; fewer are room for virtual
/// disks.
TEST(Spares, ChangeWhileTheGroupIsServed) {
    WorldOptions options = shape(Level::raid5, 5, 3, false, PowerLoss::resync);
    options.extents = 8;
    Moving m(options);
    Tables& tables = m.world.amf(1).tables();
    const std::uint32_t all = tables.usable_extents();
    EXPECT_EQ(m.world.run(1, tables.set({.spares = 3})).error().code, Errc::no_space)
        << "stripes of 3 on 2 disks";
    ASSERT_TRUE(m.world.run(1, tables.set({.spares = 1})));
    EXPECT_EQ(m.world.amf(2).tables().config().spares, 1u);
    const std::uint32_t less = tables.usable_extents();
    EXPECT_LT(less, all);
    ASSERT_TRUE(m.world.run(1, tables.create_volume("v", less * kExtentSize)));
    EXPECT_EQ(m.world.run(1, tables.set({.spares = 2})).error().code, Errc::no_space);
    EXPECT_FALSE(m.world.run(1, tables.create_volume("w", kExtentSize)));
    ASSERT_TRUE(m.world.run(2, m.world.amf(2).tables().set({.spares = 0})));
    EXPECT_EQ(tables.usable_extents(), all);
    EXPECT_TRUE(m.world.run(1, tables.create_volume("w", kExtentSize)));
}

}  // namespace
}  // namespace braid
