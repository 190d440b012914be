#include "cache/cache_frames.h"

namespace braid {

Message encode(const Uuid& group, const CacheFetch& frame) {
    Message message{group, MessageType::cache_fetch, {}, {}};
    message.head.reserve(24);
    Writer out(message.head);
    out.put(frame.number);
    out.put(frame.at);
    out.put(frame.length);
    out.put(frame.generation);
    return message;
}

Message encode(const Uuid& group, const CacheData& frame) {
    Message message{group, MessageType::cache_data, {}, frame.data};
    Writer(message.head).put(frame.number);
    return message;
}

Result<CacheFetch> decode_cache_fetch(std::span<const std::byte> head) {
    Reader in(head);
    CacheFetch frame;
    frame.number = in.get<std::uint64_t>();
    frame.at = in.get<std::uint64_t>();
    frame.length = in.get<std::uint32_t>();
    frame.generation = in.get<std::uint32_t>();
    const bool blocks = frame.at % kBlockSize == 0 && frame.length % kBlockSize == 0;
    if (!in.done() || !blocks || frame.length == 0 || frame.length > kMostCacheData)
        return fail(Errc::corrupt);
    return frame;
}

Result<CacheData> decode_cache_data(const Message& message) {
    Reader in(message.head);
    CacheData frame{in.get<std::uint64_t>(), message.payload};
    const std::size_t size = frame.data.bytes.size();
    if (!in.done() || size % kBlockSize != 0 || size > kMostCacheData) return fail(Errc::corrupt);
    return frame;
}

}  // namespace braid
