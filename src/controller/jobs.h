// The controller's list of long work: what runs, how far it is, how it ended. Keeps the last finished ones.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <vector>

#include "controller/admin_target.h"
#include "io/clock.h"

namespace braid {

struct JobProgress {
    std::uint64_t done_bytes = 0, total_bytes = 0, mismatches = 0, repaired = 0;
};

class Jobs {
public:
    explicit Jobs(Clock& clock) : clock_(clock) {}

    /// A running job. `progress` is asked for whenever somebody looks, until finish().
    std::uint64_t add(std::string kind, std::string group, std::function<JobProgress()> progress);
    void finish(std::uint64_t id, JobState state, std::string detail);
    std::vector<JobInfo> list() const;

private:
    struct Job {
        JobInfo info;
        Nanos started{};
        std::function<JobProgress()> progress;
    };
    JobInfo describe(const Job& job) const;

    static constexpr std::size_t kKept = 32;  ///< finished jobs
    Clock& clock_;
    std::list<Job> jobs_;
    std::uint64_t next_id_ = 1;
};

}  // namespace braid
