// Scrub: all stripes of the group are read and compared with their checksums and their parity, by all AMFs
// together (row P4). Each AMF has one of these and nobody is told what to do: that there is a scrub stands in
// the tables (ondisk/job_record.h), and which extents are whose follows from the view, so that a join or a
// death divides the rest anew. What is done stands in the tables too, extent by extent, a little later.
//
//   of my extents the first that has not been done -> its stripes, each under its lock -> with others ->
//   tables
//
// A block that checksums tell is written again. Where parity does not fit, and nothing tells which block is
// wrong, the stripe is counted and stays as it is. What somebody who died may have left half-written is no
// finding: whoever resyncs it makes it right first.
//
// The keeper also begins scrubs when they are due. The object outlives its run; end() ends it after the
// present stripes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "amf/amf.h"
#include "jobs/pace.h"

namespace braid {

struct ScrubOptions {
    Nanos poll = 100ms;
    Nanos settle = 1s;  ///< between two notes in the tables
};

class Scrub {
public:
    Scrub(Amf& amf, Clock& clock, Pace& pace, ScrubOptions options)
        : amf_(amf), clock_(clock), pace_(pace), options_(options) {}

    Task<void> run();
    void end() { ending_ = true; }
    /// Something of it is under way.
    bool busy() const { return busy_; }

private:
    /// An extent that has been begun.
    struct Part {
        ExtentIndex extent;
        std::uint64_t at = 0;
        ScrubCounts counts;
    };

    bool mine(ExtentIndex extent) const;
    const JobRecord* job() const { return amf_.tables().state().active(JobKind::scrub); }
    Task<Status> step();
    Task<Status> settle();
    std::optional<ExtentIndex> next() const;
    Task<Status> scrub(ExtentIndex extent);
    Task<Status> check(StripeIndex stripe);
    Task<Result<StripeVerdict>> verdict(StripeIndex stripe);
    Task<void> keep_schedule();

    Amf& amf_;
    Clock& clock_;
    Pace& pace_;
    const ScrubOptions options_;
    bool ending_ = false, busy_ = false;
    bool broken_off_ = false;  ///< the job does not want the present extent to go on
    unsigned priority_ = 1;    ///< of the job
    std::uint32_t id_ = 0;     ///< of the job that the following is about
    std::optional<Part> part_;
    std::map<ExtentIndex, ScrubCounts> finished_;  ///< and not in the tables yet
    Nanos settled_{};
    std::optional<Nanos> counted_;  ///< up to then the keeper's time is in the schedule's age
};

}  // namespace braid
