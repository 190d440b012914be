#include "volume/port_registry.h"

#include <utility>

namespace braid {

Status PortRegistry::add(std::shared_ptr<Port> port, unsigned sides) {
    if (port->name().empty()) return fail(Errc::invalid);
    const std::string name = port->name();
    if (!ports_.emplace(name, Entry{std::move(port), sides}).second) return fail(Errc::exists);
    return {};
}

Result<std::shared_ptr<Port>> PortRegistry::remove(std::string_view name) {
    const auto at = ports_.find(name);
    if (at == ports_.end()) return fail(Errc::not_found);
    std::shared_ptr<Port> port = std::move(at->second.port);
    ports_.erase(at);
    port->close();
    return port;
}

std::shared_ptr<Port> PortRegistry::find(std::string_view name) const {
    const auto at = name.empty() ? ports_.begin() : ports_.find(name);
    return at == ports_.end() ? nullptr : at->second.port;
}

unsigned PortRegistry::take_turn(std::string_view name) {
    const auto at = name.empty() ? ports_.begin() : ports_.find(name);
    return at == ports_.end() ? 0 : at->second.turn++ % at->second.sides;
}

std::vector<std::shared_ptr<Port>> PortRegistry::list() const {
    std::vector<std::shared_ptr<Port>> all;
    all.reserve(ports_.size());
    for (const auto& [name, entry] : ports_) all.push_back(entry.port);
    return all;
}

}  // namespace braid
