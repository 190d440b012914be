#include "destage/dirty_stripes.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/prng.h"
#include "destage/flush_frames.h"
#include "destage/pass_frames.h"

namespace braid {
namespace {

constexpr std::uint32_t kBlock = kBlockSize;
constexpr StripeIndex kS(7);

constexpr std::uint32_t kSize = 16 * kBlock;  // of a stripe's data

/// Blocks that all hold this byte.
Slice blocks(std::uint32_t count, unsigned char value) {
    const Buffer out(count * kBlock);
    std::memset(out.data(), value, out.size());
    return Slice(out);
}

class Dirty : public ::testing::Test {
protected:
    std::vector<DirtyStripes::Ticket> put(std::uint32_t block, std::uint32_t count, unsigned char value,
                                          StripeIndex stripe = kS) {
        return dirty.put(stripe, 1, kSize, block * kBlock, blocks(count, value), ++ticket, now, true);
    }
    /// One letter a block: what it holds, '.' if it is clean.
    std::string seen(std::uint32_t count, StripeIndex stripe = kS) {
        const Buffer out(count * kBlock);
        std::memset(out.data(), '.', out.size());
        dirty.overlay(stripe, 1, 0, out.span());
        std::string text;
        for (std::uint32_t i = 0; i < count; ++i) text += static_cast<char>(out.data()[i * kBlock]);
        return text;
    }

