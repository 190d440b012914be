// What a connection has received and not yet used: one large buffer, so that one receive brings many
// requests. `need` makes small things contiguous; `read_into` moves payloads to their own memory, the large
// ones without the detour through this buffer.
#pragma once

#include <cstdint>
#include <span>

#include "base/buffer.h"
#include "io/stream.h"

namespace braid::nbd {

class Intake {
public:
    Intake(Executor& executor, ByteStream& stream, std::size_t capacity)
        : executor_(executor), stream_(stream), buffer_(capacity) {}

    /// What was received elsewhere before; once, at the beginning.
    void begin_with(std::span<const std::byte> bytes);
    std::span<const std::byte> available() const { return buffer_.span(begin_, end_ - begin_); }
    void consume(std::size_t count) { begin_ += count; }
    /// Goes on when `count` bytes are available; no more than the capacity. `closed` if the stream ends
    /// before.
    Task<Status> need(std::size_t count);
    /// Takes what is there at once; read_rest() brings what it did not fill.
    std::size_t take(std::span<std::byte> into);
    /// Fills `into` from the stream; nothing is available when it begins.
    Task<Status> read_rest(std::span<std::byte> into);
    Task<Status> skip(std::uint64_t count);
    /// Moves to a larger buffer.
    void grow(std::size_t capacity);

private:
    void move_to_front();
    /// One receive, behind what is there.
    Task<Status> refill();
    Task<Result<std::size_t>> receive(std::span<std::byte> into);

    Executor& executor_;
    ByteStream& stream_;
    Buffer buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    bool after_large_ = false;  // the last payload was received in its place
};

}  // namespace braid::nbd
