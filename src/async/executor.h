// The run queue of one thread. Everything that wakes does so by standing in this FIFO: a completion never
// resumes a coroutine inside the code that completed it, so the order of events is the order of the queue and
// nothing re-enters.
#pragma once

#include <coroutine>
#include <cstddef>

namespace braid {

/// A suspended coroutine's place in one list at a time: an event's waiters, or the run queue. Lives in the
/// coroutine's frame, so destroying the frame takes it out of whatever list it stands in.
class Wakeup {
public:
    Wakeup() = default;
    explicit Wakeup(std::coroutine_handle<> h) : handle(h) {}
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;
    ~Wakeup() { unlink(); }

    bool linked() const { return next_ != nullptr; }
    void unlink() {
        if (!linked()) return;
        prev_->next_ = next_;
        next_->prev_ = prev_;
        prev_ = next_ = nullptr;
    }

    std::coroutine_handle<> handle;

private:
    friend class WakeupList;
    Wakeup* prev_ = nullptr;
    Wakeup* next_ = nullptr;
};

/// FIFO of wakeups; owns none of them.
class WakeupList {
public:
    WakeupList() { head_.prev_ = head_.next_ = &head_; }
    WakeupList(const WakeupList&) = delete;
    WakeupList& operator=(const WakeupList&) = delete;
    ~WakeupList() {
        while (pop() != nullptr) {
        }
        head_.prev_ = head_.next_ = nullptr;
    }

    bool empty() const { return head_.next_ == &head_; }
    /// Takes `w` out of any other list first.
    void push(Wakeup& w) {
        w.unlink();
        w.prev_ = head_.prev_;
        w.next_ = &head_;
        head_.prev_->next_ = &w;
        head_.prev_ = &w;
    }
    Wakeup* pop() {
        if (empty()) return nullptr;
        Wakeup* w = head_.next_;
        w->unlink();
        return w;
    }

private:
    Wakeup head_;
};

class Executor {
public:
    /// Queues `w`; a wakeup that already stands in this queue moves to its end.
    void post(Wakeup& w) { ready_.push(w); }
    bool idle() const { return ready_.empty(); }
    /// Resumes the first in the queue. False when there was none.
    bool run_one() {
        Wakeup* w = ready_.pop();
        if (w == nullptr) return false;
        ++resumed_;
        w->handle.resume();
        return true;
    }
    void run_until_idle() {
        while (run_one()) {
        }
    }
    std::size_t resumed() const { return resumed_; }

private:
    WakeupList ready_;
    std::size_t resumed_ = 0;
};

}  // namespace braid
