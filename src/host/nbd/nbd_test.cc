#include <gtest/gtest.h>

#include <optional>

#include "host/nbd/protocol.h"
#include "host/nbd/server.h"
#include "host/nbd/testing.h"

namespace braid::nbd {
namespace {

using testing::Script;
using testing::Wire;

constexpr std::uint64_t kDiskSize = 2 * kExtentSize + 1000;
constexpr std::uint16_t kPlainFlags =
    0x0d6d;  // has_flags flush fua trim write_zeroes multi_conn cache fast_zero
constexpr std::uint16_t kStructuredFlags = kPlainFlags | 0x80;

Script option(std::uint32_t number, const Script& data = {}) {
    Script s;
    s.u64(0x49484156454f5054).u32(number).u32(data.bytes().size());
    s.append(data.bytes());
    return s;
}
Script go(std::string_view name, std::uint32_t number = 7) {
    return option(number, Script().u32(name.size()).text(name).u16(0));
}
Script meta(std::uint32_t number, std::string_view name, std::vector<std::string> queries) {
    Script data;
    data.u32(name.size()).text(name).u32(queries.size());
    for (const auto& q : queries) data.u32(q.size()).text(q);
    return option(number, data);
}
Script option_reply(std::uint32_t number, std::uint32_t type, const Script& data = {}) {
    Script s;
    s.u64(0x0003e889045565a9).u32(number).u32(type).u32(data.bytes().size());
    s.append(data.bytes());
    return s;
}
Script request(unsigned type, std::uint64_t cookie, std::uint64_t offset, std::uint64_t length,
               unsigned flags = 0) {
    return Script().u32(0x25609513).u16(flags).u16(type).u64(cookie).u64(offset).u32(length);
}
Script simple(std::uint64_t cookie, unsigned error) {
    return Script().u32(0x67446698).u32(error).u64(cookie);
}
Script chunk(unsigned type, std::uint64_t cookie, std::uint32_t length) {
    return Script().u32(0x668e33ef).u16(1).u16(type).u64(cookie).u32(length);
}
Script error_reply(std::uint64_t cookie, unsigned error) {
    return chunk(0x8001, cookie, 6).u32(error).u16(0);
}

enum { kRead, kWrite, kDisc, kFlush, kTrim, kCache, kWriteZeroes, kBlockStatus };

Task<void> stop_server(Server& server, bool& done) {
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

struct NbdHandshake : NbdTest {};
struct NbdTransmission : NbdTest {};
struct NbdHostile : NbdTest {};
struct NbdClosing : NbdTest {};
struct NbdBounds : NbdTest {};

TEST_F(NbdHandshake, ExportNameGivesSizeFlagsAndPadding) {
    const auto padded = dial();
    EXPECT_EQ(ask(*padded, Script().u32(1)), Bytes());
    EXPECT_EQ(ask(*padded, option(1, Script().text("v0"))),
              Script().u64(kDiskSize).u16(kPlainFlags).fill(124, 0).bytes());
    const auto bare = dial();
    send(*bare, Script().u32(3));
    EXPECT_EQ(ask(*bare, option(1)), Script().u64(kDiskSize).u16(kPlainFlags).bytes());
    EXPECT_EQ(ask(*bare, request(kFlush, 7, 0, 0)), simple(7, 0).bytes());
}

TEST_F(NbdHandshake, ExportNameOfAnUnknownNameEndsTheConnection) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    EXPECT_EQ(ask(*wire, option(1, Script().text("v"))), Bytes());
    EXPECT_TRUE(wire->server_ended);
    EXPECT_EQ(server().counters().handshakes_failed, 1u);
}

TEST_F(NbdHandshake, GoTellsWhatWasAskedAndStartsTransmission) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    const Script data = Script().u32(2).text("v0").u16(3).u16(1).u16(2).u16(3);
    for (unsigned number : {6u, 7u}) {
        const Script parts[] = {option_reply(number, 3, Script().u16(0).u64(kDiskSize).u16(kPlainFlags)),
                                option_reply(number, 3, Script().u16(3).u32(1).u32(4096).u32(32u << 20)),
                                option_reply(number, 3, Script().u16(1).text("v0")),
                                option_reply(number, 3, Script().u16(2).text("about v0")),
                                option_reply(number, 1)};
        Bytes all;
        for (const Script& part : parts) all.insert(all.end(), part.bytes().begin(), part.bytes().end());
        EXPECT_EQ(ask(*wire, option(number, data)), all);
    }
    EXPECT_EQ(ask(*wire, request(kFlush, 1, 0, 0)), simple(1, 0).bytes());
}

TEST_F(NbdHandshake, DontFragmentIsOfferedWithStructuredRepliesOnly) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    send(*wire, option(8));
    received(*wire);
    EXPECT_EQ(ask(*wire, option(1)), Script().u64(kDiskSize).u16(kStructuredFlags).bytes());
}

