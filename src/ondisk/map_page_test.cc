// Entries of the map where the documents say they are (docs/on-disk.md).
#include <gtest/gtest.h>

#include "ondisk/table_pages.h"
#include "ondisk/testing.h"

namespace braid {
namespace {

using testing::Block;

TEST(MapPage, KnowsZonesThatAreAboutToGoAndNoFurtherState) {
    Block block;
    MapPage page;
    Zone& zone = page.zones[1];
    zone.state = ZoneState::emptying;
    zone.width = 2;
    zone.shape = {Level::mirror, 1, 1};
    zone.segments[1] = {MemberIndex(1), SegmentIndex(5)};
    page.encode(block.span());
    EXPECT_EQ(block.at(64 + 288), 2);
    EXPECT_EQ(MapPage::decode(block.view())->zones[1], zone);
    block.bytes[64 + 288] = std::byte{3};
    EXPECT_FALSE(MapPage::decode(block.view()));
}

TEST(MapPage, HasTheDocumentedOffsets) {
    Block block;
    MapPage page;
    Zone& zone = page.zones[13];
    zone.state = ZoneState::allocated;
    zone.width = 3;
    zone.shape = {Level::raid5, 2, 1};
    zone.generation = 77;
    for (std::uint8_t i = 0; i < 3; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(1000u + i)};
    zone.move = {ZonePosition(1), {MemberIndex(7), SegmentIndex(2000)}, 50};
    page.encode(block.span());
    const std::size_t at = 64 + 13 * 288;
    EXPECT_EQ(block.at(at), 1);
    EXPECT_EQ(block.at(at + 1), 3);
    EXPECT_EQ(block.u32(at + 4), 77u);
    EXPECT_EQ(block.at(at + 8 + 10), 2);
    EXPECT_EQ(block.u32(at + 8 + 11), 1002u);
    EXPECT_EQ(block.at(at + 128), 2);
    EXPECT_EQ(block.at(at + 129), 7);
    EXPECT_EQ(block.u32(at + 130), 2000u);
    EXPECT_EQ(block.u32(at + 134), 50u);
    EXPECT_EQ(block.at(at + 138), 2);
    EXPECT_EQ(block.at(at + 139), 2);
    EXPECT_EQ(block.at(at + 140), 1);
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block copy = block;
        copy.bytes[offset] = std::byte{value};
        return !MapPage::decode(copy.view());
    };
    EXPECT_TRUE(broken(at, 0));           // a width without a zone
    EXPECT_TRUE(broken(at, 3));           // state
    EXPECT_TRUE(broken(at + 1, 0));       // a zone without a width
    EXPECT_TRUE(broken(at + 1, 25));      // width
    EXPECT_TRUE(broken(at + 8 + 10, 1));  // a member twice
    EXPECT_TRUE(broken(at + 8, 64));      // member
    EXPECT_TRUE(broken(at + 128, 4));     // a position that the zone has not
    EXPECT_TRUE(broken(at + 129, 2));     // to a member that has a segment of it
    EXPECT_TRUE(broken(at + 129, 64));    // member
    EXPECT_TRUE(broken(at + 138, 0));     // no shape
    EXPECT_TRUE(broken(at + 139, 3));     // another width
    EXPECT_TRUE(broken(64 + 138, 2));     // half a shape
    EXPECT_TRUE(broken(at + 144, 1));     // half a successor
}

TEST(MapPage, HasTheSuccessorsOfZonesAtTheDocumentedOffsets) {
    Block block;
    MapPage page;
    Zone& zone = page.zones[1];
    zone.state = ZoneState::allocated;
    zone.width = 2;
    zone.shape = {Level::mirror, 1, 1};
    zone.segments[0] = {MemberIndex(3), SegmentIndex(4)};
    zone.segments[1] = {MemberIndex(1), SegmentIndex(5)};
    zone.successor.shape = {Level::raid6, 2, 2};
    for (std::uint8_t i = 0; i < 4; ++i)
        zone.successor.segments.push_back({MemberIndex(i), SegmentIndex(900u + i)});
    page.encode(block.span());
    const std::size_t at = 64 + 288;
    EXPECT_EQ(block.at(at + 144), 3);
    EXPECT_EQ(block.at(at + 145), 2);
    EXPECT_EQ(block.at(at + 146), 2);
    EXPECT_EQ(block.at(at + 147), 0);
    EXPECT_EQ(block.at(at + 148 + 15), 3);
    EXPECT_EQ(block.u32(at + 148 + 16), 903u);
    EXPECT_EQ(MapPage::decode(block.view())->zones[1], zone);
    const Zone next = zone.succeeded();
    EXPECT_EQ(next.generation, zone.generation + 1);
    EXPECT_EQ(next.width, 4);
    EXPECT_FALSE(next.successor);
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block copy = block;
        copy.bytes[offset] = std::byte{value};
        return !MapPage::decode(copy.view());
    };
    EXPECT_TRUE(broken(at + 148 + 15, 2));  // a member twice
    EXPECT_TRUE(broken(at + 148, 64));      // member
    EXPECT_TRUE(broken(at + 144, 2));       // no such shape
    EXPECT_TRUE(broken(at + 146, 1));       // no such shape
    EXPECT_TRUE(broken(at + 128, 1));       // a move besides
    EXPECT_TRUE(broken(64 + 144, 3));       // of an extent without a zone
}

TEST(MapPage, HasWhatIsInQuarantine) {
    Block block;
    MapPage page;
    Zone& zone = page.zones[1];
    zone = {.state = ZoneState::allocated, .width = 3, .shape = {Level::raid5, 2, 1}};
    for (std::uint8_t i = 0; i < 3; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(7)};
    for (const std::uint32_t row : {5u, 6u, 30u}) zone.quarantine.add(Row(row));
    page.encode(block.span());
    EXPECT_EQ(*MapPage::decode(block.view()), page);
    const std::size_t at = 64 + 288 + 268;
    EXPECT_EQ(block.u32(at), 5u | 2u << 16);
    EXPECT_EQ(block.u32(at + 4), 30u | 1u << 16);
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block copy = block;
        copy.bytes[offset] = std::byte{value};
        return !MapPage::decode(copy.view());
    };
    EXPECT_TRUE(broken(at + 2, 0));        // nothing, and then something
    EXPECT_TRUE(broken(at + 4, 7));        // touches 5, 6
    EXPECT_TRUE(broken(at + 8, 1));        // where nothing ends the list
    EXPECT_TRUE(broken(64 + 268 + 2, 1));  // without a zone
}

}  // namespace
}  // namespace braid
