#include "host/nbd/nbd_fixture.h"

namespace braid::nbd {
namespace {

struct NbdHandshake : NbdTest {};

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

// Another thread's server takes the connection over where the handshake ended, with what came behind it.
TEST_F(NbdTest, AConnectionOfAnotherSideGoesThereWithWhatItHasSent) {
    PortRegistry other_ports;
    MemorySpace other_space(executor, 8 * kExtentSize);
    ASSERT_TRUE(other_ports.add(
        std::make_shared<Port>(executor, other_space, VirtualDisk{"w", "", kDiskSize, ExtentIndex(0)})));
    ASSERT_TRUE(ports.add(
        std::make_shared<Port>(executor, space, VirtualDisk{"w", "", kDiskSize, ExtentIndex(0)}), 2));
    Server other(executor, clock, network, other_ports, limits);
    std::vector<unsigned> sides;
    server().on_hand_over([&](unsigned side, Handed handed) {
        sides.push_back(side);
        other.take_over(std::move(handed));
    });
    const auto first = attach(false, "w");
    EXPECT_TRUE(sides.empty());
    auto second = dial();
    send(*second, Script().u32(3).append(go("w").bytes()).append(request(kFlush, 7, 0, 0).bytes()));
    EXPECT_EQ(sides, std::vector<unsigned>{1});
    EXPECT_EQ(server().connections(), 1u);
    EXPECT_EQ(other.connections(), 1u);
    const Bytes answer = received(*second);
    const Bytes flushed = simple(7, 0).bytes();
    ASSERT_GE(answer.size(), flushed.size());
    EXPECT_TRUE(std::ranges::equal(std::span(answer).last(flushed.size()), flushed));
    EXPECT_EQ(other_space.flushes, 1u);
    EXPECT_EQ(space.flushes, 0u);
    const auto third = attach(false, "w");
    EXPECT_EQ(server().connections(), 2u);  // in turn

    // A port that is gone by then: the connection ends.
    ASSERT_TRUE(other_ports.remove("w"));
    auto fourth = dial();
    send(*fourth, Script().u32(3).append(go("w").bytes()));
    EXPECT_TRUE(fourth->server_ended);
    second->end();
    bool ended = false;
    Scope scope(executor);
    scope.spawn(stop_server(other, ended));
    executor.run_until_idle();
    clock.advance(limits.drain_deadline);
    EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace braid::nbd