TEST_F(NbdHandshake, OptionsAreAnsweredWhateverTheyAre) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    EXPECT_EQ(ask(*wire, option(5)), option_reply(5, 0x80000001).bytes()) << "no TLS";
    EXPECT_EQ(ask(*wire, option(4711, Script().fill(1000, 9))), option_reply(4711, 0x80000001).bytes());
    EXPECT_EQ(ask(*wire, option(8, Script().fill(1, 0))), option_reply(8, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, option(3, Script().fill(1, 0))), option_reply(3, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, go("nobody")), option_reply(7, 0x80000006).bytes());
    EXPECT_EQ(ask(*wire, option(7, Script().u32(77).text("v0").u16(0))), option_reply(7, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, option(7, Script().u32(2).text("v0").u16(1))), option_reply(7, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, option(7, Script().u32(2).text("v0").u16(0).u16(0))),
              option_reply(7, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, option(6, Script().fill(20000, 9))), option_reply(6, 0x80000009).bytes());
    EXPECT_EQ(ask(*wire, option(8)), option_reply(8, 1).bytes());
    EXPECT_EQ(ask(*wire, option(2)), option_reply(2, 1).bytes());
    EXPECT_TRUE(wire->server_ended);
    EXPECT_EQ(server().counters().handshakes_failed, 0u) << "an abort is orderly";
}

TEST_F(NbdHandshake, ListNamesAllExportsInOrder) {
    add_port("a", 1, 5);
    const auto wire = dial();
    send(*wire, Script().u32(3));
    Bytes expected;
    for (const Script& part : {option_reply(3, 2, Script().u32(1).text("a")),
                               option_reply(3, 2, Script().u32(2).text("v0")), option_reply(3, 1)}) {
        expected.insert(expected.end(), part.bytes().begin(), part.bytes().end());
    }
    EXPECT_EQ(ask(*wire, option(3)), expected);
}

TEST_F(NbdHandshake, MetaContextsNeedStructuredRepliesAndAnExport) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    EXPECT_EQ(ask(*wire, meta(10, "v0", {"base:allocation"})), option_reply(10, 0x80000003).bytes());
    send(*wire, option(8));
    received(*wire);
    const auto found = [](unsigned number, unsigned id) {
        Bytes all = option_reply(number, 4, Script().u32(id).text("base:allocation")).bytes();
        const Bytes ack = option_reply(number, 1).bytes();
        all.insert(all.end(), ack.begin(), ack.end());
        return all;
    };
    EXPECT_EQ(ask(*wire, meta(9, "v0", {})), found(9, 0));
    EXPECT_EQ(ask(*wire, meta(9, "v0", {"base:"})), found(9, 0));
    EXPECT_EQ(ask(*wire, meta(9, "v0", {"x-other:thing"})), option_reply(9, 1).bytes());
    EXPECT_EQ(ask(*wire, meta(10, "v0", {"base:"})), option_reply(10, 1).bytes());
    EXPECT_EQ(ask(*wire, meta(10, "nobody", {"base:allocation"})), option_reply(10, 0x80000006).bytes());
    EXPECT_EQ(ask(*wire, option(10, Script().u32(2).text("v0").u32(0xffffffff))),
              option_reply(10, 0x80000003).bytes());
    EXPECT_EQ(ask(*wire, meta(10, "v0", {"x", "base:allocation"})), found(10, 1));
}

TEST_F(NbdHandshake, AContextCountsOnlyForTheExportItWasSelectedFor) {
    add_port("other", kExtentSize, 5);
    const auto wire = dial();
    send(*wire, Script().u32(3));
    send(*wire, option(8));
    send(*wire, meta(10, "v0", {"base:allocation"}));
    send(*wire, go("other"));
    received(*wire);
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 5, 0, 10)), error_reply(5, 22).bytes());
}

