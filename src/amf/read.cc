// Reads: each stripe's part on its own, straight into the caller's memory where that is aligned; what cannot
// be read is computed from any k other strips.
#include <algorithm>
#include <cstring>

#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {
namespace {

bool aligned(const void* memory) { return reinterpret_cast<std::uintptr_t>(memory) % kBlockSize == 0; }

}  // namespace

Task<Status> Amf::read(std::uint64_t offset, std::span<std::byte> into) {
    ASSERT(offset + into.size() <= tables_.config().logical_size());
    ++counters_.reads;
    counters_.read_bytes += into.size();
    const bool keep = small(into.size());
    const StripePiece first = into.empty() ? StripePiece{} : piece_at(offset, into.size());
    if (!into.empty() && first.length == into.size()) return read_piece(first, into, keep);
    std::vector<Task<Status>> pieces;
    const auto geometry_of = [this](ExtentIndex extent) { return tables_.geometry_of(extent); };
    for_each_stripe(geometry_of, {offset, into.size()}, [&](const StripePiece& piece) {
        pieces.push_back(read_piece(piece, into.subspan(piece.at - offset, piece.length), keep));
    });
    return in_pieces(std::move(pieces));
}

/// The extent may have got another shape before the piece has its lock: then it is cut anew.
Task<Status> Amf::read_piece(StripePiece piece, std::span<std::byte> into, bool keep) {
    {
        co_await pieces_.take();
        const SemaphoreGuard slot(pieces_);
        if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
        const GateGuard inside(gate_);
        if (tables_.offline()) co_return fail(Errc::offline);
        for (bool whole = !units_.fine();; whole = true) {
            PieceLock lock;
            if (!try_lock(piece, LockMode::read, whole, lock)) {
                const LockRange range = keep ? wanted(piece) : LockRange{};
                CO_TRY(co_await wait_for_lock(piece, LockMode::read, whole, lock, range));
            }
            const StripeLocks::Guard guard = co_await stripe_locks_.read(piece.stripe);
            while (!tables_.settled()) co_await tables_.settled_event();
            if (tables_.offline()) co_return fail(Errc::offline);  // the stripe may be half-written
            if (!fits(piece)) break;
            const ExtentIndex extent = geometry_.extent_of(piece.stripe);
            if (tables_.emptying(extent)) CO_TRY(co_await keep_extent(extent));
            const Status status = co_await read_locked(piece, into, lock.content, whole, keep);
            if (status || whole || status.error().code != Errc::busy) co_return status;
            ++counters_.whole_stripe_reads;
        }
    }
    ++counters_.cut_anew;
    co_return co_await read_anew(piece.at, into, keep);
}

Task<Status> Amf::read_anew(std::uint64_t at, std::span<std::byte> into, bool keep) {
    while (!into.empty()) {
        const StripePiece piece = piece_at(at, into.size());
        CO_TRY(co_await read_piece(piece, into.first(piece.length), keep));
        at += piece.length;
        into = into.subspan(piece.length);
    }
    co_return Status{};
}

Task<Status> Amf::read_locked(StripePiece piece, std::span<std::byte> into, const LockPin& content,
                              bool whole, bool keep) {
    const Zone* zone = tables_.zone(geometry_.extent_of(piece.stripe));
    if (zone == nullptr) {
        std::memset(into.data(), 0, into.size());
        co_return Status{};
    }
    if (tables_.quarantined(piece.stripe, zone->generation)) co_return fail(Errc::io_error);
    if (!dirty_.empty() && dirty_.meets(piece.stripe, zone->generation, {piece.offset, piece.length})) {
        CO_TRY(co_await copied(piece.stripe, {piece.offset, piece.length}));
        co_return co_await read_dirty(piece, into, spot(piece.stripe, *zone), content, whole, keep);
    }
    if (serve_cached(logical(piece.stripe) + piece.offset, into, zone->generation)) co_return Status{};
    const std::uint32_t from = block_floor(piece.offset);
    const std::uint32_t to = block_ceil(piece.offset + piece.length);
    if (to - from == piece.length && aligned(into.data())) {
        co_return co_await fetch_blocks(spot(piece.stripe, *zone), from, into, content, whole, keep);
    }
    const Buffer bounce(to - from);
    CO_TRY(co_await fetch_blocks(spot(piece.stripe, *zone), from, bounce.span(), content, whole, keep));
    std::memcpy(into.data(), bounce.data() + (piece.offset - from), into.size());
    co_return Status{};
}

