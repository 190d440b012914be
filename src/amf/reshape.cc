// Extents whose stripes get another shape (decisions/021). How an extent is cut into stripes decides what its
// locks mean: so that changes only while all of it is locked here for writing, as it is cut and as it will
// be, and nothing of what was is left: nothing dirty, no record, nothing in the journal, no block in memory.
// An operation that waited for a piece of before finds, when it has its lock, that the piece does not fit any
// more, and cuts it anew (write_piece(), read_piece()).
//
// Dirty content of a zone that is gone is dropped by its destage, which takes the local locks of stripes. So
// ours come after it.
#include <algorithm>

#include "amf/amf.h"
#include "base/log.h"

namespace braid {

Task<Status> Amf::set_shape(ExtentIndex extent, StripeShape shape) {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    if (tables_.zone(extent) != nullptr) co_return fail(Errc::busy);
    const StripeIndex first = geometry_.stripe_of(extent, Row(0));
    const std::uint32_t all = geometry_.stripes_per_extent();
    const auto rows_of = [this](StripeShape s) { return tables_.config().geometry_of(s).rows_per_extent(); };
    PieceLock lock;
    std::vector<StripeLocks::Guard> guards;
    std::uint32_t rows = 0;
    do {
        if (tables_.offline()) co_return fail(Errc::offline);
        guards.clear();
        lock = {};
        rows = std::max(rows_of(tables_.shape_of(extent)), rows_of(shape));
        CO_TRY(co_await lock_extent(extent, rows, lock));
        while (!tables_.settled()) co_await tables_.settled_event();
        if (tables_.zone(extent) != nullptr) co_return fail(Errc::busy);
        for (const StripeIndex stripe : dirty_.stripes(first, all)) (void)co_await destage(stripe);
        for (std::uint32_t row = 0; row < rows; ++row)
            guards.push_back(co_await stripe_locks_.write(geometry_.stripe_of(extent, Row(row))));
        while (!tables_.settled()) co_await tables_.settled_event();
    } while (!lock.live() || rows < rows_of(tables_.shape_of(extent)) || !dirty_.stripes(first, all).empty());
    while (!replicator_.quiet(first, all) || journal_.any_in(first, all)) {
        if (tables_.offline() || replicator_.fenced()) co_return fail(Errc::offline);
        journal_.retire_soon();
        co_await sleep_for(clock_, 1ms);
    }
    if (tables_.zone(extent) != nullptr) co_return fail(Errc::busy);
    CO_TRY(co_await tables_.set_shape(extent, shape, [&lock] { return lock.live(); }));
    // Blocks are remembered by unit.
    for (std::uint32_t row = 0; row < rows; ++row)
        cache_.drop(units_.of_stripe(geometry_.stripe_of(extent, Row(row))));
    ++counters_.shaped_extents;
    co_return Status{};
}

}  // namespace braid
