// The arbiter by hand: every step of the protocol, one message at a time.
#include <gtest/gtest.h>

#include <array>
#include <deque>

#include "lock/machines_testing.h"

namespace braid {
namespace {

using namespace testing;

/// An arbiter of AMFs 1 .. n whose members all reported.
struct ArbiterTest : ::testing::Test {
    void start(std::uint16_t n) {
        std::vector<std::uint16_t> ids;
        for (std::uint16_t i = 1; i <= n; ++i) ids.push_back(i);
        arbiter.adopt(ours(1, ids));
        for (const auto i : ids) arbiter.report(id(i), {});
    }
    /// Who is next is looked at by itself.
    std::vector<LockSend> out() {
        next.clear();
        std::vector<LockSend> sends = std::exchange(arbiter.outbox(), {});
        for (LockSend& s : sends) next.push_back(std::exchange(s.frame.next, AmfId()));
        return sends;
    }
    static LockSend grant(std::uint16_t to, LockMode mode, std::uint64_t ticket, LockMode wanted = none,
                          bool recover = false, std::uint16_t holder = 0) {
        LockFrame frame{MessageType::lock_grant, kUnit, ticket, mode, wanted, recover};
        frame.holder = AmfId(holder);
        return {id(to), frame};
    }
    static LockSend revoke(std::uint16_t to, std::uint64_t ticket, LockMode wanted = write) {
        return {id(to), {MessageType::lock_revoke, kUnit, ticket, none, wanted}};
    }
    Arbiter arbiter;
    std::vector<AmfId> next;  ///< as the last out() said
};

}  // namespace

static void PrintTo(const LockSend& s, std::ostream* out) {
    *out << "to " << s.to.v << " type " << int(s.frame.type) << " ticket " << s.frame.ticket << " mode "
         << int(s.frame.mode) << " wanted " << int(s.frame.wanted) << (s.frame.recover ? " recover" : "");
}

namespace {

using Sends = std::vector<LockSend>;

TEST_F(ArbiterTest, GrantsAfterTheHolderReleased) {
    start(3);
    arbiter.take(id(2), request(write, 11));
    EXPECT_EQ(out(), (Sends{grant(2, write, 11)}));
    arbiter.take(id(3), request(write, 21));
    EXPECT_EQ(out(), (Sends{revoke(2, 11)}));
    arbiter.take(id(2), released(11));
    EXPECT_EQ(out(), (Sends{grant(3, write, 21)}));
    arbiter.take(id(3), released(21));
    EXPECT_TRUE(out().empty());
    EXPECT_EQ(arbiter.units(), 0u);
}

TEST_F(ArbiterTest, SaysWhoWritesNextAndWhoHasStateOfTheHolderComesFirst) {
    PriorityLockQueue priority;
    arbiter.queue_by(priority);
    start(4);
    arbiter.take(id(1), request(write, 1));
    out();
    LockFrame later = request(write, 2);
    later.background = true;
    arbiter.take(id(2), later);
    EXPECT_EQ(out(), (Sends{revoke(1, 1)}));
    EXPECT_EQ(next, (std::vector{id(2)}));
    arbiter.take(id(3), request(write, 3));
    LockFrame gone = released(1);
    gone.next = id(2);
    arbiter.take(id(1), gone);
    EXPECT_EQ(out(), (Sends{grant(2, write, 2, write)}));
    EXPECT_EQ(next, (std::vector{id(3)}));
    arbiter.take(id(4), request(read, 4));
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, read)}));
    EXPECT_EQ(next, (std::vector{AmfId()}));  // it is a reader
}

