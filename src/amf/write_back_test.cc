// A writer with write-back dies at every step of three writes and their destage: what its host was told is
// there, in the order of the writes; parity is right, no record is left.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::size_t kStrip = 16u << 10;
constexpr std::size_t kArea = 4 * kStrip;

struct Story {
    const char* name;
    WorldOptions options;
    bool recoverer_dies = false;
};

WorldOptions with_write_back(WorldOptions options) {
    options.sharing.write_cache = WriteCache::back;
    options.amf.dirty_age = 20s;
    return options;
}

/// The first two meet, the third is in another strip.
struct Part {
    std::size_t at, size;
};
constexpr std::array kParts = {Part{4096, 8192}, Part{8192, 8192}, Part{2 * kStrip, 4096}};

class Death {
public:
    explicit Death(const Story& story) : story_(story), world_(with_write_back(story.options)) {
        const auto controllers = static_cast<std::uint16_t>(story.options.dimension + 2);
        for (std::uint16_t id = 1; id <= controllers; ++id) world_.start(id);
        old_ = pattern(100, kArea);
        EXPECT_TRUE(world_.write(1, 0, old_));
        EXPECT_TRUE(world_.run(1, world_.amf(1).flush()));
        world_.settle();
    }

    std::size_t count() {
        start();
        const std::size_t first = world_.steps();
        while (!flushed_ && world_.step()) {
        }
        EXPECT_TRUE(flushed_ && *flushed_);
        EXPECT_TRUE(world_.amf(1).dirty().empty());
        return world_.steps() - first;
    }

    void die_at(std::size_t step, InFlight fate, std::size_t second_step) {
        start();
        for (std::size_t i = 0; i < step; ++i) world_.step();
        const unsigned answered = answered_;
        world_.kill(1, fate);
        world_.adopt();
        if (story_.recoverer_dies) {
            for (std::size_t i = 0; i < second_step; ++i) world_.step();
            for (const auto& [id, node] : world_.nodes) {
                if (node->amf->conditions().recovering_units == 0) continue;
                world_.kill(id, fate);
                world_.adopt();
                break;
            }
        }
        check(answered);
        for (const auto& [id, node] : world_.nodes) {
            redo += node->amf->counters().recovered_redo;
            data += node->amf->counters().recovered_data;
        }
    }

    std::uint64_t redo = 0, data = 0;

private:
    void start() { world_.node(1).scope->spawn(work(*this)); }

    static Task<void> work(Death& death) {
        for (std::size_t i = 0; i < kParts.size(); ++i) {
            const Buffer fresh = pattern(i + 1, kParts[i].size);
            const Status status = co_await death.world_.amf(1).write(kParts[i].at, Slice(fresh), false);
            EXPECT_TRUE(status.has_value());
            ++death.answered_;
        }
        const Status flushed = co_await death.world_.amf(1).flush();
        EXPECT_TRUE(flushed.has_value());
        death.world_.node(2).scope->spawn(recall(death));
    }
    /// With a journal the flush has left it to be destaged.
    static Task<void> recall(Death& death) {
        const Buffer got(kArea);
        death.flushed_ = co_await death.world_.amf(2).read(0, got.span());
    }

    void check(unsigned answered) {
        const std::uint16_t reader = world_.nodes.rbegin()->first;
        const Buffer got = world_.read(reader, 0, kArea);
        ASSERT_EQ(got.size(), kArea);
        for (std::size_t at = 0; at < kArea; at += kBlockSize) {
            // What may be there: what the last answered write left, or a later one.
            std::vector<const std::byte*> allowed = {old_.data() + at};
            std::vector<Buffer> keep;
            for (std::size_t i = 0; i < kParts.size(); ++i) {
                if (at < kParts[i].at || at >= kParts[i].at + kParts[i].size) continue;
                if (i < answered) allowed.clear();
                keep.push_back(pattern(i + 1, kParts[i].size));
                allowed.push_back(keep.back().data() + (at - kParts[i].at));
            }
            bool fits = false;
            for (const std::byte* one : allowed)
                fits = fits || std::memcmp(got.data() + at, one, kBlockSize) == 0;
            ASSERT_TRUE(fits) << "block at " << at << " is not what its host was told, of " << answered;
        }
        world_.run_until([] { return false; }, 100ms);
        EXPECT_TRUE(world_.unclean(reader, kArea).empty());
        for (const auto& [id, node] : world_.nodes) {
            EXPECT_EQ(node->amf->replicator().store().bytes(), 0u) << "record left at " << id;
            EXPECT_EQ(node->amf->conditions().recovering_units, 0u) << id;
        }
    }

