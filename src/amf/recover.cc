// Finishing what a dead AMF left (rows O4, O5). The arbiter gave us the unit before anybody else may use it.
// First every copy that anybody alive has is brought here, then each write is finished from its best copy:
//
//   a copy with redo    the disks may be half-written: data and parity are written again, as the record says
//   data, no redo       the disks were not touched: the data is written by a normal write
//   data incomplete     the disks were not touched and nobody was answered: dropped
//
// then every copy is forgotten everywhere, and only then may the unit be used. What is done here is itself a
// record with its own partners before a disk is touched, so that the next AMF can go on if this one dies too.
#include <algorithm>
#include <cstring>

#include "amf/intent_pin.h"
#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {

void Amf::recover(UnitIndex unit) {
    if (stopping_) return;  // it stays claimed, until the view lacks us and somebody else claims it
    // Its writer held it until it died: nobody else had it, and what is written again here is not kept.
    ASSERT(!cache_.holds_any(unit));
    if (units_.is_blocks(unit)) return scope_.spawn(keep_readers_out(unit));
    recovering_.push_back(unit);
    scope_.spawn(recover_unit(unit));
}

struct Amf::Recovering {
    Recovering(std::vector<UnitIndex>& u, UnitIndex which) : units(u), unit(which) {}
    Recovering(const Recovering&) = delete;
    Recovering& operator=(const Recovering&) = delete;
    ~Recovering() { std::erase(units, unit); }
    std::vector<UnitIndex>& units;
    UnitIndex unit;
};

/// What is to be finished next in one stripe, and what is over before it.
struct Amf::Left {
    const StoredRecord* next = nullptr;  ///< one of its copies
    std::vector<EndFrame> over;          ///< of all copies of older writes; oldest first
    std::vector<EndFrame> ends;          ///< of all copies of this one
};

/// The writes of a stripe that a dead AMF has left, oldest first, are finished in their order. A writer sends
/// the redo of one when all older ones of the stripe have ended: if there is one with redo, what is older is
/// over, and somebody had not heard of it yet.
Amf::Left Amf::left_in(std::span<const StoredRecord* const> orphans) {
    Left left{orphans.front(), {}, {}};
    const auto writer = [](const StoredRecord& r) {
        return AmfMember{r.info.root.origin, r.info.root.incarnation};
    };
    for (const StoredRecord* record : orphans) {
        if (record->complete() && writer(*record) == writer(*left.next)) left.next = record;
    }
    for (const StoredRecord* record : orphans) {
        if (record->info.root > left.next->info.root) break;
        auto& ends = record->info.root == left.next->info.root ? left.ends : left.over;
        ends.push_back({record->info.id, record->info.stripe, record->info.zone});
    }
    return left;
}

/// Without recovered() at the end the unit stays ours, and goes with us to whoever claims it next.
Task<void> Amf::recover_unit(UnitIndex unit) {
    const Recovering mark(recovering_, unit);
    const StripeIndex first = units_.first_stripe(unit);
    while (!tables_.settled()) co_await tables_.settled_event();
    // Whoever has a place waits for partners, members, the journal and the tables lock, never for another
    // unit.
    co_await recoveries_.take();
    const SemaphoreGuard place(recoveries_);
    while (true) {
        // Early answers: what was answered first is not to be lost to a second death when the rest is safe.
        if (!co_await (replicator_.keeps_order() ? replicator_.gather_all()
                                                 : replicator_.gather(first, units_.stripes())))
            co_return;  // fenced
        const auto all_orphans = replicator_.store().orphans(first, units_.stripes());
        if (all_orphans.empty()) break;
        const auto orphans = replicator_.store().orphans(all_orphans.front()->info.stripe, 1);
        // All copies of one write of the stripe; the next round takes the next.
        Left left = left_in(orphans);
        std::vector<StoredRecord> copies;
        for (const StoredRecord* record : orphans) {
            if (record->info.root == left.next->info.root) copies.push_back(*record);
        }
        const std::vector<EndFrame> ends = std::move(left.ends);
        // First: whoever goes on if we die may know of nothing newer by then.
        if (!left.over.empty() && !co_await replicator_.forget(std::move(left.over))) co_return;
        const Status status = co_await recover_write(std::move(copies));
        if (!status && status.error().code == Errc::offline && write_back() && !tables_.offline()) {
            co_await sleep_for(clock_, 1ms);  // not known yet to be so, or not for long
            continue;
        }
        if (!status) {
            const Errc reason = status.error().code;
            LOG_ERROR("stripe.not_recovered", {"stripe", ends.front().stripe}, {"reason", to_string(reason)});
            const bool hopeless = reason == Errc::io_error || reason == Errc::corrupt;
            if (!hopeless) co_return;  // we are leaving
            if (!co_await tables_.quarantine(ends.front().stripe, ends.front().zone)) co_return;
        }
        // Whoever has a record of these blocks keeps readers out of them. So ours goes first: nobody is to
        // finish it once more while they read.
        if (units_.fine()) co_await replicator_.quiesced(ends.front().stripe, 1);
        if (!co_await replicator_.forget(ends)) co_return;
    }
    granted(unit);  // not before: its destage would be at the same blocks
    locks_.recovered(unit);
}

