#include "host/nbd/nbd_fixture.h"

namespace braid::nbd {
namespace {

struct NbdHostile : NbdTest {};
struct NbdClosing : NbdTest {};
struct NbdBounds : NbdTest {};

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

TEST_F(NbdHostile, WhoOnlyHoldsAPlaceMakesRoomForWhoComesLater) {
    limits.connections = 3;
    const auto host = attach();
    const auto first = dial(), second = dial();
    const auto newcomer = attach();
    EXPECT_TRUE(first->server_ended) << "the oldest handshake";
    EXPECT_FALSE(second->server_ended || host->server_ended);
    EXPECT_EQ(ask(*newcomer, request(kFlush, 1, 0, 0)), simple(1, 0).bytes());
    std::vector<std::shared_ptr<Wire>> flood;
    for (int i = 0; i < 50; ++i) flood.push_back(network.dial());  // in one turn
    executor.run_until_idle();
    EXPECT_EQ(server().connections(), 3u);
    EXPECT_FALSE(host->server_ended || newcomer->server_ended);
    EXPECT_EQ(ask(*host, request(kFlush, 2, 0, 0)), simple(2, 0).bytes());
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
