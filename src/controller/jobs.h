// Long work as an operator sees it: what stands in the tables of the groups (scrub, rebuild), the same on
// every controller, and what this controller alone does (resync): what runs, how far it is, how it ended, the
// last finished ones too.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "controller/admin_target.h"
#include "io/clock.h"
#include "tables/tables.h"

namespace braid {

struct JobProgress {
    std::uint64_t done_bytes = 0, total_bytes = 0, mismatches = 0, repaired = 0;
};

std::string incomplete_text(std::uint64_t stripes);

class Jobs {
public:
    explicit Jobs(Clock& clock) : clock_(clock) {}

    /// A running job of this controller. `progress` is asked for whenever somebody looks, until finish().
    std::uint64_t add(std::string kind, std::string group, std::function<JobProgress()> progress);
    void finish(std::uint64_t id, JobState state, std::string detail);
    std::vector<JobInfo> own() const;

    /// Those in a group's tables. Rates are of what was finished since this controller first saw it run, so
    /// it looks at every change.
    void look_at(const Tables& tables);
    std::vector<JobInfo> of(const Tables& tables) const;

    /// Those of this controller begin here: no group has had as many.
    static constexpr std::uint64_t kFirstOwn = 1'000'000'001;

private:
    struct Job {
        JobInfo info;
        Nanos started{};
        std::function<JobProgress()> progress;
    };
    struct Seen {
        Nanos at{};
        std::uint64_t done_bytes = 0;
    };
    JobInfo describe(const Job& job) const;
    JobInfo describe(const Tables& tables, const JobRecord& job) const;
    std::optional<std::uint64_t> rate(std::uint64_t bytes, Nanos since) const;

    static constexpr std::size_t kKept = 32;  ///< finished jobs
    Clock& clock_;
    std::list<Job> jobs_;
    std::uint64_t next_id_ = kFirstOwn;
    std::map<std::pair<Uuid, std::uint32_t>, Seen> running_;
};

}  // namespace braid
