// Operations on virtual disks of a group that this controller does not share, done by an AMF that does: the
// asking half (row A4, figure 6). The other half is forward_server.h.
//
//   operation: [budget] -> number -> asked of a sharer -> answered: ended
//                                      |  a new view has it still: asked again, there, under the same number
//                                      |  it is out of the view, or it answered that it cannot: another one
//                                      v  is asked; for nobody at all one waits for `patience`
//                                    not_ready
//
// An AMF that cannot do it is one that leaves, closes, does not know the port yet, or fails to read or write:
// the disks may be out of reach for it alone.
//
// Guarantees: an operation is at work in one AMF at a time, and when perform() returns in none: another one
// is asked only when the first has answered or has left the view (fenced, drained; what it left half done is
// finished before anybody else gets the lock). However often it is asked, of whomever, it takes effect once:
// who is asked for it a second time is told so, and does what has not been done (replica/completions.h).
// Needs: adopt() of every view, after the links have adopted it. Never asks two, never gives up what somebody
// alive has in hand.
#pragma once

#include <map>
#include <optional>

#include "async/sync.h"
#include "async/task.h"
#include "forward/forward_frames.h"
#include "icl/view.h"
#include "io/clock.h"

namespace braid {

struct ForwardOptions {
    Nanos patience = 5s;  ///< with no AMF that would take it: the age at which hosts' commands fail
    Nanos pause = 10ms;   ///< when all have been asked and none would
};

struct ForwardCounters {
    std::uint64_t operations = 0, bytes = 0;
    std::uint64_t asked_again = 0;  ///< the same AMF, in a new view
    std::uint64_t moved = 0;        ///< another AMF, because the first had left
    std::uint64_t refused = 0;      ///< answers that say: not here
    std::uint64_t given_up = 0;     ///< nobody was there

    ForwardCounters& operator+=(const ForwardCounters& o) {
        operations += o.operations;
        bytes += o.bytes;
        asked_again += o.asked_again;
        moved += o.moved;
        refused += o.refused;
        given_up += o.given_up;
        return *this;
    }
};

/// The AMFs of a view as a controller outside of the group asks them: each has an order of its own, so that
/// they spread over those that share the group.
std::vector<AmfMember> forward_order(const AmfView& view, ControllerId asks);

class ForwardClient final : public MessageSink {
public:
    /// Bytes that are with other controllers at a time, of all groups together: below what a link queues.
    static constexpr std::size_t kBudget = 64u << 20;
    static constexpr std::size_t kLeastCharge = 64u << 10;  ///< of an operation without data
    /// What the AMFs remember of us at most: numbers from the oldest open operation to the newest.
    static constexpr std::uint64_t kSpan = 1u << 16;

    /// `budget`: kBudget units; it outlives the client.
    ForwardClient(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
                  Semaphore& budget, ForwardOptions options = {});

    /// `view.self`: this controller, which is not among the members.
    void adopt(const AmfView& view);
    void deliver(AmfId from, Message message) override;
    /// Nobody is waited for any more.
    void close();

    /// Number and watermark are given here. What was read, or the allocation, else nothing.
    Task<Result<Slice>> perform(ForwardRequest request);

    /// Who is asked first; nothing if nobody serves the group.
    std::optional<AmfId> first_choice() const;
    const ForwardCounters& counters() const { return counters_; }
    std::size_t open() const { return open_.size(); }

private:
    struct Open;
    Task<bool> somebody(const Open& op, Nanos deadline);
    void choose(Open& op);
    void ask(Open& op);

    Executor& executor_;
    Clock& clock_;
    Transport& transport_;
    Uuid group_;
    Semaphore& budget_;
    ForwardOptions options_;
    AmfView view_;
    std::vector<AmfMember> order_;  ///< of the view, as they are asked
    std::map<std::uint64_t, Open*> open_;
    std::uint64_t next_ = 1;
    bool closed_ = false;
    Event changed_;  ///< a view came
    Event ended_;    ///< an operation has
    ForwardCounters counters_;
};

}  // namespace braid
