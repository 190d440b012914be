// A group's logical space that is plain memory: what tests, fuzzers and benches put under a port. It can hold
// operations back and make them fail; it counts what reached it.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <span>

#include "amf/group_space.h"
#include "async/sync.h"

namespace braid {

class MemorySpace final : public GroupSpace {
public:
    MemorySpace(Executor& executor, std::size_t size)
        : memory_(static_cast<std::byte*>(std::calloc(size, 1)), std::free),
          size_(size),
          released_(executor) {
        released_.set();
    }

    Task<Status> read(std::uint64_t offset, std::span<std::byte> into) override {
        ++reads;
        CO_TRY(co_await pass());
        std::memcpy(into.data(), memory_.get() + offset, into.size());
        co_return Status{};
    }
    Task<Status> write(std::uint64_t offset, Slice data, bool fua, Errand errand = {}) override {
        if (done_before(errand)) co_return Status{};
        ++writes;
        fua_seen += fua;
        CO_TRY(co_await pass());
        std::memcpy(memory_.get() + offset, data.bytes.data(), data.bytes.size());
        allocate(offset, data.bytes.size());
        for (std::uint64_t at = offset / kBlockSize; at * kBlockSize < offset + data.bytes.size(); ++at)
            trimmed_.erase(at);
        errands_.insert({errand.who, errand.number});
        co_return Status{};
    }
    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole, bool fua,
                              Errand errand = {}) override {
        if (done_before(errand)) co_return Status{};
        ++zeroes;
        fua_seen += fua;
        CO_TRY(co_await pass());
        std::memset(memory_.get() + offset, 0, length);
        if (!may_leave_hole) allocate(offset, length);
        for (std::uint64_t at = offset / kBlockSize; at * kBlockSize < offset + length; ++at) {
            const bool whole = at * kBlockSize >= offset && (at + 1) * kBlockSize <= offset + length;
            if (may_leave_hole && whole) trimmed_.insert(at);
            if (!may_leave_hole) trimmed_.erase(at);
        }
        errands_.insert({errand.who, errand.number});
        co_return Status{};
    }
    Task<Status> flush() override {
        ++flushes;
        CO_TRY(co_await pass());
        co_return Status{};
    }
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                        std::size_t most, AllocationDetail detail) override {
        CO_TRY(co_await pass());
        AllocationRuns out(most);
        const std::uint64_t step = detail == AllocationDetail::blocks ? kBlockSize : kExtentSize;
        for (std::uint64_t at = offset, next = 0; at < offset + length; at = next) {
            next = std::min((at / step + 1) * step, offset + length);
            const bool zone = allocated_.contains(ExtentIndex(static_cast<std::uint32_t>(at / kExtentSize)));
            const bool trimmed = trimmed_.contains(at / kBlockSize) && detail == AllocationDetail::blocks;
            if (!out.add(next - at, !zone || trimmed)) break;
        }
        co_return std::move(out).take();
    }

    /// Operations wait until release().
    void hold() { released_.reset(); }
    void release() { released_.set(); }
    /// What operations return from now on.
    void fail_with(Status status) { status_ = status; }
    void allocate(std::uint64_t offset, std::uint64_t length) {
        for (std::uint64_t at = offset / kExtentSize; at * kExtentSize < offset + length; ++at) {
            allocated_.insert(ExtentIndex(static_cast<std::uint32_t>(at)));
        }
    }
    std::span<std::byte> bytes() { return {memory_.get(), size_}; }

    std::size_t reads = 0, writes = 0, zeroes = 0, flushes = 0, fua_seen = 0;
    std::size_t inside = 0, most_inside = 0;

private:
    bool done_before(const Errand& errand) const {
        return errand.repeated && errands_.contains({errand.who, errand.number});
    }
    Task<Status> pass() {
        most_inside = std::max(most_inside, ++inside);
        co_await released_;
        --inside;
        co_return status_;
    }

    std::unique_ptr<std::byte, decltype(&std::free)> memory_;  // calloc: untouched pages cost nothing
    std::size_t size_;
    std::set<ExtentIndex> allocated_;
    std::set<std::uint64_t> trimmed_;                              ///< blocks
    std::set<std::pair<ControllerStart, std::uint64_t>> errands_;  ///< that have been done here
    Event released_;
    Status status_;
};

}  // namespace braid
