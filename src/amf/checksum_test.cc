// What members say that is not what was written: found, put right, and in no parity (H8).
#include <gtest/gtest.h>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::uint32_t kStrip = 16u << 10;

bool is(const Buffer& found, const Buffer& expected) {
    return found.size() == expected.size() && std::memcmp(found.data(), expected.data(), found.size()) == 0;
}

/// raid5 of 5 and one AMF after the other, none of which remembers what an earlier one did.
struct Checksums : ::testing::Test {
    World world{{.level = Level::raid5, .disks = 5, .strip_size = kStrip}};
    const Geometry& geometry = world.config.geometry;
    const Buffer first = pattern(1, 4 * kStrip);

    Checksums() {
        world.start(1);
        EXPECT_TRUE(world.write(1, 0, first));
    }
    DiskPlace place(unsigned role) {
        const Zone* zone = world.amf(1).tables().zone(ExtentIndex(0));
        return strip_place(geometry, *zone, Row(0), Role(static_cast<std::uint8_t>(role)),
                           world.config.data_start);
    }
    DiskPlace copy(unsigned number) {
        const Zone* zone = world.amf(1).tables().zone(ExtentIndex(0));
        return checksum_place(geometry, *zone, Row(0), number, world.config.data_start);
    }
    Buffer& page(DiskPlace at) { return world.media[at.member.v]->pages[at.offset / kBlockSize]; }
    void rot(DiskPlace at) {
        page(at) = Buffer::copy_of(page(at).span());
        page(at).data()[77] ^= std::byte{8};
    }
    /// All that a member has, to be put back.
    std::map<std::uint64_t, Buffer> content(MemberIndex member) {
        std::map<std::uint64_t, Buffer> out;
        for (const auto& [number, bytes] : world.media[member.v]->pages)
            out[number] = Buffer::copy_of(bytes.span());
        return out;
    }
    /// Of the segments only.
    void put_back(MemberIndex member, const std::map<std::uint64_t, Buffer>& before) {
        auto& pages = world.media[member.v]->pages;
        pages.erase(pages.lower_bound(world.config.data_start / kBlockSize), pages.end());
        for (const auto& [number, bytes] : before) {
            if (number * kBlockSize >= world.config.data_start) pages[number] = Buffer::copy_of(bytes.span());
        }
    }
    /// Another AMF takes the place of the present one.
    void begin_anew() {
        world.leave(1);
        world.start(1);
    }
    std::uint64_t mismatches(MemberIndex member) { return world.amf(1).counters().mismatches[member.v]; }
    StripeVerdict check() { return *world.run(1, world.amf(1).check_stripe(StripeIndex(0), false)); }
    void settle_repairs() {
        world.settle();
        world.run_until([&] { return world.amf(1).stripes_in_use() == 0; });
        world.settle();
    }
};

}  // namespace

TEST_F(Checksums, FindRotOnAReadAndWriteTheBlockAgain) {
    rot(place(1));
    const MemberIndex member = place(1).member;
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    EXPECT_EQ(mismatches(member), 1u);
    settle_repairs();
    EXPECT_EQ(world.amf(1).counters().repaired, 1u);
    EXPECT_EQ(std::memcmp(page(place(1)).data(), first.data() + kStrip, kBlockSize), 0);
    EXPECT_EQ(check(), StripeVerdict::clean);
}

TEST_F(Checksums, WithoutThemRotIsRead) {
    World plain({.level = Level::raid5, .disks = 5, .strip_size = kStrip, .checksums = false});
    plain.start(1);
    ASSERT_TRUE(plain.write(1, 0, first));
    const Zone* zone = plain.amf(1).tables().zone(ExtentIndex(0));
    const DiskPlace at = strip_place(plain.config.geometry, *zone, Row(0), Role(1), plain.config.data_start);
    plain.media[at.member.v]->pages[at.offset / kBlockSize].data()[0] ^= std::byte{1};
    EXPECT_FALSE(is(plain.read(1, 0, first.size()), first));
}

