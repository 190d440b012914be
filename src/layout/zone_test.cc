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
    EXPECT_EQ(zone_capacity(std::vector<std::uint32_t>(6, 7), 4, 1), 7u);
    EXPECT_EQ(zone_capacity(std::vector<std::uint32_t>(6, 7), 4, 2), 5u);
    EXPECT_EQ(zone_capacity(std::vector<std::uint32_t>(6, 7), 4, 3), 0u);
}

/// Members of one size that hold all they can fail one after the other, as many as there are spares. What
/// one held goes elsewhere, a segment at a time, before the next one fails.
TEST(ZoneCapacity, KeepsRoomForWhatSparesHeld) {
    EXPECT_TRUE(rc::check("what they held finds its places", [] {
        const auto members = *rc::gen::inRange<std::size_t>(4, 15);
        const auto width = *rc::gen::inRange<unsigned>(2, static_cast<unsigned>(members));
        const auto spares =
            *rc::gen::inRange<unsigned>(1, std::min(3u, static_cast<unsigned>(members) - width) + 1);
        const auto each = *rc::gen::inRange<std::uint32_t>(3, 60);
        const std::vector<std::uint32_t> segments(members, each);
        const std::uint32_t count = zone_capacity(segments, width, spares);
        SegmentAllocator allocator(segments);
        MemberMask there = first_members(members);
        std::vector<Zone> zones;
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto zone =
                allocator.allocate({width, 1}, ExtentIndex(i), there, {}, {{width, 1}, count - i - 1});
            RC_ASSERT(zone.has_value());
            zones.push_back(*zone);
        }
        for (unsigned failed = 0; failed < spares; ++failed) {
            const auto gone = *rc::gen::suchThat(rc::gen::inRange<std::size_t>(0, members),
                                                 [&](std::size_t member) { return there[member]; });
            there.reset(gone);
            for (Zone& zone : zones) {
                const auto lost =
                    std::ranges::find(zone.segments, gone, [](const Segment& part) { return part.member.v; });
                if (static_cast<unsigned>(lost - zone.segments.begin()) >= zone.width) continue;
                const auto target = allocator.spare(zone, 1, there);
                RC_ASSERT(target.has_value());
                allocator.release(zone, 1);
                *lost = *target;
                RC_ASSERT(allocator.take(zone, 1).has_value());
            }
        }
    }));
}

constexpr std::uint32_t kUnits = 5;  // of a segment, where all have one size

SegmentAllocator with_segments(std::vector<std::uint32_t> segments) {
    for (std::uint32_t& count : segments) count = count * kUnits + kUnits - 1;  // what is left fits none
    return SegmentAllocator(segments);
}

TEST(SegmentAllocator, TakesTheMembersWithTheMostFreeSegments) {
    SegmentAllocator allocator = with_segments({2, 5, 4, 9});
    const auto zone = allocator.allocate({2, kUnits}, ExtentIndex(0), first_members(4));
    ASSERT_TRUE(zone);
    EXPECT_EQ(zone->segments[0], (Segment{MemberIndex(1), SegmentIndex(0)}));
    EXPECT_EQ(zone->segments[1], (Segment{MemberIndex(3), SegmentIndex(0)}));
    EXPECT_EQ(allocator.free_on(MemberIndex(3), kUnits), 8u);
    EXPECT_EQ(allocator.free_on(MemberIndex(0), kUnits), 2u);
    EXPECT_EQ(allocator.used_units(MemberIndex(3)), kUnits);
}

TEST(SegmentAllocator, TurnsEqualMembersWithTheExtent) {
    SegmentAllocator allocator = with_segments(std::vector<std::uint32_t>(5, 10));
    for (std::uint32_t extent = 0; extent < 10; ++extent) {
        const auto zone = allocator.allocate({5, kUnits}, ExtentIndex(extent), first_members(5));
        ASSERT_TRUE(zone);
        EXPECT_EQ(zone->segments[0].member.v, extent % 5);
        EXPECT_EQ(zone->segments[4].member.v, (extent + 4) % 5);
        EXPECT_EQ(zone->segments[0].index.v, extent * kUnits);
    }
}

