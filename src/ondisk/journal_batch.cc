#include "ondisk/journal_batch.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "ondisk/fields.h"

namespace braid {
namespace {

constexpr std::uint32_t kMagic = 0x424a7262;  // "brJB"
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kEntries = 80;
constexpr std::size_t kEntrySize = 40;
static_assert(kEntries + kMaxJournalEntries * kEntrySize <= kPageSize);

bool whole_blocks(std::uint32_t n) { return n % kBlockSize == 0; }

bool is_valid(const JournalEntry& e) {
    const bool blocks = whole_blocks(e.offset) && whole_blocks(e.length) && whole_blocks(e.parity_at) &&
                        whole_blocks(e.parity_length);
    const bool parity = e.parity_at != 0 || e.parity_length != 0 || e.parities != 0;
    if (!blocks || (e.before != Epoch()) != (e.kind == JournalKind::over)) return false;
    switch (e.kind) {
        case JournalKind::write:
            return e.payload() != 0 && e.parities < (1u << kMaxParity);
        case JournalKind::data:
            return e.length != 0 && !parity;
        case JournalKind::over:
            return !parity;
    }
    return false;
}

}  // namespace

std::uint64_t JournalBatch::payload() const {
    std::uint64_t out = 0;
    for (const JournalEntry& entry : entries) out += entry.payload();
    return out;
}

void seal_journal_batch(std::span<std::byte> bytes, const JournalBatch& batch, const JournalOwner& owner) {
    ASSERT(bytes.size() == batch.size() && batch.entries.size() <= kMaxJournalEntries);
    FieldWriter out(bytes.first(kPageSize));
    out.put(kMagic);
    out.put(kVersion);
    out.put(owner.slot.v);
    out.zeros(1);
    out.put(std::uint32_t{0});
    out.put(crc32c(bytes.subspan(kPageSize)));
    out.put(owner.group);
    out.put(owner.key);
    out.put(owner.life);
    out.put(batch.epoch);
    out.put(batch.number);
    out.put(batch.tail);
    out.put(static_cast<std::uint32_t>(batch.payload()));
    out.put(static_cast<std::uint32_t>(batch.entries.size()));
    out.pad_to(kEntries);
    for (const JournalEntry& entry : batch.entries) {
        ASSERT(is_valid(entry));
        out.put(entry.before);
        out.put(entry.stripe);
        out.put(entry.zone);
        out.put(entry.offset);
        out.put(entry.length);
        out.put(entry.parity_at);
        out.put(entry.parity_length);
        out.put(entry.parities);
        out.put(static_cast<std::uint8_t>(entry.kind));
        out.zeros(2);
    }
    out.finish();
    const std::uint32_t checksum = block_checksum(ConstPageBytes(bytes.first(kPageSize)), kChecksumOffset);
    FieldWriter(bytes.subspan(kChecksumOffset, 4)).put(checksum);
}

namespace {

struct Header {
    JournalBatch batch;
    std::uint32_t payload_checksum = 0;
};

Result<Header> open_header(ConstPageBytes header, const JournalOwner& owner) {
    Reader in(header);
    if (in.get<std::uint32_t>() != kMagic || in.get<std::uint16_t>() != kVersion)
        return fail(Errc::not_found);
    const auto slot = in.get<AmfSlot>();
    if (in.get<std::uint8_t>() != 0) return fail(Errc::not_found);
    const auto checksum = in.get<std::uint32_t>();
    const auto payload_checksum = in.get<std::uint32_t>();
    const Uuid group = in.uuid();
    const auto key = in.get<std::uint64_t>();
    const JournalOwner found{group, key, slot, in.get<std::uint64_t>()};
    if (found != owner || checksum != block_checksum(header, kChecksumOffset)) return fail(Errc::not_found);
    JournalBatch batch;
    batch.epoch = in.get<Epoch>();
    batch.number = in.get<std::uint64_t>();
    batch.tail = in.get<std::uint64_t>();
    const auto payload = in.get<std::uint32_t>();
    const auto count = in.get<std::uint32_t>();
    if (count > kMaxJournalEntries || batch.number == 0 || batch.tail > batch.number)
        return fail(Errc::corrupt);
    in = Reader(header.subspan(kEntries));
    for (std::uint32_t i = 0; i < count; ++i) {
        JournalEntry entry;
        entry.before = in.get<Epoch>();
        entry.stripe = in.get<StripeIndex>();
        entry.zone = in.get<std::uint32_t>();
        entry.offset = in.get<std::uint32_t>();
        entry.length = in.get<std::uint32_t>();
        entry.parity_at = in.get<std::uint32_t>();
        entry.parity_length = in.get<std::uint32_t>();
        entry.parities = in.get<std::uint8_t>();
        entry.kind = static_cast<JournalKind>(in.get<std::uint8_t>());
        in.raw(2);
        if (!is_valid(entry)) return fail(Errc::corrupt);
        batch.entries.push_back(entry);
    }
    if (!in.ok() || batch.payload() != payload) return fail(Errc::corrupt);
    return Header{std::move(batch), payload_checksum};
}

}  // namespace

Result<JournalBatch> open_journal_header(ConstPageBytes header, const JournalOwner& owner) {
    Result<Header> found = open_header(header, owner);
    if (!found) return std::unexpected(found.error());
    return std::move(found->batch);
}

Result<JournalBatch> open_journal_batch(std::span<const std::byte> bytes, const JournalOwner& owner) {
    if (bytes.size() < kPageSize) return fail(Errc::not_found);
    Result<Header> found = open_header(ConstPageBytes(bytes.first(kPageSize)), owner);
    if (!found) return std::unexpected(found.error());
    JournalBatch& batch = found->batch;
    if (bytes.size() < batch.size()) return fail(Errc::corrupt);
    if (crc32c(bytes.subspan(kPageSize, batch.payload())) != found->payload_checksum)
        return fail(Errc::corrupt);
    return std::move(batch);
}

}  // namespace braid
