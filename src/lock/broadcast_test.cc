// The machine by hand: every step of the protocol, one message at a time.
#include "lock/broadcast.h"

#include <gtest/gtest.h>

#include <map>

namespace braid {

static void PrintTo(const LockSend& s, std::ostream* out) {
    *out << "to " << s.to.v << " type " << int(s.frame.type) << " ticket " << s.frame.ticket << " mode "
         << int(s.frame.mode) << " stamp " << s.frame.stamp << " wanted " << int(s.frame.wanted)
         << (s.frame.recover ? " recover" : "") << (s.frame.changed ? " changed" : "") << " data "
         << s.frame.data.bytes.size();
}

namespace {

using enum LockMode;
using Sends = std::vector<LockSend>;

constexpr UnitIndex kUnit{7};
constexpr LockRange kRange{4096, 4};

AmfId id(unsigned v) { return AmfId(static_cast<std::uint16_t>(v)); }

AmfView view_of(std::uint64_t epoch, unsigned self, unsigned count) {
    AmfView view{Epoch(epoch), id(self), {}};
    for (unsigned i = 1; i <= count; ++i) view.members.push_back({id(i), Incarnation(1)});
    return view;
}

LockFrame request(LockMode mode, std::uint64_t ticket, LockRange range = {}) {
    return {.type = MessageType::lock_request, .unit = kUnit, .ticket = ticket, .mode = mode, .range = range};
}
LockFrame released(std::uint64_t ticket) { return {MessageType::lock_released, kUnit, ticket}; }
LockFrame claim(LockMode mode, std::uint64_t ticket, std::uint64_t stamp, LockRange range = {}) {
    return {.type = MessageType::lock_claim,
            .unit = kUnit,
            .ticket = ticket,
            .mode = mode,
            .stamp = stamp,
            .range = range};
}
LockFrame recovery(std::uint64_t ticket, std::uint64_t stamp, std::uint8_t progress) {
    LockFrame frame = claim(write, ticket, stamp);
    frame.recover = true;
    frame.progress = progress;
    return frame;
}
LockFrame yield(std::uint64_t ticket, std::uint64_t stamp, LockRange range = {}) {
    return {.type = MessageType::lock_yield, .unit = kUnit, .ticket = ticket, .stamp = stamp, .range = range};
}
LockFrame with_data(LockFrame frame, std::string_view text) {
    frame.data = Slice(Buffer::copy_of(std::as_bytes(std::span(text))));
    return frame;
}
/// 2 goes on reading.
LockFrame reading(LockFrame frame) {
    frame.holder = id(2);
    return frame;
}
LockFrame changed(LockFrame frame) {
    frame.changed = true;
    return frame;
}
LockFrame grant(LockMode mode, std::uint64_t ticket, LockMode wanted = none, bool recover = false) {
    return {MessageType::lock_grant, kUnit, ticket, mode, wanted, recover};
}
LockReport report(ReportKind kind, LockMode mode, std::uint64_t ticket, std::uint8_t progress = 0) {
    return {{{kUnit, ticket, kind, mode, progress}}, true};
}

/// AMF 2 of three.
struct BroadcastTest : testing::Test {
    BroadcastTest() { start(1, 3, {}); }
    void start(std::uint64_t epoch, unsigned count, const LockReport& held) {
        machine.adopt(view_of(epoch, 2, count));
        EXPECT_TRUE(machine.report(id(2), held));
    }
    bool take(unsigned from, const LockFrame& frame) { return machine.take(id(from), frame); }
    /// It holds the unit by this ticket; its claim had `stamp`.
    void hold(LockMode mode, std::uint64_t ticket, std::uint64_t stamp) {
        take(2, request(mode, ticket));
        EXPECT_EQ(out(), (Sends{{id(1), claim(mode, ticket, stamp)}, {id(3), claim(mode, ticket, stamp)}}));
        take(1, yield(ticket, 0));
        take(3, yield(ticket, 0));
        EXPECT_EQ(out(), (Sends{{id(2), grant(mode, ticket)}}));
    }
    Sends out() { return std::exchange(machine.outbox(), {}); }
    Sends revoke(std::uint64_t ticket, LockMode wanted = write) {
        return {
            {id(2), {.type = MessageType::lock_revoke, .unit = kUnit, .ticket = ticket, .wanted = wanted}}};
    }

