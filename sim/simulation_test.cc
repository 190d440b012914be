// Whole runs: what a seed and a plan decide.
#include <gtest/gtest.h>

#include "sim/cluster.h"

namespace braid::sim {
namespace {

Plan small_plan(std::uint64_t seed) {
    Plan plan;
    plan.seed = seed;
    plan.controllers = 2;
    plan.disks = 3;
    plan.strip_size = 16u << 10;
    plan.hosts = 2;
    plan.faults_for = 300ms;
    plan.fault_pause = 20ms;
    plan.operators = true;
    return plan;
}

TEST(Simulation, TheSameSeedGivesTheSameRunAndAnotherSeedAnother) {
    const Outcome one = run_plan(small_plan(7), false);
    const Outcome again = run_plan(small_plan(7), false);
    const Outcome other = run_plan(small_plan(8), false);
    EXPECT_EQ(one.failure, "");
    EXPECT_EQ(one.hash, again.hash);
    EXPECT_EQ(one.events, again.events);
    EXPECT_NE(one.hash, other.hash);
    EXPECT_GT(one.operations, 100u);
}

TEST(Simulation, AFaultThatIsLeftOutChangesNoneBeforeItAndNotWhenTheOthersAreDue) {
    Plan plan = small_plan(7);
    plan.crashes = plan.pauses = plan.cuts = plan.resets = false;
    plan.fault_pause = 3ms;
    const auto faults_of = [](const Plan& p) {
        std::vector<std::pair<unsigned, Nanos>> out;
        (void)run_plan(p, false, [&](const FaultRecord& fault) { out.emplace_back(fault.number, fault.at); });
        return out;
    };
    auto all = faults_of(plan);
    ASSERT_GT(all.size(), 2u);
    const auto left_out = all[all.size() / 2].first;
    plan.without = {left_out};
    std::erase_if(all, [&](const auto& fault) { return fault.first == left_out; });
    EXPECT_EQ(faults_of(plan), all);
    plan.without.clear();
    plan.only = {all.front().first};
    EXPECT_EQ(faults_of(plan).size(), 1u);
}

TEST(Simulation, LosingMoreMembersThanTheLevelSurvivesIsSeen) {
    Plan plan = small_plan(3);
    plan.faults_for = 3s;
    plan.crashes = plan.pauses = plan.cuts = plan.resets = plan.slow_disks = false;
    plan.disk_faults = 3;
    EXPECT_NE(run_plan(plan, false).failure, "");
}

}  // namespace
}  // namespace braid::sim
