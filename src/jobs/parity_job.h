// Scrub and resync: walking over stripes and comparing their parity with their data, one stripe at a time, as
// a client of the data path. Scrub only counts; resync writes the parity where it is wrong, which is right
// only for stripes that a dead AMF may have left half-written and that nobody keeps a record of.
//
// The object outlives its run; progress may be read at any time, and cancel() ends the run after the present
// stripes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "amf/amf.h"

namespace braid {

struct ParityProgress {
    std::uint64_t done_bytes = 0;  ///< of the logical space, holes included
    std::uint64_t total_bytes = 0;
    std::uint64_t checked = 0;     ///< stripes that have a zone
    std::uint64_t mismatches = 0;  ///< parity was wrong, corrected or not
    std::uint64_t rotten = 0;      ///< blocks were not what had been written, and are being put right
    std::uint64_t incomplete = 0;  ///< data is missing: nothing could be said
};

class ParityJob {
public:
    /// `depth`: stripes in work at once.
    explicit ParityJob(Amf& amf, std::size_t depth = 4) : amf_(amf), depth_(depth) {}

    /// Compares all stripes that have a zone.
    Task<Status> scrub();
    /// Makes the parity of all stripes that touch these regions right.
    Task<Status> resync(std::vector<RegionIndex> regions);
    /// The regions that this AMF's earlier life left in its intents; each may leave the intents as
    /// soon as its parity is right.
    Task<Status> resync_own();
    /// Those of an AMF that is not in the view, whose intents are empty afterwards. `still_absent` is
    /// asked before they are emptied.
    Task<Status> resync_of(AmfSlot slot, std::function<bool()> still_absent);

    void cancel() { cancelled_ = true; }
    const ParityProgress& progress() const { return progress_; }

private:
    void begin(std::uint64_t bytes);
    Task<Status> walk(LogicalRange range, bool correct);
    Task<Status> check(StripeIndex stripe, bool correct);

    Amf& amf_;
    std::size_t depth_;
    bool cancelled_ = false;
    ParityProgress progress_;
};

}  // namespace braid
