// Checksum records of stripes that this AMF knows the newest of: bounded, least recently used goes first. A
// pure container: who uses it sees to the locks (amf/checksums.cc).
//
// Guarantees: put() keeps a record only if its stripe was not dropped since the claim. So what was read, or
// was being written, when the stripe's unit went is not kept.
#pragma once

#include <list>
#include <map>

#include "ondisk/checksum_record.h"

namespace braid {

class ChecksumCache {
public:
    /// Of one operation on a stripe. 0: none.
    using Claim = std::uint64_t;

    explicit ChecksumCache(std::size_t records) : most_(records) {}

    /// Nothing if it is not here, is of another zone, or somebody has claimed the stripe.
    ChecksumRecord find(StripeIndex stripe, std::uint32_t generation);
    /// Who is about to know the stripe's record, or to change it. 0: somebody else is. What is here is not
    /// found any more.
    Claim claim(StripeIndex stripe);
    void put(StripeIndex stripe, Claim claim, ChecksumRecord record);
    void give_up(StripeIndex stripe, Claim claim);
    void drop(StripeIndex first, std::uint64_t count);
    bool empty() const { return entries_.empty(); }

private:
    struct Entry {
        ChecksumRecord record;
        Claim claim = 0;
        std::list<StripeIndex>::iterator place;  ///< while there is no claim
    };
    using Entries = std::map<StripeIndex, Entry>;
    Entries::iterator entry(StripeIndex stripe);
    Entries::iterator erase(Entries::iterator at);

    std::size_t most_;
    Entries entries_;
    Entries::iterator last_ = entries_.end();  ///< that was looked for
    std::list<StripeIndex> used_;              ///< without claims, the latest first
    Claim next_ = 1;
};

}  // namespace braid
