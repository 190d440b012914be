// The shared tables under the death of an AMF at every step of a change, on whole AMFs (they need locks,
// links and disks).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

std::vector<std::string> names(Amf& amf) {
    std::vector<std::string> out;
    for (const VolumeRecord& volume : amf.tables().volumes()) out.push_back(volume.name);
    std::sort(out.begin(), out.end());
    return out;
}

std::vector<const Zone*> zones(Amf& amf) {
    std::vector<const Zone*> out;
    for (std::uint32_t e = 0; e < amf.tables().config().extents; ++e)
        out.push_back(amf.tables().zone(ExtentIndex(e)));
    return out;
}

void expect_same_tables(World& world, std::uint16_t a, std::uint16_t b) {
    EXPECT_EQ(names(world.amf(a)), names(world.amf(b)));
    EXPECT_EQ(world.amf(a).tables().version(), world.amf(b).tables().version());
    const auto left = zones(world.amf(a)), right = zones(world.amf(b));
    ASSERT_EQ(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
        ASSERT_EQ(left[i] == nullptr, right[i] == nullptr) << "extent " << i;
        if (left[i] != nullptr) EXPECT_EQ(*left[i], *right[i]) << "extent " << i;
    }
}

Task<void> change(World& world, std::uint16_t id, bool& done) {
    (void)co_await world.amf(id).tables().create_volume("first", kExtentSize);
    (void)co_await world.amf(id).tables().allocate_zone(ExtentIndex(0));
    done = true;
}

/// Runs the change on controller 1 and kills it after `steps`. False when the change was over before. The
/// next change is of the same pages, or (not `same_pages`) leaves the map alone.
bool survivors_agree_after(std::size_t steps, InFlight fate, bool same_pages) {
    World world({.extents = 4});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    bool done = false;
    world.node(1).scope->spawn(change(world, 1, done));
    for (std::size_t i = 0; i < steps && !done; ++i) world.step();
    if (done) return false;
    world.kill(1, fate);
    world.adopt();
    world.settle();
    expect_same_tables(world, 2, 3);

    // The next change, by whoever comes, settles what stands on the disks.
    EXPECT_TRUE(world.run(3, world.amf(3).tables().create_volume("second", kExtentSize)));
    if (same_pages) EXPECT_TRUE(world.run(2, world.amf(2).tables().allocate_zone(ExtentIndex(1))));
    expect_same_tables(world, 2, 3);
    const auto before = names(world.amf(2));
    const bool had_zone = world.amf(2).tables().zone(ExtentIndex(0)) != nullptr;

    // A joiner, and one that has only the disks, see the same.
    world.start(4);
    expect_same_tables(world, 2, 4);
    for (std::uint16_t id = 2; id <= 4; ++id) world.kill(id, InFlight::lost);
    world.start(5);
    EXPECT_EQ(names(world.amf(5)), before);
    EXPECT_EQ(world.amf(5).tables().zone(ExtentIndex(0)) != nullptr, had_zone);
    return true;
}

TEST(Tables, SurviveTheirWriterAtEveryStepOfAChange) {
    for (const InFlight fate : {InFlight::lost, InFlight::landed, InFlight::torn}) {
        std::size_t steps = 0;
        while (survivors_agree_after(steps, fate, true) && survivors_agree_after(steps, fate, false)) ++steps;
        EXPECT_GT(steps, 40u) << "the change took that many steps";
    }
}

TEST(Tables, AMemberThatFailsAPageWriteIsDeclaredFailedByAll) {
    World world({.level = Level::raid6, .disks = 6});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    world.media[3]->dead = true;
    EXPECT_TRUE(world.run(1, world.amf(1).tables().create_volume("v", kExtentSize)));
    for (std::uint16_t id = 1; id <= 2; ++id) {
        EXPECT_FALSE(world.amf(id).tables().member_ok(MemberIndex(3)));
        EXPECT_EQ(world.amf(id).tables().failed_members(), 1u);
        EXPECT_FALSE(world.amf(id).tables().offline());
    }
}

TEST(Tables, MoreLostMembersThanTheLevelSurvivesMakeTheGroupOfflineAndLeaveTheRestUnfailed) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    world.media[0]->dead = true;
    world.media[1]->dead = true;
    const auto made = world.run(1, world.amf(1).tables().create_volume("v", kExtentSize));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Errc::offline);
    EXPECT_TRUE(world.amf(1).tables().offline());
    EXPECT_TRUE(names(world.amf(1)).empty());
}

