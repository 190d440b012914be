// Moving a zone's segment to another member, a row at a time (rows P1 L5, figure 15; tables/moves.cc).
//
// A row is made at the target under its stripe's write lock, and the lock goes before the next row. So what
// has been written to the stripe is at its old places, and what is written to it from now on goes to both,
// because whoever gets the lock has the tables with the move: nothing falls between. An operation that took
// its lock before the move was known here or there has ended when we get it.
//
// Nothing is regenerated from a stripe that may be half-written. The lock comes when no record of the stripe
// is left anywhere; what is left half-written without a record stands in the intents of who was lost in this
// epoch or before, and whoever calls has seen that none of these names the extent (`epoch`).
//
// A row above the watermark may be torn by a death or a loss of power: nobody reads it at the target, and it
// is made again, and its checksums with it. Of a segment that moves in place the same is true: its disk was
// away.
#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {

Task<Status> Amf::move_row(StripeIndex stripe, Epoch epoch) {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    LockPin pin;
    CO_TRY(co_await wait_for_units({units_.of_stripe(stripe)}, LockMode::write, pin, {}, true));
    const StripeLocks::Guard guard = co_await stripe_locks_.write(stripe);
    while (!tables_.settled()) co_await tables_.settled_event();
    if (tables_.offline()) co_return fail(Errc::offline);
    if (view_.epoch != epoch) co_return fail(Errc::busy);
    const Zone* present = tables_.zone(geometry_.extent_of(stripe));
    if (present == nullptr || !present->move || !tables_.geometry_of(stripe).has(stripe))
        co_return fail(Errc::busy);
    const Zone zone = *present;
    if (tables_.quarantined(stripe, zone.generation)) co_return Status{};  // nobody is told what is there
    const Spot where = spot(stripe, zone, DiskPurpose::rebuild);
    const bool has_old =
        !zone.moves_in_place() && tables_.member_ok(zone.segments[zone.move->position.v].member);
    if (!has_old && where.row.v < zone.move->rows_done) co_return Status{};  // the only place there is

    const unsigned role = where.geometry.role_at(zone.move->position, where.row).v;
    const Buffer content(geometry_.strip_size);
    Sums sums(*this, where, Sums::Use::looking);
    sums.begin();
    CO_TRY(co_await content_of(sums, role, content.span()));
    if (!tables_.still_there(extent(where), zone) || !co_await write_moved(sums, role, content.span()))
        co_return fail(Errc::busy);
    ++counters_.moved_rows;
    co_return Status{};
}

/// A whole strip: from its place of before, else from the others.
Task<Status> Amf::content_of(Sums& sums, unsigned role, std::span<std::byte> into) {
    bool right = false;
    {
        DiskBatch batch(executor_, tables_, extent(sums.spot), sums.spot.purpose);
        const Places at = strip_at(sums.spot, role);
        if (at.read) batch.read(role, *at.read, 0, into);
        co_await batch.done();
        co_await arrived(sums);
        if (at.read && !batch.status(0))
            note_error_of(at.read->member, sums.spot.stripe, batch.status(0).error());
        right = at.read && batch.status(0) && co_await right_or_in_doubt(sums, role, 0, into);
    }
    if (right) co_return Status{};
    co_return co_await regenerate(sums, role, {0, geometry_.strip_size}, into, {});
}

/// False if the move is another one by now, or a member failed. Checksums say more than they did where a part
/// was missing, or something half-written: that members which are away miss this has been noted, or will be.
Task<bool> Amf::write_moved(Sums& sums, unsigned role, std::span<const std::byte> content) {
    const Zone& now = zone_of(sums.spot);
    if (!now.move || now.move != sums.spot.zone->move || !tables_.member_ok(now.move->target.member))
        co_return false;
    const DiskPlace target = strip_place(sums.spot.geometry, now.move->target, sums.spot.row, data_start_);
    MemberMask failed;
    {
        DiskBatch batch(executor_, tables_, extent(sums.spot), sums.spot.purpose);
        batch.write(role, {&target, 1}, 0, content);
        if (sums.on() && sums.record.learn(role, 0, content)) {
            sums_.drop(sums.spot.stripe, 1);
            sums.write();
        } else {
            sums.write_again(target.member);
        }
        co_await batch.done();
        co_await sums.batch.done();
        failed = batch.failed() | sums.batch.failed();
    }
    if (failed.any()) (void)co_await fail_members(failed);
    co_return failed.none();
}

/// What was written to it outlives a loss of power.
Task<Status> Amf::flush_member(MemberIndex member) {
    if (!tables_.member_ok(member)) co_return fail(Errc::busy);
    MemberMask failed;
    {
        DiskBatch batch(executor_, tables_, kNoExtent, DiskPurpose::rebuild);
        batch.flush(member);
        co_await batch.done();
        failed = batch.failed();
    }
    if (failed.none()) co_return Status{};
    (void)co_await fail_members(failed);
    co_return fail(Errc::busy);
}

}  // namespace braid
