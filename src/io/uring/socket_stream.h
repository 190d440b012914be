// A connected socket as a ByteStream.
//
// An abandoned call: the coroutine frame that owns the memory goes away at once, so abandon() calls the
// kernel back and waits for it (microseconds: a socket call is either waiting for readiness or already done).
// Bytes that such a call moved are lost to the caller, so the stream then ends.
#pragma once

#include <sys/uio.h>

#include <array>
#include <string>

#include "io/stream.h"
#include "io/uring/loop.h"
#include "io/uring/unique_fd.h"

namespace braid {

/// A connected socket between two threads.
struct LooseSocket final : LooseStream {
    explicit LooseSocket(UniqueFd f) : fd(std::move(f)) {}
    UniqueFd fd;
};

class SocketStream final : public ByteStream {
public:
    SocketStream(Loop& loop, UniqueFd fd);
    ~SocketStream() override;

    void submit(StreamOp& op, Join& join) override;
    void abandon(StreamOp& op) override;
    void shutdown() override;
    std::string peer_name() const override { return peer_name_; }
    std::unique_ptr<LooseStream> let_go() override;

private:
    struct Half : KernelOp {
        SocketStream* stream = nullptr;
        StreamOp* op = nullptr;
        bool abandoned = false;
    };

    void start_read();
    void start_write();
    void fill_message();
    void skip(std::size_t bytes);
    void finish_read(int result);
    void finish_write(int result);
    void end(Half& half, Result<std::size_t> result);
    Error error_of(int result) const;

    Loop& loop_;
    UniqueFd fd_;
    std::string peer_name_;
    bool shut_ = false;
    Half read_;
    Half write_;
    std::size_t piece_ = 0;       // of the write in flight: the first piece not sent whole,
    std::size_t piece_done_ = 0;  // and how much of it is sent
    msghdr message_{};
    std::array<iovec, 64> vectors_{};
};

}  // namespace braid
