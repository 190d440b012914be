// How a stripe's write gets its new parity: pure arithmetic over which strips are written, readable and
// writable.
#pragma once

#include <cstdint>
#include <string_view>

#include "layout/stripe_write.h"
#include "parity/code.h"

namespace braid {

/// The first byte of the block that `at` lies in; `at`, or the first byte of the next block.
constexpr std::uint32_t block_floor(std::uint32_t at) { return at / kBlockSize * kBlockSize; }
constexpr std::uint32_t block_ceil(std::uint32_t at) { return block_floor(at + kBlockSize - 1); }

/// Of whole blocks.
constexpr bool in_blocks(std::uint32_t at, std::uint32_t length) {
    return at % kBlockSize == 0 && length % kBlockSize == 0;
}

enum class WritePath : std::uint8_t { full, rmw, rcw, degraded };
constexpr std::size_t kWritePaths = 4;
std::string_view to_string(WritePath path);

struct WritePlan {
    WritePath path = WritePath::full;  ///< for the counters
    enum class How : std::uint8_t {
        copy,    ///< no parity to compute: a mirror, or no parity strip can be written
        encode,  ///< old data of `reads` over the hull, what is in `regenerate` computed from it, new data,
                 ///< encode
        update,  ///< old data of the written parts and old parity of the hull; the change is added to the
                 ///< parity
        impossible,  ///< fewer than k strips are readable where old data is needed
    } how = How::copy;
    RoleMask reads;
    RoleMask regenerate;  ///< data roles to decode from `reads`
};

/// `writable`: roles whose member takes writes; `readable`: those of them that can be read here. The plan
/// with the fewest reads; of equals the one that does not trust the old parity.
WritePlan plan_write(const StripeWrite& write, unsigned k, unsigned m, RoleMask writable, RoleMask readable);

}  // namespace braid
