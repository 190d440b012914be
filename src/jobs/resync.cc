#include "jobs/resync.h"

#include "base/log.h"
#include "jobs/walk.h"

namespace braid {

void Resync::begin(std::size_t regions) {
    progress_ = {};
    progress_.total_bytes = regions * kRegionSize;
}

void Resync::log() const {
    LOG_INFO("resync.done", {"stripes", progress_.checked}, {"corrected", progress_.corrected},
             {"incomplete", progress_.incomplete});
}

Task<Status> Resync::regions(std::vector<RegionIndex> regions) {
    begin(regions.size());
    for (const RegionIndex region : regions) CO_TRY(co_await correct(region));
    log();
    co_return Status{};
}

Task<Status> Resync::own() {
    Tables& tables = amf_.tables();
    begin(tables.former_intents().size());
    while (!tables.former_intents().empty()) {
        CO_TRY(co_await correct(tables.former_intents().back()));
        tables.former_intent_done();
    }
    log();
    co_return Status{};
}

Task<Status> Resync::of(AmfSlot slot, std::function<bool()> still_absent) {
    CO_TRY_LET(Tables::SlotIntents left, co_await amf_.tables().intents_of(slot));
    CO_TRY(co_await regions(std::move(left.regions)));
    co_return co_await amf_.tables().clear_intents_of(slot, left.sequence, std::move(still_absent));
}

Task<Status> Resync::correct(RegionIndex region) {
    std::uint64_t at = region.v * kRegionSize;
    const auto one = [this](StripeIndex stripe) { return check(stripe); };
    CO_TRY(co_await walk_stripes(amf_, at, at + kRegionSize, depth_, cancelled_, one));
    progress_.done_bytes += kRegionSize;
    co_return Status{};
}

Task<Status> Resync::check(StripeIndex stripe) {
    CO_TRY_LET(const StripeVerdict verdict, co_await amf_.check_stripe(stripe, true));
    progress_.checked += verdict == StripeVerdict::absent ? 0 : 1;
    progress_.corrected += verdict == StripeVerdict::corrected ? 1 : 0;
    progress_.rotten += verdict == StripeVerdict::rotten ? 1 : 0;
    progress_.incomplete += verdict == StripeVerdict::incomplete ? 1 : 0;
    co_return Status{};
}

}  // namespace braid
