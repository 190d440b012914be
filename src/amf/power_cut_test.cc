// Every power cut there is, for small cases: at each disk command of a few writes, of the recovery of a dead
// writer, of the journal and of its replay; every way in which what no flush has covered may be there
// (power_cut.h); then every set of members missing that the level survives. What nobody wrote is as it was,
// what is safe is there, the rest is old or new by blocks.
#include "amf/power_cut_story.h"

namespace braid::testing {
namespace {

TEST(Landings, AreAllThereAre) {
    const auto told = [](std::vector<std::size_t> sectors, std::size_t most) {
        std::size_t count = 0;
        for_each_landing(sectors, most, [&](std::span<const Landing>) { ++count; });
        return count;
    };
    EXPECT_EQ(told({}, 4096), 1u);
    EXPECT_EQ(told({1}, 4096), 2u);
    EXPECT_EQ(told({8}, 4096), 16u);
    EXPECT_EQ(told({8, 1, 8}, 4096), 16u * 2u * 16u);
    EXPECT_EQ(told({8, 8, 8}, 4096), 4096u);
    EXPECT_EQ(told({8, 8, 8}, 4095), 3u * 3u * 3u + 3u * 4u * 14u);
}

class PowerCutsInWrites : public ::testing::TestWithParam<Story> {};
class PowerCutsAfterwards : public ::testing::TestWithParam<Story> {};

TEST_P(PowerCutsInWrites, LeaveOldOrNewAndWhatIsSafe) { cut_everywhere(GetParam()); }

/// Power goes in the write, and again while the journals are replayed.
TEST_P(PowerCutsAfterwards, InTheAssemblyLeaveTheSame) {
    const Story& story = GetParam();
    const Expected expected(story);
    Count count;
    Cuts cuts(expected, 0, count);
    Writing run(story, expected);
    to_the_end(run.world, [&] { cuts.look(run.world, run.safe(), true); });
    tell(count);
}

/// The writer dies at a step, whatever becomes of its commands; then power goes while others recover.
TEST_P(PowerCutsAfterwards, InTheRecoveryOfADeadWriterLeaveTheSame) {
    const Story& story = GetParam();
    const Expected expected(story);
    Count count;
    std::size_t deaths = 0;
    Cuts cuts(expected, 0, count);
    const auto at_step = [&](std::size_t step, Writing& run) {
        for (std::size_t i = 0; i < step && !run.ended(); ++i) {
            if (!run.world.step()) EXPECT_TRUE(run.world.clock.advance(100s));
        }
        return !run.ended();
    };
    for (std::size_t step = 0, more = 1; more != 0 && !HasFailure(); ++step) {
        Writing rehearsal(story, expected);
        more = at_step(step, rehearsal) ? 1 : 0;
        rehearsal.world.kill(1, InFlight::lost);
        for_each_landing(rehearsal.world.abandoned, 0, [&](std::span<const Landing> fate) {
            if (HasFailure()) return;
            ++deaths;
            Writing run(story, expected);
            at_step(step, run);
            const std::uint32_t safe = run.safe();
            run.world.landings.assign(fate.begin(), fate.end());
            run.world.kill(1, InFlight::chosen);
            run.world.adopt();
            to_the_end(run.world, [&] { cuts.look(run.world, safe, false); });
            EXPECT_EQ(expected.wrong(run.world.read(2, 0, expected.old().size()), run.answered()), "");
            EXPECT_TRUE(run.world.unclean(2, expected.old().size()).empty()) << "step " << step;
        });
    }
    std::cout << deaths << " deaths; ";
    tell(count);
}

const WorldOptions kRaid5 = options_of(Level::raid5, 5, PowerLoss::journal);
const WorldOptions kRaid6 = options_of(Level::raid6, 6, PowerLoss::journal);
const WorldOptions kRaid73 = options_of(Level::raid7_3, 7, PowerLoss::journal);
const WorldOptions kNarrow = options_of(Level::raid5, 3, PowerLoss::journal);
const WorldOptions kMirror = options_of(Level::mirror, 3, PowerLoss::journal);
const WorldOptions kWide = options_of(Level::raid5, 10, PowerLoss::journal);
const WorldOptions kResync = options_of(Level::raid5, 5, PowerLoss::resync);
const WorldOptions kRaid5Sums = options_of(Level::raid5, 5, PowerLoss::journal, true);
const WorldOptions kRaid6Sums = options_of(Level::raid6, 6, PowerLoss::journal, true);
const WorldOptions kMirrorSums = options_of(Level::mirror, 3, PowerLoss::journal, true);

std::vector<Story> stories(bool nested) {
    std::vector<Story> all = {
        Story{.name = "small",
              .options = kRaid5,
              .writes = {{4096, 4096}},
              .nested = true,
              .takes = Takes::minutes_if_nested},
        Story{.name = "mirror", .options = kMirror, .writes = {{4096, 4096}}, .nested = true},
        Story{.name = "raid6", .options = kRaid6, .writes = {{4096, 4096}}},
        Story{.name = "raid7_3", .options = kRaid73, .writes = {{4096, 4096}}, .takes = Takes::minutes},
        Story{.name = "two_strips", .options = kRaid5, .writes = {{4096, 8192}}},
        Story{.name = "full_stripe", .options = kRaid5, .writes = {{0, 16384}}},
        Story{.name = "again", .options = kRaid5, .writes = {{4096, 4096}, {4096, 4096}}},
        Story{.name = "together",
              .options = kRaid5,
              .writes = {{4096, 4096}, {20480, 4096}, {28672, 4096}},
              .together = true},
        Story{.name = "resync", .options = kResync, .writes = {{4096, 4096}}, .nested = true},
        Story{.name = "checksums",
              .options = kRaid5Sums,
              .writes = {{4096, 4096}},
              .nested = true,
              .takes = Takes::minutes_if_nested},
        Story{.name = "checksums_of_a_mirror",
              .options = kMirrorSums,
              .writes = {{4096, 4096}},
              .nested = true,
              .takes = Takes::minutes_if_nested},
        Story{.name = "checksums_of_a_stripe", .options = kRaid5Sums, .writes = {{0, 16384}}},
        Story{.name = "checksums_of_raid6", .options = kRaid6Sums, .writes = {{4096, 4096}}},
        Story{.name = "ten_in_flight", .options = kWide, .writes = {{0, 36864}}, .takes = Takes::minutes},
        Story{.name = "write_back",
              .options = kRaid5,
              .writes = {{4096, 4096}, {8192, 4096}, {4096, 4096}},
              .write_back = true},
        Story{.name = "flushed",
              .options = kRaid5,
              .writes = {{4096, 4096}, {20480, 4096}},
              .write_back = true,
              .nested = true,
              .takes = Takes::minutes_if_nested},
        Story{.name = "flushed_narrow",
              .options = kNarrow,
              .writes = {{4096, 4096}},
              .write_back = true,
              .nested = true},
        Story{.name = "flushed_and_destaged",
              .options = kRaid5,
              .writes = {{4096, 4096}, {20480, 8192}},
              .write_back = true,
              .dirty_age = 100us,
              .nested = true,
              .takes = Takes::minutes_if_nested},
        Story{.name = "flushed_with_checksums",
              .options = kRaid6Sums,
              .writes = {{4096, 4096}},
              .write_back = true,
              .dirty_age = 100us,
              .takes = Takes::minutes},
    };
    std::erase_if(
        all, [=](const Story& story) { return (nested && !story.nested) || !has_time_for(story, nested); });
    return all;
}

const auto kName = [](const auto& story) { return story.param.name; };
INSTANTIATE_TEST_SUITE_P(Of, PowerCutsInWrites, ::testing::ValuesIn(stories(false)), kName);
INSTANTIATE_TEST_SUITE_P(Of, PowerCutsAfterwards, ::testing::ValuesIn(stories(true)), kName);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PowerCutsAfterwards);

}  // namespace
}  // namespace braid::testing
