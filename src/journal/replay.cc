#include "journal/replay.h"

#include <algorithm>
#include <array>

#include "base/log.h"
#include "journal/replay_run.h"

namespace braid {
namespace replay {

/// Writes and flushes that have ended. offline when more members have failed than the level survives.
Status Replay::look_at(const Commands& commands) {
    for (std::size_t i = 0; i < commands.ops.size(); ++i) {
        if (commands.ops[i].status || failed_[commands.members[i].v]) continue;
        failed_.set(commands.members[i].v);
        LOG_WARN("journal.member_failed", {"group", tables_.config().name}, {"member", commands.members[i]});
    }
    if (tables_.survives(failed_)) return {};
    tables_.go_offline();
    return fail(Errc::offline);
}

Task<bool> Replay::read_ring(MemberIndex member, std::uint64_t start, std::span<std::byte> into) {
    constexpr std::size_t kAtOnce = 1u << 20;
    Commands commands(executor_);
    for (std::size_t at = 0; at < into.size(); at += kAtOnce) {
        commands.add(tables_, member, DiskVerb::read, start + at,
                     into.subspan(at, std::min(kAtOnce, into.size() - at)));
    }
    co_await commands.join;
    co_return std::ranges::all_of(commands.ops, [](const DiskOp& op) { return op.status.has_value(); });
}

/// What the ring of a slot holds that is needed, from all of its members.
Task<Status> Replay::find(AmfSlot slot) {
    const GroupConfig& config = tables_.config();
    const JournalOwner owner{tables_.group(), config.journal.key, slot, tables_.journal(slot).life};
    FoundRing found{slot, {}};
    bool any = false;
    const MemberMask members = ring_members(slot);
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (!members[i]) continue;
        const Buffer bytes(config.journal.ring_size);
        if (!co_await read_ring(MemberIndex(i), config.ring_start(slot), bytes.span())) continue;
        any |= !tables_.journal(slot).filling[i];
        scan(found.batches, MemberIndex(i), owner, bytes);
    }
    if (!any) {
        LOG_ERROR("journal.unreadable", {"group", config.name}, {"slot", slot});
        co_return fail(Errc::io_error);
    }
    Ring& ring = found.batches;
    if (!ring.empty()) ring.erase(ring.begin(), ring.lower_bound(ring.rbegin()->second.batch.tail));
    const std::uint64_t gaps =
        ring.empty() ? 0 : ring.rbegin()->first - ring.begin()->first + 1 - ring.size();
    std::size_t entries = 0;
    for (const auto& [number, one] : ring) entries += one.batch.entries.size();
    LOG_INFO("journal.found", {"group", config.name}, {"slot", slot}, {"batches", ring.size()},
             {"entries", entries}, {"missing", gaps});
    rings_.push_back(std::move(found));
    co_return Status{};
}

/// From all headers, whole batch or not: some may be on one member only. A little of a ring at a time.
Task<Result<std::set<StripeIndex>>> Replay::stripes(AmfSlot slot) {
    constexpr std::uint64_t kWindow = 256u << 10;
    const GroupConfig& config = tables_.config();
    const JournalOwner owner{tables_.group(), config.journal.key, slot, tables_.journal(slot).life};
    std::set<StripeIndex> out;
    bool any = false;
    const MemberMask members = ring_members(slot);
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        bool readable = members[i];
        for (std::uint64_t at = 0; readable && at < config.journal.ring_size; at += kWindow) {
            const Buffer bytes(std::min(kWindow, config.journal.ring_size - at));
            readable = co_await read_ring(MemberIndex(i), config.ring_start(slot) + at, bytes.span());
            for (std::size_t page = 0; readable && page < bytes.size(); page += kPageSize) {
                const Result<JournalBatch> batch =
                    open_journal_header(ConstPageBytes(bytes.span(page, kPageSize)), owner);
                if (!batch) continue;
                for (const JournalEntry& entry : batch->entries) out.insert(entry.stripe);
            }
        }
        any = any || (readable && !tables_.journal(slot).filling[i]);
    }
    if (!any) co_return fail(Errc::io_error);
    co_return out;
}

/// Batches that are not whole are skipped block by block: the end of the ring is overwritten in any order.
void Replay::scan(Ring& ring, MemberIndex member, const JournalOwner& owner, const Buffer& bytes) const {
    const std::span<const std::byte> all = bytes.span();
    for (std::uint64_t at = 0; at < all.size();) {
        Result<JournalBatch> batch = open_journal_batch(all.subspan(at), owner);
        if (!batch) {
            at += kPageSize;
            continue;
        }
        const std::uint64_t size = batch->size();
        const auto [place, fresh] = ring.try_emplace(batch->number);
        if (fresh) place->second = {std::move(*batch), Buffer::copy_of(all.subspan(at, size)), at, {}};
        place->second.whole.set(member.v);
        at += size;
    }
}

