// What this AMF remembers of the group's blocks (rows C2 C3 C4). A block is in the cache while this AMF holds
// its unit, and it is what the members have:
//
//   comes                                            goes
//   a small read that is over, a small write         with its unit: released(), also when the view is lost
//   whose data and parity are on the members         before the first disk command of a write in its place
//
// All under the unit's lock and the stripe's local lock, so that nobody changes what is put in. A pin of
// before the view was lost puts nothing in. A zone that went takes its blocks along, because they are under
// its generation; a stripe in quarantine is not even looked up; a unit that is recovered comes from outside.
//
// A host is served from memory only if the lease is live after the data was taken: then nobody had got the
// unit at that moment, and the answer may come as late as it likes. What a write takes from memory needs no
// lease: a write that others have not waited for does not reach the members either.
#include <algorithm>

#include "amf/reshape.h"
#include "base/log.h"

namespace braid {

void Amf::released(UnitIndex unit) {
    cache_.drop(unit);
    if (unit != kTablesUnit && !trimmed_.empty()) trimmed_.remove(bytes_of(unit));
    if (unit == kTablesUnit || units_.is_blocks(unit)) return;
    sums_.drop(units_.first_stripe(unit), units_.stripes());
    if (reshaping_ != nullptr)
        reshaping_->touch(reshaping_->from, units_.first_stripe(unit), units_.stripes());
}

/// Part of a stripe, any bytes.
bool Amf::serve_cached(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation) {
    if (!cache_.read(at, into, generation)) return false;
    if (!options_.lease->live()) {
        ++counters_.reads_without_lease;
        return false;
    }
    ++counters_.cached_reads;
    return true;
}

/// Whole blocks that are not here: from an AMF that has them, or from the members. The stripe is locked.
Task<Status> Amf::fetch_blocks(Spot spot, std::uint32_t offset, std::span<std::byte> into,
                               const LockPin& content, bool whole, bool keep) {
    const std::uint64_t at = logical(spot.stripe) + offset;
    const std::uint32_t generation = spot.zone->generation;
    if (keep && co_await fetch_from_peer(at, into, generation, content)) {
        ++counters_.peer_reads;
    } else {
        CO_TRY(co_await read_blocks(spot, offset, into, whole));
        ++counters_.disk_reads;
    }
    if (keep && content.live()) remember(at, into, generation);
    co_return Status{};
}

Task<bool> Amf::fetch_from_peer(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation,
                                const LockPin& content) {
    const AmfId holder = locks_.copy_at(content.unit());
    if (holder == AmfId() || holder == view_.self || !view_.contains(holder)) co_return false;
    const PeerCache::Answer answer = co_await peer_cache_.fetch(holder, at, into, generation);
    if (answer == PeerCache::Answer::not_here) {
        if (locks_.copy_at(content.unit()) == holder) locks_.forget_copy(content.unit());
        co_return false;
    }
    co_return content.live() && options_.lease->live();
}

void Amf::deliver_cached(AmfId from, const Message& message) {
    if (message.type == MessageType::cache_data) {
        if (peer_cache_.deliver(from, message)) return;
    } else if (const Result<CacheFetch> fetch = decode_cache_fetch(message.head)) {
        return answer_fetch(from, *fetch);
    }
    LOG_WARN("cache.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

/// The blocks of a piece that is about to be read: who has them may send them with the lock. Of the zone as
/// far as it is known before the lock is held; what comes is kept as of that one.
LockRange Amf::wanted(const StripePiece& piece) const {
    const Zone* zone = tables_.zone(geometry_.extent_of(piece.stripe));
    if (zone == nullptr || cache_.capacity() == 0) return {};
    const std::uint32_t from = block_floor(piece.offset);
    const std::uint32_t end = block_ceil(piece.offset + piece.length);
    return {piece.at - (piece.offset - from), end - from, zone->generation};
}

std::optional<LockUnits> Amf::units_of(const LockRange& range) const {
    if (range.offset >= tables_.config().logical_size() || range.length == 0 || range.length > kMostCacheData)
        return std::nullopt;
    if (range.offset % kBlockSize != 0 || range.length % kBlockSize != 0) return std::nullopt;
    const StripePiece piece = piece_at(range.offset, range.length);
    if (piece.length != range.length) return std::nullopt;
    return units_.content(piece);
}

/// A peer is about to read these blocks of a unit. What is here of it is here because the unit is held.
Slice Amf::cached(UnitIndex unit, LockRange range) {
    return units_of(range) == LockUnits{unit} && cache_.holds_any(unit) ? at_hand(range) : Slice{};
}

Slice Amf::at_hand(const LockRange& range) {
    if (!ready_ || dirty_.find(piece_at(range.offset, range.length).stripe) != nullptr) return {};
    Buffer blocks(range.length);
    if (!cache_.read(range.offset, blocks.span(), range.generation) || !options_.lease->live()) return {};
    ++counters_.reads_for_peers;
    return Slice(std::move(blocks));
}

/// Of the range that this AMF has asked for with the lock.
void Amf::received(UnitIndex unit, LockRange range, Slice data) {
    if (units_of(range) != LockUnits{unit} || data.bytes.size() != range.length) return;
    remember(range.offset, data.bytes, range.generation);
}

/// Whole blocks of one stripe, whose units are held.
void Amf::remember(std::uint64_t at, std::span<const std::byte> content, std::uint32_t generation) {
    const LockUnits units = units_.content(piece_at(at, content.size()));
    for (UnitIndex unit = units.first; !content.empty(); ++unit.v) {
        const std::size_t rest = units_.fine() ? units_.bytes_of(unit).end() - at : content.size();
        const std::size_t size = std::min(content.size(), rest);
        cache_.insert(unit, generation, at, content.first(size));
        at += size;
        content = content.subspan(size);
    }
}

/// Another AMF, which holds these blocks too, asks for them.
void Amf::answer_fetch(AmfId from, const CacheFetch& fetch) {
    CacheData answer{fetch.number, {}};
    const LockRange range{fetch.at, fetch.length, fetch.generation};
    const std::optional<LockUnits> units = units_of(range);
    LockPin pin;
    if (units && cache_.holds_any(units->first) && try_units(*units, LockMode::read, pin))
        answer.data = at_hand(range);
    transport_.send(from, encode(group_, answer));
}

/// What an update needs of the old data. What the extent's end cuts off a row has no place in the logical
/// space: there the next extent begins.
bool Amf::old_data_cached(const Spot& spot, unsigned role, StripRange part, std::span<std::byte> into) {
    if (role >= spot.geometry.k) return false;
    const Role column(static_cast<std::uint8_t>(role));
    if (part.to > spot.geometry.column_length(spot.stripe, column)) return false;
    const std::uint64_t at = logical(spot.stripe) + std::uint64_t{role} * geometry_.strip_size + part.from;
    return cache_.read(at, into, spot.zone->generation);
}

Task<Status> Amf::old_block(Spot spot, std::uint32_t offset, std::span<std::byte> into) {
    const std::uint32_t generation = spot.zone->generation;
    if (dirty_.covers(spot.stripe, generation, {offset, kBlockSize})) {
        dirty_.overlay(spot.stripe, generation, offset, into);
        co_return Status{};
    }
    if (cache_.read(logical(spot.stripe) + offset, into, generation)) co_return Status{};
    co_return co_await read_blocks(spot, offset, into, true);
}

/// What is on the members is about to change, or has been put right.
void Amf::forget_blocks(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) {
    cache_.invalidate(logical(stripe) + offset, length);
}

}  // namespace braid
