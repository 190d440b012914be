// How other threads ask the data thread: a question is carried over by a queue, becomes a task there, and the
// asking thread sleeps until the answer, the deadline or the end.
//
// Guarantees: tasks start, run and end on the data thread; ask() returns within the deadline whatever the
// task does; an answer that comes too late is dropped. Needs: the data thread runs no posted act any more, or
// this is destroyed on it, when Calls is destroyed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "async/executor.h"
#include "async/scope.h"
#include "async/task.h"

namespace braid::admin {

/// The way to the thread that owns everything.
class DataThread {
public:
    virtual ~DataThread() = default;
    /// Runs `act` there, in order. From any thread.
    virtual void post(std::move_only_function<void()> act) = 0;
    virtual Executor& executor() = 0;
};

enum class NoAnswer : std::uint8_t { deadline, closed };

class Calls {
public:
    Calls(DataThread& thread, std::chrono::milliseconds deadline)
        : thread_(thread), deadline_(deadline), tasks_(thread.executor()) {}

    /// `make` is called on the data thread and returns the task whose value is the answer.
    template <class T>
    std::expected<T, NoAnswer> ask(std::move_only_function<Task<T>()> make) {
        auto slot = std::make_shared<std::optional<T>>();
        {
            const std::lock_guard guard(mutex_);
            if (closed_) return std::unexpected(NoAnswer::closed);
        }
        thread_.post([this, slot, make = std::move(make)]() mutable {
            tasks_.spawn(answer<T>(*this, make(), std::move(slot)));
        });
        std::unique_lock guard(mutex_);
        answered_.wait_for(guard, deadline_, [&] { return slot->has_value() || closed_; });
        if (slot->has_value()) return std::move(**slot);
        return std::unexpected(closed_ ? NoAnswer::closed : NoAnswer::deadline);
    }

    /// All that ask now or later get `closed`. From any thread; waits for nobody.
    void close() {
        const std::lock_guard guard(mutex_);
        closed_ = true;
        answered_.notify_all();
    }

private:
    template <class T>
    static Task<void> answer(Calls& self, Task<T> task, std::shared_ptr<std::optional<T>> slot) {
        T value = co_await std::move(task);
        const std::lock_guard guard(self.mutex_);
        slot->emplace(std::move(value));
        self.answered_.notify_all();
    }

    DataThread& thread_;
    const std::chrono::milliseconds deadline_;
    std::mutex mutex_;  // guards closed_ and all slots
    std::condition_variable answered_;
    bool closed_ = false;
    Scope tasks_;
};

}  // namespace braid::admin
