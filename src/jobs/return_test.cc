// A disk that was away and is back: recognised, and brought up to date with what was written without it.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"
#include "jobs/mover.h"
#include "jobs/resync.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::MemoryDisk;
using testing::Pages;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::array<std::uint16_t, 2> kBoth{1, 2};
constexpr std::size_t kBytes = 12u << 20;  ///< that the tests write: three regions of an extent

/// Disks stay as long as they are away; nothing is made again elsewhere meanwhile.
MoverOptions options() { return {.delay = 1000s, .run = 4, .poll = 1ms, .retry = 5ms}; }

WorldOptions shape(Level level, std::size_t disks, unsigned width, PowerLoss power = PowerLoss::resync,
                   bool checksums = true) {
    WorldOptions out{.level = level, .disks = disks, .strip_size = 256u << 10, .width = width};
    out.checksums = checksums;
    out.power_loss = power;
    out.amf.intent_idle = 5ms;
    out.amf.housekeeping = 2ms;
    return out;
}

class Returning {
public:
    explicit Returning(WorldOptions options) : world(options), now(pattern(1, kBytes)) {
        for (const std::uint16_t id : kBoth) start(id);
        EXPECT_TRUE(world.write(1, 0, now));
        EXPECT_TRUE(world.write(2, kExtentSize, pattern(2, 4096)));
        idle();
    }
    ~Returning() {
        for (auto& [id, node] : world.nodes) node->scope->destroy_all();
    }
    void start(std::uint16_t id) {
        world.start(id);
        movers[id] = std::make_unique<Mover>(world.amf(id), world.clock, pace, options());
        world.node(id).scope->spawn(movers[id]->run());
    }
    Tables& tables(std::uint16_t id = 1) { return world.amf(id).tables(); }
    const Zone& zone(std::uint32_t extent = 0) { return *tables().zone(ExtentIndex(extent)); }
    MemberIndex first() { return zone().segments[0].member; }
    void write(std::uint16_t id, std::size_t at, std::uint64_t seed, std::size_t size = 9000) {
        ASSERT_TRUE(world.write(id, at, pattern(seed, size)));
        std::memcpy(now.data() + at, pattern(seed, size).data(), size);
    }
    /// No region is in an intent page.
    void idle() {
        for (const std::uint16_t id : kBoth) {
            if (!world.alive(id)) continue;
            EXPECT_TRUE(world.run_until([&] { return tables(id).dirty_regions() == 0; }, 1s));
            EXPECT_TRUE(world.run(id, tables(id).clear_idle_intents(Nanos{0})));
        }
        (void)world.run_until([] { return false; }, 1ms);
    }
    void lose(MemberIndex member) {
        world.media[member.v]->dead = true;
        ASSERT_TRUE(world.run(1, tables().fail_member(member)));
    }
    Result<Superblock> superblock(MemoryDisk& disk) {
        return world.run(1, read_superblock(world.executor, disk));
    }
    MemoryDisk disk(MemberIndex member) {
        world.media[member.v]->dead = false;
        return MemoryDisk(world, *world.media[member.v], "back");
    }
    Result<Tables::Return> may_return(MemberIndex member, std::uint16_t id = 1) {
        MemoryDisk back = disk(member);
        const auto found = superblock(back);
        if (!found) return std::unexpected(found.error());
        return world.run(id, tables(id).may_return(back, *found));
    }
    Result<MemberIndex> take_back(MemberIndex member, std::uint16_t id = 1) {
        MemoryDisk back = disk(member);
        const auto found = superblock(back);
        if (!found) return std::unexpected(found.error());
        const auto taken = world.run(id, tables(id).take_back(back, *found, world.random.uuid()));
        world.config = tables(id).config();
        return taken;
    }
    bool whole(std::uint16_t id = 1) {
        return world.run_until([&] { return !tables(id).any_missing() && tables(id).open_moves() == 0; },
                               20s);
    }
    std::uint64_t moved_rows() {
        std::uint64_t rows = 0;
        for (const std::uint16_t id : kBoth)
            rows += world.alive(id) ? world.amf(id).counters().moved_rows : 0;
        return rows;
    }
    bool reads_all() {
        for (const std::uint16_t id : kBoth) {
            if (!world.alive(id)) continue;
            const Buffer back = world.read(id, 0, now.size());
            if (back.size() != now.size() || std::memcmp(back.data(), now.data(), now.size()) != 0)
                return false;
        }
        return true;
    }
    void expect_all_right() {
        EXPECT_TRUE(reads_all());
        EXPECT_TRUE(world.unclean(1, 2 * kExtentSize).empty());
    }
    void comes_back(MemberIndex member, std::uint16_t id = 1) {
        ASSERT_TRUE(take_back(member, id));
        ASSERT_TRUE(whole());
        expect_all_right();
    }
    void start_both_again(InFlight fate) {
        for (const std::uint16_t id : kBoth) {
            if (world.alive(id)) world.kill(id, fate);
        }
        world.adopt();
        for (const std::uint16_t id : kBoth) start(id);
    }

