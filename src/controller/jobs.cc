#include "controller/jobs.h"

#include <algorithm>

namespace braid {

std::uint64_t Jobs::add(std::string kind, std::string group, std::function<JobProgress()> progress) {
    Job job;
    job.info.id = next_id_++;
    job.info.kind = std::move(kind);
    job.info.group = std::move(group);
    job.started = clock_.now();
    job.progress = std::move(progress);
    jobs_.push_back(std::move(job));
    const auto finished = [](const Job& j) { return j.info.state != JobState::running; };
    if (std::count_if(jobs_.begin(), jobs_.end(), finished) > static_cast<std::ptrdiff_t>(kKept)) {
        jobs_.erase(std::find_if(jobs_.begin(), jobs_.end(), finished));
    }
    return next_id_ - 1;
}

void Jobs::finish(std::uint64_t id, JobState state, std::string detail) {
    for (Job& job : jobs_) {
        if (job.info.id != id) continue;
        job.info = describe(job);
        job.info.state = state;
        job.info.detail = std::move(detail);
        job.progress = nullptr;
    }
}

JobInfo Jobs::describe(const Job& job) const {
    JobInfo info = job.info;
    if (!job.progress) return info;
    const JobProgress progress = job.progress();
    info.done_bytes = progress.done_bytes;
    info.total_bytes = progress.total_bytes;
    info.mismatches = progress.mismatches;
    info.repaired = progress.repaired;
    const auto elapsed = static_cast<std::uint64_t>((clock_.now() - job.started).count());
    if (elapsed > 100'000'000 && info.done_bytes != 0) {
        const auto rate = static_cast<unsigned __int128>(info.done_bytes) * 1'000'000'000 / elapsed;
        info.rate_bps = static_cast<std::uint64_t>(rate);
    }
    return info;
}

std::vector<JobInfo> Jobs::list() const {
    std::vector<JobInfo> out;
    for (const Job& job : jobs_) out.push_back(describe(job));
    return out;
}

}  // namespace braid
