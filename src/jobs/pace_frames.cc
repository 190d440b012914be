#include "jobs/pace_frames.h"

namespace braid {

Message encode(const Uuid& group, const HostLatency& latency) {
    Message message{group, MessageType::host_latency, {}, {}};
    Writer out(message.head);
    out.put(static_cast<std::uint64_t>(latency.p99.count()));
    out.put(static_cast<std::uint64_t>(latency.span.count()));
    return message;
}

Result<HostLatency> decode_host_latency(const Message& message) {
    Reader in(message.head);
    const auto p99 = in.get<std::uint64_t>(), span = in.get<std::uint64_t>();
    const auto most = [](Nanos time) { return static_cast<std::uint64_t>(time.count()); };
    if (!in.done() || !message.payload.bytes.empty() || p99 == 0 || p99 > most(Latencies::longest()) ||
        span > most(HostLatency::kLongestSpan))
        return fail(Errc::corrupt);
    return HostLatency{Nanos(p99), Nanos(span)};
}

}  // namespace braid
