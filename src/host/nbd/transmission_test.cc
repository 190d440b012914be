#include "host/nbd/nbd_fixture.h"

namespace braid::nbd {
namespace {

struct NbdTransmission : NbdTest {};

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
    Task<Status> write(std::uint64_t, Slice data, bool, Errand) override {
        address = reinterpret_cast<std::uintptr_t>(data.bytes.data());
        co_return Status{};
    }
    Task<Status> write_zeroes(std::uint64_t, std::uint64_t, bool, bool, Errand) override {
        co_return Status{};
    }
    Task<Status> flush() override { co_return Status{}; }
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t, std::uint64_t length, std::size_t,
                                                        AllocationDetail) override {
        co_return std::vector{AllocationRun{length, false}};
    }
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

TEST_F(NbdTransmission, ATrimIsZerosAndCacheAHint) {
    const auto wire = attach();
    EXPECT_EQ(ask(*wire, request(kTrim, 1, 0, kDiskSize, 1)), simple(1, 0).bytes());
    EXPECT_EQ(space.zeroes, 1u);
    EXPECT_EQ(space.fua_seen, 1u);
    EXPECT_EQ(ask(*wire, request(kCache, 2, 5, 100)), simple(2, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kTrim, 3, 1, kDiskSize)), simple(3, 22).bytes());
    EXPECT_EQ(space.writes + space.zeroes + space.reads, 1u);
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

TEST_F(NbdTransmission, BlockStatusTellsOfTrimmedBlocksAsMuchAsFitsAnAnswer) {
    const auto wire = attach(true);
    space.allocate(kExtentSize, 2 * kExtentSize);
    EXPECT_EQ(ask(*wire, request(kTrim, 1, 4096, 8192)), simple(1, 0).bytes());
    EXPECT_EQ(
        ask(*wire, request(kBlockStatus, 2, 100, 20000)),
        chunk(5, 2, 4 + 24).u32(1).u32(4096 - 100).u32(0).u32(8192).u32(3).u32(20100 - 12288).u32(0).bytes());
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 3, 5000, 20000, 8)),
              chunk(5, 3, 4 + 8).u32(1).u32(12288 - 5000).u32(3).bytes());
    EXPECT_EQ(ask(*wire, request(kWrite, 4, 8191, 2).fill(2, 1)), simple(4, 0).bytes());
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 5, 4096, 8192)),
              chunk(5, 5, 4 + 8).u32(1).u32(8192).u32(0).bytes());
    for (unsigned i = 0; i < 2000; ++i) (void)ask(*wire, request(kTrim, 6, i * 8192, 4096));
    EXPECT_EQ(ask(*wire, request(kBlockStatus, 7, 0, kExtentSize)).size(), 20 + 4 + 1024 * 8u);
}

TEST_F(NbdTransmission, ErrorsOfTheDiskBecomeErrorsOfTheWire) {
    const auto wire = attach();
    const std::pair<Errc, unsigned> expected[] = {{Errc::not_ready, 108},  {Errc::no_space, 28},
                                                  {Errc::unsupported, 95}, {Errc::invalid, 22},
                                                  {Errc::media_error, 5},  {Errc::offline, 108}};
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
    EXPECT_EQ(ask(*wire, request(kCache, 2, 0, 1)), simple(2, 0).bytes());
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

}  // namespace
}  // namespace braid::nbd
