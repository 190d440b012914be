// Which shape the stripes of an extent have (decisions/021).
//
//   reserve_successor   the zone has a place of another shape, which nobody reads
//   succeed             when all of it has been copied there: it is the zone. Two pages, as in release_zone()
//
// A successor belongs to who reserved it, and is dropped by whoever finds one that is nobody's: at an
// assembly all of them. So nothing that was copied before a death counts.
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {

Task<Status> Tables::set_shape(ExtentIndex extent, StripeShape shape, std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (zone(extent) != nullptr) co_return fail(Errc::busy);
    if (shape_of(extent) == shape) co_return Status{};
    if (!config_.can_have(shape)) co_return fail(Errc::invalid);
    if (!still()) co_return fail(Errc::fenced);
    Zone next = zones_[extent.v].emptied();
    next.shape = shape;
    LOG_INFO("extent.shaped", {"group", config_.name}, {"extent", extent}, {"level", to_string(shape.level)},
             {"data", unsigned{shape.k}}, {"parity", unsigned{shape.m}});
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

void Tables::count_shapes() {
    const auto other = [this](const Zone& zone) { return zone.shape != config_.wanted; };
    other_shapes_ = static_cast<std::uint32_t>(std::ranges::count_if(zones_, other));
}

// ---- extents with a zone

/// For a zone that comes beside the others. Promised ones find their places without it.
Result<Zone> Tables::place_beside(ExtentIndex extent, StripeShape shape) const {
    const ZoneSize size = config_.geometry_of(shape).zone_size();
    SegmentAllocator trial = *allocator_;
    auto place = trial.allocate(size, extent, in_state(MemberState::ok) & ~gone());
    if (place && trial.room(promise().size, counted_members()) < promised_zones())
        return fail(Errc::no_space);
    return place;
}

bool Tables::reshape_waits() const {
    if (zones_to_reshape() == 0) return false;
    const auto goes_on = [](const Zone& zone) { return bool{zone.successor}; };
    return std::ranges::none_of(zones_, goes_on) && !place_beside(ExtentIndex(0), config_.wanted);
}

Task<Result<Zone>> Tables::reserve_successor(ExtentIndex extent, StripeShape shape) {
    CO_TRY(co_await drop_successor(extent));
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (zone(extent) == nullptr) co_return fail(Errc::not_found);
    Zone next = zones_[extent.v];
    if (next.shape == shape) co_return fail(Errc::exists);
    if (!config_.can_have(shape)) co_return fail(Errc::invalid);
    if (next.emptying() || next.move || next.successor) co_return fail(Errc::busy);
    CO_TRY_LET(const Zone place, place_beside(extent, shape));
    next.successor.shape = shape;
    next.successor.segments.assign(place.parts().begin(), place.parts().end());
    LOG_INFO("zone.successor", {"group", config_.name}, {"extent", extent}, {"level", to_string(shape.level)},
             {"data", unsigned{shape.k}}, {"parity", unsigned{shape.m}});
    CO_TRY(co_await commit_zone(extent, next));
    CO_TRY(co_await end_change());
    co_return zones_[extent.v];
}

Task<Status> Tables::drop_successor(ExtentIndex extent) {
    if (!zones_[extent.v].successor) co_return Status{};
    CO_TRY_LET(const Turn turn, co_await begin_change());
    Zone next = zones_[extent.v];
    if (!next.successor || next.emptying()) co_return Status{};
    next.successor = {};
    CO_TRY(co_await commit_zone(extent, next));
    co_return co_await end_change();
}

/// The first page says that somebody is about to: whoever finds it later, and has a lock of the extent, takes
/// it back, because others may have written to the zone of before. When the second one is written everybody
/// knows the first (decisions/019).
Task<Status> Tables::succeed(ExtentIndex extent, Zone from, std::function<bool()> still) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const auto there = [this](const Segment& part) { return member_ok(part.member); };
    Zone next = zones_[extent.v];
    from.missed = next.missed;
    if (next != from || !next.successor || !std::ranges::all_of(next.successor.segments, there))
        co_return fail(Errc::busy);
    if (!still()) co_return fail(Errc::fenced);
    next.state = ZoneState::emptying;
    CO_TRY(co_await commit_zone(extent, next));
    if (!still()) co_return fail(Errc::fenced);
    LOG_INFO("zone.succeeded", {"group", config_.name}, {"extent", extent},
             {"level", to_string(next.successor.shape.level)}, {"data", unsigned{next.successor.shape.k}},
             {"parity", unsigned{next.successor.shape.m}});
    CO_TRY(co_await commit_zone(extent, next.succeeded()));
    co_return co_await end_change();
}

// ---- what is wanted

/// Never fewer parities or data strips than before: how many may fail at once, and what serves without them,
/// is told by all who go on and all who come back by the weaker of both shapes.
Obstacle Tables::why_not(StripeShape shape, const Units& coming, std::optional<std::uint8_t> spares) const {
    if (shape == config_.wanted) return Obstacle::none;
    if (!shape.check()) return Obstacle::no_such_shape;
    if (shape.m < config_.wanted.m) return Obstacle::fewer_parities;
    if (shape.k < config_.wanted.k) return Obstacle::narrower;
    Prospect then = prospect(shape, coming);
    then.config.spares = spares.value_or(config_.spares);
    const MemberMask usable = (in_state(MemberState::ok) & ~gone()) | then.coming;
    const MemberMask counted = counted_members() | then.coming;
    if (shape.width() + std::size_t{then.config.spares} > usable.count()) return Obstacle::few_members;
    if (!then.config.can_have(shape)) return Obstacle::small_journal;
    // All that virtual disks may need, in the new shape, and a place beside it to begin with.
    const ZoneSize size = config_.geometry_of(shape).zone_size();
    const bool all = then.zones_on(counted, size) >= reserved_extents();
    const bool more = then.allocator.room(then.config.zone_size(), counted) > promised_zones();
    const bool one = then.allocator.room(size, usable) > 0;
    const bool fits = all && one && (more || promised_zones() == 0);
    return fits ? Obstacle::none : Obstacle::no_room;
}

}  // namespace braid