    DirtyStripes dirty;
    DirtyStripes::Ticket ticket = 0;
    Nanos now{};
};

TEST_F(Dirty, ShowsTheNewestOfEachBlock) {
    put(1, 3, 'a');
    put(2, 1, 'b');
    put(3, 4, 'c');
    EXPECT_EQ(seen(8), ".abcccc.");
    EXPECT_TRUE(dirty.covers(kS, 1, {kBlock, 6 * kBlock}));
    EXPECT_FALSE(dirty.covers(kS, 1, {0, 2 * kBlock}));
    EXPECT_FALSE(dirty.meets(kS, 1, {0, kBlock}));
    EXPECT_TRUE(dirty.meets(kS, 1, {0, kBlock + 1}));
    EXPECT_FALSE(dirty.meets(kS, 2, {kBlock, kBlock})) << "of another zone";
}

TEST_F(Dirty, ARecordThatANewerOneCoversIsOut) {
    put(0, 2, 'a');                                                        // 1
    put(4, 2, 'b');                                                        // 2
    EXPECT_TRUE(put(1, 4, 'c').empty());                                   // 3: parts of both
    EXPECT_EQ(put(0, 5, 'd'), (std::vector<DirtyStripes::Ticket>{1, 3}));  // 4
    EXPECT_EQ(dirty.bytes(), 7 * kBlock);
    EXPECT_EQ(seen(6), "dddddb");
    EXPECT_EQ(dirty.records_in(kS, {0, 6 * kBlock}), (std::vector<DirtyStripes::Ticket>{2, 4}));
}

TEST_F(Dirty, GoesAsOnePieceOrAsOneForEachPart) {
    put(1, 2, 'a');
    put(3, 1, 'b');
    put(6, 1, 'c');
    EXPECT_EQ(dirty.pieces(kS, Gaps::all), (std::vector<DirtyPiece>{{kBlock, 6 * kBlock}}));
    const std::vector<DirtyPiece> parts = {{kBlock, 3 * kBlock}, {6 * kBlock, kBlock}};
    EXPECT_EQ(dirty.pieces(kS, Gaps::none), parts);
    EXPECT_EQ(dirty.pieces(kS, Gaps::small), parts);  // two blocks are more than one of four
    put(7, 4, 'd');
    EXPECT_EQ(dirty.pieces(kS, Gaps::small), (std::vector<DirtyPiece>{{kBlock, 10 * kBlock}}));
    dirty.drop(kS, {7 * kBlock, 4 * kBlock});
    const Slice content = dirty.content(kS, parts[0]);
    EXPECT_EQ(content.bytes.size(), 3 * kBlock);
    EXPECT_EQ(static_cast<char>(content.bytes[2 * kBlock]), 'b');
    EXPECT_EQ(dirty.drop(kS, parts[0]), (std::vector<DirtyStripes::Ticket>{1, 2}));
    EXPECT_EQ(seen(8), "......c.");
    EXPECT_EQ(dirty.drop(kS, parts[1]), (std::vector<DirtyStripes::Ticket>{3}));
    EXPECT_TRUE(dirty.empty());
    EXPECT_EQ(dirty.bytes(), 0u);
}

TEST_F(Dirty, ContentOfOneRunIsNotCopied) {
    const Slice data = blocks(2, 'a');
    dirty.put(kS, 1, kSize, 0, data, 1, now, true);
    EXPECT_EQ(dirty.content(kS, {0, 2 * kBlock}).bytes.data(), data.bytes.data());
}

TEST_F(Dirty, OverdueStripesGoFirstThenFullOnesThenTheOldest) {
    DirtyStripes::Pressure calm{.now = 2s, .age = 2s, .low = 1u << 30};
    now = 1s;
    put(0, 1, 'a', StripeIndex(1));
    now = 2s;
    put(0, 1, 'b', StripeIndex(2));
    put(0, 16, 'c', StripeIndex(3));
    put(0, 16, 'd', StripeIndex(4));
    EXPECT_EQ(dirty.choose(calm), StripeIndex(3)) << "nothing is overdue";
    calm.now = 3s;
    EXPECT_EQ(dirty.choose(calm), StripeIndex(1)) << "full stripes that keep coming do not go before it";
    EXPECT_EQ(dirty.choose(calm), StripeIndex(4));
    EXPECT_EQ(dirty.choose(calm), std::nullopt) << "the other one is young";
    DirtyStripes::Pressure pressed = calm;
    pressed.all = true;
    EXPECT_EQ(dirty.choose(pressed), StripeIndex(2));
    dirty.unchoose(StripeIndex(2));
    pressed = calm;
    pressed.low = 34 * kBlock;
    EXPECT_EQ(dirty.choose(pressed), std::nullopt) << "no more than is allowed";
    pressed.low -= 1;
    EXPECT_EQ(dirty.choose(pressed), StripeIndex(2));
    EXPECT_EQ(dirty.oldest(), std::optional<Nanos>(1s));
}

TEST_F(Dirty, AnOverdueStripeThatIsFullGoesBeforeAYoungerOne) {
    put(0, 1, 'a', StripeIndex(1));
    put(0, 16, 'b', StripeIndex(2));
    now = 1s;
    put(0, 16, 'c', StripeIndex(3));
    const DirtyStripes::Pressure late{.now = 9s, .age = 2s, .low = 1u << 30};
    EXPECT_EQ(dirty.choose(late), StripeIndex(1));
    EXPECT_EQ(dirty.choose(late), StripeIndex(2));
    EXPECT_EQ(dirty.choose(late), StripeIndex(3));
}

TEST_F(Dirty, IsAsOldAsTheOldestOfWhatIsLeft) {
    put(0, 2, 'a');
    now = 1s;
    put(1, 4, 'b');  // covers some of it
    now = 2s;
    put(8, 1, 'c');
    EXPECT_EQ(dirty.oldest(), std::optional<Nanos>(0s));
    const DirtyStripes::Pressure calm{.now = 3500ms, .age = 2s, .low = 1u << 30};
    EXPECT_EQ(dirty.choose(calm), kS);
    dirty.drop(kS, {0, 5 * kBlock});
    EXPECT_EQ(dirty.oldest(), std::optional<Nanos>(2s)) << "also while it is chosen";
    put(9, 1, 'd', StripeIndex(3));
    dirty.unchoose(kS);
    EXPECT_EQ(dirty.choose(calm), std::nullopt) << "what became dirty beside the destage is young";
}

TEST_F(Dirty, ABlockThatIsWrittenAgainAndAgainAges) {
    for (now = 0s; now < 3s; now += 100ms) put(3, 1, 'a');
    EXPECT_EQ(dirty.oldest(), std::optional<Nanos>(0s));
    EXPECT_EQ(dirty.choose({.now = now, .age = 2s, .low = 1u << 30}), kS);
}

TEST_F(Dirty, WhatCameWithALockIsAsOldAsItWasThere) {
    now = 2s;
    put(0, 1, 'a', StripeIndex(1));
    now = 1s;
    put(0, 1, 'b', StripeIndex(2));
    EXPECT_EQ(dirty.oldest(), std::optional<Nanos>(1s));
    EXPECT_EQ(dirty.choose({.now = 3s, .age = 2s, .low = 1u << 30}), StripeIndex(2));
}

TEST_F(Dirty, AChosenStripeThatGetsMoreIsNotChosenTwice) {
    put(0, 16, 'a');
    const DirtyStripes::Pressure all{.all = true};
    EXPECT_EQ(dirty.choose(all), kS);
    put(3, 1, 'b');
    EXPECT_EQ(dirty.choose(all), std::nullopt);
    dirty.unchoose(kS);
    EXPECT_EQ(dirty.choose(all), kS);
}

TEST_F(Dirty, IsWhatAListOfWritesSays) {
    for (std::uint64_t seed = 1; seed <= 200; ++seed) {
        Prng prng(seed);
        DirtyStripes stripes;
        std::string model(16, '.');
        std::map<DirtyStripes::Ticket, DirtyPiece> records;
        std::uint64_t bytes = 0;
        const auto gone = [&](const std::vector<DirtyStripes::Ticket>& tickets, DirtyPiece in) {
            for (const DirtyStripes::Ticket t : tickets) {
                ASSERT_TRUE(records.at(t).within(in));
                bytes -= records.at(t).length;
                records.erase(t);
            }
            for (const auto& [t, where] : records) ASSERT_FALSE(where.within(in));
        };
        for (DirtyStripes::Ticket t = 1; t <= 40; ++t) {
            const auto parts = stripes.pieces(kS, Gaps::none);
            if (!parts.empty() && prng.chance(1, 5)) {
                const DirtyPiece piece = parts[prng.below(parts.size())];
                gone(stripes.drop(kS, piece), piece);
                std::fill_n(model.begin() + piece.offset / kBlock, piece.length / kBlock, '.');
            }
            const auto from = static_cast<std::uint32_t>(prng.below(16));
            const auto count = static_cast<std::uint32_t>(1 + prng.below(16 - from));
            const auto value = static_cast<unsigned char>('a' + t % 26);
            const DirtyPiece piece{from * kBlock, count * kBlock};
            gone(stripes.put(kS, 1, kSize, piece.offset, blocks(count, value), t, Nanos{}, true), piece);
            records.emplace(t, piece);
            bytes += piece.length;
            std::fill_n(model.begin() + from, count, static_cast<char>(value));
            ASSERT_EQ(stripes.bytes(), bytes);
            const Buffer out(16 * kBlock);
            std::memset(out.data(), '.', out.size());
            stripes.overlay(kS, 1, 0, out.span());
            for (std::uint32_t i = 0; i < 16; ++i) {
                ASSERT_EQ(static_cast<char>(out.data()[i * kBlock]), model[i]) << "seed " << seed;
                ASSERT_EQ(stripes.meets(kS, 1, {i * kBlock, kBlock}), model[i] != '.');
            }
        }
    }
}

TEST(FlushFrames, ComeAsTheyWentAndNothingElseDoes) {
    const FlushAsk ask{77, true, FlushAsk::kMostTimes};
    EXPECT_EQ(*decode_flush_ask(encode(Uuid{}, ask)), ask);
    const FlushDone done{78, true, 5};
    Message message = encode(Uuid{}, done);
    EXPECT_EQ(*decode_flush_done(message), done);
    message.head[8] = std::byte{2};
    EXPECT_FALSE(decode_flush_done(message));
    EXPECT_FALSE(decode_flush_ask(message));
    message.head.pop_back();
    EXPECT_FALSE(decode_flush_done(message));
    message = encode(Uuid{}, FlushAsk{77, true, FlushAsk::kMostTimes + 1});
    EXPECT_FALSE(decode_flush_ask(message));
    message = encode(Uuid{}, ask);
    message.payload = blocks(1, 'x');
    EXPECT_FALSE(decode_flush_ask(message));
}

}  // namespace
TEST(PassFrames, CarryPiecesAndTheirContent) {
    DirtyPass pass{7, 12, 3ms, {{StripeIndex(5), 2, 4096, 8192}, {StripeIndex(6), 2, 0, 4096}}, {}};
    pass.content = Slice(Buffer(12288));
    const Message message = encode(Uuid(), pass);
    ASSERT_TRUE(decode_dirty_pass(message));
    EXPECT_EQ(*decode_dirty_pass(message), pass);
    const DirtyTaken taken{7, true};
    EXPECT_EQ(*decode_dirty_taken(encode(Uuid(), taken)), taken);
}

TEST(PassFrames, WhatIsCutOrDoesNotFitIsRefused) {
    DirtyPass pass{7, 12, 3ms, {{StripeIndex(5), 2, 4096, 8192}}, {}};
    pass.content = Slice(Buffer(8192));
    const Message whole = encode(Uuid(), pass);
    for (std::size_t size = 0; size < whole.head.size(); ++size) {
        Message cut = whole;
        cut.head.resize(size);
        EXPECT_FALSE(decode_dirty_pass(cut)) << size;
    }
    Message less = whole;
    less.payload.bytes = less.payload.bytes.first(4096);
    EXPECT_FALSE(decode_dirty_pass(less));
    pass.pieces.front().length = 100;
    EXPECT_FALSE(decode_dirty_pass(encode(Uuid(), pass)));
    EXPECT_FALSE(decode_dirty_pass(encode(Uuid(), {7, 12, 3ms, {}, {}})));
    Message taken = encode(Uuid(), DirtyTaken{7, true});
    taken.head.push_back(std::byte{0});
    EXPECT_FALSE(decode_dirty_taken(taken));
}

}  // namespace braid
