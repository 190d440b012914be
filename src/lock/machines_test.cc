// The two machines by hand: every step of the protocol, one message at a time.
#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "lock/arbiter.h"
#include "lock/lock_client.h"

namespace braid {
namespace {

using enum LockMode;

constexpr UnitIndex kUnit{7};

AmfView view_of(std::uint64_t epoch, std::uint16_t self, std::vector<std::uint16_t> ids) {
    AmfView view{Epoch(epoch), AmfId(self), {}};
    for (const std::uint16_t id : ids) view.members.push_back({AmfId(id), Incarnation(1)});
    return view;
}

/// One in which kUnit is decided here.
AmfView ours(std::uint64_t epoch, const std::vector<std::uint16_t>& ids) {
    AmfView view = view_of(epoch, 1, ids);
    view.self = arbiter_of(kUnit, view);
    return view;
}

AmfId id(std::uint16_t v) { return AmfId(v); }

LockFrame request(LockMode mode, std::uint64_t ticket) {
    return {MessageType::lock_request, kUnit, ticket, mode};
}
LockFrame released(std::uint64_t ticket) { return {MessageType::lock_released, kUnit, ticket}; }

// ---- arbiter

/// An arbiter of AMFs 1 .. n whose members all reported.
struct ArbiterTest : testing::Test {
    void start(std::uint16_t n) {
        std::vector<std::uint16_t> ids;
        for (std::uint16_t i = 1; i <= n; ++i) ids.push_back(i);
        arbiter.adopt(ours(1, ids));
        for (const auto i : ids) arbiter.report(id(i), {});
    }
    std::vector<LockSend> out() { return std::exchange(arbiter.outbox(), {}); }
    static LockSend grant(std::uint16_t to, LockMode mode, std::uint64_t ticket, bool when_done,
                          bool recover = false) {
        return {id(to), {MessageType::lock_grant, kUnit, ticket, mode, when_done, recover}};
    }
    static LockSend revoke(std::uint16_t to, std::uint64_t ticket) {
        return {id(to), {MessageType::lock_revoke, kUnit, ticket}};
    }
    Arbiter arbiter;
};

}  // namespace

static void PrintTo(const LockSend& s, std::ostream* out) {
    *out << "to " << s.to.v << " type " << int(s.frame.type) << " ticket " << s.frame.ticket << " mode "
         << int(s.frame.mode) << (s.frame.release_when_done ? " when_done" : "")
         << (s.frame.recover ? " recover" : "");
}

namespace {

using Sends = std::vector<LockSend>;

TEST_F(ArbiterTest, GrantsAfterTheHolderReleased) {
    start(3);
    arbiter.request(id(2), request(write, 11));
    EXPECT_EQ(out(), (Sends{grant(2, write, 11, false)}));
    arbiter.request(id(3), request(write, 21));
    EXPECT_EQ(out(), (Sends{revoke(2, 11)}));
    arbiter.released(id(2), released(11));
    EXPECT_EQ(out(), (Sends{grant(3, write, 21, false)}));
    arbiter.released(id(3), released(21));
    EXPECT_TRUE(out().empty());
    EXPECT_EQ(arbiter.units(), 0u);
}

TEST_F(ArbiterTest, GrantsWaitingReadersAtTheHeadTogetherAndInOrder) {
    start(6);
    arbiter.request(id(1), request(write, 1));
    arbiter.request(id(2), request(read, 2));
    arbiter.request(id(3), request(read, 3));
    arbiter.request(id(4), request(write, 4));
    arbiter.request(id(5), request(read, 5));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, false), revoke(1, 1)}));
    arbiter.released(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, read, 2, true), grant(3, read, 3, true)}))
        << "5 must not overtake the writer";
    arbiter.released(id(2), released(2));
    EXPECT_TRUE(out().empty());
    arbiter.released(id(3), released(3));
    EXPECT_EQ(out(), (Sends{grant(4, write, 4, true)}));
    arbiter.released(id(4), released(4));
    EXPECT_EQ(out(), (Sends{grant(5, read, 5, false)}));
}

