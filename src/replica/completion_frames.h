// What AMFs say to each other about forwarded operations: bytes of completion_ask and completion_tell.
// Decoding trusts nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "icl/message.h"
#include "replica/errand.h"

namespace braid {

/// These bytes of the logical space, of an errand, have taken effect.
struct Completion {
    Errand errand;
    std::uint64_t begin = 0, end = 0;
    friend bool operator==(const Completion&, const Completion&) = default;
};

/// Whoever knows of these bytes says so. About no errand: it is answered all the same, so that its sender
/// knows that what it told before has come.
struct CompletionAsk {
    std::uint64_t ticket = 0;
    Completion about;
};

/// An answer, with the ticket of the question, or told unasked, with 0.
struct CompletionTell {
    static constexpr std::size_t kMost = 8192;
    std::uint64_t ticket = 0;
    std::vector<Completion> known;  ///< at most kMost
};

Message encode(const Uuid& group, const CompletionAsk& ask);
Message encode(const Uuid& group, const CompletionTell& tell);
Result<CompletionAsk> decode_completion_ask(const Message& message);
Result<CompletionTell> decode_completion_tell(const Message& message);

}  // namespace braid
