#include "io/delayed_disk.h"

#include <algorithm>

namespace braid {

void DelayedDisk::submit(DiskOp& op, Join& join) {
    join.add();
    starts(op, clock_.now());
    op.in_flight = this;
    waiting_.emplace(next_ticket_, &op);
    scope_.spawn(begin_later(next_ticket_++, join));
}

Task<void> DelayedDisk::begin_later(std::uint64_t ticket, Join& join) {
    co_await sleep_for(clock_, delay_);
    const auto at = waiting_.find(ticket);
    if (at == waiting_.end()) co_return;
    DiskOp& op = *at->second;
    waiting_.erase(at);
    op.in_flight = nullptr;
    disk_->submit(op, join);
    join.done();  // for the wait; the disk has added the command
}

void DelayedDisk::abandon(DiskOp& op) {
    std::erase_if(waiting_, [&](const auto& one) { return one.second == &op; });
    op.in_flight = nullptr;
}

}  // namespace braid
