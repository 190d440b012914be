#include "volume/port_registry.h"

#include <utility>

namespace braid {

Status PortRegistry::add(PortSides sides) {
    const std::string name = sides.front()->name();
    if (name.empty()) return fail(Errc::invalid);
    if (!ports_.emplace(name, Entry{std::move(sides)}).second) return fail(Errc::exists);
    return {};
}

Result<PortSides> PortRegistry::remove(std::string_view name) {
    const auto at = ports_.find(name);
    if (at == ports_.end()) return fail(Errc::not_found);
    PortSides sides = std::move(at->second.sides);
    ports_.erase(at);
    for (const auto& side : sides) side->close();
    return sides;
}

PortSides PortRegistry::sides(std::string_view name) const {
    const auto at = name.empty() ? ports_.begin() : ports_.find(name);
    return at == ports_.end() ? PortSides{} : at->second.sides;
}

std::shared_ptr<Port> PortRegistry::find(std::string_view name) const {
    const auto at = name.empty() ? ports_.begin() : ports_.find(name);
    return at == ports_.end() ? nullptr : at->second.sides.front();
}

std::shared_ptr<Port> PortRegistry::take_turn(std::string_view name) {
    const auto at = name.empty() ? ports_.begin() : ports_.find(name);
    if (at == ports_.end()) return nullptr;
    Entry& entry = at->second;
    return entry.sides[entry.turn++ % entry.sides.size()];
}

std::vector<std::shared_ptr<Port>> PortRegistry::list() const {
    std::vector<std::shared_ptr<Port>> all;
    all.reserve(ports_.size());
    for (const auto& [name, entry] : ports_) all.push_back(entry.sides.front());
    return all;
}

}  // namespace braid
