// What an operator is told of an error that came from below.
#pragma once

#include <string>

#include "controller/admin_target.h"

namespace braid {

inline AdminError from(const Error& error, std::string what) {
    switch (error.code) {
        case Errc::no_space:
            return {error.code, what + ": there is not enough free space", "braid group list"};
        case Errc::offline:
            return {error.code, what + ": the group is offline, more disks are gone than its level survives",
                    "braid status"};
        case Errc::exists:
            return {error.code, what + ": it exists already", {}};
        case Errc::not_found:
            return {error.code, what + ": there is no such object", {}};
        case Errc::busy:
            return {error.code, what + ": another change is under way", "try again"};
        default:
            return {error.code, what + ": " + std::string(to_string(error.code)), "see the daemon's log"};
    }
}

}  // namespace braid
