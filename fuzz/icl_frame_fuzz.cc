// link: icl
// The input as what a stranger, or a peer gone wrong, sends: straight into the decoders, as it is and with
// its checksums made right, and through a pipe into the reader of a link. No input may crash, read outside or
// allocate beyond the limits; what is accepted encodes to the same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "async/scope.h"
#include "base/assert.h"
#include "base/crc32c.h"
#include "icl/frame.h"
#include "icl/frame_reader.h"
#include "io/pipe.h"

namespace {

using namespace braid;

constexpr FrameLimits kLimits{.head = 4096, .payload = 64u << 10};

/// Makes the checksums of the first frame right, if its lengths fit the input.
void repair(Bytes& bytes) {
    if (bytes.size() < kFrameHeaderSize) return;
    const auto header = decode_frame_header(std::span(bytes).first<kFrameHeaderSize>(), kLimits);
    if (!header || bytes.size() - kFrameHeaderSize < std::size_t{header->head_size} + header->payload_size)
        return;
    const auto store = [&](std::size_t at, std::uint32_t value) {
        for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
    };
    const auto body = std::span(bytes).subspan(kFrameHeaderSize);
    store(40, crc32c(body.subspan(header->head_size, header->payload_size)));
    store(44, crc32c(body.first(header->head_size), crc32c(std::span(bytes).first(44))));
}

/// Of the links' own messages.
void check_head(std::span<const std::byte> head) {
    if (const auto hello = decode_hello(head)) ASSERT(std::ranges::equal(encode_hello(*hello), head));
    if (const auto ping = decode_ping(head)) ASSERT(std::ranges::equal(encode_ping(*ping), head));
    if (const auto pong = decode_pong(head)) {
        ASSERT(std::ranges::equal(encode_pong(*pong), head));
        ASSERT(pong->sent_at >= Nanos{} && pong->patience >= Nanos{});
        ASSERT(pong->sent_at <= Nanos::max() - pong->patience);  // a lease can be reckoned from it
    }
    if (const auto epoch = decode_view_changed(head))
        ASSERT(std::ranges::equal(encode_view_changed(*epoch), head));
}

void check_whole(const Bytes& bytes) {
    if (bytes.size() < kFrameHeaderSize) return;
    const auto raw = std::span(bytes).first<kFrameHeaderSize>();
    const auto header = decode_frame_header(raw, kLimits);
    if (!header) return;
    const auto body = std::span(bytes).subspan(kFrameHeaderSize);
    if (body.size() < std::size_t{header->head_size} + header->payload_size) return;
    const auto head = body.first(header->head_size);
    const auto payload = body.subspan(header->head_size, header->payload_size);
    if (!check_frame_head(*header, raw, head) || !check_frame_payload(*header, payload)) return;

    Bytes again;
    encode_frame(again, header->epoch,
                 {header->group, header->type, Bytes(head.begin(), head.end()),
                  Slice(Buffer::copy_of(payload)), header->from_index, header->to_index});
    ASSERT(std::ranges::equal(again, std::span(bytes).first(again.size())));
    check_head(head);
}

Task<void> write(Executor& executor, ByteStream& stream, const Bytes& bytes) {
    (void)co_await write_all(executor, stream, bytes);
    stream.shutdown();
}

Task<void> read(Executor& executor, ByteStream& stream, std::size_t& seen) {
    FrameReader reader(executor, stream);
    while (const auto frame = co_await reader.next(kLimits)) {
        seen += kFrameHeaderSize + frame->message.head.size() + frame->message.payload.bytes.size();
    }
    stream.shutdown();
}

void check_stream(const Bytes& bytes, std::size_t capacity) {
    Executor executor;
    PipeEnds ends = make_pipe("fuzz", capacity);
    Scope scope(executor);
    std::size_t seen = 0;
    scope.spawn(read(executor, *ends.b, seen));
    scope.spawn(write(executor, *ends.a, bytes));
    executor.run_until_idle();
    ASSERT(scope.running() == 0 && seen <= bytes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto input = std::as_bytes(std::span(data, size));
    Bytes bytes(input.begin() + 1, input.end());
    check_head(bytes);
    for (bool repaired : {false, true}) {
        if (repaired) repair(bytes);
        check_whole(bytes);
        check_stream(bytes, 1u + data[0] * 16u);
    }
    return 0;
}
