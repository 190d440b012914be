#include "layout/sharing.h"

#include <gtest/gtest.h>

#include <string>

namespace braid {
namespace {

std::string said(const SharingOptions& options, std::size_t controllers = 2) {
    return std::string(options.complaint(controllers));
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

TEST(SharingOptions, HaveNamesThatComeBack) {
    for (const Coherency c : {Coherency::arbiter, Coherency::broadcast})
        EXPECT_EQ(parse_coherency(to_string(c)), c);
    for (const LockOrder o : {LockOrder::fifo, LockOrder::priority})
        EXPECT_EQ(parse_lock_order(to_string(o)), o);
    EXPECT_FALSE(parse_coherency(""));
    EXPECT_FALSE(parse_lock_order("lifo"));
}

}  // namespace
}  // namespace braid
