// Parity of one stripe against its data: for scrub (compare only) and resync (compare and write). With
// checksums it is first found out which blocks are what was written; what is not is made again from those, in
// memory for what follows, and then on its member. Only what cannot be told so is left to the
// comparison: in a stripe under resync the data is right as it is found.
#include <algorithm>
#include <cstring>

#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {

/// Into the journal.
Journal::Ticket Amf::put_parity(const Spot& spot, RoleMask roles, std::span<std::byte* const> parity) {
    if (!journal_.is_open()) return 0;
    const std::uint32_t strip = geometry_.strip_size;
    JournalEntry entry{.stripe = spot.stripe, .zone = spot.zone->generation, .parity_length = strip};
    const unsigned k = spot.geometry.k;
    entry.parities = static_cast<std::uint8_t>(roles.to_ullong() >> k);
    const Buffer memory(entry.payload());
    std::byte* next = memory.data();
    for (unsigned j = 0; j < spot.geometry.m; ++j) {
        if (roles[k + j]) std::memcpy(std::exchange(next, next + strip), parity[j], strip);
    }
    return journal_.put(entry, {}, Slice(memory));
}

/// What of a stripe has to be written again.
struct Amf::Repairs {
    std::array<StripRange, kMaxWidth> blocks{};  ///< by role
    bool sums = false;                           ///< a copy of its checksums
    bool any() const {
        return sums || std::ranges::any_of(blocks, [](StripRange range) { return range.length() != 0; });
    }
};

/// A stripe as it is on the members, and as it should be.
struct Amf::Checked {
    Checked(Amf& amf, const Spot& spot)
        : where(spot),
          sums(amf, spot, Sums::Use::looking),
          strip(spot.geometry.strip_size),
          k(spot.geometry.k),
          m(spot.geometry.m),
          width(spot.geometry.width()),
          memory((width + m) * strip) {
        for (unsigned j = 0; j < m; ++j) computed[j] = memory.data() + (width + j) * strip;
    }
    std::span<std::byte> content(unsigned role) const { return memory.span(role * strip, strip); }

    const Spot where;
    Sums sums;
    const std::size_t strip;
    const unsigned k, m, width;
    const Buffer memory;
    std::array<std::byte*, kMaxParity> computed{};
    std::array<const std::byte*, kMaxWidth> columns{};  ///< where the data is
    RoleMask readable, good;
    Repairs repairs;
    bool torn = false;  ///< more is not what was written than the others can tell
};

/// Reads all that is there.
Task<void> Amf::look_at(Checked& c, bool correct) {
    DiskBatch batch(executor_, tables_, extent(c.where), c.where.purpose);
    c.readable = c.good = readable(c.where);
    c.sums.begin();
    for (unsigned role = 0; role < c.width; ++role) {
        if (c.readable[role]) batch.read(role, *strip_at(c.where, role).read, 0, c.content(role));
    }
    co_await batch.done();
    co_await arrived(c.sums);
    for (std::size_t i = 0; i < batch.size(); ++i) {
        if (batch.status(i)) continue;
        c.good.reset(batch.role(i));
        if (correct) continue;  // parity is written again
        note_read_error(batch.member(i), c.where, batch.role(i), {0, geometry_.strip_size},
                        batch.status(i).error());
    }
}

/// What does not fit its checksum, from what does: here in memory; what its member has to get is noted.
Task<void> Amf::heal(Checked& c) {
    c.repairs.sums = c.sums.stale;
    RoleMask wrong;
    for (unsigned role = 0; role < c.width; ++role)
        wrong[role] = c.good[role] && !fits(c.sums, role, 0, c.content(role));
    if (wrong.none()) co_return;
    ++counters_.rotten_checks;
    co_await believe_if_in_doubt(c.sums);
    c.torn = c.sums.believe;
    if (c.torn) co_return;
    for (std::uint32_t from = 0; from < c.strip; from += kBlockSize) heal_row(c, from, wrong);
}

/// One block of each strip.
void Amf::heal_row(Checked& c, std::uint32_t from, RoleMask suspects) {
    std::array<std::byte*, kMaxWidth> blocks{};
    RoleMask present, wrong;
    const auto block = [&](unsigned role) { return c.content(role).subspan(from, kBlockSize); };
    for (unsigned role = 0; role < c.width; ++role) {
        blocks[role] = block(role).data();
        wrong[role] = suspects[role] && c.sums.record.mismatch(role, from, block(role));
        present[role] = c.good[role] && !wrong[role];
    }
    if (wrong.none()) return;
    const Buffer found(c.width * kBlockSize);
    for (unsigned role = 0; role < c.width; ++role) {
        if (wrong[role]) std::memcpy(found.data() + role * kBlockSize, blocks[role], kBlockSize);
    }
    bool all_fit =
        present.count() >= c.k &&
        code_of(c.where.geometry).decode(present, {blocks.data(), c.width}, wrong, kBlockSize).has_value();
    for (unsigned role = 0; role < c.width && all_fit; ++role)
        all_fit = !wrong[role] || !c.sums.record.mismatch(role, from, block(role));
    c.torn |= !all_fit;
    for (unsigned role = 0; role < c.width; ++role) {
        if (!wrong[role]) continue;
        StripRange& range = c.repairs.blocks[role];
        if (!all_fit) {
            std::memcpy(blocks[role], found.data() + role * kBlockSize, kBlockSize);
        } else {
            range = {range.length() == 0 ? from : range.from, from + static_cast<std::uint32_t>(kBlockSize)};
        }
    }
}

