#include "io/stream.h"

namespace braid {

Task<Status> read_exactly(Executor& executor, ByteStream& stream, std::span<std::byte> into) {
    while (!into.empty()) {
        const Result<std::size_t> got = co_await read_some(executor, stream, into);
        if (!got) co_return std::unexpected(got.error());
        if (*got == 0) co_return fail(Errc::closed);
        into = into.subspan(*got);
    }
    co_return Status{};
}

Task<Status> write_all(Executor& executor, ByteStream& stream, std::span<const std::byte> from) {
    const std::span<const std::byte> pieces[] = {from};
    co_return co_await write_pieces(executor, stream, pieces);
}

}  // namespace braid
