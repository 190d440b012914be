#include "destage/dirty_stripes.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace braid {
namespace {

std::uint32_t end_of(const std::pair<const std::uint32_t, Slice>& run) {
    return run.first + static_cast<std::uint32_t>(run.second.bytes.size());
}

Slice part(const Slice& slice, std::size_t from, std::size_t length) {
    return Slice(slice.owner, slice.bytes.subspan(from, length));
}

/// The first run that ends behind `offset`.
auto first_behind(const std::map<std::uint32_t, Slice>& runs, std::uint32_t offset) {
    auto at = runs.upper_bound(offset);
    if (at != runs.begin() && end_of(*std::prev(at)) > offset) --at;
    return at;
}

}  // namespace

/// Takes the piece out of the content.
void DirtyStripes::cut(Stripe& stripe, DirtyPiece piece) {
    auto at = first_behind(stripe.runs, piece.offset);
    while (at != stripe.runs.end() && at->first < piece.end()) {
        const std::uint32_t from = at->first, to = end_of(*at);
        const Slice data = std::move(at->second);
        at = stripe.runs.erase(at);
        stripe.bytes -= std::min(to, piece.end()) - std::max(from, piece.offset);
        if (from < piece.offset) stripe.runs.emplace(from, part(data, 0, piece.offset - from));
        if (to > piece.end()) {
            at = stripe.runs.emplace(piece.end(), part(data, piece.end() - from, to - piece.end())).first;
            ++at;
        }
    }
}

void DirtyStripes::forget(Stripe& stripe, Ticket ticket) {
    const auto record = stripe.records.find(ticket);
    bytes_ -= record->second.length;
    stripe.records.erase(record);
}

/// Where choose() looks for it, by its age.
void DirtyStripes::place(StripeIndex index, Stripe& stripe) {
    const auto older = [](const auto& a, const auto& b) { return a.second.since < b.second.since; };
    const Nanos since = std::ranges::min_element(stripe.records, older)->second.since;
    ByAge* const to = stripe.chosen ? &chosen_ : stripe.full() ? &full_ : &open_;
    if (to == stripe.in && since == stripe.since) return;
    if (stripe.in != nullptr) stripe.in->erase({stripe.since, index});
    stripe.in = to;
    stripe.since = since;
    to->emplace(since, index);
}

std::vector<DirtyStripes::Ticket> DirtyStripes::put(StripeIndex index, std::uint32_t generation,
                                                    std::uint32_t size, std::uint32_t offset, Slice data,
                                                    Ticket ticket, Nanos now, bool host) {
    const auto [at, fresh] = stripes_.try_emplace(index);
    Stripe& stripe = at->second;
    if (fresh) {
        stripe.generation = generation;
        stripe.size = size;
    }
    ASSERT(stripe.generation == generation);
    ASSERT(stripe.records.empty() || stripe.records.rbegin()->first < ticket);
    const DirtyPiece piece{offset, static_cast<std::uint32_t>(data.bytes.size())};
    std::vector<Ticket> covered = records_in(index, piece);
    Nanos since = now;
    for (const Ticket old : covered) {
        since = std::min(since, stripe.records.at(old).since);
        forget(stripe, old);
    }
    cut(stripe, piece);
    stripe.runs.emplace(offset, std::move(data));
    stripe.bytes += piece.length;
    stripe.records.emplace(ticket, Record{piece, since});
    bytes_ += piece.length;
    stripe.writes += host ? 1 : 0;
    place(index, stripe);
    return covered;
}

std::vector<DirtyStripes::Ticket> DirtyStripes::drop(StripeIndex index, DirtyPiece piece) {
    const auto at = stripes_.find(index);
    if (at == stripes_.end()) return {};
    Stripe& stripe = at->second;
    std::vector<Ticket> out = records_in(index, piece);
    for (const Ticket ticket : out) forget(stripe, ticket);
    cut(stripe, piece);
    if (!stripe.runs.empty()) {
        place(index, stripe);
        return out;
    }
    ASSERT(stripe.records.empty());
    stripe.in->erase({stripe.since, index});
    stripes_.erase(at);
    return out;
}

// ---- content

const DirtyStripes::Stripe* DirtyStripes::find(StripeIndex stripe) const {
    if (stripes_.empty()) return nullptr;
    const auto at = stripes_.find(stripe);
    return at == stripes_.end() ? nullptr : &at->second;
}

bool DirtyStripes::meets(StripeIndex stripe, std::uint32_t generation, DirtyPiece piece) const {
    const Stripe* dirty = find(stripe);
    if (dirty == nullptr || dirty->generation != generation) return false;
    const auto at = first_behind(dirty->runs, piece.offset);
    return at != dirty->runs.end() && at->first < piece.end();
}

