// Which shape the stripes of an extent have (decisions/021).
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

}  // namespace braid