    Broadcast machine;
};

TEST_F(BroadcastTest, AsksAllOthersAtOnceAndGrantsWhenTheLastHasYielded) {
    take(2, request(write, 11));
    EXPECT_EQ(out(), (Sends{{id(1), claim(write, 11, 1)}, {id(3), claim(write, 11, 1)}}));
    EXPECT_TRUE(take(3, yield(11, 1)));
    EXPECT_FALSE(take(3, yield(11, 1))) << "a second time";
    EXPECT_FALSE(take(1, yield(10, 1))) << "another ticket";
    EXPECT_TRUE(out().empty());
    EXPECT_EQ(machine.waiting(kUnit), 1u);
    take(1, yield(11, 1));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 11)}}));
    EXPECT_EQ(machine.waiting(kUnit), 0u);
    EXPECT_EQ(machine.units(), 1u);
    take(2, released(11));
    EXPECT_EQ(machine.units(), 0u);
}

TEST_F(BroadcastTest, AloneItGrantsWithoutAMessage) {
    machine.adopt({Epoch(2), id(2), {{id(2), Incarnation(1)}}});
    machine.report(id(2), {});
    take(2, request(write, 11));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 11)}}));
}

TEST_F(BroadcastTest, YieldsAtOnceAndRemembersNothing) {
    take(1, claim(write, 21, 5));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 5)}}));
    EXPECT_EQ(machine.units(), 0u);
}

TEST_F(BroadcastTest, KeepsWhatItHoldsUntilItsClientHasReleasedIt) {
    hold(write, 11, 1);
    take(1, claim(write, 21, 5));
    EXPECT_EQ(out(), revoke(11));
    take(3, claim(read, 31, 6));
    EXPECT_TRUE(out().empty()) << "asked once";
    take(2, released(10));
    EXPECT_TRUE(out().empty()) << "of the past";
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 7)}, {id(3), yield(31, 7)}}));
    EXPECT_EQ(machine.units(), 0u);
}

TEST_F(BroadcastTest, AWriterGoesOnReadingIfItIsForReaders) {
    hold(write, 11, 1);
    take(1, claim(read, 21, 5));
    EXPECT_EQ(out(), revoke(11, read));
    LockFrame keeps = released(11);
    keeps.mode = read;
    take(2, keeps);
    EXPECT_EQ(out(), (Sends{{id(1), reading(yield(21, 6))}}));
    take(3, claim(write, 31, 8));
    EXPECT_EQ(out(), revoke(11));
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(3), yield(31, 8)}}));
}

TEST_F(BroadcastTest, AWriterThatComesBeforeTheReaderIsServedIsToldOf) {
    hold(write, 11, 1);
    take(1, claim(read, 21, 5));
    EXPECT_EQ(out(), revoke(11, read));
    take(3, claim(write, 31, 8));
    EXPECT_EQ(out(), revoke(11, write));
}

TEST_F(BroadcastTest, ReadersAreNotInEachOthersWay) {
    hold(read, 11, 1);
    take(1, claim(read, 21, 5));
    EXPECT_EQ(out(), (Sends{{id(1), reading(yield(21, 5))}}));
    take(3, claim(write, 31, 6));
    EXPECT_EQ(out(), revoke(11));
}

TEST_F(BroadcastTest, OfTwoClaimsTheEarlierGoesFirst) {
    take(2, request(write, 11));
    out();
    take(1, claim(write, 21, 1));  // as old as ours, of a smaller id
    take(3, claim(write, 31, 1));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 1)}}));
    take(3, yield(11, 1));
    EXPECT_TRUE(out().empty());
    take(1, yield(11, 2));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 11, write)}})) << "3's yield counts, and 3 waits";
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(3), yield(31, 3)}}));
}

TEST_F(BroadcastTest, WhoHasHeardOfAClaimClaimsLater) {
    take(1, claim(write, 21, 40));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 40)}}));
    take(2, request(write, 11));
    EXPECT_EQ(out(), (Sends{{id(1), claim(write, 11, 41)}, {id(3), claim(write, 11, 41)}}));
}

