#include "cache/block_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <cmath>
#include <cstring>
#include <list>
#include <map>
#include <unordered_map>

namespace braid {
namespace {

using Block = std::array<std::byte, kBlockSize>;

Block block_of(std::uint64_t value) {
    Block out;
    for (std::size_t i = 0; i < out.size(); i += 8) {
        const std::uint64_t word = mix64(value * 1000 + i);
        std::memcpy(out.data() + i, &word, 8);
    }
    return out;
}

constexpr std::uint64_t at(std::uint64_t block) { return block * kBlockSize; }

TEST(BlockCache, GivesWhatWasPutInUnderTheSameGenerationOnly) {
    BlockCache cache(4 * kBlockSize);
    const Block content = block_of(1);
    Block seen{};
    EXPECT_FALSE(cache.read(at(7), seen, 1));
    cache.insert(UnitIndex(3), 1, at(7), content);
    ASSERT_TRUE(cache.read(at(7), seen, 1));
    EXPECT_EQ(seen, content);
    EXPECT_FALSE(cache.read(at(7), seen, 2));
    EXPECT_FALSE(cache.read(at(8), seen, 1));
    EXPECT_EQ(cache.size(), kBlockSize);
    EXPECT_EQ(cache.capacity(), 4 * kBlockSize);
}

TEST(BlockCache, ARangeOfBytesIsHereOnlyIfAllItsBlocksAre) {
    BlockCache cache(8 * kBlockSize);
    std::array<std::byte, 3 * kBlockSize> content;
    for (std::size_t i = 0; i < 3; ++i)
        std::memcpy(content.data() + i * kBlockSize, block_of(i).data(), kBlockSize);
    cache.insert(UnitIndex(1), 1, at(5), content);
    std::array<std::byte, kBlockSize + 1000> seen{};
    ASSERT_TRUE(cache.read(at(5) + 700, seen, 1));
    EXPECT_EQ(std::memcmp(seen.data(), content.data() + 700, seen.size()), 0);
    EXPECT_FALSE(cache.read(at(7) + 700, seen, 1));
    cache.invalidate(at(6), kBlockSize);
    EXPECT_FALSE(cache.read(at(5) + 700, seen, 1));
    EXPECT_EQ(cache.size(), 2 * kBlockSize);
    cache.insert(UnitIndex(1), 1, at(6), block_of(9));
    ASSERT_TRUE(cache.read(at(5) + 700, seen, 1));
    EXPECT_EQ(std::memcmp(seen.data() + kBlockSize - 700, block_of(9).data(), 1700), 0);
}

TEST(BlockCache, DropsAUnitAndNothingElse) {
    BlockCache cache(64 * kBlockSize);
    Block seen{};
    for (std::uint64_t n = 0; n < 60; ++n) cache.insert(UnitIndex(n / 4), 1, at(n), block_of(n));
    cache.drop(UnitIndex(5));
    cache.drop(UnitIndex(500));
    EXPECT_FALSE(cache.holds_any(UnitIndex(5)));
    EXPECT_TRUE(cache.holds_any(UnitIndex(6)));
    for (std::uint64_t n = 0; n < 60; ++n) EXPECT_EQ(cache.read(at(n), seen, 1), n / 4 != 5) << n;
    EXPECT_EQ(cache.counters().dropped, 4u);
    cache.clear();
    EXPECT_EQ(cache.size(), 0u);
    EXPECT_FALSE(cache.holds_any(UnitIndex(6)));
}

TEST(BlockCache, WithoutRoomItStaysEmpty) {
    BlockCache cache(kBlockSize - 1);
    Block seen{};
    cache.insert(UnitIndex(1), 1, at(1), block_of(1));
    cache.invalidate(at(1), kBlockSize);
    cache.drop(UnitIndex(1));
    cache.clear();
    EXPECT_FALSE(cache.read(at(1), seen, 1));
    EXPECT_FALSE(cache.holds_any(UnitIndex(1)));
    EXPECT_EQ(cache.capacity(), 0u);
}

struct ModelBlock {
    std::uint64_t unit, generation, value;
};

/// Whatever is asked of the cache: what it gives is what was put in last, and it has lost nothing without
/// need.
TEST(BlockCache, NeverGivesWhatIsNotTheNewest) {
    const bool held = rc::check([] {
        const auto room = *rc::gen::inRange<std::size_t>(1, 60);
        const bool all_fits = room >= 40;
        BlockCache cache(room * kBlockSize);
        std::map<std::uint64_t, ModelBlock> model;
        Prng random(*rc::gen::arbitrary<std::uint64_t>());
        for (int step = 0; step < 600; ++step) {
            const std::uint64_t block = random.below(40);
            const std::uint64_t unit = block / 2, generation = random.below(8) == 0 ? 2 : 1;
            switch (random.below(12)) {
                case 0:
                    cache.drop(UnitIndex(unit));
                    std::erase_if(model, [&](const auto& entry) { return entry.second.unit == unit; });
                    RC_ASSERT(!cache.holds_any(UnitIndex(unit)));
                    break;
                case 1:
                    cache.invalidate(at(block), kBlockSize);
                    model.erase(block);
                    break;
                case 2:
                    if (random.below(10) != 0) break;
                    cache.clear();
                    model.clear();
                    break;
                case 3:
                case 4:
                case 5:
                case 6: {
                    cache.insert(UnitIndex(unit), static_cast<std::uint32_t>(generation), at(block),
                                 block_of(static_cast<std::uint64_t>(step)));
                    model[block] = {unit, generation, static_cast<std::uint64_t>(step)};
                    Block seen{};
                    RC_ASSERT(cache.read(at(block), seen, static_cast<std::uint32_t>(generation)));
                    break;
                }
                default: {
                    Block seen{};
                    if (!cache.read(at(block), seen, static_cast<std::uint32_t>(generation))) {
                        // RC_ASSERT evaluates both sides of an ||.
                        const auto known = model.find(block);
                        const bool had = known != model.end() && known->second.generation == generation;
                        RC_ASSERT_FALSE(all_fits && had);
                        break;
                    }
                    RC_ASSERT(model.contains(block));
                    RC_ASSERT(model[block].generation == generation);
                    RC_ASSERT(seen == block_of(model[block].value));
                }
            }
            std::size_t listed = 0;
            cache.for_each([&](UnitIndex of, std::uint32_t g, std::uint64_t where,
                               std::span<const std::byte> content) {
                ++listed;
                const auto known = model.find(where / kBlockSize);
                RC_ASSERT(known != model.end());
                RC_ASSERT(known->second.unit == of.v && known->second.generation == g);
                RC_ASSERT(std::memcmp(content.data(), block_of(known->second.value).data(), kBlockSize) == 0);
            });
            RC_ASSERT(listed * kBlockSize == cache.size());
            RC_ASSERT(cache.size() <= cache.capacity());
            RC_ASSERT(!all_fits || listed == model.size());
        }
    });
    EXPECT_TRUE(held);
}

TEST(BlockCache, WhatWasReadMoreThanOnceOutlivesItsFirstQueue) {
    BlockCache cache(20 * kBlockSize);
    std::byte seen;
    const auto look = [&](std::uint64_t block) { return cache.read(at(block), {&seen, 1}, 1); };
    for (const std::uint64_t block : {1u, 2u}) cache.insert(UnitIndex(0), 1, at(block), block_of(block));
    EXPECT_TRUE(look(1) && look(1) && look(2));
    for (std::uint64_t block = 100; block < 130; ++block)
        cache.insert(UnitIndex(1), 1, at(block), block_of(block));
    EXPECT_TRUE(look(1));
    EXPECT_FALSE(look(2));
    // It comes back soon after it went: now it stays.
    cache.insert(UnitIndex(0), 1, at(2), block_of(2));
    for (std::uint64_t block = 200; block < 230; ++block)
        cache.insert(UnitIndex(1), 1, at(block), block_of(block));
    EXPECT_TRUE(look(2));
    EXPECT_EQ(cache.counters().evicted, 43u);
}

// ---- against the usual ones

class Lru {
public:
    Lru(std::size_t room, bool fifo) : room_(room), fifo_(fifo) {}
    bool look(std::uint64_t block) {
        const auto known = places_.find(block);
        if (known != places_.end()) {
            if (!fifo_) order_.splice(order_.begin(), order_, known->second);
            return true;
        }
        if (order_.size() == room_) {
            places_.erase(order_.back());
            order_.pop_back();
        }
        order_.push_front(block);
        places_[block] = order_.begin();
        return false;
    }

private:
    std::size_t room_;
    bool fifo_;
    std::list<std::uint64_t> order_;
    std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> places_;
};

class Ours {
public:
    explicit Ours(std::size_t room) : cache_(room * kBlockSize) {}
    bool look(std::uint64_t block) {
        std::byte seen;
        if (cache_.read(at(block), {&seen, 1}, 1)) return true;
        static const Block content{};
        cache_.insert(UnitIndex(block / 16), 1, at(block), content);
        return false;
    }

private:
    BlockCache cache_;
};

/// Reads of a few thousand blocks, some of them much more often than others, and now and then a scan over
/// what nobody reads twice. Counts the hits of the former.
template <class Cache>
double hits_beside_scans(Cache cache) {
    constexpr std::uint64_t kBlocks = 4000;
    std::vector<double> until(kBlocks);
    double sum = 0;
    for (std::uint64_t rank = 0; rank < kBlocks; ++rank)
        until[rank] = sum += 1.0 / std::pow(static_cast<double>(rank + 1), 0.9);
    Prng random(5);
    std::uint64_t reads = 0, hits = 0, scanned = 1'000'000;
    for (int turn = 0; turn < 60'000; ++turn) {
        const double draw = sum * static_cast<double>(random.below(1u << 30)) / static_cast<double>(1u << 30);
        const auto rank = static_cast<std::uint64_t>(std::ranges::lower_bound(until, draw) - until.begin());
        const bool hit = cache.look(mix64(rank) % 500'000);
        if (turn > 10'000) {
            ++reads;
            hits += hit ? 1 : 0;
        }
        if (turn % 2000 == 0) {
            for (int i = 0; i < 1500; ++i) (void)cache.look(scanned++);
        }
    }
    return static_cast<double>(hits) / static_cast<double>(reads);
}

TEST(BlockCache, AScanDoesNotWashOutWhatIsReadAgainAndAgain) {
    constexpr std::size_t kRoom = 400;
    const double ours = hits_beside_scans(Ours(kRoom));
    const double lru = hits_beside_scans(Lru(kRoom, false));
    const double fifo = hits_beside_scans(Lru(kRoom, true));
    RecordProperty("s3fifo", std::to_string(ours));
    RecordProperty("lru", std::to_string(lru));
    RecordProperty("fifo", std::to_string(fifo));
    EXPECT_GT(ours, lru + 0.05) << lru;
    EXPECT_GT(ours, fifo + 0.1) << fifo;
}

}  // namespace
}  // namespace braid
