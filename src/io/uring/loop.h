// The turning wheel of one thread: executor, kernel I/O, timers. A turn runs what is ready, hands all that it
// produced to the kernel with one system call, takes what is complete and fires due timers. When nothing is
// left it spins for a moment, because waking a sleeping core costs several times a polled round trip, and
// then sleeps. Built, run and destroyed on one thread; only post_remote() and nudge() may be called from
// others. Streams, listeners, disks and scopes on it are destroyed before it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "async/executor.h"
#include "async/scope.h"
#include "async/task.h"
#include "io/clock.h"
#include "io/uring/engine.h"

namespace braid {

/// A queue into which another thread puts what shall run in a loop's turn.
class Inbox {
public:
    virtual ~Inbox() = default;
    /// run() has something to do. Cheap: the loop spins on it.
    virtual bool waiting() const = 0;
    /// Runs some of it; true if anything was done.
    virtual bool run() = 0;
};

struct LoopOptions {
    enum class EngineKind : std::uint8_t { automatic, uring, threads };
    EngineKind engine = EngineKind::automatic;  ///< automatic: threads only where the kernel refuses a ring
    Nanos spin = 50us;                          ///< longest spin before a sleep; 0 never spins
};

class Loop {
public:
    explicit Loop(LoopOptions options = {});
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    ~Loop();

    Executor& executor() { return executor_; }
    Clock& clock() { return clock_; }
    const char* engine_name() const { return engine_->name(); }

    /// Turns until stop().
    void run();
    /// Ends run() after the present turn. From here on destroying a DiskOp in flight is allowed: it waits for
    /// the kernel. `co_await scope.join()` before stop() is the better way.
    void stop() { stopping_ = true; }
    bool stopping() const { return stopping_; }
    /// One turn. With `may_sleep` it waits for something to happen if nothing is ready.
    void turn(bool may_sleep);
    /// Runs `act` on the loop's thread, in order. From any thread, while the loop exists.
    void post_remote(std::move_only_function<void()> act);

    /// Looked at in every turn from now on. On the loop's thread.
    void add_inbox(Inbox& inbox) { inboxes_.push_back(&inbox); }
    void remove_inbox(Inbox& inbox) { std::erase(inboxes_, &inbox); }
    /// After something was put into an inbox: ends the loop's sleep, if it sleeps. From any thread.
    void nudge();

    /// Waits until no disk command is with the kernel; resumes nothing meanwhile.
    void drain();

    // For the disks and streams of this folder.
    void start(KernelOp& op) { engine_->start(op); }
    void cancel(KernelOp& op);
    /// Delivers `op`, which was done without the engine, in this turn or the next: never from here.
    void finish_later(KernelOp& op, int result);
    /// Returns when the kernel is done with `op`, having called it back if it could; `finish` was called.
    void settle(KernelOp& op);

    struct Counters {
        std::uint64_t turns = 0, sleeps = 0, spins = 0, spin_hits = 0;
    };
    const Counters& counters() const { return counters_; }

private:
    class RealClock final : public Clock {
    public:
        explicit RealClock(Executor& executor) : executor_(executor) {}
        Nanos now() const override;
        std::uint64_t unix_seconds() const override;
        void arm(TimerOp& op) override;
        void disarm(TimerOp& op) override;
        bool fire_due();
        std::optional<Nanos> next_deadline() const;

    private:
        struct Entry {
            Nanos deadline;
            std::uint64_t sequence;
            TimerOp* op;
            bool operator<(const Entry& o) const {
                return deadline != o.deadline ? deadline < o.deadline : sequence < o.sequence;
            }
        };
        Executor& executor_;
        std::pmr::unsynchronized_pool_resource nodes_;  // so that a warm timer does not allocate
        std::pmr::set<Entry> queue_{&nodes_};
        std::uint64_t armed_ = 0;
    };

    bool deliver();
    bool run_remote();
    bool run_inboxes();
    bool inbox_waiting() const;
    void wake();
    void rest();
    bool spin_until(Nanos end);

    const LoopOptions options_;
    Executor executor_;
    RealClock clock_{executor_};
    std::unique_ptr<Engine> engine_;
    bool stopping_ = false;
    KernelOp* first_done_ = nullptr;  // finish_later's FIFO
    KernelOp** last_done_ = &first_done_;
    int empty_spins_ = 0;  // in a row
    Nanos spin_again_at_{};
    Nanos spin_pause_;
    Counters counters_;

    struct Wake : KernelOp {
        Loop* loop = nullptr;  // null: the loop ends
    } wake_;
    std::vector<Inbox*> inboxes_;
    std::atomic<bool> asleep_ = false;  ///< or about to: whoever puts something into an inbox says so
    std::atomic<bool> remote_waiting_ = false;
    std::mutex remote_mutex_;  // guards remote_
    std::vector<std::move_only_function<void()>> remote_;
};

/// `int result = co_await KernelCall(loop, verb, fd)`: a poll for `events` (revents or -errno), or an
/// fdatasync. Owns no memory of its caller, so that it may be abandoned at any time; the file stays open
/// until it returns.
class KernelCall {
public:
    KernelCall(Loop& loop, KernelOp::Verb verb, int fd, short events = 0);
    KernelCall(const KernelCall&) = delete;
    KernelCall& operator=(const KernelCall&) = delete;
    ~KernelCall();

    bool await_ready() const noexcept { return join_.await_ready(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { join_.await_suspend(h); }
    int await_resume() noexcept { return result_; }

private:
    struct Op;
    Loop& loop_;
    Join join_;
    Op* op_;
    int result_ = 0;
};

namespace detail {
template <class T>
Task<void> keep(Task<T> task, std::optional<T>& out) {
    out.emplace(co_await std::move(task));
}
inline Task<void> keep(Task<void> task, std::optional<bool>& out) {
    co_await std::move(task);
    out = true;
}
}  // namespace detail

/// Turns the loop until `task` has its value: for main functions, tools and tests, not from inside a task.
template <class T>
T block_on(Loop& loop, Task<T> task) {
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
    Scope scope(loop.executor());
    scope.spawn(detail::keep(std::move(task), value));
    while (!value) loop.turn(true);
    if constexpr (!std::is_void_v<T>) return std::move(*value);
}

}  // namespace braid
