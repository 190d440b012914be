// Several disk commands that go together and are waited for together, one per role of a stripe at most, in
// the frame of the coroutine that waits. Declare it after the memory that its commands use: it must go first.
#pragma once

#include <array>
#include <new>

#include "io/disk.h"
#include "parity/code.h"

namespace braid {

template <std::size_t most>
class DiskBatchOf {
public:
    explicit DiskBatchOf(Executor& executor) : join_(executor) {}
    DiskBatchOf(const DiskBatchOf&) = delete;
    DiskBatchOf& operator=(const DiskBatchOf&) = delete;
    ~DiskBatchOf() { clear(); }

    void read(unsigned role, Disk& disk, std::uint64_t at, std::span<std::byte> into) {
        submit(role, disk, DiskVerb::read, at, into);
    }
    void write(unsigned role, Disk& disk, std::uint64_t at, std::span<const std::byte> from) {
        submit(role, disk, DiskVerb::write, at, {const_cast<std::byte*>(from.data()), from.size()});
    }
    void flush(unsigned role, Disk& disk) { submit(role, disk, DiskVerb::flush, 0, {}); }

    /// `co_await batch.done();` waits for all.
    Join& done() { return join_; }
    std::size_t size() const { return count_; }
    unsigned role(std::size_t i) const { return roles_[i]; }
    const Status& status(std::size_t i) const { return op(i).status; }
    bool all_ok() const {
        for (std::size_t i = 0; i < count_; ++i) {
            if (!op(i).status) return false;
        }
        return true;
    }
    /// Forgets commands that are done, for the next round.
    void clear() {
        while (count_ > 0) op(--count_).~DiskOp();
    }

private:
    void submit(unsigned role, Disk& disk, DiskVerb verb, std::uint64_t at, std::span<std::byte> memory) {
        ASSERT(count_ < most);
        roles_[count_] = static_cast<std::uint8_t>(role);
        DiskOp* op = new (&storage_[count_ * sizeof(DiskOp)]) DiskOp(verb, at, memory);
        ++count_;
        disk.submit(*op, join_);
    }
    DiskOp& op(std::size_t i) {
        return *std::launder(reinterpret_cast<DiskOp*>(&storage_[i * sizeof(DiskOp)]));
    }
    const DiskOp& op(std::size_t i) const {
        return *std::launder(reinterpret_cast<const DiskOp*>(&storage_[i * sizeof(DiskOp)]));
    }

    Join join_;
    std::size_t count_ = 0;
    std::array<std::uint8_t, most> roles_;
    alignas(DiskOp) std::array<std::byte, most * sizeof(DiskOp)> storage_;
};

using DiskBatch = DiskBatchOf<kMaxMembers>;

}  // namespace braid
