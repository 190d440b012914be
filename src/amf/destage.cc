// Write-back (row C1): a host is answered when its update record is with the partners, and its data goes to
// the members later, together with what else is dirty in the stripe.
//
//   write     room -> unit and stripe locked -> record with the data at all partners -> dirty -> answer
//   destage   stripe locked -> what lies together becomes one record, whose copies replace the older ones ->
//             what every write does: old data, parity, redo, journal, members, end -> clean; the next part
//
// Guarantees: what is dirty is at dimension - 1 partners, or on its way there and nobody has seen it
// (copies.cc); with fewer of them nothing becomes dirty, and what is goes to the members, unless the group's
// policy says otherwise. The stripe's unit stays here, for writing, until the stripe is clean
// (before_release). When a member is touched for a record, no older one of its stripe is left anywhere: so
// the records of a dead writer can be finished in their order.
//
// No circular wait: who waits for room holds nothing; a destage takes the local lock of its stripe, whose
// holders wait for partners, members, the journal and the tables lock, never for room or for a place among
// the pieces.
#include <algorithm>
#include <cstring>

#include "amf/amf.h"
#include "amf/dirty_write.h"
#include "amf/intent_pin.h"
#include "base/log.h"
#include "destage/admission.h"

namespace braid {

// ---- writes

std::size_t Amf::room_for(const StripePiece& piece) const {
    const std::size_t blocks = block_ceil(piece.offset + piece.length) - block_floor(piece.offset);
    return std::min(blocks, options_.dirty);
}

/// First come, first served, but for the time by which hosts are slowed down before.
Task<Amf::Room> Amf::take_room(std::size_t bytes) {
    if (const Nanos pause = admission_pause(options_.dirty, room_.free(), bytes); pause > 0ns) {
        ++counters_.dirty_slowed;
        start_destages();
        co_await sleep_for(clock_, pause);
    }
    if (!room_.try_take(bytes)) {
        ++counters_.dirty_waits;
        const Counted waiting(waiting_for_room_);
        start_destages();
        co_await room_.take(bytes);
    }
    co_return Room(room_, bytes);
}

bool Amf::beside_destage(const StripePiece& piece) const {
    const auto at = destaging_.find(piece.stripe);
    if (at == destaging_.end() || !fits(piece)) return false;
    if (!tables_.settled() || tables_.offline() || !enough_copies()) return false;
    const ExtentIndex extent = geometry_.extent_of(piece.stripe);
    const Zone* zone = tables_.zone(extent);
    const bool same = zone != nullptr && !tables_.emptying(extent) &&
                      zone->generation == dirty_.find(piece.stripe)->generation;
    const bool apart = piece.offset + piece.length <= at->second.offset || piece.offset >= at->second.end();
    return same && apart && in_blocks(piece.offset, piece.length);
}

/// What stands here is waited for by whoever meets it, until it has its copies; so its lock is not needed.
Task<Status> Amf::write_dirty(StripePiece piece, Slice data, Room room, bool fua, Errand errand,
                              StripeLocks::Guard* until_dirty) {
    if (tables_.offline()) co_return fail(Errc::offline);
    const ExtentIndex extent = geometry_.extent_of(piece.stripe);
    const Zone* zone = tables_.zone(extent);
    if (zone == nullptr) {
        CO_TRY_LET(zone, co_await tables_.allocate_zone(extent));
    }
    const std::uint32_t generation = zone->generation;
    if (tables_.quarantined(piece.stripe, generation)) co_return fail(Errc::io_error);
    // Of a volume that has been deleted since.
    const DirtyStripes::Stripe* before = dirty_.find(piece.stripe);
    if (before != nullptr && before->generation != generation) CO_TRY(co_await destage_locked(piece.stripe));
    CO_TRY_LET(data, co_await whole_blocks(spot(piece.stripe, *zone), piece, std::move(data)));
    const std::uint32_t offset = piece.offset - piece.offset % kBlockSize;
    // The rest of a large write has gone long before its ends; stripes that are dirty all over go at once.
    if (data.bytes.size() < range_of(piece.stripe).length) data = to_keep(std::move(data));

    const Replication mode = mode_for(data.bytes.size());
    counters_.window_waits += mode == replication() ? 0 : 1;
    const auto write = std::make_shared<DirtyWrite>(replicator_, std::move(room), mode, clock_.now());
    write->record.begin(piece.stripe, logical(piece.stripe), generation, offset, data, errand, true,
                        mode == Replication::pseudo_synchronous);
    add_dirty(offset, std::move(data), write, true);
    if (until_dirty != nullptr) until_dirty->release();
    CO_TRY(co_await answerable(*write));
    ++counters_.dirty_writes;
    // A partner died, and nobody is there to take its place.
    if (!enough_copies())
        co_return co_await (until_dirty == nullptr ? destage_locked(piece.stripe) : destage(piece.stripe));
    if (fua) co_return co_await secure_locked(piece.stripe);
    start_destages();
    co_return Status{};
}

/// Its record has begun. Others see it when it has its copies.
void Amf::add_dirty(std::uint32_t offset, Slice data, std::shared_ptr<DirtyWrite> write, bool host) {
    const RecordInfo& info = write->record.info();
    const DirtyStripes::Ticket ticket = info.id.sequence;
    const auto covered =
        dirty_.put(info.stripe, info.zone, static_cast<std::uint32_t>(range_of(info.stripe).length), offset,
                   std::move(data), ticket, clock_.now(), host);
    for (const DirtyStripes::Ticket old : covered)
        write->covered.push_back(std::move(dirty_writes_.extract(old).mapped()));
    // The same content once more: the journal has it if it had all of it.
    const auto in_journal = [](const auto& old) { return old->journaled != 0; };
    if (!host && std::ranges::all_of(write->covered, in_journal)) {
        for (const auto& old : write->covered) write->journaled = std::max(write->journaled, old->journaled);
    }
    await_copies(*dirty_writes_.emplace(ticket, std::move(write)).first->second);
}

/// Its bytes are on the members, or nobody wants them any more.
void Amf::end_dirty(DirtyStripes::Ticket ticket) {
    dirty_writes_.extract(ticket).mapped()->record.end(Effect::done);
}

std::vector<DirtyStripes::Ticket> Amf::drop_dirty(StripeIndex stripe, DirtyPiece piece) {
    journal_.release(stripe, piece.offset, piece.length);
    return dirty_.drop(stripe, piece);
}

// ---- reads

/// Some of it is dirty. Without a lease the members are asked, whatever is at hand: an answer of theirs says
/// that nobody has fenced us.
Task<Status> Amf::read_dirty(StripePiece piece, std::span<std::byte> into, Spot spot, const LockPin& content,
                             bool whole, bool keep) {
    const std::uint32_t generation = spot.zone->generation;
    if (dirty_.covers(piece.stripe, generation, {piece.offset, piece.length})) {
        dirty_.overlay(piece.stripe, generation, piece.offset, into);
        if (options_.lease->live()) {
            ++counters_.cached_reads;
            co_return Status{};
        }
        ++counters_.reads_without_lease;
    }
    const std::uint32_t from = block_floor(piece.offset);
    const std::uint32_t end = block_ceil(piece.offset + piece.length);
    const Buffer blocks(end - from);
    if (!serve_cached(logical(piece.stripe) + from, blocks.span(), generation))
        CO_TRY(co_await fetch_blocks(spot, from, blocks.span(), content, whole, keep));
    dirty_.overlay(piece.stripe, generation, from, blocks.span());
    std::memcpy(into.data(), blocks.data() + (piece.offset - from), into.size());
    co_return Status{};
}

// ---- destage

Task<Status> Amf::destage(StripeIndex stripe, Destage how) {
    while (true) {
        Status status;
        {
            const StripeLocks::Guard guard = co_await stripe_locks_.write(stripe);
            while (!tables_.settled()) co_await tables_.settled_event();
            status = co_await destage_locked(stripe, how);
        }
        const bool ended = replicator_.fenced() || tables_.offline() || dirty_.find(stripe) == nullptr;
        if (status || ended) co_return status;
        // Members that are not reached from here are declared failed, or we will be offline.
        co_await sleep_for(clock_, 1ms);
    }
}

Task<Status> Amf::destage_locked(StripeIndex stripe, Destage how) {
    if (dirty_.find(stripe) == nullptr) co_return Status{};
    CO_TRY(co_await copied(stripe, kWholeStripe));
    const DirtyStripes::Stripe* dirty = dirty_.find(stripe);
    if (tables_.offline()) co_return fail(Errc::offline);
    const Counted busy(destages_);
    const Zone* present = tables_.zone(geometry_.extent_of(stripe));
    if (present == nullptr || present->generation != dirty->generation) {
        for (const DirtyStripes::Ticket ticket : drop_dirty(stripe, kWholeStripe)) end_dirty(ticket);
        co_return Status{};
    }
    const Zone zone = *present;
    const bool full = dirty->full();
    const std::uint64_t writes = dirty->writes;
    Gaps over = how == Destage::together ? Gaps::all : Gaps::small;
    if (units_.fine()) over = Gaps::none;  // other blocks may be somebody else's
    Status status = co_await destage_pieces(spot(stripe, zone), over, how);
    if (!status && status.error().code == Errc::media_error && over != Gaps::none)
        status = co_await destage_pieces(spot(stripe, zone), Gaps::none, how);
    if (!status && status.error().code == Errc::media_error) {
        co_await give_up_dirty(stripe);
        co_return fail(Errc::io_error);
    }
    if (status) {
        ++(full ? counters_.destaged_full : counters_.destaged_partial);
        counters_.destaged_writes += writes;
    }
    co_return status;
}

bool Amf::one_record(StripeIndex stripe, DirtyPiece piece) const {
    const auto records = dirty_.records_in(stripe, piece);
    return records.size() == 1 && dirty_.find(stripe)->records.at(records.front()) == piece;
}

/// Each piece one record, then one after the other in the order of these: whoever finishes what is left of
/// them goes by it, too. Beside hosts that write a piece gets more meanwhile: it is newer then than all of
/// these, and the next one's turn. Else nothing is dirty afterwards: pieces may meet when they are put
/// together.
Task<Status> Amf::destage_pieces(Spot spot, Gaps over, Destage how) {
    for (const DirtyPiece piece : dirty_.pieces(spot.stripe, over)) {
        if (!one_record(spot.stripe, piece)) CO_TRY(co_await merge(spot, piece));
    }
    const DirtyStripes::Ticket newest = dirty_.find(spot.stripe)->records.rbegin()->first;
    const DirtyStripes::Ticket last = how == Destage::beside ? newest : ~DirtyStripes::Ticket{0};
    while (const DirtyStripes::Stripe* dirty = dirty_.find(spot.stripe)) {
        const auto [oldest, where] = *dirty->records.begin();
        if (oldest > last) break;
        const auto pieces = dirty_.pieces(spot.stripe, over);
        const auto piece = *std::ranges::find_if(pieces, [&](DirtyPiece p) { return where.within(p); });
        if (one_record(spot.stripe, piece)) {
            CO_TRY(co_await destage_piece(spot, piece, how));
        } else {
            CO_TRY(co_await merge(spot, piece));
        }
    }
    co_return Status{};
}

Task<Status> Amf::destage_piece(Spot spot, DirtyPiece piece, Destage how) {
    IntentPin intent(tables_, region_of(logical(spot.stripe)));
    if (!tables_.intent_marked(intent.region)) CO_TRY(co_await tables_.mark_intent(intent.region));
    const auto records = dirty_.records_in(spot.stripe, piece);
    ASSERT(records.size() == 1);
    const Slice data = dirty_.content(spot.stripe, piece);
    if (how == Destage::beside) destaging_.emplace(spot.stripe, piece);
    const Status status = co_await update(dirty_writes_.at(records.front())->record, spot,
                                          StripeWrite{geometry_.strip_size, piece.offset, piece.length}, data,
                                          intent, Kind::dirty);
    destaging_.erase(spot.stripe);
    CO_TRY(status);
    drop_dirty(spot.stripe, piece);
    dirty_writes_.erase(records.front());
    if (small(piece.length) && !replicator_.fenced())
        remember(logical(spot.stripe) + piece.offset, data.bytes, spot.zone->generation);
    co_return Status{};
}

/// One record of all that is in the piece, in the place of those that made it.
Task<Status> Amf::merge(Spot spot, DirtyPiece piece) {
    const std::uint32_t generation = spot.zone->generation;
    Slice data;
    if (dirty_.covers(spot.stripe, generation, piece)) {
        data = dirty_.content(spot.stripe, piece);
    } else {
        const Buffer blocks(piece.length);
        CO_TRY(co_await read_blocks(spot, piece.offset, blocks.span(), true));
        dirty_.overlay(spot.stripe, generation, piece.offset, blocks.span());
        data = Slice(blocks);
    }
    auto write = std::make_shared<DirtyWrite>(replicator_, Room(), Replication::synchronous, clock_.now());
    DirtyWrite& merged = *write;
    merged.record.begin(spot.stripe, logical(spot.stripe), generation, piece.offset, data, {}, true);
    add_dirty(piece.offset, std::move(data), std::move(write), false);
    co_return co_await answerable(merged);
}

/// More strips than the level survives cannot be read, and parity needs them: what hosts were told is done is
/// lost, and the stripe answers with errors until it is written anew in another zone.
Task<void> Amf::give_up_dirty(StripeIndex stripe) {
    LOG_ERROR("stripe.not_destaged", {"stripe", stripe});
    // What got dirty beside the destage may still be on its way, and is watched.
    if (!co_await copied(stripe, kWholeStripe)) co_return;
    if (!co_await tables_.quarantine(stripe, dirty_.find(stripe)->generation)) co_return;
    for (const DirtyStripes::Ticket ticket : drop_dirty(stripe, kWholeStripe)) end_dirty(ticket);
}

/// Goes on when nothing of the unit is dirty. Where content has units of its own all of the stripe goes: it
/// has one parity. What cannot be destaged keeps the unit here.
Task<void> Amf::cleaned(UnitIndex unit) {
    const bool blocks = units_.is_blocks(unit);
    const LogicalRange bytes = blocks ? units_.bytes_of(unit) : LogicalRange{};
    const StripePiece piece = blocks ? piece_at(bytes.offset, bytes.length) : StripePiece{};
    const StripeIndex first = blocks ? piece.stripe : units_.first_stripe(unit);
    const auto dirty = [&] {
        if (!blocks) return dirty_.stripes(first, units_.stripes());
        const DirtyStripes::Stripe* stripe = dirty_.find(first);
        const bool meets =
            stripe != nullptr && dirty_.meets(first, stripe->generation, {piece.offset, piece.length});
        return meets ? std::vector{first} : std::vector<StripeIndex>{};
    };
    for (const StripeIndex stripe : dirty()) {
        ++counters_.destages_recalled;
        scope_.spawn(destage_chosen(stripe, Destage::together));
    }
    while (!dirty().empty()) co_await cleaned_.next();
}

// ---- order

/// Begins with what is due, as many as may be at work.
void Amf::start_destages() {
    if (!write_back() || !ready_) return;
    if (replicator_.fenced() || tables_.offline()) {
        // Nothing gets clean here any more, and nobody is to wait for that.
        if (!std::exchange(room_for_all_, true)) room_.give(~std::size_t{0} / 2);
        return;
    }
    // What a flush has put into the journal is safe from a loss of all power, and from a death by its copies.
    const bool one_place = replicator_.copies() < replicator_.dimension() && journal_.has_data();
    const bool all = waiting_for_room_ != 0 || !enough_copies() || one_place;
    const std::uint64_t low = journal_.has_much_data() ? 0 : options_.dirty / 2;
    const DirtyStripes::Pressure pressure{clock_.now(), options_.dirty_age, low, all};
    while (chosen_destages_ < options_.destages) {
        const std::optional<StripeIndex> stripe = dirty_.choose(pressure);
        if (!stripe) return;
        scope_.spawn(destage_chosen(*stripe, Destage::beside));
    }
}

Task<void> Amf::destage_chosen(StripeIndex stripe, Destage how) {
    {
        const Counted one(chosen_destages_);
        (void)co_await destage(stripe, how);
        dirty_.unchoose(stripe);
        cleaned_.notify_all();
    }
    start_destages();
}

Task<void> Amf::destage_old() {
    while (true) {
        co_await sleep_for(clock_, options_.dirty_age / 4);
        start_destages();
    }
}

Task<Status> Amf::destage_some(std::vector<StripeIndex> stripes) {
    std::vector<Task<Status>> all;
    for (const StripeIndex stripe : stripes) all.push_back(destage(stripe));
    co_return co_await in_pieces(std::move(all));
}

/// Of volumes that are no more.
void Amf::drop_dirty_of_gone_zones() {
    for (const StripeIndex stripe : dirty_.stripes()) {
        const Zone* zone = tables_.zone(geometry_.extent_of(stripe));
        if (zone == nullptr || zone->generation != dirty_.find(stripe)->generation)
            scope_.spawn(destage_chosen(stripe, Destage::apart));
    }
}

}  // namespace braid
