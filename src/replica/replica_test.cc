#include <gtest/gtest.h>

#include <map>
#include <ranges>
#include <set>

#include "base/prng.h"
#include "replica/testing.h"

namespace braid {
namespace {

using namespace testing;

TEST(Replicator, PartnersFollowInTheRing) {
    Ring ring(3);
    for (const std::uint16_t id : {std::uint16_t{2}, std::uint16_t{4}, std::uint16_t{6}, std::uint16_t{8}})
        ring.join(id);
    EXPECT_TRUE(ring.peers[6]->replicator.partners().contains(AmfId(8)));
    EXPECT_TRUE(ring.peers[6]->replicator.partners().contains(AmfId(2)));
    EXPECT_EQ(ring.peers[6]->replicator.copies(), 3u);
    ring.leave(8);
    ring.leave(2);
    EXPECT_EQ(ring.peers[6]->replicator.copies(), 2u);
}

TEST(Replicator, PartnersAreNeverOfTheSameController) {
    Ring ring(3);
    for (std::uint16_t controller = 1; controller <= 3; ++controller) {
        for (unsigned index = 0; index < 3; ++index) ring.join(amf_id(ControllerId(controller), index).v);
    }
    const auto partners = [&](std::uint16_t controller, unsigned index) {
        const AmfSet& set = ring.peers[amf_id(ControllerId(controller), index).v]->replicator.partners();
        std::set<AmfId> out(set.begin(), set.end());
        return out;
    };
    const auto at = [](std::uint16_t controller, unsigned index) {
        return amf_id(ControllerId(controller), index);
    };
    EXPECT_EQ(partners(1, 0), (std::set{at(2, 0), at(3, 0)}));
    EXPECT_EQ(partners(3, 1), (std::set{at(1, 1), at(2, 1)}));
    for (unsigned index = 0; index < 3; ++index) ring.leave(at(2, index).v);
    EXPECT_EQ(partners(1, 2), (std::set{at(3, 2)}));
    EXPECT_EQ(ring.peers[at(1, 2).v]->replicator.copies(), 2u);  // of 3: dimension counts controllers
    for (unsigned index = 0; index < 3; ++index) ring.leave(at(3, index).v);
    EXPECT_TRUE(partners(1, 0).empty());
}

TEST(Replicator, WaitsUntilEveryPartnerHasBeginAndRedo) {
    Ring ring(3);
    Replicator& writer = ring.join(1);
    ring.join(2);
    ring.join(3);
    OpenRecord record(writer);
    record.begin(StripeIndex(7), 0, 3, 0, bytes(2 * kBlockSize, 1));
    ring.carry_all();
    record.redo(redo_of(2));
    EXPECT_TRUE(record.waiting());
    ring.carry(1, 2);
    ring.carry(2, 1);
    EXPECT_TRUE(record.waiting());
    ring.carry_all();
    EXPECT_FALSE(record.waiting());
    EXPECT_EQ(ring.stored(2) + ring.stored(3), 2u);
    record.end(Effect::done);
    ring.carry_all();
    EXPECT_EQ(ring.stored(2) + ring.stored(3), 0u);
    EXPECT_EQ(writer.live_records(), 0u);
}

TEST(Replicator, GivesOpenRecordsToNewPartnersAndEndsThemEverywhere) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(5);
    OpenRecord record(writer);
    record.begin(StripeIndex(7), 0, 3, kBlockSize, bytes(kBlockSize, 1));
    record.redo(redo_of(2));
    ring.carry_all();
    EXPECT_FALSE(record.waiting());
    ring.join(3);  // stands before 5 in the ring
    EXPECT_TRUE(record.waiting());
    ring.carry_all();
    EXPECT_FALSE(record.waiting());
    EXPECT_EQ(ring.stored(3), 1u);
    EXPECT_EQ(ring.stored(5), 1u);
    record.end(Effect::done);
    ring.adopt();  // what was under way is lost, and said again
    ring.carry_all();
    EXPECT_EQ(ring.stored(3) + ring.stored(5), 0u);
    EXPECT_EQ(writer.live_records(), 0u);
}

TEST(Replicator, APartnerThatDiedAndCameBackInOneViewHasNothing) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(2);
    OpenRecord record(writer);
    record.begin(StripeIndex(7), 0, 3, 0, bytes(kBlockSize, 1));
    record.redo(redo_of(2));
    ring.carry_all();
    EXPECT_FALSE(record.waiting());
    ring.peers.erase(2);
    ring.join(2);  // the first view that the writer sees since
    EXPECT_TRUE(record.waiting());
    ring.carry_all();
    EXPECT_FALSE(record.waiting());
    EXPECT_EQ(ring.stored(2), 1u);
    record.end(Effect::done);
    ring.peers.erase(2);
    ring.join(2);  // it has nothing to forget
    EXPECT_EQ(writer.live_records(), 0u);
}