    World world;
    Buffer now;
    Pace pace{{}};
    std::map<std::uint16_t, std::unique_ptr<Mover>> movers;
};

struct Case {
    const char* name;
    WorldOptions options;
};

class Return : public ::testing::TestWithParam<Case> {};

/// Before, while it is away, and while it is brought up to date.
TEST_P(Return, CopiesWhatWasWrittenWithoutIt) {
    Returning r(GetParam().options);
    for (unsigned round = 0; round < 3; ++round) {
        const MemberIndex away = r.first();
        r.write(1, 100, 10 + round);  // stands in the intents when the member fails
        r.lose(away);
        r.write(2, kRegionSize + 5000 * round, 20 + round);
        if (round != 0) r.idle();
        const auto plan = r.may_return(away);
        ASSERT_TRUE(plan) << to_string(plan.error().code);
        EXPECT_GE(plan->missed, 1u);
        EXPECT_LE(plan->missed, 5u);
        const std::uint64_t before = r.moved_rows();
        ASSERT_TRUE(r.take_back(away, kBoth[round % 2]));
        EXPECT_TRUE(r.tables().any_missing());
        for (unsigned i = 0; r.tables().open_moves() != 0 && i < 1000; ++i) {
            r.write(kBoth[i % 2], (i * 7919u) % (kBytes - 9000), i);
            for (int steps = 0; steps < 30 && r.world.step(); ++steps) {
            }
            (void)r.world.clock.advance(r.world.clock.now() + 1ms);
        }
        ASSERT_TRUE(r.whole());
        EXPECT_EQ(r.tables().failed_members(), 0u);
        EXPECT_EQ(r.zone().missed, 0);
        const Geometry& geometry = r.tables().geometry();
        const auto rows_of_region = static_cast<std::uint64_t>(kRegionSize / geometry.stripe_size() + 1);
        EXPECT_LE(r.moved_rows() - before, 5 * rows_of_region);
        r.expect_all_right();
        for (std::uint8_t other = 0; other < geometry.m; ++other) r.lose(r.zone().segments[1 + other].member);
        EXPECT_TRUE(r.reads_all());
        for (std::uint8_t other = 0; other < geometry.m; ++other) {
            ASSERT_TRUE(r.take_back(r.zone().segments[1 + other].member));
            ASSERT_TRUE(r.world.run_until([&] { return r.tables().open_moves() == 0; }, 20s));
        }
        ASSERT_TRUE(r.whole());
    }
}

INSTANTIATE_TEST_SUITE_P(
    Levels, Return,
    ::testing::Values(Case{"raid5", shape(Level::raid5, 4, 3)},
                      Case{"raid5_plain", shape(Level::raid5, 4, 3, PowerLoss::resync, false)},
                      Case{"raid6", shape(Level::raid6, 6, 5, PowerLoss::journal)},
                      Case{"mirror", shape(Level::mirror, 3, 2)},
                      Case{"mirror_of_3", shape(Level::mirror, 4, 3, PowerLoss::journal, false)}),
    [](const auto& info) { return info.param.name; });