TEST_F(ArbiterTest, GrantsWaitingReadersAtTheHeadTogetherAndInOrder) {
    start(6);
    arbiter.take(id(1), request(write, 1));
    arbiter.take(id(2), request(read, 2));
    arbiter.take(id(3), request(read, 3));
    arbiter.take(id(4), request(write, 4));
    arbiter.take(id(5), request(read, 5));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1), revoke(1, 1, read), revoke(1, 1)}));
    arbiter.take(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, read, 2, write, false, 3), grant(3, read, 3, write, false, 2)}))
        << "5 must not overtake the writer";
    arbiter.take(id(2), released(2));
    EXPECT_TRUE(out().empty());
    arbiter.take(id(3), released(3));
    EXPECT_EQ(out(), (Sends{grant(4, write, 4, read)}));
    arbiter.take(id(4), released(4));
    EXPECT_EQ(out(), (Sends{grant(5, read, 5)}));
}

TEST_F(ArbiterTest, SendsNoRevokeToAHolderThatReleasesWhenDone) {
    start(4);
    arbiter.take(id(1), request(write, 1));
    arbiter.take(id(2), request(write, 2));
    arbiter.take(id(3), request(write, 3));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1), revoke(1, 1)}));
    arbiter.take(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, write, 2, write)}));
    arbiter.take(id(4), request(read, 4));
    EXPECT_TRUE(out().empty());
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, read)}));
}

TEST_F(ArbiterTest, AsksEachReaderOnceHoweverManyWait) {
    start(5);
    arbiter.take(id(1), request(read, 1));
    arbiter.take(id(2), request(read, 2));
    out();
    arbiter.take(id(3), request(write, 3));
    EXPECT_EQ(out(), (Sends{revoke(1, 1), revoke(2, 2)}));
    arbiter.take(id(4), request(write, 4));
    arbiter.take(id(1), released(1));
    EXPECT_TRUE(out().empty());
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, write)}));
}

TEST_F(ArbiterTest, TheOnlyReaderBecomesTheWriterWithoutGivingUp) {
    start(3);
    arbiter.take(id(1), request(read, 1));
    out();
    arbiter.take(id(1), request(write, 2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 2)}));
    arbiter.take(id(1), released(1));
    EXPECT_EQ(arbiter.units(), 1u) << "a release of the replaced grant must not end the present one";
    arbiter.take(id(2), request(read, 9));
    EXPECT_EQ(out(), (Sends{revoke(1, 2, read)}));
}

TEST_F(ArbiterTest, TwoReadersThatBothAskToWriteDoNotBlockEachOther) {
    start(3);
    arbiter.take(id(1), request(read, 1));
    arbiter.take(id(2), request(read, 2));
    out();
    arbiter.take(id(1), request(write, 11));
    EXPECT_EQ(out(), (Sends{revoke(2, 2)}));
    arbiter.take(id(2), request(write, 12));
    EXPECT_TRUE(out().empty());
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 11, write)}));
    arbiter.take(id(1), released(11));
    EXPECT_EQ(out(), (Sends{grant(2, write, 12)}));
}

TEST_F(ArbiterTest, GrantsNothingBeforeTheLastReport) {
    arbiter.adopt(ours(4, {1, 2, 3}));
    arbiter.take(id(1), request(write, 1));
    arbiter.report(id(1), {});
    arbiter.report(id(3), {});
    EXPECT_TRUE(out().empty());
    EXPECT_TRUE(arbiter.report(id(2), {{{kUnit, 5, ReportKind::held, read}}, false}));
    EXPECT_FALSE(arbiter.thawed());
    EXPECT_TRUE(arbiter.report(id(2), {}));
    EXPECT_FALSE(arbiter.report(id(2), {})) << "a second report of one view";
    EXPECT_EQ(out(), (Sends{revoke(2, 5)}));
}

TEST_F(ArbiterTest, AnArbiterOutsideTheViewStaysFrozen) {
    arbiter.adopt(view_of(4, 1, {2}));
    arbiter.report(id(2), {});
    EXPECT_FALSE(arbiter.thawed());
    EXPECT_FALSE(Arbiter().thawed());
}