    Story story_;
    World world_;
    Buffer old_;
    unsigned answered_ = 0;
    std::optional<Status> flushed_;
};

class WriteBackDeaths : public ::testing::TestWithParam<Story> {};

TEST_P(WriteBackDeaths, LeaveWhatHostsWereToldAtEveryStep) {
    const Story& story = GetParam();
    const std::size_t steps = Death(story).count();
    ASSERT_GT(steps, 20u);
    std::uint64_t redo = 0, data = 0;
    for (const InFlight fate : {InFlight::lost, InFlight::landed, InFlight::torn, InFlight::mixed}) {
        for (std::size_t step = 0; step <= steps; ++step) {
            const std::size_t second = story.recoverer_dies ? 3 + step * 7 % 60 : 0;
            SCOPED_TRACE(::testing::Message() << "step " << step << " of " << steps << ", fate "
                                              << static_cast<int>(fate) << ", second " << second);
            Death death(story);
            death.die_at(step, fate, second);
            redo += death.redo;
            data += death.data;
            if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
    }
    EXPECT_GT(redo, 5u);
    EXPECT_GT(data, 20u);
}

constexpr SharingOptions kBlocks{.granularity = {.blocks = 1}};

/// All that a flush asks of the members is one batch of the journal, however much is dirty.
TEST(WriteBack, AFlushIsOneAppend) {
    World world(with_write_back({.level = Level::raid5, .disks = 5, .power_loss = PowerLoss::journal}));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4096)));
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    for (std::size_t i = 0; i < 2; ++i)
        ASSERT_TRUE(world.write(1, i * kArea + 4096, pattern(i, 8192)));  // each in a stripe of its own
    const JournalCounters before = world.amf(1).journal().counters();
    const std::uint64_t commands = world.disk_events();
    ASSERT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_EQ(world.amf(1).journal().counters().batches, before.batches + 1);
    EXPECT_EQ(world.amf(1).journal().counters().data_entries, before.data_entries + 2);
    EXPECT_LE(world.disk_events() - commands, 8u);  // write and flush of two members, begun and done
    EXPECT_EQ(world.amf(1).conditions().dirty_bytes, 2u * 8192 + 4096);
    ASSERT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_EQ(world.amf(1).journal().counters().batches, before.batches + 1);
}

