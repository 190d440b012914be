// What several AMFs have trimmed (decisions/019): told to hosts as holes, and added up, so that an extent
// whose parts were trimmed through different controllers gives its zone back.
//
// Each AMF remembers what it has trimmed itself as long as it is true (TrimmedBlocks). Who tells a host asks
// the others for theirs, at that moment. Who has trimmed a part of an extent asks them a little later, once
// for all that was trimmed meanwhile; whoever has trimmed last, and so asks last, is told of everything. If
// that is all of the extent it takes the rest over, stripe by stripe: takes the lock, by which the others
// forget, sees that there are zeros, because somebody may have written since they told, and remembers them
// itself. Then the extent goes as if it had been trimmed here alone.
//
// A stripe that was trimmed in parts by several is known in full to nobody. So a little may be missing from
// what all of them remember together: it is looked at first. All of it may be missing when somebody has
// tried, and was disturbed by a trim of the same.
#include <algorithm>
#include <utility>

#include "amf/amf.h"
#include "base/log.h"
#include "base/zeros.h"

namespace braid {
namespace {

constexpr std::size_t kMostUnknown = kExtentSize / 4 / kBlockSize;  ///< blocks that nobody remembers
constexpr unsigned kTimes = 8;                                      ///< to try, when it comes to nothing
constexpr std::size_t kMemory = 16u << 20;  ///< of stripes that are looked at together

bool any_in(const ExtentBlocks& blocks, const LogicalRange& range) {
    const auto [first, end] = blocks_of(range);
    for (std::size_t i = first; i < end; ++i) {
        if (blocks[i]) return true;
    }
    return false;
}

/// False: no room.
bool add_blocks(AllocationRuns& runs, const ExtentBlocks& holes, const LogicalRange& range) {
    for (std::uint64_t at = range.offset, next = 0; at < range.end(); at = next) {
        next = std::min((at / kBlockSize + 1) * kBlockSize, range.end());
        if (!runs.add(next - at, holes[at % kExtentSize / kBlockSize])) return false;
    }
    return true;
}

}  // namespace

std::set<AmfId> Amf::others() const {
    std::set<AmfId> out;
    for (const AmfMember& member : view_.members) {
        if (member.id != view_.self) out.insert(member.id);
    }
    return out;
}

/// Of extents that have a zone. Nobody else had the blocks at that moment, and no death brings back what they
/// were before.
Task<TrimmedOf> Amf::trimmed_here(std::vector<ExtentIndex> extents) {
    TrimmedOf out;
    if (!ready_ || tables_.offline() || trimmed_.empty()) co_return out;
    for (const ExtentIndex extent : extents) {
        const Zone* zone = extent.v < tables_.config().extents ? tables_.zone(extent) : nullptr;
        if (zone == nullptr) continue;
        if (const ExtentBlocks* blocks = trimmed_.of(extent, zone->generation)) out[extent] = *blocks;
    }
    if (!options_.lease->live()) co_return TrimmedOf{};
    if (early_bytes_ != 0 && !co_await early_answers_copied()) co_return TrimmedOf{};
    co_return out;
}

Task<TrimmedOf> Amf::trimmed_anywhere(std::vector<ExtentIndex> extents) {
    TrimmedOf out = co_await trimmed_here(extents);
    const PeerTrims::Told told = co_await peer_trims_.ask(others(), std::move(extents), false);
    for (const auto& [extent, blocks] : told.blocks) out[extent] |= blocks;
    co_return out;
}

/// A write that was answered has made its zone known to all AMFs that have settled since; what is agreed is
/// not taken back.
Task<Result<std::vector<AllocationRun>>> Amf::allocation(std::uint64_t offset, std::uint64_t length,
                                                         std::size_t most, AllocationDetail detail) {
    ASSERT(length != 0 && offset + length <= tables_.config().logical_size());
    co_await pieces_.take();
    const SemaphoreGuard slot(pieces_);
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    const std::uint64_t end = offset + length;
    const auto next_extent = [end](std::uint64_t at) {
        return std::min(end, (at / kExtentSize + 1) * kExtentSize);
    };
    AllocationRuns runs(most);
    for (bool room = true; offset < end && room;) {
        co_await tables_.settled_and_agreed();
        std::vector<ExtentIndex> zones;  // as many as one question may be about
        std::uint64_t to = offset;
        for (; to < end && zones.size() < kMostTrimsAsked; to = next_extent(to)) {
            if (allocated(extent_at(to))) zones.push_back(extent_at(to));
        }
        TrimmedOf holes;
        if (detail == AllocationDetail::blocks && !zones.empty()) holes = co_await trimmed_anywhere(zones);
        for (; offset < to && room; offset = next_extent(offset)) {
            const LogicalRange part{offset, next_extent(offset) - offset};
            const auto blocks = holes.find(extent_at(offset));
            if (blocks != holes.end()) {
                room = add_blocks(runs, blocks->second, part);
            } else {
                room = runs.add(part.length, !std::ranges::binary_search(zones, extent_at(offset)));
            }
        }
    }
    co_return std::move(runs).take();
}

/// Old words do not come again: of this view or not at all. Who asks to add up does what we would do, and
/// before us; unless we are at it.
Task<void> Amf::tell_trims(AmfId to, TrimsAsk ask) {
    const Epoch epoch = view_.epoch;
    TrimsTold told{ask.number, {}};
    if (gate_.try_enter()) {
        const GateGuard inside(gate_);
        told.blocks = co_await trimmed_here(ask.extents);
    }
    for (const ExtentIndex extent : ask.extents) {
        const auto ours = to_add_up_.find(extent);
        if (!ask.adds_up || ours == to_add_up_.end()) continue;
        if (ours->second.at_work) told.blocks.erase(extent);
        ours->second.times = std::max(ours->second.times, 1u);
    }
    if (view_.epoch == epoch) transport_.send(to, encode(group_, told));
}

void Amf::deliver_trims(AmfId from, const Message& message) {
    if (message.type == MessageType::trims_told) {
        if (peer_trims_.deliver(from, message)) return;
    } else if (Result<TrimsAsk> ask = decode_trims_ask(message)) {
        return scope_.spawn(tell_trims(from, std::move(*ask)));
    }
    LOG_WARN("trims.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

// ---- adding up

void Amf::add_up_soon(ExtentIndex extent) {
    AddUp& soon = to_add_up_[extent];
    soon.times = 0;
    soon.at_work = false;
    if (!std::exchange(adding_up_, true)) scope_.spawn(add_up_trims());
}

/// As long as something has been trimmed that the others were not asked about. Two that take stripes from
/// each other both fail, and try again one after the other.
Task<void> Amf::add_up_trims() {
    while (!to_add_up_.empty()) {
        const auto failed = [](const auto& extent) { return extent.second.times != 0; };
        const auto before = std::ranges::count_if(
            view_.members, [this](const AmfMember& member) { return member.id < view_.self; });
        co_await sleep_for(clock_,
                           options_.trims_pause * (std::ranges::any_of(to_add_up_, failed) ? 1 + before : 1));
        const auto all = std::exchange(to_add_up_, {});
        for (auto at = all.begin(); at != all.end();) {
            if (!gate_.try_enter()) break;
            const GateGuard inside(gate_);
            std::vector<ExtentIndex> some;
            for (; at != all.end() && some.size() < kMostTrimsAsked; ++at) {
                const Zone* zone = tables_.zone(at->first);
                if (zone == nullptr) continue;
                if (at->second.disturbed || trimmed_.of(at->first, zone->generation) != nullptr)
                    some.push_back(at->first);
            }
            if (some.empty()) continue;
            ++counters_.trims_asked;
            PeerTrims::Told told = co_await peer_trims_.ask(others(), some, true);
            for (const ExtentIndex extent : some) {
                AddUp next = all.at(extent);
                const bool disturbed = !co_await add_up(extent, told.blocks[extent], next.disturbed);
                std::erase_if(to_add_up_, [](const auto& at) { return at.second.at_work; });
                if (!disturbed && told.by_all) continue;
                next.disturbed |= disturbed;
                if (++next.times < kTimes)
                    to_add_up_.emplace(extent, next).first->second.disturbed |= disturbed;
            }
        }
    }
    adding_up_ = false;
}

/// `told`: what others remember of it, unless they have forgotten it because we were disturbed at this
/// before. False: we were.
Task<bool> Amf::add_up(ExtentIndex extent, const ExtentBlocks& told, bool disturbed) {
    const Zone* present = tables_.zone(extent);
    const ExtentBlocks* ours = present == nullptr ? nullptr : trimmed_.of(extent, present->generation);
    // Two that were at it at once may have made each other forget all.
    if (present == nullptr || (ours == nullptr && !disturbed) || tables_.offline()) co_return true;
    const LogicalRange all = bytes_of(extent);
    ExtentBlocks missing;
    for (std::size_t i = 0, end = blocks_of(all).second; i < end; ++i)
        missing[i] = ours == nullptr || !(*ours)[i];
    const ExtentBlocks unknown = missing & ~told;
    if (unknown.count() > kMostUnknown && !disturbed) co_return true;
    to_add_up_[extent].at_work = true;
    const Zone zone = *present;  // a volume may be deleted meanwhile
    const Geometry geometry = tables_.config().geometry_of(zone.shape);
    // What nobody knows comes first: what is taken from others in vain is known to nobody afterwards.
    std::vector<StripePiece> doubtful, told_of;
    for_each_stripe([&](ExtentIndex) { return geometry; }, all,
                    [&](const StripePiece& piece) {
                        const LogicalRange range{piece.at, piece.length};
                        if (any_in(missing, range))
                            (any_in(unknown, range) ? doubtful : told_of).push_back(piece);
                    });
    for (const std::vector<StripePiece>& pieces : {doubtful, told_of}) {
        const Status taken = co_await take_zeros(pieces, zone);
        if (!taken) co_return taken.error().code != Errc::busy;
    }
    const std::uint64_t released = counters_.released_extents;
    (void)co_await release_extent(extent, true);
    counters_.added_up_extents += counters_.released_extents - released;
    co_return !tables_.still_there(extent, zone);
}

Task<Status> Amf::take_zeros(const std::vector<StripePiece>& pieces, const Zone& zone) {
    const std::size_t stripe = tables_.config().geometry_of(zone.shape).stripe_size();
    const std::size_t depth = std::clamp<std::size_t>(kMemory / stripe, 1, options_.pieces_per_operation);
    for (std::size_t at = 0; at < pieces.size();) {
        if (gate_.closed()) co_return fail(Errc::not_ready);
        std::vector<Task<Status>> some;
        for (; at < pieces.size() && some.size() < depth; ++at) some.push_back(take_zeros(pieces[at], zone));
        for (const Status& status : co_await gather(executor_, std::move(some))) CO_TRY(status);
    }
    co_return Status{};
}

/// All of the stripe that can be reached; from its end on we know that it is zeros. busy: perhaps later.
Task<Status> Amf::take_zeros(StripePiece piece, const Zone& zone) {
    const ExtentIndex extent = geometry_.extent_of(piece.stripe);
    LockPin pin;
    CO_TRY(co_await wait_for_units({units_.of_stripe(piece.stripe)}, LockMode::write, pin, {}, true));
    const StripeLocks::Guard guard = co_await stripe_locks_.write(piece.stripe);
    while (!tables_.settled()) co_await tables_.settled_event();
    const auto good = [&] {
        return pin.live() && !tables_.offline() && !tables_.emptying(extent) &&
               tables_.still_there(extent, zone) && tables_.shape_of(extent) == zone.shape;
    };
    if (tables_.emptying(extent)) CO_TRY(co_await keep_extent(extent));
    if (!good()) co_return fail(Errc::busy);
    if (tables_.quarantined(piece.stripe, zone.generation)) co_return fail(Errc::io_error);
    CO_TRY(co_await destage_locked(piece.stripe));
    if (!good()) co_return fail(Errc::busy);
    const Buffer content(block_ceil(piece.length));
    CO_TRY(co_await read_blocks(spot(piece.stripe, zone), 0, content.span(), true));
    if (!all_zero(content.span())) {
        ++counters_.trims_not_zeros;
        co_return fail(Errc::exists);
    }
    if (!good() || dirty_.find(piece.stripe) != nullptr) co_return fail(Errc::busy);
    trimmed_.add(zone.generation, {piece.at, content.size()});
    co_return Status{};
}

}  // namespace braid