TEST_F(ArbiterTest, ClaimsComeBeforeRequestsTheFurthestFirst) {
    arbiter.adopt(ours(4, {1, 2, 3}));
    const auto claim = [](std::uint64_t ticket, std::uint8_t progress) {
        return LockReport{{{kUnit, ticket, ReportKind::claim, write, progress}}, true};
    };
    arbiter.take(id(1), request(write, 9));
    arbiter.report(id(3), claim(3, 2));
    arbiter.report(id(2), claim(2, 1));
    arbiter.report(id(1), claim(1, 2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, write, true)}));
    arbiter.take(id(2), request(read, 12));
    EXPECT_TRUE(out().empty());
    arbiter.take(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, write, true)}));
    arbiter.take(id(3), released(3));
    EXPECT_EQ(out(), (Sends{grant(2, write, 2, write, true)}));
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 9, read)}));
}

TEST_F(ArbiterTest, AClaimWaitsForAHolderAndForARunningRecovery) {
    arbiter.adopt(ours(4, {1, 2}));
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::claim, write, 1}}, true});
    arbiter.report(id(2), {{{kUnit, 2, ReportKind::held, write}}, true});
    EXPECT_EQ(out(), (Sends{revoke(2, 2)}));
    arbiter.take(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, write, true)}));

    arbiter.adopt(ours(5, {1, 2}));
    arbiter.report(id(2), {{{kUnit, 3, ReportKind::claim, write, 1}}, true});
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::recovering, write}}, true});
    EXPECT_TRUE(out().empty()) << "a recovery that runs is not asked back";
    arbiter.take(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, write, 3, write, true)}));
}

TEST_F(ArbiterTest, TwoWritersInTheReportsEndTheProcess) {
    arbiter.adopt(ours(4, {1, 2}));
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::held, write}}, true});
    EXPECT_DEATH(arbiter.report(id(2), {{{kUnit, 2, ReportKind::held, read}}, true}), "compatible");
}

struct WritersFirst final : LockQueuePolicy {
    std::size_t next(std::span<const WaitingRequest> waiting) const override {
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].mode == write) return i;
        }
        return 0;
    }
};

TEST_F(ArbiterTest, AWriterAskedForAReaderMayGoOnReading) {
    start(3);
    arbiter.take(id(1), request(write, 1));
    arbiter.take(id(2), request(read, 2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1), revoke(1, 1, read)}));
    arbiter.take(id(1), {MessageType::lock_released, kUnit, 1, read});
    EXPECT_EQ(out(), (Sends{grant(2, read, 2, none, false, 1)})) << "and the reader is told who has the data";
    arbiter.take(id(3), request(write, 3));
    EXPECT_EQ(out(), (Sends{revoke(1, 1), revoke(2, 2)}));
}

TEST_F(ArbiterTest, HostsGoBeforeBackgroundWorkWhichDoesNotStarve) {
    arbiter = Arbiter(priority_lock_queue());
    start(4);
    arbiter.take(id(1), request(write, 1));
    LockFrame job = request(write, 2);
    job.background = true;
    arbiter.take(id(2), job);
    std::uint16_t holder = 1;
    std::uint64_t ticket = 1;
    unsigned hosts = 0;
    while (holder != 2) {  // two hosts that take turns
        const std::uint16_t next = holder == 3 ? 4 : 3;
        arbiter.take(id(next), request(write, ticket + 10));
        out();
        arbiter.take(id(holder), released(ticket));
        for (const LockSend& s : out()) {
            if (s.frame.type == MessageType::lock_grant) holder = s.to.v, ticket = s.frame.ticket;
        }
        ++hosts;
        ASSERT_LT(hosts, 20u);
    }
    EXPECT_EQ(hosts, PriorityLockQueue::kPatience + 1u);
}

