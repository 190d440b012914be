// `simulate --scenario FILE...`: fault stories from files (tests/scenarios/README.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace braid::sim {

struct ScenarioOptions {
    std::vector<std::string> files;
    std::uint64_t first_seed = 1, last_seed = 4;  ///< of each file: other delays, other chances
    bool trace = false;                           ///< also where all is well
    bool checksums = false;                       ///< the same
    bool broadcast = false;                       ///< whatever the files say
    std::string granularity;                      ///< the same; empty: as they say
};

/// The program's exit code: 0 all well, 1 a scenario failed, 2 a file is no scenario.
int run_scenarios(const ScenarioOptions& options);

}  // namespace braid::sim
