// Who of the view works on which extent: by number, so that a join or a death divides the rest anew and
// nobody is told what to do.
#pragma once

#include "base/types.h"
#include "icl/view.h"

namespace braid {

/// The AMF whose view this is has it; all of them see it alike.
inline bool has_share(const AmfView& view, ExtentIndex extent) {
    const auto& members = view.members;
    return !members.empty() && members[extent.v % members.size()].id == view.self;
}

}  // namespace braid
