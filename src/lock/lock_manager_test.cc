// The driver: one step after the other.
#include "lock/lock_manager_testing.h"

namespace braid {
namespace {

using namespace testing;

TEST(LockManager, AContendedLockCostsFourMessagesHoweverManyAmfsThereAre) {
    for (const int count : {3, 4, 8, 16}) {
        World world(static_cast<std::uint16_t>(count));
        const UnitIndex unit = unit_at(world, 3);
        Slot a, b;
        start(world[1], unit, write, a);
        world.run();
        EXPECT_TRUE(a.pin);
        a.pin.release();
        world.run();
        world.forget_counts();
        start(world[2], unit, write, b);
        world.run();
        EXPECT_TRUE(b.pin);
        EXPECT_EQ(world.sent(MessageType::lock_request), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_revoke), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_released), 1u);
        EXPECT_EQ(world.sent(MessageType::lock_grant), 1u);
        EXPECT_EQ(world[1].locks.held(), 0u);
        EXPECT_EQ(world[2].locks.held(), 1u);
    }
}

TEST(LockManager, AGrantThatSaysReleaseWhenDoneSavesTheRevoke) {
    World world(4);
    const UnitIndex unit = unit_at(world, 4);
    Slot a, b, c;
    start(world[1], unit, write, a);
    world.run();
    start(world[2], unit, write, b);
    start(world[3], unit, write, c);
    world.run();
    EXPECT_EQ(world.sent(MessageType::lock_revoke), 1u);
    a.pin.release();
    world.run();
    ASSERT_TRUE(b.pin);
    EXPECT_FALSE(c.done);
    b.pin.release();
    world.run();
    EXPECT_TRUE(c.pin);
    EXPECT_EQ(world.sent(MessageType::lock_revoke), 0u);
    EXPECT_EQ(world.sent(MessageType::lock_released), 2u);
}

TEST(LockManager, WhoWorksAloneSendsNoMessageAfterTheFirst) {
    World world(3);
    Slot first;
    start(world[1], UnitIndex(5), write, first);
    world.run();
    first.pin.release();
    world.forget_counts();
    for (int i = 0; i < 100; ++i) {
        LockPin pin, other;
        EXPECT_TRUE(world[1].locks.try_acquire(UnitIndex(5), write, pin));
        EXPECT_TRUE(world[1].locks.try_acquire(UnitIndex(5), read, other));
    }
    world.run();
    EXPECT_TRUE(world.counts.empty());
    EXPECT_EQ(world[1].locks.counters().held, 200u);
    EXPECT_EQ(world[1].locks.counters().peer, 1u);
    LockPin pin;
    EXPECT_FALSE(world[2].locks.try_acquire(UnitIndex(5), read, pin));
}

TEST(LockManager, APinOfSeveralUnitsIsThePinOfEach) {
    World world(2);
    Slot a, b, c;
    start(world[1], UnitIndex(5), read, a);
    start(world[1], UnitIndex(6), read, b);
    world.run();
    LockPin both;
    EXPECT_EQ(both.count(), 0u);
    both.join(std::move(a.pin));
    both.join(std::move(b.pin));
    EXPECT_EQ(both.count(), 2u);
    EXPECT_EQ(both.unit(), UnitIndex(5));
    start(world[2], UnitIndex(6), write, c);
    world.run();
    EXPECT_FALSE(c.done);
    LockPin moved = std::move(both);
    world.run();
    EXPECT_FALSE(c.done);
    moved.release();
    world.run();
    EXPECT_TRUE(c.pin);
}

TEST(LockManager, AWriteLockLeavesOnlyAfterTheReleaseRule) {
    World world(2);
    Slot a, b, again;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    world[1].may_release.reset();
    start(world[2], UnitIndex(5), read, b);
    world.run();
    EXPECT_EQ(world[1].prepared, 0) << "pinned";
    a.pin.release();
    EXPECT_EQ(world[1].prepared, 0) << "the end of a pin calls nobody";
    world.run();
    EXPECT_EQ(world[1].prepared, 1);
    EXPECT_EQ(world[1].last_prepared, UnitIndex(5));
    start(world[1], UnitIndex(5), write, again);
    world.next_view();
    world.run();
    EXPECT_FALSE(b.done || again.done);
    EXPECT_EQ(world[1].locks.held(), 1u);
    world[1].may_release.set();
    world.run();
    EXPECT_TRUE(b.pin);
    b.pin.release();
    world.run();
    EXPECT_TRUE(again.pin);
    EXPECT_EQ(world[2].prepared, 0) << "readers have nothing to prepare";
}

TEST(LockManager, AWaiterThatIsDestroyedLeavesTheQueue) {
    World world(2);
    Slot a, b;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    world[2].scope.destroy_all();
    EXPECT_EQ(world[2].locks.counters().cancelled, 1u);
    a.pin.release();
    world.run();
    EXPECT_FALSE(b.done);
    LockPin pin;
    EXPECT_TRUE(world[2].locks.try_acquire(UnitIndex(5), write, pin)) << "the grant came and stays idle";
}

