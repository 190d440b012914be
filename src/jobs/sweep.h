// Goes over stripes one at a time and looks at their parity: all stripes that have a zone (verify), or those
// of some regions, writing what is wrong (resync, after a life that ended in the middle of writes). A client
// of the AMF like a host: it holds one stripe's lock at a time (row L5, promise 5), and a stripe without
// redundancy to judge by is only counted.
#pragma once

#include <cstdint>
#include <vector>

#include "amf/amf.h"

namespace braid {

struct SweepProgress {
    std::uint64_t done_bytes = 0;  ///< of logical space that has a zone
    std::uint64_t total_bytes = 0;
    std::uint64_t mismatches = 0;  ///< stripes whose parity does not fit their data, at the moment of looking
    std::uint64_t corrected = 0;
    std::uint64_t incomplete = 0;               ///< data is missing: nothing can be said
    std::vector<StripeIndex> first_mismatches;  ///< at most 16
};

class Sweep {
public:
    enum class Mode : std::uint8_t { verify, resync };

    /// All of the group.
    Sweep(Amf& amf, Mode mode);
    /// Only these regions of 4 MiB.
    Sweep(Amf& amf, Mode mode, std::vector<RegionIndex> regions);

    /// Runs to the end of its range. not_ready when the AMF stops meanwhile, offline when it cannot write.
    Task<Status> run();
    const SweepProgress& progress() const { return progress_; }

private:
    Task<Status> one_stripe(StripeIndex stripe);
    static constexpr std::size_t kTogether = 4;  ///< stripes under way at once

    Amf& amf_;
    Mode mode_;
    std::vector<LogicalRange> ranges_;
    SweepProgress progress_;
};

}  // namespace braid
