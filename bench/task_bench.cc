// link: async
// What a coroutine costs: a call that finishes at once, one hop through the executor's queue, a gather of
// five legs (a 4+1 stripe), an error through three levels, a lock-free wait that does not wait.
#include <benchmark/benchmark.h>

#include "async/scope.h"
#include "base/result.h"

namespace braid {
namespace {

Task<int> leaf(int v) { co_return v; }

Task<void> calls(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(co_await leaf(1));
}

void BM_CallThatFinishesAtOnce(benchmark::State& state) {
    Executor executor;
    Scope scope(executor);
    scope.spawn(calls(state));
}
BENCHMARK(BM_CallThatFinishesAtOnce);

struct Hop {
    Executor& executor;
    Wakeup wakeup{};
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        wakeup.handle = h;
        executor.post(wakeup);
    }
    void await_resume() noexcept {}
};

Task<void> hops(Executor& executor, benchmark::State& state) {
    for (auto _ : state) co_await Hop{executor};
}

void BM_HopThroughTheQueue(benchmark::State& state) {
    Executor executor;
    Scope scope(executor);
    scope.spawn(hops(executor, state));
    executor.run_until_idle();
}
BENCHMARK(BM_HopThroughTheQueue);

Task<int> leg(Executor& executor, int v) {
    co_await Hop{executor};
    co_return v;
}

Task<void> gathers(Executor& executor, benchmark::State& state) {
    for (auto _ : state) {
        std::vector<Task<int>> legs;
        legs.reserve(5);
        for (int i = 0; i < 5; ++i) legs.push_back(leg(executor, i));
        benchmark::DoNotOptimize(co_await gather(executor, std::move(legs)));
    }
}

void BM_GatherOfFiveLegs(benchmark::State& state) {
    Executor executor;
    Scope scope(executor);
    scope.spawn(gathers(executor, state));
    executor.run_until_idle();
}
BENCHMARK(BM_GatherOfFiveLegs);

Task<Status> failing(int depth) {
    if (depth == 0) co_return fail(Errc::io_error);
    CO_TRY(co_await failing(depth - 1));
    co_return Status{};
}

Task<void> errors(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(co_await failing(3));
}

void BM_ErrorThroughThreeLevels(benchmark::State& state) {
    Executor executor;
    Scope scope(executor);
    scope.spawn(errors(state));
}
BENCHMARK(BM_ErrorThroughThreeLevels);

}  // namespace
}  // namespace braid
