// Both halves, joined by messages that the test carries, loses and repeats.
#include <gtest/gtest.h>

#include <deque>

#include "forward/forward_client.h"
#include "forward/forward_server.h"
#include "forward/forwarded_space.h"
#include "icl/testing.h"
#include "volume/memory_space.h"

namespace braid {
namespace {

const Uuid kGroup{{7}};
constexpr ControllerId kOutside{9};
constexpr std::size_t kSize = 32u << 20;

struct Sent {
    AmfId from, to;
    Message message;
};

/// What one end says goes into the common queue.
struct Mouth final : Transport {
    Mouth(std::deque<Sent>& q, AmfId id) : queue(q), self(id) {}
    void send(AmfId to, Message message) override { queue.push_back({self, to, std::move(message)}); }
    std::deque<Sent>& queue;
    AmfId self;
};

/// An AMF that shares the group, all of them over the same memory.
struct Sharer {
    Sharer(Executor& executor, std::deque<Sent>& queue, AmfId id)
        : mouth(queue, id),
          space(executor, kSize),
          server(executor, space, mouth, kGroup,
                 [this](std::string_view who, VolumeId volume) { return find(who, volume); }) {}
    Result<ForwardServer::Place> find(std::string_view who, VolumeId volume) const {
        if (!knows || who != "out" || volume != VolumeId(1)) return fail(Errc::not_ready);
        return ForwardServer::Place{kBlockSize, kSize - kBlockSize};
    }
    Mouth mouth;
    MemorySpace space;
    bool knows = true;
    ForwardServer server;
};

class Forward : public ::testing::Test {
protected:
    void SetUp() override { view({1, 2}); }

    /// A view of these sharers; what is under way between them is lost. `start`: of the controller outside.
    void view(std::vector<std::uint16_t> sharers, std::uint64_t start = 1) {
        queue_.clear();
        AmfView v{Epoch(++epoch_), amf_id(kOutside), {}};
        for (const std::uint16_t id : sharers)
            v.members.push_back({AmfId(id), Incarnation(incarnations_[id])});
        for (auto& [id, sharer] : sharers_) sharer.server.adopt({{kOutside, Incarnation(start), "out"}});
        client_.adopt(v);
        run();
    }
    /// Delivers until nothing is left, except what `keep` wants to keep.
    void deliver(const std::function<bool(const Sent&)>& keep = {}) {
        run();
        std::deque<Sent> kept;
        while (!queue_.empty()) {
            Sent sent = std::move(queue_.front());
            queue_.pop_front();
            if (keep && keep(sent)) {
                kept.push_back(std::move(sent));
            } else if (sent.to == amf_id(kOutside)) {
                client_.deliver(sent.from, std::move(sent.message));
            } else {
                sharers_.at(sent.to.v).server.deliver(sent.from, sent.message);
            }
            run();
        }
        queue_ = std::move(kept);
    }
    void run() { executor_.run_until_idle(); }
    static bool is_reply(const Sent& sent) { return sent.message.type == MessageType::forward_reply; }

    Task<void> into(Task<Status> task, std::optional<Status>& out) { out = co_await std::move(task); }
    void begin(Task<Status> task, std::optional<Status>& out) { scope_.spawn(into(std::move(task), out)); }
    void write(std::uint64_t at, std::size_t size, std::byte with, std::optional<Status>& out) {
        Buffer data(size);
        std::ranges::fill(data.span(), with);
        begin(space_.write(at, Slice(data), false), out);
    }
    Sharer& sharer(AmfId id) { return sharers_.at(id.v); }
    AmfId first() const { return *client_.first_choice(); }
    AmfId second() const { return first() == AmfId(1) ? AmfId(2) : AmfId(1); }

    Executor executor_;
    testing::ManualClock clock_{executor_};
    std::deque<Sent> queue_;
    std::uint64_t epoch_ = 0;
    std::map<std::uint16_t, std::uint64_t> incarnations_{{1, 1}, {2, 1}};
    std::map<std::uint16_t, Sharer> sharers_ = [this] {
        std::map<std::uint16_t, Sharer> out;
        for (const std::uint16_t id : {std::uint16_t{1}, std::uint16_t{2}})
            out.emplace(std::piecewise_construct, std::forward_as_tuple(id),
                        std::forward_as_tuple(executor_, queue_, AmfId(id)));
        return out;
    }();
    Mouth mouth_{queue_, amf_id(kOutside)};
    Semaphore budget_{executor_, ForwardClient::kBudget};
    ForwardClient client_{executor_, clock_, mouth_, kGroup, budget_};
    ForwardedSpace space_{client_, VolumeId(1)};
    Scope scope_{executor_};
};

}  // namespace

TEST_F(Forward, ReadsWhatItWroteAtThePlaceOfTheVirtualDisk) {
    std::optional<Status> wrote, read;
    write(5, 3000, std::byte{0x5a}, wrote);
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(first()).space.bytes()[kBlockSize + 5], std::byte{0x5a});
    EXPECT_EQ(sharer(first()).space.bytes()[kBlockSize + 4], std::byte{0});
    const Buffer seen(3000);
    begin(space_.read(5, seen.span()), read);
    deliver();
    ASSERT_TRUE(read && *read);
    EXPECT_EQ(seen.data()[2999], std::byte{0x5a});
    EXPECT_EQ(client_.open(), 0u);
    EXPECT_EQ(budget_.free(), ForwardClient::kBudget);
}

