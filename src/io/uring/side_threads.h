// The real side threads: each turns a Loop of its own. Between them and the first one run bounded rings
// without a lock; a loop that sleeps is woken through its eventfd, one that spins sees the ring at once.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "io/side_thread.h"
#include "io/spsc_queue.h"
#include "io/uring/loop.h"
#include "io/uring/shelf.h"

namespace braid {

/// Ordered acts from one thread to a loop on another one. What does not fit into the ring waits on the
/// putting thread; who never takes anything any more ends the process.
class Channel final : public Inbox {
public:
    explicit Channel(Loop& to) : to_(to) {}

    /// On the putting thread.
    void post(SideThread::Act act);
    /// Whether some wait outside of the ring; on the putting thread, in every turn of its loop.
    bool flush();

    /// On the putting thread.
    bool late() const { return !late_.empty(); }

    // On the taking thread.
    bool waiting() const override { return !ring_.empty(); }
    bool run() override;

private:
    static constexpr std::size_t kRing = 4096;
    static constexpr std::size_t kLongest = 1u << 20;
    static constexpr int kPerTurn = 256;
    Loop& to_;
    SpscQueue<SideThread::Act> ring_{kRing};
    std::deque<SideThread::Act> late_;
};

class LoopSides final : public SideThreads {
public:
    /// On the thread of `first`, which outlives this.
    LoopSides(Loop& first, LoopOptions options, ShelfOptions disks);
    ~LoopSides() override;
    SideThread* side(unsigned number) override;

private:
    class Side;
    Loop& first_;
    LoopOptions options_;
    ShelfOptions disks_;
    std::vector<std::unique_ptr<Side>> sides_;
};

}  // namespace braid
