// Replay: what flushes have put into journals without its parity. Nothing may be written in place before
// parity is safe, too: power may go again, and a member with it. So it becomes writes, in the next life of
// the ring.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/log.h"
#include "journal/replay_run.h"

namespace braid::replay {
namespace {

void cut(DataLeft& left, std::uint32_t from, std::uint32_t to) {
    auto at = left.runs.begin();
    while (at != left.runs.end()) {
        const std::uint32_t begin = at->first, end = begin + static_cast<std::uint32_t>(at->second.size());
        if (end <= from || begin >= to) {
            ++at;
            continue;
        }
        const std::span<const std::byte> bytes = at->second;
        at = left.runs.erase(at);
        if (begin < from) left.runs.emplace(begin, bytes.first(from - begin));
        if (end > to) at = ++left.runs.emplace(to, bytes.subspan(to - begin)).first;
    }
}

/// All of this block of a strip. Runs do not meet: what later ones cover has been cut off.
bool replaced(const Filling& filling, unsigned role, std::uint32_t at) {
    const std::uint64_t begin = std::uint64_t{role} * filling.geometry.strip_size + filling.rows.from + at;
    const std::uint64_t end = begin + kBlockSize;
    std::uint64_t bytes = 0;
    for (const DataLeft& left : *filling.left) {
        for (const auto& [from, run] : left.runs) {
            const std::uint64_t first = std::max<std::uint64_t>(begin, from);
            const std::uint64_t last = std::min<std::uint64_t>(end, from + run.size());
            bytes += last > first ? last - first : 0;
        }
    }
    return bytes == kBlockSize;
}

}  // namespace

StripesLeft Replay::data_left() const {
    StripesLeft out;
    for (const auto& [epoch, work] : in_order()) {
        const JournalEntry& entry = *work.entry;
        if (entry.length == 0 || zone_of(entry) == nullptr) continue;
        const auto before = out.find(entry.stripe);
        if (before != out.end()) {
            for (DataLeft& left : before->second) cut(left, entry.offset, entry.offset + entry.length);
        }
        if (entry.kind != JournalKind::data) continue;
        // As the rings will be read again: the parity of each entry counts on what those before it have put.
        std::vector<DataLeft>& all = out[entry.stripe];
        all.insert(std::ranges::upper_bound(all, work.slot, {}, &DataLeft::slot),
                   {work.slot, epoch, &entry, {{entry.offset, work.payload}}});
    }
    for (const auto& [stripe, one] : over()) {
        const auto before = out.find(stripe);
        if (before == out.end()) continue;
        for (DataLeft& left : before->second) {
            if (one.meant(left.slot, left.epoch))
                cut(left, one.entry->offset, one.entry->offset + one.entry->length);
        }
    }
    for (auto at = out.begin(); at != out.end();) {
        std::erase_if(at->second, [](const DataLeft& left) { return left.runs.empty(); });
        at = at->second.empty() ? out.erase(at) : std::next(at);
    }
    return out;
}

/// Every stripe is right when it begins.
Task<Result<std::bitset<kMaxGroupAmfs>>> Replay::put_data_left() {
    constexpr std::size_t kAtOnce = 64;
    StripesLeft all = data_left();
    std::map<AmfSlot, RingEnd> ends;
    for (auto next = all.begin(); next != all.end();) {
        std::vector<Filling> fillings;
        for (; next != all.end() && fillings.size() < kAtOnce; ++next) {
            const Geometry geometry = tables_.geometry_of(next->first);
            Filling filling{next->first, geometry, &next->second, {geometry.strip_size, 0}, {}, {}};
            for (const DataLeft& left : next->second) {
                const StripRange hull =
                    StripeWrite{geometry.strip_size, left.from(), left.to() - left.from()}.hull();
                filling.rows.from = std::min(filling.rows.from, hull.from);
                filling.rows.to = std::max(filling.rows.to, hull.to);
            }
            filling.memory = Buffer(geometry.width() * filling.rows.length());
            fillings.push_back(std::move(filling));
        }
        std::vector<Work> works;
        for (const Filling& filling : fillings) {
            const JournalEntry* entry = filling.left->front().entry;
            works.push_back({entry, {}, zone_of(*entry), {}, {}});
        }
        CO_TRY(co_await read_sums(works));
        CO_TRY(co_await read_rows(fillings));
        for (std::size_t i = 0; i < fillings.size(); ++i) {
            if (regenerate(fillings[i], works[i].sums)) {
                CO_TRY(co_await put_filled(fillings[i], ends));
            } else {
                LOG_ERROR("journal.data_lost", {"group", tables_.config().name},
                          {"stripe", fillings[i].stripe});
                lost_.insert(fillings[i].stripe);
            }
        }
    }
    std::bitset<kMaxGroupAmfs> out;
    for (auto& [slot, end] : ends) {
        CO_TRY(co_await put_batch(slot, end));
        out.set(slot.v);
    }
    if (out.any()) CO_TRY(co_await flush());
    LOG_INFO("journal.data_put", {"group", tables_.config().name}, {"stripes", all.size()},
             {"rings", out.count()});
    co_return out;
}

Task<Status> Replay::read_rows(std::vector<Filling>& fillings) {
    Commands commands(executor_);
    std::vector<std::pair<Filling*, unsigned>> readers;
    for (Filling& filling : fillings) {
        const JournalEntry* entry = filling.left->front().entry;
        const Work work{entry, {}, zone_of(*entry), {}, {}};
        for (unsigned role = 0; role < filling.geometry.width(); ++role) {
            const Places at = strip_at(work, role);
            filling.unread.set(role);
            if (!at.read) continue;
            commands.add(tables_, at.read->member, DiskVerb::read, at.read->offset + filling.rows.from,
                         {filling.strip(role), filling.rows.length()});
            readers.emplace_back(&filling, role);
        }
    }
    co_await commands.join;
    for (std::size_t i = 0; i < readers.size(); ++i) {
        Status& status = commands.ops[i].status;
        readers[i].first->unread.set(readers[i].second, !status);
        if (!status && status.error().code == Errc::media_error) status = Status{};
    }
    co_return look_at(commands);
}

/// What was not read, or is not what was written, block by block, but for what is replaced. False: something
/// that parity needs is nowhere.
bool Replay::regenerate(const Filling& filling, const ChecksumRecord& sums) const {
    const Geometry& geometry = filling.geometry;
    for (std::uint32_t at = 0; at < filling.rows.length(); at += kBlockSize) {
        RoleMask good, wanted;
        std::array<std::byte*, kMaxWidth> blocks{};
        for (unsigned role = 0; role < geometry.width(); ++role) {
            blocks[role] = filling.strip(role) + at;
            const std::span<const std::byte> block{blocks[role], kBlockSize};
            good[role] =
                !filling.unread[role] && !(sums && sums.mismatch(role, filling.rows.from + at, block));
            if (role < geometry.k) wanted[role] = !good[role] && !replaced(filling, role, at);
        }
        if (wanted.none()) continue;
        if (good.count() < geometry.k) return false;
        const Code code(geometry.k, geometry.m);
        const Status decoded = code.decode(good, {blocks.data(), geometry.width()}, wanted, kBlockSize);
        ASSERT(decoded.has_value());
    }
    return true;
}

/// One entry after the other, each with the parity that fits when those before it are written.
Task<Status> Replay::put_filled(const Filling& filling, std::map<AmfSlot, RingEnd>& ends) {
    const Geometry& geometry = filling.geometry;
    const auto each_column = [&](std::uint32_t from, std::uint32_t length, auto&& each) {
        const StripeWrite write{geometry.strip_size, from, length};
        for (unsigned column = write.first_column(); column <= write.last_column(); ++column) {
            const StripRange part = write.part(column);
            each(filling.strip(column) + (part.from - filling.rows.from), write.data_at(column),
                 part.length());
        }
    };
    for (const DataLeft& left : *filling.left) {
        for (const auto& [from, bytes] : left.runs) {
            each_column(from, static_cast<std::uint32_t>(bytes.size()),
                        [&](std::byte* to, std::uint32_t at, std::uint32_t length) {
                            std::memcpy(to, bytes.data() + at, length);
                        });
        }
        const std::uint32_t length = left.to() - left.from();
        JournalEntry entry{.kind = JournalKind::write,
                           .before = {},
                           .stripe = filling.stripe,
                           .zone = left.entry->zone,
                           .offset = left.from(),
                           .length = length};
        const StripRange hull = StripeWrite{geometry.strip_size, left.from(), length}.hull();
        const bool with_parity = geometry.k > 1 && length != geometry.stripe_size();
        if (with_parity) {
            entry.parity_at = hull.from;
            entry.parity_length = hull.length();
            entry.parities = static_cast<std::uint8_t>((1u << geometry.m) - 1);
        }
        const Buffer payload(entry.payload());
        each_column(left.from(), length, [&](const std::byte* from, std::uint32_t at, std::uint32_t count) {
            std::memcpy(payload.data() + at, from, count);
        });
        if (with_parity) {
            std::array<const std::byte*, kMaxWidth> data{};
            std::array<std::byte*, kMaxParity> parity{};
            for (unsigned i = 0; i < geometry.k; ++i)
                data[i] = filling.strip(i) + (hull.from - filling.rows.from);
            for (unsigned j = 0; j < geometry.m; ++j)
                parity[j] = payload.data() + length + std::size_t{j} * hull.length();
            const Code code(geometry.k, geometry.m);
            code.encode({data.data(), geometry.k}, {parity.data(), geometry.m}, hull.length());
        }
        RingEnd& end = ends.try_emplace(left.slot, end_of(left.slot)).first->second;
        constexpr std::uint64_t kMaxBatch = 1u << 20;
        const bool full = end.entries.size() == kMaxJournalEntries || end.bytes + payload.size() > kMaxBatch;
        if (full) CO_TRY(co_await put_batch(left.slot, end));
        end.entries.push_back(entry);
        end.payloads.push_back(payload);
        end.bytes += payload.size();
    }
    co_return Status{};
}

RingEnd Replay::end_of(AmfSlot slot) const {
    RingEnd end;
    const auto ring = std::ranges::find(rings_, slot, &FoundRing::slot);
    const FoundBatch& first = ring->batches.begin()->second;
    const FoundBatch& last = ring->batches.rbegin()->second;
    end.at = last.at + last.batch.size();
    if (last.at < first.at) {
        end.free = first.at - end.at;
    } else {
        end.free = tables_.config().journal.ring_size - end.at;
        end.then = first.at;
    }
    end.number = first_number();
    return end;
}

Task<Status> Replay::put_batch(AmfSlot slot, RingEnd& end) {
    const GroupConfig& config = tables_.config();
    const std::uint64_t size = kPageSize + end.bytes;
    if (size > end.free) {
        end.at = 0;
        end.free = std::exchange(end.then, 0);
    }
    if (size > end.free) {
        LOG_ERROR("journal.no_room", {"group", config.name}, {"slot", slot});
        co_return fail(Errc::no_space);
    }
    const JournalBatch batch{epoch_, end.number++, first_number(), std::exchange(end.entries, {})};
    const Buffer bytes(size);
    std::byte* to = bytes.data() + kPageSize;
    for (const Buffer& payload : std::exchange(end.payloads, {})) {
        std::memcpy(to, payload.data(), payload.size());
        to += payload.size();
    }
    seal_journal_batch(bytes.span(), batch,
                       {tables_.group(), config.journal.key, slot, tables_.journal(slot).life + 1});
    Commands commands(executor_);
    const MemberMask members = ring_members(slot);
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (members[i])
            commands.add(tables_, MemberIndex(i), DiskVerb::write, config.ring_start(slot) + end.at,
                         bytes.span());
    }
    end.at += size;
    end.free -= size;
    end.bytes = 0;
    co_await commands.join;
    co_return look_at(commands);
}

}  // namespace braid::replay