TEST_F(NbdHandshake, ANewChoiceOfContextsReplacesTheOldOneEvenIfItIsEmptyOrWrong) {
    for (const Script& second : {meta(10, "v0", {}), meta(10, "nobody", {"base:allocation"})}) {
        const auto wire = dial();
        send(*wire, Script().u32(3));
        send(*wire, option(8));
        send(*wire, meta(10, "v0", {"base:allocation"}));
        send(*wire, second);
        send(*wire, go("v0"));
        received(*wire);
        EXPECT_EQ(ask(*wire, request(kBlockStatus, 5, 0, 10)), error_reply(5, 22).bytes());
    }
}

TEST_F(NbdHandshake, WorksByteByByte) {
    const auto wire = dial();
    Bytes all;
    for (const Script& part : {Script().u32(3), option(8), go("v0"), request(kWrite, 3, 4095, 3).text("abc"),
                               request(kRead, 4, 4094, 5), request(kDisc, 0, 0, 0)}) {
        for (std::byte b : part.bytes()) {
            wire->send({&b, 1});
            executor.run_until_idle();
        }
        all = received(*wire);
        if (part.bytes().size() == 31) EXPECT_EQ(all, simple(3, 0).bytes());
    }
    EXPECT_TRUE(wire->server_ended);
    EXPECT_EQ(std::memcmp(space.bytes().data() + kExtentSize + 4095, "abc", 3), 0);
}

TEST_F(NbdTransmission, WritesAndReadsBackAtAnyAlignment) {
    const auto wire = attach();
    EXPECT_EQ(ask(*wire, request(kWrite, 1, kDiskSize - 3, 3, 1).text("end")), simple(1, 0).bytes());
    EXPECT_EQ(space.fua_seen, 1u);
    EXPECT_EQ(ask(*wire, request(kRead, 2, kDiskSize - 5, 5)), simple(2, 0).fill(2, 0).text("end").bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 3, 5, 0)), simple(3, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kFlush, 4, 0, 0)), simple(4, 0).bytes());
    EXPECT_EQ(space.flushes, 1u);
    EXPECT_EQ(server().counters().bytes_written, 3u);
    EXPECT_EQ(server().counters().bytes_read, 5u);
    EXPECT_EQ(server().counters().requests[kRead], 2u);
}

TEST_F(NbdTransmission, StructuredReadsAreOneChunk) {
    const auto wire = attach(true);
    EXPECT_EQ(ask(*wire, request(kWrite, 1, 10, 3).text("abc")), simple(1, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 2, 9, 5, 4)),
              chunk(1, 2, 13).u64(9).fill(1, 0).text("abc").fill(1, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 3, 9, 0)), chunk(0, 3, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 4, kDiskSize, 1)), error_reply(4, 22).bytes());
}

/// Keeps where the data of the last write lay.
struct PlacedSpace final : GroupSpace {
    std::uintptr_t address = 0;
    Task<Status> read(std::uint64_t, std::span<std::byte> into) override {
        address = reinterpret_cast<std::uintptr_t>(into.data());
        co_return Status{};
    }
    Task<Status> write(std::uint64_t, Slice data, bool) override {
        address = reinterpret_cast<std::uintptr_t>(data.bytes.data());
        co_return Status{};
    }
    Task<Status> write_zeroes(std::uint64_t, std::uint64_t, bool, bool) override { co_return Status{}; }
    Task<Status> flush() override { co_return Status{}; }
    bool allocated(ExtentIndex) const override { return true; }
};

TEST_F(NbdTransmission, DataLiesInMemoryAsItLiesInItsBlocks) {
    PlacedSpace placed;
    ASSERT_TRUE(
        ports.add(std::make_shared<Port>(executor, placed, VirtualDisk{"p", "", 1u << 20, ExtentIndex(0)})));
    const auto wire = attach(false, "p");
    for (const unsigned offset : {0u, 8192u, 5000u, 4095u}) {
        send(*wire, request(kWrite, 1, offset, 9000).fill(9000, 1));
        EXPECT_EQ(placed.address % 4096, offset % 4096);
        placed.address = 1;
        send(*wire, request(kRead, 1, offset, 9000));
        EXPECT_EQ(placed.address % 4096, offset % 4096);
    }
}

