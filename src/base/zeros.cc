#include "base/zeros.h"

#include <isa-l/mem_routines.h>

namespace braid {

bool all_zero(std::span<const std::byte> bytes) {
    return bytes.empty() || isal_zero_detect(const_cast<std::byte*>(bytes.data()), bytes.size()) == 0;
}

}  // namespace braid
