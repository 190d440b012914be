#include "lock/lock_queue.h"

namespace braid {

std::size_t PriorityLockQueue::next(std::span<const WaitingRequest> waiting) const {
    if (waiting.front().passed_over >= kPatience) return 0;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
        if (!waiting[i].background || waiting[i].passed_over >= kPatience) return i;
    }
    return 0;
}

const LockQueuePolicy& fifo_lock_queue() {
    static const FifoLockQueue policy;
    return policy;
}

const LockQueuePolicy& priority_lock_queue() {
    static const PriorityLockQueue policy;
    return policy;
}

}  // namespace braid
