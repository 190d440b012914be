#include "amf/stripe_plan.h"

namespace braid {

std::string_view to_string(WritePath path) {
    switch (path) {
        case WritePath::full:
            return "full";
        case WritePath::rmw:
            return "rmw";
        case WritePath::rcw:
            return "rcw";
        case WritePath::degraded:
            return "degraded";
    }
    return "unknown";
}

WritePlan plan_write(const StripeWrite& write, unsigned k, unsigned m, RoleMask writable, RoleMask readable) {
    using How = WritePlan::How;
    WritePlan plan;
    RoleMask data, old_data, written_columns, parity;
    for (unsigned role = 0; role < k; ++role) {
        data.set(role);
        if (!write.covers_hull(role)) old_data.set(role);
        if (write.touches(role)) written_columns.set(role);
    }
    for (unsigned role = k; role < k + m; ++role) parity.set(role);
    const RoleMask target = parity & writable;
    const bool healthy = writable.count() == k + m && readable == writable;
    plan.path = healthy ? WritePath::full : WritePath::degraded;

    if (k == 1 || target.none()) return plan;
    if (old_data.none()) {
        plan.how = How::encode;
        return plan;
    }
    const bool can_encode = (old_data & readable) == old_data;
    const RoleMask for_update = written_columns | target;
    const bool can_update = (for_update & readable) == for_update;
    if (can_encode && (!can_update || old_data.count() <= for_update.count())) {
        plan.how = How::encode;
        plan.reads = old_data;
        if (healthy) plan.path = WritePath::rcw;
        return plan;
    }
    if (can_update) {
        plan.how = How::update;
        plan.reads = for_update;
        if (healthy) plan.path = WritePath::rmw;
        return plan;
    }
    // Any k strips give back the rest; the data strips that are needed come first.
    plan.how = How::encode;
    plan.reads = old_data & readable;
    for (unsigned role = 0; role < k + m && plan.reads.count() < k; ++role) {
        if (readable[role]) plan.reads.set(role);
    }
    plan.regenerate = old_data & ~readable;
    if (plan.reads.count() < k) plan.how = How::impossible;
    return plan;
}

}  // namespace braid