TEST(SegmentAllocator, LetsAllPairsOfMembersShareAlike) {
    constexpr std::size_t kMembers = 30;
    SegmentAllocator allocator = with_segments(std::vector<std::uint32_t>(kMembers, 60));
    std::vector<std::vector<unsigned>> shared(kMembers, std::vector<unsigned>(kMembers));
    for (std::uint32_t extent = 0; extent < 300; ++extent) {  // 50 zones of each, with 4 others of 29
        const auto zone = allocator.allocate({5, kUnits}, ExtentIndex(extent), first_members(kMembers));
        ASSERT_TRUE(zone);
        for (const Segment& one : zone->parts()) {
            for (const Segment& other : zone->parts()) ++shared[one.member.v][other.member.v];
        }
    }
    for (std::size_t one = 0; one < kMembers; ++one) {
        EXPECT_EQ(allocator.used_units(MemberIndex(static_cast<std::uint8_t>(one))), 50 * kUnits);
        for (std::size_t other = 0; other < one; ++other) {
            EXPECT_GE(shared[one][other], 5u) << one << " " << other;
            EXPECT_LE(shared[one][other], 9u) << one << " " << other;
        }
    }
}

TEST(SegmentAllocator, FindsASpareThatSharesLeastWithTheZone) {
    SegmentAllocator allocator = with_segments({9, 9, 10, 9});
    const ZoneSize pair{2, kUnits};
    const auto with = [](std::initializer_list<std::size_t> members) {
        MemberMask mask;
        for (const std::size_t member : members) mask.set(member);
        return mask;
    };
    const auto zone = allocator.allocate(pair, ExtentIndex(0), with({0, 1}));
    const auto other = allocator.allocate(pair, ExtentIndex(1), with({0, 2}));
    ASSERT_TRUE(zone && other);
    EXPECT_EQ(allocator.spare(*zone, kUnits, with({2, 3}))->member, MemberIndex(3));
    allocator.release(*other, kUnits);
    EXPECT_EQ(allocator.spare(*zone, kUnits, with({2, 3}))->member, MemberIndex(2)) << "it has more room";
}

TEST(SegmentAllocator, UsesMissingMembersOnlyToCompleteTheWidth) {
    SegmentAllocator allocator = with_segments({1, 9, 9, 12});
    const MemberMask usable = first_members(4).reset(1).reset(2);
    const ZoneSize size{3, kUnits};
    EXPECT_EQ(allocator.allocate(size, ExtentIndex(0), usable).error().code, Errc::no_space);
    const auto zone = allocator.allocate(size, ExtentIndex(0), usable, first_members(4));
    ASSERT_TRUE(zone);
    std::vector<unsigned> members;
    for (const Segment& part : zone->parts()) members.push_back(part.member.v);
    EXPECT_EQ(members, (std::vector<unsigned>{0, 1, 3}));
}

TEST(SegmentAllocator, RefusesZonesThatContradictEachOther) {
    const std::vector<std::uint32_t> units(3, 20);
    SegmentAllocator allocator(units);
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = 2;
    zone.segments[0] = {MemberIndex(0), SegmentIndex(15)};
    zone.segments[1] = {MemberIndex(2), SegmentIndex(6)};
    ASSERT_TRUE(allocator.take(zone, 5));
    EXPECT_EQ(allocator.take(zone, 5).error().code, Errc::corrupt);
    const auto refuses = [&](std::uint32_t first, std::uint32_t second, std::uint32_t units) {
        Zone other = zone;
        other.segments[0].index = SegmentIndex(first);
        other.segments[1].index = SegmentIndex(second);
        return !allocator.take(other, units);
    };
    EXPECT_TRUE(refuses(0, 6, 5));
    EXPECT_TRUE(refuses(11, 0, 5));  // its last unit is taken
    EXPECT_TRUE(refuses(0, 4, 3));
    EXPECT_TRUE(refuses(0, 10, 1));
    EXPECT_TRUE(refuses(0, 16, 5));  // beyond the end
    EXPECT_TRUE(refuses(0, UINT32_MAX, 5));
    EXPECT_EQ(allocator.used_units(MemberIndex(0)), 5u);
    EXPECT_EQ(allocator.used_units(MemberIndex(2)), 5u);
    Zone outside = zone;
    outside.segments[0].index = SegmentIndex(0);
    outside.segments[1] = {MemberIndex(3), SegmentIndex(0)};
    EXPECT_FALSE(allocator.take(outside, 5));
    Zone twice = zone;
    twice.segments[0] = {MemberIndex(1), SegmentIndex(0)};
    twice.segments[1] = {MemberIndex(1), SegmentIndex(5)};
    EXPECT_FALSE(allocator.take(twice, 5));
    EXPECT_FALSE(refuses(10, 11, 5));
    allocator.release(zone, 5);
    EXPECT_TRUE(allocator.take(zone, 5));
}