TEST(Replicator, WaitsWhileAnOlderRecordOfTheStripeIsLeftElsewhere) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(5);
    OpenRecord first(writer);
    first.begin(StripeIndex(7), 0, 3, 0, bytes(kBlockSize, 1));
    first.redo(redo_of(1));
    ring.carry_all();
    first.end(Effect::done);
    ring.join(3);  // the new partner; 5 still has the first record
    OpenRecord second(writer);
    OpenRecord other(writer);
    second.begin(StripeIndex(7), 0, 3, 0, bytes(kBlockSize, 2));
    second.redo(redo_of(2));
    other.begin(StripeIndex(8), 0, 3, 0, bytes(kBlockSize, 2));
    other.redo(redo_of(2));
    ring.carry(1, 3);
    ring.carry(3, 1);
    EXPECT_FALSE(other.waiting());
    EXPECT_TRUE(second.waiting()) << "5 could replay the first record over what the second wrote";
    ring.carry(1, 5);
    ring.carry(5, 1);
    EXPECT_FALSE(second.waiting());
    second.end(Effect::done);
    other.end(Effect::done);
}

TEST(Replicator, IsQuietOnlyWhenAllEndsAreAcknowledged) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(2);
    Scope scope(ring.executor);
    OpenRecord record(writer);
    record.begin(StripeIndex(7), 0, 3, 0, bytes(kBlockSize, 1));
    record.redo(redo_of(1));
    ring.carry_all();
    record.end(Effect::done);
    bool near = false, far = false, block = false, beside = false;
    scope.spawn(flag(writer.quiesced(StripeIndex(4), 4), near));
    scope.spawn(flag(writer.quiesced(StripeIndex(8), 100), far));
    scope.spawn(flag(writer.quiesced(StripeIndex(7), 1, {kBlockSize - 1, 1}), block));
    scope.spawn(flag(writer.quiesced(StripeIndex(7), 1, {kBlockSize, kBlockSize}), beside));
    ring.executor.run_until_idle();
    EXPECT_TRUE(far && beside);
    EXPECT_FALSE(near || block);
    ring.carry(1, 2);
    ring.executor.run_until_idle();
    EXPECT_FALSE(near);
    ring.carry_all();
    EXPECT_TRUE(near && block);
}

TEST(Replicator, BlocksAStripeWhoseRecordNobodyWillEnd) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(2);
    Scope scope(ring.executor);
    {
        OpenRecord dropped(writer);
        dropped.begin(StripeIndex(7), 0, 3, 0, bytes(kBlockSize, 1));
        OpenRecord ended(writer);
        ended.begin(StripeIndex(9), 0, 3, 0, bytes(kBlockSize, 1));
        ended.end(Effect::done);
    }
    bool seven = false, nine = false;
    scope.spawn(flag(writer.quiesced(StripeIndex(7), 1), seven));
    scope.spawn(flag(writer.quiesced(StripeIndex(9), 1), nine));
    ring.carry_all();
    EXPECT_FALSE(seven);
    EXPECT_TRUE(nine);
    EXPECT_EQ(ring.stored(2), 1u);
}