/// Far more than the ring takes, again and again: what is too much goes to the members, what is still needed
/// goes to the head, and nobody waits for ever.
TEST(WriteBack, FlushesGoRoundTheRing) {
    WorldOptions options =
        with_write_back({.level = Level::raid5, .disks = 5, .power_loss = PowerLoss::journal});
    options.amf.housekeeping = 1ms;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const std::uint64_t ring = world.config.journal.ring_size;
    ASSERT_TRUE(world.write(1, 31 * kArea, pattern(77, 4096)));  // stays
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    for (std::size_t i = 0; i < 400; ++i) {
        ASSERT_TRUE(world.write(1, i * 7 % 30 * kArea + i * 5 % 12 * 4096, pattern(i, 8192)));
        ASSERT_TRUE(world.run(1, world.amf(1).flush()));
        if (i % 16 == 15) {  // and some of it to the members
            for (std::size_t at = i % 10; at < 30; at += 10) (void)world.read(2, at * kArea, kArea);
        }
        EXPECT_LE(world.amf(1).journal().used_bytes(), ring);
    }
    EXPECT_GT(world.amf(1).journal().counters().bytes, 4 * ring);
    EXPECT_GT(world.amf(1).journal().counters().moved, 0u);
    for (const std::uint16_t id : std::array<std::uint16_t, 3>{1, 2, 3}) world.kill(id, InFlight::lost);
    world.media[1]->dead = true;
    world.start(2);
    const Buffer got = world.read(2, 31 * kArea, 4096);
    EXPECT_EQ(std::memcmp(got.data(), pattern(77, 4096).data(), 4096), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Writes, WriteBackDeaths,
    ::testing::Values(Story{"raid5", {.level = Level::raid5, .disks = 5}},
                      Story{"raid6", {.level = Level::raid6, .disks = 6}},
                      Story{"mirror", {.level = Level::mirror, .disks = 3, .width = 3}},
                      Story{"blocks", {.level = Level::raid5, .disks = 5, .sharing = kBlocks}},
                      Story{"journal", {.level = Level::raid5, .disks = 5, .power_loss = PowerLoss::journal}},
                      Story{"recoverer_dies", {.level = Level::raid5, .disks = 5, .dimension = 3}, true},
                      Story{"blocks_recoverer_dies",
                            {.level = Level::raid5, .disks = 5, .dimension = 3, .sharing = kBlocks},
                            true}),
    [](const auto& info) { return std::string(info.param.name); });

WorldOptions small_world() {
    WorldOptions options = with_write_back({.level = Level::raid5, .disks = 5});
    options.amf.dirty = 16384;
    return options;
}

TEST(WriteBack, AnswersWithoutTouchingAMember) {
    World world(with_write_back({.level = Level::raid5, .disks = 5}));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4096)));
    const Buffer fresh = pattern(2, 4096);
    ASSERT_TRUE(world.write(1, 4096, fresh));
    EXPECT_EQ(world.amf(1).counters().dirty_writes, 2u);
    EXPECT_EQ(world.amf(1).counters().stripe_writes[0] + world.amf(1).counters().stripe_writes[1], 0u);
    EXPECT_EQ(world.amf(1).conditions().dirty_bytes, 8192u);
    const Buffer got = world.read(1, 4096, 4096);
    EXPECT_EQ(std::memcmp(got.data(), fresh.data(), 4096), 0);
    const Buffer elsewhere = world.read(2, 4096, 4096);
    EXPECT_EQ(std::memcmp(elsewhere.data(), fresh.data(), 4096), 0);
    EXPECT_EQ(world.amf(1).counters().destages_recalled, 1u);
    EXPECT_EQ(world.amf(1).counters().destaged_partial, 1u);
    EXPECT_EQ(world.amf(1).counters().destaged_writes, 2u);
}

TEST(WriteBack, AFullStripeGoesAtOnceAndWithoutReads) {
    World world(with_write_back({.level = Level::raid5, .disks = 5}));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (std::size_t at = 0; at < kArea; at += 8192) ASSERT_TRUE(world.write(1, at, pattern(at, 8192)));
    EXPECT_TRUE(world.run_until([&] { return world.amf(1).dirty().empty(); }, 1s));
    EXPECT_EQ(world.amf(1).counters().destaged_full, 1u);
    EXPECT_EQ(world.amf(1).counters().stripe_writes[0], 1u);
}

/// A world whose first AMF destages the first of two parts of a stripe that are far apart, and its disk
/// commands do not end.
struct HeldDestage {
    HeldDestage() : world(options()) {
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        EXPECT_TRUE(world.write(1, 0, pattern(1, kBlockSize)));
        EXPECT_TRUE(world.write(1, 2 * kStrip, pattern(2, kBlockSize)));
        world.hold_data = true;
        EXPECT_FALSE(world.run_until([] { return false; }, 100ms));
        EXPECT_EQ(destaged(), 0u);
    }
    std::uint64_t destaged() { return world.amf(1).counters().destaged_partial; }
    void write(std::size_t at, const Buffer& data, std::optional<Status>& done) {
        world.node(1).scope->spawn(World::keep(world.amf(1).write(at, Slice(data), false), done));
        world.run_until([&] { return done.has_value(); }, 100ms);
    }
    void expect(std::size_t at, const Buffer& data) {
        const Buffer got = world.read(2, at, data.size());
        EXPECT_EQ(std::memcmp(got.data(), data.data(), data.size()), 0) << "at " << at;
    }
    static WorldOptions options() {
        WorldOptions out = with_write_back({.level = Level::raid5, .disks = 5});
        out.amf.dirty_age = 20ms;
        return out;
    }
    World world;
};

