// One walk over stripes, for jobs that look at all of a range.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "amf/amf.h"

namespace braid {

/// Does `one(stripe)`, a Task<Status>, for all stripes with a byte from `at` up to `end`, `depth` at a time,
/// leaving extents without a zone out. `at` moves on as they are done: a walk that has been broken off goes
/// on there. Ends with the first error, or as cancelled when `ending` is set.
template <class One>
Task<Status> walk_stripes(Amf& amf, std::uint64_t& at, std::uint64_t end, std::size_t depth,
                          const bool& ending, One one) {
    while (at < end) {
        if (ending) co_return fail(Errc::cancelled);
        const ExtentIndex extent(static_cast<std::uint32_t>(at / kExtentSize));
        if (!amf.allocated(extent)) {
            at = std::min(end, (extent.v + 1) * kExtentSize);
            continue;
        }
        const Geometry geometry = amf.tables().geometry_of(extent);
        std::vector<Task<Status>> some;
        std::uint64_t next = at;
        while (next < end && some.size() < depth && next / kExtentSize == extent.v) {
            const StripeIndex stripe = geometry.locate(next).stripe;
            some.push_back(one(stripe));
            next = geometry.range_of(stripe).end();
        }
        for (const Status& status : co_await gather(amf.executor(), std::move(some))) CO_TRY(status);
        at = std::min(next, end);
    }
    co_return Status{};
}

}  // namespace braid