TEST(Replicator, GathersOrphansAndForgetsThemEverywhere) {
    Ring ring(3);
    Replicator& writer = ring.join(1);
    Replicator& second = ring.join(2);
    Replicator& third = ring.join(3);
    auto record = std::make_unique<OpenRecord>(writer);
    record->begin(StripeIndex(7), 0, 3, 0, bytes(20u << 20, 9));  // three frames
    record->redo(redo_of(2));
    ring.carry(1, 2, 2);  // not all of the data
    ring.carry(1, 3);
    EXPECT_FALSE(second.store().all().begin()->second.has_data());
    record.reset();
    ring.leave(1);
    EXPECT_EQ(second.store().orphan_stripes().size(), 1u);

    Scope scope(ring.executor);
    bool gathered = false;
    scope.spawn(flag_ok(second.gather(StripeIndex(0), 64), gathered));
    ring.adopt();  // asks again
    ring.carry_all();
    ASSERT_TRUE(gathered);
    const auto orphans = second.store().orphans(StripeIndex(7), 1);
    ASSERT_EQ(orphans.size(), 1u);
    ASSERT_TRUE(orphans[0]->complete());
    EXPECT_EQ(orphans[0]->data.bytes.size(), 20u << 20);
    EXPECT_EQ(std::to_integer<int>(orphans[0]->data.bytes.back()), 9);

    bool forgotten = false, nothing_left = false, nothing_behind = false;
    scope.spawn(flag_ok(third.forgotten(8u << 20, (8u << 20) + kBlockSize), nothing_left));
    scope.spawn(flag_ok(third.forgotten(20u << 20, (20u << 20) + kBlockSize), nothing_behind));
    ring.executor.run_until_idle();
    EXPECT_TRUE(nothing_behind);
    EXPECT_FALSE(nothing_left);
    const EndFrame end{orphans[0]->info.id, StripeIndex(7), 3};
    scope.spawn(flag_ok(second.forget({end}), forgotten));
    EXPECT_FALSE(forgotten);
    ring.carry_all();
    EXPECT_TRUE(forgotten && nothing_left);
    EXPECT_EQ(ring.stored(2) + ring.stored(3), 0u);
}

/// The numbers of the stripes whose records a replicator keeps, in the order of their names.
std::vector<std::uint64_t> stripes_of(const Replicator& replicator) {
    std::map<RecordId, std::uint64_t> stripes;
    for (const auto& [id, record] : replicator.store().all()) stripes[id] = record.info.stripe.v;
    const auto numbers = std::views::values(stripes);
    return {numbers.begin(), numbers.end()};
}

TEST(Replicator, ANewPartnerGetsOpenRecordsInTheOrderInWhichTheyBegan) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(5);
    auto first = std::make_unique<OpenRecord>(writer);
    first->begin(StripeIndex(1), 0, 3, 0, bytes(kBlockSize, 1), {}, true);
    OpenRecord second(writer);
    second.begin(StripeIndex(2), 0, 3, 0, bytes(kBlockSize, 1), {}, true);
    ring.carry_all();
    first->end(Effect::done);
    ring.carry_all();
    OpenRecord third(writer);  // in the place that the first one had
    third.begin(StripeIndex(3), 0, 3, 0, bytes(kBlockSize, 1), {}, true);
    ring.join(3);  // stands before 5 in the ring
    for (const std::size_t have : {1u, 2u}) {
        ring.carry(1, 3, 1);
        const std::vector<std::uint64_t> order{2, 3};
        EXPECT_EQ(
            stripes_of(ring.peers[3]->replicator),
            std::vector<std::uint64_t>(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(have)));
    }
    second.end(Effect::done);
    third.end(Effect::done);
}

TEST(Replicator, WhoFinishesARecordHandsOnAllOfItsWriterFirst) {
    Ring ring(3);
    Replicator& writer = ring.join(1);
    Replicator& second = ring.join(2);
    Replicator& third = ring.join(3);
    Replicator& fourth = ring.join(4);
    for (auto& [id, peer] : ring.peers) {
        peer->replicator.configure(3, RecordLimits{.stripes = 64});
        peer->replicator.keep_order();
    }
    std::vector<std::unique_ptr<OpenRecord>> records;
    for (std::uint64_t stripe = 1; stripe <= 3; ++stripe) {
        records.push_back(std::make_unique<OpenRecord>(writer));
        records.back()->begin(StripeIndex(stripe), 0, 3, 0, bytes(kBlockSize, 1), {}, true);
    }
    ring.carry(1, 2);     // has all
    ring.carry(1, 3, 1);  // has one
    records.clear();
    ring.leave(1);

    Scope scope(ring.executor);
    bool gathered = false;
    scope.spawn(flag_ok(third.gather_all(), gathered));
    ring.carry_all();
    ASSERT_TRUE(gathered);
    EXPECT_EQ(stripes_of(third), (std::vector<std::uint64_t>{1, 2, 3}));
    OpenRecord finishes(second);
    finishes.begin_recovery(*second.store().orphans(StripeIndex(3), 1).front(), 1);
    ring.carry(2, 4, 3);
    EXPECT_EQ(stripes_of(fourth), (std::vector<std::uint64_t>{1, 2, 3})) << "before the record itself";
    ring.carry_all();
    EXPECT_EQ(ring.stored(4), 4u);
    finishes.end(Effect::done);
}

