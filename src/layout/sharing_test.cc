#include "layout/sharing.h"

#include <gtest/gtest.h>

#include <string>

namespace braid {
namespace {

std::string said(const SharingOptions& options, std::size_t controllers = 2) {
    return std::string(options.complaint(controllers, 64u << 10));
}

TEST(SharingOptions, AreRefusedWhereTheyContradictTheGroup) {
    EXPECT_EQ(said({}), "");
    EXPECT_EQ(said({.min_hold = 1s}), "");
    EXPECT_NE(said({.min_hold = 1s + 1us}), "");
    EXPECT_NE(said({.min_hold = 1500ns}), "");
    EXPECT_NE(said({.prefetch = 64}), "");
    EXPECT_EQ(said({.amfs = 8}), "");
    EXPECT_NE(said({.amfs = 9}), "");
    EXPECT_NE(said({.amfs = 0}), "");
    EXPECT_NE(said({.amfs = 8}, 3), "");
}

TEST(SharingOptions, ModesAreOfWriteBack) {
    constexpr auto kBack = WriteCache::back;
    EXPECT_EQ(said({.write_cache = kBack, .replication = Replication::asynchronous}), "");
    EXPECT_NE(said({.replication = Replication::asynchronous}), "");
    EXPECT_NE(said({.replication = Replication::pseudo_synchronous}), "");
    EXPECT_EQ(said({.write_cache = kBack, .few_partners = FewPartners::go_on}), "");
    EXPECT_NE(said({.few_partners = FewPartners::go_on}), "");
}

TEST(SharingOptions, PartnersAreOthersOfTheGroup) {
    const auto of = [](std::size_t slot, NamedPartners named) {
        SharingOptions out;
        out.partners.at(slot) = std::move(named);
        return out;
    };
    EXPECT_EQ(said({.partners = {{{0b10}, {0b01}}}}), "");
    EXPECT_NE(said(of(0, {0b01})), "") << "itself";
    EXPECT_NE(said(of(0, {0b100})), "") << "a slot that nobody has";
    EXPECT_NE(said(of(2, {0b01})), "") << "of a slot that nobody has";
    EXPECT_EQ(said(of(1, {0, {"host:h1", "site:s1"}})), "");
    EXPECT_NE(said(of(2, {0, {"host:h1"}})), "") << "of a slot that nobody has";
    std::vector<std::string> many;
    for (std::size_t i = 0; i < kMaxPartnerPlaces; ++i) many.push_back("host:h" + std::to_string(i));
    EXPECT_EQ(said(of(0, {0, many})), "");
    many.push_back("site:s");
    EXPECT_NE(said(of(0, {0, many})), "") << "too many places";
}

TEST(SharingOptions, LocksAreOfBlocksOrOfStripes) {
    EXPECT_EQ(said({.granularity = {.stripes = 1u << 20}}), "");
    EXPECT_NE(said({.granularity = {.stripes = (1u << 20) + 1}}), "");
    EXPECT_NE(said({.granularity = {.stripes = 0}}), "");
    EXPECT_EQ(said({.granularity = {.blocks = 1}}), "");
    EXPECT_EQ(said({.granularity = {.blocks = 16}}), "");
    EXPECT_NE(said({.granularity = {.blocks = 32}}), "") << "more than a strip";
    EXPECT_NE(said({.granularity = {.blocks = 3}}), "") << "strips are not cut evenly";
    EXPECT_NE(said({.granularity = {.stripes = 2, .blocks = 1}}), "");
}

TEST(SharingOptions, HaveNamesThatComeBack) {
    for (const Coherency c : {Coherency::arbiter, Coherency::broadcast})
        EXPECT_EQ(parse_coherency(to_string(c)), c);
    for (const LockOrder o : {LockOrder::fifo, LockOrder::priority})
        EXPECT_EQ(parse_lock_order(to_string(o)), o);
    for (const Replication r :
         {Replication::synchronous, Replication::pseudo_synchronous, Replication::asynchronous})
        EXPECT_EQ(parse_replication(to_string(r)), r);
    for (const FewPartners f : {FewPartners::write_through, FewPartners::go_on})
        EXPECT_EQ(parse_few_partners(to_string(f)), f);
    for (const Granularity g : {Granularity{}, {.stripes = 7}, {.blocks = 1}, {.blocks = 16}})
        EXPECT_EQ(parse_granularity(to_string(g)), g);
    EXPECT_EQ(to_string(Granularity{.blocks = 1}), "block");
    EXPECT_EQ(to_string(Granularity{.stripes = 7}), "stripes:7");
    for (const char* wrong : {"", "blocks", "blocks:", "blocks:0", "blocks:x", "blocks:1x", "blocks:70000",
                              "stripes:-1", "strip", ":", "rows:2"})
        EXPECT_FALSE(parse_granularity(wrong)) << wrong;
    EXPECT_FALSE(parse_coherency(""));
    EXPECT_FALSE(parse_lock_order("lifo"));
}

}  // namespace
}  // namespace braid
