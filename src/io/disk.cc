#include "io/disk.h"

namespace braid {

std::string_view to_string(DiskPurpose purpose) {
    constexpr std::array<std::string_view, kDiskPurposes> names{"host",     "rebuild", "scrub", "expand",
                                                                "recovery", "log",     "tables"};
    return names.at(static_cast<std::size_t>(purpose));
}

Task<Status> run(Executor& executor, Disk& disk, DiskVerb verb, std::uint64_t at,
                 std::span<std::byte> memory) {
    Join join(executor);
    DiskOp op(verb, at, memory);
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

Task<Status> write_durably(Executor& executor, Disk& disk, std::uint64_t at,
                           std::span<const std::byte> from) {
    Join join(executor);
    DiskOp op = DiskOp::write(at, from);
    op.durable = true;
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

}  // namespace braid
