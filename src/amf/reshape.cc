// Extents whose stripes get another shape (decisions/021). How an extent is cut into stripes decides what its
// locks mean: so that changes only while all of it is locked here for writing, as it is cut and as it will
// be, and nothing of what was is left: nothing dirty, no record, nothing in the journal, no block in memory.
// An operation that waited for a piece of before finds, when it has its lock, that the piece does not fit any
// more, and cuts it anew (write_piece(), read_piece()).
//
// Dirty content of a zone that is gone is dropped by its destage, which takes the local locks of stripes. So
// ours come after it.
//
// What an extent with a zone has is copied beside it, row by row of the stripes that will be, while hosts go
// on. A row is copied while the stripes that it is made of are locked here for writing; and as long as none
// of their units has gone since, and nothing was written to them here, the copy is what they have. At the end
// all is locked, what is stale is copied again, the members are flushed, and the copy becomes the zone. Until
// then nobody reads it: what a death, a loss of power or a failed member leaves of it does not count.
//
// Nothing is regenerated from a stripe that may be half-written: see move.cc.
#include "amf/reshape.h"

#include <algorithm>

namespace braid {

/// All of the extent is ours alone, and nothing of what was is left but on the members.
Task<Status> Amf::hold_extent(ExtentIndex extent, StripeShape to, HeldExtent& held) {
    const StripeIndex first = geometry_.stripe_of(extent, Row(0));
    const std::uint32_t all = geometry_.stripes_per_extent();
    const auto rows_of = [this](StripeShape s) { return tables_.config().geometry_of(s).rows_per_extent(); };
    do {
        if (tables_.offline()) co_return fail(Errc::offline);
        held.guards.clear();
        held.lock = {};
        held.rows = std::max(rows_of(tables_.shape_of(extent)), rows_of(to));
        CO_TRY(co_await lock_extent(extent, held.rows, held.lock));
        while (!tables_.settled()) co_await tables_.settled_event();
        for (const StripeIndex stripe : dirty_.stripes(first, all)) (void)co_await destage(stripe);
        for (std::uint32_t row = 0; row < held.rows; ++row)
            held.guards.push_back(co_await stripe_locks_.write(geometry_.stripe_of(extent, Row(row))));
        while (!tables_.settled()) co_await tables_.settled_event();
    } while (!held.lock.live() || held.rows < rows_of(tables_.shape_of(extent)) ||
             !dirty_.stripes(first, all).empty());
    while (!replicator_.quiet(first, all) || journal_.any_in(first, all)) {
        if (tables_.offline() || replicator_.fenced()) co_return fail(Errc::offline);
        journal_.retire_soon();
        co_await sleep_for(clock_, 1ms);
    }
    co_return Status{};
}

/// Blocks and checksums are remembered by unit and by stripe.
void Amf::forget_extent(ExtentIndex extent, std::uint32_t rows) {
    const StripeIndex first = geometry_.stripe_of(extent, Row(0));
    for (std::uint32_t row = 0; row < rows; ++row)
        cache_.drop(units_.of_stripe(geometry_.stripe_of(extent, Row(row))));
    sums_.drop(first, geometry_.stripes_per_extent());
    trimmed_.remove({extent.v * kExtentSize, kExtentSize});
    ++counters_.shaped_extents;
}

Task<Status> Amf::set_shape(ExtentIndex extent, StripeShape shape) {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    if (tables_.zone(extent) != nullptr) co_return fail(Errc::busy);
    HeldExtent held;
    CO_TRY(co_await hold_extent(extent, shape, held));
    if (tables_.zone(extent) != nullptr) co_return fail(Errc::busy);
    CO_TRY(co_await tables_.set_shape(extent, shape, [&held] { return held.lock.live(); }));
    forget_extent(extent, held.rows);
    co_return Status{};
}

// ---- extents with a zone

void Amf::Reshaping::touch(LogicalRange range) {
    const std::uint64_t begin = extent.v * kExtentSize, end = begin + kExtentSize;
    const std::uint64_t at = std::max(range.offset, begin), last = std::min(range.end(), end);
    if (at >= last) return;
    const std::uint64_t row = to.stripe_size();
    for (std::uint64_t i = (at - begin) / row; i <= (last - 1 - begin) / row; ++i) {
        stale += fresh[i] ? 1 : 0;
        fresh[i] = false;
    }
}

void Amf::Reshaping::touch(const Geometry& geometry, StripeIndex first, std::uint64_t count) {
    const StripeIndex begin = geometry.stripe_of(extent, Row(0));
    const std::uint64_t end = begin.v + geometry.rows_per_extent();
    const std::uint64_t low = std::max(first.v, begin.v), high = std::min(first.v + count, end);
    if (low >= high) return;
    const std::uint64_t at = geometry.range_of(StripeIndex(low)).offset;
    touch({at, geometry.range_of(StripeIndex(high - 1)).end() - at});
}

Task<Status> Amf::reshape(ExtentIndex extent, StripeShape to, unsigned depth, Turn turn) {
    if (tables_.shape_of(extent) == to) co_return Status{};
    if (tables_.zone(extent) == nullptr) co_return co_await set_shape(extent, to);
    CO_TRY(co_await take_back(extent));
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    if (reshapes_) co_return fail(Errc::busy);
    reshapes_ = true;
    const Status status = co_await reshape_alone(extent, to, depth, turn);
    reshapes_ = false;
    co_return status;
}

Task<Status> Amf::reshape_alone(ExtentIndex extent, StripeShape to, unsigned depth, const Turn& turn) {
    const Epoch epoch = view_.epoch;
    constexpr std::uint32_t kRegions = kExtentSize / kRegionSize;
    if (co_await tables_.left_half_written(RegionIndex(extent.v * kRegions), kRegions))
        co_return fail(Errc::busy);
    CO_TRY_LET(const Zone zone, co_await tables_.reserve_successor(extent, to));
    Reshaping work(*this, extent, zone, epoch, depth, turn);
    const Status status = co_await copy_and_succeed(work);
    if (!status && tables_.loaded() && !tables_.offline()) (void)co_await tables_.drop_successor(extent);
    co_return status;
}

/// Whoever was at that is gone, if a lock of it can be had, and a read finds out.
Task<Status> Amf::take_back(ExtentIndex extent) {
    if (!tables_.emptying(extent)) co_return Status{};
    const Buffer one(kBlockSize);
    co_return co_await read(extent.v * kExtentSize, one.span());
}

Task<Status> Amf::copy_and_succeed(Reshaping& work) {
    // What is written again and again is copied once all is locked.
    for (unsigned round = 0; round < kReshapeRounds && work.stale > work.fresh.size() / 16; ++round)
        CO_TRY(co_await copy_stale(work));
    HeldExtent held;
    CO_TRY(co_await hold_extent(work.extent, work.to.shape(), held));
    if (tables_.emptying(work.extent)) co_return fail(Errc::busy);
    for (std::uint32_t row = 0; row < work.fresh.size(); ++row) {
        if (!work.fresh[row]) CO_TRY(co_await copy_row(work, Row(row)));
    }
    const Geometry before = tables_.config().geometry_of(work.zone.shape);
    for (std::uint32_t row = 0; row < before.rows_per_extent(); ++row) {
        // It would be read in the next zone as if nothing had been lost.
        if (tables_.quarantined(geometry_.stripe_of(work.extent, Row(row)), work.zone.generation))
            co_return fail(Errc::media_error);
    }
    for (const Segment& part : work.next.parts()) CO_TRY(co_await flush_member(part.member));
    const auto still = [this, &held, &work] { return held.lock.live() && view_.epoch == work.epoch; };
    CO_TRY(co_await tables_.succeed(work.extent, work.zone, still));
    forget_extent(work.extent, held.rows);
    ++counters_.reshaped_extents;
    co_return Status{};
}

Task<Status> Amf::copy_stale(Reshaping& work) {
    const auto rows = static_cast<std::uint32_t>(work.fresh.size());
    for (std::uint32_t row = 0; row < rows;) {
        std::vector<Task<Status>> some;
        for (; row < rows && some.size() < work.depth; ++row) {
            if (!work.fresh[row]) some.push_back(lock_and_copy(work, Row(row)));
        }
        for (const Status& status : co_await gather(executor_, std::move(some))) CO_TRY(status);
    }
    co_return Status{};
}

/// Stripes are locked in their order, as in trim.cc.
Task<Status> Amf::lock_and_copy(Reshaping& work, Row row) {
    if (work.turn) CO_TRY(co_await work.turn(work.to.stripe_size()));
    if (!ready_ || gate_.closed()) co_return fail(Errc::not_ready);
    const auto [first, last] = work.stripes_of(row);
    const UnitIndex begin = units_.of_stripe(first);
    const auto count = static_cast<std::uint32_t>(units_.of_stripe(last).v - begin.v + 1);
    LockPin pin;
    CO_TRY(co_await wait_for_units({begin, count}, LockMode::write, pin, {}, true));
    std::vector<StripeLocks::Guard> guards;
    for (StripeIndex stripe = first; stripe <= last; stripe = StripeIndex(stripe.v + 1))
        guards.push_back(co_await stripe_locks_.write(stripe));
    while (!tables_.settled()) co_await tables_.settled_event();
    if (tables_.emptying(work.extent)) {
        CO_TRY(co_await keep_extent(work.extent));
        co_return fail(Errc::busy);
    }
    if (!pin.live()) co_return fail(Errc::busy);
    for (StripeIndex stripe = first; stripe <= last; stripe = StripeIndex(stripe.v + 1)) {
        CO_TRY(co_await destage_locked(stripe));
        if (tables_.quarantined(stripe, work.zone.generation)) co_return fail(Errc::media_error);
    }
    CO_TRY(co_await copy_row(work, row));
    if (!pin.live()) co_return fail(Errc::busy);
    work.stale -= work.fresh[row.v] ? 0 : 1;
    work.fresh[row.v] = true;
    co_return Status{};
}

/// What it is made of is locked, and nothing of it is dirty.
Task<Status> Amf::copy_row(Reshaping& work, Row row) {
    const Geometry& to = work.to;
    const std::size_t strip = to.strip_size;
    const Buffer memory = Buffer::zeroed(to.width() * strip);
    const LogicalRange bytes = work.range_of(row);
    const auto geometry_of = [&work](ExtentIndex) { return work.from; };
    std::vector<StripePiece> pieces;
    for_each_stripe(geometry_of, bytes, [&](const StripePiece& piece) { pieces.push_back(piece); });
    for (const StripePiece& piece : pieces) {
        if (!work.goes_on()) co_return fail(Errc::busy);
        const auto into = memory.span(piece.at - bytes.offset, piece.length);
        CO_TRY(co_await read_blocks(spot(piece.stripe, work.zone, DiskPurpose::expand), piece.offset, into,
                                    true));
    }
    std::array<const std::byte*, kMaxWidth> data{};
    std::array<std::byte*, kMaxParity> parity{};
    for (unsigned i = 0; i < to.k; ++i) data[i] = memory.data() + i * strip;
    for (unsigned j = 0; j < to.m; ++j) parity[j] = memory.data() + (to.k + j) * strip;
    code_of(to).encode({data.data(), to.k}, {parity.data(), to.m}, strip);
    co_return co_await write_row(work, row, memory);
}

Task<Status> Amf::write_row(Reshaping& work, Row row, const Buffer& memory) {
    const Geometry& to = work.to;
    const std::size_t strip = to.strip_size;
    ChecksumRecord record;
    if (to.checksums) {
        record = ChecksumRecord(to, {group_, geometry_.stripe_of(work.extent, row), work.next.generation});
        for (unsigned role = 0; role < to.width(); ++role)
            record.set(role, 0, memory.span(role * strip, strip));
    }
    const std::span<const std::byte> sums =
        record ? record.seal(work.version++) : std::span<const std::byte>();
    // From here to the commands nobody else is at work: they are sent by what the tables say now.
    if (!work.goes_on()) co_return fail(Errc::busy);
    MemberMask failed;
    {
        DiskBatch batch(executor_, tables_, work.extent, DiskPurpose::expand);
        DiskBatchOf<kMaxParity + 1> copies(executor_, tables_, work.extent, DiskPurpose::expand);
        for (unsigned role = 0; role < to.width(); ++role) {
            const DiskPlace at =
                strip_place(to, work.next, row, Role(static_cast<std::uint8_t>(role)), data_start_);
            batch.write(role, {&at, 1}, 0, memory.span(role * strip, strip));
        }
        for (unsigned copy = 0; copy < to.checksum_copies(); ++copy) {
            const DiskPlace at = checksum_place(to, work.next, row, copy, data_start_);
            copies.write(copy, {&at, 1}, 0, sums);
        }
        co_await batch.done();
        co_await copies.done();
        failed = batch.failed() | copies.failed();
    }
    if (failed.any()) {
        (void)co_await fail_members(failed);
        co_return fail(Errc::busy);
    }
    ++counters_.reshaped_rows;
    co_return Status{};
}

}  // namespace braid