// A small write needs old data or old parity; whichever is rotten must not get into the new parity.
TEST_F(Checksums, KeepRotOutOfTheParityOfAnUpdate) {
    for (unsigned role = 0; role < 5; ++role) {
        rot(place(role));
        const Buffer data = pattern(10 + role, kBlockSize);
        ASSERT_TRUE(world.write(1, 0, data));
        std::memcpy(first.data(), data.data(), data.size());
        settle_repairs();
        EXPECT_TRUE(is(world.read(1, 0, first.size()), first)) << role;
        settle_repairs();
        ASSERT_EQ(check(), StripeVerdict::clean) << role;
    }
}

// The parity of the next write is made from what a member has not got.
TEST_F(Checksums, FindAWriteThatNeverLanded) {
    for (unsigned role = 0; role < 5; ++role) {
        const MemberIndex liar = place(role).member;
        const auto before = content(liar);
        const Buffer data = pattern(20 + role, 2 * kStrip);
        ASSERT_TRUE(world.write(1, kStrip, data));
        std::memcpy(first.data() + kStrip, data.data(), data.size());
        put_back(liar, before);  // its copy of the checksums, too
        begin_anew();
        const Buffer small = pattern(30 + role, kBlockSize);
        ASSERT_TRUE(world.write(1, 2 * kStrip, small));
        std::memcpy(first.data() + 2 * kStrip, small.data(), small.size());
        EXPECT_TRUE(is(world.read(1, 0, first.size()), first)) << role;
        settle_repairs();
        (void)check();  // of what nobody has read yet
        settle_repairs();
        ASSERT_EQ(check(), StripeVerdict::clean) << role;
    }
}

TEST_F(Checksums, FindABlockThatWentToAnotherPlace) {
    // What belongs to the second block of role 0 stands in its first one, and in role 2.
    DiskPlace other = place(0);
    other.offset += kBlockSize;
    page(place(0)) = Buffer::copy_of(page(other).span());
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    EXPECT_EQ(mismatches(place(0).member), 1u);
    settle_repairs();
    page(place(2)) = Buffer::copy_of(page(other).span());
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    EXPECT_EQ(mismatches(place(2).member), 1u);
    settle_repairs();
    EXPECT_EQ(check(), StripeVerdict::clean);
}

TEST_F(Checksums, FindAMemberThatIsAnOlderStateOfItself) {
    for (std::uint8_t member = 0; member < 5; ++member) {
        const auto before = content(MemberIndex(member));
        const Buffer all = pattern(40 + member, first.size());
        ASSERT_TRUE(world.write(1, 0, all));
        put_back(MemberIndex(member), before);
        begin_anew();
        EXPECT_TRUE(is(world.read(1, 0, all.size()), all));
        settle_repairs();
        (void)check();
        settle_repairs();
        ASSERT_EQ(check(), StripeVerdict::clean) << int{member};
    }
}

TEST_F(Checksums, CheckSaysWhichBlockIsWrongAndPutsItRight) {
    const MemberIndex liar = place(4).member;
    rot(place(4));  // parity: no read looks at it
    EXPECT_EQ(check(), StripeVerdict::rotten);
    EXPECT_EQ(mismatches(liar), 1u);
    settle_repairs();
    EXPECT_EQ(check(), StripeVerdict::clean);
    EXPECT_EQ(mismatches(liar), 1u);
}

TEST_F(Checksums, NobodyGetsAStripeThatCannotBeToldAnyMore) {
    rot(place(1));
    rot(place(2));
    EXPECT_TRUE(world.read(1, kStrip, kBlockSize).empty());
    EXPECT_TRUE(is(world.read(1, 0, kStrip), pattern(1, kStrip)));
    EXPECT_EQ(check(), StripeVerdict::wrong);
    // What is written anew is right again.
    ASSERT_TRUE(world.write(1, 0, first));
    settle_repairs();
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    EXPECT_EQ(check(), StripeVerdict::clean);
}

TEST_F(Checksums, WithAMemberMissingTellWhatTheOthersSay) {
    world.media[place(0).member.v]->dead = true;
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    const Buffer data = pattern(50, kBlockSize);
    ASSERT_TRUE(world.write(1, 0, data));  // to the missing one: in parity alone
    std::memcpy(first.data(), data.data(), data.size());
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    begin_anew();
    EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
    rot(place(3));
    EXPECT_TRUE(world.read(1, 3 * kStrip, kBlockSize).empty()) << "wrong data instead of an error";
    EXPECT_TRUE(world.read(1, 0, kBlockSize).empty()) << "regenerated from a rotten block";
}

