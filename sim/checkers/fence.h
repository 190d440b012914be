// Who has left the view changes no disk: a write of its process that lands after the view without it was
// written is one that the fence let through.
#pragma once

#include <string>

#include "sim/world.h"

namespace braid::sim {

/// Empty, or what is wrong with a write of `process` that lands now.
inline std::string check_fence(const Process& process) {
    if (!process.left_view) return {};
    return "fence: a write of pid " + std::to_string(process.pid) +
           " lands after the view without it was written";
}

}  // namespace braid::sim
