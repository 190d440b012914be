#include "replica/record.h"

#include <bit>

namespace braid {
namespace {

constexpr std::uint8_t kDone = 1;

void put(Writer& out, const RecordId& id) {
    out.put(id.origin);
    out.put(id.incarnation);
    out.put(id.sequence);
}

RecordId get_id(Reader& in) {
    RecordId id;
    id.origin = in.get<AmfId>();
    id.incarnation = in.get<Incarnation>();
    id.sequence = in.get<std::uint64_t>();
    if (id.origin.v == 0 || id.sequence == 0) in.fail();
    return id;
}

Message make(const Uuid& group, MessageType type) {
    Message message{group, type, {}, {}};
    message.head.reserve(64);
    return message;
}

/// Beside the attempts in a begin frame.
constexpr std::uint8_t kDirty = 0x80;

bool whole_blocks(std::uint32_t a, std::uint32_t b) { return a % kBlockSize == 0 && b % kBlockSize == 0; }

}  // namespace

Message encode(const Uuid& group, const BeginFrame& frame) {
    Message message = make(group, MessageType::record_begin);
    Writer out(message.head);
    put(out, frame.info.id);
    put(out, frame.info.root);
    out.put(static_cast<std::uint8_t>(frame.info.attempts | (frame.dirty ? kDirty : 0)));
    out.put(frame.info.stripe);
    out.put(frame.info.base);
    out.put(frame.info.zone);
    out.put(frame.info.offset);
    out.put(frame.info.length);
    out.put(frame.at);
    out.put(static_cast<std::uint8_t>(frame.info.errand ? 1 : 0));
    if (frame.info.errand) put(out, frame.info.errand);
    message.payload = frame.data;
    return message;
}

Result<BeginFrame> decode_begin(const Message& message, const RecordLimits& limits) {
    Reader in(message.head);
    BeginFrame frame;
    frame.info.id = get_id(in);
    frame.info.root = get_id(in);
    const auto attempts = in.get<std::uint8_t>();
    frame.info.attempts = attempts & (kDirty - 1);
    frame.dirty = (attempts & kDirty) != 0;
    frame.info.stripe = in.get<StripeIndex>();
    frame.info.base = in.get<std::uint64_t>();
    frame.info.zone = in.get<std::uint32_t>();
    frame.info.offset = in.get<std::uint32_t>();
    frame.info.length = in.get<std::uint32_t>();
    frame.at = in.get<std::uint32_t>();
    const auto forwarded = in.get<std::uint8_t>();
    if (forwarded == 1) frame.info.errand = get_errand(in);
    if (!in.done() || forwarded > 1) return fail(Errc::corrupt);
    const RecordInfo& info = frame.info;
    if (info.stripe.v >= limits.stripes || info.length == 0 || !whole_blocks(info.offset, info.length) ||
        info.length > limits.stripe_size || info.offset > limits.stripe_size - info.length) {
        return fail(Errc::corrupt);
    }
    if (info.base % kBlockSize != 0 || info.base > limits.logical_size || info.end() > limits.logical_size)
        return fail(Errc::corrupt);
    if (frame.at % kMaxRecordFrame != 0 || frame.at >= info.length) return fail(Errc::corrupt);
    if (message.payload.bytes.size() != std::min(kMaxRecordFrame, info.length - frame.at))
        return fail(Errc::corrupt);
    frame.data = message.payload;
    return frame;
}

Message encode(const Uuid& group, const RedoFrame& frame) {
    Message message = make(group, MessageType::record_redo);
    Writer out(message.head);
    put(out, frame.id);
    out.put(frame.redo.parities);
    out.put(frame.redo.at);
    out.put(frame.redo.length);
    message.payload = frame.redo.bytes;
    return message;
}

Result<RedoFrame> decode_redo(const Message& message, const RecordLimits& limits) {
    Reader in(message.head);
    RedoFrame frame;
    frame.id = get_id(in);
    frame.redo.parities = in.get<std::uint8_t>();
    frame.redo.at = in.get<std::uint32_t>();
    frame.redo.length = in.get<std::uint32_t>();
    if (!in.done()) return fail(Errc::corrupt);
    const Redo& redo = frame.redo;
    if (redo.parities >= (1u << limits.parity) || redo.length == 0 || !whole_blocks(redo.at, redo.length) ||
        redo.length > limits.strip_size || redo.at > limits.strip_size - redo.length) {
        return fail(Errc::corrupt);
    }
    const std::uint64_t expected =
        std::uint64_t{redo.length} * static_cast<unsigned>(std::popcount(redo.parities));
    if (message.payload.bytes.size() != expected) return fail(Errc::corrupt);
    frame.redo.bytes = message.payload;
    return frame;
}

Message encode(const Uuid& group, const EndFrame& frame) {
    Message message = make(group, MessageType::record_end);
    Writer out(message.head);
    put(out, frame.id);
    out.put(frame.stripe);
    out.put(frame.zone);
    out.put(static_cast<std::uint8_t>(frame.done ? kDone : 0));
    return message;
}

Result<EndFrame> decode_end(const Message& message) {
    Reader in(message.head);
    EndFrame frame;
    frame.id = get_id(in);
    frame.stripe = in.get<StripeIndex>();
    frame.zone = in.get<std::uint32_t>();
    const auto flags = in.get<std::uint8_t>();
    if (!in.done() || flags > kDone || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    frame.done = flags == kDone;
    return frame;
}

Message encode(const Uuid& group, const AckFrame& frame) {
    Message message = make(group, MessageType::record_ack);
    Writer out(message.head);
    put(out, frame.id);
    out.put(static_cast<std::uint8_t>(frame.part));
    return message;
}

Result<AckFrame> decode_ack(const Message& message) {
    Reader in(message.head);
    AckFrame frame;
    frame.id = get_id(in);
    const auto part = in.get<std::uint8_t>();
    if (!in.done() || part < 1 || part > 4 || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    frame.part = static_cast<AckedPart>(part);
    return frame;
}

Message encode(const Uuid& group, const FetchFrame& frame) {
    Message message = make(group, kRecordFetch);
    Writer out(message.head);
    out.put(frame.ticket);
    out.put(frame.first);
    out.put(frame.count);
    return message;
}

Result<FetchFrame> decode_fetch(const Message& message) {
    Reader in(message.head);
    FetchFrame frame;
    frame.ticket = in.get<std::uint64_t>();
    frame.first = in.get<StripeIndex>();
    frame.count = in.get<std::uint32_t>();
    if (!in.done() || frame.count == 0 || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return frame;
}

Message encode(const Uuid& group, const FetchedFrame& frame) {
    Message message = make(group, kRecordFetched);
    Writer out(message.head);
    out.put(frame.ticket);
    out.put(frame.next);
    return message;
}

Result<FetchedFrame> decode_fetched(const Message& message) {
    Reader in(message.head);
    FetchedFrame frame;
    frame.ticket = in.get<std::uint64_t>();
    frame.next = in.get<StripeIndex>();
    if (!in.done() || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return frame;
}

}  // namespace braid
