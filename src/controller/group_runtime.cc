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
      controller_(controller),
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

void GroupRuntime::adopt(const AmfView& view) {
    amf_.adopt(view);
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
    co_return Status{};
}

Task<void> GroupRuntime::stop() {
    state_ = State::stopping;
    for (auto& [id, open] : ports_) {
        if (!open.closing) (void)registry_.remove(open.port->name());
        open.closing = true;
    }
    for (auto& [id, open] : ports_) {
        const std::shared_ptr<Port> port = open.port;
        co_await port->closed();
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

}  // namespace braid
