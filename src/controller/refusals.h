// What an operator is told of an error that came from below, and of what stands in a change's way.
#pragma once

#include <string>

#include "controller/admin_target.h"
#include "tables/tables.h"

namespace braid {

/// `what`: the thing that was to be changed.
AdminError from(const Error& error, std::string what);
/// Why a disk that is ok cannot leave its group; `beside`: what would come for it, if not empty.
AdminError cannot_leave(const Tables& tables, const std::string& disk, Obstacle why,
                        const std::string& beside);
/// Why the stripes of a group cannot have this shape.
AdminError cannot_convert(const Tables& tables, StripeShape shape, Obstacle why);

}  // namespace braid
