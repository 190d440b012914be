#include "io/uring/member_store.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "base/log.h"

namespace braid {
namespace {

constexpr Nanos kRetry = 1ms;
constexpr Nanos kDrainPatience = 2s;

UniqueFd open_pidfd(std::uint64_t pid) {
    return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
}

enum class Found : std::uint8_t { alive, dead, unknown };

/// A pidfd of exactly this process. The start time is read after the pidfd is open, so it cannot be a
/// successor's.
Found find(ProcessRef process, UniqueFd& out) {
    if (process.pid == 0 || process.pid > 0x7fffffff) return Found::dead;
    UniqueFd fd = open_pidfd(process.pid);
    if (!fd) return errno == ESRCH ? Found::dead : Found::unknown;
    if (start_time_of(process.pid) != process.start_time) return Found::dead;
    pollfd p{fd.get(), POLLIN, 0};
    if (::poll(&p, 1, 0) > 0) return Found::dead;  // ended, not reaped
    out = std::move(fd);
    return Found::alive;
}

std::unexpected<Error> failed(int error) { return fail(Errc::io_error, static_cast<std::uint32_t>(error)); }

Status write_whole(int fd, const Bytes& bytes) {
    std::span<const std::byte> left(bytes);
    while (!left.empty()) {
        const ssize_t put = ::write(fd, left.data(), left.size());
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return failed(put < 0 ? errno : EIO);
        left = left.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

}  // namespace

std::uint64_t start_time_of(std::uint64_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(file, text, '\0');
    // The name in parentheses may hold anything; after it, the start time is the 20th field.
    std::size_t at = text.rfind(')');
    for (int field = 0; field < 20 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
    if (at == std::string::npos) return 0;
    return std::strtoull(text.c_str() + at, nullptr, 10);
}

/// A poll of a pidfd in the kernel. Outlives its entry in the map until the kernel gives it back.
struct FileMemberStore::Watch : KernelOp {
    UniqueFd process;
    Event* died = nullptr;  // null: not wanted any more
};

FileMemberStore::FileMemberStore(Loop& loop, std::string directory, UniqueFd lock_fd,
                                 std::function<bool(std::uint64_t)> writes)
    : loop_(loop),
      directory_(std::move(directory)),
      lock_fd_(std::move(lock_fd)),
      may_still_write_(std::move(writes)),
      self_{static_cast<std::uint64_t>(::getpid()), start_time_of(static_cast<std::uint64_t>(::getpid()))},
      turn_(loop.executor(), 1) {}

Result<std::unique_ptr<FileMemberStore>> FileMemberStore::open(
    Loop& loop, std::string directory, std::function<bool(std::uint64_t)> may_still_write) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return failed(error.value());
    UniqueFd fd(::open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) return failed(errno);
    return std::unique_ptr<FileMemberStore>(
        new FileMemberStore(loop, std::move(directory), std::move(fd), std::move(may_still_write)));
}

FileMemberStore::~FileMemberStore() {
    while (!watches_.empty()) unwatch(watches_.begin()->first);
}

Task<Result<Bytes>> FileMemberStore::read() {
    const UniqueFd fd(::open((directory_ + "/record").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) co_return Bytes{};
    if (!fd) co_return failed(errno);
    Bytes record;
    while (true) {
        const std::size_t had = record.size();
        record.resize(had + 65536);
        const ssize_t got = ::read(fd.get(), record.data() + had, 65536);
        record.resize(had + static_cast<std::size_t>(got > 0 ? got : 0));
        if (got < 0 && errno != EINTR) co_return failed(errno);
        if (got == 0) co_return record;
    }
}

Task<Status> FileMemberStore::lock() {
    co_await turn_.take();
    struct Place {  // gives the turn back if the task ends, or is ended, without the lock
        Semaphore* turn;
        ~Place() {
            if (turn != nullptr) turn->give();
        }
    } place{&turn_};
    while (::flock(lock_fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) co_return failed(errno);
        co_await sleep_for(loop_.clock(), kRetry);
    }
    // For those who wait: a holder that stands still has to be ended.
    const LockTurn mine{self_, last_lock().number + 1};
    if (::pwrite(lock_fd_.get(), &mine, sizeof mine, 0) != sizeof mine) {
        LOG_WARN("members.lock_without_name", {"directory", directory_}, {"errno", errno});
    }
    locked_ = true;
    place.turn = nullptr;
    co_return Status{};
}

void FileMemberStore::unlock() {
    ASSERT(locked_);
    locked_ = false;
    // Whoever takes it next may stand still before it has written its name: then it has none, not ours.
    const LockTurn nobody{{}, last_lock().number};
    if (::pwrite(lock_fd_.get(), &nobody, sizeof nobody, 0) != sizeof nobody) {
        LOG_WARN("members.lock_keeps_name", {"directory", directory_}, {"errno", errno});
    }
    ::flock(lock_fd_.get(), LOCK_UN);
    turn_.give();
}

LockTurn FileMemberStore::last_lock() {
    LockTurn turn;
    if (::pread(lock_fd_.get(), &turn, sizeof turn, 0) != sizeof turn) return {};
    return turn;
}

Task<Status> FileMemberStore::write(Bytes record) {
    ASSERT(locked_);
    const std::string fresh = directory_ + "/record.new";
    const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) co_return failed(errno);
    CO_TRY(write_whole(fd.get(), record));
    const int synced = co_await KernelCall(loop_, KernelOp::Verb::fdatasync, fd.get());
    if (synced < 0) co_return failed(-synced);
    if (::rename(fresh.c_str(), (directory_ + "/record").c_str()) != 0) co_return failed(errno);
    const UniqueFd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) co_return failed(errno);
    const int named = co_await KernelCall(loop_, KernelOp::Verb::fdatasync, directory.get());
    if (named < 0 && named != -EINVAL) co_return failed(-named);
    co_return Status{};
}

Task<FenceReport> FileMemberStore::kill(ProcessRef process) {
    ASSERT(process != self_);
    UniqueFd fd;
    Found found = find(process, fd);
    while (found == Found::unknown) {  // out of descriptors or memory: the fence must not be given up
        LOG_WARN("fence.no_pidfd", {"pid", process.pid}, {"errno", errno});
        co_await sleep_for(loop_.clock(), 10ms);
        found = find(process, fd);
    }
    if (found == Found::alive) {
        if (::syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
            LOG_ERROR("fence.refused", {"pid", process.pid}, {"errno", errno});
            co_return FenceReport{};
        }
        pollfd p{fd.get(), POLLIN, 0};
        do {
            co_await KernelCall(loop_, KernelOp::Verb::poll, fd.get(), POLLIN);
        } while (::poll(&p, 1, 0) == 0);
    }
    const bool all = co_await drained(process.pid);
    co_return FenceReport{.cut = true, .drained = all};
}

/// Commands that a dead process gave to a disk may still be under way: death does not wait for them.
Task<bool> FileMemberStore::drained(std::uint64_t pid) {
    if (!may_still_write_) co_return true;
    const Nanos end = loop_.clock().now() + kDrainPatience;
    while (may_still_write_(pid)) {
        if (loop_.clock().now() >= end) co_return false;
        co_await sleep_for(loop_.clock(), kRetry);
    }
    co_return true;
}

void FileMemberStore::watch(std::uint32_t slot, ProcessRef process, Event& died) {
    unwatch(slot);
    UniqueFd fd;
    switch (find(process, fd)) {
        case Found::dead:
            return died.set();
        case Found::unknown:
            // Its silence will be noticed instead.
            LOG_WARN("watch.no_pidfd", {"pid", process.pid}, {"errno", errno});
            return;
        case Found::alive:
            break;
    }
    auto* watch = new Watch;
    watch->verb = KernelOp::Verb::poll;
    watch->events = POLLIN;
    watch->fd = fd.get();
    watch->process = std::move(fd);
    watch->died = &died;
    watch->finish = [](KernelOp& op, int) {
        auto* self = static_cast<Watch*>(&op);
        if (self->died == nullptr) {
            delete self;
        } else {
            self->died->set();
        }
    };
    watches_[slot] = watch;
    loop_.start(*watch);
}

void FileMemberStore::unwatch(std::uint32_t slot) {
    const auto at = watches_.find(slot);
    if (at == watches_.end()) return;
    Watch* watch = at->second;
    watches_.erase(at);
    watch->died = nullptr;
    if (!watch->in_flight) {
        delete watch;
    } else {
        loop_.cancel(*watch);
    }
}

}  // namespace braid
