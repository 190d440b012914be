#include <gtest/gtest.h>

#include "base/prng.h"
#include "replica/testing.h"

namespace braid {
namespace {

using namespace testing;

const ControllerStart kOutside{ControllerId(9), Incarnation(4)};

Errand errand(std::uint64_t number, std::uint64_t watermark = 1) { return {kOutside, number, watermark}; }

struct Nowhere final : Transport {
    void send(AmfId, Message) override {}
};

struct Alone {
    Executor executor;
    Nowhere nowhere;
    Completions completions{executor, nowhere, kGroup};
    Alone() { completions.keep(std::array{kOutside}); }
};

/// A record of 2 blocks at the begin of stripe 7, whole at all partners.
std::unique_ptr<OpenRecord> written(Ring& ring, std::uint16_t writer, const Errand& errand) {
    auto record = std::make_unique<OpenRecord>(ring.peers[writer]->replicator);
    record->begin(StripeIndex(7), 0, 3, 0, bytes(2 * kBlockSize, 1), errand);
    record->redo(redo_of(2));
    ring.carry_all();
    return record;
}

std::size_t known(Ring& ring, std::uint16_t id) { return ring.peers[id]->replicator.completions().size(); }

Task<void> keep(Task<Result<Completions::Run>> task, std::optional<Completions::Run>& out) {
    const Result<Completions::Run> result = co_await std::move(task);
    if (result) out = *result;
}

bool all_known(const Completions& c, const Completion& bytes) {
    const Completions::Run run = c.knows(bytes);
    return run.known && run.end == bytes.end;
}

/// Whether `id` finds that the first `length` bytes of stripe 7 were done before.
std::optional<bool> asks(Ring& ring, std::uint16_t id, const Errand& errand,
                         std::uint32_t length = 2 * kBlockSize) {
    std::optional<Completions::Run> out;
    Scope scope(ring.executor);
    scope.spawn(keep(ring.peers[id]->replicator.done_before({errand, 0, length}), out));
    ring.executor.run_until_idle();
    ring.carry_all();
    return out ? std::optional(out->known && out->end == length) : std::nullopt;
}

TEST(Completions, KnowBytesWhenAllOfThemAreDone) {
    Alone alone;
    Completions& c = alone.completions;
    c.note({errand(5), 100, 200});
    c.note({errand(5), 300, 400});
    EXPECT_TRUE(all_known(c, {errand(5), 120, 200}));
    EXPECT_FALSE(all_known(c, {errand(5), 100, 201}));
    EXPECT_FALSE(all_known(c, {errand(5), 99, 150}));
    EXPECT_FALSE(all_known(c, {errand(5), 150, 350}));
    EXPECT_FALSE(all_known(c, {errand(6), 100, 200}));
    EXPECT_EQ(c.size(), 2u);
    c.note({errand(5), 200, 300});
    EXPECT_TRUE(all_known(c, {errand(5), 100, 400}));
    EXPECT_EQ(c.size(), 1u);
}

TEST(Completions, SayHowFarBytesAreKnownOrNot) {
    Alone alone;
    Completions& c = alone.completions;
    c.note({errand(5), 100, 200});
    c.note({errand(5), 300, 400});
    const auto run = [&](std::uint64_t begin, std::uint64_t end) {
        const Completions::Run found = c.knows({errand(5), begin, end});
        return std::pair(found.known, found.end);
    };
    EXPECT_EQ(run(120, 350), std::pair(true, std::uint64_t{200}));
    EXPECT_EQ(run(120, 150), std::pair(true, std::uint64_t{150}));
    EXPECT_EQ(run(200, 350), std::pair(false, std::uint64_t{300}));
    EXPECT_EQ(run(50, 90), std::pair(false, std::uint64_t{90}));
    EXPECT_EQ(run(50, 100), std::pair(false, std::uint64_t{100}));
    EXPECT_EQ(run(400, 500), std::pair(false, std::uint64_t{500}));
}

TEST(Completions, AreTheUnionOfWhatWasNoted) {
    Prng prng(5);
    for (int round = 0; round < 200; ++round) {
        Alone alone;
        std::vector<bool> model(64);
        for (int i = 0; i < 12; ++i) {
            const std::uint64_t begin = prng.below(60), end = begin + 1 + prng.below(4);
            alone.completions.note({errand(1), begin, end});
            for (std::uint64_t at = begin; at < end; ++at) model[at] = true;
        }
        std::size_t runs = 0;
        for (std::size_t at = 0; at < 64; ++at) {
            EXPECT_EQ(all_known(alone.completions, {errand(1), at, at + 1}), model[at]);
            runs += model[at] && (at == 0 || !model[at - 1]) ? 1 : 0;
        }
        EXPECT_EQ(alone.completions.size(), runs);
    }
}

TEST(Completions, GoWhenTheWatermarkHasPassedThem) {
    Alone alone;
    Completions& c = alone.completions;
    for (std::uint64_t number = 1; number <= 1000; ++number) {
        c.note({errand(number, number < 10 ? 1 : number - 9), 0, 8});
        EXPECT_LE(c.size(), 10u);
    }
    EXPECT_FALSE(all_known(c, {errand(990), 0, 8}));
    EXPECT_TRUE(all_known(c, {errand(991), 0, 8}));
    c.note({errand(3), 0, 8});  // told late
    EXPECT_FALSE(all_known(c, {errand(3), 0, 8}));
}

TEST(Completions, GoWithTheStartOfTheirController) {
    Alone alone;
    const Errand other{{ControllerId(9), Incarnation(5)}, 1, 1};
    alone.completions.keep(std::array{kOutside, other.who});
    alone.completions.note({errand(1), 0, 8});
    alone.completions.note({other, 0, 8});
    const std::array alive = {other.who};
    alone.completions.keep(alive);
    EXPECT_FALSE(all_known(alone.completions, {errand(1), 0, 8}));
    EXPECT_TRUE(all_known(alone.completions, {other, 0, 8}));
}

TEST(Completions, StayWithWriterAndPartnersWhenTheRecordEnds) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 3; ++id) ring.join(id).completions().keep(std::array{kOutside});
    const auto record = written(ring, 1, errand(5));
    EXPECT_EQ(known(ring, 1) + known(ring, 2), 0u);
    record->end(Effect::done);
    ring.carry_all();
    EXPECT_EQ(known(ring, 1), 1u);
    EXPECT_EQ(known(ring, 2), 1u);
    EXPECT_EQ(known(ring, 3), 0u);
    EXPECT_EQ(asks(ring, 3, errand(5)), true);
    EXPECT_EQ(asks(ring, 3, errand(5), 3 * kBlockSize), false);
    EXPECT_EQ(asks(ring, 3, errand(6)), false);
    EXPECT_EQ(known(ring, 3), 1u);  // what it was told it remembers
}

