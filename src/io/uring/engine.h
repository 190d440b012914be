// What the loop asks of the kernel, in the few verbs that disks, sockets and process watches need, and the
// two engines that do it: io_uring, and epoll with a small pool of threads where io_uring is blocked. A
// KernelOp and the memory it names belong to the kernel from start() until `finish` is called; `finish` is
// called once, from the loop's own turn or from Loop::settle(), never from start(). It resumes nothing and
// destroys no stream.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "base/types.h"

namespace braid {

struct KernelOp {
    enum class Verb : std::uint8_t { read, write, fallocate, fdatasync, recv, send, poll };
    using Finish = void (*)(KernelOp& op, int result);

    KernelOp() = default;
    KernelOp(const KernelOp&) = delete;
    KernelOp& operator=(const KernelOp&) = delete;

    /// Verbs that end by themselves in bounded time and cannot be called back.
    bool is_disk() const { return verb <= Verb::fdatasync; }

    Verb verb = Verb::poll;
    bool in_flight = false;
    bool durable = false;  ///< write: as RWF_DSYNC has it
    short events = 0;      ///< poll: POLLIN, POLLOUT
    int fd = -1;
    int mode = 0;               ///< fallocate
    int result = 0;             ///< of an op that finished inline and waits for its delivery
    std::uint64_t offset = 0;   ///< read, write, fallocate
    std::uint64_t length = 0;   ///< read, write (below 2 GiB), recv, fallocate
    void* memory = nullptr;     ///< read, write, recv
    msghdr* message = nullptr;  ///< send
    Finish finish = nullptr;
    KernelOp* next = nullptr;
};

class Engine {
public:
    virtual ~Engine() = default;
    virtual const char* name() const = 0;
    /// Takes the op; the kernel learns of it at the next poll() or wait() at the latest.
    void start(KernelOp& op) {
        op.in_flight = true;
        ++in_flight_;
        if (op.is_disk()) ++disk_in_flight_;
        begin(op);
    }
    /// Asks for an early end. The op still finishes, with its result or -ECANCELED.
    virtual void cancel(KernelOp& op) = 0;
    /// Hands over what was started and finishes what is complete; does not wait. True if anything finished.
    virtual bool poll() = 0;
    /// The same, waiting for the first completion, at most `timeout`.
    virtual bool wait(Nanos timeout) = 0;
    /// Whether poll() would find something. Cheap: the loop spins on it.
    virtual bool peek() = 0;

    std::size_t in_flight() const { return in_flight_; }
    std::size_t disk_in_flight() const { return disk_in_flight_; }

protected:
    virtual void begin(KernelOp& op) = 0;
    void complete(KernelOp& op, int result) {
        op.in_flight = false;
        --in_flight_;
        if (op.is_disk()) --disk_in_flight_;
        op.finish(op, result);
    }

private:
    std::size_t in_flight_ = 0;
    std::size_t disk_in_flight_ = 0;
};

/// io_error with errno in the detail where the kernel refuses a ring.
Result<std::unique_ptr<Engine>> make_uring_engine();
std::unique_ptr<Engine> make_thread_engine();

}  // namespace braid
