#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <string_view>

namespace braid {

TEST(Crc32c, MatchesThePublishedCheckValueAndContinues) {
    // RFC 3720 B.4 and the usual check string.
    const std::string_view text = "123456789";
    const auto bytes = std::as_bytes(std::span(text));
    EXPECT_EQ(crc32c(bytes), 0xE3069283u);
    EXPECT_EQ(crc32c(bytes.subspan(4), crc32c(bytes.first(4))), 0xE3069283u);
}

}  // namespace braid
