// Scope owns root tasks; gather runs several tasks at once and waits for all. No task runs without an owner.
#pragma once

#include <coroutine>
#include <cstddef>
#include <vector>

#include "async/sync.h"
#include "async/task.h"

namespace braid {

struct RootPromise;

/// Owns the tasks it spawned. Destroying the scope destroys what still runs: callers that hold kernel-owned
/// I/O must wait (`co_await scope.join()`) first; a simulated crash just destroys.
class Scope {
public:
    explicit Scope(Executor& executor) : idle_(executor) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { destroy_all(); }

    /// Starts `task` at once, on the caller's stack, up to its first suspension.
    void spawn(Task<void> task);
    std::size_t running() const { return running_; }
    /// Destroys the frames of all that still runs. Not from inside one of them.
    void destroy_all();
    /// Goes on when nothing runs.
    Task<void> join();

private:
    struct Root;
    static Root run(Scope& scope, Task<void> task);
    RootPromise* first_ = nullptr;
    std::size_t running_ = 0;
    Event idle_;
    friend struct ::braid::RootPromise;
};

namespace detail {

struct Leg {
    struct promise_type : PooledFrame {
        Join* join = nullptr;
        Leg get_return_object() { return Leg(std::coroutine_handle<promise_type>::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        struct Final {
            bool await_ready() noexcept { return false; }
            void await_suspend(std::coroutine_handle<promise_type> h) noexcept { h.promise().join->done(); }
            void await_resume() noexcept {}
        };
        Final final_suspend() noexcept { return {}; }
        void return_void() {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
    explicit Leg(std::coroutine_handle<promise_type> h) : handle(h) {}
    Leg(Leg&& o) noexcept : handle(std::exchange(o.handle, nullptr)) {}
    Leg& operator=(Leg&&) = delete;
    ~Leg() {
        if (handle) handle.destroy();
    }
    void start(Join& join) {
        handle.promise().join = &join;
        handle.resume();
    }
    std::coroutine_handle<promise_type> handle;
};

template <class T>
Leg run_leg(Task<T> task, T& result) {
    result = co_await std::move(task);
}
inline Leg run_leg(Task<void> task) { co_await std::move(task); }

}  // namespace detail

/// Starts all tasks in order and returns their values when all have finished. T needs a default constructor.
template <class T>
Task<std::vector<T>> gather(Executor& executor, std::vector<Task<T>> tasks) {
    std::vector<T> results(tasks.size());
    std::vector<detail::Leg> legs;
    legs.reserve(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i)
        legs.push_back(detail::run_leg(std::move(tasks[i]), results[i]));
    Join join(executor);
    join.add(legs.size());
    for (auto& leg : legs) leg.start(join);
    co_await join;
    co_return results;
}

inline Task<void> gather(Executor& executor, std::vector<Task<void>> tasks) {
    std::vector<detail::Leg> legs;
    legs.reserve(tasks.size());
    for (auto& task : tasks) legs.push_back(detail::run_leg(std::move(task)));
    Join join(executor);
    join.add(legs.size());
    for (auto& leg : legs) leg.start(join);
    co_await join;
}

}  // namespace braid
