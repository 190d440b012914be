// The writer dies at every step of a write, the partner finishes it, and everything must be as if the write
// had either happened or not: all blocks old or new, parity right, no record left, whatever became of the
// disk commands in flight.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::uint32_t kStrip = 16u << 10;
constexpr std::size_t kArea = 8 * kStrip;

struct Story {
    const char* name;
    WorldOptions options;
    std::uint64_t at;
    std::size_t size;
    unsigned dead_disks = 0;     ///< before the write
    bool disk_dies_too = false;  ///< together with the writer
    bool late_view = false;      ///< what the writer had sent still arrives before it is declared dead
    bool recoverer_dies = false;
};

/// Over all steps of a story: that a test of recovery has seen recoveries.
struct Tally {
    std::uint64_t redo = 0, data = 0, second_deaths = 0;
};

class Crash {
public:
    explicit Crash(const Story& story) : story_(story), world_(story.options) {
        const auto controllers = static_cast<std::uint16_t>(story.options.dimension + 2);
        for (std::uint16_t id = 1; id <= controllers; ++id) world_.start(id);
        old_ = pattern(1, kArea);
        fresh_ = pattern(2, story.size);
        EXPECT_TRUE(world_.write(1, 0, old_).has_value());
        for (unsigned i = 0; i < story.dead_disks; ++i) {
            world_.media[i]->dead = true;
            for (int j = 0; j < 4; ++j) (void)world_.read(1, 0, kArea);
            EXPECT_TRUE(world_.run_until([&] { return world_.amf(2).conditions().failed_members == i + 1; }));
        }
        world_.settle();
    }

    /// Steps that the whole write takes.
    std::size_t count() {
        start();
        const std::size_t first = world_.steps();
        while (!result_ && world_.step()) {
        }
        EXPECT_TRUE(result_ && *result_);
        world_.settle();  // record ends and their acknowledgements belong to it
        return world_.steps() - first;
    }

    void die_at(std::size_t step, InFlight fate, std::size_t second_step, Tally& tally) {
        start();
        for (std::size_t i = 0; i < step; ++i) world_.step();
        const bool answered = result_.has_value();
        world_.kill(1, fate);
        if (story_.disk_dies_too) world_.media[world_.media.size() - 1]->dead = true;
        if (story_.late_view) world_.settle();
        world_.adopt();
        if (story_.recoverer_dies) {
            for (std::size_t i = 0; i < second_step; ++i) world_.step();
            const std::uint16_t victim = recoverer();
            if (victim != 0) {
                world_.kill(victim, fate);
                world_.adopt();
                ++tally.second_deaths;
            }
        }
        check(answered);
        for (const auto& [id, node] : world_.nodes) {
            tally.redo += node->amf->counters().recovered_redo;
            tally.data += node->amf->counters().recovered_data;
        }
    }

private:
    void start() {
        world_.node(1).scope->spawn(
            World::keep(world_.amf(1).write(story_.at, Slice(fresh_), false), result_));
    }

    std::uint16_t recoverer() {
        for (const auto& [id, node] : world_.nodes) {
            if (node->amf->conditions().recovering_units != 0) return id;
        }
        return 0;
    }

    void check(bool answered) {
        const std::uint16_t reader = world_.nodes.rbegin()->first;
        const Buffer got = world_.read(reader, 0, kArea);
        ASSERT_EQ(got.size(), kArea);
        std::size_t new_blocks = 0;
        std::size_t old_blocks = 0;
        Buffer with_new = Buffer::copy_of(old_.span());
        std::memcpy(with_new.data() + story_.at, fresh_.data(), fresh_.size());
        for (std::size_t at = 0; at < kArea; at += kBlockSize) {
            const bool is_old = std::memcmp(got.data() + at, old_.data() + at, kBlockSize) == 0;
            const bool is_new = std::memcmp(got.data() + at, with_new.data() + at, kBlockSize) == 0;
            ASSERT_TRUE(is_old || is_new) << "block at " << at << " is neither old nor new";
            if (is_old != is_new) ++(is_new ? new_blocks : old_blocks);
        }
        if (answered) {
            EXPECT_EQ(old_blocks, 0u) << "an answered write is not whole";
        }
        EXPECT_TRUE(old_blocks == 0 || new_blocks == 0 || fresh_.size() > kStrip);
        if (story_.dead_disks == 0 && !story_.disk_dies_too) {
            EXPECT_TRUE(world_.unclean(reader, kArea).empty());
        } else {
            // Without all disks parity cannot be compared, but any further loss that the level survives must
            // show it.
            check_by_loss(reader, got);
        }
        world_.run_until([] { return false; }, 100ms);
        for (const auto& [id, node] : world_.nodes) {
            EXPECT_EQ(node->amf->replicator().store().bytes(), 0u) << "record left at " << id;
            EXPECT_EQ(node->amf->replicator().live_records(), 0u) << id;
            EXPECT_EQ(node->amf->conditions().recovering_units, 0u) << id;
        }
        // The stripe can be used by everybody.
        for (const auto& [id, node] : world_.nodes) {
            EXPECT_TRUE(world_.write(id, story_.at, pattern(id, story_.size)).has_value()) << id;
        }
    }