/// A batch that was on its way when the power went may be on some of its members only. What is written again
/// from it must not be lost with them.
Task<Status> Replay::make_whole() {
    for (const FoundRing& ring : rings_) {
        const std::uint64_t start = tables_.config().ring_start(ring.slot);
        for (const auto& [number, found] : ring.batches) {
            Commands commands(executor_);
            const MemberMask lack = ring_members(ring.slot) & ~found.whole;
            for (std::uint8_t i = 0; i < lack.size(); ++i) {
                if (lack[i])
                    commands.add(tables_, MemberIndex(i), DiskVerb::write, start + found.at,
                                 found.bytes.span());
            }
            co_await commands.join;
            CO_TRY(look_at(commands));
        }
    }
    co_return Status{};
}

/// Those of one epoch in the order of their rings: within one, a stripe is in one ring only. Without what
/// says that others are over.
std::multimap<Epoch, Work> Replay::in_order() const {
    std::multimap<Epoch, Work> out;
    for (const FoundRing& ring : rings_) {
        for (const auto& [number, found] : ring.batches) {
            std::span<const std::byte> rest = found.bytes.span();
            rest = rest.subspan(kPageSize);
            for (const JournalEntry& entry : found.batch.entries) {
                if (entry.kind == JournalKind::over) continue;
                out.emplace(found.batch.epoch,
                            Work{&entry, rest.first(entry.payload()), nullptr, {}, ring.slot});
                rest = rest.subspan(entry.payload());
            }
        }
    }
    return out;
}

std::multimap<StripeIndex, Replay::Over> Replay::over() const {
    std::multimap<StripeIndex, Over> out;
    for (const FoundRing& ring : rings_) {
        for (const auto& [number, found] : ring.batches) {
            for (const JournalEntry& entry : found.batch.entries) {
                if (entry.kind == JournalKind::over) out.emplace(entry.stripe, Over{ring.slot, &entry});
            }
        }
    }
    return out;
}

/// The zone it was written in; null if the extent has another one, or none.
const Zone* Replay::zone_of(const JournalEntry& entry) const {
    const ExtentIndex extent = tables_.geometry().extent_of(entry.stripe);
    const bool there = extent.v < tables_.config().extents;
    const Zone* zone = there ? tables_.zone(extent) : nullptr;
    const bool same = zone != nullptr && zone->generation == entry.zone;
    if (there && (!same || fits(entry))) return same ? zone : nullptr;
    LOG_ERROR("journal.strange_entry", {"group", tables_.config().name}, {"stripe", entry.stripe});
    return nullptr;
}

/// The key keeps strangers out; what comes from a group of other numbers must not hurt either.
bool Replay::fits(const JournalEntry& entry) const {
    const Geometry geometry = tables_.geometry_of(entry.stripe);
    return geometry.has(entry.stripe) && entry.offset <= geometry.stripe_size() &&
           entry.length <= geometry.stripe_size() - entry.offset && entry.parity_at <= geometry.strip_size &&
           entry.parity_length <= geometry.strip_size - entry.parity_at &&
           entry.parities < (1u << geometry.m);
}

/// All parity strips of a whole stripe.
Buffer Replay::parity_of(const Geometry& geometry, std::span<const std::byte> stripe) const {
    const std::size_t strip = geometry.strip_size;
    Buffer out(geometry.m * strip);
    std::array<const std::byte*, kMaxWidth> data{};
    std::array<std::byte*, kMaxParity> parity{};
    for (unsigned i = 0; i < geometry.k; ++i) data[i] = stripe.data() + i * strip;
    for (unsigned j = 0; j < geometry.m; ++j) parity[j] = out.data() + j * strip;
    Code(geometry.k, geometry.m).encode({data.data(), geometry.k}, {parity.data(), geometry.m}, strip);
    return out;
}