TEST_F(Forward, TellsWhichExtentsHaveAZone) {
    std::optional<Status> asked;
    std::vector<AllocationRun> runs;
    std::size_t most = 3;
    AllocationDetail detail = AllocationDetail::blocks;
    const auto ask = [&]() -> Task<Status> {
        CO_TRY_LET(runs, co_await space_.allocation(0, 5 * kBlockSize, most, detail));
        co_return Status{};
    };
    begin(ask(), asked);
    deliver();
    ASSERT_TRUE(asked && *asked);
    EXPECT_EQ(runs, (std::vector<AllocationRun>{{5 * kBlockSize, true}}));
    sharer(first()).space.allocate(0, 1);
    begin(ask(), asked);
    deliver();
    EXPECT_EQ(runs, (std::vector<AllocationRun>{{5 * kBlockSize, false}}));
    begin(space_.write_zeroes(kBlockSize, kBlockSize, true, false), asked);
    deliver();
    begin(ask(), asked);
    deliver();
    const std::vector<AllocationRun> parts{{kBlockSize, false}, {kBlockSize, true}, {3 * kBlockSize, false}};
    EXPECT_EQ(runs, parts);
    most = 2;
    begin(ask(), asked);
    deliver();
    EXPECT_EQ(runs, std::vector(parts.begin(), parts.begin() + 2));
    detail = AllocationDetail::extents;
    begin(ask(), asked);
    deliver();
    EXPECT_EQ(runs, (std::vector<AllocationRun>{{5 * kBlockSize, false}}));
}

TEST_F(Forward, CutsWhatIsLargerThanAMessageBetweenBlocks) {
    std::optional<Status> wrote, read;
    write(100, 20u << 20, std::byte{3}, wrote);
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(first()).space.writes, 3u);
    const Buffer seen(20u << 20);
    begin(space_.read(100, seen.span()), read);
    deliver();
    ASSERT_TRUE(read && *read);
    EXPECT_TRUE(std::ranges::all_of(seen.span(), [](std::byte b) { return b == std::byte{3}; }));
}

TEST_F(Forward, AsksTheSameAgainInANewViewAndItIsDoneOnce) {
    std::optional<Status> wrote;
    write(0, 512, std::byte{1}, wrote);
    deliver(is_reply);
    view({1, 2});
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(first()).space.writes, 1u);
    EXPECT_EQ(sharer(second()).space.writes, 0u);
    EXPECT_EQ(client_.counters().asked_again, 1u);
    EXPECT_EQ(sharer(first()).server.counters().repeated, 1u);
}

TEST_F(Forward, AnOperationAtWorkIsNotBegunAgainAndAnswersInTheNewView) {
    std::optional<Status> wrote;
    sharer(first()).space.hold();
    write(0, 512, std::byte{1}, wrote);
    deliver();
    view({1, 2});
    deliver();
    EXPECT_FALSE(wrote);
    sharer(first()).space.release();
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(first()).space.writes, 1u);
}

TEST_F(Forward, AsksAnotherOneOnlyWhenTheFirstHasLeft) {
    std::optional<Status> wrote;
    const AmfId a = first(), b = second();
    sharer(a).space.hold();
    write(0, 512, std::byte{1}, wrote);
    deliver();
    view({1, 2});
    deliver();
    EXPECT_EQ(sharer(b).space.writes, 0u);
    view({b.v});
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(b).space.writes, 1u);
    EXPECT_EQ(client_.counters().moved, 1u);
}

TEST_F(Forward, ANewStartOfTheFirstIsAnotherOne) {
    std::optional<Status> wrote;
    const AmfId a = first();
    sharer(a).space.hold();
    write(0, 512, std::byte{1}, wrote);
    deliver();
    ++incarnations_[a.v];
    view({1, 2});
    EXPECT_EQ(client_.counters().moved, 1u);
    EXPECT_EQ(client_.counters().asked_again, 0u);
    sharer(a).space.release();
    deliver();
}

