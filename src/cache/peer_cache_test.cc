#include "cache/peer_cache.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <optional>

#include "async/scope.h"
#include "icl/testing.h"

namespace braid {
namespace {

struct Wire final : Transport {
    void send(AmfId to, Message message) override { sent.emplace_back(to, std::move(message)); }
    std::vector<std::pair<AmfId, Message>> sent;
};

struct PeerCacheTest : ::testing::Test {
    static Task<void> keep(Task<PeerCache::Answer> fetch, std::optional<PeerCache::Answer>& out) {
        out = co_await std::move(fetch);
    }
    /// The question that goes out.
    CacheFetch ask() {
        got.reset();
        into.fill(std::byte{7});
        scope.spawn(keep(peers.fetch(AmfId(3), 40960, into, 5), got));
        executor.run_until_idle();
        EXPECT_EQ(wire.sent.size(), 1u);
        EXPECT_EQ(wire.sent[0].first, AmfId(3));
        const CacheFetch question = decode_cache_fetch(wire.sent[0].second.head).value();
        wire.sent.clear();
        return question;
    }
    bool answer(AmfId from, std::uint64_t number, std::size_t size) {
        Buffer data(size);
        if (size != 0) std::memset(data.data(), 9, size);
        const bool sound = peers.deliver(from, encode(group, CacheData{number, Slice(data)}));
        executor.run_until_idle();
        return sound;
    }

    Executor executor;
    testing::ManualClock clock{executor};
    Wire wire;
    Uuid group{{4}};
    PeerCache peers{executor, clock, wire, group, 50ms};
    std::array<std::byte, 8192> into;
    std::optional<PeerCache::Answer> got;
    Scope scope{executor};
};

TEST_F(PeerCacheTest, BringsWhatTheHolderHas) {
    const CacheFetch question = ask();
    EXPECT_EQ(question, (CacheFetch{question.number, 40960, 8192, 5}));
    EXPECT_FALSE(got);
    EXPECT_TRUE(answer(AmfId(3), question.number, 8192));
    EXPECT_EQ(got, PeerCache::Answer::here);
    EXPECT_EQ(into[8191], std::byte{9});
}

TEST_F(PeerCacheTest, NotHereNoAnswerAndANewViewAreAllTheSame) {
    EXPECT_TRUE(answer(AmfId(3), ask().number, 0));
    EXPECT_EQ(got, PeerCache::Answer::not_here);
    const CacheFetch late = ask();
    clock.advance(49ms);
    EXPECT_FALSE(got);
    clock.advance(1ms);
    EXPECT_EQ(got, PeerCache::Answer::not_here);
    EXPECT_TRUE(answer(AmfId(3), late.number, 8192)) << "nobody waits for it";
    (void)ask();
    peers.adopt();
    executor.run_until_idle();
    EXPECT_EQ(got, PeerCache::Answer::not_here);
    EXPECT_EQ(into[0], std::byte{7});
}

TEST_F(PeerCacheTest, AnswersThatMakeNoSenseAreRefused) {
    const CacheFetch question = ask();
    EXPECT_FALSE(answer(AmfId(2), question.number, 8192)) << "not whom we asked";
    EXPECT_FALSE(answer(AmfId(3), question.number, 4096)) << "too little";
    EXPECT_FALSE(answer(AmfId(3), question.number, 100));
    EXPECT_FALSE(peers.deliver(AmfId(3), Message{group, MessageType::cache_data, Bytes(7), {}}));
    EXPECT_FALSE(got);
    EXPECT_FALSE(decode_cache_fetch(encode(group, CacheFetch{1, 0, 0, 1}).head));
    EXPECT_FALSE(decode_cache_fetch(encode(group, CacheFetch{1, 100, 4096, 1}).head));
    EXPECT_FALSE(decode_cache_fetch(encode(group, CacheFetch{1, 0, 2 * kMostCacheData, 1}).head));
    EXPECT_FALSE(decode_cache_fetch(Bytes(23)));
    scope.destroy_all();
    EXPECT_TRUE(answer(AmfId(3), question.number, 8192)) << "its asker has gone";
}

}  // namespace
}  // namespace braid
