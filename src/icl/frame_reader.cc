#include "icl/frame_reader.h"

#include <algorithm>
#include <cstring>

namespace braid {

/// Copies what is at hand; true when `into` is full.
bool FrameReader::take_buffered(std::span<std::byte>& into) {
    const std::size_t size = std::min(into.size(), end_ - begin_);
    if (size != 0) std::memcpy(into.data(), buffer_.data() + begin_, size);
    begin_ += size;
    into = into.subspan(size);
    return into.empty();
}

Task<Status> FrameReader::take(std::span<std::byte> into) {
    while (!into.empty()) {
        // Here the buffer is empty. What would more than half fill it goes to its place at once.
        const bool straight = into.size() >= kReadSize / 2;
        if (!straight && buffer_.empty()) buffer_ = Buffer(kReadSize);
        const Result<std::size_t> got =
            co_await read_some(executor_, stream_, straight ? into : buffer_.span());
        if (!got) co_return std::unexpected(got.error());
        if (*got == 0) co_return fail(Errc::closed);
        if (heard_) heard_(*got);
        if (straight) {
            into = into.subspan(*got);
            continue;
        }
        begin_ = 0;
        end_ = *got;
        take_buffered(into);
    }
    co_return Status{};
}

Task<Result<Frame>> FrameReader::next(FrameLimits limits) {
    std::array<std::byte, kFrameHeaderSize> raw;
    std::span<std::byte> rest(raw);
    if (!take_buffered(rest)) CO_TRY(co_await take(rest));
    CO_TRY_LET(const FrameHeader header, decode_frame_header(raw, limits));

    Frame frame{header.epoch, {header.group, header.type, Bytes(header.head_size), {}}};
    rest = frame.message.head;
    if (!take_buffered(rest)) CO_TRY(co_await take(rest));
    CO_TRY(check_frame_head(header, raw, frame.message.head));
    frame.message.from_index = header.from_index;
    frame.message.to_index = header.to_index;

    if (header.payload_size != 0) {
        Buffer payload(header.payload_size);
        rest = payload.span();
        if (!take_buffered(rest)) CO_TRY(co_await take(rest));
        frame.message.payload = Slice(std::move(payload));
    }
    CO_TRY(check_frame_payload(header, frame.message.payload.bytes));
    co_return frame;
}

}  // namespace braid
