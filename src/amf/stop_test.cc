// The ends of an AMF's life, in order or not, at bad moments: what it may still do, and what others know of
// what it left on the disks.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::size_t kStrip = 16u << 10;

bool is(const Buffer& got, const Buffer& want) {
    return got.size() == want.size() && std::memcmp(got.data(), want.data(), got.size()) == 0;
}
Task<Status> stop(Amf& amf) {
    co_await amf.stop();
    co_return Status{};
}

// 2 has stopped in order and only waits for the member store's lock to leave; 1 dies just then.
TEST(Stop, NothingIsRecoveredByAnAmfThatHasStopped) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    world.settle();
    ASSERT_TRUE(world.run(2, stop(world.amf(2))));
    world.hold(1);
    std::optional<Status> written;
    const Buffer second = pattern(2, 8192);
    // whole stripe: no data is read first; two copies of the checksums go along
    const Buffer full = pattern(2, 4 * kStrip);
    world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(full), false), written));
    ASSERT_TRUE(world.run_until([&] { return world.pending(1) == 5 + 2; }, 10s));
    world.held.clear();
    world.kill(1, InFlight::torn);
    world.hold(2);
    world.adopt();
    world.run_until([&] { return world.pending(2) != 0; }, 10s);
    EXPECT_EQ(world.pending(2), 0u) << "an AMF whose stop() has returned writes to disks";
    // It leaves in order: nobody fences it, nobody waits for its commands.
    world.slow = {{2, 3}, {3, 2}};
    world.epoch = world.epoch.next();
    AmfView view{world.epoch, AmfId(3), {{AmfId(3), world.node(3).incarnation}}};
    world.amf(3).adopt(view);
    const Buffer third = pattern(3, 4 * kStrip);
    ASSERT_TRUE(world.write(3, 0, third));
    ASSERT_TRUE(is(world.read(3, 0, third.size()), third));
    world.held.clear();  // the late commands of 2
    world.settle();
    EXPECT_TRUE(is(world.read(3, 0, third.size()), third)) << "an answered write is gone";
}

// An operator's change of several pages keeps stop() in Tables::stop(); meanwhile a controller dies.
TEST(Stop, NoCommandIsInFlightWhenItEnds) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    const auto volume = world.run(2, world.amf(2).tables().create_volume("a", kExtentSize));
    ASSERT_TRUE(volume);
    world.settle();
    world.hold(1);
    std::optional<Status> written, stopped, removed;
    const Buffer full = pattern(2, 4 * kStrip);
    world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(full), false), written));
    ASSERT_TRUE(world.run_until([&] { return world.pending(1) == 5 + 2; }, 10s));
    world.slow = {{1, 2}};  // 1 stands still: it does not acknowledge
    world.node(2).scope->spawn(World::keep(world.amf(2).tables().delete_volume(volume->id), removed));
    world.settle();
    ASSERT_FALSE(removed.has_value());
    world.node(2).scope->spawn(World::keep(stop(world.amf(2)), stopped));
    world.settle();
    ASSERT_FALSE(stopped.has_value());
    world.held.clear();
    world.kill(1, InFlight::torn);
    world.slow.clear();
    const std::size_t before = world.abandoned_writes;
    world.hold(2);
    world.adopt();
    bool both = false;
    world.run_until(
        [&] {
            both |= world.pending(2) != 0 && !stopped;
            return stopped.has_value();
        },
        10s);
    EXPECT_TRUE(stopped.has_value());
    EXPECT_FALSE(both);
    EXPECT_EQ(world.abandoned_writes, before) << "UringDisk::abandon asserts";
}

void garbage(World& world) {
    const std::uint64_t segment = world.config.geometry.segment_space();
    std::uint64_t seed = 0;
    for (auto& media : world.media) {
        ++seed;
        for (std::uint64_t at = world.config.data_start; at + segment <= media->size; at += segment) {
            for (std::uint64_t b = 0; b < 4; ++b)
                media->pages[at / kBlockSize + b] = pattern(seed * 1000 + at, kBlockSize);
        }
    }
}

