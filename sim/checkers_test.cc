// The checkers that look at media and locks, on states made by hand.
#include <gtest/gtest.h>

#include "parity/code.h"
#include "sim/checkers/cache_coherence.h"
#include "sim/checkers/in_flight.h"
#include "sim/checkers/one_disk.h"
#include "sim/checkers/parity.h"
#include "sim/checkers/single_writer.h"

namespace braid::sim {
namespace {

// ---- parity

/// One zone on its own members, all zeros at first, as allocation leaves it.
struct Array {
    explicit Array(Level level, std::size_t members) : world(1) {
        config.geometry = *Geometry::make(level, members, 256u << 10);
        config.data_start = 1u << 20;
        state.members.resize(members);
        const std::uint64_t size = config.data_start + config.geometry.segment_space();
        for (std::size_t i = 0; i < members; ++i) {
            media.push_back(std::make_unique<Media>(world, i, size));
            EXPECT_TRUE(media[i]->zero(0, size));
        }
        zone.state = ZoneState::allocated;
        zone.width = static_cast<std::uint8_t>(config.geometry.width());
        zone.shape = config.geometry.shape();
        for (std::uint8_t i = 0; i < zone.width; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(0)};
    }
    DiskPlace place(std::uint32_t row, unsigned role) const {
        return strip_place(config.geometry, zone, Row(row), Role(static_cast<std::uint8_t>(role)),
                           config.data_start);
    }
    void put(std::uint32_t row, unsigned role, const Buffer& strip) {
        EXPECT_TRUE(media[place(row, role).member.v]->write(place(row, role).offset, strip.span()));
    }
    /// Data by chance and the parity that belongs to it.
    void fill(std::uint32_t row) {
        const Geometry& g = config.geometry;
        std::vector<Buffer> strips;
        std::vector<const std::byte*> data;
        std::vector<std::byte*> parity;
        for (unsigned role = 0; role < g.width(); ++role) {
            strips.emplace_back(g.strip_size);
            for (std::byte& b : strips.back().span()) b = static_cast<std::byte>(world.prng.next());
            if (role < g.k) {
                data.push_back(strips.back().data());
            } else {
                parity.push_back(strips.back().data());
            }
        }
        Code(g.k, g.m).encode(data, parity, g.strip_size);
        for (unsigned role = 0; role < g.width(); ++role) put(row, role, strips[role]);
    }
    /// Changes one byte of a strip.
    void spoil(std::uint32_t row, unsigned role) {
        const Buffer strip(config.geometry.strip_size);
        media[place(row, role).member.v]->peek(place(row, role).offset, strip.span());
        strip.data()[strip.size() / 2] ^= std::byte{1};
        put(row, role, strip);
    }
    void lose(std::uint32_t row, unsigned role) {
        state.members[place(row, role).member.v].state = MemberState::failed;
    }
    std::string check() const { return check_parity(config, state, ExtentIndex(2), zone, by_member()); }
    MemberMedia by_member() const {
        MemberMedia out;
        for (const auto& one : media) out.push_back(one.get());
        return out;
    }

