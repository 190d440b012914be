// The replies of one connection on their way out. All that are ready when the writer's turn comes leave in
// one call: heads and data as one list of pieces. Its length is bounded by the admission of requests: a
// reply's share is given back when it has been sent. Nodes are reused; nothing is allocated once warm.
#pragma once

#include <span>
#include <vector>

#include "base/buffer.h"
#include "host/nbd/admission.h"
#include "io/clock.h"
#include "io/stream.h"

namespace braid::nbd {

class ReplyQueue {
public:
    ReplyQueue(Executor& executor, Clock& clock, ByteStream& stream, Admission& admission);

    /// Queues a reply whose request holds `charge` of the admission. Never waits.
    void push(const ReplyHead& head, Slice data, std::size_t charge);
    /// The writer: returns after finish() when everything has gone, or at once after that on a dead stream.
    Task<void> run();
    void finish();
    /// The stream has failed; replies are dropped from now on.
    bool dead() const { return dead_; }
    /// Since when the present write has been under way; 0 if there is none.
    Nanos writing_since() const { return writing_since_; }

private:
    struct Reply {
        ReplyHead head;
        Slice data;
        std::size_t charge = 0;
    };
    /// Moves as many replies as fit one call from the queue into `batch_` and lists their pieces.
    void gather();
    void recycle();

    Executor& executor_;
    Clock& clock_;
    ByteStream& stream_;
    Admission& admission_;
    Event work_;
    std::vector<Reply> queue_;  // filled while batch_ is being sent; the two change places
    std::vector<Reply> batch_;
    std::vector<std::span<const std::byte>> pieces_;
    std::vector<std::byte> heads_;
    std::size_t batch_begin_ = 0;
    std::size_t batch_end_ = 0;
    Nanos writing_since_{};
    bool finishing_ = false;
    bool dead_ = false;
};

}  // namespace braid::nbd
