// The fixture of the NBD tests: a server over an in-memory network with a manual clock, and a client that
// sends bytes.
#pragma once

#include <gtest/gtest.h>
#include <optional>
#include "host/nbd/protocol.h"
#include "host/nbd/server.h"
#include "host/nbd/testing.h"

namespace braid::nbd {

using testing::Script;
using testing::Wire;

constexpr std::uint64_t kDiskSize = 2 * kExtentSize + 1000;
constexpr std::uint16_t kPlainFlags =
    0x0d6d;  // has_flags flush fua trim write_zeroes multi_conn cache fast_zero
constexpr std::uint16_t kStructuredFlags = kPlainFlags | 0x80;

inline Script option(std::uint32_t number, const Script& data = {}) {
    Script s;
    s.u64(0x49484156454f5054).u32(number).u32(data.bytes().size());
    s.append(data.bytes());
    return s;
}
inline Script go(std::string_view name, std::uint32_t number = 7) {
    return option(number, Script().u32(name.size()).text(name).u16(0));
}
inline Script meta(std::uint32_t number, std::string_view name, std::vector<std::string> queries) {
    Script data;
    data.u32(name.size()).text(name).u32(queries.size());
    for (const auto& q : queries) data.u32(q.size()).text(q);
    return option(number, data);
}
inline Script option_reply(std::uint32_t number, std::uint32_t type, const Script& data = {}) {
    Script s;
    s.u64(0x0003e889045565a9).u32(number).u32(type).u32(data.bytes().size());
    s.append(data.bytes());
    return s;
}
inline Script request(unsigned type, std::uint64_t cookie, std::uint64_t offset, std::uint64_t length,
                      unsigned flags = 0) {
    return Script().u32(0x25609513).u16(flags).u16(type).u64(cookie).u64(offset).u32(length);
}
inline Script simple(std::uint64_t cookie, unsigned error) {
    return Script().u32(0x67446698).u32(error).u64(cookie);
}
inline Script chunk(unsigned type, std::uint64_t cookie, std::uint32_t length) {
    return Script().u32(0x668e33ef).u16(1).u16(type).u64(cookie).u32(length);
}
inline Script error_reply(std::uint64_t cookie, unsigned error) {
    return chunk(0x8001, cookie, 6).u32(error).u16(0);
}

enum { kRead, kWrite, kDisc, kFlush, kTrim, kCache, kWriteZeroes, kBlockStatus };

inline Task<void> stop_server(Server& server, bool& done) {
    co_await server.stop();
    done = true;
}

class NbdTest : public ::testing::Test {
protected:
    NbdTest() {
        add_port("v0", kDiskSize, 1);
        limits.receive_buffer = 64u << 10;
    }
    ~NbdTest() override {
        if (!server_) return;
        space.release();
        stop();
        EXPECT_TRUE(stopped);
        EXPECT_EQ(server_->connections(), 0u);
        server_.reset();
        ports = PortRegistry();
        EXPECT_EQ(Buffer::bytes_in_use(), buffers_before_) << "a request leaked its memory";
    }

    std::shared_ptr<Port> add_port(std::string name, std::uint64_t size, std::uint32_t first) {
        auto port = std::make_shared<Port>(executor, space,
                                           VirtualDisk{name, "about " + name, size, ExtentIndex(first)});
        EXPECT_TRUE(ports.add(port));
        return port;
    }
    Server& server() {
        if (!server_) {
            server_.emplace(executor, clock, network, ports, limits);
            EXPECT_TRUE(server_->listen("a"));
        }
        return *server_;
    }
    void stop() {
        if (std::exchange(stop_begun_, true)) return;
        scope_.spawn(stop_server(*server_, stopped));
        clock.advance(0s);
        clock.advance(limits.drain_deadline);
    }

    /// A client that has seen the greeting.
    std::shared_ptr<Wire> dial() {
        server();
        auto wire = network.dial();
        executor.run_until_idle();
        EXPECT_EQ(received(*wire), Script().u64(0x4e42444d41474943).u64(0x49484156454f5054).u16(3).bytes());
        return wire;
    }
    /// A client in transmission.
    std::shared_ptr<Wire> attach(bool structured = false, std::string_view name = "v0") {
        auto wire = dial();
        send(*wire, Script().u32(3));
        if (structured) send(*wire, option(8));
        if (structured) send(*wire, meta(10, name, {"base:allocation"}));
        send(*wire, go(name));
        EXPECT_FALSE(wire->server_ended);
        received(*wire);
        return wire;
    }
    void send(Wire& wire, const Script& script) {
        wire.send(script);
        executor.run_until_idle();
    }
    static Bytes received(Wire& wire) { return std::exchange(wire.from_server, {}); }
    Bytes ask(Wire& wire, const Script& script) {
        send(wire, script);
        return received(wire);
    }

    const std::size_t buffers_before_ = Buffer::bytes_in_use();
    Executor executor;
    testing::ManualClock clock{executor};
    testing::WireNetwork network{executor};
    MemorySpace space{executor, 8 * kExtentSize};
    PortRegistry ports;
    Limits limits;
    bool stopped = false;

private:
    std::optional<Server> server_;
    Scope scope_{executor};
    bool stop_begun_ = false;
};

}  // namespace braid::nbd
