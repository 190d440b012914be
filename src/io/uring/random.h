// getrandom(2): never blocks once the machine has booted.
#pragma once

#include <sys/random.h>

#include "base/assert.h"
#include "io/random.h"

namespace braid {

class KernelRandom final : public Random {
public:
    std::uint64_t next() override {
        std::uint64_t word = 0;
        ASSERT(::getrandom(&word, sizeof word, 0) == static_cast<ssize_t>(sizeof word));
        return word;
    }
};

}  // namespace braid
