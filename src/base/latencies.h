// How often something took how long: eight buckets for each power of two from 1 us to 17 s.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/types.h"

namespace braid {

class Latencies {
public:
    void add(Nanos took) {
        ++counts_[bucket_of(took)];
        ++count_;
    }
    void clear() { *this = {}; }
    std::uint64_t count() const { return count_; }
    /// So many of 1000 took no longer; rounded up, by an eighth at most, from 8 us on. 0 if there are none.
    Nanos quantile(unsigned per_mille) const {
        const std::uint64_t wanted = (count_ * per_mille + 999) / 1000;
        std::uint64_t seen = 0;
        for (std::size_t i = 0; wanted != 0 && i < kBuckets; ++i) {
            seen += counts_[i];
            if (seen >= wanted) return end_of(i);
        }
        return Nanos{0};
    }
    static constexpr Nanos longest() { return end_of(kBuckets - 1); }

private:
    static constexpr std::size_t kBuckets = 23 * 8;

    static std::size_t bucket_of(Nanos took) {
        const auto units = static_cast<std::uint64_t>(std::max(took, Nanos{0}).count()) >> 10;
        if (units < 8) return units;
        const auto shift = static_cast<unsigned>(std::bit_width(units)) - 4;
        return std::min<std::size_t>(shift * 8 + (units >> shift), kBuckets - 1);
    }
    static constexpr Nanos end_of(std::size_t bucket) {
        if (bucket < 8) return Nanos((bucket + 1) << 10);
        return Nanos((bucket % 8 + 9) << (bucket / 8 - 1 + 10));
    }

    std::array<std::uint32_t, kBuckets> counts_{};
    std::uint64_t count_ = 0;
};

}  // namespace braid
