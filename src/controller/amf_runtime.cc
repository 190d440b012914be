#include "controller/amf_runtime.h"

#include <algorithm>

#include "base/assert.h"
#include "base/log.h"
#include "jobs/pace_frames.h"
#include "tables/assembly.h"

namespace braid {
namespace {

std::vector<Disk*> raw(const OpenDisks& disks) {
    std::vector<Disk*> out;
    for (const auto& disk : disks) out.push_back(disk.get());
    return out;
}

}  // namespace

AmfRuntime::AmfRuntime(Executor& executor, Clock& clock, DiskShelf& shelf, PortRegistry& registry,
                       AmfPlan plan, OpenDisks disks, AmfVoice voice)
    : executor_(executor),
      registry_(registry),
      index_(plan.index),
      shelf_(shelf),
      group_(plan.group),
      disks_(std::move(disks)),
      voice_(std::move(voice)),
      amf_(executor, clock, *this, plan.group, plan.config, plan.table_start, raw(disks_),
           amf_slot(plan.controller, plan.config.sharing.amfs, plan.index), plan.options),
      pace_(plan.pace),
      hosts_(amf_, clock, pace_, [this](HostLatency latency) { tell(latency); }),
      forward_(executor, hosts_, *this, plan.group,
               [this](std::string_view controller, VolumeId volume) {
                   return find_forwarded(controller, volume);
               }),
      mover_(amf_, clock, pace_, plan.moves, [this] { voice_.changed(*this); }),
      reshaper_(amf_, clock, pace_, ReshaperOptions{}),
      scrub_(amf_, clock, pace_, ScrubOptions{}),
      clock_(clock),
      scope_(executor) {
    amf_.on_member([this](MemberIndex member, Uuid id) { return open_disk(member, id); });
    amf_.on_tables_change([this] { voice_.changed(*this); });
    if (voice_.repeat != Nanos{0}) scope_.spawn(repeat(clock));
}

AmfRuntime::~AmfRuntime() {
    for (const auto& [id, port] : ports_) ASSERT(port->in_flight() == 0);
}

Task<void> AmfRuntime::repeat(Clock& clock) {
    while (true) {
        co_await sleep_for(clock, voice_.repeat);
        voice_.changed(*this);
    }
}

/// A disk of before stays open: a command to it may be under way.
Task<Disk*> AmfRuntime::open_disk(MemberIndex member, Uuid id) {
    std::unique_ptr<Disk> disk = co_await open_member(executor_, shelf_, group_, id);
    disks_.resize(std::max(disks_.size(), member.v + std::size_t{1}));
    left_.push_back(std::exchange(disks_[member.v], std::move(disk)));
    co_return disks_[member.v].get();
}

AmfReport AmfRuntime::report() const {
    AmfReport out;
    out.loaded = amf_.tables().loaded();
    out.conditions = amf_.conditions();
    out.counters = amf_.counters();
    const LockManager& locks = amf_.locks();
    out.locks = locks.counters();
    out.cache = amf_.cache().counters();
    out.cache_bytes = amf_.cache().size();
    out.cache_capacity = amf_.cache().capacity();
    out.held_units = locks.held();
    out.units_in_use = locks.in_use();
    out.dirty_regions = amf_.tables().dirty_regions();
    for (const auto& disk : disks_) out.disks.push_back(disk ? disk->counters() : DiskCounters{});
    out.latencies = amf_.limping().report();
    for (const auto& [id, port] : ports_) out.in_flight[port->name()] = port->in_flight();
    out.forwarded = forward_.counters();
    out.balance_waits = mover_.balance_waits();
    out.rebuild_begins = mover_.begins();
    out.moved_bytes = mover_.moved();
    out.pace = pace_.report(clock_.now());
    out.unreadable_extents = reshaper_.unreadable();
    out.unreadable_stripes = mover_.unreadable();
    if (resync_ != nullptr) {
        out.resync = resync_->progress();
    } else if (out.loaded && !amf_.tables().former_intents().empty()) {
        out.resync.emplace();
    }
    return out;
}

std::vector<HotReport> AmfRuntime::hot_units() const {
    std::vector<HotReport> out;
    for (HotUnit& hot : amf_.locks().hottest(HotUnits::kSlots)) {
        HotReport one{std::move(hot), amf_.locks().standing(hot.unit), {}};
        if (one.unit.unit != kTablesUnit) one.range = amf_.bytes_of(one.unit.unit);
        out.push_back(std::move(one));
    }
    return out;
}

Task<Status> AmfRuntime::load() { co_return co_await amf_.load(); }

/// Whoever waits for it knows its report, too.
Task<Status> AmfRuntime::start() {
    const Status status = co_await amf_.start();
    if (status) {
        scope_.spawn(mover_.run());
        scope_.spawn(reshaper_.run());
        scope_.spawn(scrub_.run());
    }
    voice_.changed(*this);
    co_return status;
}

Task<Status> AmfRuntime::finish() {
    mover_.end();
    reshaper_.end();
    scrub_.end();
    while (mover_.busy() || reshaper_.busy() || scrub_.busy()) co_await sleep_for(clock_, 1ms);
    co_await amf_.finish();
    co_return Status{};
}

Task<Status> AmfRuntime::end() {
    co_await amf_.end();
    co_return Status{};
}

void AmfRuntime::adopt(AmfView view, std::vector<ForwardCaller> callers) {
    view.self = amf_id(controller_of(view.self), index_);
    epoch_ = view.epoch;
    std::vector<ControllerStart> alive;
    for (const ForwardCaller& caller : callers) alive.emplace_back(caller.id, caller.incarnation);
    amf_.keep_errands(alive);
    amf_.adopt(view);
    forward_.adopt(std::move(callers));
}

void AmfRuntime::deliver(AmfId from, Message message) {
    if (message.type >= MessageType::forward_ports) {
        forward_.deliver(from, message);
    } else if (message.type == MessageType::host_latency) {
        const auto latency = decode_host_latency(message);
        if (latency && pace_.on() && amf_.view().contains(from)) pace_.heard(clock_.now(), from, *latency);
    } else {
        amf_.deliver(from, std::move(message));
    }
}

void AmfRuntime::send(AmfId to, Message message) {
    message.from_index = static_cast<std::uint8_t>(index_);
    voice_.send(epoch_, to, std::move(message));
}

/// Those that may be at work for a job.
void AmfRuntime::tell(HostLatency latency) {
    if (std::ranges::none_of(amf_.tables().state().jobs, &JobRecord::active)) return;
    for (const AmfMember& other : amf_.view().members) {
        if (other.id != amf_.view().self) send(other.id, encode(group_, latency));
    }
}

// ---- ports

Status AmfRuntime::open_port(VolumeId id, VirtualDisk disk, unsigned sides) {
    auto port = std::make_shared<Port>(executor_, hosts_, std::move(disk));
    TRY(registry_.add(port, sides));
    ports_.emplace(id.v, std::move(port));
    return {};
}

void AmfRuntime::close_port(VolumeId id) {
    const auto at = ports_.find(id.v);
    if (at != ports_.end() && !at->second->closing()) (void)registry_.remove(at->second->name());
}

Task<Status> AmfRuntime::port_closed(VolumeId id) {
    const auto at = ports_.find(id.v);
    if (at == ports_.end()) co_return Status{};
    const std::shared_ptr<Port> port = at->second;
    co_await port->closed();
    ports_.erase(id.v);
    co_return Status{};
}

void AmfRuntime::close_ports() {
    forward_.close();
    for (const auto& [id, port] : ports_) close_port(VolumeId(id));
}

Task<Status> AmfRuntime::ports_closed() {
    while (!ports_.empty()) co_await port_closed(VolumeId(ports_.begin()->first));
    co_return co_await forward_.idle();
}

/// The tables say who has a port; no other AMF of this controller need have opened it.
Result<ForwardServer::Place> AmfRuntime::find_forwarded(std::string_view controller, VolumeId volume) const {
    const Tables& tables = amf_.tables();
    if (!amf_.ready()) return fail(Errc::not_ready);
    const auto slot = tables.config().slot_of(controller);
    const VolumeRecord* record = tables.volume(volume);
    if (!slot || record == nullptr || !record->has_port(*slot)) return fail(Errc::not_ready);
    return ForwardServer::Place{record->first_extent.v * kExtentSize, record->size};
}

Task<Status> AmfRuntime::forwarded_drained(std::string controller, VolumeId volume) {
    co_return co_await forward_.drained(std::move(controller), volume);
}

std::shared_ptr<Port> AmfRuntime::port(std::string_view name) const {
    for (const auto& [id, port] : ports_) {
        if (port->name() == name && !port->closing()) return port;
    }
    return nullptr;
}

// ---- what an earlier life left open

Task<Status> AmfRuntime::resync_own() {
    resync_ = std::make_unique<Resync>(amf_);
    const Status status = co_await resync_->own();
    voice_.changed(*this);
    co_return status;
}

void AmfRuntime::cancel_resync() {
    if (resync_ != nullptr) resync_->cancel();
}

}  // namespace braid