TEST_F(NbdTransmission, LargePayloadsArriveWholeWhateverTheReceivesBring) {
    const auto wire = attach();
    for (const std::size_t most : {7001uz, 60000uz, ~0uz}) {
        wire->receive_most = most;
        Script script = request(kWrite, most, 4097, 300000);
        for (unsigned i = 0; i < 300000; ++i) script.fill(1, (i * 7 + i / 251) & 0xff);
        const Bytes sent(script.bytes().begin() + 28, script.bytes().end());
        const Script next = request(kFlush, 8, 0, 0);
        script.append(next.bytes());
        std::memset(space.bytes().data() + kExtentSize, 0, 400000);
        Bytes expected = simple(most, 0).bytes();
        const Bytes flushed = simple(8, 0).bytes();
        expected.insert(expected.end(), flushed.begin(), flushed.end());
        EXPECT_EQ(ask(*wire, script), expected);
        EXPECT_EQ(std::memcmp(space.bytes().data() + kExtentSize + 4097, sent.data(), sent.size()), 0);
        EXPECT_EQ(space.bytes()[kExtentSize + 4096], std::byte{0});
    }
}

TEST_F(NbdTransmission, WriteZeroesCarriesItsFlags) {
    const auto wire = attach();
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 1, 0, kExtentSize, 16)), simple(1, 0).bytes())
        << "a hole is fast";
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 2, 0, 10, 2 | 16)), simple(2, 95).bytes())
        << "allocating is not";
    EXPECT_EQ(ask(*wire, request(kWrite, 3, 0, 2).text("xx")), simple(3, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 4, 0, 10, 16)), simple(4, 95).bytes());
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 5, 0, 1, 1)), simple(5, 0).bytes());
    EXPECT_EQ(space.fua_seen, 1u);
    EXPECT_EQ(ask(*wire, request(kRead, 6, 0, 2)), simple(6, 0).fill(1, 0).text("x").bytes());
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 7, 0, kDiskSize)), simple(7, 0).bytes())
        << "may be longer than payloads";
}

TEST_F(NbdTransmission, TrimAndCacheAreHints) {
    const auto wire = attach();
    EXPECT_EQ(ask(*wire, request(kTrim, 1, 0, kDiskSize, 1)), simple(1, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kCache, 2, 5, 100)), simple(2, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kTrim, 3, 1, kDiskSize)), simple(3, 22).bytes());
    EXPECT_EQ(space.writes + space.zeroes + space.reads, 0u);
}

TEST_F(NbdTransmission, BlockStatusTellsAllocationByExtents) {
    const auto wire = attach(true);
    space.allocate(2 * kExtentSize, 1);  // the disk's extent 1
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 1, 100, kDiskSize - 100)), chunk(5, 1, 4 + 24)
                                                                              .u32(1)
                                                                              .u32(kExtentSize - 100)
                                                                              .u32(3)
                                                                              .u32(kExtentSize)
                                                                              .u32(0)
                                                                              .u32(1000)
                                                                              .u32(3)
                                                                              .bytes());
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 2, 100, kDiskSize - 100, 8)),
              chunk(5, 2, 4 + 8).u32(1).u32(kExtentSize - 100).u32(3).bytes());
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 3, 100, 0)), error_reply(3, 22).bytes());
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 4, 100, kDiskSize)), error_reply(4, 22).bytes());
    const auto plain = attach(false);
    EXPECT_EQ(ask(*plain, request(kBlockStatus, 5, 0, 1)), simple(5, 22).bytes());
}

TEST_F(NbdTransmission, ErrorsOfTheDiskBecomeErrorsOfTheWire) {
    const auto wire = attach();
    const std::pair<Errc, unsigned> expected[] = {{Errc::not_ready, 108},  {Errc::no_space, 28},
                                                  {Errc::unsupported, 95}, {Errc::invalid, 22},
                                                  {Errc::media_error, 5},  {Errc::offline, 5}};
    for (const auto& [code, number] : expected) {
        space.fail_with(fail(code));
        EXPECT_EQ(ask(*wire, request(kRead, 1, 0, 10)), simple(1, number).bytes())
            << "no data after an error";
        EXPECT_EQ(ask(*wire, request(kWrite, 2, 0, 1).fill(1, 1)), simple(2, number).bytes());
        EXPECT_EQ(ask(*wire, request(kFlush, 3, 0, 0)), simple(3, number).bytes());
    }
    EXPECT_EQ(server().counters().errors, 18u);
}