TEST(Return, CopiesNothingIfNothingWasWritten) {
    Returning r(shape(Level::raid5, 4, 3));
    const MemberIndex away = r.first();
    r.lose(away);
    const auto plan = r.may_return(away);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->missed, 0u);
    EXPECT_GE(plan->regions, 16u);
    ASSERT_TRUE(r.take_back(away));
    ASSERT_TRUE(r.whole());
    EXPECT_EQ(r.moved_rows(), 0u);
    r.expect_all_right();
}

/// It is stale above the watermark.
TEST(Return, IsReadOnlyWhereItHasBeenBroughtUpToDate) {
    Returning r(shape(Level::mirror, 3, 2));
    const MemberIndex away = r.first();
    r.lose(away);
    r.write(1, 0, 5, 3u << 20);
    for (const auto& [id, mover] : r.movers) mover->end();
    (void)r.world.run_until([] { return false; }, 10ms);
    ASSERT_TRUE(r.take_back(away));
    EXPECT_EQ(r.zone().move->rows_done, 0u);
    EXPECT_TRUE(r.zone().moves_in_place());
    EXPECT_TRUE(r.reads_all());
    EXPECT_TRUE(r.tables().any_missing());
    EXPECT_FALSE(r.tables().survives(MemberMask().set(r.zone().segments[1].member.v)));
    EXPECT_TRUE(r.world.run(1, r.world.amf(1).flush()));
}

/// What a disk has lost of what it had before it failed nobody has noted.
TEST(Return, IsRefusedToAnOlderStateOfTheDisk) {
    Returning r(shape(Level::raid5, 4, 3));
    const MemberIndex away = r.first();
    const Pages before = r.world.media[away.v]->pages;
    r.write(1, 0, 5);
    r.idle();
    r.lose(away);
    r.write(1, kRegionSize, 6);
    const Pages then = std::exchange(r.world.media[away.v]->pages, before);
    EXPECT_EQ(r.may_return(away).error().code, Errc::refused);
    EXPECT_EQ(r.take_back(away).error().code, Errc::refused);
    EXPECT_EQ(r.tables().failed_members(), 1u);
    r.world.media[away.v]->pages = then;
    r.comes_back(away);
    r.lose(away);
    r.world.media[away.v]->pages = then;
    EXPECT_EQ(r.take_back(away).error().code, Errc::not_found) << "it has come back since";
}

/// A zone that it has never heard of.
TEST(Return, CopiesAllOfAZoneThatCameMeanwhile) {
    WorldOptions options = shape(Level::raid5, 3, 3);
    options.extents = 4;
    Returning r(options);
    const MemberIndex away = r.first();
    r.lose(away);
    ASSERT_TRUE(r.world.write(1, 3 * kExtentSize, pattern(9, 4096)));
    r.idle();
    const auto plan = r.may_return(away);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->missed, 16u);
    r.comes_back(away);
    r.lose(r.zone().segments[1].member);
    const Buffer back = r.world.read(2, 3 * kExtentSize, 4096);
    EXPECT_EQ(std::memcmp(back.data(), pattern(9, 4096).data(), 4096), 0);
}

/// The flush before a region leaves the intents fails: what it had is not safe there.
TEST(Return, KnowsWhatAFailingFlushWasToKeep) {
    Returning r(shape(Level::raid5, 4, 3));
    const MemberIndex away = r.first();
    r.write(1, 0, 5);
    ASSERT_EQ(r.tables().dirty_regions(), 1u);
    r.world.media[away.v]->dead = true;
    ASSERT_TRUE(r.world.run_until([&] { return r.tables().failed_members() == 1; }, 1s));
    r.idle();
    EXPECT_NE(r.zone().missed & 1, 0);
    r.comes_back(away);
}