/// A writer with open dirty records of 1 MiB each, whose partner is 5, until 3 joins.
struct NewPartner {
    static constexpr std::size_t kRecords = 24, kSize = 1u << 20;
    NewPartner() : ring(2), writer(ring.join(1)) {
        ring.join(5);
        while (records.size() < kRecords) begin();
        ring.carry_all();
    }
    OpenRecord& begin(bool dirty = true) {
        records.push_back(std::make_unique<OpenRecord>(writer));
        const auto number = static_cast<unsigned>(records.size());
        records.back()->begin(StripeIndex(number), 0, 3, 0, bytes(kSize, number), {}, dirty);
        return *records.back();
    }
    std::size_t on_the_way() {
        std::size_t out = 0;
        for (const Ring::Letter& letter : ring.links[{1, 3}]) {
            if (letter.epoch == ring.epoch) out += letter.message.payload.bytes.size();
        }
        return out;
    }
    /// Stripes of the records that 3 gets, in that order; carries all to and from it.
    std::vector<std::uint64_t> arrivals() {
        std::vector<std::uint64_t> out;
        std::set<std::uint64_t> seen;
        const auto look = [&] {
            for (const auto& [id, record] : ring.peers[3]->replicator.store().all()) {
                if (seen.insert(record.info.stripe.v).second) out.push_back(record.info.stripe.v);
            }
        };
        look();
        out.clear();
        while (ring.carry(1, 3, 1) != 0 || ring.carry(3, 1) != 0) look();
        return out;
    }
    Ring ring;
    Replicator& writer;
    std::vector<std::unique_ptr<OpenRecord>> records;
};

TEST(CopiesForANewPartner, GoSomeAtATimeInTheirOrder) {
    NewPartner world;
    world.ring.join(3);
    EXPECT_EQ(world.on_the_way(), Replicator::kCopyWindow);
    EXPECT_EQ(world.writer.missing().records, world.kRecords);
    EXPECT_EQ(world.writer.missing().bytes, world.kRecords * world.kSize);
    for (int i = 0; i < 3; ++i) {
        world.ring.carry(1, 3, 1);
        world.ring.carry(3, 1);
        EXPECT_EQ(world.on_the_way(), Replicator::kCopyWindow);
    }
    EXPECT_EQ(world.writer.missing().bytes, (world.kRecords - 3) * world.kSize);
    EXPECT_EQ(world.writer.missing().bytes_at_first, world.kRecords * world.kSize);
    const std::vector<std::uint64_t> got = world.arrivals();
    EXPECT_EQ(got.size(), world.kRecords - 3);
    EXPECT_TRUE(std::ranges::is_sorted(got));
    EXPECT_EQ(world.writer.missing().records, 0u);
    for (const auto& record : world.records) EXPECT_TRUE(record->stored());
    for (const auto& record : world.records) record->end(Effect::done);
    world.ring.carry_all();
    EXPECT_EQ(world.writer.live_records(), 0u);
    EXPECT_EQ(world.ring.stored(3) + world.ring.stored(5), 0u);
}

TEST(CopiesForANewPartner, AreBeforeWhatBeginsMeanwhileWhereOrderCounts) {
    for (const bool in_order : {false, true}) {
        NewPartner world;
        if (in_order) world.writer.keep_order();
        world.ring.join(3);
        OpenRecord& fresh = world.begin(false);
        fresh.redo(redo_of(1));
        EXPECT_EQ(world.on_the_way(), Replicator::kCopyWindow + (in_order ? 0 : world.kSize + kBlockSize));
        const std::vector<std::uint64_t> got = world.arrivals();
        ASSERT_EQ(got.size(), world.kRecords + 1);
        EXPECT_EQ(std::ranges::is_sorted(got), in_order);
        world.ring.carry_all();
        EXPECT_FALSE(fresh.waiting());
        EXPECT_EQ(world.ring.peers[3]->replicator.counters().refused, 0u) << "a redo without its begin";
        for (const auto& record : world.records) record->end(Effect::done);
    }
}

