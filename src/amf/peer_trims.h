// What other AMFs remember as trimmed of some extents, asked of all of them at once.
//
//   asker                                          every other AMF of the view
//     | trims_ask {number, why, extents}              |  its blocks of them, at a moment at which its lease
//     is
//     |---------------------------------------------->|  live; answered early: when the copies stand
//     |      trims_told {number, their blocks}        |
//     |<----------------------------------------------|
//
// Guarantees: what ask() returns read as zeros at some moment since it was called; whoever has not answered
// in time, or not in this view, remembers nothing. Needs: adopt() for every view; it outlives all questions.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "amf/trimmed_blocks.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/result.h"
#include "icl/message.h"
#include "io/clock.h"

namespace braid {

/// Extents of one question, at most.
constexpr std::size_t kMostTrimsAsked = 16;

/// By extent, none without a block.
using TrimmedOf = std::map<ExtentIndex, ExtentBlocks>;

struct TrimsAsk {
    std::uint64_t number = 0;          ///< the asker's, of this question
    bool adds_up = false;              ///< for their zones to go; else for a host
    std::vector<ExtentIndex> extents;  ///< ascending; one at least, kMostTrimsAsked at most
    friend bool operator==(const TrimsAsk&, const TrimsAsk&) = default;
};
struct TrimsTold {
    std::uint64_t number = 0;
    TrimmedOf blocks;
    friend bool operator==(const TrimsTold&, const TrimsTold&) = default;
};

Message encode(const Uuid& group, const TrimsAsk& frame);
Message encode(const Uuid& group, const TrimsTold& frame);
/// corrupt for what no encoder of ours writes.
Result<TrimsAsk> decode_trims_ask(const Message& message);
Result<TrimsTold> decode_trims_told(const Message& message);

class PeerTrims {
public:
    struct Told {
        TrimmedOf blocks;
        bool by_all = false;  ///< everybody has answered
    };

    PeerTrims(Executor& executor, Clock& clock, Transport& transport, const Uuid& group, Nanos patience)
        : executor_(executor), clock_(clock), transport_(transport), group_(group), patience_(patience) {}
    PeerTrims(const PeerTrims&) = delete;
    PeerTrims& operator=(const PeerTrims&) = delete;

    Task<Told> ask(std::set<AmfId> whom, std::vector<ExtentIndex> extents, bool adds_up);
    /// Ends all questions.
    void adopt();
    /// An answer. False: it makes no sense. One that nobody waits for any more does.
    bool deliver(AmfId from, const Message& message);

private:
    struct Question;

    Executor& executor_;
    Clock& clock_;
    Transport& transport_;
    Uuid group_;
    Nanos patience_;
    std::uint64_t next_number_ = 1;
    std::map<std::uint64_t, Question*> open_;
};

}  // namespace braid
