// The checksums of a group without work, on its bare members: every copy of every record is the same, and
// every block is what they say. What a member is known to lie about is left out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ondisk/checksum_record.h"
#include "sim/sim_disk.h"
#include "tables/tables.h"

namespace braid::sim {

/// Empty, or what is wrong. Nothing is, in a group without checksums.
std::string check_checksums(const Tables& tables, const MemberMedia& media);

/// What all copies of a stripe's record say together, at any instant; nothing without checksums, or if no
/// copy can be looked at.
std::optional<ChecksumRecord> record_on_members(const Tables& tables, const Zone& zone, StripeIndex stripe,
                                                const MemberMedia& media);

}  // namespace braid::sim