// 1 alone loses m + 1 members while it allocates: its map page stands on the others, its zeros do not.
TEST(Stop, AZoneThatItsMakerCouldNotZeroIsNotThereAtTheNextAssembly) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    garbage(world);
    world.node(1).cut[0] = world.node(1).cut[1] = true;
    ASSERT_FALSE(world.write(1, 0, pattern(1, 8192)));
    ASSERT_TRUE(world.amf(1).tables().offline());
    world.leave(1);
    world.settle();
    ASSERT_EQ(world.amf(2).tables().zone(ExtentIndex(0)), nullptr);
    ASSERT_TRUE(is(world.read(2, 0, 4 * kStrip), Buffer::zeroed(4 * kStrip)));
    ASSERT_TRUE(world.run(2, stop(world.amf(2))));  // in order; all disks are well
    world.kill(2, InFlight::lost);
    world.adopt();
    world.start(3);
    EXPECT_EQ(world.amf(3).tables().zone(ExtentIndex(0)), nullptr);
    EXPECT_TRUE(is(world.read(3, 0, 4 * kStrip), Buffer::zeroed(4 * kStrip))) << "unwritten reads as garbage";
    EXPECT_TRUE(world.unclean(3, 4 * kStrip).empty()) << "wrong parity";
}

// The same with the state page.
TEST(Stop, AMemberThatOnlyTheLeaverCouldNotReachIsFineAtTheNextAssembly) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    world.settle();
    world.node(1).cut[0] = world.node(1).cut[1] = true;
    const Zone zone = *world.amf(1).tables().zone(ExtentIndex(0));
    unsigned role = 0;  // a write that touches member 0 and not member 1
    for (unsigned r = 0; r < 4; ++r) {
        if (strip_place(world.config.geometry, zone, Row(0), Role(static_cast<std::uint8_t>(r)),
                        world.config.data_start)
                .member.v == 0)
            role = r;
    }
    (void)world.write(1, role * kStrip, pattern(2, 8192));
    (void)world.write(1, 0, pattern(2, 8192));
    ASSERT_TRUE(world.run_until([&] { return world.amf(1).tables().offline(); }));
    world.leave(1);
    world.settle();
    EXPECT_EQ(world.amf(2).tables().failed_members(), 0u);
    const Buffer data = pattern(5, 4 * kStrip);
    ASSERT_TRUE(world.write(2, 0, data));
    ASSERT_TRUE(world.run(2, stop(world.amf(2))));
    world.kill(2, InFlight::lost);
    world.adopt();
    world.start(3);
    EXPECT_EQ(world.amf(3).tables().failed_members(), 0u) << "redundancy is gone without a fault";
    EXPECT_TRUE(is(world.read(3, 0, data.size()), data));
}

// Who quarantines dies before everybody knows.
TEST(Stop, QuarantineIsKnownToAllAlthoughWhoToldOfItDied) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip, .dimension = 3});
    for (std::uint16_t id = 1; id <= 8; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    world.settle();
    std::optional<Status> result;
    const Buffer data = pattern(2, kBlockSize);
    world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(data), false), result));
    const auto copies = [&](unsigned attempts) {
        std::size_t complete = 0;
        for (const auto& [id, node] : world.nodes) {
            for (const auto& [record, stored] : node->amf->replicator().store().all()) {
                if (stored.complete() && stored.info.attempts == attempts) ++complete;
            }
        }
        return complete;
    };
    ASSERT_TRUE(world.run_until([&] { return copies(0) == 2; }));
    world.kill(1, InFlight::torn);
    world.adopt();
    for (unsigned attempt = 1; attempt <= 2; ++attempt) {
        std::uint16_t victim = 0;
        ASSERT_TRUE(world.run_until([&] {
            for (const auto& [id, node] : world.nodes) {
                const bool tries = node->amf->replicator().live_records() != 0;
                if (tries && node->amf->conditions().recovering_units != 0) victim = id;
            }
            return victim != 0 && copies(attempt) != 0;
        }));
        world.kill(victim, InFlight::torn);
        world.adopt();
    }
    const auto knows = [&](std::uint16_t id) { return world.amf(id).tables().quarantined_stripes() != 0; };
    std::uint16_t last = 0, other = 0;
    ASSERT_TRUE(world.run_until([&] {
        for (const auto& [id, node] : world.nodes) {
            if (knows(id)) last = id;
        }
        return last != 0;
    }));
    for (const auto& [id, node] : world.nodes) {
        if (!knows(id)) other = id;
    }
    ASSERT_NE(other, 0u);
    world.kill(last, InFlight::lost);
    world.adopt();
    world.settle();
    for (const auto& [id, node] : world.nodes) EXPECT_TRUE(knows(id)) << id;
    Buffer out(kBlockSize);
    EXPECT_FALSE(world.run(other, world.amf(other).read(0, out.span())).has_value())
        << "a half-written stripe is read";
}

