// What the tests of the two machines share.
#pragma once

#include "lock/arbiter.h"
#include "lock/lock_client.h"

namespace braid::testing {

using enum LockMode;

constexpr UnitIndex kUnit{7};
constexpr Nanos now{1s};

inline AmfView view_of(std::uint64_t epoch, std::uint16_t self, std::vector<std::uint16_t> ids) {
    AmfView view{Epoch(epoch), AmfId(self), {}};
    for (const std::uint16_t id : ids) view.members.push_back({AmfId(id), Incarnation(1)});
    return view;
}

/// One in which kUnit is decided here.
inline AmfView ours(std::uint64_t epoch, const std::vector<std::uint16_t>& ids) {
    AmfView view = view_of(epoch, 1, ids);
    view.self = arbiter_of(kUnit, view);
    return view;
}

inline AmfId id(std::uint16_t v) { return AmfId(v); }

inline LockFrame request(LockMode mode, std::uint64_t ticket) {
    return {MessageType::lock_request, kUnit, ticket, mode};
}
inline LockFrame released(std::uint64_t ticket) { return {MessageType::lock_released, kUnit, ticket}; }

}  // namespace braid::testing
