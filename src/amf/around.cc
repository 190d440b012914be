// Reads around a member that limps (H32): it stays in service and is written as ever, and what hosts read of
// it is regenerated from the others, as long as its stripe misses nothing else. One of kStraight reads goes
// to it all the same: else nobody would see that it is well again. What cannot be regenerated is read from
// it.
//
// As with any regeneration the stripe holds still, and is not one that somebody may have left half-written:
// while somebody may have, in the whole group, nothing goes around.
#include <algorithm>

#include "amf/amf.h"
#include "base/log.h"

namespace braid {
namespace {

constexpr std::uint64_t kStraight = 64;  // p99 of hosts does not see one of so many

}  // namespace

/// Of the range; and only if the redundancy of the stripe is whole, and nobody else of it limps.
std::optional<unsigned> Amf::column_around(const Spot& spot, const StripeWrite& range) {
    if (limping_.members().none() || none_half_written_ != view_.epoch) return std::nullopt;
    std::optional<unsigned> slow;
    for (unsigned role = 0; role < spot.geometry.width(); ++role) {
        const Places at = strip_at(spot, role);
        if (!at.read || (slow && limping_.members()[at.read->member.v])) return std::nullopt;
        if (limping_.members()[at.read->member.v]) slow = role;
    }
    if (!slow || *slow < range.first_column() || *slow > range.last_column()) return std::nullopt;
    return slow;
}

Task<Status> Amf::read_around(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole,
                              unsigned column) {
    if (!whole) co_return fail(Errc::busy);
    const bool straight = ++around_ % kStraight == 0;
    if (straight || !co_await read_strips(spot, offset, into, whole, column))
        co_return co_await read_strips(spot, offset, into, whole, std::nullopt);
    ++counters_.read_around;
    co_return Status{};
}

Task<void> Amf::watch_members() {
    while (true) {
        co_await sleep_for(clock_, options_.limping.window);
        if (!gate_.try_enter()) co_return;
        const GateGuard inside(gate_);
        std::vector<Disk*> disks(tables_.config().members.size());
        for (std::uint8_t i = 0; i < disks.size(); ++i) {
            if (tables_.member_ok(MemberIndex(i))) disks[i] = tables_.disk(MemberIndex(i));
        }
        const MemberMask before = limping_.members();
        limping_.end_window(disks, clock_.now());
        const MemberMask changed = before ^ limping_.members();
        for (std::uint8_t i = 0; changed.any() && i < disks.size(); ++i) {
            if (!changed[i]) continue;
            const MemberLatency seen = limping_.report()[i];
            log_event(seen.limps ? LogLevel::warn : LogLevel::info,
                      seen.limps ? "member.slow" : "member.not_slow",
                      {{"member", i},
                       {"p99_us", seen.p99() / 1us},
                       {"others_us", seen.others / 1us},
                       {"waits_us", seen.waits / 1us}});
        }
        const Epoch epoch = view_.epoch;
        if (limping_.members().none() || none_half_written_ == epoch || tables_.offline()) continue;
        const bool left = co_await tables_.left_half_written(RegionIndex(0), ~0u);
        if (!left && epoch == view_.epoch) none_half_written_ = epoch;
    }
}

}  // namespace braid