TEST_F(ArbiterTest, SendsNoRevokeToAHolderThatReleasesWhenDone) {
    start(4);
    arbiter.request(id(1), request(write, 1));
    arbiter.request(id(2), request(write, 2));
    arbiter.request(id(3), request(write, 3));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, false), revoke(1, 1)}));
    arbiter.released(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, write, 2, true)}));
    arbiter.request(id(4), request(read, 4));
    EXPECT_TRUE(out().empty());
    arbiter.released(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, true)}));
}

TEST_F(ArbiterTest, AsksEachReaderOnceHoweverManyWait) {
    start(5);
    arbiter.request(id(1), request(read, 1));
    arbiter.request(id(2), request(read, 2));
    out();
    arbiter.request(id(3), request(write, 3));
    EXPECT_EQ(out(), (Sends{revoke(1, 1), revoke(2, 2)}));
    arbiter.request(id(4), request(write, 4));
    arbiter.released(id(1), released(1));
    EXPECT_TRUE(out().empty());
    arbiter.released(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, true)}));
}

TEST_F(ArbiterTest, TheOnlyReaderBecomesTheWriterWithoutGivingUp) {
    start(2);
    arbiter.request(id(1), request(read, 1));
    out();
    arbiter.request(id(1), request(write, 2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 2, false)}));
    arbiter.released(id(1), released(1));
    EXPECT_EQ(arbiter.units(), 1u) << "a release of the replaced grant must not end the present one";
    arbiter.request(id(2), request(read, 9));
    EXPECT_EQ(out(), (Sends{revoke(1, 2)}));
}

TEST_F(ArbiterTest, TwoReadersThatBothAskToWriteDoNotBlockEachOther) {
    start(2);
    arbiter.request(id(1), request(read, 1));
    arbiter.request(id(2), request(read, 2));
    out();
    arbiter.request(id(1), request(write, 11));
    EXPECT_EQ(out(), (Sends{revoke(2, 2)}));
    arbiter.request(id(2), request(write, 12));
    EXPECT_TRUE(out().empty());
    arbiter.released(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 11, true)}));
    arbiter.released(id(1), released(11));
    EXPECT_EQ(out(), (Sends{grant(2, write, 12, false)}));
}

TEST_F(ArbiterTest, GrantsNothingBeforeTheLastReport) {
    arbiter.adopt(ours(4, {1, 2, 3}));
    arbiter.request(id(1), request(write, 1));
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
    arbiter.request(id(1), request(write, 9));
    arbiter.report(id(3), claim(3, 2));
    arbiter.report(id(2), claim(2, 1));
    arbiter.report(id(1), claim(1, 2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, true, true)}));
    arbiter.request(id(2), request(read, 12));
    EXPECT_TRUE(out().empty());
    arbiter.released(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(3, write, 3, true, true)}));
    arbiter.released(id(3), released(3));
    EXPECT_EQ(out(), (Sends{grant(2, write, 2, true, true)}));
    arbiter.released(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 9, true)}));
}

TEST_F(ArbiterTest, AClaimWaitsForAHolderAndForARunningRecovery) {
    arbiter.adopt(ours(4, {1, 2}));
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::claim, write, 1}}, true});
    arbiter.report(id(2), {{{kUnit, 2, ReportKind::held, write}}, true});
    EXPECT_EQ(out(), (Sends{revoke(2, 2)}));
    arbiter.released(id(2), released(2));
    EXPECT_EQ(out(), (Sends{grant(1, write, 1, true, true)}));

    arbiter.adopt(ours(5, {1, 2}));
    arbiter.report(id(2), {{{kUnit, 3, ReportKind::claim, write, 1}}, true});
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::recovering, write}}, true});
    EXPECT_TRUE(out().empty()) << "a recovery that runs is not asked back";
    arbiter.released(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(2, write, 3, true, true)}));
}

