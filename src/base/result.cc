#include "base/result.h"

namespace braid {

std::string_view to_string(Errc code) {
    switch (code) {
        case Errc::io_error:
            return "io_error";
        case Errc::media_error:
            return "media_error";
        case Errc::timeout:
            return "timeout";
        case Errc::closed:
            return "closed";
        case Errc::refused:
            return "refused";
        case Errc::fenced:
            return "fenced";
        case Errc::stale_epoch:
            return "stale_epoch";
        case Errc::not_ready:
            return "not_ready";
        case Errc::not_found:
            return "not_found";
        case Errc::exists:
            return "exists";
        case Errc::busy:
            return "busy";
        case Errc::no_space:
            return "no_space";
        case Errc::too_large:
            return "too_large";
        case Errc::corrupt:
            return "corrupt";
        case Errc::unsupported:
            return "unsupported";
        case Errc::invalid:
            return "invalid";
        case Errc::would_lose_data:
            return "would_lose_data";
        case Errc::offline:
            return "offline";
        case Errc::cancelled:
            return "cancelled";
    }
    return "unknown";
}

}  // namespace braid