TEST(WriteBack, AWriteDoesNotWaitForTheDestageOfAnotherPart) {
    HeldDestage held;
    const Buffer fresh = pattern(3, kBlockSize), again = pattern(4, kBlockSize),
                 same = pattern(5, kBlockSize);
    std::optional<Status> beside, over_the_next, over_this;
    held.write(kStrip, fresh, beside);
    EXPECT_TRUE(beside && *beside);
    held.write(2 * kStrip, again, over_the_next);
    EXPECT_TRUE(over_the_next && *over_the_next);
    held.write(0, same, over_this);
    EXPECT_FALSE(over_this) << "the members are being written with what it would replace";
    held.world.hold_data = false;
    ASSERT_TRUE(held.world.run(1, held.world.amf(1).flush()));
    const DirtyStripes::Stripe* left = held.world.amf(1).dirty().find(StripeIndex(0));
    EXPECT_TRUE(left == nullptr || (left->runs.size() == 1 && left->runs.contains(0))) << "it came before";
    EXPECT_TRUE(held.world.run_until([&] { return over_this.has_value(); }));
    held.expect(0, same);
    held.expect(kStrip, fresh);
    held.expect(2 * kStrip, again);
    EXPECT_TRUE(held.world.run_until([&] { return held.world.amf(1).dirty().empty(); }));
    EXPECT_TRUE(held.world.unclean(3, kArea).empty());
}

TEST(WriteBack, WhoHasWrittenBesideADestageDies) {
    HeldDestage held;
    const Buffer fresh = pattern(3, kBlockSize);
    std::optional<Status> beside;
    held.write(kStrip, fresh, beside);
    ASSERT_TRUE(beside && *beside);
    held.world.kill(1, InFlight::torn);
    held.world.hold_data = false;
    held.world.adopt();
    held.expect(0, pattern(1, kBlockSize));
    held.expect(kStrip, fresh);
    held.expect(2 * kStrip, pattern(2, kBlockSize));
    EXPECT_TRUE(held.world.unclean(3, kArea).empty());
}

/// What was written next to a part that is being destaged, so many steps after the destage began, and
/// flushed, outlives a loss of power later. False when the destage was over before.
bool flushed_beside_a_destage(std::size_t steps, bool later) {
    WorldOptions options =
        with_write_back({.level = Level::raid5, .disks = 5, .power_loss = PowerLoss::journal});
    options.amf.dirty_age = 20ms;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    EXPECT_TRUE(world.write(1, kBlockSize, pattern(1, kBlockSize)));
    (void)world.run_until([&] { return world.amf(1).replicator().live_records() == 0; }, 19ms);
    for (std::size_t i = 0; i < steps; ++i) {
        if (!world.step()) (void)world.clock.advance(world.clock.now() + 5ms);
    }
    const bool beside = world.amf(1).counters().destaged_partial == 0;
    world.hold_data = true;
    const std::array fresh{pattern(2, kBlockSize), pattern(3, kBlockSize)};
    std::array<std::optional<Status>, 2> written;
    for (std::size_t i = 0; i < 2; ++i) {
        world.node(1).scope->spawn(
            World::keep(world.amf(1).write(2 * i * kBlockSize, Slice(fresh[i]), false), written[i]));
    }
    (void)world.run_until([&] { return written[0] && written[1]; }, 5ms);
    std::optional<Status> flushed;
    world.node(2).scope->spawn(World::keep(world.amf(2).flush(), flushed));
    (void)world.run_until([&] { return flushed.has_value(); }, 5ms);
    world.hold_data = false;
    EXPECT_TRUE(world.run_until([&] { return written[0] && written[1] && flushed; }, 1s));
    EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    for (std::size_t i = 1; later && i < 4; ++i) {  // so that the ring forgets what it does not need
        (void)world.run_until([] { return false; }, 2ms);
        EXPECT_TRUE(world.write(1, i * kArea, pattern(i, kBlockSize)));
        EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    }
    for (const std::uint16_t id : std::array<std::uint16_t, 3>{1, 2, 3}) world.kill(id, InFlight::lost);
    world.start(2);
    for (std::size_t i = 0; i < 3; ++i) {
        const Buffer got = world.read(2, i * kBlockSize, kBlockSize);
        const Buffer& wanted = i == 1 ? pattern(1, kBlockSize) : fresh[i / 2];
        EXPECT_EQ(std::memcmp(got.data(), wanted.data(), kBlockSize), 0)
            << "block " << i << ", step " << steps;
    }
    return beside && !::testing::Test::HasFailure();
}

