// Disks that come into a group while it is served.
#include <gtest/gtest.h>

#include <cstring>

#include "jobs/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::kBoth;
using testing::MemoryDisk;
using testing::Moving;
using testing::pattern;
using testing::shape;
using testing::World;

/// What a disk that comes has to hold is there before it counts; so the one that fails next is no loss.
TEST(Members, ANewDiskTakesThePlaceOfOneThatFailed) {
    for (const PowerLoss power : {PowerLoss::resync, PowerLoss::journal}) {
        Moving m(shape(Level::raid5, 3, 3, true, power));
        Buffer now = pattern(1, 3u << 20);
        ASSERT_TRUE(m.world.write(1, 0, now));
        const Tables& tables = m.world.amf(2).tables();
        MemberIndex free(3);
        for (std::uint8_t round = 0; round < 4; ++round) {
            const MemberIndex old = tables.zone(ExtentIndex(0))->segments[round % 3].member;
            m.fail(old.v);
            EXPECT_FALSE(m.world.run_until([&] { return !m.lacks_something(); }, 1s)) << "onto nothing";
            MemoryDisk disk = m.world.add_disk();
            const auto added =
                m.world.run(1, m.world.amf(1).tables().admit({{&disk, m.world.random.uuid()}}));
            ASSERT_TRUE(added) << to_string(added.error().code);
            EXPECT_EQ(added->front(), free) << "a place that nobody has";
            free = old;
            ASSERT_TRUE(m.world.write(2, 100u * round, pattern(round, 5000)));
            std::memcpy(now.data() + 100u * round, pattern(round, 5000).data(), 5000);
            ASSERT_TRUE(m.world.run(2, m.world.amf(2).tables().take_out(old)));
            ASSERT_TRUE(m.rebuilt());
            ASSERT_TRUE(m.world.run_until(
                [&] { return tables.state().members[old.v].state == MemberState::gone; }, 10s));
            EXPECT_EQ(tables.failed_members(), 0u);
            for (const std::uint16_t id : kBoth) EXPECT_TRUE(m.reads(id, 0, now));
            EXPECT_TRUE(m.world.unclean(1, kExtentSize).empty());
        }
        ASSERT_TRUE(m.world.run_until([&] { return !tables.rings_filling(); }, 10s));
        m.world.config = tables.config();
        m.world.kill(1, InFlight::torn);
        m.world.kill(2, InFlight::torn);
        m.world.adopt();
        m.start(1);
        EXPECT_TRUE(m.reads(1, 0, now)) << "by whom the disks bring";
        EXPECT_EQ(m.world.amf(1).tables().failed_members(), 0u);
    }
}

TEST(Members, OneThatSomebodyDoesNotReachStaysOutside) {
    Moving m(shape(Level::raid5, 3, 3, true, PowerLoss::journal));
    ASSERT_TRUE(m.world.write(1, 0, pattern(1, 1u << 20)));
    m.world.node(2).cut[3] = true;
    MemoryDisk disk = m.world.add_disk();
    const Uuid id = m.world.random.uuid();
    const auto added = m.world.run(1, m.world.amf(1).tables().admit({{&disk, id}}));
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().code, Errc::not_ready);
    EXPECT_EQ(added.error().detail, 2u);
    for (const std::uint16_t one : kBoth) {
        const Tables& tables = m.world.amf(one).tables();
        EXPECT_EQ(tables.state().members[3].state, MemberState::gone);
        EXPECT_FALSE(tables.offline());
        EXPECT_FALSE(tables.with_spare(*tables.zone(ExtentIndex(0)))[3]);
        EXPECT_TRUE(m.reads(one, 0, pattern(1, 1u << 20)));
    }
    m.world.node(2).cut[3] = false;
    EXPECT_TRUE(m.world.run(2, m.world.amf(2).tables().admit({{&disk, m.world.random.uuid()}})));
    EXPECT_TRUE(m.world.amf(1).tables().member_ok(MemberIndex(3)));
}

/// Who dies while a disk comes leaves nothing on it that outlives what the others decide then.
TEST(Members, WhatWasNeverDecidedIsForgotten) {
    bool came = false;
    for (std::size_t steps = 0; !came; ++steps) {
        Moving m(shape(Level::raid5, 5, 3, true, PowerLoss::resync));
        ASSERT_TRUE(m.world.write(1, 0, pattern(1, 1u << 20)));
        ASSERT_TRUE(m.world.run(1, m.world.amf(1).tables().take_out(MemberIndex(0))));
        const auto state_of = [&](std::uint8_t member) {
            return m.world.amf(2).tables().state().members[member].state;
        };
        ASSERT_TRUE(m.world.run_until([&] { return state_of(0) == MemberState::gone; }));
        m.world.settle();
        MemoryDisk disk = m.world.add_disk();
        const Uuid id = m.world.random.uuid();
        std::optional<Result<std::vector<MemberIndex>>> added;
        m.world.node(1).scope->spawn(World::keep(m.world.amf(1).tables().admit({{&disk, id}}), added));
        const auto named = [&] { return m.world.amf(2).tables().config().members[0].disk == id; };
        ASSERT_TRUE(m.world.run_until(named)) << "it comes to the place of the first member";
        for (std::size_t i = 0; i < steps; ++i) m.world.step();
        came = added.has_value();
        m.world.config = m.world.amf(2).tables().config();
        m.world.kill(1, InFlight::landed);
        m.world.adopt();
        ASSERT_TRUE(m.world.run(2, m.world.amf(2).tables().set({.scrub_every = 3600})));
        m.world.kill(2, InFlight::lost);
        m.world.adopt();
        m.start(2);
        ASSERT_EQ(m.world.amf(2).tables().state().schedule.every, 3600u) << "after " << steps << " steps";
        ASSERT_TRUE(m.reads(2, 0, pattern(1, 1u << 20)));
    }
}

/// Who joins while it comes has it, too, or does not join.
TEST(Members, WhoJoinsLaterHasIt) {
    Moving m(shape(Level::raid6, 4, 4, true, PowerLoss::journal));
    const Buffer data = pattern(1, 1u << 20);
    ASSERT_TRUE(m.world.write(1, 0, data));
    MemoryDisk disk = m.world.add_disk();
    std::optional<Result<std::vector<MemberIndex>>> added;
    m.world.node(1).scope->spawn(
        World::keep(m.world.amf(1).tables().admit({{&disk, m.world.random.uuid()}}), added));
    m.world.run_until([&] { return m.world.amf(2).tables().config().members.size() == 5; });
    m.start(3);
    ASSERT_TRUE(m.world.run_until([&] { return added.has_value(); }));
    ASSERT_TRUE(*added);
    m.fail(0);
    m.fail(1);
    ASSERT_TRUE(m.world.run_until([&] { return m.lacks_something(3) && m.movers[3]->moved() == 0; }));
    for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{3}}) {
        EXPECT_TRUE(m.world.amf(id).tables().member_ok(MemberIndex(4)));
        EXPECT_TRUE(m.reads(id, 0, data));
    }
}

}  // namespace
}  // namespace braid
