#include <gtest/gtest.h>

#include "async/scope.h"
#include "volume/memory_space.h"
#include "volume/port_registry.h"

namespace braid {
namespace {

constexpr std::uint64_t kSize = 3 * kExtentSize + 1000;  // not a multiple of anything

template <class T>
Task<void> keep(Task<T> operation, T& result) {
    result = co_await std::move(operation);
}

struct Fixture {
    Executor executor;
    MemorySpace space{executor, 8 * kExtentSize};
    Scope scope{executor};
    std::shared_ptr<Port> port =
        std::make_shared<Port>(executor, space, VirtualDisk{"v0", "", kSize, ExtentIndex(2)});

    template <class T>
    T run(Task<T> operation) {
        T result = fail(Errc::timeout);
        scope.spawn(keep(std::move(operation), result));
        executor.run_until_idle();
        return result;
    }
};

struct PortTest : testing::Test, Fixture {};

TEST_F(PortTest, MovesAnUnalignedRangeToItsExtents) {
    const Buffer data = Buffer::copy_of(std::as_bytes(std::span("seventeen bytes!")));
    ASSERT_TRUE(run(port->write(kExtentSize - 5, data, true)));
    EXPECT_EQ(std::memcmp(space.bytes().data() + 3 * kExtentSize - 5, data.data(), 17), 0);
    EXPECT_EQ(space.fua_seen, 1u);
    std::vector<std::byte> back(17);
    ASSERT_TRUE(run(port->read(kExtentSize - 5, back)));
    EXPECT_EQ(std::memcmp(back.data(), data.data(), 17), 0);
}

TEST_F(PortTest, RefusesWhatEndsBeyondTheDiskAndDoesNotAskTheGroup) {
    std::vector<std::byte> byte(1);
    EXPECT_TRUE(run(port->read(kSize - 1, byte)));
    EXPECT_EQ(run(port->read(kSize, byte)), fail(Errc::invalid));
    EXPECT_EQ(run(port->read(~0ull, byte)), fail(Errc::invalid));
    EXPECT_EQ(run(port->write(kSize, Slice(Buffer(1)), false)), fail(Errc::invalid));
    EXPECT_EQ(run(port->write_zeroes(1, kSize, {})), fail(Errc::invalid));
    EXPECT_EQ(run(port->trim(1, ~0ull)), fail(Errc::invalid));
    EXPECT_EQ(run(port->cache(kSize + 1, 0)), fail(Errc::invalid));
    EXPECT_EQ(space.reads, 1u);
    EXPECT_EQ(space.writes + space.zeroes, 0u);
}

TEST_F(PortTest, NothingToDoDoesNotReachTheGroup) {
    EXPECT_TRUE(run(port->write(kSize, Slice(), false)));
    EXPECT_TRUE(run(port->write_zeroes(0, 0, {.fast = true})));
    EXPECT_TRUE(run(port->trim(kSize, 0)));
    EXPECT_TRUE(run(port->cache(0, kSize)));
    EXPECT_EQ(space.writes + space.zeroes + space.reads, 0u);
}

TEST_F(PortTest, FastZerosAreForHolesThatMayStay) {
    space.allocate(3 * kExtentSize, 1);  // the disk's extent 1
    EXPECT_TRUE(run(port->write_zeroes(0, kExtentSize, {.fast = true})));
    EXPECT_EQ(run(port->write_zeroes(0, kExtentSize + 1, {.fast = true})), fail(Errc::unsupported));
    EXPECT_EQ(run(port->write_zeroes(0, 5, {.may_leave_hole = false, .fast = true})),
              fail(Errc::unsupported));
    EXPECT_EQ(space.zeroes, 1u);
    EXPECT_TRUE(run(port->write_zeroes(kExtentSize, 5, {.fua = true})));
    EXPECT_EQ(space.fua_seen, 1u);
}

TEST_F(PortTest, ATrimIsZerosThatMayLeaveAHole) {
    const Buffer data = Buffer::copy_of(std::as_bytes(std::span("seventeen bytes!")));
    ASSERT_TRUE(run(port->write(5, data, false)));
    ASSERT_TRUE(run(port->trim(5, 7, true)));
    EXPECT_EQ(space.zeroes, 1u);
    EXPECT_EQ(space.fua_seen, 1u);
    EXPECT_EQ(space.bytes()[2 * kExtentSize + 11], std::byte{0});
    EXPECT_EQ(std::memcmp(space.bytes().data() + 2 * kExtentSize + 12, data.data() + 7, 10), 0);
}

TEST_F(PortTest, AllocationJoinsNeighboursAndEndsWithTheDisk) {
    using Runs = std::vector<AllocationRun>;
    space.allocate(3 * kExtentSize, 2 * kExtentSize);
    EXPECT_EQ(*run(port->allocation(0, kSize, 16)),
              (Runs{{kExtentSize, true}, {2 * kExtentSize, false}, {1000, true}}));
    EXPECT_EQ(*run(port->allocation(kExtentSize - 7, 20, 16)), (Runs{{7, true}, {13, false}}));
    EXPECT_EQ(*run(port->allocation(0, kSize, 1)), (Runs{{kExtentSize, true}}));
    EXPECT_EQ(run(port->allocation(1, kSize, 1)), std::unexpected(Error(Errc::invalid)));
}

TEST_F(PortTest, AllocationTellsOfTrimmedBlocksButZerosThereAreNotFast) {
    using Runs = std::vector<AllocationRun>;
    space.allocate(2 * kExtentSize, kExtentSize);
    ASSERT_TRUE(run(port->trim(kBlockSize - 1, 2 * kBlockSize)));  // one whole block
    EXPECT_EQ(
        *run(port->allocation(0, kExtentSize + 1, 16)),
        (Runs{{kBlockSize, false}, {kBlockSize, true}, {kExtentSize - 2 * kBlockSize, false}, {1, true}}));
    EXPECT_EQ(*run(port->allocation(0, 3 * kBlockSize, 1, AllocationDetail::extents)),
              (Runs{{3 * kBlockSize, false}}));
    EXPECT_EQ(run(port->write_zeroes(kBlockSize, kBlockSize, {.fast = true})), fail(Errc::unsupported));
}

TEST_F(PortTest, ClosingFinishesWhatIsInsideAndRefusesTheRest) {
    space.hold();
    std::vector<std::byte> byte(1);
    Status first = fail(Errc::timeout);
    scope.spawn(keep(port->read(0, byte), first));
    executor.run_until_idle();
    port->close();
    EXPECT_TRUE(port->close_begun().is_set());
    EXPECT_FALSE(port->closed().is_set());
    EXPECT_EQ(run(port->flush()), fail(Errc::not_ready));
    EXPECT_EQ(run(port->trim(0, 1)), fail(Errc::not_ready));
    EXPECT_EQ(first, fail(Errc::timeout)) << "still held";
    space.release();
    executor.run_until_idle();
    EXPECT_TRUE(first);
    EXPECT_TRUE(port->closed().is_set());
    EXPECT_EQ(run(port->allocation(0, 1, 1)), std::unexpected(Error(Errc::not_ready)));
    EXPECT_EQ(space.flushes, 0u);
}

TEST_F(PortTest, CarriesTheGroupsErrors) {
    space.fail_with(fail(Errc::no_space));
    EXPECT_EQ(run(port->flush()), fail(Errc::no_space));
    EXPECT_EQ(port->in_flight(), 0u);
}

struct PortRegistryTest : testing::Test, Fixture {};

TEST_F(PortRegistryTest, FindsByNameAndTakesTheFirstForTheEmptyName) {
    PortRegistry registry;
    EXPECT_EQ(registry.find(""), nullptr);
    ASSERT_TRUE(registry.add(port));
    auto earlier = std::make_shared<Port>(executor, space, VirtualDisk{"a", "", 1, ExtentIndex(0)});
    ASSERT_TRUE(registry.add(earlier));
    EXPECT_EQ(registry.find("v0"), port);
    EXPECT_EQ(registry.find("v"), nullptr);
    EXPECT_EQ(registry.find(""), earlier);
    EXPECT_EQ(registry.list(), (std::vector<std::shared_ptr<Port>>{earlier, port}));
}

TEST_F(PortRegistryTest, TheSidesOfAPortTakeTurns) {
    PortRegistry registry;
    EXPECT_EQ(registry.take_turn("v0"), 0u);
    ASSERT_TRUE(registry.add(port, 3));
    std::vector<unsigned> turns;
    for (int i = 0; i < 5; ++i) turns.push_back(registry.take_turn(i % 2 == 0 ? "v0" : ""));
    EXPECT_EQ(turns, (std::vector<unsigned>{0, 1, 2, 0, 1}));
}

TEST_F(PortRegistryTest, RefusesATakenOrEmptyName) {
    PortRegistry registry;
    ASSERT_TRUE(registry.add(port));
    auto same = std::make_shared<Port>(executor, space, VirtualDisk{"v0", "", 1, ExtentIndex(0)});
    EXPECT_EQ(registry.add(same), fail(Errc::exists));
    auto nameless = std::make_shared<Port>(executor, space, VirtualDisk{"", "", 1, ExtentIndex(0)});
    EXPECT_EQ(registry.add(nameless), fail(Errc::invalid));
}

TEST_F(PortRegistryTest, ARemovedPortIsClosedAndLivesOnWithItsHolders) {
    PortRegistry registry;
    ASSERT_TRUE(registry.add(port));
    const std::weak_ptr<Port> watch = port;
    ASSERT_TRUE(registry.remove("v0"));
    EXPECT_FALSE(registry.remove("v0"));
    EXPECT_TRUE(port->closing());
    EXPECT_EQ(registry.find("v0"), nullptr);
    port.reset();
    EXPECT_TRUE(watch.expired());
}

}  // namespace
}  // namespace braid
