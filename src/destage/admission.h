// How hosts are slowed down before there is no room for dirty content left, instead of being stopped then all
// at once. Pure.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/types.h"

namespace braid {

/// What a write waits at most while there is room for it.
constexpr Nanos kLongestAdmissionPause = 500us;

/// How long a write of `bytes` waits before it takes room, of which `free` of `room` bytes are left: none
/// above a sixteenth, and the longer the less there is. What does not fit waits in the queue for room
/// instead.
constexpr Nanos admission_pause(std::size_t room, std::size_t free, std::size_t bytes) {
    const std::size_t scarce = room / 16;
    if (free >= scarce || free < bytes) return Nanos{};
    const std::size_t share = (scarce - free) * 1024 / scarce;
    return kLongestAdmissionPause * share / 1024;
}

}  // namespace braid
