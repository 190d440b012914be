// A block of a disk, looked at byte by byte, and ids for what stands in it. Tests only.
#pragma once

#include <array>

#include "base/codec.h"
#include "ondisk/page.h"

namespace braid::testing {

struct Block {
    alignas(8) std::array<std::byte, kPageSize> bytes{};
    PageBytes span() { return bytes; }
    ConstPageBytes view() const { return bytes; }
    std::uint8_t at(std::size_t offset) const { return std::to_integer<std::uint8_t>(bytes[offset]); }
    std::uint32_t u32(std::size_t offset) const {
        return Reader(view().subspan(offset, 4)).get<std::uint32_t>();
    }
};

inline Uuid uuid(std::uint8_t seed) {
    Uuid id;
    for (auto& byte : id.bytes) byte = seed++;
    return id;
}

}  // namespace braid::testing
