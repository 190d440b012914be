// The lock client by hand, and the frames as bytes.
#include <gtest/gtest.h>

#include <deque>

#include "lock/machines_testing.h"

namespace braid {
namespace {

using namespace testing;

// ---- client

struct ClientTest : ::testing::Test {
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
        const LockFrame frame = client.outbox().messages.front();
        client.outbox().messages.clear();
        return frame;
    }
    bool silent() { return client.outbox().messages.empty() && client.outbox().prepare.empty(); }
    void grant(const LockFrame& asked, LockMode wanted = none) {
        EXPECT_EQ(asked.type, MessageType::lock_request);
        EXPECT_TRUE(
            client.granted({MessageType::lock_grant, asked.unit, asked.ticket, asked.mode, wanted}, now));
    }
    void revoke(std::uint64_t ticket) {
        client.revoked({MessageType::lock_revoke, kUnit, ticket, none, write}, now);
    }
    void unpin(UnitIndex unit = kUnit) { client.unpin(unit, client.life()); }
    /// The one release in preparation is prepared.
    LockFrame prepared() {
        EXPECT_EQ(client.outbox().prepare.size(), 1u);
        const auto prepare = client.outbox().prepare.at(0);
        client.outbox().prepare.clear();
        client.release_prepared(prepare.unit, prepare.ticket);
        const LockFrame frame = client.outbox().messages.at(0);
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
    /// `other` has got the unit for writing and uses it no more; 10 us later somebody else wants it.
    void get_and_be_asked(LockClient& other, UnitIndex unit) {
        other.adopt(view_of(1, 1, {1}), {});
        LockWaiter& waiter = waiters.emplace_back(LockWaiter{unit, write});
        other.wait(waiter);
        const LockFrame asked = other.outbox().messages.at(0);
        other.outbox() = {};
        ASSERT_TRUE(other.granted({MessageType::lock_grant, unit, asked.ticket, write}, now));
        other.unpin(unit, other.life());
        other.revoked({MessageType::lock_revoke, unit, asked.ticket, none, write}, now + 10us);
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
    grant(asked, write);
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
    EXPECT_EQ(take(), (LockFrame{MessageType::lock_released, kUnit, ticket}));
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
    const std::uint64_t last = hold(write);
    revoke(old);
    unpin();
    EXPECT_TRUE(silent());
    EXPECT_TRUE(client.try_pin(kUnit, write));
    revoke(last);
    unpin();
    EXPECT_EQ(prepared().ticket, last);
}

TEST_F(ClientTest, AGrantThatNobodyAskedForIsGivenBack) {
    EXPECT_TRUE(client.granted({MessageType::lock_grant, kUnit, 77, write}, now));
    EXPECT_EQ(take(), (LockFrame{MessageType::lock_released, kUnit, 77}));
    EXPECT_TRUE(client.granted({MessageType::lock_grant, kUnit, 78, write, write, true}, now));
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
    grant(take(), write);
    EXPECT_EQ(prepared().unit, UnitIndex(8));
}

TEST_F(ClientTest, AWriterThatIsAskedForAReaderGoesOnReading) {
    const std::uint64_t ticket = hold(write);
    client.revoked({MessageType::lock_revoke, kUnit, ticket, none, read}, now);
    unpin();
    ASSERT_EQ(client.outbox().prepare.size(), 1u) << "the release rule is for readers too";
    client.outbox().prepare.clear();
    client.release_prepared(kUnit, ticket);
    EXPECT_EQ(take(), (LockFrame{MessageType::lock_released, kUnit, ticket, read}));
    EXPECT_TRUE(client.try_pin(kUnit, read));
    EXPECT_FALSE(client.try_pin(kUnit, write));
}

TEST_F(ClientTest, WhatIsWantedByOthersIsKeptForItsTime) {
    LockClient patient(arbiter, {.min_hold = 1ms});
    ASSERT_NO_FATAL_FAILURE(get_and_be_asked(patient, kUnit));
    EXPECT_TRUE(patient.try_pin(kUnit, write)) << "its own operations go on";
    patient.unpin(kUnit, patient.life());
    EXPECT_TRUE(patient.outbox().prepare.empty());
    EXPECT_EQ(patient.next_due(), now + 1ms);
    patient.tick(now + 1ms);
    EXPECT_EQ(patient.outbox().prepare.size(), 1u);
    EXPECT_FALSE(patient.next_due());
}

TEST_F(ClientTest, TheTablesAreGivenBackAtOnce) {
    LockClient patient(arbiter, {.min_hold = 1ms});
    ASSERT_NO_FATAL_FAILURE(get_and_be_asked(patient, kTablesUnit));
    EXPECT_EQ(patient.outbox().prepare.size(), 1u);
    EXPECT_FALSE(patient.next_due());
}

TEST_F(ClientTest, AnotherTimeToKeepThemIsForWhatIsHeldAlready) {
    LockClient patient(arbiter, {.min_hold = 1ms});
    ASSERT_NO_FATAL_FAILURE(get_and_be_asked(patient, kUnit));
    patient.hold_at_least(5ms);
    EXPECT_EQ(patient.next_due(), now + 5ms);
    patient.tick(now + 1ms);
    EXPECT_TRUE(patient.outbox().prepare.empty());
    patient.hold_at_least(0us);
    EXPECT_EQ(patient.next_due(), now);
    patient.tick(now + 1ms);
    EXPECT_EQ(patient.outbox().prepare.size(), 1u);
}

TEST_F(ClientTest, PrefetchedUnitsServeAndGoFirst) {
    LockClient small(arbiter, {.held_idle = 2});
    small.adopt(view_of(1, 1, {1}), {});
    LockWaiter waiter{kUnit, read, false, 3};
    small.wait(waiter);
    const LockFrame asked = small.outbox().messages.at(0);
    EXPECT_EQ(asked.ahead, 3);
    small.outbox() = {};
    LockFrame grant{MessageType::lock_grant, kUnit, asked.ticket, read};
    grant.granted_ahead = 0b1000;
    EXPECT_FALSE(small.granted(grant, now)) << "that was not asked for";
    grant.granted_ahead = 0b011;
    ASSERT_TRUE(small.granted(grant, now));
    EXPECT_TRUE(small.try_pin(UnitIndex(8), read));
    EXPECT_EQ(small.prefetched(), 1u);
    small.unpin(UnitIndex(8), small.life());
    EXPECT_TRUE(small.outbox().messages.empty());
    small.unpin(kUnit, small.life());
    ASSERT_EQ(small.outbox().messages.size(), 1u);
    EXPECT_EQ(small.outbox().messages[0].unit, UnitIndex(9)) << "never used: it goes before older ones";
}

TEST(LockClient, GivesBackTheLeastRecentlyUsedBeyondItsLimit) {
    Arbiter arbiter;
    LockClient client(arbiter, {.held_idle = 2});
    arbiter.adopt(view_of(1, 1, {1}));
    client.adopt(view_of(1, 1, {1}), {});
    std::deque<LockWaiter> waiters;
    for (std::uint64_t u = 1; u <= 3; ++u) {
        LockWaiter& w = waiters.emplace_back();
        w.unit = UnitIndex(u);
        client.outbox() = {};
        client.wait(w);
        const LockFrame asked = client.outbox().messages.at(0);
        ASSERT_TRUE(client.granted({MessageType::lock_grant, w.unit, asked.ticket, read}, now));
        client.outbox() = {};
        if (u == 3) {  // 1 is used again: 2 is the oldest now
            ASSERT_TRUE(client.try_pin(UnitIndex(1), read));
            client.unpin(UnitIndex(1), client.life());
        }
        client.unpin(w.unit, client.life());
    }
    ASSERT_EQ(client.outbox().messages.size(), 1u);
    EXPECT_EQ(client.outbox().messages[0].type, MessageType::lock_released);
    EXPECT_EQ(client.outbox().messages[0].unit, UnitIndex(2));
    EXPECT_EQ(client.held(), 2u);
    EXPECT_EQ(client.units(), 2u);
}

TEST_F(ClientTest, ReportsWhatItHoldsAndRequestsAgainInANewView) {
    const std::uint64_t ticket = hold(read);
    wait(write);
    const LockFrame before = take();
    adopt(view_of(2, 1, {1, 2, 3}), {});
    const auto& reports = client.outbox().reports;
    ASSERT_EQ(reports.size(), 3u) << "one for each member, empty or not";
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
    client.granted({MessageType::lock_grant, kUnit, entries[0].ticket, write, write, true}, now);
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
    client.granted({MessageType::lock_grant, kUnit, second, write, write, true}, now);
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
    const LockFrame grant{MessageType::lock_grant, UnitIndex(1ull << 60), 9, write, write, true};
    EXPECT_EQ(*decode_lock_frame(grant.type, encode(grant)), grant);
    EXPECT_EQ(*decode_lock_frame(MessageType::lock_request, encode(request(read, 3))), request(read, 3));
    EXPECT_EQ(*decode_lock_frame(MessageType::lock_released, encode(released(3))), released(3));
    const LockReport report{
        {{kUnit, 4, ReportKind::claim, write, 2}, {kTablesUnit, 5, ReportKind::held, read}}, false};
    EXPECT_EQ(*decode_lock_report(encode(report)), report);
}

TEST(LockFrames, BytesThatMeanNothingAreRefused) {
    const Bytes grant = encode(LockFrame{MessageType::lock_grant, kUnit, 9, write, write, true});
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
