// What an AMF remembers, on small worlds: where reads come from, and that nothing old is ever given.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::uint32_t kStrip = 16u << 10;

struct SwitchedLease final : Lease {
    bool live() const override { return on; }
    bool on = true;
};

WorldOptions cached(std::size_t blocks = 256) {
    WorldOptions options{.level = Level::raid5, .disks = 5, .strip_size = kStrip};
    options.amf.cache = blocks * kBlockSize;
    return options;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

Buffer part(const Buffer& of, std::size_t at, std::size_t size) { return Buffer::copy_of(of.span(at, size)); }

TEST(Cached, WhatWasReadOrWrittenIsReadAgainWithoutTheMembers) {
    World world(cached());
    world.start(1);
    const Buffer data = pattern(1, 4 * kStrip);
    ASSERT_TRUE(world.write(1, 0, data));
    world.hold_data = true;
    EXPECT_TRUE(same(world.read(1, 4096, 8192), part(data, 4096, 8192))) << "as written";
    EXPECT_TRUE(same(world.read(1, 5000, 300), part(data, 5000, 300))) << "any bytes";
    EXPECT_EQ(world.amf(1).counters().cached_reads, 2u);
    world.hold_data = false;
    world.leave(1);
    world.start(2);
    EXPECT_TRUE(same(world.read(2, 4096, 8192), part(data, 4096, 8192)));
    EXPECT_EQ(world.amf(2).counters().disk_reads, 1u);
    world.hold_data = true;
    EXPECT_TRUE(same(world.read(2, 8192, 4096), part(data, 8192, 4096))) << "as read";
    EXPECT_EQ(world.amf(2).counters().cached_reads, 1u);
}

TEST(Cached, LargeOperationsLeaveNothingBehindAndTakeWhatIsOldAway) {
    World world(cached());
    world.start(1);
    const Buffer small = pattern(1, 4096), large = pattern(2, 256u << 10);
    ASSERT_TRUE(world.write(1, 8192, small));
    EXPECT_EQ(world.amf(1).cache().size(), 4096u);
    ASSERT_TRUE(world.write(1, 0, large));
    EXPECT_EQ(world.amf(1).cache().size(), 0u);
    EXPECT_TRUE(same(world.read(1, 0, large.size()), large));
    EXPECT_EQ(world.amf(1).cache().size(), 0u);
    EXPECT_TRUE(same(world.read(1, 8192, 4096), part(large, 8192, 4096)));
    EXPECT_EQ(world.amf(1).cache().size(), 4096u);
}

TEST(Cached, AWriteElsewhereTakesTheCopiesAway) {
    World world(cached());
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const Buffer first = pattern(1, 8192), second = pattern(2, 4096);
    ASSERT_TRUE(world.write(1, 0, first));
    for (std::uint16_t id = 1; id <= 3; ++id) EXPECT_TRUE(same(world.read(id, 0, 8192), first));
    EXPECT_GT(world.amf(3).cache().size(), 0u);
    ASSERT_TRUE(world.write(2, 4096, second));
    EXPECT_EQ(world.amf(1).cache().size(), 0u);
    EXPECT_EQ(world.amf(3).cache().size(), 0u);
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_TRUE(same(world.read(id, 4096, 4096), second));
        EXPECT_TRUE(same(world.read(id, 0, 4096), part(first, 0, 4096)));
    }
}

TEST(Cached, WithLocksOfBlocksAWriteElsewhereTakesItsOwnBlocksAway) {
    WorldOptions options = cached();
    options.sharing.granularity.blocks = 1;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const Buffer first = pattern(1, 8192), second = pattern(2, 4096);
    ASSERT_TRUE(world.write(1, 0, first));
    EXPECT_TRUE(same(world.read(2, 0, 8192), first));
    EXPECT_EQ(world.amf(2).counters().peer_reads, 1u) << "both blocks, from who holds them";
    ASSERT_TRUE(world.write(3, 4096, second));
    EXPECT_EQ(world.amf(1).cache().size(), 4096u);
    EXPECT_EQ(world.amf(2).cache().size(), 4096u);
    EXPECT_TRUE(same(world.read(2, 0, 4096), part(first, 0, 4096)));
    EXPECT_EQ(world.amf(2).counters().cached_reads, 1u);
    EXPECT_TRUE(same(world.read(2, 4096, 4096), second));
    EXPECT_TRUE(same(world.read(1, 4096, 4096), second));
}

TEST(Cached, WithoutALeaseTheMembersAreRead) {
    SwitchedLease lease;
    WorldOptions options = cached();
    options.amf.lease = &lease;
    World world(options);
    world.start(1);
    const Buffer data = pattern(1, 4096);
    ASSERT_TRUE(world.write(1, 0, data));
    lease.on = false;
    EXPECT_TRUE(same(world.read(1, 0, 4096), data));
    EXPECT_EQ(world.amf(1).counters().cached_reads, 0u);
    EXPECT_EQ(world.amf(1).counters().reads_without_lease, 1u);
    EXPECT_EQ(world.amf(1).counters().disk_reads, 1u);
    lease.on = true;
    EXPECT_TRUE(same(world.read(1, 0, 4096), data));
    EXPECT_EQ(world.amf(1).counters().cached_reads, 1u);
}