/// All copies of the checksums of stripes that are about to be written.
Task<Status> Replay::read_sums(std::vector<Work>& works) {
    if (!tables_.geometry().checksums) co_return Status{};
    std::deque<Buffer> memory;
    Commands commands(executor_);
    std::vector<Work*> readers;
    for (Work& work : works) {
        if (work.zone == nullptr) continue;
        const StripeIndex stripe = work.entry->stripe;
        const Geometry geometry = geometry_of(work);
        const std::size_t size = geometry.checksum_record_size();
        const Buffer& copies = memory.emplace_back(geometry.checksum_copies() * size);
        work.sums = ChecksumRecord(geometry, {tables_.group(), stripe, work.zone->generation});
        for (unsigned copy = 0; copy < geometry.checksum_copies(); ++copy) {
            const Places at = checksum_at(work, copy);
            if (!at.read) continue;
            commands.add(tables_, at.read->member, DiskVerb::read, at.read->offset,
                         copies.span(copy * size, size));
            readers.push_back(&work);
        }
    }
    co_await commands.join;
    for (std::size_t i = 0; i < readers.size(); ++i) {
        const Status& status = commands.ops[i].status;
        if (status) readers[i]->sums.take(commands.ops[i].memory);
        // The others have it, or what they have is older: then this member must not be believed later.
        if (!status && status.error().code == Errc::media_error) commands.ops[i].status = Status{};
    }
    co_return look_at(commands);
}

void Replay::add(Commands& commands, Work& work) const {
    const JournalEntry& entry = *work.entry;
    if (work.zone == nullptr) return;
    const Geometry geometry = geometry_of(work);
    ParityPart parity{entry.parities, entry.parity_at, entry.parity_length,
                      work.payload.subspan(entry.length)};
    if (entry.length == geometry.stripe_size() && geometry.k > 1) {
        const Buffer& strips = commands.computed.emplace_back(parity_of(geometry, work.payload));
        parity = {static_cast<std::uint8_t>((1u << geometry.m) - 1), 0, geometry.strip_size, strips.span()};
    }
    const StripeWrite write{geometry.strip_size, entry.offset, entry.length};
    for_each_strip(geometry, write, work.payload.first(entry.length), parity,
                   [&](unsigned role, std::uint32_t from, std::span<const std::byte> bytes) {
                       for (const DiskPlace& at : strip_at(work, role).to_write())
                           commands.add(tables_, at.member, DiskVerb::write, at.offset + from, bytes);
                   });
    if (!work.sums) return;
    work.sums.apply(write, work.payload.first(entry.length), parity);
    const std::span<const std::byte> record = work.sums.seal();
    for (unsigned copy = 0; copy < geometry.checksum_copies(); ++copy) {
        for (const DiskPlace& at : checksum_at(work, copy).to_write())
            commands.add(tables_, at.member, DiskVerb::write, at.offset, record);
    }
}

/// Many stripes at once, but never two entries of one stripe.
Task<Status> Replay::write_again(ReplayProgress& progress) {
    constexpr std::size_t kAtOnce = 64;
    const std::multimap<StripeIndex, Over> all_over = over();
    const std::multimap<Epoch, Work> all = in_order();
    progress = {all.size(), 0};
    for (auto next = all.begin(); next != all.end();) {
        std::vector<Work> works;
        std::set<StripeIndex> stripes;
        std::size_t seen = 0;
        for (; next != all.end() && stripes.size() < kAtOnce; ++next, ++seen) {
            const JournalEntry& entry = *next->second.entry;
            const auto [from, to] = all_over.equal_range(entry.stripe);
            const bool is_over = std::any_of(
                from, to, [&](const auto& one) { return one.second.meant(next->second.slot, next->first); });
            if (entry.kind != JournalKind::write || is_over || zone_of(entry) == nullptr) continue;
            if (!stripes.insert(entry.stripe).second) break;
            works.push_back(next->second);
            works.back().zone = zone_of(entry);
            regions_.insert(region_of(geometry_of(works.back()).range_of(entry.stripe).offset));
        }
        CO_TRY(co_await read_sums(works));
        Commands commands(executor_);
        for (Work& work : works) add(commands, work);
        co_await commands.join;
        CO_TRY(look_at(commands));
        progress.done += seen;
    }
    LOG_INFO("journal.replayed", {"group", tables_.config().name}, {"entries", all.size()});
    co_return Status{};
}

Task<Status> Replay::flush() {
    Commands commands(executor_);
    for (std::uint8_t i = 0; i < tables_.config().members.size(); ++i) {
        if (ok(MemberIndex(i))) commands.add(tables_, MemberIndex(i), DiskVerb::flush, 0, {});
    }
    co_await commands.join;
    co_return look_at(commands);
}

}  // namespace replay

Task<Result<std::set<StripeIndex>>> ring_stripes(Executor& executor, Tables& tables, AmfSlot slot) {
    replay::Replay run(executor, tables);
    co_return co_await run.stripes(slot);
}

Task<Result<Replayed>> replay_journals(Executor& executor, Tables& tables, ReplayProgress& progress) {
    replay::Replay run(executor, tables);
    co_return co_await run.run(progress);
}

}  // namespace braid
