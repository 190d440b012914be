// Writes. The order of the phases is the heart of the matter: docs/architecture.md, "A write".
#include <algorithm>
#include <cstring>

#include "amf/dirty_write.h"
#include "amf/intent_pin.h"
#include "amf/reshape.h"
#include "amf/stripe_sums.h"
#include "base/log.h"

namespace braid {
namespace {

using How = WritePlan::How;

/// Owned, and aligned as disks need it; copied if it is not.
Slice settled_slice(Slice data) {
    const bool aligned = reinterpret_cast<std::uintptr_t>(data.bytes.data()) % kBlockSize == 0;
    if (aligned && !data.owner.empty()) return data;
    return Slice(Buffer::copy_of(data.bytes));
}

Slice cut(const Slice& data, std::size_t from, std::size_t length) {
    return Slice(data.owner, data.bytes.subspan(from, length));
}

}  // namespace

Task<Status> Amf::write(std::uint64_t offset, Slice data, bool fua, Errand errand) {
    const std::size_t size = data.bytes.size();
    ASSERT(offset + size <= tables_.config().logical_size());
    ++counters_.writes;
    counters_.written_bytes += size;
    const Content keep = small(size) ? Content::small : Content::large;
    const StripePiece first = size == 0 ? StripePiece{} : piece_at(offset, size);
    const std::uint32_t strip = geometry_.strip_size;
    const bool one_strip = size != 0 && first.offset % strip + size <= strip && first.length == size;
    if (one_strip) {
        Task<Status> only = write_piece(first, std::move(data), keep, fua, errand);
        return fua ? then_flush(std::move(only)) : std::move(only);
    }
    std::vector<Task<Status>> pieces;
    const auto add = [&](StripePiece piece, std::uint32_t from, std::uint32_t length) {
        piece.offset += from;
        piece.at += from;
        piece.length = length;
        pieces.push_back(write_piece(piece, cut(data, piece.at - offset, length), keep, fua, errand));
    };
    const auto geometry_of = [this](ExtentIndex extent) { return tables_.geometry_of(extent); };
    for_each_stripe(geometry_of, {offset, size}, [&](const StripePiece& piece) {
        // The end of one strip and the start of the next have no parity in common: cheaper as two.
        const StripeWrite write{strip, piece.offset, piece.length};
        const unsigned column = write.first_column();
        if (write.last_column() == column + 1 && write.part(column).from > write.part(column + 1).to) {
            add(piece, 0, write.part(column).length());
            add(piece, write.part(column).length(), piece.length - write.part(column).length());
        } else {
            add(piece, 0, piece.length);
        }
    });
    Task<Status> all = in_pieces(std::move(pieces));
    return fua ? then_flush(std::move(all)) : std::move(all);
}

/// The extent may have got another shape before the piece has its lock; and of an errand that is repeated
/// some bytes may be done, in pieces of another shape than it has. Then what is left of this piece is cut
/// anew, and nothing is written twice.
Task<Status> Amf::write_piece(StripePiece piece, Slice data, Content what, bool fua, Errand errand) {
    const bool back = write_back() && (!fua || journal_.is_open());
    Slice rest;
    Status status;
    {
        Room room;
        if (back) room = co_await take_room(room_for(piece));
        co_await pieces_.take();
        const SemaphoreGuard slot(pieces_);
        if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
        const GateGuard inside(gate_);
        if (tables_.offline()) co_return fail(Errc::offline);
        PieceLock lock;
        if (!try_lock(piece, LockMode::write, true, lock))
            CO_TRY(co_await wait_for_lock(piece, LockMode::write, true, lock));
        StripeLocks::Guard guard;
        const bool usual = what != Content::hole && !fua && !errand;
        if (!back || !usual || !beside_destage(piece)) guard = co_await stripe_locks_.write(piece.stripe);
        while (!tables_.settled()) co_await tables_.settled_event();
        Completions::Run done{false, fits(piece) ? piece.end() : piece.at};
        if (errand.repeated && done.end != piece.at) {
            // What is dirty here has no completion yet, and what is known need not be safe.
            CO_TRY(co_await destage_locked(piece.stripe));
            // Under the lock: what others had begun of it is finished.
            CO_TRY_LET(done, co_await replicator_.done_before({errand, piece.at, piece.end()}));
            while (!tables_.settled()) co_await tables_.settled_event();
        }
        const auto here = static_cast<std::uint32_t>(done.end - piece.at);
        if (here != piece.length) {
            rest = cut(data, here, piece.length - here);
            data = cut(data, 0, here);
            piece.length = here;
        }
        const ExtentIndex extent = geometry_.extent_of(piece.stripe);
        if (done.known) {
            ++counters_.done_before;
        } else if (here != 0) {
            if (tables_.emptying(extent)) CO_TRY(co_await keep_extent(extent));
            const LogicalRange range{piece.at, piece.length};
            const bool nothing = what == Content::hole && tables_.zone(extent) == nullptr;
            if (!trimmed_.empty()) trimmed_.remove(range);
            if (reshaping_ != nullptr) reshaping_->touch(range);
            if (nothing) {
                // It is a hole.
            } else if (back && enough_copies()) {
                status = co_await write_dirty(piece, std::move(data), std::move(room), fua, errand,
                                              usual ? &guard : nullptr);
            } else {
                if (!dirty_.empty()) CO_TRY(co_await destage_locked(piece.stripe));
                const LockPin* content = what == Content::small ? &lock.content : nullptr;
                status = co_await write_locked(piece, std::move(data), content, nullptr, errand);
            }
            const Zone* zone = tables_.zone(extent);
            if (what == Content::hole && status && zone != nullptr && lock.live())
                trimmed_.add(zone->generation, range);
        }
    }
    if (!status || rest.bytes.empty()) co_return status;
    ++counters_.cut_anew;
    co_return co_await write_anew(piece.end(), std::move(rest), what, fua, errand);
}

/// One piece after the other.
Task<Status> Amf::write_anew(std::uint64_t at, Slice data, Content what, bool fua, Errand errand) {
    while (!data.bytes.empty()) {
        const StripePiece piece = piece_at(at, data.bytes.size());
        CO_TRY(co_await write_piece(piece, cut(data, 0, piece.length), what, fua, errand));
        at += piece.length;
        data = cut(data, piece.length, data.bytes.size() - piece.length);
    }
    co_return Status{};
}

/// The stripe is locked and consistent. `orphan`: the write of a dead AMF that is done here again.
Task<Status> Amf::write_locked(StripePiece piece, Slice data, const LockPin* content, const Orphan* orphan,
                               Errand errand) {
    if (tables_.offline()) co_return fail(Errc::offline);
    const ExtentIndex extent = geometry_.extent_of(piece.stripe);
    const Zone* zone = orphan != nullptr ? &orphan->zone : tables_.zone(extent);
    if (zone == nullptr) {
        CO_TRY_LET(zone, co_await tables_.allocate_zone(extent));
    }
    if (tables_.quarantined(piece.stripe, zone->generation)) co_return fail(Errc::io_error);
    const std::uint32_t generation = zone->generation;
    const Spot where = spot(piece.stripe, *zone);
    IntentPin intent(tables_, region_of(logical(piece.stripe)));
    if (!tables_.intent_marked(intent.region)) CO_TRY(co_await tables_.mark_intent(intent.region));

    if (!in_blocks(piece.offset, piece.length)) {
        CO_TRY_LET(data, co_await whole_blocks(where, piece, std::move(data)));
        piece.offset -= piece.offset % kBlockSize;
        piece.at -= piece.at % kBlockSize;
        piece.length = static_cast<std::uint32_t>(data.bytes.size());
    } else {
        data = settled_slice(std::move(data));
    }
    const StripeWrite write{geometry_.strip_size, piece.offset, piece.length};

    OpenRecord record(replicator_);
    if (orphan == nullptr) {
        record.begin(piece.stripe, logical(piece.stripe), generation, piece.offset, data, errand);
    } else {
        record.begin_recovery(orphan->record, orphan->attempts);
    }
    const Status status = co_await update(record, where, write, data, intent, Kind::usual);
    if (status && content != nullptr && content->live())
        remember(logical(piece.stripe) + piece.offset, data.bytes, generation);
    co_return status;
}

/// The record has begun: old data and parity, while the new data is on its way to the partners; then the
/// rest.
Task<Status> Amf::update(OpenRecord& record, Spot where, StripeWrite write, Slice data, IntentPin& intent,
                         Kind kind) {
    Buffer memory;
    std::array<std::byte*, kMaxWidth> old{};
    WritePlan plan;
    RoleMask targets;
    Unusable unusable;
    Sums sums(*this, where, Sums::Use::writing);
    sums.begin();
    while (true) {
        targets = writable(where);
        plan = plan_write(write, where.geometry.k, where.geometry.m, targets,
                          readable(where) & ~(unusable.unreadable | unusable.wrong));
        if (plan.how == How::impossible) {
            if (unusable.wrong.any() && co_await may_be_half_written(where.stripe)) {
                unusable.wrong.reset();
                sums.believe = true;
                continue;
            }
            co_await arrived(sums);
            if (kind != Kind::dirty) record.end(Effect::none);
            const bool lost =
                readable(where).count() < where.geometry.k || (write_back() && !unusable.reached);
            co_return fail(lost ? Errc::offline : Errc::media_error);
        }
        const std::size_t need = (plan.reads.count() + plan.regenerate.count()) * write.hull().length();
        if (need == 0) break;
        memory = Buffer(need);
        DiskBatch batch(executor_, tables_, extent(where), where.purpose);
        read_old(batch, where, write, plan, memory.span(), old);
        co_await batch.done();
        co_await arrived(sums);
        if (co_await all_old_is_right(batch, sums, write, plan, old, unusable)) break;
    }
    ++counters_.stripe_writes[static_cast<std::size_t>(plan.path)];
    const Status status = co_await finish(record, sums, write, data,
                                          make_redo(where.geometry, write, plan, targets, data, old), kind);
    if (!status) intent.keep();
    co_return status;
}

/// Of the old data and parity that was read. What does not fit its checksum is regenerated in its place.
Task<bool> Amf::all_old_is_right(const DiskBatch& batch, Sums& sums, StripeWrite write, const WritePlan& plan,
                                 const std::array<std::byte*, kMaxWidth>& old, Unusable& unusable) {
    bool all = true;
    for (std::size_t i = 0; i < batch.size(); ++i) {
        const unsigned role = batch.role(i);
        const StripRange part = old_part(write, plan, role, sums.spot.geometry.k);
        const std::span<std::byte> content{old[role] + (part.from - write.hull().from), part.length()};
        if (const Status& read = batch.status(i); !read) {
            unusable.unreadable.set(role);
            unusable.reached = unusable.reached && read.error().code == Errc::media_error;
            note_read_error(batch.member(i), sums.spot, role, write.hull(), read.error());
            all = false;
        } else if (!co_await right_or_in_doubt(sums, role, part.from, content)) {
            ++counters_.rotten_updates;
            note_read_error(batch.member(i), sums.spot, role, part, Errc::media_error);
            if (co_await regenerate(sums, role, part, content, {})) continue;
            unusable.wrong.set(role);
            all = false;
        }
    }
    co_return all;
}

/// The new data with the rest of its first and last block.
Task<Result<Slice>> Amf::whole_blocks(Spot spot, StripePiece piece, Slice data) {
    const std::uint32_t from = block_floor(piece.offset);
    const std::uint32_t end = piece.offset + piece.length;
    const std::uint32_t to = block_ceil(end);
    if (from == piece.offset && to == end) co_return settled_slice(std::move(data));
    const Buffer blocks(to - from);
    if (from != piece.offset) CO_TRY(co_await old_block(spot, from, blocks.span(0, kBlockSize)));
    const std::uint32_t last = to - kBlockSize;
    if (to != end && (last != from || from == piece.offset)) {
        CO_TRY(co_await old_block(spot, last, blocks.span(last - from, kBlockSize)));
    }
    std::memcpy(blocks.data() + (piece.offset - from), data.bytes.data(), piece.length);
    co_return Slice(blocks);
}

/// An update needs of a data strip only what changes.
StripRange Amf::old_part(const StripeWrite& write, const WritePlan& plan, unsigned role, unsigned k) {
    return plan.how == How::update && role < k ? write.part(role) : write.hull();
}

/// Starts the plan's reads into `memory`; `old[role]` is where the role's hull then is.
void Amf::read_old(DiskBatch& batch, const Spot& spot, const StripeWrite& write, const WritePlan& plan,
                   std::span<std::byte> memory, std::array<std::byte*, kMaxWidth>& old) {
    const StripRange hull = write.hull();
    std::size_t used = 0;
    for (unsigned role = 0; role < spot.geometry.width(); ++role) {
        if (!plan.reads[role] && !plan.regenerate[role]) continue;
        old[role] = memory.data() + used;
        used += hull.length();
        if (!plan.reads[role]) continue;
        const StripRange part = old_part(write, plan, role, spot.geometry.k);
        const std::span<std::byte> into{old[role] + (part.from - hull.from), part.length()};
        if (old_data_cached(spot, role, part, into)) continue;
        batch.read(role, *strip_at(spot, role).read, part.from, into);
    }
}

/// The new parity of the roles in `targets`, from what the plan has read. Uses up `old`.
Redo Amf::make_redo(const Geometry& geometry, const StripeWrite& write, const WritePlan& plan,
                    RoleMask targets, const Slice& data, std::array<std::byte*, kMaxWidth>& old) const {
    const StripRange hull = write.hull();
    const unsigned k = geometry.k;
    const Code& code = code_of(geometry);
    Redo redo{0, hull.from, hull.length(), {}};
    if (plan.how == How::copy) return redo;

    std::array<std::byte*, kMaxParity> parity{};
    std::size_t count = 0;
    for (unsigned j = 0; j < geometry.m; ++j) count += targets[k + j] ? 1 : 0;
    const Buffer memory(count * hull.length());
    std::byte* next = memory.data();
    for (unsigned j = 0; j < geometry.m; ++j) {
        if (!targets[k + j]) continue;
        redo.parities = static_cast<std::uint8_t>(redo.parities | (1u << j));
        parity[j] = std::exchange(next, next + hull.length());
    }
    redo.bytes = Slice(memory);
    const std::span<std::byte* const> rows(parity.data(), geometry.m);

    if (plan.how == How::update) {
        for (unsigned j = 0; j < geometry.m; ++j) {
            if (parity[j] != nullptr) std::memcpy(parity[j], old[k + j], hull.length());
        }
        for (unsigned column = write.first_column(); column <= write.last_column(); ++column) {
            const StripRange part = write.part(column);
            std::byte* delta = old[column] + (part.from - hull.from);
            xor_into(delta, data.bytes.data() + write.data_at(column), part.length());
            std::array<std::byte*, kMaxParity> at = parity;
            for (std::byte*& p : at) {
                if (p != nullptr) p += part.from - hull.from;
            }
            code.update(column, delta, {at.data(), geometry.m}, part.length());
        }
        return redo;
    }
    if (plan.regenerate.any()) {
        const Status decoded =
            code.decode(plan.reads, {old.data(), geometry.width()}, plan.regenerate, hull.length());
        ASSERT(decoded.has_value());
    }
    std::array<const std::byte*, kMaxWidth> columns{};
    for (unsigned column = 0; column < k; ++column) {
        if (!write.touches(column)) {
            columns[column] = old[column];
            continue;
        }
        const StripRange part = write.part(column);
        const std::byte* fresh = data.bytes.data() + write.data_at(column);
        if (part == hull) {
            columns[column] = fresh;
            continue;
        }
        std::memcpy(old[column] + (part.from - hull.from), fresh, part.length());
        columns[column] = old[column];
    }
    code.encode({columns.data(), k}, rows, hull.length());
    return redo;
}

/// From here on the write can be finished without us: parity to the partners, then everything to the disks.
/// The checksums are those of before, or on their way.
Task<Status> Amf::finish(OpenRecord& record, Sums& sums, StripeWrite write, Slice data, Redo redo,
                         Kind kind) {
    const Spot spot = sums.spot;
    JournalEntry entry{
        .stripe = spot.stripe, .zone = spot.zone->generation, .offset = write.offset, .length = write.length};
    // The parity of a whole stripe can be told from its data.
    const bool with_parity = write.length != spot.geometry.stripe_size();
    if (with_parity) {
        entry.parity_at = redo.at;
        entry.parity_length = redo.length;
        entry.parities = redo.parities;
    }
    co_await journal_.opened();
    const bool of_the_dead = record.info().root != record.info().id;
    const Journal::Ticket ticket = journal_.put(entry, data, with_parity ? redo.bytes : Slice(), of_the_dead);
    record.redo(redo);
    while (record.waiting()) co_await record.moved().next();
    const Status written_down = co_await journal_.durable(ticket);
    co_await arrived(sums);
    if (record.fenced()) co_return fail(Errc::fenced);
    if (!written_down || tables_.offline()) {
        if (kind != Kind::dirty) record.end(Effect::none);  // not a disk was touched for it
        co_return fail(Errc::offline);
    }
    MemberMask failed;
    const bool portless = kind == Kind::dirty || of_the_dead;
    if (portless && !tables_.still_there(extent(spot), *spot.zone)) {
        journal_.done(ticket);
        record.end(Effect::none);  // the volume has been deleted
        co_return Status{};
    }
    {
        DiskBatch batch(executor_, tables_, extent(spot), spot.purpose);
        forget_blocks(spot.stripe, write.offset, write.length);
        const ParityPart parity{redo.parities, redo.at, redo.length, redo.bytes.bytes};
        for_each_strip(spot.geometry, write, data.bytes, parity,
                       [&](unsigned role, std::uint32_t from, std::span<const std::byte> bytes) {
                           batch.write(role, strip_at(spot, role).to_write(), from, bytes);
                       });
        sums.write(write, data.bytes, parity);
        co_await batch.done();
        co_await sums.batch.done();
        failed = sums.batch.failed() | batch.failed();
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (batch.status(i)) continue;
            ++counters_.member_errors;
            LOG_WARN("member.write_error", {"member", batch.member(i)}, {"stripe", spot.stripe},
                     {"reason", to_string(batch.status(i).error().code)});
        }
    }
    // Offline: the stripe may be half-written, and whoever finishes it is not us. The record has no end, and
    // the stripe goes to nobody before we have left the group.
    if (failed.any()) CO_TRY(co_await fail_members(failed));
    // Not before all AMFs know what we went by: who gets the lock next must not look for this data where it
    // is not.
    while (!tables_.agreed()) co_await tables_.agreed_event();
    sums.keep();
    journal_.done(ticket);
    record.end(Effect::done);
    co_return Status{};
}

}  // namespace braid
