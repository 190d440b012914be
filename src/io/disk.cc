#include "io/disk.h"

namespace braid {

Task<Status> run(Executor& executor, Disk& disk, DiskVerb verb, std::uint64_t at,
                 std::span<std::byte> memory) {
    Join join(executor);
    DiskOp op(verb, at, memory);
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

}  // namespace braid
