// link: nbd
// Whatever a client sends: the decoders, and a whole server with a port under it. The first byte says how the
// input is used; the rest is what arrives, in receives of a size that the second byte chooses.

#include "host/nbd/protocol.h"
#include "host/nbd/server.h"
#include "host/nbd/testing.h"

namespace braid::nbd {
namespace {

void decode(std::span<const std::byte> in) {
    (void)decode_info_request(in);
    (void)decode_meta_request(in);
    (void)decode_name(in);
    if (in.size() >= kRequestSize) (void)decode_request(in.first<kRequestSize>());
    if (in.size() >= kOptionHeaderSize) (void)decode_option_header(in.first<kOptionHeaderSize>());
}

Task<void> stop(Server& server) { co_await server.stop(); }

void serve(std::span<const std::byte> in, std::size_t receive_most, bool skip_handshake) {
    Executor executor;
    MemorySpace space(executor, 1u << 20);
    PortRegistry ports;
    (void)ports.add(std::make_shared<Port>(executor, space, VirtualDisk{"v0", "", 1u << 20, ExtentIndex(0)}));
    testing::ManualClock clock(executor);
    testing::WireNetwork network(executor);
    Limits limits;
    limits.requests_in_flight = 8;
    limits.bytes_in_flight = 1u << 20;
    limits.receive_buffer = 4096;
    limits.option_length = 512;
    Server server(executor, clock, network, ports, limits);
    (void)server.listen("a");
    const auto wire = network.dial();
    wire->receive_most = receive_most;
    executor.run_until_idle();
    if (skip_handshake) {
        wire->send(testing::Script().u32(3).u64(kOptionMagic).u32(8).u32(0));  // structured replies
        wire->send(testing::Script()
                       .u64(kOptionMagic)
                       .u32(10)
                       .u32(27)
                       .u32(2)
                       .text("v0")
                       .u32(1)
                       .u32(13)
                       .text(kAllocationContext.substr(0, 13)));  // not a context: ignored
        wire->send(testing::Script()
                       .u64(kOptionMagic)
                       .u32(10)
                       .u32(28)
                       .u32(2)
                       .text("v0")
                       .u32(1)
                       .u32(14)
                       .text(kAllocationContext));
        wire->send(testing::Script().u64(kOptionMagic).u32(7).u32(8).u32(2).text("v0").u16(0));
    }
    wire->send(in);
    executor.run_until_idle();
    wire->end();
    executor.run_until_idle();
    ASSERT(server.connections() == 0);
    Scope scope(executor);
    scope.spawn(stop(server));
    executor.run_until_idle();
    ASSERT(scope.running() == 0);
}

}  // namespace
}  // namespace braid::nbd

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const auto in = std::as_bytes(std::span(data, size)).subspan(2);
    switch (data[0] % 3) {
        case 0:
            braid::nbd::decode(in);
            break;
        default:
            braid::nbd::serve(in, data[1] == 0 ? ~std::size_t{0} : data[1], data[0] % 3 == 1);
    }
    return 0;
}
