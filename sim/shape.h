// The shape of a simulated cluster.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.h"

namespace braid::sim {

/// Controllers and the one group "g" that they share.
struct Shape {
    std::size_t controllers = 3;
    std::size_t disks = 5;
    std::string level = "raid5";
    std::uint64_t strip_size = 16u << 10;
    std::uint64_t lock_unit = 1;
    unsigned dimension = 2;
    unsigned copies = 0;
    Nanos ping_timeout = 500ms;
    Nanos intent_idle = 2s;
};

}  // namespace braid::sim
