// Long work: what operators ask of it, and what it tells of a group.
#include <algorithm>

#include "controller/controller.h"
#include "controller/refusals.h"

namespace braid {

std::vector<JobInfo> Controller::jobs() const {
    std::vector<JobInfo> out;
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        for (JobInfo& job : jobs_.of(group->tables())) out.push_back(std::move(job));
    }
    for (JobInfo& job : jobs_.own()) out.push_back(std::move(job));
    return out;
}

/// Of all groups: numbers are told apart as far as this controller knows.
std::uint32_t Controller::newest_job() const {
    std::uint64_t newest = 0;
    for (const JobInfo& job : jobs()) newest = job.id < Jobs::kFirstOwn ? std::max(newest, job.id) : newest;
    return static_cast<std::uint32_t>(newest);
}

Task<AdminResult<Outcome>> Controller::scrub_group(ScrubGroup request) {
    const auto group = serving_group(request.name);
    if (!group) co_return std::unexpected(group.error());
    Tables& tables = (*group)->tables();
    if (request.priority < 1 || request.priority > kMaxPriority)
        co_return refuse(Errc::invalid, "priority " + std::to_string(request.priority) + " is none",
                         "1 to 9");
    const auto running = [&tables](const JobRecord& job) {
        return refuse(Errc::busy,
                      "group " + tables.config().name + " is being scrubbed already: job " +
                          std::to_string(job.id) + " is " + std::string(to_string(job.state)),
                      "braid job show " + std::to_string(job.id));
    };
    // What this controller knows may be older than the end of the last one.
    const JobRecord* present = tables.state().active(JobKind::scrub);
    if (request.dry_run && present != nullptr) co_return running(*present);
    Outcome outcome;
    outcome.steps.push_back("reads " + std::to_string(tables.allocated_extents() * kExtentSize) +
                            " bytes of " + tables.config().name +
                            " and their parity, stripe by stripe, on all controllers");
    if (request.dry_run) co_return outcome;
    JobRecord job;
    job.priority = static_cast<std::uint8_t>(request.priority);
    job.started = env_.clock.unix_seconds();
    const auto id = co_await tables.add_job(job, newest_job());
    if (!id && id.error().code == Errc::exists) {
        if (const JobRecord* other = tables.state().active(JobKind::scrub)) co_return running(*other);
    }
    if (!id) co_return std::unexpected(from(id.error(), "group " + tables.config().name));
    outcome.job = *id;
    co_return outcome;
}

AdminResult<Controller::JobRef> Controller::active_job(std::uint64_t id) const {
    const std::string what = "job " + std::to_string(id);
    std::shared_ptr<GroupRuntime> group;
    for (const auto& [uuid, other] : groups_) {
        if (other->state() != GroupRuntime::State::serving || id >= Jobs::kFirstOwn ||
            other->tables().state().job(static_cast<std::uint32_t>(id)) == nullptr)
            continue;
        if (group != nullptr) {
            return refuse(Errc::invalid,
                          "groups " + group->name() + " and " + other->name() + " both have a " + what,
                          "ask a controller that shares one of them: --api");
        }
        group = other;
    }
    if (group == nullptr) {
        const auto own = jobs_.own();
        if (std::ranges::find(own, id, &JobInfo::id) != own.end())
            return refuse(Errc::unsupported, what + " is a resync: it goes on until parity is right",
                          "braid job wait " + std::to_string(id));
        return refuse(Errc::not_found, "there is no " + what, "braid job list");
    }
    const JobRecord job = *group->tables().state().job(static_cast<std::uint32_t>(id));
    std::string text = what + " (" + std::string(to_string(job.kind)) + " of " + group->name() + ")";
    if (!job.active())
        return refuse(Errc::exists, text + " is " + std::string(to_string(job.state)) + " already",
                      "braid job list");
    return JobRef{std::move(group), job, std::move(text)};
}

