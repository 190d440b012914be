#include "io/uring/loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"

namespace braid {
namespace {

constexpr int kResumesPerTurn = 256;
constexpr Nanos kLongestSleep = 10s;
constexpr int kEmptySpins = 3;
constexpr Nanos kFirstSpinPause = 250us;
constexpr Nanos kLongestSpinPause = 16ms;

std::unique_ptr<Engine> make_engine(LoopOptions::EngineKind kind) {
    if (kind == LoopOptions::EngineKind::threads) return make_thread_engine();
    auto engine = make_uring_engine();
    if (engine) return std::move(*engine);
    if (kind == LoopOptions::EngineKind::uring) {
        LOG_ERROR("loop.no_uring", {"errno", engine.error().detail});
        ASSERT(kind != LoopOptions::EngineKind::uring);
    }
    LOG_WARN("loop.no_uring", {"errno", engine.error().detail}, {"engine", "threads"});
    return make_thread_engine();
}

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

Nanos Loop::RealClock::now() const {
    timespec ts{};
    ::clock_gettime(CLOCK_BOOTTIME, &ts);
    return std::chrono::seconds(ts.tv_sec) + Nanos(ts.tv_nsec);
}

std::uint64_t Loop::RealClock::unix_seconds() const {
    timespec ts{};
    ::clock_gettime(CLOCK_REALTIME, &ts);
    return static_cast<std::uint64_t>(ts.tv_sec);
}

void Loop::RealClock::arm(TimerOp& op) {
    ASSERT(op.armed_by == nullptr);
    op.armed_by = this;
    op.fired = false;
    op.sequence = armed_++;
    queue_.insert(Entry{op.deadline, op.sequence, &op});
}

void Loop::RealClock::disarm(TimerOp& op) {
    queue_.erase(Entry{op.deadline, op.sequence, &op});
    op.armed_by = nullptr;
}

bool Loop::RealClock::fire_due() {
    if (queue_.empty()) return false;
    bool any = false;
    const Nanos time = now();
    while (!queue_.empty() && queue_.begin()->deadline <= time) {
        TimerOp& op = *queue_.begin()->op;
        disarm(op);
        op.fired = true;
        executor_.post(*op.wakeup);
        any = true;
    }
    return any;
}

std::optional<Nanos> Loop::RealClock::next_deadline() const {
    if (queue_.empty()) return std::nullopt;
    return queue_.begin()->deadline;
}

Loop::Loop(LoopOptions options)
    : options_(options), engine_(make_engine(options.engine)), spin_pause_(kFirstSpinPause) {
    wake_.fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(wake_.fd >= 0);
    wake_.loop = this;
    wake_.events = POLLIN;
    wake_.finish = [](KernelOp& op, int) {
        Loop* loop = static_cast<Wake&>(op).loop;
        if (loop == nullptr) return;
        std::uint64_t count = 0;
        [[maybe_unused]] const ssize_t got = ::read(op.fd, &count, sizeof count);
        loop->start(op);
    };
    start(wake_);
}

Loop::~Loop() {
    stopping_ = true;
    drain();
    wake_.loop = nullptr;
    settle(wake_);
    ::close(wake_.fd);
    // What was abandoned is cancelled already and comes back at once.
    const Nanos end = clock_.now() + 2s;
    while (engine_->in_flight() != 0 && clock_.now() < end) engine_->wait(10ms);
    ASSERT(engine_->in_flight() == 0);  // a stream or listener outlived its loop
}

void Loop::run() {
    while (!stopping_) turn(true);
}

void Loop::turn(bool may_sleep) {
    ++counters_.turns;
    int budget = kResumesPerTurn;
    do {
        while (budget > 0 && executor_.run_one()) --budget;
    } while (deliver() && budget > 0);
    bool any = engine_->poll();
    any |= run_remote();
    any |= run_inboxes();
    any |= clock_.fire_due();
    // A turn that did anything returns: its caller may have been waiting for just that.
    any |= budget != kResumesPerTurn;
    if (any || !may_sleep || stopping_ || first_done_ != nullptr || !executor_.idle()) return;
    rest();
}

/// Spins only while spins find something. A run of empty ones means that nothing comes, or that what should
/// come needs this very core (its sender waits behind the spin): then none for a while, doubling, so that an
/// idle or crowded machine pays one spin in 16 ms.
void Loop::rest() {
    const Nanos begin = clock_.now();
    const std::optional<Nanos> deadline = clock_.next_deadline();
    Nanos now = begin;
    if (options_.spin > Nanos{0} && begin >= spin_again_at_) {
        const Nanos end = begin + options_.spin;
        if (spin_until(deadline ? std::min(end, *deadline) : end)) {
            empty_spins_ = 0;
            spin_pause_ = kFirstSpinPause;
            return;
        }
        now = clock_.now();
        if (++empty_spins_ >= kEmptySpins) {
            spin_again_at_ = now + spin_pause_;
            spin_pause_ = std::min(spin_pause_ * 2, kLongestSpinPause);
        }
    }
    if (deadline && *deadline <= now) return;
    // Who puts something into an inbox from here on sees that we sleep; what was put before we see.
    asleep_.store(true, std::memory_order_seq_cst);
    if (!inbox_waiting()) {
        ++counters_.sleeps;
        engine_->wait(std::min(deadline ? *deadline - now : kLongestSleep, kLongestSleep));
    }
    asleep_.store(false, std::memory_order_relaxed);
}

bool Loop::spin_until(Nanos end) {
    ++counters_.spins;
    while (true) {
        for (int i = 0; i < 8; ++i) {
            if (engine_->peek() || remote_waiting_.load(std::memory_order_relaxed) || inbox_waiting()) {
                ++counters_.spin_hits;
                return true;
            }
            relax();
        }
        if (clock_.now() >= end) return false;
    }
}

void Loop::finish_later(KernelOp& op, int result) {
    op.in_flight = true;
    op.result = result;
    op.next = nullptr;
    *last_done_ = &op;
    last_done_ = &op.next;
}

bool Loop::deliver() {
    if (first_done_ == nullptr) return false;
    KernelOp* op = first_done_;
    first_done_ = nullptr;
    last_done_ = &first_done_;
    while (op != nullptr) {
        KernelOp* next = op->next;
        op->in_flight = false;
        op->finish(*op, op->result);
        op = next;
    }
    return true;
}

void Loop::cancel(KernelOp& op) { engine_->cancel(op); }

void Loop::settle(KernelOp& op) {
    while (op.in_flight) {
        if (deliver()) continue;
        engine_->cancel(op);
        engine_->wait(10ms);
    }
}

void Loop::drain() {
    while (deliver() || engine_->disk_in_flight() != 0)
        engine_->wait(engine_->disk_in_flight() != 0 ? 10ms : 0ms);
}

void Loop::post_remote(std::move_only_function<void()> act) {
    {
        const std::lock_guard lock(remote_mutex_);
        remote_.push_back(std::move(act));
        // Under the lock: the loop may be gone as soon as `act` has run.
        if (remote_waiting_.exchange(true, std::memory_order_release)) return;
        wake();
    }
}

void Loop::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = ::write(wake_.fd, &one, sizeof one);
}

void Loop::nudge() {
    if (asleep_.load(std::memory_order_seq_cst) && asleep_.exchange(false, std::memory_order_seq_cst)) wake();
}

bool Loop::inbox_waiting() const {
    return std::ranges::any_of(inboxes_, [](const Inbox* inbox) { return inbox->waiting(); });
}

bool Loop::run_inboxes() {
    bool any = false;
    for (Inbox* inbox : inboxes_) any |= inbox->waiting() && inbox->run();
    return any;
}

bool Loop::run_remote() {
    if (!remote_waiting_.load(std::memory_order_acquire)) return false;
    std::vector<std::move_only_function<void()>> acts;
    {
        const std::lock_guard lock(remote_mutex_);
        acts.swap(remote_);
        remote_waiting_.store(false, std::memory_order_relaxed);
    }
    for (auto& act : acts) act();
    return true;
}

struct KernelCall::Op : KernelOp {
    KernelCall* call = nullptr;  // null: abandoned
};

KernelCall::KernelCall(Loop& loop, KernelOp::Verb verb, int fd, short events)
    : loop_(loop), join_(loop.executor()), op_(new Op) {
    op_->verb = verb;
    op_->fd = fd;
    op_->events = events;
    op_->call = this;
    op_->finish = [](KernelOp& op, int result) {
        Op* self = static_cast<Op*>(&op);
        if (self->call != nullptr) {
            self->call->result_ = result;
            self->call->op_ = nullptr;
            self->call->join_.done();
        }
        delete self;
    };
    join_.add();
    loop_.start(*op_);
}

KernelCall::~KernelCall() {
    if (op_ == nullptr) return;
    op_->call = nullptr;
    if (!op_->is_disk()) loop_.cancel(*op_);
}

}  // namespace braid
