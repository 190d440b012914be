#include "icl/icl.h"

#include "icl/icl_testing.h"

namespace braid {
namespace {

using namespace testing;

TEST_F(IclTest, MessagesArriveInOrderWithTheirPayloads) {
    both_up();
    Buffer data(128u << 10);
    for (std::size_t i = 0; i < data.size(); ++i) data.data()[i] = static_cast<std::byte>(i * 7);
    Message big{kGroup, MessageType::record_begin, text("big"), Slice(data, data.span(4096, 100'000))};
    b.icl.send(amf_id(a.id), note("one"));
    b.icl.send(amf_id(a.id), big);
    b.icl.send(amf_id(a.id), note("three", 4096));
    run();
    EXPECT_EQ(a.got, (Strings{"2:one", "2:big", "2:three"}));
    ASSERT_EQ(a.payloads[1].bytes.size(), 100'000u);
    EXPECT_TRUE(std::ranges::equal(a.payloads[1].bytes, data.span(4096, 100'000)));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.payloads[1].bytes.data()) % 4096, 0u);
    EXPECT_EQ(a.icl.counters().at(b.id).received.messages[32], 3u);
}

TEST_F(IclTest, AReceiptComesWhenTheMessageHasLeftInItsEpoch) {
    both_up();
    const auto with_receipt = [](std::string name) {
        Message out = note(name);
        out.receipt = text(name + " has left");
        return out;
    };
    b.icl.send(amf_id(a.id), with_receipt("one"));
    EXPECT_TRUE(b.got.empty());
    run();
    EXPECT_EQ(a.got, Strings{"2:one"});
    EXPECT_EQ(b.got, Strings{"1:one has left"});
    b.icl.send(amf_id(a.id), with_receipt("two"));
    adopt_both(3);
    run();
    b.icl.send(amf_id(a.id), with_receipt("three"));
    network.cut_all();
    run();
    EXPECT_EQ(b.got, Strings{"1:one has left"}) << "neither what was dropped nor what was cut off has left";
    EXPECT_EQ(a.got, Strings{"2:one"});
}

TEST_F(IclTest, FreshPeerKeepsMessagesUntilItsSession) {
    a.start(Incarnation(1));
    b.start(Incarnation(2));
    network.refused.insert("n2");
    adopt_both(2);
    b.icl.send(amf_id(a.id), note("early"));
    a.icl.send(amf_id(b.id), note("early too"));
    run(200ms);
    EXPECT_TRUE(a.got.empty());
    network.refused.clear();
    run(200ms);
    EXPECT_EQ(a.got, Strings{"2:early"});
    EXPECT_EQ(b.got, Strings{"1:early too"});
    EXPECT_TRUE(a.restored.empty());
}

TEST_F(IclTest, BrokenSessionReplaysNothingBeforeTheNextEpoch) {
    both_up();
    a.icl.send(amf_id(b.id), note("lost"));
    network.cut_all();
    run(1ms);
    EXPECT_EQ(a.broken, std::vector<unsigned>{2});
    EXPECT_EQ(b.broken, std::vector<unsigned>{1});
    a.icl.send(amf_id(b.id), note("dropped"));
    run();
    EXPECT_TRUE(a.icl.session_up(b.id));
    EXPECT_EQ(a.restored, std::vector<unsigned>{2});
    EXPECT_EQ(b.restored, std::vector<unsigned>{1});
    a.icl.send(amf_id(b.id), note("dropped too"));
    b.icl.send(amf_id(a.id), note("dropped as well"));
    run();
    EXPECT_TRUE(b.got.empty());
    EXPECT_TRUE(a.got.empty());
    adopt_both(3);
    a.icl.send(amf_id(b.id), note("anew"));
    run();
    EXPECT_EQ(b.got, Strings{"1:anew"});
    EXPECT_EQ(a.icl.counters().at(b.id).dropped_broken, 2u);
}

TEST_F(IclTest, BreakSeenAtOneEndOnlyIsABreakForBoth) {
    both_up();
    // b has gone on to epoch 3 and said something there when the connection ends.
    b.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    network.cut_all();
    b.icl.send(amf_id(a.id), note("lost"));
    run();
    ASSERT_TRUE(b.icl.session_up(a.id));
    b.icl.send(amf_id(a.id), note("dropped"));
    a.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    a.icl.send(amf_id(b.id), note("arrives"));
    run();
    EXPECT_TRUE(a.got.empty());
    EXPECT_EQ(b.restored, std::vector<unsigned>{1});
    EXPECT_EQ(b.got, Strings{"1:arrives"});
}

TEST_F(IclTest, FrameOfANewerEpochWaitsAndOneOfAnOlderIsDropped) {
    both_up();
    b.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    b.icl.send(amf_id(a.id), note("new"));
    b.icl.send(amf_id(a.id), note("new too"));
    a.icl.send(amf_id(b.id), note("old"));
    run(300ms);
    EXPECT_TRUE(a.got.empty());
    EXPECT_TRUE(b.got.empty());
    ASSERT_FALSE(a.newer.empty());
    EXPECT_EQ(a.newer.front(), 3u);
    EXPECT_EQ(b.icl.counters().at(a.id).dropped_stale, 1u);
    run(3s);  // a link that waits for its own reader is not a silent peer
    EXPECT_TRUE(a.silent.empty() && b.silent.empty());
    a.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    run();
    EXPECT_EQ(a.got, (Strings{"2:new", "2:new too"}));
}

TEST_F(IclTest, WhatWasQueuedInAnOlderEpochIsNotSentInTheNext) {
    a.start(Incarnation(1));
    b.start(Incarnation(2));
    network.refused.insert("n2");
    adopt_both(2);
    a.icl.send(amf_id(b.id), note("of 2"));
    run();
    adopt_both(3);
    a.icl.send(amf_id(b.id), note("of 3"));
    network.refused.clear();
    run(200ms);
    EXPECT_EQ(b.got, Strings{"1:of 3"});
}

TEST_F(IclTest, MessagesToSelfArriveLaterAndOnlyInTheirEpoch) {
    both_up();
    a.icl.send(amf_id(a.id), note("self"));
    EXPECT_TRUE(a.got.empty());
    executor.run_until_idle();
    EXPECT_EQ(a.got, Strings{"1:self"});
    a.icl.send(amf_id(a.id), note("of 2"));
    adopt_both(3);
    run();
    EXPECT_EQ(a.got, Strings{"1:self"});
}

TEST_F(IclTest, MessagesOfOneTurnAndThoseQueuedBehindAWriteTravelTogether) {
    both_up();
    const std::size_t before = network.writes;
    for (int i = 0; i < 200; ++i) a.icl.send(amf_id(b.id), note("m", i % 3 == 0 ? 512 : 0));
    executor.run_until_idle();
    EXPECT_EQ(b.got.size(), 200u);
    EXPECT_EQ(network.writes - before, 1u);
    a.icl.send(amf_id(b.id), note("lone"));
    executor.run_until_idle();
    EXPECT_EQ(b.got.back(), "1:lone");
    EXPECT_EQ(network.writes - before, 2u);
}

TEST_F(IclTest, AmfsOfOneProcessReachEachOtherWithoutALink) {
    both_up();
    Node::Sink second, third;
    a.icl.subscribe(kGroup, second, 1);
    a.icl.subscribe(kGroup, third, 2);
    const std::size_t before = network.writes;
    Message message = note("bus");
    message.from_index = 2;
    a.icl.send(amf_id(a.id, 1), message);
    message.from_index = 1;
    a.icl.send(amf_id(a.id, 0), message);
    executor.run_until_idle();
    EXPECT_EQ(second.got, Strings{std::to_string(amf_id(a.id, 2).v) + ":bus"});
    EXPECT_EQ(a.got, Strings{std::to_string(amf_id(a.id, 1).v) + ":bus"});
    EXPECT_TRUE(third.got.empty());
    EXPECT_EQ(network.writes, before);
    a.icl.unsubscribe(kGroup, 1);
    a.icl.send(amf_id(a.id, 1), note("nobody"));
    executor.run_until_idle();
    EXPECT_EQ(second.got.size(), 1u);
}

// Figure 17: three AMFs of one node, three other nodes, nine messages, three packets.
TEST_F(IclTest, MessagesOfAllAmfsToOneProcessLeaveAsOnePacket) {
    Node c{executor, clock, network, 3}, d{executor, clock, network, 4};
    std::uint64_t incarnation = 1;
    for (Node* node : {&a, &b, &c, &d}) node->start(Incarnation(incarnation++));
    for (Node* node : {&a, &b, &c, &d}) node->icl.adopt(view(4, {{1, 1}, {2, 2}, {3, 3}, {4, 4}}));
    run();
    const std::size_t before = network.writes;
    for (std::uint8_t index = 0; index < 3; ++index) {
        for (Node* to : {&b, &c, &d}) {
            Message message = note("m");
            message.from_index = index;
            a.icl.send(amf_id(to->id), std::move(message));
        }
    }
    executor.run_until_idle();
    EXPECT_EQ(network.writes - before, 3u);
    for (Node* to : {&b, &c, &d}) {
        Strings expected;
        for (unsigned index = 0; index < 3; ++index)
            expected.push_back(std::to_string(amf_id(a.id, index).v) + ":m");
        EXPECT_EQ(to->got, expected);
    }
}

TEST_F(IclTest, StrangersAndFormerIncarnationsAreRefused) {
    both_up();
    Node c(executor, clock, network, 3);
    c.start(Incarnation(3));
    // b is not told of c, and c believes in another b than there is.
    c.icl.adopt(view(2, {{3, 3}, {4, 1}}));
    Node d(executor, clock, network, 4);
    d.start(Incarnation(2));
    d.icl.adopt(view(2, {{3, 3}, {4, 2}}));
    c.icl.send(amf_id(d.id), note("to the one before"));
    run(300ms);
    EXPECT_FALSE(c.icl.session_up(d.id));
    EXPECT_FALSE(d.icl.session_up(c.id));
    EXPECT_TRUE(d.got.empty());
    EXPECT_EQ(d.icl.counters().at(c.id).sessions, 0u);
    EXPECT_TRUE(a.icl.session_up(b.id));
}

TEST_F(IclTest, AcceptorWithAnOlderViewCatchesUpThenAccepts) {
    a.start(Incarnation(1));
    b.start(Incarnation(2));
    b.icl.adopt(view(2, {{2, 2}}));
    a.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    a.icl.send(amf_id(b.id), note("hello"));
    run(50ms);
    EXPECT_FALSE(b.newer.empty());
    EXPECT_FALSE(a.icl.session_up(b.id));
    b.icl.adopt(view(3, {{1, 1}, {2, 2}}));
    run(1ms);
    EXPECT_EQ(b.got, Strings{"1:hello"});
}

TEST_F(IclTest, JoinerWithTheLargerIdKnocks) {
    a.start(Incarnation(1));
    a.icl.adopt(view(1, {{1, 1}}));
    b.start(Incarnation(2));
    b.icl.adopt(view(2, {{1, 1}, {2, 2}}));
    run(1ms);
    ASSERT_FALSE(a.newer.empty());
    EXPECT_EQ(a.newer.front(), 2u);
    a.icl.adopt(view(2, {{1, 1}, {2, 2}}));
    run(1ms);
    EXPECT_TRUE(a.icl.session_up(b.id));
}

Task<void> send_raw(Executor& executor, Network& network, std::string to, Bytes bytes, Status& end) {
    auto stream = co_await network.connect(to);
    EXPECT_TRUE(stream.has_value());
    (void)co_await write_all(executor, **stream, bytes);
    std::byte one;
    end = co_await read_exactly(executor, **stream, std::span(&one, 1));
}

TEST_F(IclTest, GarbageEndsItsOwnLinkOnly) {
    both_up();
    Bytes ping, large, wrong_crc;
    encode_frame(ping, Epoch(2), {{}, MessageType::ping, {}, {}});
    encode_frame(large, Epoch(2), {{}, MessageType::hello, Bytes(1000), {}});
    encode_frame(wrong_crc, Epoch(2), {{}, MessageType::hello, Bytes(kHelloSize), {}});
    wrong_crc[30] ^= std::byte{1};
    for (const Bytes& bytes : {Bytes(100, std::byte{0xff}), ping, large, wrong_crc}) {
        Status end;
        Scope scope(executor);
        scope.spawn(send_raw(executor, network, "n2", bytes, end));
        run(1ms);
        EXPECT_EQ(scope.running(), 0u);
        EXPECT_FALSE(end.has_value());
    }
    // Half a header says nothing wrong: it has the ping timeout to go on.
    Status end;
    Scope scope(executor);
    scope.spawn(send_raw(executor, network, "n2", Bytes(ping.begin(), ping.begin() + 20), end));
    run(500ms);
    EXPECT_EQ(scope.running(), 1u);
    run(1s);
    EXPECT_EQ(scope.running(), 0u);
    EXPECT_TRUE(a.icl.session_up(b.id));
    EXPECT_TRUE(a.broken.empty() && b.broken.empty() && a.silent.empty());
}

TEST_F(IclTest, HandshakesAreBounded) {
    both_up();
    std::vector<Status> ends(70);
    Scope scope(executor);
    for (Status& end : ends) scope.spawn(send_raw(executor, network, "n2", Bytes(1), end));
    run(1ms);
    EXPECT_EQ(scope.running(), IclOptions{}.max_handshakes);
}

TEST_F(IclTest, IdlePeersPingAndAreNotSuspected) {
    both_up();
    run(10s);
    EXPECT_TRUE(a.silent.empty() && b.silent.empty());
    const auto& heard = a.icl.counters().at(b.id).received.messages;
    const auto count = [&](MessageType type) { return heard[static_cast<std::size_t>(type)]; };
    EXPECT_GE(count(MessageType::ping) + count(MessageType::pong), 39u);
}

TEST_F(IclTest, SilentPeerIsSuspectedAfterThePingTimeoutAndAgain) {
    both_up();
    stop(b.icl);  // gone without a word in the view, and nobody answers at its address
    const auto before = a.silent.size();
    EXPECT_EQ(before, 1u);
    EXPECT_EQ(a.silent.front(), 2u);
    run(1300ms);
    EXPECT_EQ(a.silent.size(), before + 1);
}

TEST_F(IclMuteTest, PeerWithASessionThatSaysNothingIsSuspected) {
    dial();
    run(900ms);
    EXPECT_TRUE(answered && b.icl.session_up(ControllerId(1)));
    EXPECT_TRUE(b.silent.empty());
    run(400ms);
    EXPECT_EQ(b.silent, std::vector<unsigned>{1});
    EXPECT_TRUE(b.icl.session_up(ControllerId(1)));
}

TEST_F(IclMuteTest, NewConnectionOfAPeerEndsTheOldOne) {
    dial();
    run();
    EXPECT_TRUE(b.broken.empty());
    // The peer gave up a connection that looks whole from here: what was said on it may be lost.
    dial();
    run();
    EXPECT_EQ(b.broken, std::vector<unsigned>{1});
    EXPECT_EQ(b.restored, std::vector<unsigned>{1});
    b.icl.send(AmfId(1), note("dropped"));
    EXPECT_EQ(b.icl.counters().at(ControllerId(1)).dropped_broken, 1u);
}

TEST_F(IclTest, OwnSleepIsNotBlamedOnOthers) {
    both_up();
    clock.sleep_through(5s);
    EXPECT_TRUE(a.silent.empty() && b.silent.empty());
    run(3s);
    EXPECT_TRUE(a.silent.empty() && b.silent.empty());
}

TEST_F(IclTest, PeerThatLeftTheViewLosesItsLinkWithoutSuspicion) {
    both_up();
    a.icl.adopt(view(3, {{1, 1}}));
    a.icl.send(amf_id(b.id), note("nobody"));
    run(3s);
    EXPECT_FALSE(a.icl.session_up(b.id));
    EXPECT_TRUE(a.broken.empty() && a.silent.empty());
    EXPECT_EQ(b.broken, std::vector<unsigned>{1});
}

TEST_F(IclTest, OverflowingQueueBreaksTheSessionInsteadOfGrowing) {
    Node c(executor, clock, network, 3, {.queue_messages = 10});
    c.start(Incarnation(3));
    a.start(Incarnation(1));
    a.icl.adopt(view(3, {{1, 1}, {3, 3}}));
    c.icl.adopt(view(3, {{1, 1}, {3, 3}}));
    run();
    for (int i = 0; i < 12; ++i) c.icl.send(amf_id(a.id), note(std::to_string(i)));
    run();
    EXPECT_TRUE(a.got.empty());  // nothing, or a beginning: never with a gap
    EXPECT_EQ(c.broken, std::vector<unsigned>{1});
    EXPECT_EQ(c.restored, std::vector<unsigned>{1});
}

TEST_F(IclTest, ViewChangedAndGroupsChangedFindTheirReaders) {
    both_up();
    struct Sink : MessageSink {
        void deliver(AmfId, Message message) override { types.push_back(message.type); }
        std::vector<MessageType> types;
    } sink;
    b.icl.subscribe({}, sink);
    a.icl.send(amf_id(b.id), {{}, MessageType::view_changed, encode_view_changed(Epoch(9)), {}});
    a.icl.send(amf_id(b.id), {{}, MessageType::groups_changed, {}, {}});
    run();
    EXPECT_EQ(b.newer, std::vector<std::uint64_t>{9});
    EXPECT_EQ(sink.types, std::vector<MessageType>{MessageType::groups_changed});
    b.icl.unsubscribe({});
    a.icl.send(amf_id(b.id), {{}, MessageType::groups_changed, {}, {}});
    run();
    EXPECT_EQ(sink.types.size(), 1u);
}

TEST_F(IclTest, StopSendsWhatIsQueuedAndEndsEverything) {
    both_up();
    a.icl.send(amf_id(b.id), note("last"));
    stop(a.icl);
    EXPECT_EQ(b.got, Strings{"1:last"});
    a.icl.send(amf_id(b.id), note("after"));
    run();
    EXPECT_EQ(b.got.size(), 1u);
}

TEST_F(IclTest, AnswerFromWithinADeliveryGoesOut) {
    both_up();
    b.echo = "answer";
    a.icl.send(amf_id(b.id), note("question"));
    executor.run_until_idle();
    EXPECT_EQ(a.got, Strings{"2:answer"});
}

TEST(Frame, EveryFlippedBitIsSeen) {
    const Message message{kGroup, MessageType::lock_grant, text("head"),
                          Slice(Buffer::copy_of(text("payload")))};
    Bytes bytes;
    encode_frame(bytes, Epoch(5), message);
    bytes.insert(bytes.end(), message.payload.bytes.begin(), message.payload.bytes.end());
    const auto good = [&] {
        const auto raw = std::span(bytes).first<kFrameHeaderSize>();
        const auto header = decode_frame_header(raw);
        if (!header || header->head_size != 4 || header->payload_size != 7) return false;
        return check_frame_head(*header, raw, std::span(bytes).subspan(48, 4)).has_value() &&
               check_frame_payload(*header, std::span(bytes).subspan(52)).has_value();
    };
    ASSERT_TRUE(good());
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(good()) << bit;
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
}

TEST(Frame, LengthsAreRefusedBeforeAnythingIsRead) {
    Bytes bytes;
    encode_frame(bytes, Epoch(5), {kGroup, MessageType::lock_grant, {}, {}});
    bytes[39] = std::byte{0xff};  // payload length
    EXPECT_EQ(decode_frame_header(std::span(bytes).first<kFrameHeaderSize>()).error().code, Errc::too_large);
}

}  // namespace
}  // namespace braid
