// The record that controllers of one machine share, as files in one directory, and the power to end each
// other.
//   record   the record; replaced as a whole by rename, so that a reader sees the old or the new one
//   lock     carries the lock (flock); the kernel drops it when the last descriptor of its holder is gone
// kill() and watch() hold a process by its pidfd and compare its start time, so that a later process with the
// same number is never meant. A process counts as dead when all its threads have ended, reaped or not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/member_store.h"
#include "io/uring/loop.h"
#include "io/uring/unique_fd.h"

namespace braid {

class FileMemberStore final : public MemberStore {
public:
    /// Makes the directory if there is none. `may_still_write` tells whether commands of a dead process are
    /// still in flight at some disk: kill() reports `drained` only when it says no.
    static Result<std::unique_ptr<FileMemberStore>> open(
        Loop& loop, std::string directory, std::function<bool(std::uint64_t pid)> may_still_write = {});
    ~FileMemberStore() override;

    ProcessRef self() const override { return self_; }
    Task<Result<Bytes>> read() override;
    Task<Status> lock() override;
    Task<Status> write(Bytes record) override;
    void unlock() override;
    LockTurn last_lock() override;
    /// Neither cut nor drained if the kernel forbids the signal. Cut but not drained if commands of the dead
    /// process are still in flight after two seconds.
    Task<FenceReport> kill(ProcessRef process) override;
    void watch(std::uint32_t slot, ProcessRef process, Event& died) override;
    void unwatch(std::uint32_t slot) override;

private:
    struct Watch;
    FileMemberStore(Loop& loop, std::string directory, UniqueFd lock_fd,
                    std::function<bool(std::uint64_t)> writes);
    Task<bool> drained(std::uint64_t pid);

    Loop& loop_;
    const std::string directory_;
    const UniqueFd lock_fd_;
    const std::function<bool(std::uint64_t)> may_still_write_;
    const ProcessRef self_;
    Semaphore turn_;  // between the tasks of this process, which share the lock's descriptor
    bool locked_ = false;
    std::map<std::uint32_t, Watch*> watches_;  // each frees itself when the kernel is done with it
};

/// The kernel's start time of a process (clock ticks since boot), 0 if there is none.
std::uint64_t start_time_of(std::uint64_t pid);

}  // namespace braid