TEST(WriteBack, AFlushBesideADestageIsSafeAtEveryStep) {
    for (const bool later : {false, true}) {
        std::size_t steps = 0;
        while (flushed_beside_a_destage(steps, later)) ++steps;
        EXPECT_GT(steps, 20u);
    }
}

/// The second is on its way to the partner before the first is there.
TEST(WriteBack, WritesOfAStripeDoNotWaitForEachOthersCopies) {
    World world(with_write_back({.level = Level::raid5, .disks = 5, .dimension = 2}));
    world.start(1);
    world.start(2);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kBlockSize)));
    world.slow = {{1, 2}};
    std::array<std::optional<Status>, 2> done;
    for (std::size_t i = 0; i < done.size(); ++i) {
        const Buffer data = pattern(2 + i, kBlockSize);
        world.node(1).scope->spawn(
            World::keep(world.amf(1).write(i * kBlockSize, Slice(data), false), done[i]));
    }
    EXPECT_FALSE(world.run_until([&] { return done[0] || done[1]; }, 10ms));
    EXPECT_EQ(world.amf(1).conditions().dirty_bytes, 2 * kBlockSize);
    world.slow.clear();
    EXPECT_TRUE(world.run_until([&] { return done[0] && done[1]; }));
    EXPECT_TRUE(*done[0] && *done[1]);
}

TEST(WriteBack, HostsThatWriteMoreThanThereIsRoomForAreAllAnswered) {
    World world(small_world());
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (std::size_t i = 0; i < 40; ++i)
        ASSERT_TRUE(world.write(1, i * 12288, pattern(i, i % 3 == 0 ? 20000 : 5000))) << i;
    EXPECT_GT(world.amf(1).counters().dirty_waits, 5u);
    EXPECT_LE(world.amf(1).conditions().dirty_bytes, 16384u + kArea);
}

/// Four blocks are the last sixteenth of the room. One in each stripe: no destage puts several into one
/// record.
TEST(WriteBack, HostsAreSlowedDownBeforeThereIsNoRoom) {
    WorldOptions options = with_write_back({.level = Level::raid5, .disks = 5});
    options.amf.dirty = 64 * kBlockSize;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, kBlockSize)));
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    world.hold_data = true;
    std::vector<Nanos> took;
    for (std::size_t i = 0; i < 64; ++i) {
        const Nanos before = world.clock.now();
        ASSERT_TRUE(world.write(1, i * kArea, pattern(i, kBlockSize))) << i;
        took.push_back(world.clock.now() - before);
    }
    EXPECT_EQ(world.amf(1).counters().dirty_slowed, 3u);
    EXPECT_EQ(world.amf(1).counters().dirty_waits, 0u);
    EXPECT_LT(took[60], 100us);
    for (std::size_t i = 61; i < 64; ++i) EXPECT_GT(took[i], took[i - 1] + 100us) << i;
    world.hold_data = false;
    EXPECT_TRUE(world.run(1, world.amf(1).flush()));
    const Buffer got = world.read(2, 63 * kArea, kBlockSize);
    EXPECT_EQ(std::memcmp(got.data(), pattern(63, kBlockSize).data(), kBlockSize), 0);
}

TEST(WriteBack, WhoFinishesWhatADeadOneLeftDoesSomeStripesAtATime) {
    WorldOptions options = with_write_back({.level = Level::raid5, .disks = 5});
    options.amf.recoveries = 2;
    World world(options);
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    constexpr std::size_t kStripes = 12;
    for (std::size_t i = 0; i < kStripes; ++i) ASSERT_TRUE(world.write(1, i * kArea, pattern(i, kBlockSize)));
    world.hold_data = true;
    world.kill(1, InFlight::lost);
    world.adopt();
    EXPECT_FALSE(world.run_until([] { return false; }, 100ms));
    std::size_t left = 0, at_work = 0;
    for (const auto& [id, node] : world.nodes) {
        left += node->amf->conditions().recovering_units;
        EXPECT_LE(node->amf->replicator().live_records(), 2u);
        at_work += node->amf->replicator().live_records();
    }
    EXPECT_EQ(left, kStripes);
    EXPECT_GT(at_work, 1u);
    world.hold_data = false;
    for (std::size_t i = 0; i < kStripes; ++i) {
        const Buffer got = world.read(2, i * kArea, kBlockSize);
        EXPECT_EQ(std::memcmp(got.data(), pattern(i, kBlockSize).data(), kBlockSize), 0) << i;
    }
    EXPECT_TRUE(world.unclean(3, kStripes * kArea).empty());
}

