#include "scenarios.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "sim/scenario.h"

namespace braid::sim {
namespace {

/// True if all was well with every seed.
bool run_seeds(const std::string& file, const Scenario& scenario, std::size_t variant,
               const ScenarioOptions& options) {
    for (std::uint64_t seed = options.first_seed; seed <= options.last_seed; ++seed) {
        const ScenarioOutcome outcome = run_scenario(scenario, seed);
        const bool well = outcome.failure.empty();
        if (options.trace || !well) std::printf("%s", outcome.trace.c_str());
        if (well) continue;
        const std::string each = scenario.each.empty() ? "" : ", EACH = " + scenario.each[variant];
        std::printf(
            "FAILED %s (%s), seed %llu%s\n%s:%s\n  repeat: simulate --scenario %s --seed %llu --log%s%s%s\n",
            file.c_str(), scenario.title.c_str(), static_cast<unsigned long long>(seed), each.c_str(),
            file.c_str(), outcome.failure.c_str(), file.c_str(), static_cast<unsigned long long>(seed),
            options.broadcast ? " --broadcast" : "", options.checksums ? " --checksums" : "",
            options.granularity.empty() ? "" : (" --granularity " + options.granularity).c_str());
        return false;
    }
    return true;
}

int run_file(const std::string& file, const ScenarioOptions& options) {
    std::ifstream stream(file);
    std::stringstream text;
    text << stream.rdbuf();
    if (!stream) {
        std::fprintf(stderr, "simulate: %s: cannot be read\n", file.c_str());
        return 2;
    }
    std::size_t variants = 1;
    for (std::size_t variant = 0; variant < variants; ++variant) {
        auto scenario = parse_scenario(text.str(), variant);
        if (!scenario) {
            const ScenarioError& wrong = scenario.error();
            std::fprintf(stderr, "%s:%u:%u: %s\n", file.c_str(), wrong.line, wrong.column,
                         wrong.text.c_str());
            return 2;
        }
        SharingOptions& sharing = scenario->shape.sharing;
        if (options.checksums) scenario->shape.checksums = true;
        if (options.broadcast) sharing.coherency = Coherency::broadcast;
        if (!options.granularity.empty()) sharing.granularity = *parse_granularity(options.granularity);
        variants = std::max<std::size_t>(scenario->each.size(), 1);
        if (!run_seeds(file, *scenario, variant, options)) return 1;
        if (variant + 1 == variants) std::printf("ok  %s\n", scenario->title.c_str());
    }
    return 0;
}

}  // namespace

int run_scenarios(const ScenarioOptions& options) {
    int worst = 0;
    for (const std::string& file : options.files) worst = std::max(worst, run_file(file, options));
    return worst;
}

}  // namespace braid::sim
