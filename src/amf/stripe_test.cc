#include <gtest/gtest.h>

#include <vector>

#include "amf/stripe_locks.h"
#include "amf/stripe_plan.h"
#include "async/scope.h"

namespace braid {
namespace {

using How = WritePlan::How;

RoleMask roles(std::initializer_list<unsigned> list) {
    RoleMask out;
    for (unsigned role : list) out.set(role);
    return out;
}
RoleMask all(unsigned n) { return RoleMask((1ull << n) - 1); }

TEST(StripePlan, ReadsAsLittleAsItCan) {
    const StripeWrite one{16384, 4096, 4096};
    const WritePlan update = plan_write(one, 6, 1, all(7), all(7));
    EXPECT_EQ(update.path, WritePath::rmw);
    EXPECT_EQ(update.how, How::update);
    EXPECT_EQ(update.reads, roles({0, 6}));
    const WritePlan rest = plan_write({16384, 0, 5 * 16384}, 6, 1, all(7), all(7));
    EXPECT_EQ(rest.path, WritePath::rcw);
    EXPECT_EQ(rest.reads, roles({5}));
    const WritePlan full = plan_write({16384, 0, 6 * 16384}, 6, 1, all(7), all(7));
    EXPECT_EQ(full.path, WritePath::full);
    EXPECT_TRUE(full.reads.none());
    // 4 + 2: three reads either way; the way that does not trust the old parity.
    EXPECT_EQ(plan_write(one, 4, 2, all(6), all(6)).path, WritePath::rcw);
}

TEST(StripePlan, DegradedReadsWhatIsLeft) {
    const StripeWrite one{16384, 4096, 4096};
    // The written strip is gone, only part of it is known: regenerate it... but the whole hull is new here.
    const WritePlan lost_target = plan_write(one, 4, 1, all(5) & ~roles({0}), all(5) & ~roles({0}));
    EXPECT_EQ(lost_target.path, WritePath::degraded);
    EXPECT_EQ(lost_target.how, How::encode);
    EXPECT_EQ(lost_target.reads, roles({1, 2, 3}));
    EXPECT_TRUE(lost_target.regenerate.none());
    // Two columns, of the first only the end: its rest must be computed.
    const StripeWrite two{16384, 8192, 16384};
    const WritePlan partly = plan_write(two, 4, 1, all(5) & ~roles({0}), all(5) & ~roles({0}));
    EXPECT_EQ(partly.how, How::encode);
    EXPECT_EQ(partly.reads, roles({1, 2, 3, 4}));
    EXPECT_EQ(partly.regenerate, roles({0}));
    // Another strip is gone: the parity can still be updated.
    const WritePlan update = plan_write(one, 4, 1, all(5) & ~roles({3}), all(5) & ~roles({3}));
    EXPECT_EQ(update.how, How::update);
    // All parity is gone: nothing to compute.
    EXPECT_EQ(plan_write(one, 4, 1, all(4), all(4)).how, How::copy);
    // Parity that takes writes but cannot be read is computed, not updated.
    EXPECT_EQ(plan_write(one, 6, 1, all(7), all(6)).how, How::encode);
    EXPECT_EQ(plan_write(two, 4, 1, all(5), all(5) & ~roles({0, 1})).how, How::impossible);
}

TEST(StripePlan, PlacesTheNewDataOfEachStrip) {
    const StripeWrite write{16384, 8192, 32768};
    EXPECT_EQ(write.part(0), (StripRange{8192, 16384}));
    EXPECT_EQ(write.part(1), (StripRange{0, 16384}));
    EXPECT_EQ(write.part(2), (StripRange{0, 8192}));
    EXPECT_EQ(write.hull(), (StripRange{0, 16384}));
    EXPECT_EQ(write.data_at(0), 0u);
    EXPECT_EQ(write.data_at(1), 8192u);
    EXPECT_EQ(write.data_at(2), 24576u);
    EXPECT_TRUE(write.covers_hull(1));
    EXPECT_FALSE(write.covers_hull(2));
    EXPECT_FALSE(write.touches(3));
}

struct LockWorld {
    Executor executor;
    StripeLocks locks{executor};
    std::vector<int> order;
    Event let_go{executor};
    Scope scope{executor};
};

Task<void> hold(LockWorld& world, StripeIndex stripe, bool write, int name) {
    const StripeLocks::Guard guard = co_await StripeLocks::Awaiter(world.locks, stripe, write);
    world.order.push_back(name);
    co_await world.let_go.next();
}

TEST(StripeLocks, LetReadersInTogetherAndWritersAlone) {
    LockWorld world;
    const StripeIndex stripe(5);
    world.scope.spawn(hold(world, stripe, false, 1));
    world.scope.spawn(hold(world, stripe, false, 2));
    world.scope.spawn(hold(world, stripe, true, 3));
    world.scope.spawn(hold(world, stripe, false, 4));
    world.scope.spawn(hold(world, stripe, false, 5));
    world.scope.spawn(hold(world, StripeIndex(5 + 1024), true, 6));  // the same bucket
    world.executor.run_until_idle();
    EXPECT_EQ(world.order, (std::vector{1, 2, 6}));
    world.let_go.notify_all();
    world.executor.run_until_idle();
    EXPECT_EQ(world.order, (std::vector{1, 2, 6, 3}));
    world.let_go.notify_all();
    world.executor.run_until_idle();
    EXPECT_EQ(world.order, (std::vector{1, 2, 6, 3, 4, 5}));
    world.let_go.notify_all();
    world.executor.run_until_idle();
    EXPECT_EQ(world.locks.active(), 0u);
}

TEST(StripeLocks, SurviveAWaiterThatGoesAway) {
    LockWorld world;
    const StripeIndex stripe(5);
    world.scope.spawn(hold(world, stripe, false, 1));
    auto waiters = std::make_unique<Scope>(world.executor);
    waiters->spawn(hold(world, stripe, true, 2));
    world.scope.spawn(hold(world, stripe, false, 3));
    world.executor.run_until_idle();
    EXPECT_EQ(world.order, (std::vector{1}));
    waiters.reset();
    world.executor.run_until_idle();
    EXPECT_EQ(world.order, (std::vector{1, 3}));
    world.let_go.notify_all();
    waiters = std::make_unique<Scope>(world.executor);
    waiters->spawn(hold(world, stripe, true, 4));
    world.executor.run_one();
    world.executor.run_one();
    waiters.reset();  // granted, not yet resumed, or still waiting: both leave the lock free
    world.executor.run_until_idle();
    EXPECT_EQ(world.locks.active(), 0u);
}

}  // namespace
}  // namespace braid