TEST(Return, BeginsAnewIfItFailsAgain) {
    Returning r(shape(Level::raid5, 4, 3));
    const MemberIndex away = r.first();
    r.lose(away);
    r.write(1, 0, 5, 8u << 20);
    r.idle();
    const std::uint16_t missed = r.zone().missed;
    EXPECT_EQ(missed, 3u);
    ASSERT_TRUE(r.take_back(away));
    ASSERT_TRUE(r.world.run_until([&] { return r.zone().move && r.zone().move->rows_done > 4; }, 5s));
    r.lose(away);
    ASSERT_TRUE(r.world.run_until([&] { return r.tables().open_moves() == 0; }, 5s));
    EXPECT_EQ(r.zone().missed, missed);
    r.write(2, 2 * kRegionSize, 6);
    r.idle();
    EXPECT_TRUE(r.reads_all());
    const auto plan = r.may_return(away);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->missed, 3u);
    r.comes_back(away);
}

/// As it stood in the middle of an earlier return.
TEST(Return, IsToldBetweenAnEarlierOneAndItsEnd) {
    Returning r(shape(Level::raid5, 4, 3));
    const MemberIndex away = r.first();
    r.lose(away);
    r.write(1, 0, 5, 8u << 20);
    r.idle();
    ASSERT_TRUE(r.take_back(away));
    const Pages middle = r.world.media[away.v]->pages;
    ASSERT_TRUE(r.whole());
    r.lose(away);
    r.world.media[away.v]->pages = middle;
    const auto plan = r.may_return(away);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->missed, 2u);
    r.comes_back(away);
}

TEST(Return, OfOneWhileAnotherIsAway) {
    Returning r(shape(Level::raid6, 5, 5));
    const MemberIndex one = r.zone().segments[0].member, other = r.zone().segments[1].member;
    r.lose(one);
    r.write(1, 0, 5);
    r.lose(other);
    r.write(2, kRegionSize, 6);
    ASSERT_TRUE(r.take_back(one));
    ASSERT_TRUE(r.world.run_until([&] { return r.tables().open_moves() == 0; }, 5s));
    r.write(2, 2 * kRegionSize, 7);
    r.idle();
    EXPECT_TRUE(r.reads_all());
    r.comes_back(other, 2);
}

/// Rows of another segment that moved meanwhile: their checksums are as they were.
TEST(Return, HasTheChecksumsOfRowsThatMovedMeanwhile) {
    Returning r(shape(Level::raid6, 6, 4));
    const MemberIndex away = r.first(), leaver = r.zone().segments[1].member;
    ASSERT_TRUE(r.world.run(1, r.tables().take_out(leaver)));
    ASSERT_TRUE(r.world.run_until([&] { return r.zone().move.has_value(); }, 5s));
    r.lose(away);
    const std::uint64_t before = r.moved_rows();
    ASSERT_TRUE(r.world.run_until([&] { return r.zone().segments[1].member != leaver; }, 5s));
    EXPECT_GT(r.moved_rows(), before);
    r.comes_back(away);
}

/// What waits for its own disk is not under way.
TEST(Return, EndsTheRebuildWhileAnotherIsAway) {
    Returning r(shape(Level::raid6, 6, 4));
    const MemberIndex one = r.zone().segments[0].member, other = r.zone().segments[1].member;
    const auto rebuild = [&] { return r.tables().state().active(JobKind::rebuild); };
    r.lose(one);
    r.lose(other);
    r.write(1, 0, 5, 8u << 20);
    ASSERT_TRUE(r.take_back(one));
    ASSERT_TRUE(r.world.run_until([&] { return rebuild() != nullptr; }, 5s));
    ASSERT_TRUE(r.world.run_until([&] { return rebuild() == nullptr; }, 20s));
    EXPECT_EQ(r.tables().open_moves(), 0u);
    EXPECT_NE(r.tables().segments_to_move(JobKind::rebuild), 0u);
    r.comes_back(other);
}

/// A zone has one move; the one in place must not be forgotten.
TEST(Return, OfTwoOneAfterTheOther) {
    Returning r(shape(Level::raid6, 5, 5));
    const MemberIndex one = r.zone().segments[0].member, other = r.zone().segments[1].member;
    r.lose(one);
    r.lose(other);
    r.write(1, 0, 5, 8u << 20);
    r.idle();
    ASSERT_TRUE(r.take_back(one));
    EXPECT_EQ(r.may_return(other).error().code, Errc::busy);
    EXPECT_EQ(r.take_back(other, 2).error().code, Errc::busy);
    ASSERT_TRUE(r.world.run_until([&] { return r.tables().open_moves() == 0; }, 5s));
    r.comes_back(other, 2);
}

