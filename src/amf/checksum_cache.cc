#include "amf/checksum_cache.h"

namespace braid {

ChecksumRecord ChecksumCache::find(StripeIndex stripe, std::uint32_t generation) {
    const auto at = entries_.find(stripe);
    if (at == entries_.end() || at->second.claim != 0) return {};
    if (at->second.record.generation() != generation) {
        erase(at);
        return {};
    }
    used_.splice(used_.begin(), used_, at->second.place);
    return at->second.record;
}

ChecksumCache::Claim ChecksumCache::claim(StripeIndex stripe) {
    const auto [at, fresh] = entries_.try_emplace(stripe);
    if (at->second.claim != 0) return 0;
    if (!fresh) used_.erase(at->second.place);
    at->second.record = {};
    return at->second.claim = next_++;
}

void ChecksumCache::put(StripeIndex stripe, Claim claim, ChecksumRecord record) {
    const auto at = entries_.find(stripe);
    if (claim == 0 || at == entries_.end() || at->second.claim != claim) return;
    used_.push_front(stripe);
    at->second = {std::move(record), 0, used_.begin()};
    if (used_.size() > most_) erase(entries_.find(used_.back()));
}

void ChecksumCache::give_up(StripeIndex stripe, Claim claim) {
    const auto at = entries_.find(stripe);
    if (claim != 0 && at != entries_.end() && at->second.claim == claim) erase(at);
}

void ChecksumCache::drop(StripeIndex first, std::uint64_t count) {
    auto at = entries_.lower_bound(first);
    while (at != entries_.end() && at->first.v - first.v < count) at = erase(at);
}

std::map<StripeIndex, ChecksumCache::Entry>::iterator ChecksumCache::erase(
    std::map<StripeIndex, Entry>::iterator at) {
    if (at->second.claim == 0) used_.erase(at->second.place);
    return entries_.erase(at);
}

}  // namespace braid