TEST(Tables, ARegionThatIsWrittenToStaysInTheIntents) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    world.start(2);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 64u << 10)));
    world.hold_data = true;
    std::optional<Status> written;
    const Buffer data = pattern(2, 4096);
    world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(data), false), written));
    world.settle();
    ASSERT_FALSE(written.has_value());
    ASSERT_TRUE(world.run(1, world.amf(1).tables().clear_idle_intents(Nanos{0})));
    const auto on_disk = world.run(2, world.amf(2).tables().intents_of(AmfSlot(0)));
    EXPECT_EQ(on_disk->regions.size(), 1u);
    world.hold_data = false;
    world.settle();
    EXPECT_TRUE(written && *written);
}

TEST(Tables, NoRegionLeavesTheIntentsBeforeItsDataIsBeyondTheMembersCaches) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 64u << 10)));
    for (auto& media : world.media) media->done.clear();
    world.keep_unstable();
    ASSERT_TRUE(world.write(1, 0, pattern(2, 64u << 10)));  // in a region that is marked: pages stay
    EXPECT_FALSE(world.unstable().empty());
    EXPECT_EQ(world.amf(1).tables().dirty_regions(), 1u);
    ASSERT_TRUE(world.run(1, world.amf(1).tables().clear_idle_intents(Nanos{0})));
    EXPECT_EQ(world.amf(1).tables().dirty_regions(), 0u);
    for (const auto& media : world.media) {
        std::vector<DiskVerb> order;  // of the data, and of what came after it
        for (const auto& [verb, at] : media->done) {
            const bool data = verb == DiskVerb::write && at >= world.config.data_start;
            if (!data || order.empty() || order.back() != DiskVerb::write) order.push_back(verb);
        }
        EXPECT_EQ(order, (std::vector{DiskVerb::write, DiskVerb::flush, DiskVerb::write}));
    }
    EXPECT_TRUE(world.unstable().empty());
}

TEST(Tables, ARegionDoesNotLeaveWithAFlushThatBeganBeforeItWasIdle) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    world.start(2);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4096)));
    ASSERT_TRUE(world.write(1, kRegionSize + (1u << 20), pattern(2, 4096)));
    tables.pin_intent(RegionIndex(1));
    std::optional<Status> first, second;
    world.node(1).scope->spawn(World::keep(tables.clear_idle_intents(Nanos{0}), first));
    world.media[0]->done.clear();
    while (world.media[0]->done.empty()) ASSERT_TRUE(world.step());  // the members are being flushed
    tables.unpin_intent(RegionIndex(1));
    world.node(1).scope->spawn(World::keep(tables.clear_idle_intents(Nanos{0}), second));
    ASSERT_TRUE(world.run_until([&] { return first.has_value(); }));
    const PageNumber page = intent_page(AmfSlot(0));
    const auto slot = [&](unsigned which) {
        const auto& bytes = world.media[0]->pages.at(slot_offset(world.table_start, page, which) / kPageSize);
        return ConstPageBytes(bytes.span());
    };
    const PagePick newest = pick_slot(slot(0), slot(1), world.group, page);
    ASSERT_TRUE(newest.found);
    EXPECT_EQ(Intent::decode(slot(newest.slot))->regions, std::vector{RegionIndex(1)});
    ASSERT_TRUE(world.run_until([&] { return second.has_value(); }));
}

TEST(Tables, HalfOfTheMembersDoNotSayWhatIsNewest) {
    World world({.level = Level::raid6, .disks = 4});
    world.start(1);
    EXPECT_TRUE(world.run(1, world.amf(1).tables().create_volume("v", kExtentSize)));
    world.kill(1, InFlight::lost);
    world.media[0]->dead = true;
    world.media[1]->dead = true;
    world.nodes[2] = std::make_unique<Node>(world, AmfId(2), Incarnation(9));
    world.adopt();
    const Status started = world.run(2, world.amf(2).start());
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code, Errc::offline);
}

/// What the media held, block by block.
std::map<std::uint64_t, Buffer> snapshot(const Media& media) {
    std::map<std::uint64_t, Buffer> out;
    for (const auto& [page, bytes] : media.pages) out.emplace(page, Buffer::copy_of(bytes.span()));
    return out;
}

/// Writes in two regions, each clean again before the other: every change of the intents is a page.
void work(World& world, std::uint64_t times) {
    for (std::uint64_t i = 0; i < times; ++i) {
        ASSERT_TRUE(world.write(1, (i % 2) * 2 * kRegionSize, pattern(i + 1, 64u << 10)));
        ASSERT_TRUE(world.run(1, world.amf(1).tables().clear_idle_intents(Nanos{0})));
    }
}

