// What coroutines wait for. All of it belongs to one executor; none of it is shared between threads.
// Destroying a waiting frame is always safe: its place in the list goes with it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "async/executor.h"
#include "base/assert.h"

namespace braid {

/// Counts completions still due. `co_await join` goes on when the count is zero; one waiter.
class Join {
public:
    explicit Join(Executor& executor) : executor_(executor) {}
    ~Join() = default;
    Join(const Join&) = delete;
    Join& operator=(const Join&) = delete;

    void add(std::size_t n = 1) { pending_ += n; }
    void done() {
        ASSERT(pending_ > 0);
        if (--pending_ == 0 && waiter_.handle) executor_.post(waiter_);
    }
    std::size_t pending() const { return pending_; }

    bool await_ready() const noexcept { return pending_ == 0; }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter_.handle = h; }
    void await_resume() noexcept { waiter_.handle = nullptr; }

private:
    Executor& executor_;
    std::size_t pending_ = 0;
    Wakeup waiter_;
};

/// A flag that opens once (or again after reset()); wakes all waiters, first come first.
class Event {
public:
    explicit Event(Executor& executor) : executor_(executor) {}
    bool is_set() const { return set_; }
    void set() {
        set_ = true;
        notify_all();
    }
    void reset() { set_ = false; }
    /// Wakes the present waiters without leaving the flag set.
    void notify_all() {
        while (Wakeup* w = waiters_.pop()) executor_.post(*w);
    }
    Executor& executor() { return executor_; }
    WakeupList& waiters() { return waiters_; }

    struct Awaiter {
        Event& event;
        bool even_if_set;
        Wakeup wakeup{};
        bool await_ready() const noexcept { return event.set_ && !even_if_set; }
        void await_suspend(std::coroutine_handle<> h) noexcept {
            wakeup.handle = h;
            event.waiters_.push(wakeup);
        }
        void await_resume() noexcept {}
    };
    Awaiter operator co_await() noexcept { return Awaiter{*this, false}; }
    /// Waits for the next set() or notify_all(), whatever the flag says now. Re-check the condition after it.
    Awaiter next() noexcept { return Awaiter{*this, true}; }

private:
    Executor& executor_;
    WakeupList waiters_;
    bool set_ = false;
};

/// Counting semaphore, FIFO: a large request at the front is not overtaken by small ones behind it.
class Semaphore {
public:
    Semaphore(Executor& executor, std::size_t units) : executor_(executor), free_(units) {}

    struct Awaiter {
        Semaphore& semaphore;
        std::size_t units;
        Wakeup wakeup{};
        Awaiter* next = nullptr;
        bool await_ready() noexcept { return semaphore.try_take(units); }
        void await_suspend(std::coroutine_handle<> h) noexcept {
            wakeup.handle = h;
            semaphore.enqueue(*this);
        }
        void await_resume() noexcept { granted = false; }
        bool granted = false;
        ~Awaiter() {
            if (queued) semaphore.forget(*this);
            if (granted) semaphore.give(units);  // destroyed between grant and resumption
        }
        bool queued = false;
    };
    /// `co_await s.take(n)`, later `s.give(n)`.
    Awaiter take(std::size_t units = 1) { return Awaiter{*this, units}; }
    bool try_take(std::size_t units = 1) {
        if (first_ != nullptr || free_ < units) return false;
        free_ -= units;
        return true;
    }
    void give(std::size_t units = 1) {
        free_ += units;
        while (first_ != nullptr && free_ >= first_->units) {
            Awaiter* a = first_;
            free_ -= a->units;
            forget(*a);
            a->granted = true;
            executor_.post(a->wakeup);
        }
    }
    std::size_t free() const { return free_; }

private:
    void enqueue(Awaiter& a) {
        a.queued = true;
        a.next = nullptr;
        (first_ == nullptr ? first_ : last_->next) = &a;
        last_ = &a;
    }
    void forget(Awaiter& a) {
        Awaiter* before = nullptr;
        for (Awaiter* at = first_; at != &a; at = at->next) before = at;
        (before == nullptr ? first_ : before->next) = a.next;
        if (last_ == &a) last_ = before;
        a.queued = false;
    }
    Executor& executor_;
    std::size_t free_;
    Awaiter* first_ = nullptr;
    Awaiter* last_ = nullptr;
};

/// Lets work in until closed, then waits for what is inside.
class Gate {
public:
    explicit Gate(Executor& executor) : drained_(executor) {}
    bool try_enter() {
        if (closed_) return false;
        ++inside_;
        return true;
    }
    void leave() {
        ASSERT(inside_ > 0);
        if (--inside_ == 0 && closed_) drained_.set();
    }
    void close() {
        closed_ = true;
        if (inside_ == 0) drained_.set();
    }
    void reopen() {
        closed_ = false;
        drained_.reset();
    }
    bool closed() const { return closed_; }
    std::size_t inside() const { return inside_; }
    /// After close(): goes on when all have left.
    Event& drained() { return drained_; }

private:
    Event drained_;
    std::size_t inside_ = 0;
    bool closed_ = false;
};

/// Gives units that were taken back at the end of a block.
class SemaphoreGuard {
public:
    explicit SemaphoreGuard(Semaphore& semaphore, std::size_t units = 1)
        : semaphore_(semaphore), units_(units) {}
    SemaphoreGuard(const SemaphoreGuard&) = delete;
    SemaphoreGuard& operator=(const SemaphoreGuard&) = delete;
    ~SemaphoreGuard() { semaphore_.give(units_); }

private:
    Semaphore& semaphore_;
    std::size_t units_;
};

/// Leaves a gate at the end of a block.
class GateGuard {
public:
    explicit GateGuard(Gate& gate) : gate_(&gate) {}
    GateGuard(GateGuard&& o) noexcept : gate_(o.gate_) { o.gate_ = nullptr; }
    GateGuard& operator=(GateGuard&&) = delete;
    ~GateGuard() {
        if (gate_ != nullptr) gate_->leave();
    }

private:
    Gate* gate_;
};

}  // namespace braid
