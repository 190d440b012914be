#include "icl/frame.h"

#include "base/assert.h"
#include "base/crc32c.h"

namespace braid {
namespace {

constexpr std::uint32_t kMagic = 0x49647262;  // "brdI"
constexpr std::size_t kCrcAt = 44;

}  // namespace

void encode_frame(Bytes& out, Epoch epoch, const Message& message) {
    ASSERT(message.type != MessageType{} && message.type <= MessageType::last &&
           message.type != MessageType::record_sent);
    ASSERT(message.head.size() <= kMaxFrameHead && message.payload.bytes.size() <= kMaxFramePayload);
    const std::size_t begin = out.size();
    Writer w(out);
    w.put(kMagic);
    w.put(kFrameVersion);
    w.put(static_cast<std::uint8_t>(message.type));
    w.put(message.from_index);
    w.put(message.to_index);
    w.put(message.group);
    w.put(epoch);
    w.put(static_cast<std::uint32_t>(message.head.size()));
    w.put(static_cast<std::uint32_t>(message.payload.bytes.size()));
    w.put(crc32c(message.payload.bytes));
    const std::uint32_t crc = crc32c(std::span(out).subspan(begin, kCrcAt));
    w.put(crc32c(message.head, crc));
    w.raw(message.head);
}

Result<FrameHeader> decode_frame_header(FrameHeaderBytes bytes, const FrameLimits& limits) {
    Reader r(bytes);
    if (r.get<std::uint32_t>() != kMagic) return fail(Errc::corrupt);
    if (r.get<std::uint8_t>() != kFrameVersion) return fail(Errc::unsupported);
    FrameHeader header;
    const auto type = r.get<std::uint8_t>();
    if (type == 0 || type > static_cast<std::uint8_t>(MessageType::last)) return fail(Errc::corrupt);
    if (type == static_cast<std::uint8_t>(MessageType::record_sent)) return fail(Errc::corrupt);
    header.type = static_cast<MessageType>(type);
    header.from_index = r.get<std::uint8_t>();
    header.to_index = r.get<std::uint8_t>();
    if (header.from_index >= kMaxAmfs || header.to_index >= kMaxAmfs) return fail(Errc::corrupt);
    header.group = r.uuid();
    header.epoch = r.get<Epoch>();
    header.head_size = r.get<std::uint32_t>();
    header.payload_size = r.get<std::uint32_t>();
    header.payload_crc = r.get<std::uint32_t>();
    header.crc = r.get<std::uint32_t>();
    if (header.head_size > limits.head || header.payload_size > limits.payload) return fail(Errc::too_large);
    return header;
}

Status check_frame_head(const FrameHeader& header, FrameHeaderBytes bytes, std::span<const std::byte> head) {
    if (head.size() != header.head_size) return fail(Errc::corrupt);
    if (crc32c(head, crc32c(bytes.first<kCrcAt>())) != header.crc) return fail(Errc::corrupt);
    return {};
}

Status check_frame_payload(const FrameHeader& header, std::span<const std::byte> payload) {
    if (payload.size() != header.payload_size || crc32c(payload) != header.payload_crc)
        return fail(Errc::corrupt);
    return {};
}

Bytes encode_hello(const Hello& hello) {
    Bytes out;
    out.reserve(kHelloSize);
    Writer w(out);
    w.put(std::uint16_t{1});  // version of what follows the hello; the frame has its own
    w.put(hello.cluster);
    w.put(hello.from);
    w.put(hello.from_incarnation);
    w.put(hello.to);
    w.put(hello.to_incarnation);
    return out;
}

Result<Hello> decode_hello(std::span<const std::byte> head) {
    Reader r(head);
    if (const auto version = r.get<std::uint16_t>(); r.ok() && version != 1) return fail(Errc::unsupported);
    Hello hello;
    hello.cluster = r.uuid();
    hello.from = r.get<ControllerId>();
    hello.from_incarnation = r.get<Incarnation>();
    hello.to = r.get<ControllerId>();
    hello.to_incarnation = r.get<Incarnation>();
    if (!r.done()) return fail(Errc::corrupt);
    return hello;
}

Bytes encode_view_changed(Epoch epoch) {
    Bytes out;
    Writer(out).put(epoch);
    return out;
}

Result<Epoch> decode_view_changed(std::span<const std::byte> head) {
    Reader r(head);
    const Epoch epoch = r.get<Epoch>();
    if (!r.done()) return fail(Errc::corrupt);
    return epoch;
}

namespace {

/// Times of one process's clock, and lengths of time: what could overflow is not one.
constexpr std::uint64_t kLatest = 1ull << 62;

void put_time(Writer& out, Nanos time) { out.put(static_cast<std::uint64_t>(time.count())); }
Result<Nanos> get_time(Reader& in) {
    const auto count = in.get<std::uint64_t>();
    if (count >= kLatest) return fail(Errc::corrupt);
    return Nanos(static_cast<Nanos::rep>(count));
}

}  // namespace

Bytes encode_ping(const Ping& ping) {
    Bytes out;
    Writer writer(out);
    put_time(writer, ping.sent_at);
    return out;
}

Result<Ping> decode_ping(std::span<const std::byte> head) {
    Reader in(head);
    TRY_LET(const Nanos sent_at, get_time(in));
    if (!in.done()) return fail(Errc::corrupt);
    return Ping{sent_at};
}

Bytes encode_pong(const Pong& pong) {
    Bytes out;
    Writer writer(out);
    put_time(writer, pong.sent_at);
    put_time(writer, pong.patience);
    return out;
}

Result<Pong> decode_pong(std::span<const std::byte> head) {
    Reader in(head);
    TRY_LET(const Nanos sent_at, get_time(in));
    TRY_LET(const Nanos patience, get_time(in));
    if (!in.done()) return fail(Errc::corrupt);
    return Pong{sent_at, patience};
}

std::string_view to_string(MessageType type) {
    switch (type) {
        case MessageType::hello:
            return "hello";
        case MessageType::ping:
            return "ping";
        case MessageType::pong:
            return "pong";
        case MessageType::view_changed:
            return "view_changed";
        case MessageType::groups_changed:
            return "groups_changed";
        case MessageType::lock_request:
            return "lock_request";
        case MessageType::lock_grant:
            return "lock_grant";
        case MessageType::lock_revoke:
            return "lock_revoke";
        case MessageType::lock_released:
            return "lock_released";
        case MessageType::lock_report:
            return "lock_report";
        case MessageType::lock_claim:
            return "lock_claim";
        case MessageType::lock_yield:
            return "lock_yield";
        case MessageType::lock_returned:
            return "lock_returned";
        case MessageType::record_begin:
            return "record_begin";
        case MessageType::record_redo:
            return "record_redo";
        case MessageType::record_end:
            return "record_end";
        case MessageType::record_ack:
            return "record_ack";
        case MessageType::record_sent:
            return "record_sent";
        case MessageType::table_update:
            return "table_update";
        case MessageType::table_ack:
            return "table_ack";
        case MessageType::table_version:
            return "table_version";
        case MessageType::table_fetch:
            return "table_fetch";
        case MessageType::table_page:
            return "table_page";
        case MessageType::table_agreed:
            return "table_agreed";
        case MessageType::member_ask:
            return "member_ask";
        case MessageType::member_told:
            return "member_told";
        case MessageType::cache_fetch:
            return "cache_fetch";
        case MessageType::cache_data:
            return "cache_data";
        case MessageType::flush_ask:
            return "flush_ask";
        case MessageType::flush_done:
            return "flush_done";
        case MessageType::dirty_pass:
            return "dirty_pass";
        case MessageType::dirty_taken:
            return "dirty_taken";
        case MessageType::host_latency:
            return "host_latency";
        case MessageType::trims_ask:
            return "trims_ask";
        case MessageType::trims_told:
            return "trims_told";
        case MessageType::completion_ask:
            return "completion_ask";
        case MessageType::completion_tell:
            return "completion_tell";
        case MessageType::forward_ports:
            return "forward_ports";
        case MessageType::forward_drained:
            return "forward_drained";
        case MessageType::forward_read:
            return "forward_read";
        case MessageType::forward_write:
            return "forward_write";
        case MessageType::forward_zeroes:
            return "forward_zeroes";
        case MessageType::forward_flush:
            return "forward_flush";
        case MessageType::forward_reply:
            return "forward_reply";
        case MessageType::forward_allocation:
            return "forward_allocation";
        default:
            return type >= MessageType::amf_first && type <= MessageType::amf_last ? "amf" : "unknown";
    }
}

}  // namespace braid
