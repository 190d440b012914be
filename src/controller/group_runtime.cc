#include "controller/group_runtime.h"

#include <algorithm>

#include "base/log.h"

namespace braid {
namespace {

/// A disk that the group does not know, or not any more, is not one of them.
OpenDisks by_member(FoundGroup& found, const std::vector<MemberRecord>& members) {
    OpenDisks disks(members.size());
    for (FoundMember& member : found.members) {
        const std::uint8_t place = member.superblock.member.v;
        if (place < members.size() && members[place].disk == member.superblock.disk)
            disks[place] = std::move(member.disk);
    }
    return disks;
}

JobProgress as_job(const ResyncProgress& p) { return {p.done_bytes, p.total_bytes, p.corrected, p.rotten}; }

ControllerSlot own_slot(const GroupConfig& config, std::string_view name) {
    const auto at = std::find(config.controllers.begin(), config.controllers.end(), name);
    ASSERT(at != config.controllers.end());
    return ControllerSlot(static_cast<std::uint8_t>(at - config.controllers.begin()));
}

}  // namespace

GroupRuntime::GroupRuntime(const Environment& env, const ControllerConfig& controller, Icl& links,
                           PortRegistry& registry, SideHosts& sides, Jobs& jobs, FoundGroup found,
                           const GroupConfig& config)
    : env_(env),
      registry_(registry),
      jobs_(jobs),
      uuid_(found.group),
      name_(found.name),
      slot_(own_slot(config, controller.name)),
      changed_(env.executor),
      scope_(env.executor) {
    AmfPlan plan{uuid_,
                 config,
                 found.members.front().superblock.table_start,
                 {},
                 slot_,
                 0,
                 AmfOptions{.intent_idle = controller.intent_idle,
                            .cache = controller.cache,
                            .lease = &links,
                            .checksums = controller.checksums,
                            .limping = controller.limping,
                            .dirty = controller.dirty,
                            .dirty_age = controller.dirty_age,
                            .passed = controller.passed,
                            .window = controller.window,
                            .copy_window = controller.copy_window,
                            .window_age = controller.window_age},
                 MoverOptions{.delay = controller.spare_delay},
                 PaceOptions{controller.host_p99, controller.background_min}};
    OpenDisks disks = by_member(found, config.members);
    for (const auto& disk : disks) plan.disks.push_back(disk ? disk->name() : std::string{});
    const auto changed = [this] { on_tables_changed(); };
    seats_.push_back(std::make_unique<AmfSeat>(env_, links, registry, plan, std::move(disks), changed));
    for (plan.index = 1; plan.index < config.sharing.amfs; ++plan.index) {
        seats_.push_back(std::make_unique<AmfSeat>(env_, links, sides.side(plan.index),
                                                   sides.host(plan.index), plan, changed));
    }
    outside_.emplace(amf(), links, scope_, name_);
    tables().on_settled([this] {
        if (state_ == State::serving) outside_->tell();
    });
}

GroupRuntime::~GroupRuntime() {
    // Whoever still holds a port finds it closed.
    for (auto& [id, open] : ports_) {
        if (!open.closing) (void)registry_.remove(open.name);
    }
}

std::vector<std::string> GroupRuntime::disk_names() const {
    std::vector<std::string> out;
    for (std::uint8_t i = 0; i < member_count(); ++i) {
        const Disk* present = disk(MemberIndex(i));
        const bool left = tables().loaded() && tables().state().members[i].state == MemberState::gone;
        if (present != nullptr && !left) out.push_back(present->name());
    }
    return out;
}

AmfReport GroupRuntime::together() const {
    AmfReport out;
    out.disks.resize(member_count());
    for (const auto& seat : seats_) {
        const AmfReport one = seat->report();
        AmfConditions& all = out.conditions;
        all.fenced |= one.conditions.fenced;
        all.offline |= one.conditions.offline;
        all.failed_members = std::max(all.failed_members, one.conditions.failed_members);
        all.missing_copies = std::max(all.missing_copies, one.conditions.missing_copies);
        // Of those, each knows all.
        all.quarantined_stripes = std::max(all.quarantined_stripes, one.conditions.quarantined_stripes);
        all.recovering_units += one.conditions.recovering_units;
        all.dirty_bytes += one.conditions.dirty_bytes;
        all.dirty_age = std::max(all.dirty_age, one.conditions.dirty_age);
        all.uncopied_bytes += one.conditions.uncopied_bytes;
        all.uncopied_age = std::max(all.uncopied_age, one.conditions.uncopied_age);
        all.copying_records += one.conditions.copying_records;
        all.copying_bytes += one.conditions.copying_bytes;
        if (one.conditions.copying_bytes != 0)
            all.copying_bytes_at_first += one.conditions.copying_bytes_at_first;
        all.nearest = std::max(all.nearest, one.conditions.nearest);
        if (all.partners.empty()) all.partners = one.conditions.partners;
        if (one.conditions.replay.under_way()) all.replay = one.conditions.replay;
        const auto& places = one.conditions.wrong_places;
        all.wrong_places.insert(all.wrong_places.end(), places.begin(), places.end());
        out.disks.resize(std::max(out.disks.size(), one.disks.size()));
        for (std::size_t i = 0; i < one.disks.size(); ++i) out.disks[i] += one.disks[i];
        out.latencies.resize(std::max({out.latencies.size(), out.disks.size(), one.latencies.size()}));
        for (std::size_t i = 0; i < one.latencies.size(); ++i) out.latencies[i] |= one.latencies[i];
        for (std::size_t i = 0; i < out.mismatches.size(); ++i)
            out.mismatches[i] += one.counters.mismatches[i];
        out.balance_waits |= one.balance_waits;
        if (one.rebuild_begins && (!out.rebuild_begins || *one.rebuild_begins < *out.rebuild_begins))
            out.rebuild_begins = one.rebuild_begins;
        out.dirty_regions += one.dirty_regions;
        out.unreadable_extents += one.unreadable_extents;
        const auto& stripes = one.unreadable_stripes;
        out.unreadable_stripes.insert(out.unreadable_stripes.end(), stripes.begin(), stripes.end());
        out.window_waits += one.counters.window_waits;
        for (const auto& [port, inside] : one.in_flight) out.in_flight[port] += inside;
    }
    auto& places = out.conditions.wrong_places;
    std::ranges::sort(places, {}, &WrongPlace::at);
    if (places.size() > kWrongPlaces) places.erase(places.begin(), places.end() - kWrongPlaces);
    return out;
}

void GroupRuntime::adopt(const View& all, ControllerId self) {
    const AmfView view = amf_view(all, uuid_, amf_id(self));
    std::vector<ForwardCaller> callers;
    live_.clear();
    for (const ViewMember& member : all.members) {
        callers.push_back({member.id, member.incarnation, member.name});
        if (member.attached(uuid_)) live_.insert(member.name);
    }
    for (const AmfMember& before : amf().view().members) resync_due_ |= !view.contains(before);
    outside_->adopt(all);
    for (const auto& seat : seats_) seat->adopt(view, callers);
    resync_if_due();
    changed_.notify_all();
}

Task<Status> GroupRuntime::start() {
    state_ = State::loading;
    Status status;
    std::size_t loaded = 0;
    while (status && loaded < seats_.size()) {
        status = co_await seats_[loaded]->ask([](AmfRuntime& one) { return one.load(); });
        loaded += status ? 1 : 0;
    }
    for (std::size_t i = 0; status && i < seats_.size(); ++i)
        status = co_await seats_[i]->ask([](AmfRuntime& one) { return one.start(); });
    if (!status) {
        LOG_ERROR("group.not_assembled", {"group", name_}, {"amfs", loaded},
                  {"reason", to_string(status.error().code)});
        co_await stop_amfs(loaded);
        state_ = State::refused;
        changed_.notify_all();
        co_return status;
    }
    state_ = State::serving;
    LOG_INFO("group.serving", {"group", name_}, {"amfs", amfs()},
             {"failed_members", tables().failed_members()});
    on_tables_changed();
    for (unsigned index = 0; index < amfs(); ++index) scope_.spawn(resync_own(index));
    resync_if_due();
    co_return Status{};
}

Task<void> GroupRuntime::served() {
    while (state_ == State::serving && !tables().offline()) co_await changed_.next();
}

/// In the order that lets none of them wait for one that has ended.
Task<void> GroupRuntime::stop_amfs(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        (void)co_await seats_[i]->ask([](AmfRuntime& one) { return one.finish(); });
    for (std::size_t i = 0; i < count; ++i)
        (void)co_await seats_[i]->ask([](AmfRuntime& one) { return one.end(); });
}

Task<void> GroupRuntime::stop() {
    while (state_ == State::loading || state_ == State::stopping) co_await changed_.next();
    if (state_ == State::refused) co_return;
    state_ = State::stopping;
    changed_.notify_all();
    if (resync_ != nullptr) resync_->cancel();
    for (auto& [id, open] : ports_) open.closing = true;
    for (const auto& seat : seats_) {
        seat->tell([](AmfRuntime& one) {
            one.cancel_resync();
            one.close_ports();
        });
    }
    for (const auto& seat : seats_)
        (void)co_await seat->ask([](AmfRuntime& one) { return one.ports_closed(); });
    co_await scope_.join();
    ports_.clear();
    co_await stop_amfs(seats_.size());
    state_ = State::refused;
    changed_.notify_all();
}

/// Runs inside the delivery of the change, so a port is open before the change counts as agreed.
void GroupRuntime::on_tables_changed() {
    leave_with_the_others();
    if (state_ == State::serving) {
        open_ports();
        outside_->tell();
        jobs_.look_at(tables());
    }
    changed_.notify_all();
}

Task<void> GroupRuntime::forwarded_drained(std::string controller, VolumeId volume) {
    for (const auto& seat : seats_) {
        (void)co_await seat->ask(
            [controller, volume](AmfRuntime& one) { return one.forwarded_drained(controller, volume); });
    }
}

/// An AMF that cannot reach its disks any more keeps what it has; the others here would wait for it.
void GroupRuntime::leave_with_the_others() {
    const auto offline = [](const auto& seat) { return seat->offline(); };
    if (left_ || std::ranges::none_of(seats_, offline)) return;
    left_ = true;
    for (const auto& seat : seats_) seat->tell([](AmfRuntime& one) { one.amf().tables().go_offline(); });
}

void GroupRuntime::open_ports() {
    for (const VolumeRecord& record : tables().volumes()) {
        const bool wanted = record.has_port(slot_);
        const bool closing = record.closes_port(slot_);
        const auto present = ports_.find(record.id.v);
        if (wanted && !closing && present == ports_.end()) {
            open_port(record);
        } else if (closing && (present == ports_.end() || !present->second.closing)) {
            ports_[record.id.v] = {record.name, true};
            for (const auto& seat : seats_)
                seat->tell([id = record.id](AmfRuntime& one) { one.close_port(id); });
            scope_.spawn(drain_port(record.id));
        }
    }
}

/// The first side here and now; connections find the others through it.
void GroupRuntime::open_port(const VolumeRecord& record) {
    const VirtualDisk disk{record.name, "virtual disk of group " + name_, record.size, record.first_extent};
    const Status added = seats_.front()->runtime().open_port(record.id, disk, amfs());
    if (!added) {
        LOG_ERROR("port.name_taken", {"group", name_}, {"volume", record.name});
        return;
    }
    for (unsigned i = 1; i < amfs(); ++i) {
        seats_[i]->tell([id = record.id, disk](AmfRuntime& one) { (void)one.open_port(id, disk, 1); });
    }
    LOG_INFO("port.opened", {"group", name_}, {"volume", record.name});
    ports_.emplace(record.id.v, OpenPort{record.name, false});
}

Task<void> GroupRuntime::drain_port(VolumeId id) {
    for (const auto& seat : seats_)
        (void)co_await seat->ask([id](AmfRuntime& one) { return one.port_closed(id); });
    LOG_INFO("port.closed", {"group", name_}, {"volume", ports_.at(id.v).name});
    const Status status = co_await tables().remove_port(id, slot_);
    if (!status && status.error().code != Errc::not_found) {
        LOG_WARN("port.not_removed", {"group", name_}, {"reason", to_string(status.error().code)});
    }
    ports_.erase(id.v);
    changed_.notify_all();
}

// ---- what earlier lives left open

bool GroupRuntime::slot_is_live(AmfSlot slot) const {
    return live_.contains(tables().config().controllers[controller_of(slot, amfs()).v]);
}

void GroupRuntime::resync_ended(std::uint64_t number, const ResyncProgress& progress, const Status& status) {
    std::string detail = status ? std::string{} : std::string(to_string(status.error().code));
    if (progress.incomplete != 0)
        detail += (detail.empty() ? "" : "; ") + incomplete_text(progress.incomplete);
    if (progress.rotten != 0) {
        detail += (detail.empty() ? "" : "; ") + std::to_string(progress.rotten) +
                  " stripes had blocks that were not what had been written: repaired";
    }
    LOG_INFO("job.ended", {"group", name_}, {"job", number}, {"checked", progress.checked},
             {"corrected", progress.corrected}, {"repaired", progress.rotten},
             {"incomplete", progress.incomplete});
    const bool cancelled = !status && status.error().code == Errc::cancelled;
    jobs_.finish(number,
                 status      ? JobState::done
                 : cancelled ? JobState::cancelled
                             : JobState::failed,
                 std::move(detail));
    changed_.notify_all();
}

/// Of an AMF's earlier life; a region stays in its intent page until its parity is right.
Task<void> GroupRuntime::resync_own(unsigned index) {
    const AmfSeat& seat = *seats_[index];
    if (!seat.report().resync) co_return;
    const auto progress = [&seat] { return seat.report().resync.value_or(ResyncProgress{}); };
    const std::uint64_t number = jobs_.add("resync", name_, [progress] { return as_job(progress()); });
    const Status status = co_await seats_[index]->ask([](AmfRuntime& one) { return one.resync_own(); });
    resync_ended(number, progress(), status);
}

void GroupRuntime::resync_if_due() {
    if (state_ == State::serving && amf().keeper() && resync_due_ && !resync_runs_) {
        scope_.spawn(resync_of_the_dead());
    }
}

/// What controllers that are not here may have left half-written. Most of it the records of their partners
/// have finished; but those may have died with them, and a controller may die while it pays for an earlier
/// life of its own. Whoever keeps the group looks at all of it after every loss, and nobody has to know what
/// was lost when.
Task<void> GroupRuntime::resync_of_the_dead() {
    resync_runs_ = true;
    while (state_ == State::serving && amf().keeper() && resync_due_) {  // more may die meanwhile
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
    const auto& controllers = tables().config().controllers;
    for (std::uint8_t i = 0; i < controllers.size() * amfs(); ++i) {
        const AmfSlot slot(i);
        if (controllers[controller_of(slot, amfs()).v].empty() || slot_is_live(slot)) continue;
        const auto left = co_await tables().intents_of(slot);
        if (state_ != State::serving) co_return false;
        if (!left) {
            LOG_ERROR("resync.intents_unreadable", {"group", name_}, {"slot", i},
                      {"reason", to_string(left.error().code)});
            co_return false;
        }
        if (left->regions.empty()) continue;
        const auto job = resync_ = std::make_shared<Resync>(amf());
        const std::uint64_t number = jobs_.add("resync", name_, [job] { return as_job(job->progress()); });
        const Status status = co_await job->of(slot, [this, slot] { return !slot_is_live(slot); });
        resync_ended(number, job->progress(), status);
        resync_.reset();
        if (!status && !slot_is_live(slot)) co_return false;  // who has come back pays himself
    }
    co_return true;
}

}  // namespace braid