/// `copies` of one write, at least one.
Task<Status> Amf::recover_write(std::vector<StoredRecord> copies) {
    const StoredRecord* best = &copies.front();
    std::uint8_t attempts = 0;
    for (const StoredRecord& copy : copies) {
        attempts = std::max(attempts, copy.info.attempts);
        const auto worth = [](const StoredRecord& r) { return r.complete() ? 2 : r.has_data() ? 1 : 0; };
        if (worth(copy) > worth(*best)) best = &copy;
    }
    LOG_INFO("stripe.recover", {"stripe", best->info.stripe}, {"writer", best->info.root.origin},
             {"copies", copies.size()}, {"redo", best->complete()}, {"attempt", attempts + 1});
    if (attempts >= options_.recovery_attempts) co_return fail(Errc::io_error);
    const ExtentIndex extent = geometry_.extent_of(best->info.stripe);
    if (extent.v >= tables_.config().extents) co_return fail(Errc::corrupt);
    ++attempts;
    const Zone* present = tables_.zone(extent);
    // Whoever wrote had a zone: without it the volume has been deleted since.
    if (present == nullptr || present->generation != best->info.zone ||
        (!best->complete() && !best->has_data())) {
        ++counters_.recovered_dropped;
        co_return Status{};
    }
    // A record whose numbers do not fit the group is no record of ours.
    const StripePiece piece{best->info.stripe, best->info.offset, best->info.length, best->info.begin()};
    if (!tables_.geometry_of(extent).has(piece.stripe) || !fits(piece)) co_return fail(Errc::corrupt);
    const Zone zone = *present;
    const Orphan orphan{*best, zone, attempts};
    if (best->complete()) {
        ++counters_.recovered_redo;
        co_return co_await replay(orphan);
    }
    ++counters_.recovered_data;
    const Status written = co_await write_locked(piece, best->data, nullptr, &orphan);
    if (!written && written.error().code == Errc::media_error) {
        // A stripe too broken to take it stays as it is if nobody was told that this write was done.
        if (write_back()) co_return fail(Errc::io_error);
        co_return Status{};
    }
    co_return written;
}

Task<Status> Amf::replay(Orphan orphan) {
    StoredRecord record = orphan.record;
    const auto aligned = [](Slice& slice) {
        if (reinterpret_cast<std::uintptr_t>(slice.bytes.data()) % kBlockSize != 0) {
            slice = Slice(Buffer::copy_of(slice.bytes));
        }
    };
    aligned(record.data);
    aligned(record.redo->bytes);
    if (tables_.offline()) co_return fail(Errc::offline);
    IntentPin intent(tables_, region_of(logical(record.info.stripe)));
    if (!tables_.intent_marked(intent.region)) CO_TRY(co_await tables_.mark_intent(intent.region));
    const StripeWrite write{geometry_.strip_size, record.info.offset, record.info.length};
    OpenRecord again(replicator_);
    again.begin_recovery(record, orphan.attempts);
    Sums sums(*this, spot(record.info.stripe, orphan.zone, DiskPurpose::recovery), Sums::Use::writing);
    sums.begin();
    const Status status = co_await finish(again, sums, write, record.data, *record.redo, Kind::usual);
    if (!status) intent.keep();
    co_return status;
}

}  // namespace braid
