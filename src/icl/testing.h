// A world in memory for the tests of the links and of the membership: a clock that moves by hand, a network
// of pipes whose connections can be cut, and a member store shared by processes that live and die by a call.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "async/scope.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/member_store.h"
#include "io/random.h"

namespace braid::testing {

class ManualClock final : public Clock {
public:
    explicit ManualClock(Executor& executor) : executor_(executor) {}
    Nanos now() const override { return now_; }
    void arm(TimerOp& op) override {
        op.sequence = ++sequence_;
        op.armed_by = this;
        timers_.emplace(std::pair(op.deadline, op.sequence), &op);
    }
    void disarm(TimerOp& op) override {
        timers_.erase({op.deadline, op.sequence});
        op.armed_by = nullptr;
    }
    /// Moves on by `step`, running what becomes ready at each deadline on the way.
    void advance(Nanos step) {
        const Nanos end = now_ + step;
        executor_.run_until_idle();
        while (!timers_.empty() && timers_.begin()->first.first <= end) {
            now_ = std::max(now_, timers_.begin()->first.first);
            fire_first();
            executor_.run_until_idle();
        }
        now_ = end;
    }
    /// Nothing runs for `step`; then everything that is due.
    void sleep_through(Nanos step) {
        sleep(step);
        advance(0ns);
    }
    /// Nothing runs for `step`.
    void sleep(Nanos step) { now_ += step; }

private:
    void fire_first() {
        TimerOp& op = *timers_.begin()->second;
        timers_.erase(timers_.begin());
        op.armed_by = nullptr;
        op.fired = true;
        executor_.post(*op.wakeup);
    }
    Executor& executor_;
    Nanos now_ = 1s;
    std::uint64_t sequence_ = 0;
    std::map<std::pair<Nanos, std::uint64_t>, TimerOp*> timers_;
};

/// The bus, with connections that can be cut and calls that are counted.
class MemoryNetwork final : public Network {
public:
    explicit MemoryNetwork(Executor& executor) : bus_(executor) {}

    Task<Result<std::unique_ptr<ByteStream>>> connect(std::string address) override {
        if (refused.contains(address)) co_return fail(Errc::refused);
        auto stream = co_await bus_.connect(address);
        if (!stream) co_return std::unexpected(stream.error());
        ++connections;
        co_return watched(std::move(*stream));
    }
    Result<std::unique_ptr<Listener>> listen(std::string_view address) override {
        auto listener = bus_.listen(address);
        if (!listener) return std::unexpected(listener.error());
        return std::make_unique<WatchedListener>(*this, std::move(*listener));
    }
    /// Every connection there is loses both directions.
    void cut_all() {
        for (ByteStream* stream : std::vector<ByteStream*>(streams_)) stream->shutdown();
    }

    std::set<std::string> refused;  ///< addresses where nobody answers
    std::size_t connections = 0;
    std::size_t writes = 0;  ///< write calls on all streams

private:
    class WatchedListener final : public Listener {
    public:
        WatchedListener(MemoryNetwork& network, std::unique_ptr<Listener> listener)
            : network_(network), listener_(std::move(listener)) {}
        Task<Result<std::unique_ptr<ByteStream>>> accept() override {
            return accept_on(network_, listener_->accept());
        }
        void close() override { listener_->close(); }
        std::string address() const override { return listener_->address(); }

    private:
        static Task<Result<std::unique_ptr<ByteStream>>> accept_on(
            MemoryNetwork& network, Task<Result<std::unique_ptr<ByteStream>>> next) {
            auto stream = co_await std::move(next);
            if (!stream) co_return std::unexpected(stream.error());
            co_return network.watched(std::move(*stream));
        }
        MemoryNetwork& network_;
        std::unique_ptr<Listener> listener_;
    };
    /// A pipe end that the network knows while it exists.
    class Watched final : public ByteStream {
    public:
        Watched(MemoryNetwork& network, std::unique_ptr<ByteStream> stream)
            : network_(network), stream_(std::move(stream)) {
            network_.streams_.push_back(this);
        }
        ~Watched() override { std::erase(network_.streams_, this); }
        void submit(StreamOp& op, Join& join) override {
            if (op.verb == StreamVerb::write) ++network_.writes;
            stream_->submit(op, join);
        }
        void abandon(StreamOp& op) override { stream_->abandon(op); }
        void shutdown() override { stream_->shutdown(); }
        std::string peer_name() const override { return stream_->peer_name(); }