TEST(Tables, AMemberThatIsAnOlderStateOfItselfIsDeclaredFailedAtAssembly) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    work(world, 2);
    auto old = snapshot(*world.media[2]);
    work(world, 8);
    world.kill(1, InFlight::landed);
    world.media[2]->pages = std::move(old);
    world.start(1);
    EXPECT_EQ(world.amf(1).tables().state().members[2].state, MemberState::failed);
    EXPECT_TRUE(std::ranges::equal(world.read(1, 0, 64u << 10).span(), pattern(7, 64u << 10).span()));
    EXPECT_TRUE(
        std::ranges::equal(world.read(1, 2 * kRegionSize, 64u << 10).span(), pattern(8, 64u << 10).span()));
}

TEST(Tables, AMemberThatMissedTheLastPagesOfADeathIsNotStale) {
    World world({.level = Level::raid5, .disks = 4});
    world.start(1);
    work(world, 4);
    auto old = snapshot(*world.media[2]);
    ASSERT_TRUE(world.run(1, world.amf(1).tables().create_volume("v", kExtentSize)));
    world.kill(1, InFlight::landed);
    world.media[2]->pages = std::move(old);
    world.start(1);
    EXPECT_EQ(world.amf(1).tables().failed_members(), 0u);
    EXPECT_EQ(names(world.amf(1)), std::vector<std::string>{"v"});
}

TEST(Tables, RefuseNamesTwiceAndSpaceThatIsNotThere) {
    World world({.extents = 4});
    world.start(1);
    Tables& tables = world.amf(1).tables();
    const std::uint64_t all = tables.config().extents * kExtentSize;
    EXPECT_TRUE(world.run(1, tables.create_volume("a", kExtentSize)));
    EXPECT_EQ(world.run(1, tables.create_volume("a", kExtentSize)).error().code, Errc::exists);
    EXPECT_EQ(world.run(1, tables.create_volume("b", all)).error().code, Errc::no_space);
    EXPECT_EQ(world.run(1, tables.create_volume("b", 100)).error().code, Errc::invalid);
    EXPECT_TRUE(world.run(1, tables.create_volume("b", all - kExtentSize)));
}

TEST(Tables, ADeletedVolumeGivesItsZonesBack) {
    World world({.extents = 4});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    Tables& tables = world.amf(1).tables();
    const auto volume = world.run(1, tables.create_volume("a", 2 * kExtentSize));
    ASSERT_TRUE(volume);
    ASSERT_TRUE(world.run(1, tables.allocate_zone(ExtentIndex(1))));
    EXPECT_TRUE(world.run(2, world.amf(2).tables().add_port(volume->id, ControllerSlot(1))));
    EXPECT_EQ(world.run(1, tables.delete_volume(volume->id)).error().code, Errc::busy);
    EXPECT_TRUE(world.run(1, tables.remove_port(volume->id, ControllerSlot(1))));
    EXPECT_TRUE(world.run(1, tables.delete_volume(volume->id)));
    expect_same_tables(world, 1, 2);
    EXPECT_EQ(world.amf(2).tables().zone(ExtentIndex(1)), nullptr);
    EXPECT_EQ(world.amf(2).tables().allocated_extents(), 0u);
}

/// Controller 1 makes a change that 2 hears of at once and 3 late; 2 writes by the new tables, 3 reads by the
/// old ones.
template <class Change, class Known>
void expect_no_stale_read(World& world, Change&& begin_change, Known&& known) {
    const Geometry& geometry = world.config.geometry;
    world.settle();
    world.slow.insert({1, 3});
    begin_change();
    ASSERT_TRUE(world.run_until([&] { return known(world.amf(2)); }));
    ASSERT_FALSE(known(world.amf(3)));
    std::vector<std::optional<Status>> wrote(16), got(16);
    std::vector<Buffer> data, back;
    const auto at = [&](std::size_t i) {
        return i * 64 * geometry.stripe_size();
    };  // each with an arbiter of its own
    for (std::size_t i = 0; i < wrote.size(); ++i) {
        data.push_back(pattern(100 + i, geometry.stripe_size()));
        back.emplace_back(geometry.stripe_size());
        world.node(2).scope->spawn(World::keep(world.amf(2).write(at(i), Slice(data[i]), false), wrote[i]));
    }
    world.settle();
    std::vector<bool> answered;
    for (const auto& status : wrote) answered.push_back(status && *status);
    for (std::size_t i = 0; i < wrote.size(); ++i) {
        world.node(3).scope->spawn(World::keep(world.amf(3).read(at(i), back[i].span()), got[i]));
    }
    world.settle();
    const auto check = [&](std::size_t i) {
        EXPECT_EQ(std::memcmp(back[i].data(), data[i].data(), data[i].size()), 0)
            << "a stale read at place " << i;
    };
    for (std::size_t i = 0; i < wrote.size(); ++i) {
        if (answered[i] && got[i] && *got[i]) check(i);
    }
    world.slow.clear();
    ASSERT_TRUE(
        world.run_until([&] { return std::ranges::all_of(got, [](auto& g) { return g.has_value(); }); }));
    ASSERT_TRUE(world.run_until([&] { return std::ranges::all_of(wrote, [](auto& w) { return w && *w; }); }));
    for (std::size_t i = 0; i < wrote.size(); ++i) {
        back[i] = world.read(3, at(i), back[i].size());
        check(i);
    }
}

