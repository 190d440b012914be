// Takes blocks from the cache of another AMF: who holds the unit for reading may ask the one that the grant
// named (row C3). At most three parties in a read, whatever the number of AMFs: reader, arbiter, holder.
//
//   reader                                  holder
//     | cache_fetch {number, blocks, zone}    |  still holds the unit, has all of it, has a live lease
//     |-------------------------------------->|
//     |      cache_data {number, the blocks}  |  else: no blocks, not here
//     |<--------------------------------------|
//
// Guarantees: fetch() returns `here` only with all blocks, from an answer of the present view; an answer that
// is late, lost with the view or of another size is as if there were none. Needs: adopt() for every view; it
// outlives all fetches.
#pragma once

#include <map>

#include "async/sync.h"
#include "async/task.h"
#include "cache/cache_frames.h"
#include "io/clock.h"

namespace braid {

class PeerCache {
public:
    enum class Answer : std::uint8_t { here, not_here };

    PeerCache(Executor& executor, Clock& clock, Transport& transport, const Uuid& group, Nanos patience)
        : executor_(executor), clock_(clock), transport_(transport), group_(group), patience_(patience) {}
    PeerCache(const PeerCache&) = delete;
    PeerCache& operator=(const PeerCache&) = delete;

    /// Fills `into`, or not.
    Task<Answer> fetch(AmfId holder, std::uint64_t at, std::span<std::byte> into, std::uint32_t generation);
    /// Ends all fetches.
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
