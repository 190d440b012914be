#include "controller/forwarder.h"

#include <algorithm>

#include "base/log.h"

namespace braid {

Forwarder::~Forwarder() {
    // Whoever still holds a port finds it closed.
    for (auto& [uuid, group] : groups_) {
        for (auto& [id, at] : group->exports) {
            if (!at->port->closing()) (void)registry_.remove(at->port->name());
        }
        links_.unsubscribe(uuid);
    }
}

void Forwarder::adopt(const View& view, ControllerId self) {
    view_ = view;
    self_ = self;
    for (auto& [uuid, group] : groups_) group->client.adopt(amf_view(view_, uuid, amf_id(self_)));
}

void Forwarder::take(const ForwardPorts& list, std::string_view name) {
    std::vector<ForwardPorts::Port> wanted;
    std::ranges::copy_if(list.ports, std::back_inserter(wanted),
                         [&](const ForwardPorts::Port& port) { return port.controller == name; });
    std::unique_ptr<Group>& group = groups_[list.group];
    if (group == nullptr) {
        if (wanted.empty()) {
            groups_.erase(list.group);
            return;
        }
        group = std::make_unique<Group>(*this, list.group);
        group->name = list.group_name;
        group->client.adopt(amf_view(view_, list.group, amf_id(self_)));
        links_.subscribe(list.group, group->client);
    }
    group->wanted = std::move(wanted);
    apply(list.group, *group);
}

/// Makes the ports what the last list says. One that still closes and is wanted again comes when it has
/// closed.
void Forwarder::apply(const Uuid& uuid, Group& group) {
    const auto open_in_list = [&](std::uint32_t id) {
        return std::ranges::any_of(group.wanted, [&](const ForwardPorts::Port& port) {
            return port.volume.v == id && !port.closing;
        });
    };
    std::vector<std::uint32_t> close;  // what has nothing under way is gone at once
    for (const auto& [id, at] : group.exports) {
        if (!at->port->closing() && (!open_in_list(id) || stopping_)) close.push_back(id);
    }
    for (const std::uint32_t id : close) {
        (void)registry_.remove(group.exports.at(id)->port->name());
        scope_.spawn(drain(uuid, VolumeId(id)));
    }
    for (const ForwardPorts::Port& port : group.wanted) {
        if (!port.closing && !stopping_ && !group.exports.contains(port.volume.v)) open(group, port);
    }
}

void Forwarder::open(Group& group, const ForwardPorts::Port& wanted) {
    auto made = std::make_unique<Export>(group.client, wanted.volume);
    made->port =
        std::make_shared<Port>(executor_, made->space,
                               VirtualDisk{wanted.name, "virtual disk of group " + group.name + ", elsewhere",
                                           wanted.size, ExtentIndex(0)});
    if (!registry_.add(made->port)) {
        LOG_ERROR("port.name_taken", {"group", group.name}, {"volume", wanted.name});
        return;
    }
    LOG_INFO("port.opened", {"group", group.name}, {"volume", wanted.name}, {"forwarded", true});
    group.exports.emplace(wanted.volume.v, std::move(made));
}

Task<void> Forwarder::drain(Uuid uuid, VolumeId volume) {
    Group& group = *groups_.at(uuid);
    const std::shared_ptr<Port> port = group.exports.at(volume.v)->port;
    co_await port->closed();
    LOG_INFO("port.closed", {"group", group.name}, {"volume", port->name()}, {"forwarded", true});
    group.exports.erase(volume.v);
    group.changed.notify_all();
    apply(uuid, group);
}

Task<void> Forwarder::closed(Uuid uuid, VolumeId volume) {
    const auto at = groups_.find(uuid);
    if (at == groups_.end()) co_return;
    Group& group = *at->second;
    while (group.exports.contains(volume.v)) co_await group.changed.next();
}

Task<void> Forwarder::stop() {
    stopping_ = true;
    for (auto& [uuid, group] : groups_) {
        group->client.close();
        apply(uuid, *group);
    }
    co_await scope_.join();
}

std::vector<Forwarder::PortReport> Forwarder::ports() const {
    std::vector<PortReport> out;
    for (const auto& [uuid, group] : groups_) {
        for (const auto& [id, at] : group->exports) {
            out.push_back({at->port->name(), group->name, at->port->size(), at->port->closing(),
                           at->port->in_flight(), group->client.first_choice()});
        }
    }
    return out;
}

std::vector<Forwarder::GroupReport> Forwarder::groups() const {
    std::vector<GroupReport> out;
    for (const auto& [uuid, group] : groups_)
        out.push_back({group->name, group->client.counters(), group->client.open()});
    return out;
}

}  // namespace braid
