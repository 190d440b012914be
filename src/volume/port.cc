#include "volume/port.h"

#include <algorithm>
#include <utility>

namespace braid {

// Every operation enters the gate before anything else and leaves it with its frame, so closed() covers it to
// its end.
#define ENTER(offset, length)                                \
    if (!gate_.try_enter()) co_return fail(Errc::not_ready); \
    const GateGuard inside(gate_);                           \
    if (!contains(offset, length)) co_return fail(Errc::invalid)

Port::Port(Executor& executor, GroupSpace& group, VirtualDisk disk)
    : group_(group), disk_(std::move(disk)), gate_(executor), close_begun_(executor) {}

Task<Status> Port::read(std::uint64_t offset, std::span<std::byte> into) {
    ENTER(offset, into.size());
    if (into.empty()) co_return Status{};
    co_return co_await group_.read(base() + offset, into);
}

Task<Status> Port::write(std::uint64_t offset, Slice data, bool fua) {
    ENTER(offset, data.bytes.size());
    if (data.bytes.empty()) co_return Status{};
    co_return co_await group_.write(base() + offset, std::move(data), fua);
}

Task<Status> Port::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
    ENTER(offset, length);
    if (length == 0) co_return Status{};
    if (mode.fast) {
        // Only a hole is zeroed faster than by writing zeros.
        CO_TRY_LET(const auto runs, co_await allocation(offset, length, 1, AllocationDetail::extents));
        const bool all_hole = runs.front().hole && runs.front().length == length;
        if (!all_hole || !mode.may_leave_hole) co_return fail(Errc::unsupported);
    }
    co_return co_await group_.write_zeroes(base() + offset, length, mode.may_leave_hole, mode.fua);
}

Task<Status> Port::trim(std::uint64_t offset, std::uint64_t length, bool fua) {
    ENTER(offset, length);
    if (length == 0) co_return Status{};
    co_return co_await group_.write_zeroes(base() + offset, length, true, fua);
}

Task<Status> Port::cache(std::uint64_t offset, std::uint64_t length) {
    ENTER(offset, length);
    co_return Status{};
}

Task<Status> Port::flush() {
    ENTER(0, 0);
    co_return co_await group_.flush();
}

Task<Result<std::vector<AllocationRun>>> Port::allocation(std::uint64_t offset, std::uint64_t length,
                                                          std::size_t most, AllocationDetail detail) {
    ENTER(offset, length);
    if (length == 0) co_return std::vector<AllocationRun>{};
    co_return co_await group_.allocation(base() + offset, length, most, detail);
}

#undef ENTER

void Port::close() {
    gate_.close();
    close_begun_.set();
}

}  // namespace braid