TEST(SegmentAllocator, CountsPlacesRunByRun) {
    const std::vector<std::uint32_t> units = {20};
    SegmentAllocator allocator(units);
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = 1;
    zone.segments[0] = {MemberIndex(0), SegmentIndex(4)};
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 5), 4u);
    ASSERT_TRUE(allocator.take(zone, 7));  // 4 and 9 are free
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 5), 1u);
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 4), 3u);
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 10), 0u);
    const auto next = allocator.allocate({1, 5}, ExtentIndex(0), first_members(1));
    ASSERT_TRUE(next);
    EXPECT_EQ(next->segments[0].index.v, 11u);  // the first run with room
    allocator.release(zone, 7);
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 5), 2u);
    allocator.release(*next, 5);
    EXPECT_EQ(allocator.free_on(MemberIndex(0), 20), 1u);
}

TEST(SegmentAllocatorProperty, AllocatesTheWholeCapacityInAnyOrderOfFreeing) {
    EXPECT_TRUE(rc::check("no double use, and no_space only when the capacity is used up", [] {
        const auto segments = *rc::gen::container<std::vector<std::uint32_t>>(
            *rc::gen::inRange<std::size_t>(2, 8), rc::gen::inRange<std::uint32_t>(0, 9));
        const unsigned width = *rc::gen::inRange(1u, static_cast<unsigned>(segments.size()) + 1);
        const std::uint32_t capacity = zone_capacity(segments, width);
        SegmentAllocator allocator = with_segments(segments);
        std::map<Segment, std::uint32_t> users;
        std::map<std::uint32_t, Zone> zones;
        const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(60, rc::gen::inRange(0u, 40u));
        for (std::uint32_t extent : steps) {
            if (const auto found = zones.find(extent); found != zones.end()) {
                allocator.release(found->second, kUnits);
                for (const Segment& part : found->second.parts()) users.erase(part);
                zones.erase(found);
                continue;
            }
            const auto zone =
                allocator.allocate({width, kUnits}, ExtentIndex(extent), first_members(segments.size()));
            RC_ASSERT(zone.has_value() == (zones.size() < capacity));
            if (!zone) continue;
            RC_ASSERT(zone->width == width);
            MemberMask members;
            for (const Segment& part : zone->parts()) {
                RC_ASSERT(!members[part.member.v]);
                members.set(part.member.v);
                RC_ASSERT(part.index.v % kUnits == 0);
                RC_ASSERT(part.index.v / kUnits < segments[part.member.v]);
                RC_ASSERT(users.emplace(part, extent).second);
            }
            zones.emplace(extent, *zone);
        }
    }));
}

// The same with a flag for each unit.
class Naive {
public:
    explicit Naive(const std::vector<std::uint32_t>& units) {
        for (const std::uint32_t count : units) used_.emplace_back(count, false);
    }
    void mark(const Zone& zone, std::uint32_t units, bool to) {
        for (const Segment& part : zone.parts()) {
            for (std::uint32_t i = 0; i < units; ++i) {
                RC_ASSERT(part.index.v + i < used_[part.member.v].size());
                RC_ASSERT(used_[part.member.v][part.index.v + i] != to);
                used_[part.member.v][part.index.v + i] = to;
            }
        }
    }
    std::uint32_t fitting(std::size_t member, std::uint32_t units) const {
        std::uint32_t run = 0, out = 0;
        for (const bool used : used_[member]) {
            run = used ? 0 : run + 1;
            if (run == units) ++out, run = 0;
        }
        return out;
    }

private:
    std::vector<std::vector<bool>> used_;
};

