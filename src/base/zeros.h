// Is there anything in it: ISA-L looks at many bytes at once.
#pragma once

#include <cstddef>
#include <span>

namespace braid {

/// True of nothing at all, too.
bool all_zero(std::span<const std::byte> bytes);

}  // namespace braid
