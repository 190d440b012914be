// epoll for sockets, listeners and pidfds; four threads for what disks do. The threads see only KernelOps of
// disks and give each back through one locked list and an eventfd.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "io/uring/engine.h"

namespace braid {
namespace {

constexpr std::size_t kThreads = 4;

int do_disk(const KernelOp& op) {
    ssize_t result = -1;
    const auto offset = static_cast<off_t>(op.offset);
    switch (op.verb) {
        case KernelOp::Verb::read:
            result = ::pread(op.fd, op.memory, op.length, offset);
            break;
        case KernelOp::Verb::write: {
            const iovec memory{op.memory, op.length};
            result = ::pwritev2(op.fd, &memory, 1, offset, op.durable ? RWF_DSYNC : 0);
            break;
        }
        case KernelOp::Verb::fallocate:
            result = ::fallocate(op.fd, op.mode, offset, static_cast<off_t>(op.length));
            break;
        case KernelOp::Verb::fdatasync:
            result = ::fdatasync(op.fd);
            break;
        default:
            ASSERT(false);
    }
    return result < 0 ? -errno : static_cast<int>(result);
}

/// Without blocking: -EAGAIN where it would.
int try_now(const KernelOp& op) {
    ssize_t result = -1;
    switch (op.verb) {
        case KernelOp::Verb::recv:
            result = ::recv(op.fd, op.memory, op.length, MSG_DONTWAIT);
            break;
        case KernelOp::Verb::send:
            result = ::sendmsg(op.fd, op.message, MSG_DONTWAIT | MSG_NOSIGNAL);
            break;
        case KernelOp::Verb::poll: {
            pollfd p{op.fd, op.events, 0};
            result = ::poll(&p, 1, 0);
            if (result == 0) return -EAGAIN;
            if (result > 0) return p.revents;
            break;
        }
        default:
            ASSERT(false);
    }
    return result < 0 ? -errno : static_cast<int>(result);
}

bool wants_input(const KernelOp& op) {
    return op.verb == KernelOp::Verb::recv || (op.verb == KernelOp::Verb::poll && (op.events & POLLIN) != 0);
}

class ThreadEngine final : public Engine {
public:
    ThreadEngine()
        : epoll_(::epoll_create1(EPOLL_CLOEXEC)), ended_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        ASSERT(epoll_ >= 0 && ended_fd_ >= 0);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = ended_fd_;
        ASSERT(::epoll_ctl(epoll_, EPOLL_CTL_ADD, ended_fd_, &event) == 0);
        for (std::size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { work(); });
    }
    ~ThreadEngine() override {
        {
            const std::lock_guard lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (auto& thread : threads_) thread.join();
        ::close(ended_fd_);
        ::close(epoll_);
    }

    const char* name() const override { return "threads"; }

    void cancel(KernelOp& op) override {
        if (op.is_disk()) return;
        for (Ended& ended : done_) {
            if (ended.op == &op) return;
        }
        std::erase(fresh_, &op);
        if (Slot* slot = slot_of(op.fd); slot != nullptr && (slot->in == &op || slot->out == &op)) {
            (slot->in == &op ? slot->in : slot->out) = nullptr;
            arm(op.fd);
        }
        done_.push_back({&op, -ECANCELED});
    }

    bool poll() override { return turn(Nanos{0}); }
    bool wait(Nanos timeout) override { return turn(timeout); }

    bool peek() override {
        if (any_ended_.load(std::memory_order_acquire) || !done_.empty() || !fresh_.empty()) return true;
        pollfd p{epoll_, POLLIN, 0};
        return ::poll(&p, 1, 0) > 0;
    }

protected:
    void begin(KernelOp& op) override {
        if (!op.is_disk()) {
            fresh_.push_back(&op);
            return;
        }
        {
            const std::lock_guard lock(mutex_);
            work_.push_back(&op);
        }
        wake_.notify_one();
    }

private:
    struct Ended {
        KernelOp* op;
        int result;
    };
    struct Slot {
        KernelOp* in = nullptr;
        KernelOp* out = nullptr;
        bool registered = false;
    };

    Slot* slot_of(int fd) {
        const auto at = static_cast<std::size_t>(fd);
        return at < slots_.size() ? &slots_[at] : nullptr;
    }

    void arm(int fd) {
        Slot& slot = slots_[static_cast<std::size_t>(fd)];
        epoll_event event{};
        event.data.fd = fd;
        event.events = (slot.in != nullptr ? EPOLLIN : 0u) | (slot.out != nullptr ? EPOLLOUT : 0u);
        if (event.events == 0) {
            if (slot.registered) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
            slot.registered = false;
            return;
        }
        ASSERT(::epoll_ctl(epoll_, slot.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0);
        slot.registered = true;
    }

    /// Ends `op` if it need not wait, else leaves it to epoll.
    void attempt(KernelOp& op) {
        const int result = try_now(op);
        if (result != -EAGAIN && result != -EINTR) {
            done_.push_back({&op, result});
            return;
        }
        if (slots_.size() <= static_cast<std::size_t>(op.fd))
            slots_.resize(static_cast<std::size_t>(op.fd) + 1);
        Slot& slot = slots_[static_cast<std::size_t>(op.fd)];
        KernelOp*& place = wants_input(op) ? slot.in : slot.out;
        ASSERT(place == nullptr);
        place = &op;
        arm(op.fd);
    }

    void try_fresh() {
        std::vector<KernelOp*> fresh;
        fresh.swap(fresh_);
        for (KernelOp* op : fresh) attempt(*op);
    }

    int sleep(epoll_event* events, int room, Nanos timeout) {
        timespec ts{};
        ts.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000);
        ts.tv_nsec = static_cast<long>(timeout.count() % 1'000'000'000);
        const int got = ::epoll_pwait2(epoll_, events, room, &ts, nullptr);
        if (got >= 0 || errno != ENOSYS) return got;
        const auto ms = (timeout.count() + 999'999) / 1'000'000;
        return ::epoll_wait(epoll_, events, room, static_cast<int>(ms < 60'000 ? ms : 60'000));
    }

    bool turn(Nanos timeout) {
        try_fresh();
        if (!done_.empty() || any_ended_.load(std::memory_order_acquire)) timeout = Nanos{0};
        epoll_event events[64];
        const int count = sleep(events, 64, timeout);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == ended_fd_) {
                std::uint64_t wakes = 0;
                [[maybe_unused]] const ssize_t got = ::read(ended_fd_, &wakes, sizeof wakes);
                continue;
            }
            Slot& slot = slots_[static_cast<std::size_t>(fd)];
            KernelOp* in = std::exchange(slot.in, nullptr);
            KernelOp* out = std::exchange(slot.out, nullptr);
            if (in != nullptr) attempt(*in);
            if (out != nullptr) attempt(*out);
            arm(fd);
        }
        take_ended();
        std::vector<Ended> done;
        done.swap(done_);
        for (const Ended& ended : done) complete(*ended.op, ended.result);
        return !done.empty();
    }

    void take_ended() {
        if (!any_ended_.load(std::memory_order_acquire)) return;
        const std::lock_guard lock(mutex_);
        any_ended_.store(false, std::memory_order_relaxed);
        done_.insert(done_.end(), ended_.begin(), ended_.end());
        ended_.clear();
    }

    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            wake_.wait(lock, [this] { return stop_ || !work_.empty(); });
            if (work_.empty()) return;
            KernelOp* op = work_.front();
            work_.pop_front();
            lock.unlock();
            const int result = do_disk(*op);
            lock.lock();
            ended_.push_back({op, result});
            if (any_ended_.exchange(true, std::memory_order_release)) continue;
            const std::uint64_t one = 1;
            [[maybe_unused]] const ssize_t put = ::write(ended_fd_, &one, sizeof one);
        }
    }

    const int epoll_;
    const int ended_fd_;
    std::vector<KernelOp*> fresh_;  // not tried yet
    std::vector<Slot> slots_;       // by file descriptor
    std::vector<Ended> done_;

    std::mutex mutex_;  // guards what follows
    std::condition_variable wake_;
    std::deque<KernelOp*> work_;
    std::vector<Ended> ended_;
    bool stop_ = false;
    std::atomic<bool> any_ended_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Engine> make_thread_engine() { return std::make_unique<ThreadEngine>(); }

}  // namespace braid
