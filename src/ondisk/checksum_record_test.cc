#include "ondisk/checksum_record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/prng.h"

namespace braid {
namespace {

Buffer noise(std::uint64_t seed, std::size_t size) {
    Buffer out(size);
    Prng prng(seed);
    for (std::byte& b : out.span()) b = static_cast<std::byte>(prng.next());
    return out;
}

struct ChecksumRecordTest : testing::Test {
    Geometry geometry = [] {
        Geometry g = *Geometry::make(Level::raid6, 6, 128u << 10);  // 192 blocks: two sectors
        g.checksums = true;
        return g;
    }();
    ChecksumOwner owner{Uuid{{1, 2, 3}}, StripeIndex(77), 5};
    const std::size_t size = geometry.checksum_record_size();
    const Buffer blank = Buffer::zeroed(size);
    const Buffer content = noise(1, 2 * kBlockSize);

    ChecksumRecord fresh() const { return ChecksumRecord(geometry, owner); }
    /// What a member has after a write of `data` by somebody who had read `before`.
    Buffer after(const Buffer& before, unsigned role, std::uint32_t from, const Buffer& data) const {
        ChecksumRecord record = fresh();
        record.take(before.span());
        record.set(role, from, data.span());
        return Buffer::copy_of(record.seal());
    }
    ChecksumRecord of(std::vector<Buffer> copies) const {
        ChecksumRecord record = fresh();
        for (const Buffer& copy : copies) record.take(copy.span());
        return record;
    }
};

}  // namespace

TEST_F(ChecksumRecordTest, KnowsNothingWithoutACopy) {
    const ChecksumRecord record = fresh();
    EXPECT_FALSE(record.mismatch(0, 0, content.span()));
    EXPECT_FALSE(record.known(0, 0));
    EXPECT_FALSE(record.current(blank.span()));
}

TEST_F(ChecksumRecordTest, OfANewZoneSaysThatAllIsZeros) {
    const ChecksumRecord record = of({blank});
    EXPECT_FALSE(record.mismatch(3, 0, Buffer::zeroed(geometry.strip_size).span()));
    EXPECT_TRUE(record.mismatch(3, 0, content.span()));
    EXPECT_TRUE(record.current(blank.span()));
}

TEST_F(ChecksumRecordTest, TellsWhetherItLearnsSomething) {
    ChecksumRecord record = of({after(blank, 2, 8192, content)});
    EXPECT_FALSE(record.learn(2, 8192, content.span()));
    EXPECT_FALSE(record.learn(3, 0, Buffer::zeroed(geometry.strip_size).span()));
    EXPECT_TRUE(record.learn(2, 4096, content.span()));
    EXPECT_FALSE(record.mismatch(2, 4096, content.span()));
    record.forget(2, 4096, kBlockSize);
    EXPECT_TRUE(record.learn(2, 4096, content.span()));
    EXPECT_TRUE(record.known(2, 4096));
}

TEST_F(ChecksumRecordTest, FindsAFlippedBitAndSaysWhere) {
    ChecksumRecord record = of({after(blank, 2, 8192, content)});
    EXPECT_FALSE(record.mismatch(2, 8192, content.span()));
    const Buffer rotten = Buffer::copy_of(content.span());
    rotten.data()[5000] ^= std::byte{1};
    const auto wrong = record.mismatch(2, 8192, rotten.span());
    ASSERT_TRUE(wrong);
    EXPECT_EQ(wrong->offset, 8192u + 4096u);
    EXPECT_NE(wrong->expected, wrong->found);
}

TEST_F(ChecksumRecordTest, FindsABlockOfAnotherPlace) {
    ChecksumRecord record = of({blank});
    const auto block = content.span(0, kBlockSize);
    record.set(2, 0, block);
    record.set(3, 4096, content.span(kBlockSize, kBlockSize));
    EXPECT_TRUE(record.mismatch(3, 4096, block));
    EXPECT_TRUE(record.mismatch(2, 4096, block));
    // The same content at the same place of another stripe, zone or group has another checksum.
    for (const ChecksumOwner& other :
         {ChecksumOwner{owner.group, StripeIndex(78), 5}, ChecksumOwner{owner.group, owner.stripe, 6},
          ChecksumOwner{Uuid{{9}}, owner.stripe, 5}}) {
        ChecksumRecord there(geometry, other);
        there.set(2, 0, block);
        const auto zeros = Buffer::zeroed(kBlockSize);
        EXPECT_NE(there.mismatch(2, 0, zeros.span())->expected,
                  record.mismatch(2, 0, zeros.span())->expected);
    }
}

TEST_F(ChecksumRecordTest, TakesTheNewestOfEachSector) {
    const Buffer first = after(blank, 0, 0, content);
    const Buffer second = after(first, 5, geometry.strip_size - 8192, content);
    // The write of the second one ended after its first sector.
    const Buffer torn = Buffer::copy_of(first.span());
    std::ranges::copy(second.span(0, kChecksumSector), torn.data());
    for (const std::vector<Buffer>& copies : {std::vector{first, second, blank}, std::vector{blank, second},
                                              std::vector{second, torn}, std::vector{torn, second}}) {
        const ChecksumRecord record = of(copies);
        EXPECT_EQ(record.version(), 2u);
        EXPECT_FALSE(record.mismatch(0, 0, content.span()));
        EXPECT_FALSE(record.mismatch(5, geometry.strip_size - 8192, content.span()));
        EXPECT_TRUE(record.current(second.span()));
        EXPECT_FALSE(record.current(torn.span()));
    }
}

TEST_F(ChecksumRecordTest, DoesNotBelieveABrokenOrForeignSector) {
    const Buffer good = after(blank, 0, 0, content);
    Buffer rotten = after(after(good, 0, 0, noise(2, 4096)), 0, 0, noise(3, 4096));
    rotten.data()[40] ^= std::byte{4};
    Buffer foreign = Buffer(size);
    {
        ChecksumRecord other(geometry, {owner.group, StripeIndex(owner.stripe.v + 1), owner.generation});
        for (int i = 0; i < 9; ++i) foreign = Buffer::copy_of(other.seal());
    }
    Buffer older_zone = Buffer(size);
    {
        ChecksumRecord other(geometry, {owner.group, owner.stripe, owner.generation - 1});
        for (int i = 0; i < 9; ++i) older_zone = Buffer::copy_of(other.seal());
    }
    const ChecksumRecord record = of({rotten, foreign, older_zone, noise(4, size), good});
    EXPECT_FALSE(record.mismatch(0, 0, content.span()));
    EXPECT_TRUE(record.known(0, 0));
    EXPECT_FALSE(of({foreign, older_zone, noise(4, size)}).known(0, 0));
}

TEST_F(ChecksumRecordTest, ForgetsParityThatAWriteLeavesOut) {
    ChecksumRecord record = of({blank});
    const StripeWrite write{geometry.strip_size, geometry.strip_size + 8192, 8192};
    const Buffer parity = noise(6, 8192);
    record.apply(write, content.span(), {0b10, 8192, 8192, parity.span()});
    EXPECT_FALSE(record.mismatch(1, 8192, content.span()));
    EXPECT_FALSE(record.known(4, 8192));
    EXPECT_FALSE(record.known(4, 12288));
    EXPECT_TRUE(record.known(4, 0));
    EXPECT_FALSE(record.mismatch(5, 8192, parity.span()));
    // Parity alone: the rest stays.
    record.apply(StripeWrite{geometry.strip_size, 0, 0}, {}, {0b01, 8192, 8192, parity.span()});
    EXPECT_TRUE(record.known(4, 8192));
    EXPECT_FALSE(record.mismatch(5, 8192, parity.span()));
}

TEST_F(ChecksumRecordTest, HasTheDocumentedOffsets) {
    const Buffer bytes = after(after(blank, 0, 0, content), 1, 0, content);
    const auto u32 = [&](std::size_t at) {
        std::uint32_t value;
        std::memcpy(&value, bytes.data() + at, 4);
        return value;
    };
    EXPECT_EQ(std::memcmp(bytes.data(), "brCS", 4), 0);
    EXPECT_EQ(u32(8), 77u);
    EXPECT_EQ(u32(16), 2u);
    EXPECT_EQ(u32(24), 5u);
    EXPECT_EQ(u32(28), 0u);
    EXPECT_NE(u32(32), 0u);
    EXPECT_NE(u32(32 + 32 * 4), 0u);  // role 1 has block 32
    EXPECT_EQ(u32(32 + 34 * 4), 0u);
    EXPECT_EQ(u32(512 + 28), 1u);
    EXPECT_EQ(size, 4096u);
}

}  // namespace braid
