#include "destage/flush_frames.h"

namespace braid {

Message encode(const Uuid& group, const FlushAsk& frame) {
    Message message{group, MessageType::flush_ask, {}, {}};
    Writer out(message.head);
    out.put(frame.number);
    out.put(static_cast<std::uint8_t>((frame.leaving ? 1 : 0) | frame.times << 1));
    return message;
}

Message encode(const Uuid& group, const FlushDone& frame) {
    Message message{group, MessageType::flush_done, {}, {}};
    Writer out(message.head);
    out.put(frame.number);
    out.put(static_cast<std::uint8_t>(frame.ok ? 1 : 0));
    out.put(frame.passed);
    return message;
}

Result<FlushAsk> decode_flush_ask(const Message& message) {
    Reader in(message.head);
    FlushAsk frame{in.get<std::uint64_t>()};
    const auto flags = in.get<std::uint8_t>();
    frame.leaving = (flags & 1) != 0;
    frame.times = flags >> 1;
    const bool sane = in.done() && frame.times <= FlushAsk::kMostTimes;
    if (!sane || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return frame;
}

Result<FlushDone> decode_flush_done(const Message& message) {
    Reader in(message.head);
    FlushDone frame{in.get<std::uint64_t>()};
    const auto ok = in.get<std::uint8_t>();
    frame.passed = in.get<std::uint64_t>();
    if (!in.done() || ok > 1 || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    frame.ok = ok != 0;
    return frame;
}

}  // namespace braid