// Several leave at once, at any step, with contended stripes and changes of the tables under way.
TEST(Stop, SeveralLeaveAtOnceWithChangesUnderWay) {
    for (std::uint64_t seed = 0; seed < 2; ++seed)
        for (unsigned how = 0; how < 2; ++how)
            for (std::size_t step = 0; step < 220 && !HasFailure(); step += 5) {
                SCOPED_TRACE(::testing::Message() << "seed " << seed << " how " << how << " step " << step);
                World world(
                    {.level = Level::raid5, .disks = 5, .strip_size = kStrip, .dimension = 3, .seed = seed});
                for (std::uint16_t id = 1; id <= 5; ++id) world.start(id);
                ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
                const auto volume = world.run(4, world.amf(4).tables().create_volume("a", kExtentSize));
                ASSERT_TRUE(volume);
                world.settle();
                std::vector<std::unique_ptr<std::optional<Status>>> results;
                std::deque<Buffer> data;
                const auto go = [&](std::uint16_t id, Task<Status> t) {
                    results.push_back(std::make_unique<std::optional<Status>>());
                    world.node(id).scope->spawn(World::keep(std::move(t), *results.back()));
                };
                for (std::uint16_t id = 1; id <= 3; ++id) {
                    data.push_back(pattern(10u + id, 8192));
                    go(id, world.amf(id).write(4096, Slice(data.back()), false));
                    data.push_back(pattern(20u + id, 8192));
                    go(id, world.amf(id).write(5 * kStrip, Slice(data.back()), id == 2));
                    data.push_back(pattern(30u + id, 8192));
                    go(id, world.amf(id).write(kExtentSize + 8192 * id, Slice(data.back()), false));
                }
                go(1, world.amf(1).tables().add_port(volume->id, ControllerSlot(0)));
                go(2, world.amf(2).tables().delete_volume(volume->id));
                for (std::size_t i = 0; i < step; ++i) world.step();
                for (std::uint16_t id = 1; id <= 2; ++id) {
                    if (how == 0) world.node(id).cut.fill(true);
                    if (how == 1) world.node(id).cut[id] = world.node(id).cut[3] = true;
                }
                for (std::uint16_t id = 1; id <= 2; ++id) {
                    for (int i = 0; i < 20 && !world.amf(id).tables().offline(); ++i) {
                        std::optional<Status> w;
                        data.push_back(pattern(40u + id, 4 * kStrip));
                        world.node(id).scope->spawn(World::keep(
                            world.amf(id).write(40 * kStrip * (id + 1), Slice(data.back()), false), w));
                        ASSERT_TRUE(world.run_until([&] { return w.has_value(); }, 30s))
                            << "write hangs at " << id;
                    }
                    ASSERT_TRUE(world.amf(id).tables().offline());
                }
                std::optional<Status> s1, s2;
                world.node(1).scope->spawn(World::keep(stop(world.amf(1)), s1));
                world.node(2).scope->spawn(World::keep(stop(world.amf(2)), s2));
                ASSERT_TRUE(world.run_until([&] { return s1 && s2; }, 30s)) << "stop hangs " << !!s1 << !!s2;
                EXPECT_EQ(world.pending(1) + world.pending(2), 0u);
                world.kill(1, InFlight::lost);
                world.adopt();
                for (std::size_t i = 0; i < step % 40; ++i) world.step();
                world.kill(2, InFlight::lost);
                world.adopt();
                world.settle();
                for (std::uint64_t at : {std::uint64_t{0}, kExtentSize}) {
                    const Buffer a = world.read(3, at, 8 * kStrip), b = world.read(4, at, 8 * kStrip);
                    ASSERT_EQ(a.size(), 8 * kStrip);
                    EXPECT_TRUE(is(a, b));
                }
                EXPECT_TRUE(world.unclean(5, 16 * kStrip).empty());
                for (std::uint16_t id = 3; id <= 5; ++id) {
                    EXPECT_EQ(world.bytes_left_at(id), 0u);
                    EXPECT_EQ(world.amf(id).conditions().quarantined_stripes, 0u);
                }
                ASSERT_TRUE(world.run_until([&] { return *results[6] && *results[7] && *results[8]; }, 30s));
                EXPECT_TRUE(**results[6] && **results[7] && **results[8]);
                ASSERT_TRUE(world.write(3, kExtentSize, pattern(7, 4 * kStrip)));
                EXPECT_TRUE(is(world.read(4, kExtentSize, 4 * kStrip), pattern(7, 4 * kStrip)));
            }
}

}  // namespace
}  // namespace braid::testing
