// What all workers of one call have seen together: in memory that they share, so that there is one line of
// progress and one end.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "sim/plan.h"

namespace braid::sim {

struct Totals {
    using Count = std::atomic<std::uint64_t>;
    Count seeds{}, failed{}, events{}, operations{}, checked{}, recovered{}, virtual_ns{};
    std::array<Count, kMarks> marks{};

    void add(const Outcome& outcome);
    /// Marks that no run has hit.
    std::size_t missing() const;
};

/// Shared with all processes that are forked from now on; zero.
Totals& shared_totals();

/// One line; at the end also the marks that nobody hit.
void print(const Totals& totals, double seconds, bool at_the_end);

}  // namespace braid::sim