TEST_F(NbdTransmission, BadRequestsAreRefusedAndTheConnectionGoesOn) {
    const auto wire = attach();
    EXPECT_EQ(ask(*wire, request(kRead, 1, 0, (32u << 20) + 1)), simple(1, 22).bytes());
    EXPECT_EQ(ask(*wire, request(99, 2, 0, 0)), simple(2, 22).bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 3, 0, 1, 4)), simple(3, 22).bytes()) << "DF was not negotiated";
    EXPECT_EQ(ask(*wire, request(kFlush, 4, 0, 0, 0x8000)), simple(4, 22).bytes());
    EXPECT_EQ(ask(*wire, request(kRead, 5, ~0ull, 2)), simple(5, 22).bytes());
    EXPECT_EQ(ask(*wire, request(kWrite, 6, kDiskSize, 3).text("abc")), simple(6, 28).bytes());
    EXPECT_EQ(ask(*wire, request(kWrite, 7, 0, (32u << 20) + 1).fill((32u << 20) + 1, 1)),
              simple(7, 22).bytes());
    EXPECT_EQ(ask(*wire, request(kWriteZeroes, 8, 1, kDiskSize)), simple(8, 28).bytes());
    EXPECT_EQ(ask(*wire, request(kFlush, 9, 0, 0)), simple(9, 0).bytes()) << "still in step";
    EXPECT_EQ(space.writes + space.reads + space.zeroes, 0u);
}

TEST_F(NbdTransmission, RepliesOfOneTurnLeaveTogether) {
    const auto wire = attach();
    Script many;
    for (unsigned i = 0; i < 32; ++i) {
        many.append(request(kRead, i, i * 4096, 4096).bytes());
    }
    const std::size_t before = wire->writes;
    EXPECT_EQ(ask(*wire, many).size(), 32u * (16 + 4096));
    EXPECT_EQ(wire->writes - before, 1u);
}

TEST_F(NbdTransmission, MoreRepliesThanOneCallHoldsKeepTheirOrder) {
    limits.requests_in_flight = 5000;
    const auto wire = attach();
    Script many;
    Bytes expected;
    for (unsigned i = 0; i < 3000; ++i) {
        const bool reads = i % 3 == 0;
        const Script one = request(reads ? kRead : kTrim, i, 0, 1);
        const Script reply = reads ? simple(i, 0).fill(1, 0) : simple(i, 0);
        many.append(one);
        expected.insert(expected.end(), reply.bytes().begin(), reply.bytes().end());
    }
    EXPECT_EQ(ask(*wire, many), expected);
}

TEST_F(NbdTransmission, TheWriterWaitsForWhatIsAlreadyOnItsWay) {
    const auto wire = attach();
    space.hold();
    send(*wire, request(kRead, 1, 0, 1));
    wire->receive_most = 14;
    const std::size_t before = wire->writes;
    space.release();
    wire->send(request(kTrim, 2, 0, 1));  // takes one round more than the read
    executor.run_until_idle();
    EXPECT_EQ(received(*wire), simple(1, 0).fill(1, 0).append(simple(2, 0)).bytes());
    EXPECT_EQ(wire->writes - before, 1u);
}

TEST_F(NbdTransmission, ReadyRepliesDoNotWaitForSlowOnes) {
    const auto wire = attach();
    space.hold();
    send(*wire, request(kRead, 1, 0, 1));
    EXPECT_EQ(ask(*wire, request(kTrim, 2, 0, 1)), simple(2, 0).bytes());
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire), simple(1, 0).fill(1, 0).bytes());
}

TEST_F(NbdTransmission, DisconnectFinishesAndAnswersWhatIsInside) {
    const auto wire = attach();
    space.hold();
    send(*wire, request(kWrite, 1, 0, 1).fill(1, 7));
    send(*wire, request(kDisc, 0, 0, 0));
    EXPECT_FALSE(wire->server_ended);
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire), simple(1, 0).bytes());
    EXPECT_TRUE(wire->server_ended);
    EXPECT_EQ(server().connections(), 0u);
    EXPECT_EQ(server().counters().protocol_errors, 0u);
}

TEST_F(NbdHostile, UnknownClientFlagsEndTheConnection) {
    const auto wire = dial();
    send(*wire, Script().u32(7));
    EXPECT_TRUE(wire->server_ended);
}

TEST_F(NbdHostile, GarbageEndsOnlyItsOwnConnection) {
    const auto good = attach();
    const auto in_options = dial();
    send(*in_options, Script().u32(3).fill(16, 0xa5));
    EXPECT_TRUE(in_options->server_ended);
    const auto in_transmission = attach();
    send(*in_transmission, Script().fill(28, 0xa5));
    EXPECT_TRUE(in_transmission->server_ended);
    EXPECT_EQ(server().counters().protocol_errors, 1u);
    EXPECT_EQ(server().connections(), 1u);
    EXPECT_EQ(ask(*good, request(kFlush, 1, 0, 0)), simple(1, 0).bytes());
}