    World world;
    GroupConfig config;
    GroupState state;
    std::vector<std::unique_ptr<Media>> media;
    Zone zone;
};

TEST(ParityChecker, AcceptsStripesThatFitAndThoseNobodyWrote) {
    for (const Level level : {Level::mirror, Level::raid5, Level::raid6, Level::raid7_3}) {
        Array array(level, 6);
        EXPECT_EQ(array.check(), "");
        array.fill(0);
        array.fill(7);
        EXPECT_EQ(array.check(), "");
    }
}

TEST(ParityChecker, SeesOneWrongByteInAnyStrip) {
    for (const Level level : {Level::mirror, Level::raid5, Level::raid6, Level::raid7_3}) {
        Array array(level, 6);
        array.fill(3);
        const StripeIndex stripe = array.config.geometry.stripe_of(ExtentIndex(2), Row(3));
        for (unsigned role = 0; role < array.config.geometry.width(); ++role) {
            array.spoil(3, role);
            EXPECT_TRUE(array.check().starts_with("stripe " + std::to_string(stripe.v) + ":")) << role;
            array.spoil(3, role);
            EXPECT_EQ(array.check(), "");
        }
    }
}

TEST(ParityChecker, SeesAStripeOfWhichOnlyOneStripWasWritten) {
    Array array(Level::raid5, 4);
    array.spoil(1, 0);
    EXPECT_NE(array.check(), "");
}

TEST(ParityChecker, DoesNotBelieveAFailedMemberAndJudgesTheRest) {
    Array array(Level::raid6, 6);
    array.fill(0);
    array.spoil(0, 1);
    array.lose(0, 1);
    EXPECT_EQ(array.check(), "");
    array.spoil(0, 5);
    EXPECT_NE(array.check(), "");
    array.lose(0, 0);  // as many as the level survives: nothing is left to compare with
    EXPECT_EQ(array.check(), "");
}

// ---- single writer

TEST(SingleWriter, AllowsManyReadersAndWritersOfDifferentUnits) {
    SingleWriter locks;
    EXPECT_EQ(locks.add("a", UnitIndex(1), LockMode::read), "");
    EXPECT_EQ(locks.add("b", UnitIndex(1), LockMode::read), "");
    EXPECT_EQ(locks.add("a", UnitIndex(2), LockMode::write), "");
    EXPECT_EQ(locks.add("b", UnitIndex(3), LockMode::write), "");
}

TEST(SingleWriter, SeesTwoWritersAndAWriterBesideReaders) {
    for (const auto& [first, second] :
         {std::pair(LockMode::write, LockMode::write), std::pair(LockMode::write, LockMode::read),
          std::pair(LockMode::read, LockMode::write)}) {
        SingleWriter locks;
        EXPECT_EQ(locks.add("a", UnitIndex(1), first), "");
        EXPECT_EQ(locks.add("b", UnitIndex(1), second), "unit 1 is held by a and b");
        locks.begin();
        EXPECT_EQ(locks.add("b", UnitIndex(1), second), "");
    }
}

/// A writer that comes third is seen whichever readers were there before.
TEST(SingleWriter, SeesAWriterAfterSeveralReaders) {
    SingleWriter locks;
    EXPECT_EQ(locks.add("a", UnitIndex(1), LockMode::read), "");
    EXPECT_EQ(locks.add("b", UnitIndex(1), LockMode::read), "");
    EXPECT_NE(locks.add("c", UnitIndex(1), LockMode::write), "");
}

TEST(InFlight, SeesWhoIsInWhoseWayOnABlock) {
    InFlight blocks(4, 100);
    EXPECT_EQ(blocks.begin(1, 8 * kBlockSize, 2 * kBlockSize, false), "");
    EXPECT_EQ(blocks.begin(2, 9 * kBlockSize, kBlockSize, false), "");
    EXPECT_EQ(blocks.begin(2, 10 * kBlockSize, kBlockSize, true), "");
    EXPECT_NE(blocks.begin(3, 8 * kBlockSize, kBlockSize, true), "");
    EXPECT_NE(blocks.begin(3, 10 * kBlockSize, kBlockSize, false), "");
    EXPECT_NE(blocks.begin(2, 10 * kBlockSize, kBlockSize, true), "");
}

TEST(InFlight, ABlockIsFreeWhenEverybodyHasEnded) {
    InFlight blocks(4, 100);
    EXPECT_EQ(blocks.begin(1, 8 * kBlockSize, kBlockSize, true), "");
    blocks.end(8 * kBlockSize, kBlockSize, true);
    EXPECT_EQ(blocks.begin(2, 8 * kBlockSize, kBlockSize, false), "");
    EXPECT_EQ(blocks.begin(3, 8 * kBlockSize, kBlockSize, true, true), "");
    blocks.end(8 * kBlockSize, kBlockSize, false);
    EXPECT_NE(blocks.begin(4, 8 * kBlockSize, kBlockSize, false), "");
}

TEST(CacheCoherence, ARememberedBlockIsWhatItsMemberHas) {
    for (const Level level : {Level::raid6, Level::mirror}) {
        Array array(level, 5);
        array.fill(2);
        const Geometry& g = array.config.geometry;
        const std::uint64_t at = std::uint64_t{2} * g.stripe_size() + (g.k - 1) * g.strip_size + 8192;
        const Buffer block(kBlockSize);
        const DiskPlace place = array.place(2, g.k - 1u);
        array.media[place.member.v]->peek(place.offset + 8192, block.span());
        const auto wrong = [&] {
            return check_cached_block(array.config, array.state, array.zone, at, block.span(),
                                      array.by_member());
        };
        EXPECT_EQ(wrong(), "");
        block.data()[4095] ^= std::byte{1};
        EXPECT_NE(wrong(), "");
        array.state.members[place.member.v].state = MemberState::failed;
        EXPECT_EQ(wrong().empty(), level != Level::mirror) << "of a mirror the other copy tells";
    }
}

TEST(CacheCoherence, AMembersBlockThatItsChecksumDoesNotFitDoesNotCount) {
    Array array(Level::raid5, 5);
    array.config.geometry.checksums = true;
    array.fill(2);
    const Geometry& g = array.config.geometry;
    const StripeIndex stripe(2);
    const Buffer old_content(kBlockSize), new_content(kBlockSize), there(kBlockSize);
    const DiskPlace place = array.place(2, 0);
    array.media[place.member.v]->peek(place.offset, old_content.span());
    std::ranges::fill(new_content.span(), std::byte{7});
    std::ranges::copy(old_content.span(), there.data());
    std::ranges::copy(new_content.span().first(512), there.data());
    EXPECT_TRUE(array.media[place.member.v]->write(place.offset, there.span()));
    const auto wrong = [&](const Buffer& remembered, const Buffer* recorded) {
        ChecksumRecord record(g, {Uuid{}, stripe, array.zone.generation});
        if (recorded != nullptr) record.set(0, 0, recorded->span());
        return check_cached_block(array.config, array.state, array.zone, stripe.v * g.stripe_size(),
                                  remembered.span(), array.by_member(), [&](StripeIndex) { return record; });
    };
    EXPECT_EQ(wrong(old_content, &old_content), "");
    EXPECT_NE(wrong(new_content, &old_content), "");
    EXPECT_NE(wrong(old_content, &there), "");
    EXPECT_EQ(wrong(there, &there), "");
    EXPECT_NE(wrong(old_content, nullptr), "") << "nothing is known of it";
}

TEST(OneDisk, AfterAPowerCutASectorHoldsTheLastDurableWriteOrALaterOne) {
    for (const std::uint64_t seen : {1u, 2u, 3u}) {
        OneDisk disk;
        for (const Instant i : {1, 2, 3}) {
            disk.write_begins(7, static_cast<std::uint64_t>(i), 10 * i);
            disk.write_done(7, static_cast<std::uint64_t>(i), 10 * i + 5, i == 2);
        }
        disk.power_lost(100);
        disk.read(7, seen, 110, 120);
        EXPECT_EQ(disk.judge().empty(), seen >= 2) << seen;
    }
}

TEST(OneDisk, WhatSurvivedAPowerCutDoesNotChangeByItself) {
    OneDisk disk;
    disk.write_begins(7, 1, 10);
    disk.write_done(7, 1, 15);
    disk.power_lost(100);
    disk.read(7, 0, 110, 120);
    EXPECT_EQ(disk.judge(), "");
    disk.read(7, 1, 130, 140);
    EXPECT_NE(disk.judge(), "");
}

}  // namespace
}  // namespace braid::sim
