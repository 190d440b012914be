// From outside, at any instant: what an AMF that is alive and in the view remembers is what the members have,
// and it is of units that it holds; what is dirty there is of stripes that it holds for writing.
//
// Where checksums tell, what a member has counts if it fits them: a block that a dead writer left
// half-written does not, and is read as the others have it.
//
// Of a mirror the first copy counts, as it does for reads: another one may differ until a resync, when all
// who knew of the write have died. Not judged: a block of a zone that has gone since (it is never given), and
// one whose data strip is on no member that can be looked at: failed by agreement, or another disk in its
// place by now.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "amf/amf.h"
#include "ondisk/checksum_record.h"
#include "sim/sim_disk.h"

namespace braid::sim {

/// Empty, or which block is wrong, and how.
std::string check_cache(Amf& amf, const MemberMedia& media);

/// What the members have as the record of a stripe, if anything.
using RecordOf = std::function<std::optional<ChecksumRecord>(StripeIndex)>;

/// The same for one block, at this place of the logical space.
std::string check_cached_block(const GroupConfig& config, const GroupState& state, const Zone& zone,
                               std::uint64_t at, std::span<const std::byte> content, const MemberMedia& media,
                               const RecordOf& record_of = {});

}  // namespace braid::sim