TEST(CopiesForANewPartner, AreNotOfWhatEndsBefore) {
    NewPartner world;
    world.ring.join(3);
    for (std::size_t i = 0; i < world.kRecords; i += 2) world.records[i]->end(Effect::done);
    OpenRecord& last = *world.records.back();
    last.redo(redo_of(1));
    world.ring.carry_all();
    EXPECT_FALSE(last.waiting());
    EXPECT_EQ(world.ring.peers[3]->replicator.counters().refused, 0u);
    EXPECT_EQ(world.ring.stored(3), world.kRecords / 2);
    EXPECT_EQ(world.writer.counters().ended, world.kRecords / 2);
    EXPECT_EQ(world.writer.live_records(), world.kRecords / 2);
    for (std::size_t i = 1; i < world.kRecords; i += 2) world.records[i]->end(Effect::done);
    world.ring.carry_all();
    EXPECT_EQ(world.writer.live_records(), 0u);
}

TEST(CopiesForANewPartner, GoOnInTheNextViewWhateverWasOnItsWay) {
    NewPartner world;
    world.ring.join(3);
    world.ring.carry(1, 3, 2);
    world.ring.adopt();
    EXPECT_EQ(world.on_the_way(), Replicator::kCopyWindow);
    world.ring.carry(1, 3, 4);
    world.ring.carry(3, 1);
    world.ring.leave(3);
    EXPECT_TRUE(std::ranges::all_of(world.records, [](const auto& record) { return record->stored(); }));
    world.ring.join(3);
    world.ring.carry_all();
    EXPECT_EQ(world.ring.stored(3), world.kRecords);
    EXPECT_EQ(world.writer.missing().records, 0u);
    for (const auto& record : world.records) record->end(Effect::done);
}

TEST(Orphans, AreFetchedSomeAtATime) {
    NewPartner world;
    Ring& ring = world.ring;
    auto beside = std::make_unique<OpenRecord>(world.writer);  // of the stripe that ends the first part
    beside->begin(StripeIndex(8), 0, 3, 0, bytes(world.kSize, 1), {}, true);
    ring.carry_all();
    ring.join(3);
    ring.join(4);
    world.records.clear();
    beside.reset();
    ring.leave(1);
    Scope scope(ring.executor);
    bool gathered = false;
    scope.spawn(flag_ok(ring.peers[3]->replicator.gather(StripeIndex(0), 1u << 20), gathered));
    ring.executor.run_until_idle();
    ring.carry(3, 4);
    ring.carry(4, 3);
    ring.carry(3, 5);
    for (const std::size_t had : {9u, 17u, 25u}) {
        ring.carry(5, 3);
        ring.executor.run_until_idle();
        EXPECT_EQ(ring.stored(3), had);
        EXPECT_EQ(gathered, had == 25);
        ring.carry(3, 5);
    }
}

TEST(Replicator, KnowsWhatHasLeft) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(2);
    OpenRecord record(writer);
    record.begin(StripeIndex(1), 0, 3, 0, bytes(9u << 20, 1), {}, true, true);  // two frames
    auto& link = ring.links[{1, 2}];
    ASSERT_EQ(link.size(), 2u);
    EXPECT_TRUE(link.front().message.receipt.empty());
    ASSERT_FALSE(link.back().message.receipt.empty());
    EXPECT_FALSE(record.sent());
    const Message receipt{kGroup, MessageType::record_sent, link.back().message.receipt, {}};
    writer.deliver(AmfId(2), receipt);
    EXPECT_TRUE(record.sent());
    EXPECT_FALSE(record.stored());
    ring.adopt();
    EXPECT_FALSE(record.sent()) << "what was under way is lost";
    ring.carry_all();
    EXPECT_TRUE(record.sent());
    record.end(Effect::done);
}

TEST(Replicator, IsFencedWhenItLeavesTheView) {
    Ring ring(2);
    Replicator& writer = ring.join(1);
    ring.join(2);
    OpenRecord record(writer);
    record.begin(StripeIndex(1), 0, 3, 0, bytes(kBlockSize, 1));
    record.redo(redo_of(1));
    writer.adopt(AmfView{Epoch(99), AmfId(1), {{AmfId(2), Incarnation(2)}}});
    EXPECT_FALSE(record.waiting());
    EXPECT_TRUE(record.fenced());
}