TEST(Completions, AreNoneOfARecordWithoutEffectOrWithoutErrand) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 2; ++id) ring.join(id).completions().keep(std::array{kOutside});
    const auto nothing = written(ring, 1, errand(5));
    nothing->end(Effect::none);
    const auto own = written(ring, 1, {});
    own->end(Effect::done);
    ring.carry_all();
    EXPECT_EQ(known(ring, 1) + known(ring, 2), 0u);
    EXPECT_EQ(asks(ring, 2, errand(5)), false);
}

TEST(Completions, ComeFromWhoeverFinishesADeadWritersRecord) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 3; ++id) ring.join(id).completions().keep(std::array{kOutside});
    auto record = written(ring, 1, errand(5));
    record.reset();
    ring.leave(1);
    const auto orphans = ring.peers[2]->replicator.store().orphans(StripeIndex(7), 1);
    ASSERT_EQ(orphans.size(), 1u);
    OpenRecord again(ring.peers[2]->replicator);
    again.begin_recovery(*orphans.front(), 1);
    again.redo(redo_of(2));
    ring.carry_all();
    EXPECT_EQ(asks(ring, 3, errand(5)), false);
    again.end(Effect::done);
    ring.carry_all();
    EXPECT_EQ(known(ring, 2), 1u);
    EXPECT_EQ(known(ring, 3), 1u);  // its partner
}

