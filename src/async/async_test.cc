#include <gtest/gtest.h>

#include <vector>

#include "async/scope.h"

namespace braid {
namespace {

Task<int> child(Event& event, int value) {
    co_await event;
    co_return value;
}

Task<void> parent(Event& event, std::vector<int>& out, int value) {
    out.push_back(co_await child(event, value));
}

TEST(Task, ReturnsThroughItsCallerAfterAWakeup) {
    Executor executor;
    Event event(executor);
    Scope scope(executor);
    std::vector<int> out;
    scope.spawn(parent(event, out, 1));
    scope.spawn(parent(event, out, 2));
    executor.run_until_idle();
    EXPECT_TRUE(out.empty());
    event.set();
    EXPECT_TRUE(out.empty()) << "waking must not resume inline";
    executor.run_until_idle();
    EXPECT_EQ(out, (std::vector<int>{1, 2}));
    EXPECT_EQ(scope.running(), 0u);
}

TEST(Scope, DestroysWhatStillWaits) {
    Executor executor;
    Event event(executor);
    std::vector<int> out;
    {
        Scope scope(executor);
        scope.spawn(parent(event, out, 1));
        event.set();  // posted, not resumed: the run queue must forget it
    }
    executor.run_until_idle();
    EXPECT_TRUE(out.empty());
}

Task<void> gatherer(Executor& executor, Event& a, Event& b, std::vector<int>& out) {
    std::vector<Task<int>> tasks;
    tasks.push_back(child(a, 1));
    tasks.push_back(child(b, 2));
    out = co_await gather(executor, std::move(tasks));
}

TEST(Gather, KeepsTheOrderOfTheTasks) {
    Executor executor;
    Event a(executor), b(executor);
    Scope scope(executor);
    std::vector<int> out;
    scope.spawn(gatherer(executor, a, b, out));
    b.set();
    executor.run_until_idle();
    EXPECT_TRUE(out.empty());
    a.set();
    executor.run_until_idle();
    EXPECT_EQ(out, (std::vector<int>{1, 2}));
}

Task<int> immediate(int v) { co_return v; }
Task<void> deep(long& sum) {
    for (int i = 0; i < 1'000'000; ++i) sum += co_await immediate(1);
}

TEST(Task, AMillionChildrenThatFinishAtOnceKeepTheStackFlat) {
    Executor executor;
    Scope scope(executor);
    long sum = 0;
    scope.spawn(deep(sum));
    EXPECT_EQ(sum, 1'000'000);
}

Task<void> taker(Semaphore& s, std::size_t n, std::vector<int>& out, int id) {
    co_await s.take(n);
    out.push_back(id);
}

TEST(Semaphore, LargeRequestAtTheFrontIsNotOvertaken) {
    Executor executor;
    Semaphore s(executor, 1);
    Scope scope(executor);
    std::vector<int> out;
    scope.spawn(taker(s, 3, out, 1));
    scope.spawn(taker(s, 1, out, 2));
    executor.run_until_idle();
    EXPECT_TRUE(out.empty());
    s.give(2);
    executor.run_until_idle();
    EXPECT_EQ(out, (std::vector<int>{1}));
    s.give(1);
    executor.run_until_idle();
    EXPECT_EQ(out, (std::vector<int>{1, 2}));
}

TEST(Semaphore, AWaiterDestroyedAfterItsGrantGivesTheUnitsBack) {
    Executor executor;
    Semaphore s(executor, 0);
    std::vector<int> out;
    {
        Scope scope(executor);
        scope.spawn(taker(s, 2, out, 1));
        s.give(2);
    }
    EXPECT_EQ(s.free(), 2u);
}

TEST(Gate, DrainsAfterClose) {
    Executor executor;
    Gate gate(executor);
    ASSERT_TRUE(gate.try_enter());
    gate.close();
    EXPECT_FALSE(gate.try_enter());
    EXPECT_FALSE(gate.drained().is_set());
    gate.leave();
    EXPECT_TRUE(gate.drained().is_set());
}

}  // namespace
}  // namespace braid
