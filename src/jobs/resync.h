// Resync: the parity of stripes that a dead AMF may have left half-written, and that nobody keeps a record
// of, is written where it is wrong. Their data is right as it is found.
//
// The object outlives its run; progress may be read at any time, and cancel() ends the run after the present
// stripes.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "amf/amf.h"

namespace braid {

struct ResyncProgress {
    std::uint64_t done_bytes = 0;  ///< of the logical space, holes included
    std::uint64_t total_bytes = 0;
    std::uint64_t checked = 0;     ///< stripes that have a zone
    std::uint64_t corrected = 0;   ///< parity was wrong
    std::uint64_t rotten = 0;      ///< blocks were not what had been written, and are being put right
    std::uint64_t incomplete = 0;  ///< data is missing: nothing could be said
};

class Resync {
public:
    /// `depth`: stripes in work at once.
    explicit Resync(Amf& amf, std::size_t depth = 4) : amf_(amf), depth_(depth) {}

    /// Makes the parity of all stripes that touch these regions right.
    Task<Status> regions(std::vector<RegionIndex> regions);
    /// The regions that this AMF's earlier life left in its intents; each may leave the intents as
    /// soon as its parity is right.
    Task<Status> own();
    /// Those of an AMF that is not in the view, whose intents are empty afterwards. `still_absent` is
    /// asked before they are emptied.
    Task<Status> of(AmfSlot slot, std::function<bool()> still_absent);

    void cancel() { cancelled_ = true; }
    const ResyncProgress& progress() const { return progress_; }

private:
    void begin(std::size_t regions);
    Task<Status> correct(RegionIndex region);
    Task<Status> check(StripeIndex stripe);
    void log() const;

    Amf& amf_;
    std::size_t depth_;
    bool cancelled_ = false;
    ResyncProgress progress_;
};

}  // namespace braid
