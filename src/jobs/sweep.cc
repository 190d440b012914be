#include "jobs/sweep.h"

#include <algorithm>

namespace braid {

Sweep::Sweep(Amf& amf, Mode mode) : amf_(amf), mode_(mode) {
    const std::uint32_t extents = amf.tables().config().extents;
    for (std::uint32_t extent = 0; extent < extents; ++extent)
        ranges_.push_back({extent * kExtentSize, kExtentSize});
}

Sweep::Sweep(Amf& amf, Mode mode, std::vector<RegionIndex> regions) : amf_(amf), mode_(mode) {
    const std::uint64_t end = amf.tables().config().extents * kExtentSize;
    for (const RegionIndex region : regions) {
        const std::uint64_t at = region.v * kRegionSize;
        if (at < end) ranges_.push_back({at, std::min(kRegionSize, end - at)});
    }
}

Task<Status> Sweep::run() {
    const Geometry& geometry = amf_.tables().geometry();
    const auto has_zone = [&](const LogicalRange& range) {
        return amf_.allocated(ExtentIndex(static_cast<std::uint32_t>(range.offset / kExtentSize)));
    };
    std::erase_if(ranges_, [&](const LogicalRange& range) { return !has_zone(range); });
    for (const LogicalRange& range : ranges_) progress_.total_bytes += range.length;
    for (const LogicalRange& range : ranges_) {
        std::vector<StripeIndex> stripes;
        for_each_stripe(geometry, range, [&](const StripePiece& piece) { stripes.push_back(piece.stripe); });
        const std::uint64_t done_before = progress_.done_bytes;
        for (std::size_t i = 0; i < stripes.size(); i += kTogether) {
            std::vector<Task<Status>> some;
            for (std::size_t j = i; j < std::min(stripes.size(), i + kTogether); ++j) {
                some.push_back(one_stripe(stripes[j]));
            }
            const std::size_t count = some.size();
            for (const Status& status : co_await gather(amf_.executor(), std::move(some))) CO_TRY(status);
            progress_.done_bytes = done_before + range.length * (i + count) / stripes.size();
        }
        progress_.done_bytes = done_before + range.length;
    }
    co_return Status{};
}

Task<Status> Sweep::one_stripe(StripeIndex stripe) {
    CO_TRY_LET(const StripeVerdict verdict, co_await amf_.check_stripe(stripe, mode_ == Mode::resync));
    switch (verdict) {
        case StripeVerdict::absent:
        case StripeVerdict::clean:
            break;
        case StripeVerdict::incomplete:
            ++progress_.incomplete;
            break;
        case StripeVerdict::corrected:
            ++progress_.corrected;
            [[fallthrough]];
        case StripeVerdict::wrong:
            ++progress_.mismatches;
            if (progress_.first_mismatches.size() < 16) progress_.first_mismatches.push_back(stripe);
            break;
    }
    co_return Status{};
}

}  // namespace braid
