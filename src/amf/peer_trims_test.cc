#include "amf/peer_trims.h"

#include <gtest/gtest.h>

#include <optional>

#include "async/scope.h"
#include "icl/testing.h"

namespace braid {
namespace {

struct Wire final : Transport {
    void send(AmfId to, Message message) override { sent.emplace_back(to, std::move(message)); }
    std::vector<std::pair<AmfId, Message>> sent;
};

ExtentBlocks blocks(std::initializer_list<std::size_t> set) {
    ExtentBlocks out;
    for (const std::size_t i : set) out.set(i);
    return out;
}

struct PeerTrimsTest : ::testing::Test {
    static Task<void> keep(Task<PeerTrims::Told> question, std::optional<PeerTrims::Told>& out) {
        out = co_await std::move(question);
    }
    /// The number of the question that goes out to 2 and 3.
    std::uint64_t ask() {
        got.reset();
        scope.spawn(keep(peers.ask({AmfId(2), AmfId(3)}, {ExtentIndex(4), ExtentIndex(7)}, true), got));
        executor.run_until_idle();
        EXPECT_EQ(wire.sent.size(), 2u);
        const std::uint64_t number = decode_trims_ask(wire.sent[1].second).value().number;
        wire.sent.clear();
        return number;
    }
    bool answer(AmfId from, std::uint64_t number, TrimmedOf told) {
        const bool sound = peers.deliver(from, encode(group, TrimsTold{number, std::move(told)}));
        executor.run_until_idle();
        return sound;
    }

    Executor executor;
    testing::ManualClock clock{executor};
    Wire wire;
    Uuid group{{4}};
    PeerTrims peers{executor, clock, wire, group, 50ms};
    std::optional<PeerTrims::Told> got;
    Scope scope{executor};
};

TEST_F(PeerTrimsTest, JoinsWhatAllOfThemTell) {
    const std::uint64_t number = ask();
    EXPECT_TRUE(answer(AmfId(2), number, {{ExtentIndex(4), blocks({0, 9})}}));
    EXPECT_FALSE(got);
    EXPECT_TRUE(answer(AmfId(3), number, {{ExtentIndex(4), blocks({16383})}, {ExtentIndex(7), blocks({1})}}));
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->by_all);
    EXPECT_EQ(got->blocks,
              (TrimmedOf{{ExtentIndex(4), blocks({0, 9, 16383})}, {ExtentIndex(7), blocks({1})}}));
}

TEST_F(PeerTrimsTest, NobodyElseIsThereAndNobodyIsAsked) {
    scope.spawn(keep(peers.ask({}, {ExtentIndex(4)}, true), got));
    executor.run_until_idle();
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->by_all && got->blocks.empty());
    EXPECT_TRUE(wire.sent.empty());
}

TEST_F(PeerTrimsTest, WhoDoesNotAnswerInTimeRemembersNothing) {
    const std::uint64_t number = ask();
    EXPECT_TRUE(answer(AmfId(3), number, {{ExtentIndex(7), blocks({5})}}));
    clock.advance(500ms);
    EXPECT_FALSE(got) << "no host waits";
    clock.advance(600ms);
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->by_all);
    EXPECT_EQ(got->blocks, (TrimmedOf{{ExtentIndex(7), blocks({5})}}));
    EXPECT_TRUE(answer(AmfId(2), number, {{ExtentIndex(4), blocks({5})}})) << "late, and no nonsense";
}

TEST_F(PeerTrimsTest, AViewEndsAllQuestions) {
    (void)ask();
    peers.adopt();
    executor.run_until_idle();
    ASSERT_TRUE(got);
    EXPECT_FALSE(got->by_all);
}

TEST_F(PeerTrimsTest, WhatNobodyWasAskedIsNonsense) {
    const std::uint64_t number = ask();
    EXPECT_FALSE(answer(AmfId(5), number, {}));
    EXPECT_FALSE(answer(AmfId(2), number, {{ExtentIndex(5), blocks({5})}}));
    EXPECT_TRUE(answer(AmfId(2), number, {}));
    EXPECT_FALSE(answer(AmfId(2), number, {})) << "twice";
    EXPECT_FALSE(got);
}

TEST_F(PeerTrimsTest, FramesComeBackAndAreRefusedBroken) {
    const TrimsAsk ask{5, true, {ExtentIndex(0), ExtentIndex(3)}};
    Message message = encode(group, ask);
    EXPECT_EQ(*decode_trims_ask(message), ask);
    message.head.back() = std::byte{1};  // extents far beyond any group
    EXPECT_TRUE(decode_trims_ask(message));
    message.head.pop_back();
    EXPECT_FALSE(decode_trims_ask(message));
    EXPECT_FALSE(decode_trims_ask(encode(group, TrimsAsk{5, false, {}})));
    EXPECT_FALSE(decode_trims_ask(encode(group, TrimsAsk{5, false, {ExtentIndex(3), ExtentIndex(3)}})));
    std::vector<ExtentIndex> many;
    for (std::uint32_t i = 0; i <= kMostTrimsAsked; ++i) many.emplace_back(i);
    EXPECT_FALSE(decode_trims_ask(encode(group, TrimsAsk{5, false, many})));

    const TrimsTold told{5, {{ExtentIndex(0), blocks({0, 7, 8})}, {ExtentIndex(3), blocks({16383})}}};
    message = encode(group, told);
    EXPECT_EQ(*decode_trims_told(message), told);
    message.payload = Slice(Buffer::zeroed(1));
    EXPECT_FALSE(decode_trims_told(message));
    message.payload = {};
    message.head.pop_back();
    EXPECT_FALSE(decode_trims_told(message));
    EXPECT_TRUE(decode_trims_told(encode(group, TrimsTold{5, {}})));
    EXPECT_FALSE(decode_trims_told(encode(group, TrimsTold{5, {{ExtentIndex(0), {}}}})));
    TrimmedOf all;
    for (const ExtentIndex extent : many) all[extent].set(1);
    EXPECT_FALSE(decode_trims_told(encode(group, TrimsTold{5, all})));
}

}  // namespace
}  // namespace braid
