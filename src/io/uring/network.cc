#include "io/uring/network.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "io/uring/address.h"
#include "io/uring/socket_stream.h"
#include "io/uring/unique_fd.h"

namespace braid {
namespace {

constexpr int kBacklog = 1024;
// Of a far end that says nothing: when the kernel begins to ask whether it is there, and how often it asks.
constexpr int kQuietSeconds = 60, kProbeSeconds = 10, kProbes = 6;

Error error_of(int error) {
    const auto detail = static_cast<std::uint32_t>(error);
    switch (error) {
        case ECONNREFUSED:
        case ENOENT:
        case ECONNRESET:
        case EACCES:
        case EPERM:
            return Error(Errc::refused, detail);
        case ETIMEDOUT:
            return Error(Errc::timeout, detail);
        case EADDRINUSE:
            return Error(Errc::exists, detail);
        case EADDRNOTAVAIL:
        case ENOTDIR:
        case ENAMETOOLONG:
            return Error(Errc::invalid, detail);
        default:
            return Error(Errc::io_error, detail);
    }
}

UniqueFd new_socket(const SocketAddress& address) {
    return UniqueFd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// The ring waits by itself only on sockets that block.
std::unique_ptr<ByteStream> make_stream(Loop& loop, UniqueFd fd, bool is_unix) {
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
    if (!is_unix) {
        const auto set = [&](int level, int option, int value) {
            ::setsockopt(fd.get(), level, option, &value, sizeof value);
        };
        set(IPPROTO_TCP, TCP_NODELAY, 1);
        // A far end that went without a word (power, cable) and owes nothing would stay for ever.
        set(SOL_SOCKET, SO_KEEPALIVE, 1);
        set(IPPROTO_TCP, TCP_KEEPIDLE, kQuietSeconds);
        set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
        set(IPPROTO_TCP, TCP_KEEPCNT, kProbes);
    }
    return std::make_unique<SocketStream>(loop, std::move(fd));
}

/// Whether a process answers at the UNIX socket; a file that nobody listens on refuses.
bool somebody_listens(const SocketAddress& address) {
    const UniqueFd fd = new_socket(address);
    return ::connect(fd.get(), address.get(), address.size) == 0 || errno != ECONNREFUSED;
}

class SocketListener final : public Listener {
public:
    SocketListener(Loop& loop, UniqueFd fd)
        : loop_(loop), fd_(std::move(fd)), local_(local_address(fd_.get())) {
        struct stat st{};
        if (local_.is_unix() && ::stat(local_.path().c_str(), &st) == 0) inode_ = st.st_ino;
    }
    ~SocketListener() override { close(); }

    Task<Result<std::unique_ptr<ByteStream>>> accept() override {
        while (!closed_) {
            UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (fd) co_return make_stream(loop_, std::move(fd), local_.is_unix());
            if (errno == EAGAIN) {
                co_await KernelCall(loop_, KernelOp::Verb::poll, fd_.get(), POLLIN);
            } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                LOG_WARN("listener.exhausted", {"address", address()}, {"errno", errno});
                co_await sleep_for(loop_.clock(), 10ms);
            } else if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK) {
                break;
            }  // else the connection ended before it was accepted
        }
        co_return fail(Errc::closed);
    }

    void close() override {
        if (closed_) return;
        closed_ = true;
        ::shutdown(fd_.get(), SHUT_RDWR);  // wakes accept()
        struct stat st{};
        const std::string path = local_.is_unix() ? local_.path() : std::string();
        if (!path.empty() && ::stat(path.c_str(), &st) == 0 && st.st_ino == inode_) ::unlink(path.c_str());
    }

    std::string address() const override { return to_string(local_); }

private:
    Loop& loop_;
    UniqueFd fd_;
    const SocketAddress local_;
    ino_t inode_ = 0;
    bool closed_ = false;
};

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> UringNetwork::connect(std::string address) {
    CO_TRY_LET(const SocketAddress to, parse_address(address, false));
    UniqueFd fd = new_socket(to);
    if (!fd) co_return std::unexpected(error_of(errno));
    int result = ::connect(fd.get(), to.get(), to.size);
    // A UNIX listener whose queue is full says EAGAIN, and there is nothing to wait on.
    for (int tries = 0; result != 0 && errno == EAGAIN && tries < 1000; ++tries) {
        co_await sleep_for(loop_.clock(), 1ms);
        result = ::connect(fd.get(), to.get(), to.size);
    }
    if (result != 0 && errno != EINPROGRESS) co_return std::unexpected(error_of(errno));
    if (result != 0) {
        co_await KernelCall(loop_, KernelOp::Verb::poll, fd.get(), POLLOUT);
        int error = 0;
        socklen_t size = sizeof error;
        if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
        if (error != 0) co_return std::unexpected(error_of(error));
    }
    co_return make_stream(loop_, std::move(fd), to.is_unix());
}

Result<std::unique_ptr<Listener>> UringNetwork::listen(std::string_view address) {
    TRY_LET(const SocketAddress at, parse_address(address, true));
    UniqueFd fd = new_socket(at);
    if (!fd) return std::unexpected(error_of(errno));
    const int one = 1;
    if (!at.is_unix()) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int result = ::bind(fd.get(), at.get(), at.size);
    if (result != 0 && errno == EADDRINUSE && at.is_unix()) {
        struct stat st{};
        const bool is_socket = ::stat(at.path().c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
        if (!is_socket || somebody_listens(at)) return fail(Errc::exists, EADDRINUSE);
        ::unlink(at.path().c_str());
        result = ::bind(fd.get(), at.get(), at.size);
    }
    if (result != 0 || ::listen(fd.get(), kBacklog) != 0) return std::unexpected(error_of(errno));
    return std::unique_ptr<Listener>(std::make_unique<SocketListener>(loop_, std::move(fd)));
}

std::unique_ptr<ByteStream> UringNetwork::take(std::unique_ptr<LooseStream> loose) {
    auto* const socket = dynamic_cast<LooseSocket*>(loose.get());
    if (socket == nullptr) return nullptr;
    return std::make_unique<SocketStream>(loop_, std::move(socket->fd));
}

}  // namespace braid
