#include "controller/outside_ports.h"

#include <utility>

#include "base/log.h"

namespace braid {

OutsidePorts::OutsidePorts(Amf& amf, Transport& links, Scope& scope, std::string group_name)
    : amf_(amf), links_(links), scope_(scope), group_name_(std::move(group_name)) {}

void OutsidePorts::adopt(const View& view) {
    epoch_ = view.epoch;
    all_.clear();
    for (const ViewMember& member : view.members) all_.insert(member.id);
    drained_.clear();
}

std::vector<ForwardPorts::Port> OutsidePorts::list() const {
    std::vector<ForwardPorts::Port> out;
    const GroupConfig& config = amf_.tables().config();
    for (const VolumeRecord& volume : amf_.tables().volumes()) {
        for (std::size_t place = 0; place < config.outside.size(); ++place) {
            const ControllerSlot slot = outside_slot(place);
            if (!volume.has_port(slot)) continue;
            out.push_back(
                {config.name_of(slot), slot, volume.id, volume.name, volume.size, volume.closes_port(slot)});
        }
    }
    return out;
}

void OutsidePorts::tell() {
    const Tables& tables = amf_.tables();
    if (!amf_.keeper() || !tables.settled() || tables.config().outside.empty()) return;
    std::vector<ForwardPorts::Port> present = list();
    if (told_in_ == epoch_ && told_ == present) return;
    told_in_ = epoch_;
    told_ = std::move(present);
    drained_.clear();
    const Message message = encode(ForwardPorts{++number_, tables.group(), group_name_, told_});
    for (const ControllerId id : all_) links_.send(amf_id(id), message);
}

void OutsidePorts::drained(ControllerId from, const ForwardDrained& drained) {
    const PortKey port(drained.volume, drained.slot);
    if (!amf_.keeper() || drained.number != number_ || !is_outside(drained.slot)) return;
    drained_[port].insert(from);
    if (may_go(port) && removing_.insert(port).second) scope_.spawn(remove(port));
}

bool OutsidePorts::may_go(PortKey port) const {
    const VolumeRecord* volume = amf_.tables().volume(port.first);
    const auto said = drained_.find(port);
    return said != drained_.end() && said->second == all_ && volume != nullptr &&
           volume->closes_port(port.second);
}

/// Waits for its turn over views if it must: then the answers to a newer list count, and that one's have been
/// heard here, too.
Task<void> OutsidePorts::remove(PortKey port) {
    for (std::uint64_t asked = 0; may_go(port) && std::exchange(asked, number_) != number_;) {
        const Status status = co_await amf_.tables().remove_port(port.first, port.second,
                                                                 [this, port] { return may_go(port); });
        if (status) break;
        LOG_INFO("port.not_removed", {"group", group_name_}, {"volume", port.first},
                 {"reason", to_string(status.error().code)});
    }
    removing_.erase(port);
}

}  // namespace braid
