// One connection: frames in, and a queue of frames out. What is queued while a write is in flight leaves
// together in the next one; a message queued to an idle link leaves in the same turn of the executor, with
// whatever else that turn queued. Knows nothing of views; Icl (icl.h) does.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "icl/counters.h"
#include "icl/frame_reader.h"
#include "io/clock.h"

namespace braid {

/// `co_await yield_turn(executor)`: goes on after everything that is ready now.
class yield_turn {
public:
    explicit yield_turn(Executor& executor) : executor_(executor) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
        wakeup_.handle = h;
        executor_.post(wakeup_);
    }
    void await_resume() const noexcept {}

private:
    Executor& executor_;
    Wakeup wakeup_;
};

class Link {
public:
    static constexpr std::size_t kGatherFrames = 256;  ///< in one write
    static constexpr std::size_t kGatherBytes = 1u << 20;

    Link(Executor& executor, const Clock& clock, std::unique_ptr<ByteStream> stream);
    Link(const Link&) = delete;
    Link& operator=(const Link&) = delete;

    /// Told of the receipt of each message that asked for one, in the epoch in which it was queued, when the
    /// stream has taken all of it.
    using Sent = std::function<void(Epoch epoch, Message receipt)>;
    void on_sent(Sent sent) { sent_ = std::move(sent); }

    /// Dropped if the link is closed.
    void enqueue(Epoch epoch, Message message);
    /// Forgets the queued protocol frames of epochs before `epoch`.
    void drop_older(Epoch epoch);
    std::size_t queued_bytes() const { return queued_bytes_; }
    std::size_t queued_messages() const { return queue_.size(); }
    /// Nothing queued and nothing being written.
    bool flushed() const { return queue_.empty() && !writing_; }

    /// Sends one frame by itself, before write_queue() runs.
    Task<Status> say(Epoch epoch, Message message);
    /// Sends what is queued until the link is closed, closes it when a write fails.
    Task<void> write_queue();
    Task<Result<Frame>> read(FrameLimits limits) { return reader_.next(limits); }

    /// Ends both directions; wakes everybody who waits here.
    void close();
    bool closed() const { return closed_; }
    /// For the reader that waits for a newer view: `co_await link.resumed()`.
    Event::Awaiter resumed() { return resume_.next(); }
    void resume() { resume_.notify_all(); }

    std::string peer_name() const { return stream_->peer_name(); }
    /// Whom to charge from now on, and for what was said so far: a hello each way.
    void count_for(PeerCounters& counters);

    Nanos since{};         ///< when it began, or when it was last excused
    Nanos heard_at{};      ///< last bytes
    Nanos sent_at{};       ///< last write begun
    bool blocked = false;  ///< its reader waits for a newer view, so silence means nothing

private:
    struct Queued {
        Epoch epoch;
        Message message;
    };
    void collect();
    static std::size_t size_of(const Message& message) {
        return kFrameHeaderSize + message.head.size() + message.payload.bytes.size();
    }

    Executor& executor_;
    const Clock& clock_;
    const std::unique_ptr<ByteStream> stream_;
    FrameReader reader_;
    PeerCounters early_;  ///< until the far end is known
    PeerCounters* counters_ = &early_;
    std::deque<Queued> queue_;
    std::size_t queued_bytes_ = 0;
    bool closed_ = false;
    bool writing_ = false;
    Event wake_;
    Event resume_;
    Sent sent_;

    // of the write in flight
    Bytes heads_;  // headers and heads, one after the other
    std::vector<Slice> payloads_;
    std::vector<Queued> receipts_;
    std::vector<std::span<const std::byte>> pieces_;
};

}  // namespace braid
