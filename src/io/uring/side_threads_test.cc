#include "io/uring/side_threads.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/buffer.h"
#include "io/uring/network.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

TEST(SpscQueue, KeepsTheOrderAndRefusesWhatDoesNotFit) {
    SpscQueue<int> queue(4);
    EXPECT_TRUE(queue.empty());
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.put(i));
        int more = 9;
        EXPECT_FALSE(queue.put(more));
        EXPECT_EQ(more, 9);
        int got = 0;
        for (int i = 0; i < 4; ++i) {
            ASSERT_TRUE(queue.take(got));
            EXPECT_EQ(got, i);
        }
        EXPECT_FALSE(queue.take(got));
        EXPECT_TRUE(queue.empty());
    }
}

TEST(SpscQueue, ASecondThreadGetsEverythingOnceInOrderAndWhole) {
    constexpr std::uint64_t kCount = 200'000;
    SpscQueue<std::vector<std::uint64_t>> queue(64);
    std::thread putter([&] {
        for (std::uint64_t i = 0; i < kCount;) {
            std::vector<std::uint64_t> value{i, i + 1};
            if (queue.put(value)) ++i;
        }
    });
    std::uint64_t wrong = 0;
    std::vector<std::uint64_t> value;
    for (std::uint64_t i = 0; i < kCount;) {
        if (!queue.take(value)) continue;
        wrong += value != std::vector<std::uint64_t>{i, i + 1};
        ++i;
    }
    putter.join();
    EXPECT_EQ(wrong, 0u);
}

class SideThreadsTest : public EngineTest {
protected:
    void run_until(const std::function<bool()>& done) {
        const Nanos end = loop.clock().now() + 20s;
        while (!done() && loop.clock().now() < end) loop.turn(true);
        EXPECT_TRUE(done());
    }
    LoopSides sides{loop, LoopOptions{.engine = GetParam()}, {}};
};
FOR_BOTH_ENGINES(SideThreadsTest);

TEST_P(SideThreadsTest, ActsRunOnTheSideInOrderAndWhatComesBackToo) {
    SideThread& side = *sides.side(1);
    EXPECT_EQ(sides.side(1), &side);
    const auto here = std::this_thread::get_id();
    std::vector<int> back;
    bool elsewhere = true, home = true;
    for (int i = 0; i < 20'000; ++i) {  // more than a ring holds
        side.post([&, i] {
            elsewhere &= std::this_thread::get_id() != here;
            side.post_back([&, i] {
                home &= std::this_thread::get_id() == here;
                back.push_back(i);
            });
        });
    }
    run_until([&] { return back.size() == 20'000; });
    std::vector<int> expected(20'000);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(back, expected);
    EXPECT_TRUE(home && elsewhere);
}

TEST_P(SideThreadsTest, ASleeperIsWokenAtOnce) {
    SideThread& side = *sides.side(2);
    for (int i = 0; i < 20; ++i) {
        block_on(loop, [](Clock& clock) -> Task<void> { co_await sleep_for(clock, 2ms); }(loop.clock()));
        bool answered = false;
        const Nanos begin = loop.clock().now();
        side.post([&] { side.post_back([&] { answered = true; }); });
        run_until([&] { return answered; });
        EXPECT_LT(loop.clock().now() - begin, 5s);  // a lost wake-up would be the longest sleep
    }
}

struct Thing {
    explicit Thing(SideThread& s, std::atomic<std::size_t>& g)
        : side(s), gone(g), made(std::this_thread::get_id()) {}
    ~Thing() { gone = made == std::this_thread::get_id() ? 1 : 2; }
    Task<Status> work(int times) {
        for (int i = 0; i < times; ++i) co_await sleep_for(side.clock(), 1ms);
        co_return times == 3 ? Status{} : Status(fail(Errc::busy));
    }
    SideThread& side;
    std::atomic<std::size_t>& gone;
    std::thread::id made;
};

TEST_P(SideThreadsTest, AnObjectLivesAndEndsOnItsThreadAndItsTasksAnswerHere) {
    std::atomic<std::size_t> gone = 0;
    SideThread& side = *sides.side(1);
    {
        OnThread<Thing> thing(loop.executor(), &side, [&] { return std::make_unique<Thing>(side, gone); });
        int told = 0;
        thing.tell([&](Thing& t) { told = t.made == std::this_thread::get_id() ? 1 : 2; });
        EXPECT_TRUE(block_on(loop, thing.ask([](Thing& t) { return t.work(3); })));
        EXPECT_EQ(block_on(loop, thing.ask([](Thing& t) { return t.work(1); })).error().code, Errc::busy);
        EXPECT_EQ(told, 1);
    }
    run_until([&] { return gone != 0; });
    EXPECT_EQ(gone, 1u);
    OnThread<Thing> near(loop.executor(), nullptr, [&] { return std::make_unique<Thing>(side, gone); });
    EXPECT_EQ(near.object()->made, std::this_thread::get_id());
}

TEST_P(SideThreadsTest, ABufferMayBeGivenBackOnAnotherThread) {
    SideThread& side = *sides.side(1);
    const Buffer mine = Buffer::zeroed(4096);
    int done = 0;
    for (int i = 0; i < 1000; ++i) {
        side.post([&side, &done, copy = mine]() mutable {
            side.post_back([&done, back = std::move(copy)] { done += back.size() == 4096; });
        });
    }
    run_until([&] { return done == 1000; });
}

TEST_P(SideThreadsTest, AConnectionMovesToAnotherThread) {
    SideThread& side = *sides.side(1);
    UringNetwork network(loop);
    const TemporaryDirectory directory;
    auto listener = network.listen("unix:" + directory / "s");
    ASSERT_TRUE(listener);
    auto client = block_on(loop, network.connect((*listener)->address()));
    auto server = block_on(loop, (*listener)->accept());
    ASSERT_TRUE(client && server);
    std::unique_ptr<LooseStream> loose = (*server)->let_go();
    ASSERT_NE(loose, nullptr);
    server->reset();
    std::unique_ptr<ByteStream> there;
    std::optional<Scope> scope;
    side.post([&, moving = std::move(loose)]() mutable {
        there = side.network().take(std::move(moving));
        scope.emplace(side.executor());
        scope->spawn([](Executor& executor, ByteStream& stream) -> Task<void> {
            std::array<std::byte, 5> got{};
            if (co_await read_exactly(executor, stream, got)) co_await write_all(executor, stream, got);
        }(side.executor(), *there));
    });
    const std::array<std::byte, 5> sent{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}};
    std::array<std::byte, 5> got{};
    EXPECT_TRUE(block_on(loop, write_all(loop.executor(), **client, sent)));
    EXPECT_TRUE(block_on(loop, read_exactly(loop.executor(), **client, got)));
    EXPECT_EQ(got, sent);
    bool ended = false;
    side.post([&] {
        scope.reset();
        there.reset();
        side.post_back([&] { ended = true; });
    });
    run_until([&] { return ended; });
    (*listener)->close();
}

}  // namespace
}  // namespace braid
