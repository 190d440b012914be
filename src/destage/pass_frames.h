// The two messages by which dirty content goes along with the lock of its unit. Decoding trusts nothing.
#pragma once

#include <vector>

#include "base/result.h"
#include "icl/message.h"
#include "io/clock.h"

namespace braid {

/// What is dirty at the sender of stripes of one unit, of which the receiver waits for the lock.
struct DirtyPass {
    static constexpr std::size_t kMaxPieces = 64;
    struct Piece {
        StripeIndex stripe;
        std::uint32_t generation = 0;  ///< of its zone
        std::uint32_t offset = 0, length = 0;
        friend bool operator==(const Piece&, const Piece&) = default;
    };
    std::uint64_t number = 0;  ///< the sender's
    std::uint64_t unit = 0;
    Nanos age{};                ///< of the oldest of it
    std::vector<Piece> pieces;  ///< 1 .. kMaxPieces; their content is the payload, one behind the other
    Slice content;
    friend bool operator==(const DirtyPass&, const DirtyPass&) = default;
};

struct DirtyTaken {
    std::uint64_t number = 0;
    bool ok = false;  ///< the receiver has it, and copies of it; else the sender destages
    friend bool operator==(const DirtyTaken&, const DirtyTaken&) = default;
};

Message encode(const Uuid& group, const DirtyPass& frame);
Message encode(const Uuid& group, const DirtyTaken& frame);
/// corrupt for what no encoder of ours writes.
Result<DirtyPass> decode_dirty_pass(const Message& message);
Result<DirtyTaken> decode_dirty_taken(const Message& message);

}  // namespace braid