    private:
        MemoryNetwork& network_;
        std::unique_ptr<ByteStream> stream_;
    };
    std::unique_ptr<ByteStream> watched(std::unique_ptr<ByteStream> stream) {
        return std::make_unique<Watched>(*this, std::move(stream));
    }

    Bus bus_;
    std::vector<ByteStream*> streams_;
};

/// What the processes of one machine share.
struct Machine {
    explicit Machine(Executor& e) : executor(e), lock_free(e) {}

    struct Watcher {
        std::uint64_t by;
        std::uint32_t slot;
        ProcessRef process;
        Event* died;
    };

    ProcessRef spawn() {
        const ProcessRef process{++last_pid, 1000 + last_pid};
        alive.insert(process);
        return process;
    }
    /// As the kernel does it: the locks go, the watchers are told.
    void end(ProcessRef process) {
        if (alive.erase(process) == 0) return;
        if (lock_holder == process.pid) unlock();
        std::erase_if(watchers, [&](const Watcher& w) { return w.by == process.pid; });
        for (const Watcher& w : watchers) {
            if (w.process == process) w.died->set();
        }
        if (on_end) on_end(process);
    }
    void unlock() {
        lock_holder = 0;
        lock_free.notify_all();
    }

    Executor& executor;
    std::set<ProcessRef> alive;
    std::uint64_t last_pid = 100;
    std::uint64_t lock_holder = 0;
    Event lock_free;
    Bytes record;
    std::vector<Watcher> watchers;
    std::vector<std::uint64_t> kills;  ///< pids that were alive when they were killed
    std::size_t writes = 0;
    std::uint64_t lock_turns = 0;
    std::function<void(ProcessRef)> on_end;
    bool stubborn = false;  ///< kills do not drain
};

class MemoryStore final : public MemberStore {
public:
    MemoryStore(Machine& machine, ProcessRef process) : machine_(machine), self_(process) {}

    ProcessRef self() const override { return self_; }
    Task<Result<Bytes>> read() override {
        Bytes bytes = machine_.record;
        co_await turn();
        co_return bytes;
    }
    Task<Status> lock() override {
        while (machine_.lock_holder != 0) co_await machine_.lock_free.next();
        machine_.lock_holder = self_.pid;
        ++machine_.lock_turns;
        co_return Status{};
    }
    Task<Status> write(Bytes record) override {
        ASSERT(machine_.lock_holder == self_.pid);
        co_await turn();
        machine_.record = std::move(record);
        ++machine_.writes;
        co_return Status{};
    }
    void unlock() override {
        ASSERT(machine_.lock_holder == self_.pid);
        machine_.unlock();
    }
    LockTurn last_lock() override {
        for (const ProcessRef& process : machine_.alive) {
            if (process.pid == machine_.lock_holder) return {process, machine_.lock_turns};
        }
        return {};
    }
    Task<FenceReport> kill(ProcessRef process) override {
        co_await turn();
        if (machine_.stubborn) co_return FenceReport{true, false};
        if (machine_.alive.contains(process)) machine_.kills.push_back(process.pid);
        machine_.end(process);
        co_return FenceReport{true, true};
    }
    void watch(std::uint32_t slot, ProcessRef process, Event& died) override {
        unwatch(slot);
        machine_.watchers.push_back({self_.pid, slot, process, &died});
        if (!machine_.alive.contains(process)) died.set();
    }
    void unwatch(std::uint32_t slot) override {
        std::erase_if(machine_.watchers,
                      [&](const Machine::Watcher& w) { return w.by == self_.pid && w.slot == slot; });
    }

private:
    struct Turn {
        Executor& executor;
        Wakeup wakeup{};
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> h) {
            wakeup.handle = h;
            executor.post(wakeup);
        }
        void await_resume() const noexcept {}
    };
    Turn turn() { return Turn{machine_.executor}; }

    Machine& machine_;
    const ProcessRef self_;
};

class CountingRandom final : public Random {
public:
    std::uint64_t next() override { return ++n_; }

private:
    std::uint64_t n_ = 0;
};

}  // namespace braid::testing