TEST_F(BroadcastTest, AReaderThatWantsToWriteStaysReaderIfItsClaimIsTheEarlier) {
    hold(read, 11, 1);
    take(2, request(write, 12));
    out();
    take(3, claim(write, 31, 2));
    take(1, claim(read, 21, 3));
    EXPECT_TRUE(out().empty());
    take(1, yield(12, 3));
    take(3, yield(12, 3));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 12, write)}}));
    take(2, released(12));
    EXPECT_EQ(out(), (Sends{{id(3), yield(31, 4)}, {id(1), yield(21, 4)}}));
}

TEST_F(BroadcastTest, AReaderThatWantsToWriteGivesUpReadingForAnEarlierWriter) {
    hold(read, 11, 1);
    take(2, request(write, 12));
    out();
    take(1, claim(write, 21, 2));
    EXPECT_EQ(out(), revoke(11));
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 2)}}));
    take(3, yield(12, 2));
    take(1, yield(12, 9));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 12)}}));
}

// ---- views

TEST_F(BroadcastTest, YieldsNothingBeforeItKnowsWhatItHolds) {
    machine.adopt(view_of(2, 2, 3));
    take(1, claim(write, 21, 5));
    EXPECT_TRUE(machine.report(id(2), {{}, false}));
    EXPECT_TRUE(out().empty());
    EXPECT_FALSE(machine.thawed());
    EXPECT_TRUE(machine.report(id(2), report(ReportKind::held, read, 4)));
    EXPECT_TRUE(machine.thawed());
    EXPECT_EQ(out(), revoke(4));
    take(2, released(4));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 5)}}));
}

TEST_F(BroadcastTest, AClaimOfTheLastViewIsMadeAgainAndItsYieldsCountForNothing) {
    take(2, request(write, 11));
    take(1, yield(11, 1));
    out();
    start(2, 4, {});
    EXPECT_TRUE(out().empty());
    take(2, request(write, 12));
    EXPECT_EQ(
        out(),
        (Sends{{id(1), claim(write, 12, 2)}, {id(3), claim(write, 12, 2)}, {id(4), claim(write, 12, 2)}}));
    EXPECT_FALSE(take(1, yield(11, 1)));
    take(1, yield(12, 2));
    take(3, yield(12, 2));
    EXPECT_TRUE(out().empty());
    take(4, yield(12, 2));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 12)}}));
}

TEST_F(BroadcastTest, ItsOwnRecoveryComesBeforeEverybodysClaims) {
    machine.adopt(view_of(2, 2, 3));
    take(1, claim(write, 21, 1));  // made before it could hear of the recovery
    EXPECT_TRUE(machine.report(id(2), report(ReportKind::claim, write, 11, 1)));
    EXPECT_EQ(out(), (Sends{{id(1), recovery(11, 2, 1)}, {id(3), recovery(11, 2, 1)}}));
    take(2, request(read, 12));
    take(1, yield(11, 2));
    take(3, yield(11, 2));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 11, write, true)}}));
    take(3, claim(read, 31, 3));
    EXPECT_TRUE(out().empty());
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(1), claim(read, 12, 5)},
                            {id(3), claim(read, 12, 5)},
                            {id(1), yield(21, 5)},
                            {id(3), yield(31, 5)}}))
        << "its request came while it recovered: that is later than theirs";
}

TEST_F(BroadcastTest, WhoRecoversMoreGoesFirst) {
    start(2, 3, report(ReportKind::claim, write, 11, 2));
    out();
    take(1, recovery(21, 9, 1));
    EXPECT_TRUE(out().empty());
    take(3, recovery(31, 9, 3));
    EXPECT_EQ(out(), (Sends{{id(3), yield(31, 9)}}));
    take(1, yield(11, 9));
    take(3, yield(11, 9));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 11, write, true)}}));
    take(2, released(11));
    EXPECT_EQ(out(), (Sends{{id(1), yield(21, 10)}}));
}

