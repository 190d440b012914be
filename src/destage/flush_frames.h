// The two messages by which a flush reaches what hosts wrote through other AMFs (H24). Decoding trusts
// nothing.
#pragma once

#include "base/result.h"
#include "icl/message.h"

namespace braid {

/// What the receiver has answered to hosts before it gets this is to be on the members.
struct FlushAsk {
    std::uint64_t number = 0;  ///< the asker's
    /// The asker is about to leave in order, and what it keeps for the receiver is to be elsewhere first.
    bool leaving = false;
    static constexpr std::uint8_t kMostTimes = 10;
    /// So often asked before, at most kMostTimes, because dirty content went from one AMF to another
    /// meanwhile: none does for a while, each time for longer.
    std::uint8_t times = 0;
    friend bool operator==(const FlushAsk&, const FlushAsk&) = default;
};

struct FlushDone {
    std::uint64_t number = 0;
    bool ok = false;           ///< it is; else some of it cannot be written
    std::uint64_t passed = 0;  ///< so often the sender has passed dirty content on
    friend bool operator==(const FlushDone&, const FlushDone&) = default;
};

Message encode(const Uuid& group, const FlushAsk& frame);
Message encode(const Uuid& group, const FlushDone& frame);
/// corrupt for what no encoder of ours writes.
Result<FlushAsk> decode_flush_ask(const Message& message);
Result<FlushDone> decode_flush_done(const Message& message);

}  // namespace braid
