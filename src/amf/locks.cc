// Which units an operation takes, which of them a death leaves to be claimed, and when one may go (row L4).
//
//                              locks of stripes    locks of blocks
//   read                       stripe, read        blocks, read
//   read that regenerates      the same            stripe, read; then blocks, read
//   write                      stripe, write       stripe, write; then blocks, write
//   check, resync              stripe              stripe: they change nothing that a read of data looks at
//   a dead writer's record     stripe              stripe and its blocks, each for itself
//
// So a reader of one block and a writer of another one of its stripe do not meet. Nobody waits in a circle:
// the stripe comes before its blocks, blocks come in their order, and who holds blocks alone waits for no
// stripe. One operation at a time has a stripe for writing, so that in the blocks it meets readers only.
#include <algorithm>

#include "amf/dirty_write.h"

namespace braid {

bool Amf::try_units(LockUnits units, LockMode mode, LockPin& pin) {
    while (pin.count() < units.count) {
        LockPin next;
        if (!locks_.try_acquire(UnitIndex(units.first.v + pin.count()), mode, next)) return false;
        pin.join(std::move(next));
    }
    return true;
}

bool Amf::try_lock(const StripePiece& piece, LockMode mode, bool whole, PieceLock& lock) {
    if (whole && units_.fine() && !try_units({units_.of_stripe(piece.stripe)}, mode, lock.stripe))
        return false;
    return try_units(units_.content(piece), mode, lock.content);
}

Task<Status> Amf::wait_for_lock(StripePiece piece, LockMode mode, bool whole, PieceLock& lock,
                                LockRange wanted) {
    if (whole && units_.fine())
        CO_TRY(co_await wait_for_units({units_.of_stripe(piece.stripe)}, mode, lock.stripe, {}, false));
    co_return co_await wait_for_units(units_.content(piece), mode, lock.content, wanted, false);
}

/// offline: what the locks call cancelled, because nobody waits for a lock in a group that has to be left.
Task<Status> Amf::wait_for_units(LockUnits units, LockMode mode, LockPin& pin, LockRange wanted,
                                 bool background) {
    while (!try_units(units, mode, pin)) {
        const UnitIndex next(units.first.v + pin.count());
        const std::uint32_t more = units.count - pin.count() - 1;
        Result<LockPin> one = co_await locks_.acquire(next, mode, background, part_of(wanted, next), more);
        if (!one && tables_.offline()) co_return fail(Errc::offline);
        if (!one) co_return std::unexpected(one.error());
        if (pin && !pin.live()) {  // lost with the view
            pin.release();
            continue;
        }
        if (one->live()) pin.join(std::move(*one));
    }
    co_return Status{};
}

LockRange Amf::part_of(const LockRange& range, UnitIndex unit) const {
    if (range.length == 0 || !units_.fine()) return range;
    const LogicalRange whole = units_.bytes_of(unit);
    const std::uint64_t from = std::max(range.offset, whole.offset);
    const std::uint64_t to = std::min(range.offset + range.length, whole.end());
    return {from, static_cast<std::uint32_t>(to - from), range.generation};
}

LogicalRange Amf::bytes_of(UnitIndex unit) const {
    if (units_.is_blocks(unit)) return units_.bytes_of(unit);
    const StripeIndex first = units_.first_stripe(unit);
    const std::uint64_t begin = logical(first);
    return {begin, range_of(StripeIndex(first.v + units_.stripes() - 1)).end() - begin};
}

StripePiece Amf::piece_at(std::uint64_t at, std::uint64_t length) const {
    const Geometry geometry = tables_.geometry_of(ExtentIndex(static_cast<std::uint32_t>(at / kExtentSize)));
    const StripePlace place = geometry.locate(at);
    const std::uint64_t rest = geometry.range_of(place.stripe).length - place.offset;
    return {place.stripe, place.offset, static_cast<std::uint32_t>(std::min(length, rest)), at};
}

std::vector<LockClaim> Amf::claims() const {
    std::vector<LockClaim> out;
    for (const auto& [id, record] : replicator_.store().all()) {
        if (!replicator_.store().orphan(id)) continue;
        const RecordInfo& info = record.info;
        const std::uint8_t progress = record.complete() ? 3 : record.has_data() ? 2 : 1;
        out.push_back({units_.of_stripe(info.stripe), progress});
        if (!units_.fine()) continue;
        const LockUnits content = units_.content({info.stripe, info.offset, info.length, info.begin()});
        for (std::uint32_t i = 0; i < content.count; ++i)
            out.push_back({UnitIndex(content.first.v + i), progress});
    }
    for (const auto& [unit, taken] : inherited_) out.push_back({unit, 2});
    return out;
}

Task<AmfId> Amf::before_release(UnitIndex unit, AmfId next) {
    if (unit == kTablesUnit) co_return AmfId();
    next = co_await pass_on(unit, next);
    co_await cleaned(unit);
    if (!units_.is_blocks(unit)) {
        co_await replicator_.quiesced(units_.first_stripe(unit), units_.stripes());
        co_await journal_.retired(units_.first_stripe(unit), units_.stripes());
        co_return next;
    }
    const StripePiece piece = piece_at(units_.bytes_of(unit).offset, units_.bytes_of(unit).length);
    co_await replicator_.quiesced(piece.stripe, 1, {piece.offset, piece.length});
    co_return AmfId();
}

/// Blocks of a dead writer's record: whoever has the stripe finishes them, and everybody who has the record
/// holds them until then.
Task<void> Amf::keep_readers_out(UnitIndex unit) {
    const LogicalRange bytes = units_.bytes_of(unit);
    if (!co_await replicator_.forgotten(bytes.offset, bytes.end())) co_return;
    ++counters_.blocks_kept;
    locks_.recovered(unit);
}

}  // namespace braid
