// From outside, on the bare media: every idle stripe's strips agree with each other under the group's code,
// as far as the members that are not failed let one judge.
#pragma once

#include <string>
#include <vector>

#include "sim/sim_disk.h"
#include "tables/tables.h"

namespace braid::sim {

/// Empty, or which stripe is wrong. The group is idle; `tables` are some living controller's.
std::string check_parity(const Tables& tables, const MemberMedia& media);

/// The same for one zone.
std::string check_parity(const GroupConfig& config, const GroupState& state, ExtentIndex extent,
                         const Zone& zone, const MemberMedia& media);

}  // namespace braid::sim
