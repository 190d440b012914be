// The two messages by which one AMF takes blocks from another's cache (row C3). Decoding trusts nothing.
#pragma once

#include "base/result.h"
#include "icl/message.h"

namespace braid {

/// Data of one answer, at most.
constexpr std::uint32_t kMostCacheData = 1u << 20;

/// Whole blocks of the group's logical space, as they are in the zone of this generation.
struct CacheFetch {
    std::uint64_t number = 0;  ///< the asker's, of this question
    std::uint64_t at = 0;
    std::uint32_t length = 0;  ///< not 0, at most kMostCacheData
    std::uint32_t generation = 0;
    friend bool operator==(const CacheFetch&, const CacheFetch&) = default;
};

/// All of it, or nothing: it is not here.
struct CacheData {
    std::uint64_t number = 0;
    Slice data;
};

Message encode(const Uuid& group, const CacheFetch& frame);
Message encode(const Uuid& group, const CacheData& frame);
/// corrupt for what no encoder of ours writes.
Result<CacheFetch> decode_cache_fetch(std::span<const std::byte> head);
Result<CacheData> decode_cache_data(const Message& message);

}  // namespace braid
