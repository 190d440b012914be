// link: cache destage amf jobs
// The two messages of the caches, of a flush, of trims, and that of the pace: no head and no payload crashes
// a decoder, and what one accepts encodes to the same. First byte: how many half blocks of payload there are.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "amf/peer_trims.h"
#include "base/assert.h"
#include "cache/cache_frames.h"
#include "destage/flush_frames.h"
#include "jobs/pace_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace braid;
    if (size == 0) return 0;
    const auto head = std::as_bytes(std::span(data, size)).subspan(1);
    if (const auto fetch = decode_cache_fetch(head)) {
        const Message message = encode({}, *fetch);
        ASSERT(message.type == MessageType::cache_fetch && std::ranges::equal(message.head, head));
        ASSERT(fetch->length != 0 && fetch->length <= kMostCacheData);
    }
    const std::size_t payload = data[0] * kBlockSize / 2;
    Message message{{}, MessageType::cache_data, Bytes(head.begin(), head.end()), {}};
    if (payload != 0) message.payload = Slice(Buffer::zeroed(payload));
    if (const auto answer = decode_cache_data(message)) {
        const Message again = encode({}, *answer);
        ASSERT(again.type == message.type && again.head == message.head);
        ASSERT(again.payload.bytes.data() == message.payload.bytes.data());
        ASSERT(payload % kBlockSize == 0);
    }
    message.type = MessageType::flush_ask;
    if (const auto ask = decode_flush_ask(message)) ASSERT(encode({}, *ask).head == message.head);
    message.type = MessageType::flush_done;
    if (const auto done = decode_flush_done(message)) ASSERT(encode({}, *done).head == message.head);
    message.type = MessageType::trims_ask;
    if (const auto ask = decode_trims_ask(message)) ASSERT(encode({}, *ask).head == message.head);
    message.type = MessageType::trims_told;
    if (const auto told = decode_trims_told(message)) ASSERT(encode({}, *told).head == message.head);
    message.type = MessageType::host_latency;
    if (const auto latency = decode_host_latency(message)) ASSERT(encode({}, *latency).head == message.head);
    return 0;
}