TEST_F(ArbiterTest, TwoWritersInTheReportsEndTheProcess) {
    arbiter.adopt(ours(4, {1, 2}));
    arbiter.report(id(1), {{{kUnit, 1, ReportKind::held, write}}, true});
    EXPECT_DEATH(arbiter.report(id(2), {{{kUnit, 2, ReportKind::held, read}}, true}), "compatible");
}

struct WritersFirst final : LockQueuePolicy {
    std::size_t next(UnitIndex, std::span<const WaitingRequest> waiting) const override {
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].mode == write) return i;
        }
        return 0;
    }
};

TEST_F(ArbiterTest, AnotherPolicyChangesTheOrder) {
    const WritersFirst policy;
    arbiter = Arbiter(policy);
    start(4);
    arbiter.request(id(1), request(write, 1));
    arbiter.request(id(2), request(read, 2));
    arbiter.request(id(3), request(read, 3));
    arbiter.request(id(4), request(write, 4));
    out();
    arbiter.released(id(1), released(1));
    EXPECT_EQ(out(), (Sends{grant(4, write, 4, true)}));
    arbiter.released(id(4), released(4));
    EXPECT_EQ(out(), (Sends{grant(2, read, 2, false), grant(3, read, 3, false)}));
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

// ---- client

struct ClientTest : testing::Test {
    ClientTest() { adopt(view_of(1, 1, {1})), client.outbox() = {}; }
    void adopt(const AmfView& view, std::span<const LockClaim> claims = {}) {
        arbiter.adopt(view);
        client.adopt(view, claims);
    }
    LockWaiter* wait(LockMode mode, UnitIndex unit = kUnit) {
        LockWaiter& w = waiters.emplace_back();
        w.unit = unit;
        w.mode = mode;
        client.wait(w);
        return &w;
    }
    LockFrame take() {
        EXPECT_EQ(client.outbox().messages.size(), 1u);
        if (client.outbox().messages.empty()) return {};
        const LockFrame frame = client.outbox().messages.front().frame;
        client.outbox().messages.clear();
        return frame;
    }
    bool silent() { return client.outbox().messages.empty() && client.outbox().prepare.empty(); }
    void grant(const LockFrame& asked, bool when_done = false) {
        EXPECT_EQ(asked.type, MessageType::lock_request);
        EXPECT_TRUE(
            client.granted({MessageType::lock_grant, asked.unit, asked.ticket, asked.mode, when_done}));
    }
    void revoke(std::uint64_t ticket) { client.revoked({MessageType::lock_revoke, kUnit, ticket}); }
    void unpin(UnitIndex unit = kUnit) { client.unpin(unit, client.life()); }
    /// The one release in preparation is prepared.
    LockFrame prepared() {
        EXPECT_EQ(client.outbox().prepare.size(), 1u);
        const auto prepare = client.outbox().prepare.at(0);
        client.outbox().prepare.clear();
        client.release_prepared(prepare.unit, prepare.ticket);
        const LockFrame frame = client.outbox().messages.at(0).frame;
        client.outbox().messages.erase(client.outbox().messages.begin());
        EXPECT_EQ(frame.type, MessageType::lock_released);
        return frame;
    }
    /// Requested and granted, with one pin.
    std::uint64_t hold(LockMode mode, UnitIndex unit = kUnit) {
        wait(mode, unit);
        const LockFrame asked = take();
        grant(asked);
        return asked.ticket;
    }
    Arbiter arbiter;  ///< tells the client who decides
    LockClient client{arbiter};
    std::deque<LockWaiter> waiters;
};

TEST_F(ClientTest, KeepsALockUntilSomebodyAsks) {
    const std::uint64_t ticket = hold(write);
    unpin();
    EXPECT_TRUE(silent());
    EXPECT_TRUE(client.try_pin(kUnit, read));
    EXPECT_TRUE(client.try_pin(kUnit, write));
    revoke(ticket);
    unpin();
    EXPECT_TRUE(silent()) << "still pinned";
    EXPECT_FALSE(client.try_pin(kUnit, read)) << "new operations wait once somebody asked";
    unpin();
    EXPECT_EQ(client.held(), 1u) << "not before the release is prepared";
    EXPECT_EQ(prepared().ticket, ticket);
    EXPECT_EQ(client.held(), 0u);
    EXPECT_EQ(client.units(), 0u);
}

TEST_F(ClientTest, ServesThoseWhoWaitedAtTheGrantAndAsksAgainForTheOthers) {
    LockWaiter* a = wait(write);
    LockWaiter* b = wait(read);
    const LockFrame asked = take();
    grant(asked, true);
    EXPECT_TRUE(a->granted && b->granted);
    LockWaiter* late = wait(read);
    EXPECT_TRUE(silent());
    unpin();
    EXPECT_TRUE(silent());
    unpin();
    EXPECT_FALSE(late->granted);
    EXPECT_EQ(prepared().ticket, asked.ticket);
    const LockFrame again = take();
    EXPECT_GT(again.ticket, asked.ticket);
    EXPECT_EQ(again.mode, read);
    grant(again);
    EXPECT_TRUE(late->granted);
}

TEST_F(ClientTest, AReaderIsGivenBackWithoutPreparation) {
    const std::uint64_t ticket = hold(read);
    revoke(ticket);
    unpin();
    EXPECT_EQ(take(), (LockFrame{MessageType::lock_released, kUnit, ticket, read}));
}

TEST_F(ClientTest, ReadersGoOnWhileTheUnitIsAskedForWriting) {
    const std::uint64_t ticket = hold(read);
    LockWaiter* writer = wait(write);
    const LockFrame upgrade = take();
    EXPECT_EQ(upgrade.mode, write);
    EXPECT_TRUE(client.try_pin(kUnit, read));
    unpin();
    unpin();
    revoke(ticket);
    EXPECT_EQ(take().ticket, ticket) << "the read lock goes, the request stays";
    EXPECT_EQ(client.held(), 0u);
    grant(upgrade);
    EXPECT_TRUE(writer->granted);
}

TEST_F(ClientTest, ARevokeOfAnEarlierHoldIsIgnored) {
    const std::uint64_t old = hold(read);
    revoke(old);
    unpin();
    take();
    const std::uint64_t now = hold(write);
    revoke(old);
    unpin();
    EXPECT_TRUE(silent());
    EXPECT_TRUE(client.try_pin(kUnit, write));
    revoke(now);
    unpin();
    EXPECT_EQ(prepared().ticket, now);
}

TEST_F(ClientTest, AGrantThatNobodyAskedForIsGivenBack) {
    EXPECT_TRUE(client.granted({MessageType::lock_grant, kUnit, 77, write}));
    EXPECT_EQ(take(), (LockFrame{MessageType::lock_released, kUnit, 77, write}));
    EXPECT_TRUE(client.granted({MessageType::lock_grant, kUnit, 78, write, true, true}));
    EXPECT_EQ(take().ticket, 78u);
    EXPECT_EQ(client.units(), 0u);
}

TEST_F(ClientTest, AGrantWhoseWaiterGaveUpIsKeptIdleOrReleasedWhenAskedFor) {
    client.cancel(*wait(write));
    grant(take());
    EXPECT_EQ(client.idle(), 1u);
    EXPECT_TRUE(client.try_pin(kUnit, write));
    LockWaiter* other = wait(write, UnitIndex(8));
    client.cancel(*other);
    grant(take(), true);
    EXPECT_EQ(prepared().unit, UnitIndex(8));
}

TEST(LockClient, GivesBackTheLeastRecentlyUsedBeyondItsLimit) {
    Arbiter arbiter;
    LockClient client(arbiter, 2);
    arbiter.adopt(view_of(1, 1, {1}));
    client.adopt(view_of(1, 1, {1}), {});
    std::deque<LockWaiter> waiters;
    for (std::uint64_t u = 1; u <= 3; ++u) {
        LockWaiter& w = waiters.emplace_back();
        w.unit = UnitIndex(u);
        client.outbox() = {};
        client.wait(w);
        const LockFrame asked = client.outbox().messages.at(0).frame;
        ASSERT_TRUE(client.granted({MessageType::lock_grant, w.unit, asked.ticket, read}));
        client.outbox() = {};
        if (u == 3) {  // 1 is used again: 2 is the oldest now
            ASSERT_TRUE(client.try_pin(UnitIndex(1), read));
            client.unpin(UnitIndex(1), client.life());
        }
        client.unpin(w.unit, client.life());
    }
    ASSERT_EQ(client.outbox().messages.size(), 1u);
    EXPECT_EQ(client.outbox().messages[0].frame.type, MessageType::lock_released);
    EXPECT_EQ(client.outbox().messages[0].frame.unit, UnitIndex(2));
    EXPECT_EQ(client.held(), 2u);
    EXPECT_EQ(client.units(), 2u);
}

TEST_F(ClientTest, ReportsWhatItHoldsAndRequestsAgainInANewView) {
    const std::uint64_t ticket = hold(read);
    wait(write);
    const LockFrame before = take();
    adopt(view_of(2, 1, {1, 2}), {});
    const auto& reports = client.outbox().reports;
    ASSERT_EQ(reports.size(), 2u) << "one for each member, empty or not";
    std::vector<LockReportEntry> entries;
    for (const auto& [to, report] : reports) {
        for (const auto& entry : report.entries) {
            EXPECT_EQ(to, arbiter_of(kUnit, client.view()));
            entries.push_back(entry);
        }
    }
    EXPECT_EQ(entries, (std::vector<LockReportEntry>{{kUnit, ticket, ReportKind::held, read}}));
    const LockFrame again = take();
    EXPECT_GT(again.ticket, before.ticket);
    EXPECT_EQ(again.mode, write);
}

TEST_F(ClientTest, AReleaseInPreparationGoesToTheArbiterOfTheNewView) {
    const std::uint64_t ticket = hold(write);
    revoke(ticket);
    unpin();
    adopt(view_of(2, 1, {2, 1}), {});
    EXPECT_EQ(client.held(), 1u);
    client.outbox().messages.clear();
    EXPECT_EQ(prepared().ticket, ticket);
}

TEST_F(ClientTest, AReleaseThatWasSentIsNotReported) {
    const std::uint64_t ticket = hold(write);
    revoke(ticket);
    unpin();
    prepared();
    adopt(view_of(2, 1, {1}), {});
    EXPECT_TRUE(client.outbox().reports.at(0).second.entries.empty());
}

TEST_F(ClientTest, ARecoveredUnitServesNobodyAndGoesBack) {
    const LockClaim claims[] = {{kUnit, 1}, {kUnit, 2}, {kUnit, 1}};
    adopt(view_of(2, 1, {1}), claims);
    const auto entries = client.outbox().reports.at(0).second.entries;
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_EQ(entries[0].progress, 2);
    LockWaiter* waiter = wait(write);
    const LockFrame asked = take();
    client.granted({MessageType::lock_grant, kUnit, entries[0].ticket, write, true, true});
    EXPECT_EQ(client.outbox().recover, (std::vector<UnitIndex>{kUnit}));
    EXPECT_FALSE(client.try_pin(kUnit, write));
    EXPECT_FALSE(waiter->granted);
    EXPECT_EQ(client.held(), 1u);

    adopt(view_of(3, 1, {1}), claims);
    const auto& again = client.outbox().reports.at(0).second.entries;
    ASSERT_EQ(again.size(), 2u) << "it is still recovering, and claims for afterwards";
    EXPECT_EQ(again[0], (LockReportEntry{kUnit, entries[0].ticket, ReportKind::recovering, write}));
    EXPECT_EQ(again[1].kind, ReportKind::claim);
    const std::uint64_t second = again[1].ticket;
    client.recovered(kUnit);
    EXPECT_EQ(prepared().ticket, entries[0].ticket);
    EXPECT_FALSE(waiter->granted);
    EXPECT_GT(take().ticket, asked.ticket);
    client.outbox().recover.clear();
    client.granted({MessageType::lock_grant, kUnit, second, write, true, true});
    EXPECT_EQ(client.outbox().recover.size(), 1u);
}

TEST_F(ClientTest, OutOfTheViewEverythingIsLostAndOldPinsMeanNothing) {
    hold(write);
    LockWaiter* waiter = wait(write, UnitIndex(9));
    const std::uint32_t life = client.life();
    adopt(view_of(2, 1, {2}), {});
    EXPECT_EQ(client.held(), 0u);
    EXPECT_FALSE(client.try_pin(kUnit, read));
    EXPECT_TRUE(silent());
    adopt(view_of(3, 1, {1, 2}), {});
    EXPECT_EQ(take().unit, UnitIndex(9));
    client.unpin(kUnit, life);
    EXPECT_TRUE(waiter->queued);
    client.cancel(*waiter);
}

TEST_F(ClientTest, ANewIncarnationHoldsNothingOfTheOldOne) {
    hold(write);
    AmfView again = view_of(5, 1, {1});
    again.members[0].incarnation = Incarnation(5);
    adopt(again, {});
    EXPECT_EQ(client.held(), 0u);
    EXPECT_TRUE(client.outbox().reports.at(0).second.entries.empty());
}

// ---- bytes

TEST(LockFrames, SurviveTheirEncoding) {
    const LockFrame grant{MessageType::lock_grant, UnitIndex(1ull << 60), 9, write, true, true};
    EXPECT_EQ(*decode_lock_frame(grant.type, encode(grant)), grant);
    EXPECT_EQ(*decode_lock_frame(MessageType::lock_request, encode(request(read, 3))), request(read, 3));
    EXPECT_EQ(*decode_lock_frame(MessageType::lock_released, encode(released(3))), released(3));
    const LockReport report{
        {{kUnit, 4, ReportKind::claim, write, 2}, {kTablesUnit, 5, ReportKind::held, read}}, false};
    EXPECT_EQ(*decode_lock_report(encode(report)), report);
}

TEST(LockFrames, BytesThatMeanNothingAreRefused) {
    const Bytes grant = encode(LockFrame{MessageType::lock_grant, kUnit, 9, write, true, true});
    const Bytes report = encode(LockReport{{{kUnit, 4, ReportKind::claim, write, 2}}, true});
    for (std::size_t size = 0; size < grant.size(); ++size) {
        EXPECT_FALSE(decode_lock_frame(MessageType::lock_grant, std::span(grant).first(size)));
    }
    for (std::size_t size = 0; size < report.size(); ++size) {
        EXPECT_FALSE(decode_lock_report(std::span(report).first(size)));
    }
    const auto with = [](Bytes bytes, std::size_t at, unsigned value) {
        bytes.at(at) = static_cast<std::byte>(value);
        return bytes;
    };
    EXPECT_FALSE(decode_lock_frame(MessageType::lock_grant, with(grant, 16, 3))) << "mode";
    EXPECT_FALSE(decode_lock_frame(MessageType::lock_grant, with(grant, 17, 4))) << "flags";
    EXPECT_FALSE(decode_lock_frame(MessageType::lock_grant, with(grant, 8, 0))) << "no ticket";
    EXPECT_FALSE(decode_lock_frame(MessageType::lock_request, with(grant, 17, 1)))
        << "a request has no flags";
    EXPECT_FALSE(decode_lock_report(with(report, 1, 2))) << "count";
    EXPECT_FALSE(decode_lock_report(with(report, 4, 0xff))) << "a count beyond the limit";
    EXPECT_FALSE(decode_lock_report(with(report, 21, 3))) << "kind";
    EXPECT_FALSE(decode_lock_report(with(report, 22, 1))) << "a claim for reading";
}

}  // namespace
}  // namespace braid
