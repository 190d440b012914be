// link: replica
// Messages from the input to a replicator that has a partner: no bytes may crash it, and what a decoder
// accepts must come back the same when it is encoded again. Input: type, size of the head, head, payload, and
// so on.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "replica/replicator.h"

namespace {

using namespace braid;

struct Nowhere final : Transport {
    void send(AmfId, Message) override {}
};

void check(const Message& message, const RecordLimits& limits) {
    if (const auto begin = decode_begin(message, limits)) {
        ASSERT(begin->info.length <= limits.stripe_size - begin->info.offset);
        const auto again = decode_begin(encode({}, *begin), limits);
        ASSERT(again->info == begin->info && again->dirty == begin->dirty);
    }
    if (const auto redo = decode_redo(message, limits)) {
        ASSERT(redo->redo.length <= limits.strip_size - redo->redo.at);
        ASSERT(decode_redo(encode({}, *redo), limits).has_value());
    }
    if (const auto end = decode_end(message)) ASSERT(decode_end(encode({}, *end))->done == end->done);
    if (const auto ack = decode_ack(message)) ASSERT(decode_ack(encode({}, *ack))->part == ack->part);
    if (const auto fetch = decode_fetch(message))
        ASSERT(decode_fetch(encode({}, *fetch))->ticket == fetch->ticket);
    if (const auto fetched = decode_fetched(message))
        ASSERT(decode_fetched(encode({}, *fetched))->next == fetched->next);
    if (const auto ask = decode_completion_ask(message))
        ASSERT(decode_completion_ask(encode({}, *ask))->about == ask->about);
    if (const auto tell = decode_completion_tell(message))
        ASSERT(decode_completion_tell(encode({}, *tell))->known == tell->known);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto input = std::as_bytes(std::span(data, size));
    Executor executor;
    Nowhere nowhere;
    Replicator replicator(executor, nowhere, {});
    const RecordLimits limits{16, 3 * 8192, 8192, 2};
    replicator.configure(2, limits);
    replicator.adopt({Epoch(1), AmfId(1), {{AmfId(1), Incarnation(1)}, {AmfId(2), Incarnation(1)}}});
    OpenRecord record(replicator);
    record.begin(StripeIndex(1), 0, 3, 0, Slice(Buffer::zeroed(4096)));
    while (input.size() >= 3) {
        Message message{{}, static_cast<MessageType>(32 + std::to_integer<unsigned>(input[0]) % 38), {}, {}};
        const std::size_t head =
            std::min<std::size_t>(std::to_integer<std::size_t>(input[1]), input.size() - 3);
        const std::size_t blocks = std::to_integer<std::size_t>(input[2]) % 5;
        message.head.assign(input.begin() + 3, input.begin() + 3 + static_cast<std::ptrdiff_t>(head));
        if (blocks != 0) message.payload = Slice(Buffer::zeroed(blocks * 4096));
        input = input.subspan(3 + head);
        check(message, limits);
        replicator.deliver(AmfId(2), message);
    }
    executor.run_until_idle();
    record.end(Effect::done);
    return 0;
}