TEST_F(NbdHostile, HalfAHeaderAndTheEndIsAnEnd) {
    const auto wire = attach();
    send(*wire, Script().u32(0x25609513));
    wire->end();
    executor.run_until_idle();
    EXPECT_EQ(server().connections(), 0u);
    const auto half_payload = attach();
    send(*half_payload, request(kWrite, 1, 0, 100).fill(50, 1));
    half_payload->end();
    executor.run_until_idle();
    EXPECT_EQ(server().connections(), 0u);
    EXPECT_EQ(space.writes, 0u) << "half a write is none";
}

TEST_F(NbdHostile, FourGigabyteLengthsTakeNoMemory) {
    const auto as_option = dial();
    send(*as_option, Script().u32(3).u64(0x49484156454f5054).u32(7).u32(0xffffffff));
    EXPECT_TRUE(as_option->server_ended);
    const auto as_write = attach();
    const std::size_t before = Buffer::bytes_in_use();
    send(*as_write, request(kWrite, 1, 0, 0xffffffff));
    EXPECT_TRUE(as_write->server_ended);
    const auto as_read = attach();
    EXPECT_EQ(ask(*as_read, request(kRead, 1, 0, 0xffffffff)), simple(1, 22).bytes());
    EXPECT_LE(Buffer::bytes_in_use(), before);
}

TEST_F(NbdHostile, AnOptionsFloodEnds) {
    const auto wire = dial();
    send(*wire, Script().u32(3));
    for (std::size_t i = 0; i < limits.options; ++i) {
        EXPECT_FALSE(wire->server_ended) << i;
        send(*wire, option(3));
    }
    EXPECT_TRUE(wire->server_ended);
}

TEST_F(NbdHostile, ASlowHandshakeEndsAtItsDeadline) {
    const auto slow = dial();
    send(*slow, Script().u16(0));
    const auto done = attach();
    clock.advance(limits.handshake_deadline - 1ms);
    EXPECT_FALSE(slow->server_ended);
    clock.advance(2ms);
    EXPECT_TRUE(slow->server_ended);
    clock.advance(limits.handshake_deadline * 10);
    EXPECT_FALSE(done->server_ended) << "an idle host stays";
}

TEST_F(NbdHostile, OneConnectionTooManyIsClosedAtOnce) {
    limits.connections = 2;
    const auto a = attach(), b = attach();
    const auto c = network.dial();
    executor.run_until_idle();
    EXPECT_TRUE(c->server_ended);
    EXPECT_EQ(received(*c), Bytes());
    EXPECT_EQ(server().counters().connections_refused, 1u);
    EXPECT_EQ(ask(*a, request(kFlush, 1, 0, 0)), simple(1, 0).bytes());
}

TEST_F(NbdHostile, AClientThatCannotBeAnsweredLosesItsConnection) {
    const auto wire = attach();
    wire->refuses_writes = true;
    send(*wire, request(kFlush, 1, 0, 0));
    EXPECT_TRUE(wire->server_ended);
    EXPECT_EQ(server().connections(), 0u);
}

TEST_F(NbdHostile, AFloodDoesNotKeepTheThreadForItself) {
    const auto flood = attach(), other = attach();
    flood->receive_most = 28;
    for (unsigned i = 0; i < 1000; ++i) flood->send(request(kTrim, i, 0, 1));
    other->send(request(kTrim, 1, 0, 1));
    while (other->from_server.empty()) ASSERT_TRUE(executor.run_one());
    EXPECT_LT(server().counters().requests[kTrim], 20u);
}

TEST_F(NbdHostile, ADeadClientsBegunRequestsAreAwaitedAndTheRestDropped) {
    limits.requests_in_flight = 4;
    const auto wire = attach();
    space.hold();
    for (unsigned i = 0; i < 10; ++i) wire->send(request(kWrite, i, i, 1).fill(1, 1));
    executor.run_until_idle();
    EXPECT_EQ(space.writes, 4u);
    wire->server_ended = true;  // the socket is reset
    wire->end();
    executor.run_until_idle();
    EXPECT_EQ(server().connections(), 1u) << "operations still hold its memory";
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(server().connections(), 0u);
    EXPECT_LE(space.writes, 6u);
}