/// One part of a stripe put together from several comes so close to another one that they go as one: that has
/// to go, too.
TEST(WriteBack, AFlushLeavesNothingDirtyInPartsThatMeetLate) {
    WorldOptions options;
    options.power_loss = PowerLoss::resync;
    World world(with_write_back(options));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    Buffer expected = pattern(9, 8 * kBlockSize);
    ASSERT_TRUE(world.write(1, 0, expected));
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    constexpr std::uint64_t kBlock = kBlockSize;
    for (const auto& [at, size] :
         {std::pair(0 * kBlock, kBlock), {2 * kBlock, 2 * kBlock}, {5 * kBlock, 3 * kBlock}}) {
        const Buffer part = pattern(at, size);
        std::memcpy(expected.data() + at, part.data(), size);
        ASSERT_TRUE(world.write(1, at, part));
    }
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    EXPECT_TRUE(world.amf(1).dirty().empty());
    world.kill(1);
    world.kill(2);
    world.start(3);
    const Buffer found = world.read(3, 0, expected.size());
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), expected.size()), 0);
}

/// Its bound is about memory: the ends of a large write do not keep all of it.
TEST(WriteBack, WhatIsDirtyKeepsNoMoreThanItsOwn) {
    World world(with_write_back({}));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    const std::size_t stripe = world.config.geometry.stripe_size();
    constexpr std::uint64_t kWrites = 8;
    const auto write = [&] {
        for (std::uint64_t i = 0; i < kWrites; ++i)
            ASSERT_TRUE(world.write(1, (8 * i + 1) * stripe - 4096, pattern(i, 6 * stripe + 8192)));
        ASSERT_TRUE(world.run_until([&] { return world.amf(1).dirty().bytes() == kWrites * 8192; }, 5s));
    };
    write();
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    ASSERT_TRUE(world.amf(1).dirty().empty());
    world.settle();
    const std::size_t before = Buffer::bytes_in_use();
    write();
    const std::size_t dirty = Buffer::bytes_in_use() - before;
    EXPECT_LT(dirty, kWrites * stripe) << "here and at the partner";
}

/// A host that goes on writing one block.
Task<void> writes_on(World& world, std::uint16_t id) {
    while (true) {
        EXPECT_TRUE(co_await world.amf(id).write(id * kBlockSize, Slice(pattern(id, 4096)), false));
        co_await sleep_for(world.clock, 1ms);
    }
}

/// An answer takes twice that time.
Task<void> slow_between(World& world, std::uint16_t a, std::uint16_t b, Nanos time) {
    while (true) {
        world.slow = {{b, a}};
        co_await sleep_for(world.clock, time);
        world.slow = {{a, b}};
        co_await sleep_for(world.clock, time);
    }
}

TEST(WriteBack, AFlushEndsThoughDirtyContentGoesToAndFro) {
    World world(with_write_back({}));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (std::uint16_t id = 1; id <= 2; ++id) world.node(id).scope->spawn(writes_on(world, id));
    world.run_until([] { return false; }, 100ms);
    const std::uint64_t passed = world.amf(1).counters().passed_on;
    EXPECT_GT(passed, 20u);
    Scope scope(world.executor);
    scope.spawn(slow_between(world, 1, 3, 200ms));
    std::optional<Status> flushed;
    world.node(1).scope->spawn(World::keep(world.amf(1).flush(), flushed));
    EXPECT_TRUE(world.run_until([&] { return flushed.has_value(); }, 10s));
    EXPECT_GT(world.amf(1).counters().flushes_again, 0u);
}

}  // namespace
}  // namespace braid::testing
