// Every block that comes from a member is compared with its checksum before anybody gets it, or parity is
// made from it (H8). What does not fit is as if it could not be read: it is regenerated and written again.
//
// All copies of a stripe's record are read, beside the data, unless the newest is remembered, which it is
// while the stripe's unit is held here. So whatever m members say, the newest record is known; and a member
// that lost a write, or is an older state of itself, does not vouch for itself.
//
//   record                            written
//   data and parity of a write        together with them (write.cc, journal/replay.cc)
//   parity that a resync writes       together with it (check.cc)
//   a repaired block                  not: it becomes again what the record says
//   a moved row                       as it is, where the row goes
//
// A write that was cut short, and that nobody has a record of, leaves blocks that fit neither the old
// checksums nor the new ones. Where somebody's intents say that this may be so, and the group has no journal,
// all is taken as it is found; with one, what parity cannot tell. The resync then makes the checksums anew.
#include <algorithm>

#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {

void Amf::Sums::find() {
    if (use == Use::looking) return;
    record = amf.sums_.find(spot.stripe, spot.zone->generation);
    const bool changes = use == Use::writing;
    if (use == Use::blocks || (record && !changes)) return;
    // What is remembered is so because the unit is held.
    if (record || amf.locks_.holds(amf.units_.of_stripe(spot.stripe), LockMode::read))
        claim = amf.sums_.claim(spot.stripe);
}

void Amf::Sums::read_copies() {
    const unsigned count = spot.geometry.checksum_copies();
    copies = Buffer(std::size_t{count} * spot.geometry.checksum_record_size());
    std::array<Places, kMaxParity + 1> at;
    unsigned quick = 0;
    const auto limps = [&](unsigned copy) { return amf.limping_.members()[at[copy].read->member.v]; };
    for (unsigned copy = 0; copy < count; ++copy) {
        at[copy] = amf.record_at(spot, copy);
        quick += at[copy].read && !limps(copy) ? 1 : 0;
    }
    // Of two, one tells if the other one is old.
    const bool around = quick >= 2 && (use == Use::reading || use == Use::blocks);
    for (unsigned copy = 0; copy < count; ++copy) {
        if (at[copy].read && !(around && limps(copy))) batch.read(copy, *at[copy].read, 0, bytes_of(copy));
    }
    due = true;
}

/// Those that begin() has begun to read.
Task<void> Amf::arrived(Sums& sums) {
    if (!sums.due) co_return;
    co_await sums.batch.done();
    sums.due = false;
    ++counters_.checksum_reads;
    sums.record = ChecksumRecord(sums.spot.geometry, sums.owner());
    for (std::size_t i = 0; i < sums.batch.size(); ++i) {
        if (sums.batch.status(i)) sums.record.take(sums.bytes_of(sums.batch.role(i)));
    }
    for (std::size_t i = 0; i < sums.batch.size() && sums.use != Sums::Use::blocks; ++i) {
        const unsigned copy = sums.batch.role(i);
        const Status& status = sums.batch.status(i);
        if (!status) note_error_of(sums.batch.member(i), sums.spot.stripe, status.error());
        const bool unreadable = !status && status.error().code == Errc::media_error;
        if (!unreadable && (!status || sums.record.current(sums.bytes_of(copy)))) continue;
        sums.stale = true;
        LOG_WARN("member.checksums_old", {"member", sums.batch.member(i)}, {"stripe", sums.spot.stripe});
    }
    sums.batch.clear();
    if (sums.use == Sums::Use::reading) sums.keep();
    if (sums.stale && sums.use == Sums::Use::reading && scope_.running() < kMaxRepairs)
        scope_.spawn(repair_sums(sums.spot.stripe));
}

void Amf::Sums::write() {
    if (on()) write(record.seal(), {});
}

void Amf::Sums::write_again(std::optional<MemberIndex> member) {
    if (on()) write(record.whole() ? record.bytes() : record.seal(), stale ? std::nullopt : member);
}

