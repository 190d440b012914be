// CRC32C (Castagnoli, reflected, as iSCSI and ext4 use it) over ISA-L.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace braid {

/// Checksum of `bytes`, going on from `seed` (the checksum of what came before, 0 at the start).
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed = 0);

}  // namespace braid
