#include "amf/checksum_cache.h"

namespace braid {

/// Who looks for a record claims it next, more often than not.
ChecksumCache::Entries::iterator ChecksumCache::entry(StripeIndex stripe) {
    if (last_ == entries_.end() || last_->first != stripe) last_ = entries_.find(stripe);
    return last_;
}

ChecksumRecord ChecksumCache::find(StripeIndex stripe, std::uint32_t generation) {
    const auto at = entry(stripe);
    if (at == entries_.end() || at->second.claim != 0) return {};
    if (at->second.record.generation() != generation) {
        erase(at);
        return {};
    }
    used_.splice(used_.begin(), used_, at->second.place);
    return at->second.record;
}

ChecksumCache::Claim ChecksumCache::claim(StripeIndex stripe) {
    auto at = entry(stripe);
    if (at == entries_.end()) {
        at = entries_.try_emplace(stripe).first;
    } else {
        if (at->second.claim != 0) return 0;
        used_.erase(at->second.place);
    }
    at->second.record = {};
    return at->second.claim = next_++;
}

void ChecksumCache::put(StripeIndex stripe, Claim claim, ChecksumRecord record) {
    if (claim == 0) return;
    const auto at = entry(stripe);
    if (at == entries_.end() || at->second.claim != claim) return;
    used_.push_front(stripe);
    at->second = {std::move(record), 0, used_.begin()};
    if (used_.size() > most_) erase(entries_.find(used_.back()));
}

void ChecksumCache::give_up(StripeIndex stripe, Claim claim) {
    if (claim == 0) return;
    const auto at = entry(stripe);
    if (at != entries_.end() && at->second.claim == claim) erase(at);
}

void ChecksumCache::drop(StripeIndex first, std::uint64_t count) {
    auto at = entries_.lower_bound(first);
    while (at != entries_.end() && at->first.v - first.v < count) at = erase(at);
}

ChecksumCache::Entries::iterator ChecksumCache::erase(Entries::iterator at) {
    if (at->second.claim == 0) used_.erase(at->second.place);
    last_ = entries_.end();
    return entries_.erase(at);
}

}  // namespace braid
