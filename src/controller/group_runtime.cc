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
                           PortRegistry& registry, Jobs& jobs, FoundGroup found, const GroupConfig& config)
    : env_(env),
      registry_(registry),
      jobs_(jobs),
      uuid_(found.group),
      name_(found.name),
      slot_(own_slot(config, controller.name)),
      disks_(by_member(found, config.members.size())),
      amf_(env.executor, env.clock, transport, found.group, config,
           found.members.front().superblock.table_start, raw(disks_), slot_,
           AmfOptions{.intent_idle = controller.intent_idle}),
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
    amf_.adopt(view);
    if (state_ == State::serving && amf_.keeper() && !amf_.unaccounted().empty()) scope_.spawn(resync_of_the_dead());
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
    if (state_ == State::stopping) co_return fail(Errc::cancelled);
    state_ = State::serving;
    LOG_INFO("group.serving", {"group", name_}, {"failed_members", tables().failed_members()});
    on_tables_changed();
    scope_.spawn(resync_own());
    const bool left_by_all = tables().assembled_from_disks();
    if (left_by_all || (amf_.keeper() && !amf_.unaccounted().empty())) scope_.spawn(resync_of_the_dead());
    co_return Status{};
}

Task<void> GroupRuntime::stop() {
    state_ = State::stopping;
    scope_.destroy_all();  // sweeps and drains: what they had begun, the AMF ends in order
    for (auto& [id, open] : ports_) {
        if (!open.closing) (void)registry_.remove(open.port->name());
        open.closing = true;
    }
    for (auto& [id, open] : ports_) {
        const std::shared_ptr<Port> port = open.port;
        if (port != nullptr) co_await port->closed();
    }
    ports_.clear();
    co_await amf_.stop();
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

std::uint64_t GroupRuntime::add_job(std::string kind, std::shared_ptr<Sweep> sweep) {
    return jobs_.add(std::move(kind), name_, [sweep = std::move(sweep)] {
        const SweepProgress& p = sweep->progress();
        return JobProgress{p.done_bytes, p.total_bytes, p.mismatches};
    });
}

Task<void> GroupRuntime::run_sweep(std::uint64_t job, std::shared_ptr<Sweep> sweep) {
    const Status status = co_await sweep->run();
    const SweepProgress& progress = sweep->progress();
    std::string detail = status ? std::string{} : std::string(to_string(status.error().code));
    if (progress.incomplete != 0) {
        detail += (detail.empty() ? "" : "; ") + std::to_string(progress.incomplete) +
                  " stripes lack data of missing members and cannot be judged";
    }
    for (const StripeIndex stripe : progress.first_mismatches) detail += " stripe " + std::to_string(stripe.v);
    LOG_INFO("job.ended", {"group", name_}, {"job", job}, {"mismatches", progress.mismatches},
             {"corrected", progress.corrected}, {"incomplete", progress.incomplete});
    jobs_.finish(job, status ? JobState::done : JobState::failed, std::move(detail));
    changed_.notify_all();
}

std::uint64_t GroupRuntime::begin_verify() {
    const auto sweep = std::make_shared<Sweep>(amf_, Sweep::Mode::verify);
    const std::uint64_t job = add_job("verify", sweep);
    scope_.spawn(run_sweep(job, sweep));
    return job;
}

Task<void> GroupRuntime::resync(std::vector<RegionIndex> regions) {
    const auto sweep = std::make_shared<Sweep>(amf_, Sweep::Mode::resync, std::move(regions));
    co_await run_sweep(add_job("resync", sweep), sweep);
}

/// The regions of this slot's former life stay in the intent page until their parity is right again.
Task<void> GroupRuntime::resync_own() {
    const std::vector<RegionIndex> regions = tables().former_intents();
    if (regions.empty()) co_return;
    for (const RegionIndex region : regions) tables().pin_intent(region);
    co_await resync(regions);
    for (const RegionIndex region : regions) tables().unpin_intent(region);
}

/// Of controllers that are not here and whose open writes nobody may know: all died, or all that kept copies.
Task<void> GroupRuntime::resync_of_the_dead() {
    if (resync_of_dead_runs_) co_return;
    resync_of_dead_runs_ = true;
    const std::vector<AmfMember> dead = amf_.unaccounted();
    const std::size_t slots = tables().config().controllers.size();
    for (std::uint8_t i = 0; i < slots; ++i) {
        const ControllerSlot slot(i);
        if (tables().config().controllers[i].empty() || slot_is_live(slot)) continue;
        const auto regions = co_await tables().intents_of(slot);
        if (!regions || regions->empty()) continue;
        co_await resync(*regions);
        (void)co_await tables().clear_intents_of(slot, [this, slot] { return !slot_is_live(slot); });
    }
    for (const AmfMember& amf : dead) amf_.accounted(amf);
    resync_of_dead_runs_ = false;
}

}  // namespace braid
