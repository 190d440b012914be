#include "ondisk/journal_batch.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <vector>

#include "base/codec.h"

namespace braid {
namespace {

JournalOwner owner() {
    JournalOwner out{{}, 0x1122334455667788, AmfSlot(3), 7};
    for (std::uint8_t i = 0; i < 16; ++i) out.group.bytes[i] = static_cast<std::uint8_t>(i + 1);
    return out;
}

JournalBatch one_entry() {
    const JournalEntry entry{.stripe = StripeIndex(9),
                             .zone = 4,
                             .offset = 8192,
                             .length = 4096,
                             .parity_at = 12288,
                             .parity_length = 4096,
                             .parities = 0b101};
    return {Epoch(5), 6, 2, {entry}};
}

std::vector<std::byte> sealed(const JournalBatch& batch, const JournalOwner& whose) {
    std::vector<std::byte> bytes(batch.size(), std::byte{0x5a});
    seal_journal_batch(bytes, batch, whose);
    return bytes;
}

Errc code_of(const Result<JournalBatch>& result) { return result ? Errc{} : result.error().code; }

TEST(JournalBatch, StandsWhereTheDocumentSays) {
    const auto bytes = sealed(one_entry(), owner());
    ASSERT_EQ(bytes.size(), 4096u + 3 * 4096);
    const auto u32 = [&](std::size_t at) {
        return Reader(std::span(bytes).subspan(at)).get<std::uint32_t>();
    };
    const auto u64 = [&](std::size_t at) {
        return Reader(std::span(bytes).subspan(at)).get<std::uint64_t>();
    };
    EXPECT_EQ(u32(0), 0x424a7262u);
    EXPECT_EQ(std::to_integer<int>(bytes[4]), 1);
    EXPECT_EQ(std::to_integer<int>(bytes[6]), 3);
    EXPECT_EQ(std::to_integer<int>(bytes[16]), 1);
    EXPECT_EQ(u64(32), 0x1122334455667788u);
    EXPECT_EQ(u64(40), 7u);
    EXPECT_EQ(u64(48), 5u);
    EXPECT_EQ(u64(56), 6u);
    EXPECT_EQ(u64(64), 2u);
    EXPECT_EQ(u32(72), 3u * 4096);
    EXPECT_EQ(u32(76), 1u);
    EXPECT_EQ(u64(80), 0u);
    EXPECT_EQ(u64(88), 9u);
    EXPECT_EQ(u32(96), 4u);
    EXPECT_EQ(u32(100), 8192u);
    EXPECT_EQ(u32(104), 4096u);
    EXPECT_EQ(u32(108), 12288u);
    EXPECT_EQ(u32(112), 4096u);
    EXPECT_EQ(std::to_integer<int>(bytes[116]), 0b101);
    EXPECT_EQ(std::to_integer<int>(bytes[117]), 0);
}

TEST(JournalBatch, IsOfItsOwnerAlone) {
    const auto bytes = sealed(one_entry(), owner());
    EXPECT_EQ(*open_journal_batch(bytes, owner()), one_entry());
    JournalOwner other = owner();
    other.key ^= 1;
    EXPECT_EQ(code_of(open_journal_batch(bytes, other)), Errc::not_found);
    other = owner();
    ++other.life;
    EXPECT_EQ(code_of(open_journal_batch(bytes, other)), Errc::not_found);
    other = owner();
    other.slot = AmfSlot(2);
    EXPECT_EQ(code_of(open_journal_batch(bytes, other)), Errc::not_found);
    other = owner();
    other.group.bytes[15] ^= 1;
    EXPECT_EQ(code_of(open_journal_batch(bytes, other)), Errc::not_found);
}

TEST(JournalBatch, IsWholeOrNothing) {
    const auto bytes = sealed(one_entry(), owner());
    for (std::size_t at = 0; at < bytes.size(); at += 97) {
        auto torn = bytes;
        torn[at] ^= std::byte{0x10};
        EXPECT_FALSE(open_journal_batch(torn, owner())) << at;
    }
    for (std::size_t size : {std::size_t{0}, kPageSize - 1, kPageSize, bytes.size() - 1})
        EXPECT_FALSE(open_journal_batch(std::span(bytes).first(size), owner())) << size;
    auto torn = bytes;
    torn[5000] ^= std::byte{1};
    EXPECT_EQ(*open_journal_header(ConstPageBytes(std::span(torn).first(kPageSize)), owner()), one_entry());
    torn[100] ^= std::byte{1};
    EXPECT_FALSE(open_journal_header(ConstPageBytes(std::span(torn).first(kPageSize)), owner()));
    auto longer = bytes;
    longer.resize(longer.size() + kPageSize);
    EXPECT_TRUE(open_journal_batch(longer, owner()));
}

TEST(JournalBatch, AnyBatchComesBack) {
    rc::check([] {
        JournalBatch batch;
        batch.epoch = Epoch(*rc::gen::arbitrary<std::uint64_t>());
        batch.tail = *rc::gen::inRange<std::uint64_t>(0, 1000);
        batch.number = batch.tail + *rc::gen::inRange<std::uint64_t>(1, 1000);
        const auto blocks = [](std::uint32_t most) {
            return *rc::gen::inRange<std::uint32_t>(0, most) * kPageSize;
        };
        const auto count = *rc::gen::inRange<std::size_t>(0, kMaxJournalEntries + 1);
        while (batch.entries.size() < count) {
            JournalEntry entry{.stripe = StripeIndex(*rc::gen::arbitrary<std::uint64_t>()),
                               .zone = *rc::gen::arbitrary<std::uint32_t>(),
                               .offset = static_cast<std::uint32_t>(blocks(100)),
                               .length = static_cast<std::uint32_t>(blocks(4)),
                               .parity_at = static_cast<std::uint32_t>(blocks(100)),
                               .parity_length = static_cast<std::uint32_t>(blocks(3)),
                               .parities = *rc::gen::inRange<std::uint8_t>(0, 8)};
            entry.kind = *rc::gen::element(JournalKind::write, JournalKind::data, JournalKind::over);
            if (entry.kind != JournalKind::write) entry.parity_at = entry.parity_length = entry.parities = 0;
            if (entry.kind == JournalKind::over) {
                entry.before = Epoch(*rc::gen::inRange<std::uint64_t>(1, 1u << 30));
            } else if (entry.payload() == 0) {
                entry.length = kPageSize;
            }
            batch.entries.push_back(entry);
        }
        const auto bytes = sealed(batch, owner());
        const auto again = open_journal_batch(bytes, owner());
        RC_ASSERT(again.has_value());
        RC_ASSERT(*again == batch);
    });
}

}  // namespace
}  // namespace braid