TEST(Cached, AnUpdateTakesItsOldDataFromMemory) {
    for (const bool remembers : {true, false}) {
        World world(cached(remembers ? 256 : 0));
        world.start(1);
        Buffer data = pattern(1, 4 * kStrip);
        ASSERT_TRUE(world.write(1, 0, data));
        // The old data is unreadable: who reads it meets an error.
        const Zone& zone = *world.amf(1).tables().zone(ExtentIndex(0));
        const Geometry& geometry = world.config.geometry;
        const DiskPlace at = strip_place(geometry, zone, Row(0), Role(0), world.config.data_start);
        world.media[at.member.v]->bad.insert((at.offset + 8192) / kBlockSize);
        const Buffer change = pattern(2, 4096), piece = pattern(3, 100);
        ASSERT_TRUE(world.write(1, 8192, change));
        EXPECT_EQ(world.amf(1).counters().member_errors == 0, remembers);
        std::memcpy(data.data() + 8192, change.data(), 4096);
        world.settle();
        const std::uint64_t errors = world.amf(1).counters().member_errors;
        world.media[at.member.v]->bad.insert((at.offset + 8192) / kBlockSize);
        ASSERT_TRUE(world.write(1, 8292, piece));
        EXPECT_EQ(world.amf(1).counters().member_errors == errors, remembers) << "a part of a block";
        std::memcpy(data.data() + 8292, piece.data(), piece.size());
        world.settle();
        EXPECT_TRUE(same(world.read(1, 0, data.size()), data));
        EXPECT_TRUE(world.unclean(1, data.size()).empty());
    }
}

TEST(Cached, WhatIsCutOffTheLastRowIsNotTheNextExtent) {
    WorldOptions options = cached(4096);
    options.disks = 4;  // three columns do not divide an extent
    World world(options);
    world.start(1);
    const Geometry& geometry = world.config.geometry;
    const StripeIndex last = geometry.stripe_of(ExtentIndex(0), Row(geometry.rows_per_extent() - 1));
    const LogicalRange row = geometry.range_of(last);
    ASSERT_LT(row.length, geometry.stripe_size());
    ASSERT_TRUE(world.write(1, kExtentSize, pattern(1, 2 * kStrip)));
    ASSERT_TRUE(world.write(1, row.offset, pattern(2, row.length)));
    ASSERT_TRUE(world.write(1, row.offset, pattern(3, row.length / 2)));
    const auto verdict = world.run(1, world.amf(1).check_stripe(last, false));
    ASSERT_TRUE(verdict.has_value());
    EXPECT_EQ(*verdict, StripeVerdict::clean);
}

TEST(Cached, AZoneThatIsGoneTakesItsBlocksAlong) {
    World world(cached());
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    const auto volume = world.run(1, world.amf(1).tables().create_volume("v", kExtentSize));
    ASSERT_TRUE(volume);
    const Buffer data = pattern(1, 4096);
    ASSERT_TRUE(world.write(1, 0, data));
    ASSERT_TRUE(same(world.read(1, 0, 4096), data));
    ASSERT_TRUE(world.run(1, world.amf(1).tables().delete_volume(volume->id)));
    EXPECT_TRUE(same(world.read(1, 0, 4096), Buffer::zeroed(4096))) << "no zone";
    // Another stripe of the extent brings a new zone, and 1 still holds the lock of the first.
    ASSERT_TRUE(world.write(2, 4 * 64 * 4 * kStrip, data));
    EXPECT_TRUE(same(world.read(1, 0, 4096), Buffer::zeroed(4096))) << "a new zone";
}

TEST(Cached, AWriteThatFailsLeavesNothingOld) {
    World world(cached());
    world.start(1);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    for (auto& media : world.media) media->fail_writes_after = 0;
    EXPECT_FALSE(world.write(1, 4096, pattern(2, 4096)));
    std::size_t there = 0;
    world.amf(1).cache().for_each([&](UnitIndex, std::uint32_t, std::uint64_t at,
                                      std::span<const std::byte>) { there += at == 4096 ? 1 : 0; });
    EXPECT_EQ(there, 0u);
    EXPECT_EQ(world.amf(1).cache().size(), 15 * kBlockSize);
}

TEST(Cached, OthersAreServedOnlyWhileTheUnitIsHeldAndTheLeaseLive) {
    SwitchedLease lease;
    WorldOptions options = cached();
    options.amf.lease = &lease;
    World world(options);
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 8192)));
    const std::uint32_t generation = world.amf(1).tables().zone(ExtentIndex(0))->generation;
    const auto ask = [&](std::uint64_t at, std::uint32_t length, std::uint32_t zone) {
        const std::uint64_t before = world.amf(1).counters().reads_for_peers;
        world.amf(1).deliver(AmfId(2), encode(world.group, CacheFetch{9, at, length, zone}));
        world.settle();
        return world.amf(1).counters().reads_for_peers != before;
    };
    EXPECT_TRUE(ask(0, 8192, generation));
    EXPECT_FALSE(ask(0, 8192, generation + 1)) << "of another zone";
    EXPECT_FALSE(ask(4096, 8192, generation)) << "only a part is here";
    EXPECT_FALSE(ask(4 * kStrip - 4096, 8192, generation)) << "two stripes";
    EXPECT_FALSE(ask(~0ull / kBlockSize * kBlockSize, 4096, generation));
    EXPECT_FALSE(ask(100 * kExtentSize, 4096, generation));
    lease.on = false;
    EXPECT_FALSE(ask(0, 4096, generation));
    lease.on = true;
    ASSERT_TRUE(world.write(2, 0, pattern(2, 4096)));
    EXPECT_FALSE(ask(4096, 4096, generation));
}

}  // namespace
}  // namespace braid