TEST_F(NbdClosing, APortFinishesRefusesThenDisconnects) {
    const auto wire = attach();
    space.hold();
    send(*wire, request(kWrite, 1, 0, 1).fill(1, 7));
    ASSERT_TRUE(ports.remove("v0"));
    EXPECT_EQ(ask(*wire, request(kRead, 2, 0, 1)), simple(2, 108).bytes());
    EXPECT_EQ(ask(*wire, request(kWrite, 3, 0, 3).fill(3, 1)), simple(3, 108).bytes());
    clock.advance(limits.closing_grace * 3);
    EXPECT_FALSE(wire->server_ended) << "the write is still inside";
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire), simple(1, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kFlush, 4, 0, 0)), simple(4, 108).bytes());
    EXPECT_FALSE(wire->server_ended);
    clock.advance(limits.closing_grace * 2);
    EXPECT_TRUE(wire->server_ended);
    const auto later = dial();
    send(*later, Script().u32(3));
    EXPECT_EQ(ask(*later, go("v0")), option_reply(7, 0x80000006).bytes());
}

TEST_F(NbdClosing, StopWaitsForOperationsBeyondItsDeadline) {
    const auto busy = attach(), idle = attach(), greeted = dial();
    space.hold();
    send(*busy, request(kRead, 1, 0, 1));
    stop();
    EXPECT_FALSE(stopped) << "a read is still inside";
    EXPECT_TRUE(idle->server_ended);
    EXPECT_TRUE(greeted->server_ended);
    space.release();
    executor.run_until_idle();
    EXPECT_TRUE(stopped);
}

TEST_F(NbdClosing, StopDeliversTheRepliesOfWhatIsInside) {
    limits.drain_deadline = 5s;
    const auto wire = attach();
    space.hold();
    send(*wire, request(kRead, 1, 0, 1));
    bool done = false;
    Scope scope(executor);
    scope.spawn(stop_server(server(), done));
    EXPECT_EQ(ask(*wire, request(kRead, 2, 0, 1)), simple(2, 108).bytes());
    clock.advance(4s);
    EXPECT_FALSE(wire->server_ended);
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire), simple(1, 0).fill(1, 0).bytes());
    EXPECT_TRUE(wire->server_ended);
    EXPECT_TRUE(done);
}

TEST_F(NbdBounds, RequestsInFlightOfAConnection) {
    limits.requests_in_flight = 16;
    const auto wire = attach();
    space.hold();
    for (unsigned i = 0; i < 100; ++i) wire->send(request(kRead, i, 0, 1));
    executor.run_until_idle();
    EXPECT_EQ(space.inside, 16u);
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire).size(), 100u * 17);
    EXPECT_EQ(space.most_inside, 16u);
}

TEST_F(NbdBounds, RepliesThatAreNotTakenHoldTheNextRequestsBack) {
    limits.requests_in_flight = 16;
    const auto wire = attach();
    wire->room = 0;
    for (unsigned i = 0; i < 1000; ++i) wire->send(request(kRead, i, 0, 4096));
    executor.run_until_idle();
    EXPECT_EQ(space.reads, 16u);
    wire->take(~std::size_t{0} / 2);
    executor.run_until_idle();
    EXPECT_EQ(received(*wire).size(), 1000u * (16 + 4096));
}

TEST_F(NbdBounds, BytesInFlightOfAConnection) {
    limits.bytes_in_flight = 1u << 20;
    const auto wire = attach();
    space.hold();
    for (unsigned i = 0; i < 20; ++i) wire->send(request(kRead, i, 0, 256u << 10));
    executor.run_until_idle();
    EXPECT_EQ(space.inside, 4u);
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*wire).size(), 20u * (16 + (256u << 10)));
    EXPECT_EQ(ask(*wire, request(kRead, 99, 0, 4u << 20)).size(), 16 + (4u << 20))
        << "one alone may be larger";
}

