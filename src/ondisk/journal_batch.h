// One batch of a journal: a header block and, behind it, what a few writes of stripes need to be done again:
// their new data and new parity. Batches follow each other in a ring; a header says for itself whether it and
// its payload are whole and whose they are, so that a reader needs no index. Rows of the specification: R1 O2
// O3, promise 3. Byte table: docs/on-disk.md.
//
// Decoding trusts nothing. `key` is a random number of the group that no host knows: what a host has written
// and the ring happens to hold as payload is never taken for a header.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "layout/geometry.h"
#include "ondisk/page.h"

namespace braid {

constexpr std::size_t kMaxJournalEntries = 100;

enum class JournalKind : std::uint8_t {
    write,  ///< data and parity, about to be written
    data,   ///< new data alone: whoever does it again computes the parity
    over,  ///< no payload: what rings say of the stripe in epochs before `before` is over, of data alone only
           ///< what is said of these bytes
};

/// One write of one stripe. Its bytes in the payload: `length` of data, then `parity_length` for each bit of
/// `parities`, ascending.
struct JournalEntry {
    JournalKind kind = JournalKind::write;
    Epoch before;  ///< of `over`; else 0
    StripeIndex stripe;
    std::uint32_t zone = 0;           ///< generation of the stripe's zone
    std::uint32_t offset = 0;         ///< of the new data in the stripe's data bytes, whole blocks
    std::uint32_t length = 0;         ///< bytes, whole blocks; 0: parity alone
    std::uint32_t parity_at = 0;      ///< in the parity strips
    std::uint32_t parity_length = 0;  ///< bytes of each, whole blocks
    std::uint8_t parities = 0;        ///< bit j: parity strip j
    std::uint64_t payload() const {
        if (kind == JournalKind::over) return 0;
        return length + std::uint64_t{parity_length} * static_cast<unsigned>(std::popcount(parities));
    }
    friend bool operator==(const JournalEntry&, const JournalEntry&) = default;
};

/// Whose ring it is, in which life of it.
struct JournalOwner {
    Uuid group;
    std::uint64_t key = 0;
    AmfSlot slot;
    std::uint64_t life = 0;
    friend bool operator==(const JournalOwner&, const JournalOwner&) = default;
};

struct JournalBatch {
    Epoch epoch;                        ///< of the view in which it was written
    std::uint64_t number = 0;           ///< from 1 in each life, one more for each batch
    std::uint64_t tail = 0;             ///< batches before this number are not needed any more
    std::vector<JournalEntry> entries;  ///< at most kMaxJournalEntries

    std::uint64_t payload() const;
    /// Bytes in the ring, header and payload.
    std::uint64_t size() const { return kPageSize + payload(); }
    friend bool operator==(const JournalBatch&, const JournalBatch&) = default;
};

/// `bytes`: the whole batch, the payload in its place already.
void seal_journal_batch(std::span<std::byte> bytes, const JournalBatch& batch, const JournalOwner& owner);

/// What a header alone says, whatever has become of its payload. not_found: it is none of this owner;
/// corrupt.
Result<JournalBatch> open_journal_header(ConstPageBytes header, const JournalOwner& owner);

/// The batch that begins at the start of `bytes`, which may be longer. not_found: no header of this owner;
/// corrupt: a header, but the batch is not whole.
Result<JournalBatch> open_journal_batch(std::span<const std::byte> bytes, const JournalOwner& owner);

}  // namespace braid