TEST(Completions, AreHandedOnWhenTheViewChanges) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 3; ++id) ring.join(id).completions().keep(std::array{kOutside});
    const auto record = written(ring, 1, errand(5));
    record->end(Effect::done);
    ring.carry_all();
    ring.leave(1);
    bool handed = false;
    Scope scope(ring.executor);
    scope.spawn(flag(ring.peers[2]->replicator.completions().handed_on(), handed));
    ring.executor.run_until_idle();
    EXPECT_FALSE(handed);
    ring.carry_all();
    EXPECT_TRUE(handed);
    ring.leave(2);
    EXPECT_EQ(asks(ring, 3, errand(5)), true);
}

TEST(Completions, AreAskedForAgainInANewView) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 3; ++id) ring.join(id).completions().keep(std::array{kOutside});
    const auto record = written(ring, 1, errand(5));
    record->end(Effect::done);
    ring.carry_all();
    std::optional<Completions::Run> answer;
    Scope scope(ring.executor);
    scope.spawn(keep(ring.peers[3]->replicator.done_before({errand(5), 0, kBlockSize}), answer));
    ring.executor.run_until_idle();
    ring.carry(3, 1);
    ring.carry(1, 3);
    EXPECT_FALSE(answer);  // 2 has not answered
    ring.leave(1);         // and what is under way to it is lost
    ring.carry_all();
    EXPECT_TRUE(answer && answer->known);
}

TEST(Completions, AreToldInSeveralFramesIfThereAreMany) {
    Ring ring(2);
    for (std::uint16_t id = 1; id <= 2; ++id) ring.join(id).completions().keep(std::array{kOutside});
    const std::uint64_t many = CompletionTell::kMost + 10;
    for (std::uint64_t number = 1; number <= many; ++number)
        ring.peers[1]->replicator.completions().note({errand(number), 0, 8});
    ring.adopt();
    ring.carry_all();
    EXPECT_EQ(known(ring, 2), many);
}

TEST(CompletionFrames, ComeBackAndAreRefusedCutShort) {
    const CompletionAsk ask{7, {errand(5, 3), 4096, 8192}};
    const auto asked = decode_completion_ask(encode(kGroup, ask));
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->ticket, 7u);
    EXPECT_EQ(asked->about, ask.about);
    ASSERT_TRUE(decode_completion_ask(encode(kGroup, CompletionAsk{8, {}})));
    EXPECT_FALSE(decode_completion_ask(encode(kGroup, CompletionAsk{0, {}})));
    EXPECT_FALSE(decode_completion_ask(encode(kGroup, CompletionAsk{8, {errand(5), 9, 9}})));
    EXPECT_FALSE(decode_completion_ask(encode(kGroup, CompletionAsk{8, {errand(5, 6), 9, 10}})));
    const CompletionTell tell{7, {{errand(5), 1, 2}, {errand(6), 3, 4}}};
    Message message = encode(kGroup, tell);
    const auto told = decode_completion_tell(message);
    ASSERT_TRUE(told);
    EXPECT_EQ(told->known, tell.known);
    message.head.pop_back();
    EXPECT_FALSE(decode_completion_tell(message));
    message = encode(kGroup, CompletionTell{7, {}});
    message.head[8 + 2] = std::byte{1};  // 65536 of them
    EXPECT_FALSE(decode_completion_tell(message));
}

}  // namespace
}  // namespace braid