TEST(LockManager, AWaiterThatIsDestroyedBetweenGrantAndResumptionGivesItsPinBack) {
    World world(1);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.executor.run_until_idle();
    ASSERT_TRUE(world.deliver(0)) << "the request";
    ASSERT_TRUE(world.deliver(0)) << "the grant";
    EXPECT_FALSE(a.done);
    world[1].scope.destroy_all();
    world.run();
    EXPECT_FALSE(a.done);
    EXPECT_EQ(world[1].locks.held(), 1u);
    LockOptions none;
    none.held_idle = 0;
    World tight(1, none);
    start(tight[1], UnitIndex(5), write, a);
    tight.executor.run_until_idle();
    tight.deliver(0);
    tight.deliver(0);
    ASSERT_EQ(tight[1].locks.held(), 1u);
    tight[1].scope.destroy_all();
    tight.run();
    EXPECT_EQ(tight[1].locks.held(), 0u);
}

TEST(LockManager, StopFailsTheWaitersAndStillGivesBack) {
    World world(2);
    Slot a, b, late;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[1], UnitIndex(6), write, late);
    world[1].locks.stop();
    world.run();
    EXPECT_TRUE(late.done);
    EXPECT_EQ(late.error, Errc::cancelled);
    Slot after;
    start(world[1], UnitIndex(5), read, after);
    EXPECT_EQ(after.error, Errc::cancelled);
    a.pin.release();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    EXPECT_TRUE(b.pin);
}

TEST(LockManager, AClaimedUnitIsRecoveredBeforeAnybodyGetsIt) {
    World world(2);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.bump();
    world.adopt(world[1]);
    world.adopt(world[2], {{UnitIndex(5), 1}});
    world.run();
    EXPECT_FALSE(a.done);
    EXPECT_EQ(world[2].recovering, (std::vector<UnitIndex>{UnitIndex(5)}));
    LockPin pin;
    EXPECT_FALSE(world[2].locks.try_acquire(UnitIndex(5), read, pin));
    world[2].locks.recovered(UnitIndex(5));
    world[2].locks.recovered(UnitIndex(5));
    world.run();
    EXPECT_TRUE(a.pin);
    EXPECT_EQ(world[2].locks.counters().recoveries, 1u);
}

TEST(LockManager, WhatIsHeldSurvivesAViewAndItsReportComesInSeveralFrames) {
    World world(2);
    constexpr std::size_t kMany = 3 * kReportEntries;
    std::vector<Slot> slots(kMany);
    for (std::size_t i = 0; i < kMany; ++i) start(world[1], UnitIndex(i), read, slots[i]);
    world.run();
    ASSERT_EQ(world[1].locks.held(), kMany);
    world.forget_counts();
    world.next_view();
    EXPECT_GE(world.sent(MessageType::lock_report), 6u);
    Slot other;
    start(world[2], UnitIndex(kMany - 1), write, other);
    world.run();
    EXPECT_FALSE(other.done);
    EXPECT_EQ(world[1].locks.held(), kMany);
    slots.back().pin.release();
    world.run();
    EXPECT_TRUE(other.pin);
    std::size_t listed = 0;
    world[1].locks.for_each_held([&](UnitIndex, LockMode mode) { listed += mode == read ? 1 : 0; });
    EXPECT_EQ(listed, kMany - 1);
}

TEST(LockManager, OutsideTheViewAnAcquireWaitsAndWhatWasHeldIsLost) {
    World world(2);
    Slot a, b, c;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    world.absent.insert(1);
    world.next_view();
    start(world[1], UnitIndex(6), write, b);
    start(world[2], UnitIndex(5), write, c);
    world.run();
    EXPECT_FALSE(b.done);
    EXPECT_TRUE(c.pin);
    EXPECT_EQ(world[1].locks.held(), 0u);
    a.pin.release();
    world.absent.clear();
    world.next_view();
    world.run();
    EXPECT_TRUE(b.pin);
}

TEST(LockManager, AUnitIsGoneHereBeforeAnybodyHearsOfItAndWhenTheViewIsLost) {
    World world(3);
    Slot a, b, c;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    a.pin.release();
    start(world[2], UnitIndex(5), read, b);
    world.run();
    EXPECT_TRUE(world[1].gone.empty() && b.pin.live()) << "it goes on reading";
    b.pin.release();
    start(world[3], UnitIndex(5), write, c);
    world.run();
    for (const int reader : {1, 2}) EXPECT_EQ(world[reader].gone_when_told, std::vector{UnitIndex(5)});
    world.absent.insert(3), world.next_view();
    EXPECT_EQ(world[3].gone, std::vector{UnitIndex(5)});
}

