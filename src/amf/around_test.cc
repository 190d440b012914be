// Reads around a member that limps: its data commands are held while hosts read, so who waits for it hangs.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::uint32_t kStrip = 16u << 10;
constexpr std::size_t kSize = 1u << 20;
constexpr MemberIndex kSlow{1};

struct Case {
    Level level;
    std::size_t disks;
    bool checksums = false;
    Granularity granularity{};
    unsigned width = 0;
};

class ReadsAround : public ::testing::TestWithParam<Case> {
protected:
    static WorldOptions options_of(const Case& c) {
        WorldOptions out{.level = c.level, .disks = c.disks, .strip_size = kStrip, .width = c.width};
        out.checksums = c.checksums;
        out.sharing.granularity = c.granularity;
        return out;
    }

    ReadsAround() {
        world_.start(1);
        world_.start(2);
        world_.run(1, world_.amf(1).write(0, Slice(data_), false)).value();
    }

    testing::MemoryDisk& disk(MemberIndex member, std::uint16_t id = 1) {
        return *static_cast<testing::MemoryDisk*>(world_.amf(id).tables().disk(member));
    }
    /// So many windows in which commands of the slow member take so long, and those of the others 5 ms.
    void pass(unsigned windows, Nanos slow, std::optional<MemberIndex> slow_too = {}) {
        for (; windows > 0; --windows) {
            for (std::uint8_t i = 0; i < GetParam().disks; ++i) {
                if (!world_.amf(1).tables().member_ok(MemberIndex(i))) continue;
                const bool limps = MemberIndex(i) == kSlow || MemberIndex(i) == slow_too;
                for (int n = 0; n < 200; ++n) disk(MemberIndex(i)).latencies().reads.add(limps ? slow : 5ms);
            }
            world_.run_until([] { return false; }, LimpOptions{}.window);
        }
    }
    void limp() { pass(Limping::kSlow, 200ms); }
    bool limps() { return world_.amf(1).limping().members()[kSlow.v]; }
    std::uint64_t around() { return world_.amf(1).counters().read_around; }
    bool all_right(std::uint16_t id = 1) {
        for (std::size_t at = 0; at < kSize; at += 256u << 10) {
            const Buffer found = world_.read(id, at, 256u << 10);
            if (found.size() == 0 || std::memcmp(found.data(), data_.data() + at, found.size()) != 0)
                return false;
        }
        return true;
    }

    Buffer data_ = pattern(7, kSize);
    World world_{options_of(GetParam())};
};

TEST_P(ReadsAround, DoNotWaitForIt) {
    limp();
    ASSERT_TRUE(limps());
    world_.held.insert(&disk(kSlow));
    EXPECT_TRUE(all_right());
    EXPECT_GT(around(), 0u);
    EXPECT_EQ(world_.amf(1).counters().member_errors, 0u);
}

TEST_P(ReadsAround, OfManySomeGoThereAllTheSame) {
    limp();
    const std::uint64_t before = world_.amf(1).counters().disk_reads;
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(all_right());
    const std::uint64_t reads = world_.amf(1).counters().disk_reads - before;
    EXPECT_GT(around(), reads / 20);
    world_.held.insert(&disk(kSlow));
    std::size_t hang = 0;
    for (int i = 0; i < 64 && hang == 0; ++i) {
        std::optional<Status> done;
        Buffer into(kSize);
        Scope scope(world_.executor);
        scope.spawn(World::keep(world_.amf(1).read(0, into.span()), done));
        hang += world_.run_until([&] { return done.has_value(); }, 10ms) ? 0 : 1;
    }
    EXPECT_EQ(hang, 1u);
}

TEST_P(ReadsAround, WritesGoThereAsEver) {
    limp();
    ASSERT_TRUE(limps());
    data_ = pattern(8, kSize);
    for (std::size_t at = 0; at < kSize; at += 20u << 10) {
        const std::size_t size = std::min<std::size_t>(20u << 10, kSize - at);
        ASSERT_TRUE(world_.write(1, at, Buffer::copy_of(data_.span(at, size))));
    }
    EXPECT_TRUE(all_right());
    EXPECT_TRUE(world_.unclean(2, kSize).empty());
    pass(Limping::kWell, 5ms);
    ASSERT_FALSE(limps());
    const std::uint64_t before = around();
    EXPECT_TRUE(all_right());
    EXPECT_EQ(around(), before);
    world_.media[kSlow.v == 0 ? 1 : 0]->dead = true;
    EXPECT_TRUE(all_right());
}

