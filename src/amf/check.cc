// Parity of one stripe against its data: for scrub (compare only) and resync (compare and write).
#include <cstring>

#include "amf/amf.h"
#include "base/log.h"

namespace braid {

/// Into the journal.
Journal::Ticket Amf::put_parity(const Spot& spot, RoleMask roles, std::span<std::byte* const> parity) {
    if (!journal_.is_open()) return 0;
    const std::uint32_t strip = geometry_.strip_size;
    JournalEntry entry{.stripe = spot.stripe, .zone = spot.zone->generation, .parity_length = strip};
    entry.parities = static_cast<std::uint8_t>(roles.to_ullong() >> geometry_.k);
    const Buffer memory(entry.payload());
    std::byte* next = memory.data();
    for (unsigned j = 0; j < geometry_.m; ++j) {
        if (roles[geometry_.k + j]) std::memcpy(std::exchange(next, next + strip), parity[j], strip);
    }
    return journal_.put(entry, {}, Slice(memory));
}

Task<Result<StripeVerdict>> Amf::check_stripe(StripeIndex stripe, bool correct) {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    const LockMode mode = correct ? LockMode::write : LockMode::read;
    LockPin pin;
    CO_TRY(co_await wait_for_units({units_.of_stripe(stripe)}, mode, pin, {}, true));
    const StripeLocks::Guard guard = co_await StripeLocks::Awaiter(stripe_locks_, stripe, correct);
    while (!tables_.settled()) co_await tables_.settled_event();
    if (tables_.offline()) co_return fail(Errc::offline);
    const ExtentIndex extent = geometry_.extent_of(stripe);
    const Zone* present = tables_.zone(extent);
    if (present == nullptr) co_return StripeVerdict::absent;
    const Zone zone = *present;
    if (replicator_.quarantined(stripe, zone.generation)) co_return StripeVerdict::incomplete;

    const Spot where = spot(stripe, zone);
    const RoleMask readable = writable(where);
    const std::size_t strip = geometry_.strip_size;
    const unsigned k = geometry_.k;
    const Buffer memory((geometry_.width() + geometry_.m) * strip);
    std::array<const std::byte*, kMaxMembers> columns{};
    std::array<std::byte*, kMaxParity> computed{};
    RoleMask good = readable;
    {
        DiskBatch batch(executor_);
        for (unsigned role = 0; role < geometry_.width(); ++role) {
            const auto into = memory.span(role * strip, strip);
            if (role < k) columns[role] = into.data();
            if (!readable[role]) continue;
            const DiskPlace at = place(where, role);
            batch.read(role, *disks_[at.member.v], at.offset, into);
        }
        co_await batch.done();
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (batch.status(i)) continue;
            good.reset(batch.role(i));
            if (correct) continue;  // parity is written again below
            note_read_error(where, batch.role(i), {0, geometry_.strip_size}, batch.status(i).error());
        }
    }
    if (k == 1) {  // of a mirror any copy is the data
        for (unsigned role = geometry_.width(); role-- > 0;) {
            if (good[role]) columns[0] = memory.data() + role * strip;
        }
        good[0] = good.any();
    }
    for (unsigned role = 0; role < k; ++role) {
        if (!good[role]) co_return StripeVerdict::incomplete;
    }
    for (unsigned j = 0; j < geometry_.m; ++j) computed[j] = memory.data() + (geometry_.width() + j) * strip;
    code_.encode({columns.data(), k}, {computed.data(), geometry_.m}, strip);

    RoleMask wrong;
    bool differs = false;
    for (unsigned j = 0; j < geometry_.m; ++j) {
        if (!readable[k + j]) continue;
        const bool other =
            good[k + j] && std::memcmp(computed[j], memory.data() + (k + j) * strip, strip) != 0;
        if (other || !good[k + j]) wrong.set(k + j);
        differs |= other;
    }
    if (wrong.none() || (!differs && !correct)) co_return StripeVerdict::clean;
    if (!tables_.still_there(extent, zone)) co_return StripeVerdict::absent;
    LOG_WARN("stripe.parity_wrong", {"stripe", stripe}, {"strips", wrong.count()});
    if (!correct) co_return StripeVerdict::wrong;
    const Journal::Ticket ticket = put_parity(where, wrong, computed);
    CO_TRY(co_await journal_.durable(ticket));
    if (tables_.offline()) co_return fail(Errc::offline);
    MemberMask failed;
    {
        const Tables::ZoneWrite writing(tables_);
        DiskBatch batch(executor_);
        for (unsigned j = 0; j < geometry_.m; ++j) {
            if (!wrong[k + j]) continue;
            const DiskPlace at = place(where, k + j);
            batch.write(k + j, *disks_[at.member.v], at.offset, {computed[j], strip});
        }
        co_await batch.done();
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (!batch.status(i)) failed.set(place(where, batch.role(i)).member.v);
        }
    }
    forget_blocks(stripe, 0, static_cast<std::uint32_t>(geometry_.range_of(stripe).length));
    if (failed.any()) CO_TRY(co_await fail_members(failed));
    journal_.done(ticket);
    ++(differs ? counters_.resynced : counters_.repaired);
    co_return StripeVerdict::corrected;
}

}  // namespace braid
