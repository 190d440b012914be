// Where segments are lost, what stood in them is made again elsewhere: rebuild onto spare space, spread over
// all members (rows P1 P2, figure 15). What stands on a member that leaves goes elsewhere, too. Each AMF has
// one of these, nobody is told what to do: what is wanted stands in the tables, and which zones are whose
// follows from the view, so that a join or a death divides the rest anew. What is done stands in the tables,
// too. Zones are told apart by the number of the segment that is to go: of what one member held all AMFs have
// as many as the others.
//
//   of my zones the one that has lost most -> open the move -> a run of rows, each under its stripe's lock
//   -> flush the target -> watermark -> ... -> the zone has the new segment -> the next one
//
// Rows of a zone come one after the other, and several zones at once: as many, on all AMFs together, as keep
// the members at work. A watermark is a change of the tables, which are everybody's: there are few of them.
//
// Of a move in place, which is a disk that is back, only rows are copied whose region was written without it
// (tables/returns.cc): those that the map names, and those that stand in an intent page when the disk is
// there. What is written later is written there, too. After a death the intents are looked at anew: what the
// dead left half-written is copied. Where there is nothing to copy all zones of a map page end together.
//
// It begins by itself when a member has been failed for `delay`, if there is space that no virtual disk may
// need; what was begun goes on at once. What only makes all members as full as the others is a job of its
// own, the rebalance, and waits while something has to be made again or has to leave. The object outlives its
// run; end() ends it after the present rows.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "amf/amf.h"
#include "async/scope.h"
#include "jobs/pace.h"

namespace braid {

struct MoverOptions {
    Nanos delay = 30s;        ///< after a member was declared failed
    std::uint32_t run = 256;  ///< rows between two watermarks, at most
    Nanos mark = 1s;          ///< from one to the next, no more rows
    std::size_t queue = 5;    ///< commands of a member at once on average, from all AMFs
    Nanos poll = 100ms;
    Nanos retry = 1s;        ///< after a zone that could not be moved
    Nanos unreadable = 10s;  ///< after one of which something cannot be read
};

class Mover {
public:
    /// `changed`: called when it has begun, or has nothing more to do.
    Mover(Amf& amf, Clock& clock, Pace& pace, MoverOptions options, std::function<void()> changed = {})
        : amf_(amf),
          clock_(clock),
          pace_(pace),
          options_(options),
          changed_(std::move(changed)),
          changes_(amf.executor(), 1) {}

    Task<void> run();
    void end() { ending_ = true; }
    /// Something of it is under way.
    bool busy() const { return busy_ || !in_hand_.empty(); }
    /// Bytes that this AMF has put elsewhere.
    std::uint64_t moved() const { return moved_bytes_; }
    /// Of my zones those of which something cannot be read, and where it was met: what comes after it in its
    /// zone waits, too.
    std::vector<StripeIndex> unreadable() const;
    /// A rebuild begins then which waits until its member has been failed for the delay.
    std::optional<Nanos> begins() const { return begins_; }
    /// The members are to be evened out, and what is left of that waits for a rebuild.
    bool balance_waits() const {
        const bool later = begins_ && !state_of(JobKind::rebalance).due;
        return amf_.tables().state().balancing && (rebuild_goes_first() || later);
    }

private:
    bool goes_on() const;
    bool mine(ExtentIndex extent) const;
    bool free(ExtentIndex extent) const { return !avoided_.contains(extent) && !in_hand_.contains(extent); }
    std::size_t most_lanes() const;
    /// The zone has a position that should stand elsewhere, and can: from when on.
    std::optional<Nanos> due_at(const Zone& zone) const;
    bool due(const Zone& zone) const {
        const auto at = due_at(zone);
        return at && *at <= clock_.now();
    }
    std::optional<ExtentIndex> next();
    void look();
    /// A rebuild, or a rebalance.
    struct Job {
        bool due = false;         ///< there was something to do when somebody looked
        std::uint32_t moved = 0;  ///< segments that the record does not know of
    };
    Job& state_of(JobKind kind) { return jobs_[kind == JobKind::rebuild ? 0 : 1]; }
    const Job& state_of(JobKind kind) const { return jobs_[kind == JobKind::rebuild ? 0 : 1]; }
    bool any_due() const { return jobs_[0].due || jobs_[1].due; }
    bool rebuild_goes_first() const { return state_of(JobKind::rebuild).due; }
    const JobRecord* record(JobKind kind) const { return amf_.tables().state().active(kind); }
    bool any_record() const;
    bool paused(JobKind kind) const;
    /// The job that what moves in the extent is a part of; a rebuild if nothing does.
    JobKind kind_of(ExtentIndex extent) const;
    Task<Status> keep_record(JobKind kind);
    Task<Status> keep_records();
    Task<Status> end_balancing();
    Task<Status> end_leaves();
    Task<Status> end_untouched();
    Task<Result<std::uint16_t>> regions_to_copy(ExtentIndex extent);
    Task<void> work(Scope& lanes);
    Task<void> lane(ExtentIndex extent);
    Task<Status> one_by_one(Task<Status> change);
    Task<Status> move_zone(ExtentIndex extent);
    Task<Status> move_run(ExtentIndex extent, ZoneMove move);
    Task<Status> move_row(StripeIndex stripe, Epoch epoch, JobKind kind);

    Amf& amf_;
    Clock& clock_;
    Pace& pace_;
    const MoverOptions options_;
    const std::function<void()> changed_;
    Semaphore changes_;  ///< of the tables: a host that needs one waits for one of ours, not for all lanes
    bool ending_ = false, busy_ = false;
    std::array<std::optional<Nanos>, kMaxMembers> failed_since_{};  ///< as seen here
    std::map<ExtentIndex, Nanos> avoided_;                          ///< until then
    std::map<ExtentIndex, StripeIndex> unreadable_;                 ///< when they were last tried
    std::set<ExtentIndex> in_hand_;                                 ///< that lanes are at
    std::deque<ExtentIndex> found_;                                 ///< when somebody looked, in order
    Nanos looked_{};
    std::optional<Nanos> begins_;
    Nanos ended_untouched_{};
    std::array<Job, 2> jobs_;
    std::uint64_t moved_bytes_ = 0;
    Nanos recorded_{};
};

}  // namespace braid
