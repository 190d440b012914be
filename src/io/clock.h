// Time. The real clock is CLOCK_BOOTTIME, the simulated one virtual. Nothing above io/ reads any other clock.
#pragma once

#include "async/sync.h"
#include "base/types.h"

namespace braid {

class Clock;

/// A place in a clock's queue. When the deadline comes the clock posts `wakeup`, once. Destroying it disarms
/// it.
struct TimerOp {
    TimerOp() = default;
    TimerOp(const TimerOp&) = delete;
    TimerOp& operator=(const TimerOp&) = delete;
    ~TimerOp();

    Nanos deadline{};
    Wakeup* wakeup = nullptr;
    bool fired = false;
    Clock* armed_by = nullptr;   ///< not null while it stands in the queue
    std::uint64_t sequence = 0;  ///< the clock's: orders equal deadlines by arming
};

class Clock {
public:
    virtual ~Clock() = default;
    virtual Nanos now() const = 0;
    /// Since 1970, as the machine thinks, for people to read: nothing is decided by it. 0: nobody knows.
    virtual std::uint64_t unix_seconds() const { return 0; }
    /// Posts op.wakeup on this clock's executor at op.deadline or soon after; at once if it has passed.
    virtual void arm(TimerOp& op) = 0;
    virtual void disarm(TimerOp& op) = 0;
};

inline TimerOp::~TimerOp() {
    if (armed_by != nullptr) armed_by->disarm(*this);
}

/// `co_await sleep_until(clock, t)`.
class sleep_until {
public:
    sleep_until(Clock& clock, Nanos deadline) : clock_(clock) { timer_.deadline = deadline; }
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
        wakeup_.handle = h;
        timer_.wakeup = &wakeup_;
        clock_.arm(timer_);
    }
    void await_resume() noexcept {}

private:
    Clock& clock_;
    Wakeup wakeup_;
    TimerOp timer_;
};
inline sleep_until sleep_for(Clock& clock, Nanos duration) {
    return sleep_until(clock, clock.now() + duration);
}

/// `bool set = co_await wait_until(event, clock, t)`: true if the event was set or notified before t.
class wait_until {
public:
    wait_until(Event& event, Clock& clock, Nanos deadline, bool even_if_set = false)
        : event_(event), clock_(clock), even_if_set_(even_if_set) {
        timer_.deadline = deadline;
    }
    bool await_ready() const noexcept { return event_.is_set() && !even_if_set_; }
    void await_suspend(std::coroutine_handle<> h) {
        wakeup_.handle = h;
        timer_.wakeup = &wakeup_;
        event_.waiters().push(wakeup_);
        clock_.arm(timer_);
    }
    bool await_resume() noexcept { return !timer_.fired || event_.is_set(); }

private:
    Event& event_;
    Clock& clock_;
    bool even_if_set_;
    Wakeup wakeup_;
    TimerOp timer_;
};

}  // namespace braid
