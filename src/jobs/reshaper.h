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
#include <set>

#include "amf/amf.h"
#include "jobs/pace.h"

namespace braid {

struct ReshaperOptions {
    Nanos poll = 100ms;
    Nanos retry = 1s;        ///< after an extent that could not be done
    Nanos unreadable = 10s;  ///< after one of which something cannot be read
};

class Reshaper {
public:
    Reshaper(Amf& amf, Clock& clock, Pace& pace, ReshaperOptions options)
        : amf_(amf), clock_(clock), pace_(pace), options_(options) {}

    Task<void> run();
    void end() { ending_ = true; }
    bool busy() const { return busy_; }
    /// Extents that keep their shape, because something of them cannot be read.
    std::size_t unreadable() const { return unreadable_.size(); }

private:
    const JobRecord* job() const { return amf_.tables().state().active(JobKind::reshape); }
    bool mine(ExtentIndex extent) const;
    std::optional<ExtentIndex> next();
    Task<Status> turn(std::uint64_t bytes);
    Task<Status> drop_left();
    Task<Status> keep_record();
    Task<void> work();

    Amf& amf_;
    Clock& clock_;
    Pace& pace_;
    const ReshaperOptions options_;
    bool ending_ = false, busy_ = false;
    std::uint32_t at_ = 0;                  ///< where the search goes on
    std::map<ExtentIndex, Nanos> avoided_;  ///< until then
    std::set<ExtentIndex> unreadable_;      ///< when they were last tried
    Epoch cleared_{};                       ///< in this one nothing is left of the dead
    std::uint32_t done_ = 0;                ///< extents that the record does not know of
    Nanos recorded_{};
};

}  // namespace braid
