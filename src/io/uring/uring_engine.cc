// liburing. One ring, one issuer. DEFER_TASKRUN keeps completion work out of the data path's way until the
// loop asks for it, TASKRUN_FLAG tells in shared memory that there is some: a spin costs two loads instead of
// a system call.
#include <liburing.h>

#include <array>
#include <cerrno>
#include <deque>

#include "base/assert.h"
#include "io/uring/engine.h"

namespace braid {
namespace {

constexpr unsigned kEntries = 1024;
constexpr std::size_t kReapBatch = 64;

int set_up(io_uring& ring) {
    static constexpr unsigned kFlagSets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
    int result = -EINVAL;
    for (unsigned flags : kFlagSets) {
        io_uring_params params{};
        params.flags = flags | IORING_SETUP_CQSIZE;
        params.cq_entries = 4 * kEntries;
        result = io_uring_queue_init_params(kEntries, &ring, &params);
        if (result != -EINVAL) break;  // an older kernel does not know the flags
    }
    return result;
}

class UringEngine final : public Engine {
public:
    explicit UringEngine(const io_uring& ring) : ring_(ring) { io_uring_register_ring_fd(&ring_); }
    ~UringEngine() override { io_uring_queue_exit(&ring_); }

    const char* name() const override { return "uring"; }

    void cancel(KernelOp& op) override {
        for (auto at = backlog_.begin(); at != backlog_.end(); ++at) {
            if (*at != &op) continue;
            backlog_.erase(at);
            refused_.push_back(&op);
            return;
        }
        io_uring_sqe* sqe = next_sqe();
        if (sqe == nullptr) return;  // the caller waits and asks again
        io_uring_prep_cancel(sqe, &op, 0);
        io_uring_sqe_set_data(sqe, nullptr);
    }

    bool poll() override {
        refill();
        if (io_uring_sq_ready(&ring_) != 0) {
            io_uring_submit_and_get_events(&ring_);
        } else if (kernel_has_work()) {
            io_uring_get_events(&ring_);
        }
        return reap();
    }

    bool wait(Nanos timeout) override {
        refill();
        if (!refused_.empty()) return reap();
        __kernel_timespec ts{};
        ts.tv_sec = timeout.count() / 1'000'000'000;
        ts.tv_nsec = timeout.count() % 1'000'000'000;
        io_uring_cqe* cqe = nullptr;
        io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &ts, nullptr);
        return reap();
    }

    bool peek() override { return io_uring_cq_ready(&ring_) != 0 || kernel_has_work(); }

protected:
    void begin(KernelOp& op) override {
        io_uring_sqe* sqe = backlog_.empty() ? next_sqe() : nullptr;
        if (sqe == nullptr) {
            backlog_.push_back(&op);
        } else {
            prepare(*sqe, op);
        }
    }

private:
    bool kernel_has_work() const {
        return (__atomic_load_n(ring_.sq.kflags, __ATOMIC_ACQUIRE) &
                (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }

    io_uring_sqe* next_sqe() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        if (sqe != nullptr) return sqe;
        io_uring_submit(&ring_);
        return io_uring_get_sqe(&ring_);
    }

    void refill() {
        while (!backlog_.empty()) {
            io_uring_sqe* sqe = next_sqe();
            if (sqe == nullptr) return;
            prepare(*sqe, *backlog_.front());
            backlog_.pop_front();
        }
    }

    static void prepare(io_uring_sqe& sqe, KernelOp& op) {
        const auto length = static_cast<unsigned>(op.length);
        switch (op.verb) {
            case KernelOp::Verb::read:
                io_uring_prep_read(&sqe, op.fd, op.memory, length, op.offset);
                break;
            case KernelOp::Verb::write:
                io_uring_prep_write(&sqe, op.fd, op.memory, length, op.offset);
                if (op.durable) sqe.rw_flags = RWF_DSYNC;
                break;
            case KernelOp::Verb::fallocate:
                io_uring_prep_fallocate(&sqe, op.fd, op.mode, static_cast<off_t>(op.offset),
                                        static_cast<off_t>(op.length));
                break;
            case KernelOp::Verb::fdatasync:
                io_uring_prep_fsync(&sqe, op.fd, IORING_FSYNC_DATASYNC);
                break;
            case KernelOp::Verb::recv:
                io_uring_prep_recv(&sqe, op.fd, op.memory, op.length, 0);
                break;
            case KernelOp::Verb::send:
                io_uring_prep_sendmsg(&sqe, op.fd, op.message, MSG_NOSIGNAL);
                break;
            case KernelOp::Verb::poll:
                io_uring_prep_poll_add(&sqe, op.fd, static_cast<unsigned>(op.events));
                break;
        }
        io_uring_sqe_set_data(&sqe, &op);
    }

    bool reap() {
        struct Ended {
            KernelOp* op;
            int result;
        };
        bool any = false;
        while (!refused_.empty()) {
            KernelOp* op = refused_.front();
            refused_.pop_front();
            complete(*op, -ECANCELED);
            any = true;
        }
        // At most what was there at the start: ops that end at once must not keep the loop here.
        for (unsigned left = io_uring_cq_ready(&ring_); left != 0;) {
            std::array<io_uring_cqe*, kReapBatch> cqes;
            std::array<Ended, kReapBatch> ended;
            const unsigned count =
                io_uring_peek_batch_cqe(&ring_, cqes.data(), left < kReapBatch ? left : kReapBatch);
            if (count == 0) break;
            for (unsigned i = 0; i < count; ++i) {
                ended[i] = {static_cast<KernelOp*>(io_uring_cqe_get_data(cqes[i])), cqes[i]->res};
            }
            io_uring_cq_advance(&ring_, count);
            left -= count;
            for (unsigned i = 0; i < count; ++i) {
                if (ended[i].op != nullptr) complete(*ended[i].op, ended[i].result);
            }
            any = true;
        }
        return any;
    }

    io_uring ring_;
    std::deque<KernelOp*> backlog_;  // the submission queue was full
    std::deque<KernelOp*> refused_;  // cancelled before the kernel saw them
};

}  // namespace

Result<std::unique_ptr<Engine>> make_uring_engine() {
    io_uring ring{};
    const int result = set_up(ring);
    if (result < 0) return fail(Errc::io_error, static_cast<std::uint32_t>(-result));
    return std::unique_ptr<Engine>(std::make_unique<UringEngine>(ring));
}

}  // namespace braid