TEST(LockManager, AGrantLostBeforeItsWaiterRanIsWaitedForAgain) {
    World world(2);
    const UnitIndex unit = unit_at(world, 1);
    Slot a;
    start(world[1], unit, write, a);
    ASSERT_TRUE(world.deliver(0)) << "the request";
    ASSERT_TRUE(world.deliver(0)) << "the grant";
    ASSERT_EQ(world[1].locks.held(), 1u);
    world.absent.insert(1);
    world.next_view();
    world.run();
    EXPECT_FALSE(a.done);
    world.absent.clear();
    world.next_view();
    world.run();
    EXPECT_TRUE(a.pin);
    EXPECT_EQ(world[1].locks.held(), 1u);
}

TEST(LockManager, CountsHowLongWaitsTook) {
    World world(2);
    Slot a, b;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    start(world[2], UnitIndex(5), write, b);
    world.clock.time += 5000ns;
    a.pin.release();
    world.run();
    EXPECT_TRUE(b.pin);
    EXPECT_EQ(world[2].locks.counters().waits[12], 1u) << "4096 .. 8191 ns";
    EXPECT_EQ(world[2].locks.counters().wait_ns, 5000u);
}

TEST(LockManager, KnowsWhichUnitsAreTradedAndBetweenWhom) {
    World world(3);
    const UnitIndex unit(5);
    Peer& arbiter = world[arbiter_of(unit, world.view(AmfId(1))).v];
    for (int i = 0; i < 4; ++i) {
        for (const int who : {1, 2}) {
            Slot slot;
            start(world[who], unit, write, slot);
            world.run();
            ASSERT_TRUE(slot.pin);
        }
    }
    Slot held, wanted;
    start(world[1], unit, write, held);
    world.run();
    start(world[2], unit, write, wanted);
    world.run();
    EXPECT_EQ(arbiter.locks.standing(unit).holders,
              (std::vector<LockStanding::Party>{{AmfId(1), LockMode::write}}));
    EXPECT_EQ(arbiter.locks.standing(unit).waiting,
              (std::vector<LockStanding::Party>{{AmfId(2), LockMode::write}}));
    EXPECT_EQ(world[1].locks.standing(unit).holders.at(0).who, AmfId(1));
    EXPECT_EQ(world[2].locks.standing(unit).waiting.at(0).who, AmfId(2));
    EXPECT_TRUE(world[2].locks.standing(UnitIndex(6)).waiting.empty());
    world.clock.time += 1s;
    const auto hot = arbiter.locks.hottest(10);
    ASSERT_EQ(hot.size(), 1u);
    EXPECT_EQ(hot[0].unit, unit);
    EXPECT_EQ(hot[0].transfers, 9u);
    EXPECT_EQ(hot[0].parties, (std::vector{AmfId(1), AmfId(2)}));
}

TEST(LockManager, MessagesThatMakeNoSenseAreDropped) {
    World world(3);
    Slot a;
    start(world[1], UnitIndex(5), write, a);
    world.run();
    LockManager& locks = world[1].locks;
    Prng random(7);
    std::uint64_t sent = 0;
    const auto send = [&](AmfId from, Message message) {
        locks.deliver(from, message);
        EXPECT_EQ(locks.counters().dropped, ++sent);
    };
    const UnitIndex mine = unit_at(world, 1), other = unit_at(world, 2);
    const auto frame = [&](MessageType type, UnitIndex unit) {
        return Message{world.group, type, encode(LockFrame{type, unit, 1, write}), {}};
    };
    send(AmfId(9), frame(MessageType::lock_request, mine));
    send(AmfId(2), frame(MessageType::lock_request, other));
    send(AmfId(2), frame(MessageType::lock_released, other));
    send(AmfId(3), frame(MessageType::lock_grant, other));
    send(AmfId(3), frame(MessageType::lock_revoke, other));
    send(AmfId(2),
         Message{Uuid{}, MessageType::lock_request, frame(MessageType::lock_request, mine).head, {}});
    send(AmfId(2), Message{world.group, MessageType::record_begin, {}, {}});
    send(AmfId(2), Message{world.group, MessageType::lock_report, encode(LockReport{}), {}});
    for (int i = 0; i < 2000; ++i) {
        Message message{world.group, static_cast<MessageType>(random.between(16, 20)), {}, {}};
        message.head.resize(random.below(64));
        for (std::byte& b : message.head)
            b = static_cast<std::byte>(random.chance(1, 3) ? random.below(256) : 0);
        const std::size_t sizes[] = {17, 19, 29};  // may well mean something
        if (std::ranges::find(sizes, message.head.size()) != std::end(sizes)) continue;
        send(AmfId(static_cast<std::uint16_t>(random.between(1, 4))), message);
    }
    Slot b;
    a.pin.release();
    start(world[2], UnitIndex(5), write, b);
    world.run();
    EXPECT_TRUE(b.pin);
}

}  // namespace
}  // namespace braid
