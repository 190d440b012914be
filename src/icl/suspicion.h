// Why a controller is believed to have failed. The links report it, the membership decides what follows.
#pragma once

#include <cstdint>
#include <string_view>

namespace braid {

enum class SuspectReason : std::uint8_t {
    transport,         ///< its session broke; it may be redialled
    silent,            ///< nothing was heard of it for the ping timeout, with or without a session
    operator_request,  ///< an operator wants it fenced
};

constexpr std::string_view to_string(SuspectReason reason) {
    switch (reason) {
        case SuspectReason::transport:
            return "transport";
        case SuspectReason::silent:
            return "silent";
        case SuspectReason::operator_request:
            return "operator_request";
    }
    return "unknown";
}

}  // namespace braid