/// Which are given up: the segment of before is as good as it was.
TEST(Return, EndsMovesToOtherMembers) {
    Returning r(shape(Level::raid5, 5, 3));
    const MemberIndex away = r.first();
    r.lose(away);
    r.write(1, 0, 5);
    ASSERT_TRUE(r.world.run(1, r.tables().open_move(ExtentIndex(0))));
    EXPECT_FALSE(r.zone().moves_in_place());
    ASSERT_TRUE(r.take_back(away));
    ASSERT_TRUE(r.whole());
    EXPECT_EQ(r.first(), away);
    r.expect_all_right();
}

/// Whoever dies on the way leaves a failed member, or one that is back; and who takes it back then, has all.
TEST(Return, MayEndAtAnyStep) {
    for (const InFlight fate : {InFlight::lost, InFlight::torn}) {
        bool done = false;
        unsigned rounds = 0, refused = 0;
        for (std::size_t steps = 0; !done; steps += 1 + steps / 6, ++rounds) {
            Returning r(shape(Level::raid5, 4, 3));
            const MemberIndex away = r.first();
            r.lose(away);
            r.write(1, 0, 5, 5u << 20);
            MemoryDisk back = r.disk(away);
            const auto found = r.superblock(back);
            std::optional<Result<MemberIndex>> taken;
            r.world.node(2).scope->spawn(
                World::keep(r.tables(2).take_back(back, *found, r.world.random.uuid()), taken));
            for (std::size_t i = 0; i < steps && r.world.step(); ++i) {
            }
            done = taken.has_value();
            r.write(1, kRegionSize, 7);
            r.world.kill(2, fate);
            r.world.adopt();
            ASSERT_TRUE(r.world.run_until([&] { return r.tables().settled(); }, 5s));
            Resync resync(r.world.amf(1));
            ASSERT_TRUE(r.world.run(1, resync.of(AmfSlot(1), [] { return true; })));
            if (r.tables().state().members[away.v].state == MemberState::failed) {
                ASSERT_TRUE(r.world.run_until([&] { return r.tables().open_moves() == 0; }, 5s)) << steps;
                EXPECT_TRUE(r.reads_all());
                const auto again = r.take_back(away);
                refused += again ? 0 : 1;  // its tables were being written anew
                if (!again) continue;
            }
            ASSERT_TRUE(r.whole()) << "after " << steps << " steps";
            r.expect_all_right();
        }
        EXPECT_LE(refused, rounds / 4);
    }
}

/// All power is lost: what was being written may be there in part, here and there.
TEST(Return, OutlivesALossOfPower) {
    for (const PowerLoss power : {PowerLoss::resync, PowerLoss::journal}) {
        for (unsigned ms = 0; ms < 60; ms += 7) {
            Returning r(shape(Level::raid5, 4, 3, power));
            const MemberIndex away = r.first();
            r.lose(away);
            r.write(1, 0, 5, 8u << 20);
            ASSERT_TRUE(r.take_back(away));
            (void)r.world.run_until([] { return false; }, Nanos(1ms) * ms);
            std::optional<Status> done;
            const Buffer late = pattern(8, 9000);
            r.world.node(2).scope->spawn(
                World::keep(r.world.amf(2).write(2 * kRegionSize, Slice(late), false), done));
            for (unsigned i = 0; i < 40 + ms; ++i) (void)r.world.step();
            r.start_both_again(InFlight::torn);
            for (const std::uint16_t id : kBoth) {
                Resync resync(r.world.amf(id));
                ASSERT_TRUE(r.world.run(id, resync.own()));
            }
            r.write(1, 2 * kRegionSize, 9);
            ASSERT_TRUE(r.whole()) << "after " << ms;
            r.expect_all_right();
        }
    }
}

}  // namespace
}  // namespace braid
