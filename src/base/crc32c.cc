#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace braid {

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t seed) {
    // ISA-L takes the data as non-const and neither inverts the start value nor the result.
    std::uint32_t crc = ~seed;
    while (!bytes.empty()) {
        const auto part = bytes.first(bytes.size() < (1u << 30) ? bytes.size() : (1u << 30));
        crc = crc32_iscsi(reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data())),
                          static_cast<int>(part.size()), crc);
        bytes = bytes.subspan(part.size());
    }
    return ~crc;
}

}  // namespace braid
