#include "controller/jobs.h"

#include <algorithm>

namespace braid {

std::string incomplete_text(std::uint64_t stripes) {
    return std::to_string(stripes) + " stripes lack data of missing members and cannot be judged";
}

// ---- of this controller

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
    info.rate_bps = rate(info.done_bytes, job.started);
    return info;
}

std::vector<JobInfo> Jobs::own() const {
    std::vector<JobInfo> out;
    for (const Job& job : jobs_) out.push_back(describe(job));
    return out;
}

std::optional<std::uint64_t> Jobs::rate(std::uint64_t bytes, Nanos since) const {
    const auto elapsed = static_cast<std::uint64_t>((clock_.now() - since).count());
    if (elapsed <= 100'000'000 || bytes == 0) return std::nullopt;
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(bytes) * 1'000'000'000 / elapsed);
}

// ---- in the tables

void Jobs::look_at(const Tables& tables) {
    std::erase_if(running_, [&](const auto& entry) {
        if (entry.first.first != tables.group()) return false;
        const JobRecord* job = tables.state().job(entry.first.second);
        return job == nullptr || job->state != JobState::running;
    });
    for (const JobRecord& job : tables.state().jobs) {
        const std::pair key(tables.group(), job.id);
        if (job.id == 0 || job.state != JobState::running || running_.contains(key)) continue;
        running_[key] = {clock_.now(), tables.size_of(job).done_bytes};
    }
}

JobInfo Jobs::describe(const Tables& tables, const JobRecord& job) const {
    const GroupConfig& config = tables.config();
    const JobSize size = tables.size_of(job);
    JobInfo info;
    info.id = job.id;
    info.kind = to_string(job.kind);
    info.group = config.name;
    info.done_bytes = size.done_bytes;
    info.total_bytes = size.total_bytes;
    info.state = job.state;
    info.priority = job.priority;
    info.started = job.started;
    info.ended = job.ended;
    info.mismatches = job.counts.unattributed;
    info.repaired = job.counts.repaired;
    info.incomplete = job.counts.incomplete;
    const auto seen = running_.find(std::pair(tables.group(), job.id));
    if (seen != running_.end())
        info.rate_bps =
            rate(size.done_bytes - std::min(size.done_bytes, seen->second.done_bytes), seen->second.at);
    for (std::uint8_t slot = 0; slot < config.amf_slots(); ++slot) {
        const std::uint64_t bytes = job.done[slot] * size.unit;
        const std::string& name = config.name_of(controller_of(AmfSlot(slot), config.sharing.amfs));
        if (bytes == 0) continue;
        if (info.shares.empty() || info.shares.back().first != name) info.shares.emplace_back(name, 0);
        info.shares.back().second += bytes;
    }
    if (job.counts.incomplete != 0) info.detail = incomplete_text(job.counts.incomplete);
    return info;
}

/// The oldest first.
std::vector<JobInfo> Jobs::of(const Tables& tables) const {
    std::vector<JobInfo> out;
    for (const JobRecord& job : tables.state().jobs) {
        if (job.id != 0) out.push_back(describe(tables, job));
    }
    std::ranges::sort(out, {}, &JobInfo::id);
    return out;
}

}  // namespace braid