TEST_F(Checksums, OfWhichACopyIsBrokenAreWrittenAgain) {
    for (unsigned number = 0; number < 2; ++number) {
        begin_anew();
        rot(copy(number));
        EXPECT_TRUE(is(world.read(1, 0, first.size()), first));
        settle_repairs();
        EXPECT_EQ(world.amf(1).counters().checksum_repairs, 1u);
        EXPECT_TRUE(is(page(copy(0)), page(copy(1))));
        EXPECT_EQ(check(), StripeVerdict::clean);
        rot(copy(number));
        EXPECT_EQ(check(), StripeVerdict::rotten);
        EXPECT_TRUE(is(page(copy(0)), page(copy(1))));
        EXPECT_EQ(check(), StripeVerdict::clean);
    }
}

TEST_F(Checksums, AreReadOnceWhileTheStripeIsHeld) {
    begin_anew();
    const auto reads = [&] { return world.amf(1).counters().checksum_reads; };
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(is(world.read(1, 0, first.size()), first));
    ASSERT_TRUE(world.write(1, 0, pattern(1, kBlockSize)));
    ASSERT_TRUE(is(world.read(1, 0, first.size()), first));
    EXPECT_EQ(reads(), 1u);
    // Another AMF writes: what was remembered here is not so any more.
    world.start(2);
    ASSERT_TRUE(world.write(2, 0, pattern(60, 4 * kStrip)));
    EXPECT_TRUE(is(world.read(1, 0, first.size()), pattern(60, 4 * kStrip)));
    EXPECT_EQ(reads(), 2u);
    world.settle();
    EXPECT_EQ(world.amf(1).counters().mismatches, decltype(AmfCounters::mismatches){});
}

TEST_F(Checksums, OfAMirrorChooseTheCopyThatIsRight) {
    World mirror({.level = Level::mirror, .disks = 3, .strip_size = kStrip, .width = 3});
    mirror.start(1);
    const Buffer data = pattern(70, kStrip);
    ASSERT_TRUE(mirror.write(1, 0, data));
    const Zone* zone = mirror.amf(1).tables().zone(ExtentIndex(0));
    for (unsigned role = 0; role < 2; ++role) {
        const DiskPlace at = strip_place(mirror.config.geometry, *zone, Row(0),
                                         Role(static_cast<std::uint8_t>(role)), mirror.config.data_start);
        mirror.media[at.member.v]->pages[at.offset / kBlockSize] = pattern(71 + role, kBlockSize);
    }
    EXPECT_TRUE(is(mirror.read(1, 0, data.size()), data));
}

TEST(ChecksumCache, KeepsOnlyWhatWasNotDroppedSince) {
    Geometry geometry = *Geometry::make(Level::raid5, 4);
    geometry.checksums = true;
    const auto record = [&](std::uint64_t stripe) {
        return ChecksumRecord(geometry, {Uuid{}, StripeIndex(stripe), 1});
    };
    ChecksumCache cache(2);
    const auto claim = cache.claim(StripeIndex(5));
    EXPECT_EQ(cache.claim(StripeIndex(5)), 0u);
    EXPECT_FALSE(cache.find(StripeIndex(5), 1));
    cache.drop(StripeIndex(0), 6);
    cache.put(StripeIndex(5), claim, record(5));
    EXPECT_TRUE(cache.empty());
    for (const std::uint64_t s : {1u, 2u, 3u}) {
        cache.put(StripeIndex(s), cache.claim(StripeIndex(s)), record(s));
        if (s == 2) EXPECT_TRUE(cache.find(StripeIndex(1), 1));
    }
    EXPECT_TRUE(cache.find(StripeIndex(1), 1));
    EXPECT_FALSE(cache.find(StripeIndex(2), 1)) << "the least recently used one goes";
    EXPECT_FALSE(cache.find(StripeIndex(3), 2)) << "of another zone";
    cache.give_up(StripeIndex(1), cache.claim(StripeIndex(1)));
    EXPECT_TRUE(cache.empty());
}

}  // namespace braid::testing
