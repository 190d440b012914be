// How much of the clients' work is inside at a time. Each request takes its share before its payload is read
// and gives it back when its reply has been sent (or its connection is gone). A connection has its own bounds
// and shares one with all others; it waits in that queue with one request at a time, so the queue is fair
// between connections.
#pragma once

#include <algorithm>
#include <bit>

#include "async/sync.h"
#include "async/task.h"
#include "host/nbd/limits.h"

namespace braid::nbd {

/// The bytes of all connections.
class SharedBudget {
public:
    SharedBudget(Executor& executor, std::size_t bytes)
        : bytes_(executor, bytes), size_(bytes), shortage_(executor) {}

    Semaphore& bytes() { return bytes_; }
    std::size_t size() const { return size_; }
    /// Connections that wait for memory now.
    std::size_t waiting() const { return waiting_; }
    /// Notified when one begins to wait.
    Event& shortage() { return shortage_; }

    /// Counted as waiting for the length of a block.
    class Waiter {
    public:
        explicit Waiter(SharedBudget& budget) : budget_(budget) {
            ++budget_.waiting_;
            budget_.shortage_.notify_all();
        }
        Waiter(const Waiter&) = delete;
        Waiter& operator=(const Waiter&) = delete;
        ~Waiter() { --budget_.waiting_; }

    private:
        SharedBudget& budget_;
    };

private:
    Semaphore bytes_;
    std::size_t size_;
    std::size_t waiting_ = 0;
    Event shortage_;
};

class Admission {
public:
    Admission(Executor& executor, const Limits& limits, SharedBudget& shared)
        : requests_(executor, limits.requests_in_flight),
          bytes_(executor, limits.bytes_in_flight),
          most_(std::min(limits.bytes_in_flight, shared.size())),
          shared_(shared),
          settled_(executor) {}
    Admission(const Admission&) = delete;
    Admission& operator=(const Admission&) = delete;

    /// What a request with this much payload or reply is charged: the memory its buffer really takes.
    std::size_t charge_for(std::size_t bytes) const {
        return std::min(most_, std::bit_ceil(std::max<std::size_t>(bytes, 4096)));
    }
    bool try_enter(std::size_t charge) {
        if (!requests_.try_take()) return false;
        if (bytes_.try_take(charge)) {
            if (shared_.bytes().try_take(charge)) {
                ++inside_;
                return true;
            }
            bytes_.give(charge);
        }
        requests_.give();
        return false;
    }
    Task<void> enter(std::size_t charge) {
        co_await requests_.take();
        co_await bytes_.take(charge);
        {
            const SharedBudget::Waiter waiter(shared_);
            co_await shared_.bytes().take(charge);
        }
        ++inside_;
    }
    void leave(std::size_t charge) {
        requests_.give();
        bytes_.give(charge);
        shared_.bytes().give(charge);
        if (--inside_ == 0) settled_.notify_all();
    }

    std::size_t inside() const { return inside_; }
    /// Notified when nothing is inside any more.
    Event& settled() { return settled_; }

private:
    Semaphore requests_;
    Semaphore bytes_;
    std::size_t most_;
    SharedBudget& shared_;
    std::size_t inside_ = 0;
    Event settled_;
};

}  // namespace braid::nbd
