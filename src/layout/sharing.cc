#include "layout/sharing.h"

#include <bit>

namespace braid {

std::string_view SharingOptions::complaint(std::size_t controllers) const {
    if (coherency > Coherency::broadcast) return "coherency is arbiter or broadcast";
    if (lock_order > LockOrder::priority) return "lock order is fifo or priority";
    if (min_hold < Nanos{} || min_hold > kMaxMinHold || min_hold % 1us != Nanos{})
        return "the minimum hold time is 0 to 1000000 microseconds";
    if (prefetch > kMaxPrefetch) return "prefetch is 0 to 63 units";
    if (amfs < 1 || amfs > kMaxAmfs) return "a controller has 1 to 8 AMFs of a group";
    if (controllers * amfs > kMaxGroupAmfs) return "controllers times AMFs of each are at most 16";
    return {};
}

std::string_view to_string(Coherency coherency) {
    return coherency == Coherency::broadcast ? "broadcast" : "arbiter";
}

std::string_view to_string(LockOrder order) { return order == LockOrder::priority ? "priority" : "fifo"; }

Result<Coherency> parse_coherency(std::string_view text) {
    for (const Coherency coherency : {Coherency::arbiter, Coherency::broadcast}) {
        if (text == to_string(coherency)) return coherency;
    }
    return fail(Errc::invalid);
}

Result<LockOrder> parse_lock_order(std::string_view text) {
    for (const LockOrder order : {LockOrder::fifo, LockOrder::priority}) {
        if (text == to_string(order)) return order;
    }
    return fail(Errc::invalid);
}

}  // namespace braid
