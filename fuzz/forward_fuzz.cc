// link: forward
// Messages from the input to both halves of forwarding: no bytes may crash them, and what a decoder accepts
// must come back the same when it is encoded again. Input: type, size of the head, size of the payload, head,
// and so on.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "forward/forward_client.h"
#include "forward/forward_server.h"
#include "forward/forwarded_space.h"
#include "icl/testing.h"
#include "volume/memory_space.h"

namespace {

using namespace braid;

constexpr std::size_t kSize = 1u << 20;

struct Nowhere final : Transport {
    void send(AmfId, Message) override {}
};

void check(const Message& message) {
    if (const auto r = decode_forward_request(message)) {
        const auto again = decode_forward_request(encode({}, *r));
        ASSERT(again && again->number == r->number && again->offset == r->offset &&
               again->length == r->length);
        ASSERT(r->length <= kMaxForwardData || r->data.bytes.empty());
        ASSERT(r->answer_size() <= kMaxForwardData);
        const auto runs = decode_runs(message.head, *r);
        ASSERT(!runs || (r->runs != 0 && runs->size() <= r->runs));
    }
    if (const auto r = decode_forward_reply(message))
        ASSERT(decode_forward_reply(encode({}, *r))->status == r->status);
    if (const auto list = decode_forward_ports(message))
        ASSERT(decode_forward_ports(encode(*list))->ports == list->ports);
    if (const auto d = decode_forward_drained(message))
        ASSERT(decode_forward_drained(encode(*d))->volume == d->volume);
}

Task<void> read(ForwardedSpace& space, Buffer into) { (void)co_await space.read(0, into.span()); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto input = std::as_bytes(std::span(data, size));
    Executor executor;
    testing::ManualClock clock(executor);
    Nowhere nowhere;
    Semaphore budget(executor, ForwardClient::kBudget);
    MemorySpace memory(executor, kSize);
    ForwardServer server(executor, memory, nowhere, {}, [](std::string_view, VolumeId) {
        return Result<ForwardServer::Place>(ForwardServer::Place{0, kSize});
    });
    server.adopt({{ControllerId(2), Incarnation(1), "out"}});
    ForwardClient client(executor, clock, nowhere, {}, budget);
    client.adopt({Epoch(1), AmfId(2), {{AmfId(1), Incarnation(1)}}});
    ForwardedSpace space(client, VolumeId(1));
    Scope scope(executor);
    scope.spawn(read(space, Buffer(4096)));
    executor.run_until_idle();
    while (input.size() >= 3) {
        Message message{{}, static_cast<MessageType>(96 + std::to_integer<unsigned>(input[0]) % 8), {}, {}};
        const std::size_t head =
            std::min<std::size_t>(std::to_integer<std::size_t>(input[1]), input.size() - 3);
        const std::size_t blocks = std::to_integer<std::size_t>(input[2]) % 5;
        message.head.assign(input.begin() + 3, input.begin() + 3 + static_cast<std::ptrdiff_t>(head));
        if (blocks != 0) message.payload = Slice(Buffer::zeroed(blocks * 512));
        input = input.subspan(3 + head);
        check(message);
        server.deliver(AmfId(2), message);
        client.deliver(AmfId(1), message);
        executor.run_until_idle();
    }
    return 0;
}