TEST_F(ArbiterTest, UnitsAheadComeWithTheGrantIfTheyAreFree) {
    start(3);
    const auto of = [](UnitIndex unit, LockMode mode, std::uint64_t ticket) {
        return LockFrame{MessageType::lock_request, unit, ticket, mode};
    };
    arbiter.take(id(3), of(UnitIndex(9), write, 1));
    arbiter.take(id(3), of(UnitIndex(10), read, 2));
    out();
    LockFrame stream = request(read, 20);
    stream.ahead = 4;  // 8, 9, 10, 11
    arbiter.take(id(2), stream);
    LockSend expected = grant(2, read, 20);
    expected.frame.granted_ahead = 0b1101;
    EXPECT_EQ(out(), (Sends{expected}));
    arbiter.take(id(3), of(UnitIndex(8), write, 3));
    EXPECT_EQ(out(), (Sends{{id(2), {MessageType::lock_revoke, UnitIndex(8), 21, none, write}}}));
    LockFrame last = of(UnitIndex(62), read, 40);
    last.ahead = 4;
    arbiter.take(id(2), last);
    EXPECT_EQ(out().at(0).frame.granted_ahead, 0b1u) << "the next neighbourhood has an arbiter of its own";
}

/// Two arbiters; what they send to each other is delivered at once, what goes to clients is noted.
struct LastWriterTest : ::testing::Test {
    LastWriterTest() {
        const AmfView view = view_of(1, 1, {1, 2});
        home = arbiter_of(kUnit, view).v;
        guest = static_cast<std::uint16_t>(3 - home);
        for (const std::uint16_t i : {std::uint16_t{1}, std::uint16_t{2}}) {
            AmfView own = view;
            own.self = id(i);
            at(i).adopt(own);
            at(i).report(id(1), {});
            at(i).report(id(2), {});
        }
    }
    Arbiter& at(std::uint16_t i) { return arbiters[i - 1u]; }
    /// The client of `who` says it to whoever decides.
    void say(std::uint16_t who, const LockFrame& frame) { deliver(who, at(who).arbiter(kUnit).v, frame); }
    void deliver(std::uint16_t from, std::uint16_t to, const LockFrame& frame) {
        if (from != to) ++crossings;
        if (frame.type == MessageType::lock_grant || frame.type == MessageType::lock_revoke) {
            if (from != to && frame.type == MessageType::lock_grant) at(to).granted(frame);
            told.push_back({id(to), frame});
        } else {
            EXPECT_TRUE(at(to).take(id(from), frame));
        }
        for (const std::uint16_t i : {std::uint16_t{1}, std::uint16_t{2}}) {
            for (const LockSend& s : std::exchange(at(i).outbox(), {})) deliver(i, s.to.v, s.frame);
        }
    }
    std::vector<LockSend> out() {
        for (LockSend& s : told) s.frame.next = AmfId();
        return std::exchange(told, {});
    }
    unsigned crossed() { return std::exchange(crossings, 0); }
    LockSend grant(std::uint16_t to, LockMode mode, std::uint64_t ticket, std::uint16_t holder = 0) {
        LockFrame frame{MessageType::lock_grant, kUnit, ticket, mode};
        frame.holder = AmfId(holder);
        return {id(to), frame};
    }
    std::array<Arbiter, 2> arbiters;
    std::uint16_t home = 0, guest = 0;
    unsigned crossings = 0;
    std::vector<LockSend> told;
};

TEST_F(LastWriterTest, TheLastWriterDecidesAndTheHomeWhenItHasNothingAnyMore) {
    say(guest, request(write, 1));
    EXPECT_EQ(out(), (Sends{grant(guest, write, 1)}));
    EXPECT_EQ(crossed(), 2u);
    // The guest decides now: request and grant are all that crosses.
    say(home, request(read, 2));
    EXPECT_EQ(out(), (Sends{{id(guest), {MessageType::lock_revoke, kUnit, 1, none, read}}}));
    say(guest, {MessageType::lock_released, kUnit, 1, read});
    EXPECT_EQ(out(), (Sends{grant(home, read, 2, guest)}));
    EXPECT_EQ(crossed(), 2u);
    say(guest, request(write, 3));
    EXPECT_EQ(out(), (Sends{{id(home), {MessageType::lock_revoke, kUnit, 2, none, write}}}));
    say(home, released(2));
    EXPECT_EQ(out(), (Sends{grant(guest, write, 3)}));
    EXPECT_EQ(crossed(), 2u);
    say(guest, released(3));
    EXPECT_EQ(crossed(), 1u) << "the role goes home";
    say(home, request(write, 4));
    EXPECT_EQ(out(), (Sends{grant(home, write, 4)}));
    EXPECT_EQ(crossed(), 0u);
}

