#include "io/disk.h"

namespace braid {

std::string_view to_string(DiskPurpose purpose) {
    constexpr std::array<std::string_view, kDiskPurposes> names{"host",     "rebuild", "scrub", "expand",
                                                                "recovery", "log",     "tables"};
    return names.at(static_cast<std::size_t>(purpose));
}

static Task<Status> carry_out(Executor& executor, Disk& disk, DiskOp& op) {
    Join join(executor);
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

Task<Status> run(Executor& executor, Disk& disk, DiskVerb verb, std::uint64_t at,
                 std::span<std::byte> memory) {
    DiskOp op(verb, at, memory);
    co_return co_await carry_out(executor, disk, op);
}

Task<Status> write_durably(Executor& executor, Disk& disk, std::uint64_t at,
                           std::span<const std::byte> from) {
    DiskOp op = DiskOp::write(at, from);
    op.durable = true;
    co_return co_await carry_out(executor, disk, op);
}

}  // namespace braid