TEST(Tables, AZoneThatNotAllKnowHoldsNoAnsweredWrite) {
    World world({});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    std::optional<Result<const Zone*>> made;
    expect_no_stale_read(
        world,
        [&] {
            world.node(1).scope->spawn(
                World::keep(world.amf(1).tables().allocate_zone(ExtentIndex(0)), made));
        },
        [](Amf& amf) { return amf.tables().zone(ExtentIndex(0)) != nullptr; });
    EXPECT_TRUE(made && *made);
}

TEST(Tables, AMemberThatNotAllKnowToBeFailedIsNotLeftOutOfAnAnsweredWrite) {
    World world({});
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4096)));
    std::optional<Status> failed;
    expect_no_stale_read(
        world,
        [&] {
            world.node(1).scope->spawn(
                World::keep(world.amf(1).tables().fail_member(MemberIndex(1)), failed));
        },
        [](Amf& amf) { return !amf.tables().member_ok(MemberIndex(1)); });
    EXPECT_TRUE(failed && *failed);
}

/// A volume goes away, and its space to the next one, while something is under way in it that no port waits
/// for.
struct Reuse {
    World world;
    VolumeId old;
    std::size_t size = world.config.geometry.stripe_size();

    explicit Reuse(std::uint64_t seed) : world({.seed = seed}) {
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        const auto volume = world.run(2, world.amf(2).tables().create_volume("old", kExtentSize));
        EXPECT_TRUE(volume);
        old = volume->id;
        EXPECT_TRUE(world.write(2, 0, pattern(1, size)));
        world.settle();
    }

    void check() {
        world.hold_data = true;
        std::optional<Status> gone;
        world.node(2).scope->spawn(World::keep(world.amf(2).tables().delete_volume(old), gone));
        world.settle();
        world.hold_data = false;
        ASSERT_TRUE(world.run_until([&] { return gone.has_value(); }));
        EXPECT_TRUE(*gone);
        EXPECT_TRUE(world.run(3, world.amf(3).tables().create_volume("new", kExtentSize)));
        ASSERT_TRUE(world.write(3, 8 * size, pattern(2, size)));
        world.settle();
        for (std::uint16_t id = 2; id <= 3; ++id) {
            EXPECT_EQ(world.amf(id).conditions().quarantined_stripes, 0u);
            const Buffer zeros = Buffer::zeroed(size);
            const Buffer got = world.read(id, 0, size);
            ASSERT_EQ(got.size(), size);
            EXPECT_EQ(std::memcmp(got.data(), zeros.data(), size), 0)
                << "the old volume's data in the new one";
        }
        EXPECT_TRUE(world.unclean(3, 9 * size).empty());
    }
};

TEST(Tables, AVolumeMayBeDeletedWhileItsParityIsCorrected) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        for (std::size_t step = 0; step < 40; ++step) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed << ", step " << step);
            Reuse reuse(seed);
            World& world = reuse.world;
            const DiskPlace parity =
                strip_place(world.config.geometry, *world.amf(3).tables().zone(ExtentIndex(0)), Row(0),
                            Role(4), world.config.data_start);
            world.media[parity.member.v]->pages[parity.offset / kBlockSize] = pattern(9, kBlockSize);
            std::optional<Result<StripeVerdict>> verdict;
            world.node(3).scope->spawn(World::keep(world.amf(3).check_stripe(StripeIndex(0), true), verdict));
            for (std::size_t i = 0; i < step; ++i) world.step();
            reuse.check();
            if (HasFailure()) return;
        }
    }
}

TEST(Tables, AVolumeMayBeDeletedWhileAWriteInItIsRecovered) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        for (std::size_t step = 0; step < 60; step += 2) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed << ", step " << step);
            Reuse reuse(seed);
            World& world = reuse.world;
            std::optional<Status> wrote;
            const Buffer data = pattern(3, 8192);
            world.node(1).scope->spawn(World::keep(world.amf(1).write(4096, Slice(data), false), wrote));
            for (std::size_t i = 0; i < step; ++i) world.step();
            world.kill(1, InFlight::mixed);
            world.adopt();
            reuse.check();
            if (HasFailure()) return;
        }
    }
}

}  // namespace
}  // namespace braid::testing
