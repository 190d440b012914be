// Zeros, and extents that give their zone back (decisions/019). A trim is a write of zeros that may leave a
// hole: the range reads as zeros from its answer on.
//
//   extent without a zone           nothing to do
//   extent trimmed by one request   its zone goes: nothing is written to its place
//   part of an extent               zeros are written, and remembered as trimmed (TrimmedBlocks); when all of
//                                   the extent is, its zone goes too, and nobody sees a difference
//
// A zone goes while all of its extent is locked here for writing. So no operation is at work in it anywhere,
// nobody else has anything of it in memory, and no record of it is live that would not name the generation
// that goes. Locks are taken in the order of the stripes, then of the blocks: whoever holds one of them waits
// for none but higher ones.
//
// What is trimmed is remembered while the blocks' unit is held here, and until they are written: released(),
// write_piece(). So it is true at any moment, for whoever has a live lease.
//
// What a controller outside of the group asks for may be asked again when it has been done and others have
// written since. So it is done piece by piece, under the errand's name, and not by giving up the zone.
#include "amf/amf.h"
#include "amf/dirty_write.h"
#include "base/log.h"

namespace braid {

LogicalRange Amf::bytes_of(ExtentIndex extent) const {
    return {extent.v * kExtentSize, tables_.bytes_in_use(extent)};
}

Task<Status> Amf::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole, bool fua,
                               Errand errand) {
    ASSERT(offset + length <= tables_.config().logical_size());
    if (!ready_) co_return fail(Errc::not_ready);
    const std::uint64_t end = offset + length;
    while (offset < end) {
        const std::uint64_t next = std::min((offset / kExtentSize + 1) * kExtentSize, end);
        CO_TRY(co_await zero_in_extent({offset, next - offset}, may_leave_hole, fua, errand));
        offset = next;
    }
    if (fua) co_return co_await flush_members();
    co_return Status{};
}

Task<Status> Amf::zero_in_extent(LogicalRange range, bool may_leave_hole, bool fua, Errand errand) {
    const ExtentIndex extent(static_cast<std::uint32_t>(range.offset / kExtentSize));
    const LogicalRange all = bytes_of(extent);
    if (may_leave_hole) {
        // A write that was answered has made its zone known to all AMFs that have settled since. That a zone
        // has gone may be known here first.
        co_await tables_.settled_and_agreed();
        if (tables_.zone(extent) == nullptr) co_return Status{};
        if (!errand && range.offset == all.offset && range.length >= all.length)
            co_return co_await release_extent(extent, false);
    }
    std::vector<Task<Status>> pieces;
    Status status;
    for (std::uint64_t at = range.offset; at < range.end() && status;) {
        const StripePiece piece = piece_at(at, range.end() - at);
        const std::uint32_t size = tables_.geometry_of(extent).stripe_size();
        if (zeros_.size() < size) zeros_ = Buffer::zeroed(size);
        pieces.push_back(write_piece(piece, Slice(zeros_, zeros_.span(0, piece.length)),
                                     may_leave_hole ? Content::hole : Content::large, fua, errand));
        at += piece.length;
        if (pieces.size() == options_.pieces_per_operation || at == range.end())
            status = co_await in_pieces(std::exchange(pieces, {}));
    }
    const Zone* zone = tables_.zone(extent);
    if (!status || zone == nullptr || !may_leave_hole) co_return status;
    if (trimmed_.covers(zone->generation, all)) {
        (void)co_await release_extent(extent, true);  // what was asked for is done
    } else {
        add_up_soon(extent);
    }
    co_return status;
}

/// `trimmed`: only if all of it still is.
Task<Status> Amf::release_extent(ExtentIndex extent, bool trimmed) {
    co_await pieces_.take();
    const SemaphoreGuard slot(pieces_);
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    if (tables_.offline()) co_return fail(Errc::offline);
    PieceLock lock;
    std::vector<StripeLocks::Guard> guards;
    std::uint32_t rows = 0;
    do {  // it may have got another shape before it is locked
        guards.clear();
        lock = {};
        rows = tables_.geometry_of(extent).rows_per_extent();
        CO_TRY(co_await lock_extent(extent, rows, lock));
        for (std::uint32_t row = 0; row < rows; ++row)
            guards.push_back(co_await stripe_locks_.write(geometry_.stripe_of(extent, Row(row))));
        while (!tables_.settled()) co_await tables_.settled_event();
    } while (!lock.live() || tables_.geometry_of(extent).rows_per_extent() != rows);
    CO_TRY(co_await early_answers_copied());
    const Zone* zone = tables_.zone(extent);
    if (zone == nullptr) co_return Status{};
    if (trimmed && !trimmed_.covers(zone->generation, bytes_of(extent))) co_return Status{};
    CO_TRY(co_await tables_.release_zone(extent, [&lock] { return lock.live(); }));
    trimmed_.remove({extent.v * kExtentSize, kExtentSize});
    ++counters_.released_extents;
    LOG_INFO("zone.released", {"extent", extent}, {"trims", trimmed ? "several" : "one"});
    co_return Status{};
}

/// Who was about to release it is gone: it would hold a lock that we have.
Task<Status> Amf::keep_extent(ExtentIndex extent) {
    ++counters_.kept_extents;
    return tables_.keep_zone(extent);
}

/// All units of its first `rows` stripes, and then of its blocks if these have some of their own.
Task<Status> Amf::lock_extent(ExtentIndex extent, std::uint32_t rows, PieceLock& lock) {
    const StripeIndex first = geometry_.stripe_of(extent, Row(0));
    const UnitIndex begin = units_.of_stripe(first);
    const UnitIndex last = units_.of_stripe(StripeIndex(first.v + rows - 1));
    const auto count = static_cast<std::uint32_t>(last.v - begin.v + 1);
    CO_TRY(co_await wait_for_units({begin, count}, LockMode::write, lock.stripe, {}, false));
    if (!units_.fine()) co_return Status{};
    const LockUnits blocks = units_.content({first, 0, kExtentSize, extent.v * kExtentSize});
    co_return co_await wait_for_units(blocks, LockMode::write, lock.content, {}, false);
}

/// What was answered early is lost with us from its end on, and a zone that went stays gone.
Task<Status> Amf::early_answers_copied() {
    if (uncopied_.empty()) co_return Status{};
    const RecordId last = uncopied_.back()->record.info().id;
    const auto missing = [&] {
        return !uncopied_.empty() && uncopied_.front()->record.info().id.sequence <= last.sequence;
    };
    while (!replicator_.fenced() && missing()) co_await copied_.next();
    if (replicator_.fenced()) co_return fail(Errc::fenced);
    co_return Status{};
}

}  // namespace braid