/// Whole blocks of a stripe into aligned memory. They are locked.
Task<Status> Amf::read_blocks(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole) {
    const StripeWrite range{geometry_.strip_size, offset, static_cast<std::uint32_t>(into.size())};
    const auto column = column_around(spot, range);
    if (!column) return read_strips(spot, offset, into, whole, std::nullopt);
    return read_around(spot, offset, into, whole, *column);
}

Task<Status> Amf::read_strips(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole,
                              std::optional<unsigned> around) {
    const StripeWrite range{geometry_.strip_size, offset, static_cast<std::uint32_t>(into.size())};
    RoleMask good;
    RoleMask bad;
    RoleMask wrong;
    Sums sums(*this, spot, whole ? Sums::Use::reading : Sums::Use::blocks);
    sums.trial = around.has_value();
    sums.begin();
    {
        DiskBatch batch(executor_, tables_, extent(spot), spot.purpose);
        for (unsigned column = range.first_column(); column <= range.last_column(); ++column) {
            const StripRange part = range.part(column);
            if (column == around) continue;
            if (const Places at = strip_at(spot, column); at.read)
                batch.read(column, *at.read, part.from, into.subspan(range.data_at(column), part.length()));
        }
        co_await batch.done();
        co_await arrived(sums);
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const unsigned column = batch.role(i);
            const StripRange part = range.part(column);
            Status status = batch.status(i);
            if (status && !co_await right_or_in_doubt(sums, column, part.from,
                                                      into.subspan(range.data_at(column), part.length()))) {
                wrong.set(column);
                counters_.rotten_reads += whole ? 1 : 0;
                status = fail(Errc::media_error);
            }
            if (status) {
                good.set(column);
            } else if (whole) {  // else it is tried again, and told then
                bad.set(column);
                note_read_error(batch.member(i), spot, column, part, status.error());
            }
        }
    }
    for (unsigned column = range.first_column(); column <= range.last_column(); ++column) {
        if (good[column]) continue;
        if (!whole) co_return fail(Errc::busy);
        const StripRange part = range.part(column);
        const auto target = into.subspan(range.data_at(column), part.length());
        const Status status = co_await regenerate(sums, column, part, target, bad);
        if (status) continue;
        const bool lost = status.error().code != Errc::media_error || !wrong[column];
        if (lost || !co_await may_be_half_written(spot.stripe)) co_return status;
        CO_TRY(co_await read_as_found(spot, column, part, target));
    }
    co_return Status{};
}

/// A part of one strip, from any k others. The stripe is locked and consistent; the checksums have arrived.
Task<Status> Amf::regenerate(Sums& sums, unsigned role, StripRange range, std::span<std::byte> into,
                             RoleMask unreadable) {
    ++counters_.regenerated;
    Status status = co_await regenerate_from(sums, role, range, into, unreadable);
    const bool in_blocks = sums.on() && range.length() > kBlockSize;
    if (status || !in_blocks || status.error().code != Errc::media_error) co_return status;
    // Here one strip may be wrong, and there another one.
    for (std::uint32_t at = range.from; at < range.to; at += kBlockSize) {
        const StripRange block{at, at + static_cast<std::uint32_t>(kBlockSize)};
        const auto content = into.subspan(at - range.from, kBlockSize);
        if (co_await still_right(sums, role, block, content)) continue;
        CO_TRY(co_await regenerate_from(sums, role, block, content, {}));
    }
    co_return Status{};
}

/// The member itself has what its checksum says.
Task<bool> Amf::still_right(const Sums& sums, unsigned role, StripRange block, std::span<std::byte> into) {
    const Places at = strip_at(sums.spot, role);
    if (!at.read || !sums.record.known(role, block.from)) co_return false;
    DiskBatch batch(executor_, tables_, extent(sums.spot), sums.spot.purpose);
    batch.read(role, *at.read, block.from, into);
    co_await batch.done();
    co_return batch.all_ok() && !sums.record.mismatch(role, block.from, into);
}

