// All extents get the shape that is wanted of the group (row P3, figure 16, decisions/021): wider stripes,
// more parities. Each AMF has one of these, and takes those that are its own by number and view (share.h),
// one after the other; what is to be done stands in the tables, so it outlives everybody.
//
//   extent without a zone   gets the shape by one page
//   extent with one         is copied to a successor while hosts go on (amf/reshape.cc)
//
// What is missing is made again first. It begins by itself when the wanted shape has changed, and the keeper
// ends it. The object outlives its run.
#pragma once

#include <map>
#include <optional>

#include "amf/amf.h"

namespace braid {

struct ReshaperOptions {
    Nanos poll = 100ms;
    Nanos retry = 1s;  ///< after an extent that could not be done
};

class Reshaper {
public:
    Reshaper(Amf& amf, Clock& clock, ReshaperOptions options) : amf_(amf), clock_(clock), options_(options) {}

    Task<void> run();
    /// After the present extent.
    void end() { ending_ = true; }
    bool busy() const { return busy_; }

private:
    const JobRecord* job() const { return amf_.tables().state().active(JobKind::reshape); }
    bool mine(ExtentIndex extent) const;
    std::optional<ExtentIndex> next();
    Task<Status> drop_left();
    Task<Status> keep_record();
    Task<void> work();

    Amf& amf_;
    Clock& clock_;
    const ReshaperOptions options_;
    bool ending_ = false, busy_ = false;
    std::uint32_t at_ = 0;                  ///< where the search goes on
    std::map<ExtentIndex, Nanos> avoided_;  ///< until then
    Epoch cleared_{};                       ///< in this one nothing is left of the dead
    std::uint32_t done_ = 0;                ///< extents that the record does not know of
    Nanos recorded_{};
};

}  // namespace braid