    void check_by_loss(std::uint16_t reader, const Buffer& expected) {
        const unsigned lost = story_.dead_disks + (story_.disk_dies_too ? 1 : 0);
        if (lost >= world_.config.geometry.m) return;
        world_.media[1 + story_.dead_disks]->dead = true;
        const Buffer again = world_.read(reader, 0, kArea);
        ASSERT_EQ(again.size(), kArea);
        EXPECT_EQ(std::memcmp(again.data(), expected.data(), kArea), 0) << "parity was wrong";
    }

    Story story_;
    World world_;
    Buffer old_;
    Buffer fresh_;
    std::optional<Status> result_;
};

class CrashStories : public ::testing::TestWithParam<Story> {};

TEST_P(CrashStories, LeavesOldOrNewDataAndRightParityAtEveryStep) {
    const Story& story = GetParam();
    const std::size_t steps = Crash(story).count();
    ASSERT_GT(steps, 5u);
    Tally tally;
    for (const InFlight fate : {InFlight::lost, InFlight::landed, InFlight::torn, InFlight::mixed}) {
        for (std::size_t step = 0; step <= steps; ++step) {
            const std::size_t second = story.recoverer_dies ? 3 + step * 7 % 60 : 0;
            SCOPED_TRACE(::testing::Message() << "step " << step << " of " << steps << ", fate "
                                              << static_cast<int>(fate) << ", second " << second);
            Crash(story).die_at(step, fate, second, tally);
            if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
    }
    EXPECT_GT(tally.redo, 10u);
    EXPECT_GT(tally.data, 3u);
    if (story.recoverer_dies) EXPECT_GT(tally.second_deaths, 5u);
}

constexpr std::size_t kSmall = 2 * kBlockSize;
constexpr SharingOptions kBlocks{.granularity = {.blocks = 1}};

INSTANTIATE_TEST_SUITE_P(
    Writes, CrashStories,
    ::testing::Values(
        Story{"rmw", {.level = Level::raid5, .disks = 7}, kBlockSize, kSmall},
        Story{"rcw", {.level = Level::raid6, .disks = 6}, kBlockSize, kSmall},
        Story{"full", {.level = Level::raid5, .disks = 5}, 0, 4 * kStrip},
        Story{"unaligned", {.level = Level::raid5, .disks = 5}, 777, 5000},
        Story{"stripes", {.level = Level::raid5, .disks = 5}, 3 * kStrip + 512, 2 * kStrip},
        Story{"mirror", {.level = Level::mirror, .disks = 3, .width = 3}, kBlockSize, kSmall},
        Story{"late_view", {.level = Level::raid5, .disks = 5}, kBlockSize, kSmall, 0, false, true},
        Story{"degraded", {.level = Level::raid6, .disks = 6}, kBlockSize, kSmall, 1},
        Story{"degraded_twice", {.level = Level::raid7_3, .disks = 7}, 0, 2 * kStrip, 2},
        Story{"disk_dies_too", {.level = Level::raid6, .disks = 6}, kBlockSize, kSmall, 0, true},
        Story{"last_disk_dies_too", {.level = Level::raid5, .disks = 7}, kBlockSize, kSmall, 0, true},
        Story{"blocks", {.level = Level::raid5, .disks = 7, .sharing = kBlocks}, kBlockSize, kSmall},
        Story{"blocks_unaligned", {.level = Level::raid5, .disks = 5, .sharing = kBlocks}, 777, 5000},
        Story{"blocks_degraded",
              {.level = Level::raid6, .disks = 6, .sharing = kBlocks},
              kBlockSize,
              kSmall,
              1},
        Story{"blocks_recoverer_dies",
              {.level = Level::raid5, .disks = 7, .dimension = 3, .sharing = kBlocks},
              kBlockSize,
              kSmall,
              0,
              false,
              false,
              true},
        Story{"three_copies", {.level = Level::raid5, .disks = 5, .dimension = 3}, kBlockSize, kSmall},
        Story{"recoverer_dies",
              {.level = Level::raid5, .disks = 7, .dimension = 3},
              kBlockSize,
              kSmall,
              0,
              false,
              false,
              true},
        Story{"recoverer_dies_degraded",
              {.level = Level::raid6, .disks = 6, .dimension = 3},
              kBlockSize,
              kSmall,
              1,
              false,
              true,
              true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace braid
