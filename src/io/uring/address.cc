#include "io/uring/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace braid {

std::string SocketAddress::path() const {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
    constexpr std::size_t header = offsetof(sockaddr_un, sun_path);
    if (size <= header) return {};
    return std::string(un->sun_path, ::strnlen(un->sun_path, size - header));
}

static Result<SocketAddress> parse_unix(std::string_view path) {
    SocketAddress out;
    auto* un = reinterpret_cast<sockaddr_un*>(&out.storage);
    if (path.empty() || path.size() >= sizeof un->sun_path) return fail(Errc::invalid);
    un->sun_family = AF_UNIX;
    std::ranges::copy(path, un->sun_path);
    out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    return out;
}

Result<SocketAddress> parse_address(std::string_view text, bool to_listen) {
    if (text.starts_with("unix:")) return parse_unix(text.substr(5));
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return fail(Errc::invalid);
    std::string host(text.substr(0, colon));
    const std::string port(text.substr(colon + 1));
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
        std::stoul(port) > 65535) {
        return fail(Errc::invalid);
    }
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string::npos) {
        return fail(Errc::invalid);
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found) != 0) {
        return fail(Errc::invalid);
    }
    SocketAddress out;
    std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
    out.size = found->ai_addrlen;
    ::freeaddrinfo(found);
    return out;
}

std::string to_string(const SocketAddress& address) {
    char text[INET6_ADDRSTRLEN] = {};
    if (address.storage.ss_family == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(&address.storage);
        ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        return std::string(text) + ":" + std::to_string(ntohs(in->sin_port));
    }
    if (address.storage.ss_family == AF_INET6) {
        const auto* in = reinterpret_cast<const sockaddr_in6*>(&address.storage);
        ::inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        return "[" + std::string(text) + "]:" + std::to_string(ntohs(in->sin6_port));
    }
    return "unix:" + address.path();
}

SocketAddress local_address(int fd) {
    SocketAddress out;
    out.size = sizeof out.storage;
    if (::getsockname(fd, out.get(), &out.size) != 0) out.size = 0;
    return out;
}

SocketAddress peer_address(int fd) {
    SocketAddress out;
    out.size = sizeof out.storage;
    if (::getpeername(fd, out.get(), &out.size) != 0) out.size = 0;
    return out;
}

}  // namespace braid
