#include "io/uring/loop.h"

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "io/uring/random.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

class LoopTest : public EngineTest {};
FOR_BOTH_ENGINES(LoopTest);

Task<void> note_at(Loop& loop, Nanos at, int id, std::vector<int>& out) {
    co_await sleep_until(loop.clock(), at);
    EXPECT_GE(loop.clock().now(), at);
    out.push_back(id);
}

Task<void> five_timers(Loop& loop, std::vector<int>& out) {
    const Nanos t = loop.clock().now() + 5ms;
    std::vector<Task<void>> tasks;
    tasks.push_back(note_at(loop, t + 2ms, 4, out));
    tasks.push_back(note_at(loop, t, 1, out));
    tasks.push_back(note_at(loop, t, 2, out));
    tasks.push_back(note_at(loop, t + 1ms, 3, out));
    tasks.push_back(note_at(loop, t - 1h, 0, out));
    co_await gather(loop.executor(), std::move(tasks));
}

TEST_P(LoopTest, TimersFireInOrderOfDeadlineThenOfArming) {
    std::vector<int> out;
    const Nanos begin = loop.clock().now();
    block_on(loop, five_timers(loop, out));
    EXPECT_EQ(out, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_LT(loop.clock().now() - begin, 1s);
}

Task<bool> wait_for(Loop& loop, Event& event, Nanos patience) {
    co_return co_await wait_until(event, loop.clock(), loop.clock().now() + patience);
}

Task<void> set_after(Loop& loop, Event& event, Nanos delay) {
    co_await sleep_for(loop.clock(), delay);
    event.set();
}

TEST_P(LoopTest, AWaitEndsAtTheEventOrAtTheDeadline) {
    Event event(loop.executor());
    EXPECT_FALSE(block_on(loop, wait_for(loop, event, 2ms)));
    Scope scope(loop.executor());
    scope.spawn(set_after(loop, event, 1ms));
    EXPECT_TRUE(block_on(loop, wait_for(loop, event, 10s)));
}

TEST_P(LoopTest, ADestroyedSleeperIsForgotten) {
    std::vector<int> out;
    {
        Scope scope(loop.executor());
        scope.spawn(note_at(loop, loop.clock().now() + 1ms, 1, out));
    }
    std::vector<int> later;
    block_on(loop, note_at(loop, loop.clock().now() + 3ms, 2, later));
    EXPECT_TRUE(out.empty());
}

TEST_P(LoopTest, RemotePostsRunOnTheLoopThreadInOrder) {
    std::vector<int> seen;
    const auto home = std::this_thread::get_id();
    std::thread other([&] {
        for (int i = 0; i < 1000; ++i) {
            if (i % 100 == 0) std::this_thread::sleep_for(2ms);  // so that some find the loop asleep
            loop.post_remote([&seen, i, home] {
                EXPECT_EQ(std::this_thread::get_id(), home);
                seen.push_back(i);
            });
        }
        loop.post_remote([this] { loop.stop(); });
    });
    loop.run();
    other.join();
    ASSERT_EQ(seen.size(), 1000u);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST_P(LoopTest, ALoopMayEndWithAWakeThatNobodyHasSeen) {
    bool ran = false;
    {
        Loop other(LoopOptions{.engine = GetParam()});
        other.turn(false);
        other.turn(false);  // waits for wakes now
        other.post_remote([&ran] { ran = true; });
    }
    EXPECT_FALSE(ran);
}

Task<void> spin_forever(Loop& loop, Event& kick, const bool& done) {
    while (!done) {
        kick.set();
        kick.reset();
        co_await sleep_until(loop.clock(), Nanos{0});
    }
}

TEST_P(LoopTest, ABusyExecutorDoesNotKeepTimersOrKernelFromTheirTurn) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    bool done = false;
    Event kick(loop.executor());
    Scope scope(loop.executor());
    scope.spawn(spin_forever(loop, kick, done));
    std::thread writer([&] {
        std::this_thread::sleep_for(5ms);
        EXPECT_EQ(::write(pipe[1], "x", 1), 1);
    });
    struct Ready {
        static Task<int> on(Loop& l, int fd) {
            co_return co_await KernelCall(l, KernelOp::Verb::poll, fd, POLLIN);
        }
    };
    EXPECT_EQ(block_on(loop, Ready::on(loop, pipe[0])) & POLLIN, POLLIN);
    done = true;
    writer.join();
    block_on(loop, scope.join());
    ::close(pipe[0]);
    ::close(pipe[1]);
}

Task<void> abandon_me(Loop& loop, int fd) { co_await KernelCall(loop, KernelOp::Verb::poll, fd, POLLIN); }

TEST_P(LoopTest, AnAbandonedPollLeavesNothingBehind) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    {
        Scope scope(loop.executor());
        scope.spawn(abandon_me(loop, pipe[0]));
        loop.turn(false);
    }
    ::close(pipe[0]);
    ::close(pipe[1]);
    std::vector<int> out;
    block_on(loop, note_at(loop, loop.clock().now() + 1ms, 1, out));
    EXPECT_EQ(out.size(), 1u);  // the loop's destructor asserts that nothing is in flight
}

TEST_P(LoopTest, AnIdleLoopBurnsLessThanAHundredthOfACore) {
    const auto cpu = [] {
        timespec ts{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
        return std::chrono::seconds(ts.tv_sec) + Nanos(ts.tv_nsec);
    };
    struct Ticker {
        static Task<void> run(Loop& l) {
            for (int i = 0; i < 5; ++i) co_await sleep_for(l.clock(), 100ms);
        }
    };
    block_on(loop, Ticker::run(loop));
    const Nanos before = cpu();
    block_on(loop, Ticker::run(loop));
    EXPECT_LT(cpu() - before, 5ms);
}

TEST(KernelRandom, DoesNotRepeatItself) {
    KernelRandom random;
    const Uuid a = random.uuid();
    EXPECT_NE(a, random.uuid());
    EXPECT_EQ(a.bytes[6] >> 4, 4);
}

}  // namespace
}  // namespace braid
