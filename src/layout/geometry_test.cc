#include "layout/geometry.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <vector>

#include "layout/zone.h"

namespace braid {
namespace {

Geometry random_geometry(std::uint32_t least_strip = kMinStripSize) {
    const Level level = *rc::gen::element(Level::mirror, Level::raid5, Level::raid6, Level::raid7_3);
    std::uint32_t strip = kMaxStripSize >> *rc::gen::inRange(0, 9);
    strip = std::max(strip, least_strip);
    const unsigned least = level == Level::mirror ? 2 : static_cast<unsigned>(level) + 1;
    const unsigned width = *rc::gen::inRange(least, level == Level::mirror ? 5u : 25u);
    const auto geometry = Geometry::make(level, kMaxMembers, strip, width);
    RC_ASSERT(geometry.has_value());
    return *geometry;
}

Geometry with_checksums(Geometry geometry) {
    geometry.checksums = true;
    return geometry;
}

Geometry geometry_of(Level level, std::size_t members, std::uint32_t strip = kDefaultStripSize,
                     unsigned width = 0) {
    const auto geometry = Geometry::make(level, members, strip, width);
    EXPECT_TRUE(geometry) << to_string(level) << " on " << members;
    return geometry.value_or(Geometry{});
}

}  // namespace

TEST(Level, HasANameThatParsesBack) {
    for (Level level : {Level::mirror, Level::raid5, Level::raid6, Level::raid7_3}) {
        ASSERT_TRUE(parse_level(to_string(level)));
        EXPECT_EQ(*parse_level(to_string(level)), level);
    }
    EXPECT_EQ(to_string(Level::raid7_3), "raid7.3");
    EXPECT_FALSE(parse_level("raid0"));
    EXPECT_FALSE(parse_level(""));
}

TEST(Geometry, FollowsFromLevelAndMembers) {
    const Geometry five = geometry_of(Level::raid5, 5);
    EXPECT_EQ(five.k, 4);
    EXPECT_EQ(five.m, 1);
    EXPECT_EQ(five.rows_per_extent(), 256u);
    EXPECT_EQ(five.segment_size(), 16u << 20);
    const Geometry six = geometry_of(Level::raid6, 5);
    EXPECT_EQ(six.k, 3);
    EXPECT_EQ(six.rows_per_extent(), 342u);
    EXPECT_EQ(geometry_of(Level::raid7_3, 24).k, 21);
    const Geometry mirror = geometry_of(Level::mirror, 6);
    EXPECT_EQ(mirror.width(), 2u);
    EXPECT_EQ(mirror.k, 1);
    EXPECT_EQ(mirror.segment_size(), kExtentSize);
    EXPECT_EQ(geometry_of(Level::mirror, 6, 4096, 4).m, 3);
}

TEST(Geometry, RefusesWhatNoGroupCanBe) {
    EXPECT_FALSE(Geometry::make(Level::raid5, 2));
    EXPECT_FALSE(Geometry::make(Level::raid6, 3));
    EXPECT_FALSE(Geometry::make(Level::raid7_3, 4));
    EXPECT_EQ(Geometry::make(Level::raid6, 64)->width(), 24u);
    EXPECT_EQ(Geometry::make(Level::raid6, 60, kDefaultStripSize, 10)->k, 8);
    EXPECT_FALSE(Geometry::make(Level::raid6, 30, kDefaultStripSize, 25));
    EXPECT_FALSE(Geometry::make(Level::raid6, 65, kDefaultStripSize, 10));
    EXPECT_FALSE(Geometry::make(Level::mirror, 1));
    EXPECT_FALSE(Geometry::make(Level::mirror, 6, 65536, 5));
    EXPECT_FALSE(Geometry::make(Level::mirror, 6, 65536, 1));
    EXPECT_FALSE(Geometry::make(Level::raid5, 5, 2048));
    EXPECT_FALSE(Geometry::make(Level::raid5, 5, 2u << 20));
    EXPECT_FALSE(Geometry::make(Level::raid5, 5, 12288));
    EXPECT_FALSE(Geometry::make(Level::raid5, 5, 65536, 6));
    EXPECT_FALSE(Geometry::make(static_cast<Level>(9), 5));
    EXPECT_FALSE((Geometry{Level::raid6, 4, 1, 65536}.check()));
    EXPECT_FALSE((Geometry{Level::raid6, 0, 2, 65536}.check()));
}

TEST(Geometry, CutsTheLastRowAtTheExtentsEnd) {
    const Geometry geometry = geometry_of(Level::raid5, 4);  // k = 3: 341 rows and a third
    const StripeIndex last = geometry.stripe_of(ExtentIndex(2), Row(341));
    EXPECT_EQ(geometry.range_of(last), (LogicalRange{3 * kExtentSize - 65536, 65536}));
    EXPECT_EQ(geometry.column_length(last, Role(0)), 65536u);
    EXPECT_EQ(geometry.column_length(last, Role(1)), 0u);
    EXPECT_FALSE(geometry.has(last.next()));
    EXPECT_EQ(geometry.range_of(last.next()), (LogicalRange{3 * kExtentSize, 0}));
    EXPECT_EQ(geometry.locate(3 * kExtentSize).stripe, geometry.stripe_of(ExtentIndex(3), Row(0)));
    EXPECT_EQ(geometry.locate(3 * kExtentSize).offset, 0u);
}

TEST(GeometryProperty, EveryByteHasOneStripeAndComesBack) {
    EXPECT_TRUE(rc::check("locate and range_of are inverse", [] {
        const Geometry g = random_geometry();
        const auto offset = *rc::gen::inRange<std::uint64_t>(0, 1000 * kExtentSize);
        const StripePlace place = g.locate(offset);
        const LogicalRange range = g.range_of(place.stripe);
        RC_ASSERT(range.offset + place.offset == offset);
        RC_ASSERT(offset < range.end());
        RC_ASSERT(range.end() <= (offset / kExtentSize + 1) * kExtentSize);
        RC_ASSERT(g.stripe_of(g.extent_of(place.stripe), g.row_of(place.stripe)) == place.stripe);
        RC_ASSERT(g.row_of(place.stripe).v < g.rows_per_extent());
        RC_ASSERT(g.locate(range.offset) == (StripePlace{place.stripe, 0}));
        RC_ASSERT(g.has(place.stripe));
        const StripeIndex next = g.has(place.stripe.next())
                                     ? place.stripe.next()
                                     : g.stripe_of(g.extent_of(place.stripe).next(), Row(0));
        RC_ASSERT(g.range_of(next).offset == range.end());
        const StripPlace strip = g.strip_of(place.offset);
        RC_ASSERT(strip.column.v < g.k);
        RC_ASSERT(strip.offset < g.column_length(place.stripe, strip.column));
        RC_ASSERT(strip.column.v * g.strip_size + strip.offset == place.offset);
        std::uint64_t columns = 0;
        for (std::uint8_t c = 0; c < g.k; ++c) columns += g.column_length(place.stripe, Role(c));
        RC_ASSERT(columns == range.length);
    }));
}

TEST(GeometryProperty, ASplitRangeIsCoveredOnceAndInOrder) {
    EXPECT_TRUE(rc::check("pieces and strips join without gap", [] {
        const Geometry g = random_geometry();
        const LogicalRange range{*rc::gen::inRange<std::uint64_t>(0, 3 * kExtentSize),
                                 *rc::gen::inRange<std::uint64_t>(0, 8u << 20)};
        std::uint64_t done = 0;
        for_each_stripe(
            [&](ExtentIndex) { return g; }, range,
            [&](const StripePiece& piece) {
                RC_ASSERT(piece.at == range.offset + done);
                RC_ASSERT(g.fits(piece));
                RC_ASSERT(piece.length > 0u);
                RC_ASSERT(g.range_of(piece.stripe).offset + piece.offset == range.offset + done);
                RC_ASSERT(piece.offset + piece.length <= g.range_of(piece.stripe).length);
                std::uint32_t in_piece = 0;
                for_each_strip(g, piece, [&](const StripPlace& strip, std::uint32_t length) {
                    RC_ASSERT(strip.column.v * g.strip_size + strip.offset == piece.offset + in_piece);
                    RC_ASSERT(strip.offset + length <= g.column_length(piece.stripe, strip.column));
                    in_piece += length;
                });
                RC_ASSERT(in_piece == piece.length);
                done += piece.length;
            });
        RC_ASSERT(done == range.length);
    }));
}

TEST(GeometryProperty, RolesRotateOverAllPositionsAndBack) {
    EXPECT_TRUE(rc::check("position_of and role_at are inverse", [] {
        const Geometry g = random_geometry();
        const Row row(*rc::gen::inRange(0u, g.rows_per_extent()));
        std::set<std::uint8_t> positions;
        for (std::uint8_t role = 0; role < g.width(); ++role) {
            const ZonePosition position = g.position_of(Role(role), row);
            RC_ASSERT(position.v < g.width());
            RC_ASSERT(g.role_at(position, row) == Role(role));
            positions.insert(position.v);
        }
        RC_ASSERT(positions.size() == g.width());
        RC_ASSERT(g.position_of(Role(0), row.next()).v == (g.position_of(Role(0), row).v + 1) % g.width());
    }));
}

TEST(GeometryProperty, ChecksumRecordsStandBehindTheRowsOnDifferentMembers) {
    EXPECT_TRUE(rc::check("no two copies share a byte, none is outside, those of a row are apart", [] {
        const Geometry g = with_checksums(random_geometry(65536));
        Zone zone;
        zone.state = ZoneState::allocated;
        zone.width = static_cast<std::uint8_t>(g.width());
        zone.shape = g.shape();
        for (std::uint8_t i = 0; i < zone.width; ++i)
            zone.segments[i] = {MemberIndex(i), SegmentIndex(100u + 3u * i)};
        const std::uint64_t data_start = 5u << 20;
        std::set<std::pair<std::uint8_t, std::uint64_t>> seen;
        for (std::uint32_t r = 0; r < g.rows_per_extent(); ++r) {
            std::set<std::uint8_t> members;
            for (unsigned copy = 0; copy < g.checksum_copies(); ++copy) {
                const DiskPlace place = checksum_place(g, zone, Row(r), copy, data_start);
                const std::uint64_t begin = data_start + (100u + 3u * place.member.v) * kSegmentUnit;
                RC_ASSERT(place.offset >= begin + g.rows_size());
                RC_ASSERT(place.offset + g.checksum_record_size() <= begin + g.segment_size());
                RC_ASSERT((place.offset - begin - g.rows_size()) % g.checksum_record_size() == 0u);
                RC_ASSERT(seen.emplace(place.member.v, place.offset).second);
                RC_ASSERT(members.insert(place.member.v).second);
            }
            RC_ASSERT(members.size() == g.m + 1u);
        }
    }));
}

TEST(Geometry, ChecksumRecordsAreWholeBlocksForAllStrips) {
    Geometry g = with_checksums(geometry_of(Level::raid5, 4));
    EXPECT_EQ(g.checksum_sectors(), 1u);
    EXPECT_EQ(g.checksum_record_size(), 4096u);
    EXPECT_EQ(g.rows_size(), 342u * 65536u);
    EXPECT_EQ(g.checksum_area_size(), 86u * 2u * 4096u);
    g = with_checksums(geometry_of(Level::raid7_3, 24, kMaxStripSize));
    EXPECT_EQ(g.checksum_sectors(), 52u);
    EXPECT_EQ(g.checksum_record_size(), 7u * 4096u);
    EXPECT_EQ(geometry_of(Level::raid5, 4).checksum_area_size(), 0u);
}

TEST(GeometryProperty, TheStripsOfAZoneFillItsSegmentsExactly) {
    EXPECT_TRUE(rc::check("no two strips share a byte, none is outside", [] {
        const Geometry g = random_geometry(65536);
        Zone zone;
        zone.state = ZoneState::allocated;
        zone.width = static_cast<std::uint8_t>(g.width());
        zone.shape = g.shape();
        for (std::uint8_t i = 0; i < zone.width; ++i)
            zone.segments[i] = {MemberIndex(i), SegmentIndex(100u + 3u * i)};
        const std::uint64_t data_start = 5u << 20;
        std::set<std::pair<std::uint8_t, std::uint64_t>> seen;
        for (std::uint32_t r = 0; r < g.rows_per_extent(); ++r) {
            for (std::uint8_t role = 0; role < zone.width; ++role) {
                const DiskPlace place = strip_place(g, zone, Row(r), Role(role), data_start);
                const std::uint64_t begin = data_start + (100u + 3u * place.member.v) * kSegmentUnit;
                RC_ASSERT(place.offset >= begin);
                RC_ASSERT(place.offset + g.strip_size <= begin + g.segment_size());
                RC_ASSERT((place.offset - begin) % g.strip_size == 0u);
                RC_ASSERT(seen.emplace(place.member.v, place.offset).second);
                RC_ASSERT(*role_of_member(g, zone, Row(r), place.member) == Role(role));
            }
        }
        RC_ASSERT(!role_of_member(g, zone, Row(0), MemberIndex(zone.width)));
    }));
}

}  // namespace braid