TEST_P(ReadsAround, NotWhereAnotherMemberIsMissingOrLimpsToo) {
    pass(Limping::kSlow, 200ms, MemberIndex(2));
    if (GetParam().disks > 4) {
        ASSERT_TRUE(limps());
        ASSERT_TRUE(world_.amf(1).limping().members()[2]);
    }
    const bool narrow = GetParam().width != 0;
    EXPECT_TRUE(all_right());
    if (!narrow) EXPECT_EQ(around(), 0u);
    pass(Limping::kWell, 5ms);
    limp();
    ASSERT_TRUE(world_.run(1, world_.amf(1).tables().fail_member(MemberIndex(0), true)));
    ASSERT_TRUE(limps());
    const std::uint64_t before = around();
    EXPECT_TRUE(all_right());
    if (!narrow) EXPECT_EQ(around(), before);
}

TEST_P(ReadsAround, WhatCannotBeRegeneratedIsReadThere) {
    limp();
    for (const auto& [page, bytes] : world_.media[0]->pages) {
        if (page * kBlockSize >= world_.config.data_start) world_.media[0]->bad.insert(page);
    }
    for (std::size_t at = 0; at < kSize; at += kBlockSize) {
        const Buffer found = world_.read(1, at, kBlockSize);
        ASSERT_EQ(found.size(), kBlockSize) << at;
        ASSERT_EQ(std::memcmp(found.data(), data_.data() + at, kBlockSize), 0) << at;
    }
}

/// Without copies a dead controller's stripes are made right by a resync, and nobody regenerates before.
TEST_P(ReadsAround, NotWhileAStripeMayBeHalfWritten) {
    limp();
    ASSERT_TRUE(world_.write(2, 0, Buffer::copy_of(data_.span(0, 4 * kBlockSize))));
    EXPECT_TRUE(all_right());
    const std::uint64_t before = around();
    EXPECT_GT(before, 0u);
    world_.kill(2);
    world_.adopt();
    pass(2, 200ms);
    EXPECT_TRUE(all_right());
    EXPECT_EQ(around(), before);
    world_.start(2);  // its former intents are still there
    pass(2, 200ms);
    EXPECT_TRUE(all_right());
    EXPECT_EQ(around(), before);
    while (!world_.amf(2).tables().former_intents().empty()) world_.amf(2).tables().former_intent_done();
    ASSERT_TRUE(world_.run(2, world_.amf(2).tables().clear_idle_intents(Nanos{0})));
    pass(2, 200ms);
    EXPECT_TRUE(all_right());
    EXPECT_GT(around(), before);
}

INSTANTIATE_TEST_SUITE_P(Levels, ReadsAround,
                         ::testing::Values(Case{Level::raid5, 5}, Case{Level::raid5, 5, true},
                                           Case{Level::raid6, 6}, Case{Level::raid6, 6, true},
                                           Case{Level::mirror, 3},
                                           Case{Level::raid5, 5, false, {.stripes = 1, .blocks = 1}},
                                           Case{Level::raid6, 6, true, {.stripes = 1, .blocks = 2}},
                                           Case{Level::raid5, 7, false, {}, 4}),
                         [](const auto& info) {
                             const Case& c = info.param;
                             return std::string(to_string(c.level)) + (c.checksums ? "Checksums" : "") +
                                    (c.granularity.blocks != 0 ? "Blocks" : "") +
                                    (c.width != 0 ? "Narrow" : "");
                         });

/// Member 1 limps, for the first controller alone, and does not answer it any more; what is read was written
/// by another one.
struct SlowCopies {
    explicit SlowCopies(Level level) : world({.level = level, .disks = 6, .strip_size = kStrip}) {
        world.start(1);
        world.start(2);
        EXPECT_TRUE(world.write(2, 0, data));
        Tables& tables = world.amf(1).tables();
        for (unsigned window = 0; window < Limping::kSlow; ++window) {
            for (std::uint8_t i = 0; i < 6; ++i) {
                for (int n = 0; n < 200; ++n)
                    tables.disk(MemberIndex(i))->latencies().writes.add(i == 1 ? 200ms : 5ms);
            }
            world.run_until([] { return false; }, LimpOptions{}.window);
        }
        world.held.insert(tables.disk(MemberIndex(1)));
    }
    /// All of it.
    bool answered() {
        std::optional<Status> done;
        Buffer found(kSize);
        Scope scope(world.executor);
        scope.spawn(World::keep(world.amf(1).read(0, found.span()), done));
        if (!world.run_until([&] { return done.has_value(); }, 10ms)) return false;
        EXPECT_EQ(std::memcmp(found.data(), data.data(), kSize), 0);
        EXPECT_GT(world.amf(1).counters().checksum_reads, 0u);
        EXPECT_GT(world.amf(1).counters().read_around, 0u);
        return done->has_value();
    }
    Buffer data = pattern(7, kSize);
    World world;
};

TEST(ReadsAroundIt, AlsoForChecksumsOfWhichTwoMembersHaveCopies) {
    EXPECT_TRUE(SlowCopies(Level::raid6).answered());
}

TEST(ReadsAroundIt, NotForChecksumsOfWhichOneOtherMemberHasACopy) {
    EXPECT_FALSE(SlowCopies(Level::raid5).answered());
}

}  // namespace
}  // namespace braid
