// A disk whose commands begin later than they were given: to see how a load does on disks that are slower
// than those at hand. Any number of them wait side by side.
#pragma once

#include <map>
#include <memory>

#include "async/scope.h"
#include "io/clock.h"
#include "io/disk.h"

namespace braid {

class DelayedDisk final : public Disk {
public:
    DelayedDisk(Executor& executor, Clock& clock, std::unique_ptr<Disk> disk, Nanos delay)
        : clock_(clock), disk_(std::move(disk)), delay_(delay), scope_(executor) {}

    std::uint64_t size() const override { return disk_->size(); }
    const std::string& name() const override { return disk_->name(); }
    void submit(DiskOp& op, Join& join) override;
    /// Of a command that has not begun: it never will.
    void abandon(DiskOp& op) override;
    const DiskCounters& counters() const override { return disk_->counters(); }
    DiskLatencies& latencies() override { return disk_->latencies(); }
    std::optional<Nanos> oldest() const override { return disk_->oldest(); }

private:
    Task<void> begin_later(std::uint64_t ticket, Join& join);

    Clock& clock_;
    std::unique_ptr<Disk> disk_;
    Nanos delay_;
    std::map<std::uint64_t, DiskOp*> waiting_;
    std::uint64_t next_ticket_ = 1;
    Scope scope_;
};

}  // namespace braid
