#include "layout/zone.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <vector>

namespace braid {
namespace {

MemberMask first_members(std::size_t count) {
    MemberMask mask;
    for (std::size_t i = 0; i < count; ++i) mask.set(i);
    return mask;
}

}  // namespace

TEST(ZoneCapacity, CountsZonesOfDistinctMembers) {
    const std::vector<std::uint32_t> uneven = {10, 3, 2};
    EXPECT_EQ(zone_capacity(uneven, 3), 2u);
    EXPECT_EQ(zone_capacity(uneven, 2), 5u);
    EXPECT_EQ(zone_capacity(uneven, 1), 15u);
    EXPECT_EQ(zone_capacity(uneven, 4), 0u);
    EXPECT_EQ(zone_capacity(std::vector<std::uint32_t>(6, 7), 4), 10u);
}

TEST(SegmentAllocator, TakesTheMembersWithTheMostFreeSegments) {
    const std::vector<std::uint32_t> segments = {2, 5, 4, 9};
    SegmentAllocator allocator(2, segments);
    const auto zone = allocator.allocate(2, ExtentIndex(0), first_members(4));
    ASSERT_TRUE(zone);
    EXPECT_EQ(zone->segments[0], (Segment{MemberIndex(1), SegmentIndex(0)}));
    EXPECT_EQ(zone->segments[1], (Segment{MemberIndex(3), SegmentIndex(0)}));
    EXPECT_EQ(allocator.free_on(MemberIndex(3)), 8u);
    EXPECT_EQ(allocator.free_on(MemberIndex(0)), 2u);
}

TEST(SegmentAllocator, TurnsEqualMembersWithTheExtent) {
    const std::vector<std::uint32_t> segments(5, 10);
    SegmentAllocator allocator(5, segments);
    for (std::uint32_t extent = 0; extent < 10; ++extent) {
        const auto zone = allocator.allocate(5, ExtentIndex(extent), first_members(5));
        ASSERT_TRUE(zone);
        EXPECT_EQ(zone->segments[0].member.v, extent % 5);
        EXPECT_EQ(zone->segments[4].member.v, (extent + 4) % 5);
        EXPECT_EQ(zone->segments[0].index.v, extent);
    }
}

TEST(SegmentAllocator, UsesMissingMembersOnlyToCompleteTheWidth) {
    const std::vector<std::uint32_t> segments = {1, 9, 9, 12};
    SegmentAllocator allocator(3, segments);
    const MemberMask usable = first_members(4).reset(1).reset(2);
    EXPECT_EQ(allocator.allocate(3, ExtentIndex(0), usable).error().code, Errc::no_space);
    const auto zone = allocator.allocate(3, ExtentIndex(0), usable, first_members(4));
    ASSERT_TRUE(zone);
    std::vector<unsigned> members;
    for (const Segment& part : zone->parts()) members.push_back(part.member.v);
    EXPECT_EQ(members, (std::vector<unsigned>{0, 1, 3}));
}

TEST(SegmentAllocator, RefusesZonesThatContradictEachOther) {
    const std::vector<std::uint32_t> segments(3, 4);
    SegmentAllocator allocator(2, segments);
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = 2;
    zone.segments[0] = {MemberIndex(0), SegmentIndex(3)};
    zone.segments[1] = {MemberIndex(2), SegmentIndex(1)};
    ASSERT_TRUE(allocator.take(zone));
    EXPECT_EQ(allocator.take(zone).error().code, Errc::corrupt);
    Zone half_taken = zone;
    half_taken.segments[0].index = SegmentIndex(0);
    EXPECT_FALSE(allocator.take(half_taken));
    EXPECT_EQ(allocator.free_on(MemberIndex(0)), 3u);
    Zone outside = zone;
    outside.segments[1] = {MemberIndex(1), SegmentIndex(4)};
    EXPECT_FALSE(allocator.take(outside));
    outside.segments[1] = {MemberIndex(3), SegmentIndex(0)};
    EXPECT_FALSE(allocator.take(outside));
    Zone twice = zone;
    twice.segments[0] = {MemberIndex(1), SegmentIndex(0)};
    twice.segments[1] = {MemberIndex(1), SegmentIndex(1)};
    EXPECT_FALSE(allocator.take(twice));
    allocator.release(zone);
    EXPECT_TRUE(allocator.take(zone));
}

TEST(SegmentAllocatorProperty, AllocatesTheWholeCapacityInAnyOrderOfFreeing) {
    EXPECT_TRUE(rc::check("no double use, and no_space only when the capacity is used up", [] {
        const auto segments = *rc::gen::container<std::vector<std::uint32_t>>(
            *rc::gen::inRange<std::size_t>(2, 8), rc::gen::inRange<std::uint32_t>(0, 9));
        const unsigned width = *rc::gen::inRange(1u, static_cast<unsigned>(segments.size()) + 1);
        const std::uint32_t capacity = zone_capacity(segments, width);
        SegmentAllocator allocator(width, segments);
        std::map<Segment, std::uint32_t> users;
        std::map<std::uint32_t, Zone> zones;
        const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(60, rc::gen::inRange(0u, 40u));
        for (std::uint32_t extent : steps) {
            if (const auto found = zones.find(extent); found != zones.end()) {
                allocator.release(found->second);
                for (const Segment& part : found->second.parts()) users.erase(part);
                zones.erase(found);
                continue;
            }
            const auto zone = allocator.allocate(width, ExtentIndex(extent), first_members(segments.size()));
            RC_ASSERT(zone.has_value() == (zones.size() < capacity));
            if (!zone) continue;
            RC_ASSERT(zone->width == width);
            MemberMask members;
            for (const Segment& part : zone->parts()) {
                RC_ASSERT(!members[part.member.v]);
                members.set(part.member.v);
                RC_ASSERT(part.index.v < segments[part.member.v]);
                RC_ASSERT(users.emplace(part, extent).second);
            }
            zones.emplace(extent, *zone);
        }
    }));
}

Zone three_wide() {
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = 3;
    zone.shape = {Level::raid5, 2, 1};
    for (std::uint8_t i = 0; i < 3; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(10u + i)};
    return zone;
}

TEST(ZoneMove, GivesARowTwoPlacesToWriteAndOneToRead) {
    const Geometry geometry = *Geometry::make(Level::raid5, 3);
    Zone zone = three_wide();
    zone.move = {ZonePosition(1), {MemberIndex(4), SegmentIndex(7)}, 6};
    MemberMask there;
    there.set();
    const auto ok = [&](MemberIndex member) { return there[member.v]; };
    const auto places = [&](std::uint32_t row, std::uint8_t position) {
        return strip_places(geometry, zone, Row(row), geometry.role_at(ZonePosition(position), Row(row)), 0,
                            ok);
    };
    const DiskPlace target = strip_place(geometry, zone.move->target, Row(5), 0);
    const Places both = places(5, 1);
    EXPECT_EQ(both.read->member, MemberIndex(1));
    ASSERT_EQ(both.writes, 2u);
    EXPECT_EQ(both.write[1], target);
    EXPECT_EQ(places(5, 2).writes, 1u);  // it stays where it is
    there.reset(1);
    EXPECT_EQ(*places(5, 1).read, target);  // has been copied
    EXPECT_FALSE(places(6, 1).read);        // has not
    EXPECT_EQ(places(6, 1).to_write().size(), 1u);
    there.reset(4);
    EXPECT_FALSE(places(5, 1).read);
    EXPECT_EQ(places(5, 1).writes, 0u);
}

TEST(ZoneMove, MovesTheCopiesOfChecksumRecordsToo) {
    Geometry geometry = *Geometry::make(Level::raid5, 3);
    geometry.checksums = true;
    Zone zone = three_wide();
    zone.move = {ZonePosition(1), {MemberIndex(4), SegmentIndex(7)}, 2};
    const auto ok = [](MemberIndex member) { return member != MemberIndex(1); };
    const Places moved = checksum_places(geometry, zone, Row(1), 0, 0, ok);
    EXPECT_EQ(*moved.read, checksum_place(geometry, zone.move->target, Row(1), 0, 0));
    EXPECT_FALSE(checksum_places(geometry, zone, Row(4), 0, 0, ok).read);
    EXPECT_EQ(checksum_places(geometry, zone, Row(0), 0, 0, ok).read->member, MemberIndex(0));
}

TEST(SegmentAllocator, TakesTheTargetOfAMoveWithItsZone) {
    const std::vector<std::uint32_t> segments(5, 20);
    SegmentAllocator allocator(3, segments);
    Zone zone = three_wide();
    zone.move = {ZonePosition(1), {MemberIndex(4), SegmentIndex(7)}, 0};
    ASSERT_TRUE(allocator.take(zone));
    EXPECT_EQ(allocator.free_on(MemberIndex(4)), 19u);
    allocator.release(zone);
    EXPECT_EQ(allocator.free_on(MemberIndex(4)), 20u);
    zone.move->target.member = MemberIndex(0);
    EXPECT_FALSE(allocator.take(zone));
}

TEST(SegmentAllocator, SparesOnlyWhatNoPromisedZoneNeeds) {
    const std::vector<std::uint32_t> segments = {4, 4, 4, 2, 3};
    SegmentAllocator allocator(3, segments);
    const auto zone = allocator.allocate(3, ExtentIndex(0), first_members(3));
    ASSERT_TRUE(zone);
    const MemberMask usable = first_members(5).reset(0);
    const auto spare = allocator.spare(*zone, usable);
    ASSERT_TRUE(spare);
    EXPECT_EQ(spare->member, MemberIndex(4));  // has most that the zone does not use
    EXPECT_EQ(allocator.spare(*zone, first_members(3)).error().code, Errc::no_space);
    // 3, 3, 2 and 3 are free on members 1 to 4: three further zones take three of each of three members.
    EXPECT_EQ(allocator.with_spare(usable, 2).count(), 4u);
    EXPECT_EQ(allocator.with_spare(usable, 3).count(), 4u);
    EXPECT_TRUE(allocator.with_spare(usable, 4).none());
}

}  // namespace braid
