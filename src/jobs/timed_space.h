// The group as hosts have it: what their reads, writes and flushes take is told to the pace of background
// work. Zeroes and trims are not: they take as long as their range is large.
#pragma once

#include <functional>

#include "amf/group_space.h"
#include "io/clock.h"
#include "jobs/pace.h"

namespace braid {

class TimedSpace final : public GroupSpace {
public:
    /// `tell`: what the other AMFs are to hear. All of them outlive it.
    TimedSpace(GroupSpace& space, Clock& clock, Pace& pace, std::function<void(HostLatency)> tell)
        : space_(space), clock_(clock), pace_(pace), tell_(std::move(tell)) {}

    Task<Status> read(std::uint64_t offset, std::span<std::byte> into) override {
        return timed(space_.read(offset, into));
    }
    Task<Status> write(std::uint64_t offset, Slice data, bool fua, Errand errand = {}) override {
        return timed(space_.write(offset, std::move(data), fua, errand));
    }
    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole, bool fua,
                              Errand errand = {}) override {
        return space_.write_zeroes(offset, length, may_leave_hole, fua, errand);
    }
    Task<Status> flush() override { return timed(space_.flush()); }
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                        std::size_t most, AllocationDetail detail) override {
        return space_.allocation(offset, length, most, detail);
    }

private:
    /// Also when it is given up.
    struct Inside {
        Inside(Pace& of, Nanos now) : pace(of) { pace.host_began(now); }
        Inside(const Inside&) = delete;
        Inside& operator=(const Inside&) = delete;
        ~Inside() { pace.host_left(); }
        Pace& pace;
    };
    Task<Status> timed(Task<Status> operation) {
        if (!pace_.on()) return operation;
        return until_done(std::move(operation));
    }
    Task<Status> until_done(Task<Status> operation) {
        const Nanos begun = clock_.now();
        const Inside inside(pace_, begun);
        Status status = co_await std::move(operation);
        const Nanos now = clock_.now();
        if (const auto latency = pace_.host_took(now, now - begun)) tell_(*latency);
        co_return status;
    }

    GroupSpace& space_;
    Clock& clock_;
    Pace& pace_;
    std::function<void(HostLatency)> tell_;
};

}  // namespace braid
