// Socket addresses as text and as the kernel wants them.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "base/result.h"

namespace braid {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    bool is_unix() const { return storage.ss_family == AF_UNIX; }
    /// Of a UNIX socket; empty if it has no name.
    std::string path() const;
};

/// "HOST:PORT", "[V6]:PORT", "unix:PATH". An empty host is every address to listen on, loopback to connect
/// to.
Result<SocketAddress> parse_address(std::string_view text, bool to_listen);
std::string to_string(const SocketAddress& address);
SocketAddress local_address(int fd);
SocketAddress peer_address(int fd);

}  // namespace braid
