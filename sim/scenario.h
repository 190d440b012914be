// A scenario: one fault story as data (tests/scenarios/README.md has the format). A small cluster of real
// controllers on the simulated seams, steps that say exactly what happens and when, what must then be, and
// the messages that the controllers exchange meanwhile, held against the running code.
//
// run_scenario() guarantees, whatever the scenario says: at its end nothing is held, cut or paused any more,
// every operation has an answer or a dead controller, parity fits on the bare media, every living controller
// reads what was written, ends in order, and no buffer is left. The same seed gives the same run.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sim/node.h"
#include "sim/scenario_sequence.h"

namespace braid::sim {

struct ScenarioError {
    std::string text;
    std::uint32_t line = 0, column = 0;  ///< 0: of the whole file
};

/// A lock unit of the virtual disk, chosen by who arbitrates it.
struct PlaceSpec {
    std::string name;
    std::string arbiter;  ///< among all controllers; empty: anybody
    std::string then;     ///< if that one is gone; empty: anybody
    std::string blocks;   ///< who arbitrates the units of its blocks; empty: anybody
};

/// One thing that is done or must be. `words` fit the form (scenario_steps.cc) with the index `form`.
struct Step {
    std::string text;
    std::uint32_t line = 0;
    std::string label;         ///< of an operation that is not waited for
    bool fails = false;        ///< it must end with an error
    std::optional<Errc> code;  ///< with this one
    std::size_t form = 0;
    std::vector<std::string> arguments;  ///< the words that stand for the form's capitals, in their order
};

struct Phase {
    std::string title;
    std::uint32_t line = 0;
    std::vector<std::string> kinds;  ///< of trace lines that `messages` is about
    std::vector<Step> steps;
    std::optional<Sequence> messages;  ///< exactly these, from the phase's begin to its end
};

struct Scenario {
    std::string title;
    std::vector<std::string> shows;
    std::vector<std::string>
        each;  ///< what the word EACH in steps and messages stands for, one after the other
    Shape shape;
    bool thin = false;            ///< extents have no zones at the start
    bool volatile_cache = false;  ///< members lose what was not flushed at a power cut
    std::vector<PlaceSpec> places;
    std::vector<Phase> phases;
};

/// `variant`: which of `each` it is now. There is a first one even if there is no `each`.
std::expected<Scenario, ScenarioError> parse_scenario(std::string_view text, std::size_t variant = 0);

struct ScenarioOutcome {
    std::string failure;  ///< empty: all as it should be. Begins with the line of the file, if there is one
    std::string trace;    ///< readable, one line each
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    Nanos virtual_time{};
};

ScenarioOutcome run_scenario(const Scenario& scenario, std::uint64_t seed);

}  // namespace braid::sim
