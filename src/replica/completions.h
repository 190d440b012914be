// What has taken effect of errands, operations that controllers outside of the group had forwarded: so that a
// write that is asked for a second time, because whoever had it in hand has died, is not done a second time
// over what others have written since (promise 1, row A4).
//
//   writer                              partner                    whoever is asked for it again (B)
//     | record_begin {..., errand}          |                            |  has the stripe for writing
//     |------------------------------------>|  keeps the errand          |
//     | record_end {done}                   |  with the record           |
//     |------------------------------------>|  a completion              |
//     x                                     |             completion_ask |  to all of the view
//                                           |<---------------------------|
//                                           | completion_tell {bytes}    |
//                                           |--------------------------->|  known: it is done
//
// A completion is there
//   from      the end of a record that took effect, at its writer and its partners: the writer's own or one
//             that finishes a dead writer's; and where it was asked for or told
//   until     the errand's watermark has passed it, or the start of the controller has left the view
//   at        as many AMFs as keep a record: whenever partners change all is told to the new ones
//
// Guarantees: who has a stripe for writing and has learned of an errand knows all of it that has taken effect
// in that stripe, as long as no more AMFs die at once than a record survives: nobody has a record of the
// stripe any more, so it has ended everywhere, or was never whole enough to touch a disk. Bounded: of each
// controller at most the numbers that its client spans (ForwardClient::kSpan), bytes that touch joined.
// Needs: adopt() of every view, keep() before it.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "icl/view.h"
#include "replica/amf_set.h"
#include "replica/completion_frames.h"

namespace braid {

class Completions {
public:
    Completions(Executor& executor, Transport& transport, const Uuid& group)
        : transport_(transport), group_(group), answered_(executor) {}
    Completions(const Completions&) = delete;
    Completions& operator=(const Completions&) = delete;

    /// Whose errands may still be asked for.
    void keep(std::span<const ControllerStart> alive);
    void adopt(const AmfView& view, bool fenced);
    /// Tells the partners all that is known here: before they get a record, so that whoever has one with redo
    /// knows what the older ones of its stripe have done.
    void hand_on(const AmfSet& partners);
    /// False: it makes no sense.
    bool deliver(AmfId from, const Message& message);

    void note(const Completion& done);
    /// Whether the first of these bytes is known, and up to where it is so of those that follow it.
    struct Run {
        bool known = false;
        std::uint64_t end = 0;
    };
    Run knows(const Completion& bytes) const;
    /// Asks everybody in the view. fenced.
    Task<Status> learn(Completion about);
    /// Goes on when the partners have all that was here when they became partners.
    Task<void> handed_on();

    /// Runs of bytes that are remembered.
    std::size_t size() const;

private:
    using Bytes = std::map<std::uint64_t, std::uint64_t>;  ///< end by begin; they do not touch
    struct Memory {
        std::uint64_t watermark = 0;
        std::map<std::uint64_t, Bytes> errands;  ///< by number
    };
    struct Asking {
        CompletionAsk ask;
        AmfSet waiting;
    };
    void pass(Memory& memory, std::uint64_t watermark);
    void send(Asking& asking, const AmfSet& to);
    void answer(AmfId to, const CompletionAsk& ask);

    Transport& transport_;
    Uuid group_;
    AmfSet others_;
    bool fenced_ = false;
    std::map<ControllerStart, Memory> memories_;
    std::vector<Asking> asking_;
    Asking handing_;
    std::uint64_t next_ticket_ = 1;
    Event answered_;
};

}  // namespace braid