TEST(SegmentAllocatorProperty, ZonesOfTwoSizesShareMembers) {
    EXPECT_TRUE(rc::check("nothing overlaps, and what is promised can be allocated", [] {
        const auto units = *rc::gen::container<std::vector<std::uint32_t>>(
            *rc::gen::inRange<std::size_t>(3, 9), rc::gen::inRange<std::uint32_t>(0, 40));
        const auto most = static_cast<unsigned>(units.size());
        const std::array sizes{
            ZoneSize{*rc::gen::inRange(1u, most + 1), *rc::gen::inRange<std::uint32_t>(1, 9)},
            ZoneSize{*rc::gen::inRange(1u, most + 1), *rc::gen::inRange<std::uint32_t>(1, 9)}};
        const MemberMask all = first_members(units.size());
        SegmentAllocator allocator(units);
        Naive naive(units);
        std::map<std::uint32_t, std::pair<Zone, std::size_t>> zones;
        const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(60, rc::gen::inRange(0u, 40u));
        for (const std::uint32_t extent : steps) {
            const std::size_t kind = extent % 2;
            if (const auto found = zones.find(extent); found != zones.end()) {
                allocator.release(found->second.first, sizes[kind].units);
                naive.mark(found->second.first, sizes[kind].units, false);
                zones.erase(found);
            } else if (const auto zone = allocator.allocate(sizes[kind], ExtentIndex(extent), all)) {
                naive.mark(*zone, sizes[kind].units, true);
                zones.emplace(extent, std::pair(*zone, kind));
            }
            for (const ZoneSize size : sizes) {
                std::vector<std::uint32_t> counts;
                for (std::uint8_t i = 0; i < most; ++i) {
                    counts.push_back(naive.fitting(i, size.units));
                    RC_ASSERT(allocator.free_on(MemberIndex(i), size.units) == counts.back());
                }
                RC_ASSERT(allocator.room(size, all) == zone_capacity(counts, size.width));
            }
        }
        // Whoever may give a segment of one size leaves what is promised of the other.
        const Promise promised{sizes[0], allocator.room(sizes[0], all)};
        const MemberMask spare = allocator.with_spare(sizes[1].units, all, promised);
        for (std::uint8_t i = 0; i < most; ++i) {
            if (allocator.free_on(MemberIndex(i), sizes[1].units) == 0) continue;
            SegmentAllocator after = allocator;
            RC_ASSERT(after.allocate({1, sizes[1].units}, ExtentIndex(0), MemberMask().set(i)).has_value());
            RC_ASSERT(spare[i] == (after.room(sizes[0], all) == promised.zones));
        }
        for (std::uint32_t i = 0; i < promised.zones; ++i)
            RC_ASSERT(allocator.allocate(sizes[0], ExtentIndex(100 + i), all).has_value());
        RC_ASSERT(!allocator.allocate(sizes[0], ExtentIndex(99), all).has_value());
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
    SegmentAllocator allocator(std::vector<std::uint32_t>(5, 20));
    Zone zone = three_wide();
    zone.move = {ZonePosition(1), {MemberIndex(4), SegmentIndex(7)}, 0};
    ASSERT_TRUE(allocator.take(zone, 1));
    EXPECT_EQ(allocator.free_on(MemberIndex(4), 1), 19u);
    allocator.release(zone, 1);
    EXPECT_EQ(allocator.free_on(MemberIndex(4), 1), 20u);
    zone.move->target.member = MemberIndex(0);
    EXPECT_FALSE(allocator.take(zone, 1));
}

TEST(SegmentAllocator, SparesOnlyWhatNoPromisedZoneNeeds) {
    SegmentAllocator allocator = with_segments({4, 4, 4, 2, 3});
    const ZoneSize size{3, kUnits};
    const auto zone = allocator.allocate(size, ExtentIndex(0), first_members(3));
    ASSERT_TRUE(zone);
    const MemberMask usable = first_members(5).reset(0);
    const auto spare = allocator.spare(*zone, kUnits, usable);
    ASSERT_TRUE(spare);
    EXPECT_EQ(spare->member, MemberIndex(4));  // has most that the zone does not use
    EXPECT_EQ(allocator.spare(*zone, kUnits, first_members(3)).error().code, Errc::no_space);
    // 3, 3, 2 and 3 are free on members 1 to 4: three further zones take three of each of three members.
    EXPECT_EQ(allocator.with_spare(kUnits, usable, {size, 2}).count(), 4u);
    EXPECT_EQ(allocator.with_spare(kUnits, usable, {size, 3}).count(), 4u);
    EXPECT_TRUE(allocator.with_spare(kUnits, usable, {size, 4}).none());
}

TEST(SegmentAllocator, EvensOutByWhatIsTakenOfEach) {
    SegmentAllocator allocator(std::vector<std::uint32_t>{100, 50, 100});
    const auto put = [&](std::uint8_t member, std::uint32_t units) {
        EXPECT_TRUE(allocator.allocate({1, units}, ExtentIndex(0), MemberMask().set(member)).has_value());
    };
    put(0, 40);
    put(1, 10);
    const auto all = allocator.uneven(first_members(3));  // 50 of 250
    EXPECT_EQ(all.fuller, first_members(1));
    EXPECT_EQ(all.emptier, std::vector{MemberIndex(2)});
    EXPECT_EQ(allocator.uneven(first_members(2)).emptier, std::vector{MemberIndex(1)});  // 50 of 150
    EXPECT_TRUE(allocator.uneven(MemberMask().set(1)).emptier.empty());
    EXPECT_TRUE(allocator.evens_out(6, MemberIndex(0), MemberIndex(1)));   // 34 of 100 and 16 of 50
    EXPECT_FALSE(allocator.evens_out(7, MemberIndex(0), MemberIndex(1)));  // 33 of 100 and 17 of 50
    EXPECT_FALSE(allocator.evens_out(1, MemberIndex(1), MemberIndex(0)));
    Zone zone = *allocator.allocate({1, 40}, ExtentIndex(0), MemberMask().set(2));
    EXPECT_EQ(allocator.uneven(first_members(3)).fuller, MemberMask().set(0).set(2));
    allocator.release(zone, 40);
    zone.move = {ZonePosition(0), {MemberIndex(1), SegmentIndex(10)}, 0};
    ASSERT_TRUE(allocator.take(zone, 40));  // as if it had gone
    EXPECT_EQ(allocator.uneven(first_members(3)).fuller, first_members(2));
    EXPECT_EQ(allocator.uneven(first_members(3)).emptier, std::vector{MemberIndex(2)});
    EXPECT_FALSE(allocator.evens_out(1, MemberIndex(2), MemberIndex(0)));
    allocator.release(zone, 40);
    put(1, 36);
    EXPECT_FALSE(allocator.evens_out(5, MemberIndex(1), MemberIndex(1)));  // 4 are free
}

TEST(Quarantine, JoinsTheNearestWhereThereIsNoRoomForMore) {
    Quarantine q;
    EXPECT_FALSE(q.any() || q.contains(Row(0)));
    for (const std::uint32_t row : {10u, 12u, 11u, 500u, 100u, 300u, 200u}) q.add(Row(row));
    q.add(Row(100));
    EXPECT_EQ(q.ranges().size(), 5u);
    EXPECT_EQ(q.rows(), 7u);
    EXPECT_FALSE(q.contains(Row(9)) || q.contains(Row(13)) || q.contains(Row(101)));
    q.add(Row(205));
    EXPECT_EQ(q.ranges().size(), 5u);
    for (const std::uint32_t row : {10u, 11u, 12u, 100u, 200u, 203u, 205u, 300u, 500u})
        EXPECT_TRUE(q.contains(Row(row))) << row;
    EXPECT_FALSE(q.contains(Row(199)) || q.contains(Row(206)));
    q.add(Row(0));  // 10 .. 12 is nearest
    EXPECT_TRUE(q.contains(Row(5)));
    EXPECT_FALSE(q.contains(Row(13)));
    EXPECT_EQ(q.ranges().size(), 5u);
}

}  // namespace braid
