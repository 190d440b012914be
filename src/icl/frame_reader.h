// Frames out of a byte stream. Small frames that arrive together come out of one read; the larger part of a
// payload is read straight into its buffer. After an error the stream is of no more use: close it.
#pragma once

#include <functional>

#include "icl/counters.h"
#include "icl/frame.h"
#include "io/stream.h"

namespace braid {

struct Frame {
    Epoch epoch;
    Message message;  ///< its payload is a fresh buffer, 4 KiB aligned
};

class FrameReader {
public:
    static constexpr std::size_t kReadSize = 64u << 10;

    FrameReader(Executor& executor, ByteStream& stream) : executor_(executor), stream_(stream) {}

    /// closed: the stream ended between two frames or within one; corrupt, unsupported, too_large; io_error.
    Task<Result<Frame>> next(FrameLimits limits);

    /// Called after each read that brought bytes, with their number.
    void on_bytes(std::function<void(std::size_t)> heard) { heard_ = std::move(heard); }

private:
    bool take_buffered(std::span<std::byte>& into);
    Task<Status> take(std::span<std::byte> into);

    Executor& executor_;
    ByteStream& stream_;
    Buffer buffer_;
    std::size_t begin_ = 0, end_ = 0;  // what is in it and not yet taken
    std::function<void(std::size_t)> heard_;
};

}  // namespace braid
