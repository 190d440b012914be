// Who of the view works on which extent, or segment: by number, so that a join or a death divides the rest
// anew and nobody is told what to do.
#pragma once

#include "base/types.h"
#include "icl/view.h"

namespace braid {

/// The AMF whose view this is has it; all of them see it alike.
inline bool has_share(const AmfView& view, std::uint32_t number) {
    const auto& members = view.members;
    return !members.empty() && members[number % members.size()].id == view.self;
}
inline bool has_share(const AmfView& view, ExtentIndex extent) { return has_share(view, extent.v); }

}  // namespace braid