TEST_F(BroadcastTest, ARequestGivesWayToAPeersRecovery) {
    take(2, request(write, 11));
    out();
    take(3, recovery(31, 9, 1));
    EXPECT_EQ(out(), (Sends{{id(3), yield(31, 9)}}));
}

TEST_F(BroadcastTest, ARecoveryOfTheLastViewIsFinishedFirst) {
    start(2, 3, {{{kUnit, 4, ReportKind::recovering, write}, {kUnit, 5, ReportKind::claim, write, 3}}, true});
    take(1, recovery(21, 9, 3));
    EXPECT_TRUE(out().empty()) << "whoever recovers releases unasked";
    take(2, released(4));
    EXPECT_EQ(out(),
              (Sends{{id(1), recovery(5, 11, 3)}, {id(3), recovery(5, 11, 3)}, {id(1), yield(21, 11)}}));
    take(1, yield(5, 12));
    take(3, yield(5, 12));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 5, write, true)}}));
}

TEST_F(BroadcastTest, AReaderWithARecordToFinishStopsReadingFirst) {
    start(2, 3, {{{kUnit, 4, ReportKind::held, read}, {kUnit, 5, ReportKind::claim, write, 3}}, true});
    out();
    take(1, yield(5, 1));
    take(3, yield(5, 1));
    EXPECT_EQ(out(), revoke(4));
    take(2, released(4));
    EXPECT_EQ(out(), (Sends{{id(2), grant(write, 5, write, true)}}));
}

TEST_F(BroadcastTest, WhatMakesNoSenseIsRefused) {
    EXPECT_FALSE(take(1, request(write, 21)));
    EXPECT_FALSE(take(1, released(21)));
    EXPECT_FALSE(take(2, claim(write, 11, 1)));
    EXPECT_FALSE(take(2, yield(11, 1)));
    EXPECT_FALSE(take(1, grant(write, 11)));
    EXPECT_FALSE(take(1, yield(11, 1)));
    EXPECT_FALSE(machine.report(id(2), {})) << "a second report of one view";
    EXPECT_FALSE(machine.report(id(1), report(ReportKind::held, read, 4)));
    EXPECT_TRUE(out().empty());
    EXPECT_EQ(machine.units(), 0u);
}

// ---- data with the answer

struct BroadcastDataTest : BroadcastTest {
    BroadcastDataTest() {
        take(2, request(read, 11, kRange));
        EXPECT_EQ(out(), (Sends{{id(1), claim(read, 11, 1, kRange)}, {id(3), claim(read, 11, 1, kRange)}}));
    }
    LockFrame granted(std::string_view text) {
        LockFrame frame = grant(read, 11);
        frame.range = kRange;
        return text.empty() ? frame : with_data(frame, text);
    }
};

TEST_F(BroadcastDataTest, TheFirstThatComesIsTaken) {
    take(1, with_data(yield(11, 1), "one."));
    take(3, with_data(yield(11, 1), "two."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("one.")}}));
}

TEST_F(BroadcastDataTest, TheGrantNamesOneThatGoesOnReading) {
    LockFrame answer = yield(11, 1);
    answer.holder = id(3);
    take(3, answer);
    take(1, yield(11, 1));
    LockFrame named = granted("");
    named.holder = id(3);
    EXPECT_EQ(out(), (Sends{{id(2), named}}));
}

