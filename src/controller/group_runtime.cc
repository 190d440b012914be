#include "controller/group_runtime.h"

#include <algorithm>

#include "base/log.h"

namespace braid {
namespace {

std::vector<std::unique_ptr<Disk>> by_member(FoundGroup& found, std::size_t members) {
    std::vector<std::unique_ptr<Disk>> disks(members);
    for (FoundMember& member : found.members) {
        if (member.superblock.member.v < members) disks[member.superblock.member.v] = std::move(member.disk);
    }
    return disks;
}

std::vector<Disk*> raw(const std::vector<std::unique_ptr<Disk>>& disks) {
    std::vector<Disk*> out;
    for (const auto& disk : disks) out.push_back(disk.get());
    return out;
}

ControllerSlot own_slot(const GroupConfig& config, std::string_view name) {
    const auto at = std::find(config.controllers.begin(), config.controllers.end(), name);
    ASSERT(at != config.controllers.end());
    return ControllerSlot(static_cast<std::uint8_t>(at - config.controllers.begin()));
}

}  // namespace

GroupRuntime::GroupRuntime(const Environment& env, const ControllerConfig& controller, Transport& transport,
                           const Lease& lease, PortRegistry& registry, Jobs& jobs, FoundGroup found,
                           const GroupConfig& config)
    : env_(env),
      registry_(registry),
      jobs_(jobs),
      uuid_(found.group),
      name_(found.name),
      slot_(own_slot(config, controller.name)),
      disks_(by_member(found, config.members.size())),
      amf_(env.executor, env.clock, transport, found.group, config,
           found.members.front().superblock.table_start, raw(disks_), slot_,
           AmfOptions{.intent_idle = controller.intent_idle, .cache = controller.cache, .lease = &lease}),
      changed_(env.executor),
      scope_(env.executor) {
    tables().on_change([this] { on_tables_changed(); });
}

GroupRuntime::~GroupRuntime() {
    // Whoever still holds a port finds it closed.
    for (auto& [id, open] : ports_) {
        if (!open.closing) (void)registry_.remove(open.port->name());
    }
}

std::vector<std::string> GroupRuntime::disk_names() const {
    std::vector<std::string> out;
    for (const auto& disk : disks_) {
        if (disk != nullptr) out.push_back(disk->name());
    }
    return out;
}

Result<ControllerSlot> GroupRuntime::slot_of(std::string_view controller_name) const {
    const auto& names = tables().config().controllers;
    for (std::uint8_t slot = 0; slot < names.size(); ++slot) {
        if (!names[slot].empty() && names[slot] == controller_name) return ControllerSlot(slot);
    }
    return fail(Errc::not_found);
}

void GroupRuntime::adopt(const AmfView& view, std::set<std::string> live) {
    live_ = std::move(live);
    for (const AmfMember& before : amf_.view().members) resync_due_ |= !view.contains(before);
    amf_.adopt(view);
    resync_if_due();
    changed_.notify_all();
}

Task<Status> GroupRuntime::start() {
    state_ = State::loading;
    const Status status = co_await amf_.start();
    if (!status) {
        LOG_ERROR("group.not_assembled", {"group", name_}, {"reason", to_string(status.error().code)});
        state_ = State::refused;
        changed_.notify_all();
        co_return status;
    }
    state_ = State::serving;
    LOG_INFO("group.serving", {"group", name_}, {"failed_members", tables().failed_members()});
    on_tables_changed();
    scope_.spawn(resync_own());
    resync_if_due();
    co_return Status{};
}

Task<void> GroupRuntime::served() {
    while (state_ == State::serving && !tables().offline()) co_await changed_.next();
}

Task<void> GroupRuntime::stop() {
    while (state_ == State::loading || state_ == State::stopping) co_await changed_.next();
    if (state_ == State::refused) co_return;
    state_ = State::stopping;
    changed_.notify_all();
    for (const auto& job : running_) job->cancel();
    for (auto& [id, open] : ports_) {
        if (!open.closing) (void)registry_.remove(open.port->name());
        open.closing = true;
    }
    std::vector<std::shared_ptr<Port>> draining;
    for (const auto& [id, open] : ports_) {
        if (open.port != nullptr) draining.push_back(open.port);
    }
    for (const auto& port : draining) co_await port->closed();
    co_await scope_.join();
    ports_.clear();
    co_await amf_.stop();
    state_ = State::refused;
    changed_.notify_all();
}

/// Runs inside the delivery of the change, so a port is open before the change counts as agreed.
void GroupRuntime::on_tables_changed() {
    if (state_ == State::serving) open_ports();
    changed_.notify_all();
}

void GroupRuntime::open_ports() {
    const auto bit = static_cast<std::uint16_t>(1u << slot_.v);
    for (const VolumeRecord& record : tables().volumes()) {
        const bool wanted = (record.ports & bit) != 0;
        const bool closing = (record.closing & bit) != 0;
        const auto present = ports_.find(record.id.v);
        if (wanted && !closing && present == ports_.end()) {
            auto port = std::make_shared<Port>(
                env_.executor, amf_,
                VirtualDisk{record.name, "virtual disk of group " + name_, record.size, record.first_extent});
            const Status added = registry_.add(port);
            if (!added) {
                LOG_ERROR("port.name_taken", {"group", name_}, {"volume", record.name});
                continue;
            }
            LOG_INFO("port.opened", {"group", name_}, {"volume", record.name});
            ports_.emplace(record.id.v, OpenPort{std::move(port), false});
        } else if (closing && (present == ports_.end() || !present->second.closing)) {
            if (present != ports_.end()) {
                present->second.closing = true;
                (void)registry_.remove(present->second.port->name());
            } else {
                ports_.emplace(record.id.v, OpenPort{nullptr, true});
            }
            scope_.spawn(drain_port(record.id));
        }
    }
}

Task<void> GroupRuntime::drain_port(VolumeId id) {
    if (const std::shared_ptr<Port> port = ports_.at(id.v).port) {
        co_await port->closed();
        LOG_INFO("port.closed", {"group", name_}, {"volume", port->name()});
    }
    const Status status = co_await tables().remove_port(id, slot_);
    if (!status && status.error().code != Errc::not_found) {
        LOG_WARN("port.not_removed", {"group", name_}, {"reason", to_string(status.error().code)});
    }
    ports_.erase(id.v);
    changed_.notify_all();
}

// ---- what earlier lives left open

bool GroupRuntime::slot_is_live(ControllerSlot slot) const {
    return live_.contains(tables().config().controllers[slot.v]);
}

std::uint64_t GroupRuntime::list_job(std::string kind, std::shared_ptr<ParityJob> job) {
    running_.push_back(job);
    return jobs_.add(std::move(kind), name_, [job = std::move(job)] {
        const ParityProgress& p = job->progress();
        return JobProgress{p.done_bytes, p.total_bytes, p.mismatches};
    });
}

void GroupRuntime::job_ended(std::uint64_t number, const ParityJob& job, const Status& status) {
    const ParityProgress& progress = job.progress();
    std::string detail = status ? std::string{} : std::string(to_string(status.error().code));
    if (progress.incomplete != 0) {
        detail += (detail.empty() ? "" : "; ") + std::to_string(progress.incomplete) +
                  " stripes lack data of missing members and cannot be judged";
    }
    LOG_INFO("job.ended", {"group", name_}, {"job", number}, {"checked", progress.checked},
             {"mismatches", progress.mismatches}, {"incomplete", progress.incomplete});
    const bool cancelled = !status && status.error().code == Errc::cancelled;
    jobs_.finish(number,
                 status      ? JobState::done
                 : cancelled ? JobState::cancelled
                             : JobState::failed,
                 std::move(detail));
    std::erase_if(running_, [&](const std::shared_ptr<ParityJob>& other) { return other.get() == &job; });
    changed_.notify_all();
}

std::uint64_t GroupRuntime::begin_verify() {
    const auto job = std::make_shared<ParityJob>(amf_);
    const std::uint64_t number = list_job("verify", job);
    scope_.spawn(verify(number, job));
    return number;
}

Task<void> GroupRuntime::verify(std::uint64_t number, std::shared_ptr<ParityJob> job) {
    const Status status = co_await job->scrub();
    job_ended(number, *job, status);
}

/// Of this controller's earlier life; a region stays in the intent page until its parity is right.
Task<void> GroupRuntime::resync_own() {
    if (tables().former_intents().empty()) co_return;
    const auto job = std::make_shared<ParityJob>(amf_);
    const std::uint64_t number = list_job("resync", job);
    job_ended(number, *job, co_await job->resync_own());
}

void GroupRuntime::resync_if_due() {
    if (state_ == State::serving && amf_.keeper() && resync_due_ && !resync_runs_) {
        scope_.spawn(resync_of_the_dead());
    }
}

/// What controllers that are not here may have left half-written. Most of it the records of their partners
/// have finished; but those may have died with them, and a controller may die while it pays for an earlier
/// life of its own. Whoever keeps the group looks at all of it after every loss, and nobody has to know what
/// was lost when.
Task<void> GroupRuntime::resync_of_the_dead() {
    resync_runs_ = true;
    while (state_ == State::serving && amf_.keeper() && resync_due_) {  // more may die meanwhile
        resync_due_ = false;
        co_await tables().settle_pages();
        if (!co_await resync_absent_slots()) {
            resync_due_ = true;  // for the next view, and whoever keeps the group in it
            break;
        }
    }
    resync_runs_ = false;
}

/// False if it did not come to the end.
Task<bool> GroupRuntime::resync_absent_slots() {
    for (std::uint8_t i = 0; i < tables().config().controllers.size(); ++i) {
        const ControllerSlot slot(i);
        if (tables().config().controllers[i].empty() || slot_is_live(slot)) continue;
        const auto left = co_await tables().intents_of(slot);
        if (state_ != State::serving) co_return false;
        if (!left) {
            LOG_ERROR("resync.intents_unreadable", {"group", name_}, {"slot", i},
                      {"reason", to_string(left.error().code)});
            co_return false;
        }
        if (left->regions.empty()) continue;
        const auto job = std::make_shared<ParityJob>(amf_);
        const std::uint64_t number = list_job("resync", job);
        const Status status = co_await job->resync_of(slot, [this, slot] { return !slot_is_live(slot); });
        job_ended(number, *job, status);
        if (!status && !slot_is_live(slot)) co_return false;  // who has come back pays himself
    }
    co_return true;
}

}  // namespace braid