Task<AdminResult<Outcome>> Controller::change_job(std::uint64_t id, JobChange change, bool dry_run) {
    const auto found = active_job(id);
    if (!found) co_return std::unexpected(found.error());
    Tables& tables = found->group->tables();
    const JobRecord& job = found->job;
    const std::string& text = found->text;
    const bool cancels = change == JobChange::cancel;
    if (cancels && !tables.may_cancel(job.kind)) {
        const std::string number = std::to_string(id);
        co_return refuse(
            Errc::invalid,
            text + (job.kind == JobKind::rebuild
                        ? " makes again what failed disks held, or have missed: until it has, the "
                          "group can lose fewer disks"
                        : " cannot be cancelled: stripes of both shapes would stay"),
            "braid job pause " + number + ", or braid job set " + number + " --priority 1");
    }
    struct Plan {
        JobState state;
        const char* text;
    };
    constexpr std::array<Plan, 3> plans{Plan{JobState::paused, "pauses "},
                                        Plan{JobState::running, "goes on with "},
                                        Plan{JobState::cancelled, "ends "}};
    const Plan plan = plans[static_cast<std::size_t>(change)];
    Outcome outcome;
    outcome.steps.push_back(plan.text + text + ", on all controllers");
    if (plan.state == job.state)
        outcome.steps = {text + " is " + std::string(to_string(job.state)) + " already"};
    if (cancels && job.kind == JobKind::rebuild)
        outcome.steps.push_back("disks that were to leave stay; what has moved by now stays where it is");
    if (dry_run) co_return outcome;
    const Status status = co_await tables.set_job(job.id, plan.state);
    if (!status) co_return std::unexpected(from(status.error(), text));
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::set_job(SetJob request) {
    const auto found = active_job(request.id);
    if (!found) co_return std::unexpected(found.error());
    if (request.priority < 1 || request.priority > kMaxPriority)
        co_return refuse(Errc::invalid,
                         found->text + ": priority " + std::to_string(request.priority) + " is none",
                         "1 to 9");
    Outcome outcome;
    outcome.steps.push_back("sets the priority of " + found->text + " from " +
                            std::to_string(found->job.priority) + " to " + std::to_string(request.priority) +
                            ", on all controllers");
    if (request.dry_run) co_return outcome;
    const Status status = co_await found->group->tables().set_job_priority(
        found->job.id, static_cast<std::uint8_t>(request.priority));
    if (!status) co_return std::unexpected(from(status.error(), found->text));
    co_return outcome;
}

namespace {

/// As operators look for it: in a virtual disk, if there is one.
std::string where(const Tables& tables, StripeIndex stripe) {
    const LogicalRange at = tables.geometry_of(stripe).range_of(stripe);
    std::string out = "byte " + std::to_string(at.offset) + " of the group";
    for (const VolumeRecord& volume : tables.volumes()) {
        const std::uint64_t begin = volume.first_extent.v * kExtentSize;
        if (at.offset >= begin && at.offset < begin + volume.extents * kExtentSize)
            out = volume.name + " byte " + std::to_string(at.offset - begin);
    }
    return out + ", of " + std::to_string(at.length) + " bytes";
}

}  // namespace

void Controller::add_job_conditions(const GroupRuntime& group, const AddCondition& add) const {
    const Tables& tables = group.tables();
    const GroupConfig& config = tables.config();
    const std::string name = config.name;
    std::vector<const JobRecord*> scrubs;
    for (const JobRecord& job : tables.state().jobs) {
        if (job.id != 0 && job.kind == JobKind::scrub) scrubs.push_back(&job);
        if (job.active() && job.state == JobState::paused) {
            add("JOB_PAUSED", Severity::info, name + " job " + std::to_string(job.id),
                "the " + std::string(to_string(job.kind)) + " waits for an operator",
                "braid job resume " + std::to_string(job.id));
        }
    }
    if (tables.reshape_waits()) {
        add("RESHAPE_WAITS", Severity::warning, name,
            std::to_string(tables.zones_to_reshape() * kExtentSize) +
                " bytes have stripes of another shape than is wanted, and the disks have no room to convert "
                "them: that needs a place for one extent of 64 MiB, beside what virtual disks may need",
            "replace the failed disks, braid group expand " + name +
                " --add DISK, or trim what is not needed");
    }
    const AmfReport all = group.together();
    if (const std::vector<StripeIndex>& stripes = all.unreadable_stripes; !stripes.empty()) {
        add("REBUILD_UNREADABLE", Severity::error, name,
            std::to_string(stripes.size()) +
                " zones keep what they have, also of disks that failed or leave: some of what they hold "
                "cannot be read; one stripe of it is at " +
                where(tables, std::ranges::min(stripes)),
            "restore that range from a backup, all of it at once, or trim it: it is tried again by itself");
    }
    if (const std::size_t unreadable = all.unreadable_extents; unreadable != 0) {
        add("RESHAPE_UNREADABLE", Severity::warning, name,
            std::to_string(unreadable) +
                " extents of 64 MiB keep the shape that they have: some of what they hold cannot be read",
            "restore what reads with errors from a backup, or trim it: it is tried again by itself");
    }
    // What the last one says that came to its end, and those after it.
    std::ranges::sort(scrubs, std::greater{}, [](const JobRecord* job) { return job->id; });
    bool incomplete = false;
    for (const JobRecord* job : scrubs) {
        const ScrubCounts& counts = job->counts;
        if (counts.incomplete != 0 && !std::exchange(incomplete, true)) {
            add("SCRUB_INCOMPLETE", Severity::warning, name,
                "job " + std::to_string(job->id) + " could not judge " + std::to_string(counts.incomplete) +
                    " stripes: data of members that are missing, or could not be read",
                "bring back or replace the missing disks (braid disk list), then: braid group scrub " + name);
        }
        if (counts.unattributed != 0) {
            add("SCRUB_FOUND", Severity::error, name,
                "the parity of " + std::to_string(counts.unattributed) +
                    " stripes does not fit their data, and nothing tells which is wrong; the first is at " +
                    where(tables, counts.first_unattributed),
                "compare the data there with a backup and write the whole range anew, then: braid group "
                "scrub " +
                    name);
            break;
        }
        if (job->state == JobState::done) break;
    }
    if (tables.state().schedule.overdue()) {
        add("SCRUB_OVERDUE", Severity::warning, name,
            "has been in service for " + std::to_string(tables.state().schedule.age / 3600) +
                " hours since its last whole scrub, twice as long as it should",
            "braid group scrub " + name + "; braid job list says what keeps one from its end");
    }
}

}  // namespace braid