TEST_F(LastWriterTest, ARequestThatCrossesWithTheRolesReturnIsDecidedAtHome) {
    say(guest, request(write, 1));
    out();
    EXPECT_TRUE(at(guest).take(id(guest), released(1)));
    const Sends returned = std::exchange(at(guest).outbox(), {});
    ASSERT_EQ(returned.size(), 1u);
    EXPECT_EQ(returned[0].frame.type, MessageType::lock_returned);
    say(home, request(write, 2));  // on its way to the guest, who drops it
    EXPECT_TRUE(out().empty());
    deliver(guest, home, returned[0].frame);
    EXPECT_EQ(out(), (Sends{grant(home, write, 2)}));
}

TEST_F(LastWriterTest, AtANewViewWhoWritesDecidesElseTheHome) {
    for (const std::uint16_t i : {std::uint16_t{1}, std::uint16_t{2}}) {
        AmfView own = view_of(2, i, {1, 2});
        at(i).adopt(own);
        EXPECT_FALSE(at(i).routed());
        at(i).report(id(guest), {{{kUnit, 5, ReportKind::held, write}}});
        at(i).report(id(home), {});
        EXPECT_TRUE(at(i).routed());
    }
    EXPECT_EQ(at(home).units(), 0u);
    EXPECT_EQ(at(guest).units(), 1u);
    say(home, request(write, 6));
    EXPECT_EQ(out(), (Sends{{id(guest), {MessageType::lock_revoke, kUnit, 5, none, write}}}));
    say(guest, released(5));
    EXPECT_EQ(out(), (Sends{grant(home, write, 6)}));
    EXPECT_EQ(at(guest).units(), 0u);
}

TEST_F(ArbiterTest, AnotherPolicyChangesTheOrder) {
    const WritersFirst policy;
    arbiter = Arbiter(policy);
    start(4);
    arbiter.take(id(1), request(write, 1));
    arbiter.take(id(2), request(read, 2));
    arbiter.take(id(3), request(read, 3));
    arbiter.take(id(4), request(write, 4));
    out();
    arbiter.take(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(4, write, 4, read)}));
    arbiter.take(id(4), released(4));
    EXPECT_EQ(out(), (Sends{grant(2, read, 2, none, false, 3), grant(3, read, 3, none, false, 2)}));
}

TEST(ArbiterOf, MovesOnlyTheNeighbourhoodsOfTheOneThatLeft) {
    const AmfView before = view_of(1, 1, {1, 2, 3, 4});
    const AmfView after = view_of(2, 1, {1, 2, 4});
    std::array<int, 5> share{};
    for (std::uint64_t n = 0; n < 1000; ++n) {
        const UnitIndex unit(n * kNeighbourhoodUnits);
        const AmfId arbiter = arbiter_of(unit, before);
        ++share.at(arbiter.v);
        EXPECT_EQ(arbiter_of(UnitIndex(unit.v + kNeighbourhoodUnits - 1), before), arbiter);
        if (arbiter != id(3)) EXPECT_EQ(arbiter_of(unit, after), arbiter);
    }
    for (int i = 1; i <= 4; ++i) EXPECT_NEAR(share.at(static_cast<std::size_t>(i)), 250, 50);
}

}  // namespace
}  // namespace braid