bool DirtyStripes::covers(StripeIndex stripe, std::uint32_t generation, DirtyPiece piece) const {
    const Stripe* dirty = find(stripe);
    if (dirty == nullptr || dirty->generation != generation) return false;
    std::uint32_t up_to = piece.offset;
    for (auto at = first_behind(dirty->runs, up_to);
         up_to < piece.end() && at != dirty->runs.end() && at->first <= up_to; ++at)
        up_to = end_of(*at);
    return up_to >= piece.end();
}

void DirtyStripes::overlay(StripeIndex stripe, std::uint32_t generation, std::uint32_t offset,
                           std::span<std::byte> into) const {
    const Stripe* dirty = find(stripe);
    if (dirty == nullptr || dirty->generation != generation) return;
    const std::uint32_t end = offset + static_cast<std::uint32_t>(into.size());
    for (auto at = first_behind(dirty->runs, offset); at != dirty->runs.end() && at->first < end; ++at) {
        const std::uint32_t from = std::max(at->first, offset), to = std::min(end_of(*at), end);
        std::memcpy(into.data() + (from - offset), at->second.bytes.data() + (from - at->first), to - from);
    }
}

std::vector<DirtyPiece> DirtyStripes::pieces(StripeIndex stripe, Gaps over) const {
    const Stripe* dirty = find(stripe);
    if (dirty == nullptr) return {};
    std::vector<DirtyPiece> parts;
    for (const auto& run : dirty->runs) parts.push_back({run.first, end_of(run) - run.first});
    const auto joined = [](std::span<const DirtyPiece> pieces, auto&& goes_over) {
        std::vector<DirtyPiece> out;
        for (const DirtyPiece& piece : pieces) {
            if (!out.empty() &&
                goes_over(piece.offset - out.back().end(), out.back().length + piece.length)) {
                out.back().length = piece.end() - out.back().offset;
            } else {
                out.push_back(piece);
            }
        }
        return out;
    };
    parts = joined(parts, [over](std::uint32_t gap, std::uint32_t) { return gap == 0 || over == Gaps::all; });
    if (over != Gaps::small) return parts;
    return joined(parts, [](std::uint32_t gap, std::uint32_t beside) { return gap <= beside / 4; });
}

Slice DirtyStripes::content(StripeIndex stripe, DirtyPiece piece) const {
    const Stripe* dirty = find(stripe);
    ASSERT(dirty != nullptr && covers(stripe, dirty->generation, piece));
    const auto at = first_behind(dirty->runs, piece.offset);
    if (end_of(*at) >= piece.end()) return part(at->second, piece.offset - at->first, piece.length);
    const Buffer memory(piece.length);
    overlay(stripe, dirty->generation, piece.offset, memory.span());
    return Slice(memory);
}

std::vector<DirtyStripes::Ticket> DirtyStripes::records_in(StripeIndex stripe, DirtyPiece piece) const {
    std::vector<Ticket> out;
    const Stripe* dirty = find(stripe);
    if (dirty == nullptr) return out;
    for (const auto& [ticket, where] : dirty->records) {
        if (where.within(piece)) out.push_back(ticket);
    }
    return out;
}

std::vector<StripeIndex> DirtyStripes::stripes(StripeIndex first, std::uint64_t count) const {
    std::vector<StripeIndex> out;
    for (auto at = stripes_.lower_bound(first); at != stripes_.end() && at->first.v - first.v < count; ++at)
        out.push_back(at->first);
    return out;
}

// ---- order

std::optional<StripeIndex> DirtyStripes::choose(const Pressure& pressure) {
    const auto overdue = [&pressure](const ByAge& stripes) {
        return !stripes.empty() && pressure.now - stripes.begin()->first >= pressure.age;
    };
    const bool full_first = !full_.empty() && (open_.empty() || *full_.begin() < *open_.begin());
    const ByAge* from = nullptr;
    if (const ByAge& oldest = full_first ? full_ : open_; overdue(oldest)) {
        from = &oldest;
    } else if (!full_.empty()) {
        from = &full_;
    } else if (!open_.empty() && (pressure.all || bytes_ > pressure.low)) {
        from = &open_;
    }
    if (from == nullptr) return std::nullopt;
    const StripeIndex index = from->begin()->second;
    Stripe& stripe = stripes_.at(index);
    stripe.chosen = true;
    place(index, stripe);
    return index;
}

void DirtyStripes::unchoose(StripeIndex index) {
    const auto at = stripes_.find(index);
    if (at == stripes_.end()) return;
    at->second.chosen = false;
    place(index, at->second);
}

std::optional<Nanos> DirtyStripes::oldest() const {
    std::optional<Nanos> out;
    for (const ByAge* stripes : {&open_, &full_, &chosen_}) {
        if (!stripes->empty()) out = std::min(out.value_or(Nanos::max()), stripes->begin()->first);
    }
    return out;
}

}  // namespace braid
