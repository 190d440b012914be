// What controllers of one machine share besides their disks: one small record that changes only under a lock
// which dies with its holder, and the power to end each other. The real one is a file, kernel locks and
// pidfds; the simulated one does the same to simulated processes.
#pragma once

#include <cstdint>
#include <memory>

#include "async/sync.h"
#include "async/task.h"
#include "base/codec.h"
#include "base/result.h"

namespace braid {

/// A process that cannot be mistaken for a later one with the same number.
struct ProcessRef {
    std::uint64_t pid = 0;
    std::uint64_t start_time = 0;  ///< of the process, as the kernel tells it
    friend auto operator<=>(const ProcessRef&, const ProcessRef&) = default;
};

/// How far a fence got. A stripe that the fenced controller may have begun waits for `drained`.
struct FenceReport {
    bool cut = false;      ///< no new command of the fenced controller is accepted
    bool drained = false;  ///< and none that was accepted before is still in flight
};

/// One taking of the lock: the same turn twice is the same holder that has not let go.
struct LockTurn {
    ProcessRef process;  ///< pid 0: nobody yet
    std::uint64_t number = 0;
    friend bool operator==(const LockTurn&, const LockTurn&) = default;
};

class MemberStore {
public:
    virtual ~MemberStore() = default;
    virtual ProcessRef self() const = 0;
    /// The record as it is now; empty if it was never written. Never a half-written one.
    virtual Task<Result<Bytes>> read() = 0;
    /// Takes the lock, waiting for its holder; the lock is free again after unlock() or this process's death.
    virtual Task<Status> lock() = 0;
    /// Only under the lock. Atomic: readers see the old or the new record.
    virtual Task<Status> write(Bytes record) = 0;
    virtual void unlock() = 0;
    /// Who has the lock, as far as it has said so; it may be dead.
    virtual LockTurn last_lock() = 0;
    /// Ends the process and waits until it is gone. Cut and drained at once for a process that is dead
    /// already.
    virtual Task<FenceReport> kill(ProcessRef process) = 0;
    /// `died` is set when the process has ended, at once if it already has. Replaces an earlier watch of
    /// `slot`.
    virtual void watch(std::uint32_t slot, ProcessRef process, Event& died) = 0;
    virtual void unwatch(std::uint32_t slot) = 0;
};

}  // namespace braid