/// Parity that is wrong, and the checksums of everything.
Task<Status> Amf::put_right(Checked& c, RoleMask wrong) {
    const Journal::Ticket ticket = wrong.any() ? put_parity(c.where, wrong, c.computed) : 0;
    CO_TRY(co_await journal_.durable(ticket));
    if (tables_.offline()) co_return fail(Errc::offline);
    sums_.drop(c.where.stripe, 1);
    MemberMask failed;
    {
        DiskBatch batch(executor_, tables_, extent(c.where), c.where.purpose);
        for (unsigned role = 0; role < c.width && c.sums.on(); ++role) {
            const std::byte* content = role < c.k ? c.columns[role] : c.computed[role - c.k];
            c.sums.record.set(role, 0, {content, c.strip});
        }
        c.sums.write();
        for (unsigned j = 0; j < c.m; ++j) {
            if (!wrong[c.k + j]) continue;
            batch.write(c.k + j, strip_at(c.where, c.k + j).to_write(), 0, {c.computed[j], c.strip});
        }
        co_await batch.done();
        co_await c.sums.batch.done();
        failed = c.sums.batch.failed() | batch.failed();
    }
    forget_blocks(c.where.stripe, 0, static_cast<std::uint32_t>(range_of(c.where.stripe).length));
    if (failed.any()) CO_TRY(co_await fail_members(failed));
    journal_.done(ticket);
    co_return Status{};
}

Task<Result<StripeVerdict>> Amf::check_stripe(StripeIndex stripe, bool correct) {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    Repairs repairs;
    const Result<StripeVerdict> verdict = co_await check_locked(stripe, correct, repairs);
    for (unsigned role = 0; role < repairs.blocks.size(); ++role) {
        if (repairs.blocks[role].length() != 0) co_await repair(stripe, role, repairs.blocks[role]);
    }
    if (repairs.sums) co_await repair_sums(stripe);
    // Of a stripe under resync the target of a move may have something else than the place that was looked
    // at; one that has failed is nobody's target again.
    const auto has_target = [&] {
        const Zone* zone = tables_.zone(geometry_.extent_of(stripe));
        return zone != nullptr && zone->move && tables_.member_ok(zone->move->target.member);
    };
    while (correct && verdict && has_target()) {
        const Status again = co_await move_row(stripe, view_.epoch);
        if (again || again.error().code != Errc::busy) break;
        if (tables_.offline()) co_return fail(Errc::offline);
        co_await sleep_for(clock_, 1ms);
    }
    co_return verdict;
}

Task<Result<StripeVerdict>> Amf::check_locked(StripeIndex stripe, bool correct, Repairs& repairs) {
    const LockMode mode = correct ? LockMode::write : LockMode::read;
    LockPin pin;
    CO_TRY(co_await wait_for_units({units_.of_stripe(stripe)}, mode, pin, {}, true));
    const StripeLocks::Guard guard = co_await StripeLocks::Awaiter(stripe_locks_, stripe, correct);
    while (!tables_.settled()) co_await tables_.settled_event();
    if (tables_.offline()) co_return fail(Errc::offline);
    const ExtentIndex extent = geometry_.extent_of(stripe);
    const Zone* present = tables_.zone(extent);
    if (present == nullptr || !tables_.geometry_of(extent).has(stripe)) co_return StripeVerdict::absent;
    const Zone zone = *present;
    if (tables_.quarantined(stripe, zone.generation)) co_return StripeVerdict::incomplete;

    Checked c(*this, spot(stripe, zone, DiskPurpose::scrub));
    co_await look_at(c, correct);
    co_await heal(c);
    repairs = c.repairs;
    const unsigned k = c.k;
    for (unsigned role = 0; role < k; ++role) c.columns[role] = c.content(role).data();
    if (k == 1) {  // of a mirror any copy is the data
        for (unsigned role = c.width; role-- > 0;) {
            if (c.good[role]) c.columns[0] = c.content(role).data();
        }
        c.good[0] = c.good.any();
    }
    for (unsigned role = 0; role < k; ++role) {
        if (!c.good[role]) co_return repairs.any() ? StripeVerdict::rotten : StripeVerdict::incomplete;
    }
    code_of(c.where.geometry).encode({c.columns.data(), k}, {c.computed.data(), c.m}, c.strip);

    RoleMask wrong;
    bool differs = c.torn;
    for (unsigned j = 0; j < c.m; ++j) {
        if (!c.readable[k + j]) continue;
        const bool other = c.good[k + j] && std::memcmp(c.computed[j], c.content(k + j).data(), c.strip) != 0;
        if (other || !c.good[k + j]) wrong.set(k + j);
        differs |= other;
    }
    if (!differs && (wrong.none() || !correct))
        co_return repairs.any() ? StripeVerdict::rotten : StripeVerdict::clean;
    if (!tables_.still_there(extent, zone)) co_return StripeVerdict::absent;
    LOG_WARN("stripe.parity_wrong", {"stripe", stripe}, {"strips", wrong.count()}, {"torn", c.torn});
    if (!correct) co_return StripeVerdict::wrong;
    CO_TRY(co_await put_right(c, wrong));
    repairs.sums = false;
    ++(differs ? counters_.resynced : counters_.repaired);
    co_return StripeVerdict::corrected;
}

}  // namespace braid
