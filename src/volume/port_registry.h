// The exports of one controller by name: where a host protocol finds its port. A removed port cannot be found
// any more; it lives on until the last connection that holds it is gone. Each data thread has a registry of
// its own, with the side of each port that its AMFs serve; the first thread's knows how many there are.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "volume/port.h"

namespace braid {

class PortRegistry {
public:
    /// `exists` if the name is taken, `invalid` if it is empty.
    Status add(std::shared_ptr<Port> port, unsigned sides = 1);
    /// Takes the port out and closes it. Wait for closed() before its group goes. `not_found`.
    Result<std::shared_ptr<Port>> remove(std::string_view name);
    /// The port of that name or nothing. The empty name means the first port.
    std::shared_ptr<Port> find(std::string_view name) const;
    /// The side of a port that there is for one more connection: they take turns. 0 if there is no such port.
    unsigned take_turn(std::string_view name);
    /// All ports, sorted by name.
    std::vector<std::shared_ptr<Port>> list() const;

private:
    struct Entry {
        std::shared_ptr<Port> port;
        unsigned sides = 1;
        unsigned turn = 0;
    };
    std::map<std::string, Entry, std::less<>> ports_;
};

}  // namespace braid
