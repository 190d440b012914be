#include "base/zeros.h"

#include <gtest/gtest.h>

#include <vector>

namespace braid {

TEST(AllZero, SeesEveryByteOfEveryPlaceAndSize) {
    std::vector<std::byte> bytes(300);
    for (std::size_t from = 0; from < 40; ++from) {
        for (std::size_t size = 0; from + size < bytes.size(); ++size) {
            const auto part = std::span<const std::byte>(bytes).subspan(from, size);
            ASSERT_TRUE(all_zero(part)) << from << " " << size;
            for (std::size_t i = 0; i < bytes.size(); i += i < from + size ? 7 : 61) {
                bytes[i] = std::byte{1};
                ASSERT_EQ(all_zero(part), i < from || i >= from + size) << from << " " << size << " " << i;
                bytes[i] = {};
            }
        }
    }
}

}  // namespace braid