void Amf::Sums::write(std::span<const std::byte> bytes, std::optional<MemberIndex> member) {
    batch.clear();
    for (unsigned copy = 0; copy < spot.geometry.checksum_copies(); ++copy) {
        const Places at = amf.record_at(spot, copy);
        for (const DiskPlace& place : at.to_write()) {
            if (!member || place.member == *member) batch.write(copy, {&place, 1}, 0, bytes);
        }
    }
}

/// Blocks that were read at `from` of a role's strip.
bool Amf::fits(const Sums& sums, unsigned role, std::uint32_t from, std::span<const std::byte> content) {
    if (!sums.record || sums.believe) return true;
    const auto wrong = sums.record.mismatch(role, from, content);
    if (!wrong) return true;
    if (sums.use == Sums::Use::blocks) return false;  // it is looked at again
    if (const Places at = strip_at(sums.spot, role); at.read) {
        const std::uint64_t offset = at.read->offset + wrong->offset;
        ++counters_.mismatches[at.read->member.v];
        if (wrong_places_.size() == kWrongPlaces) wrong_places_.erase(wrong_places_.begin());
        wrong_places_.push_back({at.read->member, offset, sums.spot.stripe, clock_.now()});
        LOG_WARN("member.checksum_wrong", {"member", at.read->member}, {"offset", offset},
                 {"stripe", sums.spot.stripe}, {"role", role}, {"expected", wrong->expected},
                 {"found", wrong->found});
    }
    return false;
}

/// Without a journal nothing that is made from several blocks of a half-written stripe outlives the next loss
/// of power for certain, and what a host has read must: so all of it is as it is found.
Task<void> Amf::believe_if_in_doubt(Sums& sums) {
    if (!sums.on() || tables_.config().has_journal() || std::exchange(sums.asked, true)) co_return;
    sums.believe = co_await may_be_half_written(sums.spot.stripe);
}

Task<bool> Amf::right_or_in_doubt(Sums& sums, unsigned role, std::uint32_t from,
                                  std::span<const std::byte> content) {
    if (fits(sums, role, from, content)) co_return true;
    if (sums.use != Sums::Use::blocks) co_await believe_if_in_doubt(sums);
    co_return sums.believe;
}

Task<Status> Amf::read_as_found(Spot spot, unsigned role, StripRange range, std::span<std::byte> into) {
    LOG_WARN("stripe.taken_as_found", {"stripe", spot.stripe}, {"role", role});
    counters_.taken_as_found += range.length() / kBlockSize;
    const Places at = strip_at(spot, role);
    if (!at.read) co_return fail(Errc::media_error);
    DiskBatch batch(executor_, tables_, extent(spot), spot.purpose);
    batch.read(role, *at.read, range.from, into);
    co_await batch.done();
    co_return batch.status(0);
}

/// Writes all copies again, because one of them is old or broken.
Task<void> Amf::repair_sums(StripeIndex stripe) {
    if (!gate_.try_enter()) co_return;
    const GateGuard inside(gate_);
    LockPin pin;
    if (!co_await wait_for_units({units_.of_stripe(stripe)}, LockMode::write, pin, {}, true)) co_return;
    const StripeLocks::Guard guard = co_await stripe_locks_.write(stripe);
    while (!tables_.settled()) co_await tables_.settled_event();
    const ExtentIndex extent = geometry_.extent_of(stripe);
    const Zone* present = tables_.zone(extent);
    if (present == nullptr || tables_.offline() || !tables_.geometry_of(stripe).has(stripe)) co_return;
    const Zone zone = *present;
    Sums sums(*this, spot(stripe, zone), Sums::Use::looking);
    sums.begin();
    co_await arrived(sums);
    if (!sums.stale || !tables_.still_there(extent, zone)) co_return;
    sums_.drop(stripe, 1);
    sums.write_again({});
    co_await sums.batch.done();
    if (sums.batch.failed().any()) (void)co_await fail_members(sums.batch.failed());
    ++counters_.checksum_repairs;
}

}  // namespace braid
