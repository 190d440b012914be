// From a plan that fails to a smaller one that fails in the same way: fewer faults, then less around them.
#pragma once

#include <string>

#include "sim/plan.h"

namespace braid::sim {

/// The arguments of `simulate` that run this plan.
std::string command_of(const Plan& plan);

/// Prints its progress, what is left in words, and the command that repeats it. False if the plan does not
/// fail.
bool shrink(Plan plan);

}  // namespace braid::sim
