// Which of the requests that wait for a unit is next (row L3).
#pragma once

#include <span>

#include "lock/lock_types.h"

namespace braid {

struct WaitingRequest {
    AmfId who;
    LockMode mode = LockMode::read;
    std::uint64_t ticket = 0;
    bool background = false;
    std::uint8_t ahead = 0;        ///< units behind this one that are wanted with it, if they are free
    std::uint8_t passed_over = 0;  ///< grants that went to requests that came later
};

class LockQueuePolicy {
public:
    virtual ~LockQueuePolicy() = default;
    /// An index below waiting.size(), which is not 0. They stand in the order of their arrival.
    virtual std::size_t next(std::span<const WaitingRequest> waiting) const = 0;
};

/// First come, first served.
class FifoLockQueue final : public LockQueuePolicy {
public:
    std::size_t next(std::span<const WaitingRequest>) const override { return 0; }
};

/// Hosts before background work, which is passed over kPatience times at most; among equals first come, first
/// served.
class PriorityLockQueue final : public LockQueuePolicy {
public:
    static constexpr std::uint8_t kPatience = 8;
    std::size_t next(std::span<const WaitingRequest> waiting) const override;
};

/// Both live as long as the process.
const LockQueuePolicy& fifo_lock_queue();
const LockQueuePolicy& priority_lock_queue();

}  // namespace braid
