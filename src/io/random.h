// Where fresh identities come from: the kernel's generator in the daemon, the seed in the simulator.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace braid {

class Random {
public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;
    Uuid uuid() {
        Uuid id;
        for (std::size_t i = 0; i < 16; i += 8) {
            std::uint64_t word = next();
            for (std::size_t j = 0; j < 8; ++j, word >>= 8) id.bytes[i + j] = static_cast<std::uint8_t>(word);
        }
        id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);  // RFC 4122 version 4
        id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
        return id;
    }
};

}  // namespace braid