Task<Status> Amf::regenerate_from(Sums& sums, unsigned role, StripRange range, std::span<std::byte> into,
                                  RoleMask unreadable) {
    const Spot spot = sums.spot;
    unreadable.set(role);
    const Buffer memory(std::size_t{spot.geometry.k} * range.length());
    while (true) {
        const RoleMask usable = readable(spot) & ~unreadable;
        if (usable.count() < spot.geometry.k) break;
        std::array<std::byte*, kMaxWidth> strips{};
        RoleMask present;
        DiskBatch batch(executor_, tables_, extent(spot), spot.purpose);
        for (unsigned from = 0; from < spot.geometry.width() && present.count() < spot.geometry.k; ++from) {
            if (!usable[from]) continue;
            const auto target = memory.span(present.count() * range.length(), range.length());
            strips[from] = target.data();
            present.set(from);
            batch.read(from, *strip_at(spot, from).read, range.from, target);
        }
        co_await batch.done();
        bool all_ok = true;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const unsigned from = batch.role(i);
            Status status = batch.status(i);
            if (status && !co_await right_or_in_doubt(sums, from, range.from, {strips[from], range.length()}))
                status = fail(Errc::media_error);
            if (status) continue;
            all_ok = false;
            unreadable.set(from);
            if (sums.use == Sums::Use::looking) {
                note_error_of(batch.member(i), spot.stripe, status.error());
            } else {
                note_read_error(batch.member(i), spot, from, range, status.error());
            }
        }
        if (!all_ok) continue;
        strips[role] = into.data();
        RoleMask wanted;
        wanted.set(role);
        CO_TRY(code_of(spot.geometry)
                   .decode(present, {strips.data(), spot.geometry.width()}, wanted, range.length()));
        if (!sums.record || sums.believe || !sums.record.mismatch(role, range.from, into)) co_return Status{};
        break;  // the others do not fit together
    }
    if (!tables_.offline() && !sums.trial)
        LOG_ERROR("stripe.unreadable", {"stripe", spot.stripe}, {"role", role});
    co_return fail(readable(spot).count() < spot.geometry.k ? Errc::offline : Errc::media_error);
}

void Amf::note_read_error(MemberIndex member, const Spot& spot, unsigned role, StripRange range,
                          Error error) {
    note_error_of(member, spot.stripe, error);
    if (error.code == Errc::media_error && scope_.running() < kMaxRepairs)
        scope_.spawn(repair(spot.stripe, role, range));
}

void Amf::note_error_of(MemberIndex member, StripeIndex stripe, Error error) {
    ++counters_.member_errors;
    // In an offline group every read of a lost member fails: once it is known it is not news.
    if (!tables_.offline()) {
        LOG_WARN("member.read_error", {"member", member}, {"stripe", stripe},
                 {"reason", to_string(error.code)});
    }
    if (error.code != Errc::media_error && ++read_errors_[member.v] >= options_.read_errors)
        scope_.spawn(declare_failed(member));
}

/// Writes again what could not be read, so that the device can put it elsewhere.
Task<void> Amf::repair(StripeIndex stripe, unsigned role, StripRange range) {
    if (!gate_.try_enter()) co_return;
    const GateGuard inside(gate_);
    PieceLock lock;
    const Geometry geometry = tables_.geometry_of(stripe);
    const std::uint32_t data =
        role < geometry.k ? geometry.column_length(stripe, Role(static_cast<std::uint8_t>(role))) : 0;
    if (range.from < data) {
        const std::uint32_t offset = role * geometry.strip_size + range.from;
        const StripePiece piece{stripe, offset, std::min(range.to, data) - range.from,
                                logical(stripe) + offset};
        if (!co_await wait_for_lock(piece, LockMode::write, true, lock)) co_return;
    } else if (!co_await wait_for_units({units_.of_stripe(stripe)}, LockMode::write, lock.stripe, {},
                                        false)) {
        co_return;
    }
    const StripeLocks::Guard guard = co_await stripe_locks_.write(stripe);
    while (!tables_.settled()) co_await tables_.settled_event();
    const ExtentIndex extent = geometry_.extent_of(stripe);
    const Zone* present = tables_.zone(extent);
    if (present == nullptr || tables_.offline() || present->shape != geometry.shape()) co_return;
    const Zone zone = *present;
    if (tables_.quarantined(stripe, zone.generation)) co_return;
    const Spot where = spot(stripe, zone);
    if (!writable(where)[role]) co_return;
    const Buffer content(range.length());
    // What is found wrong meanwhile has its own repair, or has been given up: not one for the other for ever.
    Sums sums(*this, where, Sums::Use::looking);
    sums.begin();
    co_await arrived(sums);
    co_await believe_if_in_doubt(sums);
    if (!co_await regenerate(sums, role, range, content.span(), {})) co_return;
    if (!tables_.still_there(extent, zone)) co_return;
    MemberMask failed;
    {
        DiskBatch batch(executor_, tables_, extent, where.purpose);
        batch.write(role, strip_at(where, role).to_write(), range.from, content.span());
        co_await batch.done();
        failed = batch.failed();
    }
    forget_blocks(stripe, 0, static_cast<std::uint32_t>(range_of(stripe).length));
    if (failed.any()) {
        (void)co_await fail_members(failed);
        co_return;
    }
    ++counters_.repaired;
    LOG_INFO("member.repaired", {"stripe", stripe}, {"role", role});
}

}  // namespace braid