TEST(Replicator, RefusesRecordsOfTheLivingFromOthers) {
    Ring ring(2);
    Replicator& target = ring.join(1);
    ring.join(2);
    ring.join(3);
    const RecordId id{AmfId(2), ring.peers[2]->incarnation, 1};
    const BeginFrame frame{{id, id, 0, StripeIndex(1), 0, 3, 0, kBlockSize}, 0, bytes(kBlockSize, 1)};
    target.deliver(AmfId(3), encode(kGroup, frame));
    EXPECT_EQ(ring.stored(1), 0u);
    EXPECT_EQ(target.counters().refused, 1u);
    target.deliver(AmfId(2), encode(kGroup, frame));
    EXPECT_EQ(ring.stored(1), 1u);
}

TEST(RecordFrames, ComeBackAsTheyWere) {
    const RecordId id{AmfId(3), Incarnation(9), 77};
    const RecordId root{AmfId(4), Incarnation(8), 66};
    const BeginFrame begin{{id, root, 2, StripeIndex(5), 40960, 3, 8192, 4096}, 0, bytes(4096, 1)};
    const auto back = decode_begin(encode(kGroup, begin), {});
    ASSERT_TRUE(back);
    EXPECT_EQ(back->info, begin.info);
    const RedoFrame redo{id, {5, 4096, 8192, bytes(16384, 2)}};
    const auto redo_back = decode_redo(encode(kGroup, redo), {});
    ASSERT_TRUE(redo_back);
    EXPECT_EQ(redo_back->redo.parities, 5);
    EXPECT_EQ(redo_back->id, id);
    EXPECT_TRUE(decode_end(encode(kGroup, EndFrame{id, StripeIndex(1), 3, true}))->done);
    EXPECT_EQ(decode_ack(encode(kGroup, AckFrame{id, AckedPart::ended}))->part, AckedPart::ended);
    EXPECT_EQ(decode_fetch(encode(kGroup, FetchFrame{3, StripeIndex(4), 5}))->count, 5u);
    EXPECT_EQ(decode_fetched(encode(kGroup, FetchedFrame{12, StripeIndex(7)}))->ticket, 12u);
    EXPECT_EQ(decode_fetched(encode(kGroup, FetchedFrame{12, StripeIndex(7)}))->next, StripeIndex(7));
}

TEST(RecordFrames, AreRefusedOutsideTheGroupsLimits) {
    const RecordLimits limits{100, 65536, 16384, 2, 100 * 65536};
    std::uint64_t base = 99 * 65536;
    const RecordId id{AmfId(3), Incarnation(9), 77};
    const auto begin = [&](std::uint64_t stripe, std::uint32_t offset, std::uint32_t length,
                           std::size_t payload) {
        const BeginFrame frame{
            {id, id, 0, StripeIndex(stripe), base, 3, offset, length}, 0, bytes(payload, 1)};
        return decode_begin(encode(kGroup, frame), limits).has_value();
    };
    EXPECT_TRUE(begin(99, 61440, 4096, 4096));
    EXPECT_FALSE(begin(100, 61440, 4096, 4096));
    EXPECT_FALSE(begin(99, 65536, 4096, 4096));
    EXPECT_FALSE(begin(99, 0xfffff000, 4096, 4096));
    EXPECT_FALSE(begin(99, 0, 4097, 4097));
    EXPECT_FALSE(begin(99, 512, 4096, 4096));
    EXPECT_FALSE(begin(99, 0, 8192, 4096));
    EXPECT_FALSE(begin(99, 0, 0, 0));
    base += 4096;
    EXPECT_TRUE(begin(99, 57344, 4096, 4096));
    EXPECT_FALSE(begin(99, 61440, 4096, 4096));
    base = 512;
    EXPECT_FALSE(begin(99, 0, 4096, 4096));
    base = ~0ull - 4095;
    EXPECT_FALSE(begin(99, 0, 4096, 4096));
    const auto redo = [&](unsigned parities, std::uint32_t at, std::uint32_t length, std::size_t payload) {
        const RedoFrame frame{id, {static_cast<std::uint8_t>(parities), at, length, bytes(payload, 1)}};
        return decode_redo(encode(kGroup, frame), limits).has_value();
    };
    EXPECT_TRUE(redo(3, 12288, 4096, 8192));
    EXPECT_TRUE(redo(0, 0, 16384, 0));
    EXPECT_FALSE(redo(4, 0, 4096, 4096));
    EXPECT_FALSE(redo(3, 16384, 4096, 8192));
    EXPECT_FALSE(redo(3, 0, 4096, 4096));
    EXPECT_FALSE(redo(1, 0xfffff000, 8192, 8192));
}

}  // namespace
}  // namespace braid
