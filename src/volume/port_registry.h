// The exports of one controller by name: where a host protocol finds its port. A removed port cannot be found
// any more; it lives on until the last connection that holds it is gone.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "volume/port.h"

namespace braid {

/// One port as each AMF of its group on this controller serves it, by index. They differ in nothing else.
using PortSides = std::vector<std::shared_ptr<Port>>;

class PortRegistry {
public:
    /// `exists` if the name is taken, `invalid` if it is empty.
    Status add(PortSides sides);
    Status add(std::shared_ptr<Port> only) { return add(PortSides{std::move(only)}); }
    /// Takes the port out and closes it. Wait for closed() of all sides before its group goes. `not_found`.
    Result<PortSides> remove(std::string_view name);
    /// The port of that name, its first side, or nothing. The empty name means the first port.
    std::shared_ptr<Port> find(std::string_view name) const;
    /// The same for a new connection: the sides take turns.
    std::shared_ptr<Port> take_turn(std::string_view name);
    /// Empty if there is no such port.
    PortSides sides(std::string_view name) const;
    /// All ports, sorted by name.
    std::vector<std::shared_ptr<Port>> list() const;

private:
    struct Entry {
        PortSides sides;
        std::size_t turn = 0;
    };
    std::map<std::string, Entry, std::less<>> ports_;
};

}  // namespace braid
