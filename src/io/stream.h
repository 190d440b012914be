// Byte streams between processes: TCP and UNIX sockets, in-memory pipes (the bus), and their simulated twins.
// A stream delivers bytes in order until it ends; after the end every call fails with `closed` or `io_error`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "async/sync.h"
#include "async/task.h"
#include "base/result.h"

namespace braid {

class ByteStream;

/// A stream on its way to another thread: nobody's. Network::take() makes one of it again.
class LooseStream {
public:
    virtual ~LooseStream() = default;
};

enum class StreamVerb : std::uint8_t { read, write };

/// One call on a stream, in the frame of the coroutine that waits for it.
struct StreamOp {
    StreamOp() = default;
    StreamOp(const StreamOp&) = delete;
    StreamOp& operator=(const StreamOp&) = delete;
    ~StreamOp();

    StreamVerb verb = StreamVerb::read;
    std::span<std::byte> into;                         ///< read
    std::span<const std::span<const std::byte>> from;  ///< write: pieces sent in order, all of them
    Result<std::size_t> result = 0;                    ///< bytes; 0 for a read means the peer ended in order
    Join* join = nullptr;
    ByteStream* in_flight = nullptr;
    void* stream_state = nullptr;  ///< the stream's own
    std::size_t progress = 0;      ///< the stream's own
};

/// At most one read and one write are in flight at a time.
class ByteStream {
public:
    virtual ~ByteStream() = default;
    virtual void submit(StreamOp& op, Join& join) = 0;
    virtual void abandon(StreamOp& op) = 0;
    /// Ends both directions at once; calls in flight fail with `closed`. The far end sees the end of the
    /// stream.
    virtual void shutdown() = 0;
    /// For logs: "127.0.0.1:10809", "unix:/run/x.sock".
    virtual std::string peer_name() const = 0;
    /// Gives the connection up, without ending it, for another thread; no call is in flight and none comes.
    /// Null: it cannot leave its thread, and goes on as it is.
    virtual std::unique_ptr<LooseStream> let_go() { return nullptr; }
};

inline StreamOp::~StreamOp() {
    if (in_flight != nullptr) in_flight->abandon(*this);
}

/// `co_await read_some(executor, stream, into)`: at least one byte, or 0 at an orderly end.
class read_some {
public:
    read_some(Executor& executor, ByteStream& stream, std::span<std::byte> into) : join_(executor) {
        op_.into = into;
        stream.submit(op_, join_);
    }
    bool await_ready() const noexcept { return join_.await_ready(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { join_.await_suspend(h); }
    Result<std::size_t> await_resume() { return op_.result; }

private:
    Join join_;
    StreamOp op_;
};

/// `co_await write_pieces(executor, stream, pieces)`: sends all bytes of all pieces or fails. The pieces stay
/// valid until it returns.
class write_pieces {
public:
    write_pieces(Executor& executor, ByteStream& stream, std::span<const std::span<const std::byte>> from)
        : join_(executor) {
        op_.verb = StreamVerb::write;
        op_.from = from;
        stream.submit(op_, join_);
    }
    bool await_ready() const noexcept { return join_.await_ready(); }
    void await_suspend(std::coroutine_handle<> h) noexcept { join_.await_suspend(h); }
    Status await_resume() {
        if (!op_.result) return std::unexpected(op_.result.error());
        return {};
    }

private:
    Join join_;
    StreamOp op_;
};

/// Fills `into` whole: `closed` if the stream ends before.
Task<Status> read_exactly(Executor& executor, ByteStream& stream, std::span<std::byte> into);
Task<Status> write_all(Executor& executor, ByteStream& stream, std::span<const std::byte> from);

/// Accepts until closed.
class Listener {
public:
    virtual ~Listener() = default;
    /// The next connection; `closed` after close().
    virtual Task<Result<std::unique_ptr<ByteStream>>> accept() = 0;
    virtual void close() = 0;
    /// The address it really has: "127.0.0.1:41233" where port 0 was asked for.
    virtual std::string address() const = 0;
};

/// Addresses: "HOST:PORT", "[V6]:PORT", "unix:PATH".
class Network {
public:
    virtual ~Network() = default;
    virtual Task<Result<std::unique_ptr<ByteStream>>> connect(std::string address) = 0;
    virtual Result<std::unique_ptr<Listener>> listen(std::string_view address) = 0;
    /// What let go of a thread goes on here. Null if it is of another kind of network.
    virtual std::unique_ptr<ByteStream> take(std::unique_ptr<LooseStream>) { return nullptr; }
};

}  // namespace braid