TEST_F(BroadcastDataTest, PartOfTheRangeIsNotTaken) {
    take(1, with_data(yield(11, 1), "one"));
    take(3, with_data(yield(11, 1), "two.."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastDataTest, WhoHasWrittenMakesTheDataOfOthersWorthless) {
    take(1, with_data(yield(11, 1), "old."));
    take(3, changed(yield(11, 9)));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastDataTest, AlsoIfItComesLater) {
    take(3, changed(with_data(yield(11, 9), "new.")));
    take(1, with_data(yield(11, 1), "old."));
    EXPECT_EQ(out(), (Sends{{id(2), granted("new.")}}));
}

TEST_F(BroadcastDataTest, OfTwoThatHaveWrittenNobodyKnowsWhoWasTheLast) {
    take(1, changed(with_data(yield(11, 1), "old.")));
    take(3, changed(with_data(yield(11, 9), "new.")));
    EXPECT_EQ(out(), (Sends{{id(2), granted("")}}));
}

TEST_F(BroadcastTest, OnlyReadersAreTold) {
    hold(write, 11, 1);
    take(1, claim(write, 21, 1));
    take(2, released(11));
    take(3, claim(read, 31, 1));
    out();
    take(1, claim(read, 22, 1, kRange));
    EXPECT_EQ(out(), (Sends{{id(1), changed(yield(22, 2, kRange))}}));
    take(1, claim(read, 23, 2, kRange));
    EXPECT_EQ(out(), (Sends{{id(1), yield(23, 2, kRange)}})) << "made when that was over";
}

/// 1 has a copy, 2 wants to read, 3 to write: 2 has let 3 before it asked, and 1 hears of 2 first.
TEST(Broadcast, AWriterInBetweenIsNoticed) {
    std::map<unsigned, Broadcast> machines;
    for (unsigned i = 1; i <= 3; ++i) {
        machines[i].adopt(view_of(1, i, 3));
        machines[i].report(id(i), {});
    }
    const auto sent = [&](unsigned from, unsigned to) {
        Sends& out = machines[from].outbox();
        const auto place = std::ranges::find(out, id(to), &LockSend::to);
        if (place == out.end()) return LockFrame{};
        LockFrame frame = place->frame;
        out.erase(place);
        return frame;
    };
    machines[3].take(id(3), request(write, 31));
    const LockFrame to_write_1 = sent(3, 1);
    machines[2].take(id(3), sent(3, 2));
    machines[2].take(id(2), request(read, 21, kRange));
    machines[1].take(id(2), sent(2, 1));
    const LockFrame old = with_data(sent(1, 2), "old.");
    machines[1].take(id(3), to_write_1);
    machines[3].take(id(2), sent(2, 3));
    machines[3].take(id(1), sent(1, 3));
    ASSERT_EQ(sent(3, 3), grant(write, 31));
    machines[3].take(id(3), released(31));  // it is not asked: it has too many
    machines[3].take(id(2), sent(2, 3));
    machines[2].take(id(1), old);
    machines[2].take(id(3), sent(3, 2));
    const LockFrame granted = sent(2, 2);
    EXPECT_EQ(granted.ticket, 21u);
    EXPECT_TRUE(granted.data.bytes.empty());
}

TEST(Broadcast, FramesSurviveTheirEncoding) {
    LockFrame asked = recovery(5, 1ull << 60, 3);
    asked.range = {1ull << 50, 65536};
    EXPECT_EQ(*decode_lock_frame(asked.type, encode(asked)), asked);
    EXPECT_EQ(*decode_lock_frame(MessageType::lock_request, encode(request(read, 4, kRange))),
              request(read, 4, kRange));
    const LockFrame answer = changed(yield(5, 77));
    EXPECT_EQ(*decode_lock_frame(answer.type, encode(answer)), answer);
}

TEST(Broadcast, FramesThatMeanNothingAreRefused) {
    const LockFrame good = recovery(5, 9, 3);
    const auto decoded = [&](std::size_t at, unsigned value) {
        Bytes bytes = encode(good);
        bytes.at(at) = static_cast<std::byte>(value);
        return decode_lock_frame(MessageType::lock_claim, bytes).has_value();
    };
    EXPECT_TRUE(decoded(16, 2));
    EXPECT_FALSE(decoded(16, 1)) << "who recovers writes";
    EXPECT_FALSE(decoded(16, 3)) << "mode";
    EXPECT_FALSE(decoded(17, 4)) << "a claim has not changed";
    EXPECT_FALSE(decoded(38, 1)) << "more than a frame can bring";
    const Bytes bytes = encode(good);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_lock_frame(MessageType::lock_claim, std::span(bytes).first(size)));
    }
    Bytes answer = encode(yield(5, 9));
    answer.at(16) = std::byte{1};
    EXPECT_FALSE(decode_lock_frame(MessageType::lock_yield, answer)) << "a yield recovers nothing";
}

}  // namespace
}  // namespace braid
