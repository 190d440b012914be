// How a command ends. The exit codes are an interface: scripts act on them.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace braid::cli {

enum Exit : int {
    kOk = 0,
    kFailed = 1,
    kUsage = 2,
    kNotFound = 3,
    kUnreachable = 4,  ///< no controller answers
    kRefused = 5,      ///< would lose data or quorum
    kConflict = 6,     ///< busy or the epoch moved: retry
    kTimeout = 7,      ///< --timeout hit, the job goes on
};

/// One line for people: the thing, the reason, the fix.
struct Failure {
    Exit exit = kFailed;
    std::string message;
};

template <class T>
using Answer = std::expected<T, Failure>;

inline std::unexpected<Failure> failure(Exit exit, std::string message) {
    return std::unexpected(Failure{exit, std::move(message)});
}

}  // namespace braid::cli
