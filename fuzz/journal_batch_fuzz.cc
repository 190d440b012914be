// link: ondisk
// A batch from the input, as it is and with its checksums made right: no input may crash the decoder, and
// what it accepts must come out of the encoder again.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/assert.h"
#include "base/crc32c.h"
#include "ondisk/fields.h"
#include "ondisk/journal_batch.h"

namespace {

using namespace braid;

/// Who the header says it is: the owner is not what is tried here.
JournalOwner owner_in(std::span<const std::byte> bytes) {
    Reader in(bytes.subspan(6));
    JournalOwner owner;
    owner.slot = in.get<AmfSlot>();
    in.raw(9);
    owner.group = in.uuid();
    owner.key = in.get<std::uint64_t>();
    owner.life = in.get<std::uint64_t>();
    return owner;
}

void check(std::span<const std::byte> bytes) {
    if (bytes.size() < kPageSize) {
        ASSERT(!open_journal_batch(bytes, {}));
        return;
    }
    const JournalOwner owner = owner_in(bytes);
    const auto batch = open_journal_batch(bytes, owner);
    if (!batch) return;
    ASSERT(batch->size() <= bytes.size());
    std::vector<std::byte> again(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(batch->size()));
    seal_journal_batch(again, *batch, owner);
    ASSERT(open_journal_batch(again, owner) == *batch);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = std::as_bytes(std::span(data, size));
    check(input);
    // The used part of a header is small; the payload is zeros of the length that the header names.
    std::vector<std::byte> bytes(kPageSize);
    std::ranges::copy(input.first(std::min(size, kPageSize)), bytes.begin());
    const auto payload = Reader(std::span(bytes).subspan(72)).get<std::uint32_t>();
    bytes.resize(kPageSize + std::min<std::size_t>(payload, 1u << 20));
    FieldWriter(std::span(bytes).subspan(12, 4)).put(crc32c(std::span(bytes).subspan(kPageSize)));
    const ConstPageBytes header(std::span(bytes).first(kPageSize));
    FieldWriter(std::span(bytes).subspan(8, 4)).put(block_checksum(header, 8));
    check(bytes);
    return 0;
}
