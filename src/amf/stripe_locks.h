// Reader/writer locks of single stripes among the operations of one AMF, first come first served. Only
// stripes in use have an entry. The unit locks of `lock` keep other AMFs out; these keep our own operations
// apart.
//
// Guarantees: readers that wait behind a writer are not overtaken, and are let in together. A guard gives its
// lock back when it goes. Needs: a holder never waits for a second stripe.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "async/sync.h"
#include "base/types.h"

namespace braid {

class StripeLocks {
    struct Node;

public:
    explicit StripeLocks(Executor& executor) : executor_(executor) { buckets_.fill(nullptr); }
    StripeLocks(const StripeLocks&) = delete;
    StripeLocks& operator=(const StripeLocks&) = delete;
    ~StripeLocks();

    class Guard {
    public:
        Guard() = default;
        Guard(StripeLocks& locks, Node& node, bool write) : locks_(&locks), node_(&node), write_(write) {}
        Guard(Guard&& o) noexcept
            : locks_(std::exchange(o.locks_, nullptr)), node_(o.node_), write_(o.write_) {}
        Guard& operator=(Guard&& o) noexcept {
            std::swap(locks_, o.locks_);
            std::swap(node_, o.node_);
            std::swap(write_, o.write_);
            return *this;
        }
        ~Guard() { release(); }
        void release() {
            if (locks_ != nullptr) std::exchange(locks_, nullptr)->release(*node_, write_);
        }

    private:
        StripeLocks* locks_ = nullptr;
        Node* node_ = nullptr;
        bool write_ = false;
    };

    class Awaiter {
    public:
        Awaiter(StripeLocks& locks, StripeIndex stripe, bool write)
            : locks_(locks), stripe_(stripe), write_(write) {}
        Awaiter(const Awaiter&) = delete;
        Awaiter& operator=(const Awaiter&) = delete;
        ~Awaiter();
        bool await_ready();
        void await_suspend(std::coroutine_handle<> h);
        Guard await_resume();

    private:
        friend class StripeLocks;
        StripeLocks& locks_;
        StripeIndex stripe_;
        bool write_;
        bool granted_ = false;
        bool queued_ = false;
        Node* node_ = nullptr;
        Awaiter* next_ = nullptr;
        Wakeup wakeup_;
    };
    /// `auto guard = co_await locks.write(stripe);`
    Awaiter read(StripeIndex stripe) { return {*this, stripe, false}; }
    Awaiter write(StripeIndex stripe) { return {*this, stripe, true}; }

    /// Stripes that are locked now.
    std::size_t active() const { return active_; }

private:
    static constexpr std::size_t kBuckets = 1024;
    struct Node {
        StripeIndex stripe;
        std::uint32_t readers = 0;
        bool writer = false;
        Awaiter* first = nullptr;
        Awaiter* last = nullptr;
        Node* next = nullptr;  ///< in its bucket or the free list
    };
    Node& node_of(StripeIndex stripe);
    void drop_if_idle(Node& node);
    void release(Node& node, bool write);
    void admit(Node& node);
    void forget(Awaiter& awaiter);
    static bool compatible(const Node& node, bool write) {
        return !node.writer && (!write || node.readers == 0);
    }
    static void take(Node& node, bool write) {
        if (write) {
            node.writer = true;
        } else {
            ++node.readers;
        }
    }

    Executor& executor_;
    std::array<Node*, kBuckets> buckets_;
    Node* free_ = nullptr;
    std::size_t active_ = 0;
};

}  // namespace braid