TEST_F(NbdBounds, TheTotalIsSharedFairly) {
    limits.total_bytes_in_flight = 64u << 10;
    const auto greedy = attach(), modest = attach();
    space.hold();
    for (unsigned i = 0; i < 400; ++i) greedy->send(request(kRead, i, 0, 4096));
    executor.run_until_idle();
    EXPECT_EQ(space.inside, 16u);
    modest->send(request(kRead, 1, 0, 4096));
    executor.run_until_idle();
    EXPECT_EQ(space.inside, 16u);
    greedy->room = 17 * (16 + 4096);  // of the 400 few are answered before the other's one
    space.release();
    executor.run_until_idle();
    EXPECT_EQ(received(*modest).size(), 16u + 4096);
    EXPECT_LE(received(*greedy).size(), 17u * (16 + 4096));
    greedy->take(~std::size_t{0} / 2);
    executor.run_until_idle();
    EXPECT_GT(received(*greedy).size(), 380u * (16 + 4096));
}

TEST_F(NbdBounds, WhoKeepsMemoryWithoutMovingIsCutWhenOthersWait) {
    limits.total_bytes_in_flight = 64u << 10;
    const auto stuck = attach();
    stuck->room = 0;
    for (unsigned i = 0; i < 16; ++i) stuck->send(request(kRead, i, 0, 4096));
    clock.advance(limits.stall_deadline * 4);
    EXPECT_FALSE(stuck->server_ended) << "nobody waits";
    const auto other = attach();
    send(*other, request(kRead, 1, 0, 4096));
    EXPECT_EQ(received(*other), Bytes());
    clock.advance(limits.stall_deadline);
    EXPECT_TRUE(stuck->server_ended);
    EXPECT_EQ(received(*other).size(), 16u + 4096);
    EXPECT_EQ(server().counters().stalled, 1u);
}

TEST_F(NbdBounds, WhoIsStuckStaysWhenTheOthersGotTheirMemoryMeanwhile) {
    limits.total_bytes_in_flight = 64u << 10;
    const auto stuck = attach(), busy = attach(), other = attach();
    stuck->room = 0;
    send(*stuck, request(kRead, 1, 0, 32u << 10));
    clock.advance(limits.stall_deadline * 2);
    space.hold();
    send(*busy, request(kRead, 1, 0, 32u << 10));
    send(*other, request(kRead, 1, 0, 32u << 10));
    EXPECT_EQ(space.inside, 1u) << "the other waits";
    space.release();
    clock.advance(limits.stall_deadline * 2);
    EXPECT_EQ(received(*other).size(), 16u + (32u << 10));
    EXPECT_FALSE(stuck->server_ended);
}

TEST_F(NbdBounds, WhoWritesSlowlyButMovesStays) {
    limits.total_bytes_in_flight = 64u << 10;
    const auto slow = attach(), other = attach();
    for (unsigned i = 0; i < 40; ++i) {
        send(*slow, request(kWrite, i, 0, 60000).fill(30000, 1));
        send(*other, request(kRead, i, 0, 4096));
        clock.advance(limits.stall_deadline / 2);
        send(*slow, Script().fill(30000, 1));
    }
    EXPECT_FALSE(slow->server_ended);
    EXPECT_EQ(received(*other).size(), 40u * (16 + 4096));
}

TEST_F(NbdBounds, APayloadThatDoesNotComeIsCutWhenOthersWait) {
    limits.total_bytes_in_flight = 64u << 10;
    const auto stuck = attach(), other = attach();
    send(*stuck, request(kWrite, 1, 0, 60u << 10).fill(1, 1));
    send(*other, request(kRead, 1, 0, 4096));
    EXPECT_EQ(received(*other), Bytes());
    clock.advance(limits.stall_deadline * 2);
    EXPECT_TRUE(stuck->server_ended);
    EXPECT_EQ(received(*other).size(), 16u + 4096);
}

TEST_F(NbdHostile, ACrashInTheMiddleOfEverythingFreesAll) {
    const std::size_t before = Buffer::bytes_in_use();
    {
        Server crashed(executor, clock, network, ports, limits);
        ASSERT_TRUE(crashed.listen("b"));
        auto wire = network.dial();
        executor.run_until_idle();
        send(*wire, Script().u32(3));
        send(*wire, go("v0"));
        space.hold();
        wire->room = 0;
        for (unsigned i = 0; i < 5; ++i) send(*wire, request(kWrite, i, 0, 10).fill(10, 1));
        send(*wire, request(kTrim, 9, 0, 1));
        send(*wire, request(kWrite, 9, 0, 10).fill(5, 1));
    }
    EXPECT_EQ(Buffer::bytes_in_use(), before);
    EXPECT_EQ(ports.find("v0")->in_flight(), 0u);
}

}  // namespace
}  // namespace braid::nbd
