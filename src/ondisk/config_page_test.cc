#include <gtest/gtest.h>

#include "ondisk/table_pages.h"
#include "ondisk/testing.h"

namespace braid {
namespace {

using testing::Block;
using testing::uuid;

GroupConfig small_config() {
    GroupConfig config;
    config.name = "g0";
    config.geometry = *Geometry::make(Level::raid6, 6);
    config.wanted = {Level::raid5, 5, 1};
    config.sharing.granularity.stripes = 4;
    config.sharing.coherency = Coherency::broadcast;
    config.sharing.lock_order = LockOrder::priority;
    config.sharing.min_hold = 500us;
    config.sharing.prefetch = 8;
    config.sharing.amfs = 4;
    config.sharing.write_cache = WriteCache::back;
    config.sharing.replication = Replication::asynchronous;
    config.sharing.few_partners = FewPartners::go_on;
    config.sharing.partners = {{{0b110, {"host:h1"}}, {0b001}, {0, {"host:h0", "host:h1", "site:s1"}}}};
    config.dimension = 3;
    config.created = 1;
    config.data_start = 1 << 20;
    config.page_count = 42;
    config.extents = 100;
    config.controllers = {"ctl-a", "", "ctl-c"};
    config.outside = {"ctl-x", "ctl-y"};
    for (std::uint8_t i = 0; i < 6; ++i) config.members.push_back({uuid(i), 100u + i});
    return config;
}

TEST(ConfigPage, HasSparesBesideTheWidth) {
    GroupConfig config = small_config();
    config.wanted = {Level::raid5, 4, 1};
    GroupConfig after = config;
    after.spares = 1;
    EXPECT_TRUE(config.may_become(after));
    Block block;
    after.encode(block.span());
    EXPECT_EQ(*GroupConfig::decode(block.view()), after);
    EXPECT_EQ(block.bytes[171], std::byte{1});
}

TEST(GroupConfig, OnlyHowLocksAreKeptAndWhoHasSlotsOutsideMayChange) {
    const GroupConfig before = small_config();
    GroupConfig after = before;
    after.sharing = SharingChange{LockOrder::fifo, 5ms, std::uint8_t{3}}.applied_to(before.sharing);
    ASSERT_NE(after, before);
    EXPECT_TRUE(before.may_become(after));
    after.sharing = SharingChange{.replication = Replication::pseudo_synchronous,
                                  .few_partners = FewPartners::write_through,
                                  .partners = std::pair{std::uint8_t{2}, NamedPartners{1, {"site:s"}}}}
                        .applied_to(before.sharing);
    ASSERT_NE(after, before);
    EXPECT_TRUE(before.may_become(after));
    after.outside.push_back("ctl-z");
    EXPECT_TRUE(before.may_become(after));
    after.wanted = {Level::raid6, 4, 2};
    EXPECT_TRUE(before.may_become(after));
    ++after.sharing.amfs;
    EXPECT_FALSE(before.may_become(after));
    after = before;
    after.sharing.coherency = Coherency::arbiter;
    EXPECT_FALSE(before.may_become(after));
    after = before;
    ++after.sharing.granularity.stripes;
    EXPECT_FALSE(before.may_become(after));
    after = before;
    after.controllers[0] = "other";
    EXPECT_FALSE(before.may_become(after));
}

TEST(ConfigPage, HasTheDocumentedOffsets) {
    Block block;
    small_config().encode(block.span());
    EXPECT_EQ(block.at(64), 'g');
    EXPECT_EQ(block.at(128), 3);  // raid6
    EXPECT_EQ(block.at(129), 4);
    EXPECT_EQ(block.at(130), 2);
    EXPECT_EQ(block.at(131), 3);
    EXPECT_EQ(block.u32(132), 65536u);
    EXPECT_EQ(block.u32(136), 4u);
    EXPECT_EQ(block.u32(140), 6u | 3u << 16);
    EXPECT_EQ(block.u32(144), 1u);
    EXPECT_EQ(block.u32(152), 1u << 20);
    EXPECT_EQ(block.u32(160), 42u);
    EXPECT_EQ(block.u32(164), 100u);
    EXPECT_EQ(block.at(168), 2);
    EXPECT_EQ(block.at(169), 5);
    EXPECT_EQ(block.at(170), 1);
    EXPECT_EQ(block.at(176 + 2 * 32), 'c');
    EXPECT_EQ(block.at(2048), 0);
    EXPECT_EQ(block.at(2048 + 20), 1);
    EXPECT_EQ(block.u32(2048 + 20 + 16), 101u);
    EXPECT_EQ(block.at(1168), 1);  // broadcast
    EXPECT_EQ(block.at(1169), 1);  // priority
    EXPECT_EQ(block.at(1170), 3);  // further AMFs of a controller
    EXPECT_EQ(block.at(1171), 8 ^ 32);
    EXPECT_EQ(block.at(1172), 0);      // locks of stripes
    EXPECT_EQ(block.at(1174), 1);      // write-back
    EXPECT_EQ(block.u32(1176), 500u);  // microseconds
    EXPECT_EQ(block.u32(1712), 6u | 1u << 16);
    for (const auto& [at, kind, name] : {std::tuple{3328u, 1, '0'}, {3361u, 1, '1'}, {3394u, 2, '1'}}) {
        EXPECT_EQ(block.at(at), kind);
        EXPECT_EQ(block.at(at + 2), name);
    }
    EXPECT_EQ(block.at(3427), 0);
    EXPECT_EQ(block.at(3856), 0b10);
    EXPECT_EQ(block.at(3860), 0b111);
}

TEST(ConfigPage, OfBeforeThereWereSharingOptionsHasTheirDefaults) {
    GroupConfig config = small_config();
    Block block;
    config.encode(block.span());
    std::fill_n(block.bytes.begin() + 1168, 12, std::byte{0});
    std::fill_n(block.bytes.begin() + 1712, 32, std::byte{0});
    std::fill_n(block.bytes.begin() + 3328, 16 * 33 + 32, std::byte{0});
    config.sharing = SharingOptions{.granularity = config.sharing.granularity};  // its stripes stood at 136
    const auto decoded = GroupConfig::decode(block.view());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, config);
}

TEST(ConfigPage, RefusesWhatContradictsItself) {
    const auto broken = [](std::size_t offset, std::uint8_t value) {
        Block block;
        small_config().encode(block.span());
        EXPECT_TRUE(GroupConfig::decode(block.view()));
        block.bytes[offset] = std::byte{value};
        const auto decoded = GroupConfig::decode(block.view());
        return !decoded && decoded.error().code == Errc::corrupt;
    };
    EXPECT_TRUE(broken(64, ' '));     // name
    EXPECT_TRUE(broken(127, 'x'));    // name without end
    EXPECT_TRUE(broken(1175, 3));     // replication mode
    EXPECT_TRUE(broken(1175, 0x22));  // policy
    EXPECT_TRUE(broken(1712, 1));     // its own partner
    EXPECT_TRUE(broken(3328, 3));     // neither host nor site
    EXPECT_TRUE(broken(3328, 2));     // places not in order
    EXPECT_TRUE(broken(3329, '/'));   // label
    EXPECT_TRUE(broken(3361, 0));     // a label of nothing
    EXPECT_TRUE(broken(3363, '0'));   // twice the same
    EXPECT_TRUE(broken(3860, 0));     // a place that nobody names
    EXPECT_TRUE(broken(3856, 8));     // a place that there is not
    EXPECT_TRUE(broken(128, 9));      // level
    EXPECT_TRUE(broken(129, 22));     // k
    EXPECT_TRUE(broken(130, 1));      // m of another level
    EXPECT_TRUE(broken(131, 9));      // dimension
    EXPECT_TRUE(broken(131, 0));
    EXPECT_TRUE(broken(133, 1));    // strip size
    EXPECT_TRUE(broken(136, 0));    // lock unit
    EXPECT_TRUE(broken(140, 65));   // members
    EXPECT_TRUE(broken(140, 5));    // fewer than the width
    EXPECT_TRUE(broken(142, 17));   // controllers
    EXPECT_TRUE(broken(152, 1));    // data start
    EXPECT_TRUE(broken(160, 34));   // pages
    EXPECT_TRUE(broken(165, 200));  // more extents than the map has entries
    EXPECT_TRUE(broken(168, 0));    // no level
    EXPECT_TRUE(broken(169, 6));    // wider than there are members
    EXPECT_TRUE(broken(170, 2));    // m of another level
    EXPECT_TRUE(broken(176, '/'));  // controller name
    EXPECT_TRUE(broken(1168, 2));   // coherency
    EXPECT_TRUE(broken(1169, 2));   // lock order
    EXPECT_TRUE(broken(1170, 8));   // AMFs
    EXPECT_TRUE(broken(1170, 5));   // 3 controllers with 6 AMFs each
    EXPECT_TRUE(broken(1171, 64));  // prefetch
    EXPECT_TRUE(broken(1172, 1));   // locks of blocks, and of 4 stripes
    EXPECT_TRUE(broken(1174, 2));
    EXPECT_TRUE(broken(1178, 16));   // more than a second
    EXPECT_TRUE(broken(1180, 17));   // controllers outside
    EXPECT_TRUE(broken(1184, '/'));  // name of one
}

}  // namespace
}  // namespace braid