TEST_F(Forward, AnAnswerCountsOnlyFromWhoHasTheOperationInHand) {
    std::optional<Status> wrote;
    write(0, 512, std::byte{1}, wrote);
    run();
    client_.deliver(second(), encode(kGroup, ForwardReply{1, {}, {}}));
    run();
    EXPECT_FALSE(wrote);
    deliver();
    EXPECT_TRUE(wrote && *wrote);
}

TEST_F(Forward, RemembersAWriteUntilItsEndIsKnownThere) {
    std::optional<Status> one, two;
    write(0, 512, std::byte{1}, one);
    deliver(is_reply);  // its answer waits
    write(512, 512, std::byte{2}, two);
    deliver(is_reply);
    view({1, 2});
    deliver();
    ASSERT_TRUE(one && *one && two && *two);
    EXPECT_EQ(sharer(first()).space.writes, 2u);
}

TEST_F(Forward, WhatIsRefusedIsAskedOfTheNextOne) {
    std::optional<Status> wrote;
    sharer(first()).knows = false;
    write(0, 512, std::byte{1}, wrote);
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(second()).space.writes, 1u);
    EXPECT_EQ(client_.counters().refused, 1u);
}

/// The question of the new view is on its way to the first one when that refuses what it has from the old
/// one.
TEST_F(Forward, IsNotAtWorkInTwoWhenItIsRefusedInANewView) {
    std::optional<Status> wrote;
    const AmfId a = first(), b = second();
    sharer(a).space.hold();
    write(0, 512, std::byte{1}, wrote);
    deliver();
    view({1, 2});
    sharer(a).space.fail_with(fail(Errc::offline));
    sharer(a).space.release();
    run();
    sharer(a).space.fail_with(Status{});
    deliver([&](const Sent& sent) { return sent.to == a; });
    EXPECT_FALSE(wrote);
    EXPECT_EQ(sharer(b).space.writes, 0u);
    deliver();
    ASSERT_TRUE(wrote && *wrote);
    EXPECT_EQ(sharer(a).space.writes, 2u);
    EXPECT_EQ(sharer(b).space.writes, 0u);
}

TEST_F(Forward, AnErrorOfTheDisksIsAnswerEnoughWhenAllHaveIt) {
    std::optional<Status> one, two;
    sharer(first()).space.fail_with(fail(Errc::media_error));
    write(0, 512, std::byte{1}, one);
    deliver();
    EXPECT_TRUE(one && *one);
    sharer(second()).space.fail_with(fail(Errc::media_error));
    write(0, 512, std::byte{1}, two);
    deliver();
    ASSERT_TRUE(two && !*two);
    EXPECT_EQ(two->error().code, Errc::media_error);
}

TEST_F(Forward, WaitsForSomebodyAndThenIsNotReady) {
    std::optional<Status> one, two;
    view({});
    write(0, 512, std::byte{1}, one);
    clock_.advance(4s);
    EXPECT_FALSE(one);
    view({1});
    deliver();
    EXPECT_TRUE(one && *one);
    view({});
    write(0, 512, std::byte{1}, two);
    clock_.advance(6s);
    ASSERT_TRUE(two && !*two);
    EXPECT_EQ(two->error().code, Errc::not_ready);
    EXPECT_EQ(client_.counters().given_up, 1u);
}

TEST_F(Forward, EverybodyRefusesForAsLongAsSomebodyIsWaitedFor) {
    std::optional<Status> wrote;
    sharer(AmfId(1)).knows = sharer(AmfId(2)).knows = false;
    write(0, 512, std::byte{1}, wrote);
    for (int i = 0; i < 700 && !wrote; ++i) {
        deliver();
        clock_.advance(10ms);
    }
    ASSERT_TRUE(wrote && !*wrote);
    EXPECT_EQ(wrote->error().code, Errc::not_ready);
    EXPECT_GT(client_.counters().refused, 100u);
}

TEST_F(Forward, NothingIsBegunForAStartThatIsNotInTheView) {
    std::optional<Status> wrote;
    write(0, 512, std::byte{1}, wrote);
    run();
    const Message late = queue_.front().message;
    Sharer& at = sharer(first());
    at.server.adopt({});
    at.server.deliver(amf_id(kOutside), late);
    run();
    EXPECT_EQ(at.space.writes, 0u);
    EXPECT_FALSE(at.server.serves(kOutside, Incarnation(1)));
}

