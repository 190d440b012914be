#include "jobs/parity_job.h"

#include "base/log.h"

namespace braid {

void ParityJob::begin(std::uint64_t bytes) {
    progress_ = {};
    progress_.total_bytes = bytes;
}

Task<Status> ParityJob::scrub() {
    const std::uint64_t extents = amf_.tables().config().extents;
    begin(extents * kExtentSize);
    for (std::uint64_t extent = 0; extent < extents; ++extent) {
        CO_TRY(co_await walk({extent * kExtentSize, kExtentSize}, false));
    }
    co_return Status{};
}

Task<Status> ParityJob::resync(std::vector<RegionIndex> regions) {
    begin(regions.size() * kRegionSize);
    for (const RegionIndex region : regions) {
        CO_TRY(co_await walk({region.v * kRegionSize, kRegionSize}, true));
    }
    LOG_INFO("resync.done", {"stripes", progress_.checked}, {"corrected", progress_.mismatches},
             {"incomplete", progress_.incomplete});
    co_return Status{};
}

Task<Status> ParityJob::resync_own() {
    Tables& tables = amf_.tables();
    begin(tables.former_intents().size() * kRegionSize);
    while (!tables.former_intents().empty()) {
        CO_TRY(co_await walk({tables.former_intents().back().v * kRegionSize, kRegionSize}, true));
        tables.former_intent_done();
    }
    LOG_INFO("resync.done", {"stripes", progress_.checked}, {"corrected", progress_.mismatches},
             {"incomplete", progress_.incomplete});
    co_return Status{};
}

Task<Status> ParityJob::resync_of(AmfSlot slot, std::function<bool()> still_absent) {
    CO_TRY_LET(Tables::SlotIntents left, co_await amf_.tables().intents_of(slot));
    CO_TRY(co_await resync(std::move(left.regions)));
    co_return co_await amf_.tables().clear_intents_of(slot, left.sequence, std::move(still_absent));
}

/// All stripes with a byte in the range, `depth_` at a time.
Task<Status> ParityJob::walk(LogicalRange range, bool correct) {
    const Geometry& geometry = amf_.tables().geometry();
    std::uint64_t at = range.offset;
    while (at < range.end()) {
        if (cancelled_) co_return fail(Errc::cancelled);
        const ExtentIndex extent(static_cast<std::uint32_t>(at / kExtentSize));
        if (!amf_.allocated(extent)) {
            const std::uint64_t end = std::min(range.end(), (extent.v + 1) * kExtentSize);
            progress_.done_bytes += end - std::exchange(at, end);
            continue;
        }
        std::vector<Task<Status>> checks;
        const std::uint64_t from = at;
        while (at < range.end() && checks.size() < depth_ && at / kExtentSize == extent.v) {
            const StripeIndex stripe = geometry.locate(at).stripe;
            checks.push_back(check(stripe, correct));
            at = geometry.range_of(stripe).end();
        }
        for (const Status& status : co_await gather(amf_.executor(), std::move(checks))) {
            CO_TRY(status);
        }
        progress_.done_bytes += std::min(at, range.end()) - from;
    }
    co_return Status{};
}

Task<Status> ParityJob::check(StripeIndex stripe, bool correct) {
    CO_TRY_LET(const StripeVerdict verdict, co_await amf_.check_stripe(stripe, correct));
    switch (verdict) {
        case StripeVerdict::absent:
            co_return Status{};
        case StripeVerdict::clean:
            break;
        case StripeVerdict::wrong:
        case StripeVerdict::corrected:
            ++progress_.mismatches;
            break;
        case StripeVerdict::rotten:
            ++progress_.rotten;
            break;
        case StripeVerdict::incomplete:
            ++progress_.incomplete;
            break;
    }
    ++progress_.checked;
    co_return Status{};
}

}  // namespace braid
