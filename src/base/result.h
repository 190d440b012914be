// Expected failures are values. A code exists only if some caller acts on it; the text goes to the log at the
// place where the failure was seen.
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

namespace braid {

enum class Errc : std::uint8_t {
    io_error,     ///< a device or socket failed
    media_error,  ///< these blocks are unreadable, the device answers otherwise
    timeout,      ///< no answer in time
    closed,       ///< the stream, link or queue has ended
    refused,      ///< nobody listens, or the peer said no
    fenced,       ///< this controller is not in the view any more
    stale_epoch,  ///< the message or act belongs to another epoch
    not_ready,    ///< a port that is closing, a group that is still assembling
    not_found,
    exists,
    busy,  ///< a conflicting act is under way, retry
    no_space,
    too_large,        ///< a length beyond the stated limit
    corrupt,          ///< bytes that do not decode or whose checksum is wrong
    unsupported,      ///< a version, feature or option this build does not know
    invalid,          ///< an argument out of range
    would_lose_data,  ///< refused: somebody's data or the quorum would be lost
    offline,          ///< more members are missing than the level survives
    cancelled,
};

std::string_view to_string(Errc code);

struct Error {
    Errc code;
    std::uint32_t detail = 0;  ///< errno, member or controller id: what the code's user expects

    constexpr Error(Errc c, std::uint32_t d = 0) : code(c), detail(d) {}
    friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

using Status = Result<void>;

inline std::unexpected<Error> fail(Errc code, std::uint32_t detail = 0) {
    return std::unexpected<Error>(Error(code, detail));
}

}  // namespace braid

/// Leaves a plain function / a coroutine with the error of `expr`, if it has one.
#define TRY(expr) \
    if (auto try_result_ = (expr); !try_result_) return std::unexpected(try_result_.error())
#define CO_TRY(expr) \
    if (auto try_result_ = (expr); !try_result_) co_return std::unexpected(try_result_.error())

#define BRAID_CONCAT2(a, b) a##b
#define BRAID_CONCAT(a, b) BRAID_CONCAT2(a, b)
/// `TRY_LET(auto x, f());` declares x with the value of f(), or leaves with its error.
#define TRY_LET(decl, expr)                                                                                  \
    auto BRAID_CONCAT(try_let_, __LINE__) = (expr);                                                          \
    if (!BRAID_CONCAT(try_let_, __LINE__)) return std::unexpected(BRAID_CONCAT(try_let_, __LINE__).error()); \
    decl = std::move(*BRAID_CONCAT(try_let_, __LINE__))
#define CO_TRY_LET(decl, expr)                                               \
    auto BRAID_CONCAT(try_let_, __LINE__) = (expr);                          \
    if (!BRAID_CONCAT(try_let_, __LINE__))                                   \
        co_return std::unexpected(BRAID_CONCAT(try_let_, __LINE__).error()); \
    decl = std::move(*BRAID_CONCAT(try_let_, __LINE__))