TEST_F(Forward, DrainedWaitsForWhatAnEarlierStartHadBegun) {
    std::optional<Status> wrote, drained;
    Sharer& at = sharer(first());
    at.space.hold();
    write(0, 512, std::byte{1}, wrote);
    deliver();
    view({1, 2}, 5);
    begin(at.server.drained("out", VolumeId(1)), drained);
    run();
    EXPECT_FALSE(drained);
    EXPECT_TRUE(at.server.serves(kOutside, Incarnation(1)));
    at.space.release();
    run();
    EXPECT_TRUE(drained);
    EXPECT_FALSE(at.server.serves(kOutside, Incarnation(1)));
}

TEST_F(Forward, RefusesWhatLiesBeyondTheVirtualDisk) {
    std::optional<Status> wrote;
    write(kSize - kBlockSize - 100, 512, std::byte{1}, wrote);
    deliver();
    ASSERT_TRUE(wrote && !*wrote);
    EXPECT_EQ(wrote->error().code, Errc::invalid);
    EXPECT_EQ(sharer(first()).space.writes, 0u);
}

TEST_F(Forward, KeepsItsBudgetAndGoesOnWhenThereIsRoom) {
    std::vector<std::optional<Status>> all(12);
    sharer(first()).space.hold();
    for (auto& one : all) write(0, 8u << 20, std::byte{1}, one);
    deliver();
    EXPECT_EQ(client_.open(), 8u);
    sharer(first()).space.release();
    deliver();
    EXPECT_TRUE(std::ranges::all_of(all, [](const auto& one) { return one && *one; }));
}

TEST(ForwardFrames, ComeBackAndAreRefusedCutShort) {
    ForwardRequest request;
    request.type = MessageType::forward_write;
    request.number = 7;
    request.watermark = 3;
    request.volume = VolumeId(4);
    request.offset = 12345;
    request.length = 512;
    request.fua = true;
    request.data = Slice(Buffer::zeroed(512));
    Message message = encode(kGroup, request);
    const auto again = decode_forward_request(message);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->number, 7u);
    EXPECT_EQ(again->watermark, 3u);
    EXPECT_EQ(again->offset, 12345u);
    EXPECT_TRUE(again->fua);
    Message longer = message;
    longer.payload = Slice(Buffer::zeroed(513));
    EXPECT_FALSE(decode_forward_request(longer));
    message.head.pop_back();
    EXPECT_FALSE(decode_forward_request(message));

    request.type = MessageType::forward_read;
    request.data = {};
    message = encode(kGroup, request);
    message.head[28 + 3] = std::byte{1};  // 16 MiB
    EXPECT_FALSE(decode_forward_request(message));

    request.type = MessageType::forward_allocation;
    request.fua = false;
    request.length = 100 * kExtentSize;
    request.runs = 3;
    request.detail = AllocationDetail::blocks;
    message = encode(kGroup, request);
    ASSERT_TRUE(decode_forward_request(message));
    EXPECT_EQ(decode_forward_request(message)->runs, 3u);
    EXPECT_EQ(decode_forward_request(message)->detail, AllocationDetail::blocks);
    message.head[37] = std::byte{0};  // no run at all
    EXPECT_FALSE(decode_forward_request(message));

    const std::vector<AllocationRun> runs{{100, true}, {kExtentSize, false}, {1, true}};
    const Buffer data = encode(runs);
    EXPECT_EQ(data.size(), request.answer_size());
    EXPECT_EQ(*decode_runs(data.span(), request), runs);
    EXPECT_FALSE(decode_runs(data.span(0, 26), request));
    EXPECT_FALSE(decode_runs({}, request));
    EXPECT_FALSE(decode_runs(encode({{100, true}, {1, true}}).span(), request)) << "not joined";
    EXPECT_FALSE(decode_runs(encode({{0, true}}).span(), request));
    EXPECT_FALSE(decode_runs(encode({{100 * kExtentSize, true}, {1, false}}).span(), request))
        << "beyond the range";
    EXPECT_FALSE(decode_runs(encode({{1, true}, {1, false}, {1, true}, {1, false}}).span(), request));

    const ForwardPorts list{5, kGroup, "g", {{"out", outside_slot(2), VolumeId(1), "v", 4096, true}}};
    const auto ports = decode_forward_ports(encode(list));
    ASSERT_TRUE(ports);
    EXPECT_EQ(ports->ports, list.ports);
    Message cut = encode(list);
    cut.head.pop_back();
    EXPECT_FALSE(decode_forward_ports(cut));

    Message reply = encode(kGroup, ForwardReply{9, fail(Errc::no_space), {}});
    ASSERT_TRUE(decode_forward_reply(reply));
    EXPECT_EQ(decode_forward_reply(reply)->status.error().code, Errc::no_space);
    reply.head.back() = std::byte{200};
    EXPECT_FALSE(decode_forward_reply(reply));
}

}  // namespace braid
