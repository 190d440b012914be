// The checksums of all blocks of one stripe, data and parity: what stands m + 1 times on the members, apart
// from the blocks (H8). Pure: bytes in, verdicts out.
//
// A record is a row of sectors. Each stands for itself, with its own checksum, the stripe and its zone, and a
// version, because a disk may leave off between two sectors but not within one. Of the copies of a sector the
// newest whole one counts. A write makes all sectors one version newer than any was; between the sectors of a
// write that was cut short, and those before it, only the checksums of its own blocks differ.
//
// A checksum is of a block's content and of its place (group, zone, stripe, role, block), so that a block
// that stands where another one belongs does not fit. A sector that was never written is zeros, and says that
// its blocks are.
//
// Needs: whoever changes a record has seen all copies that can be had, or has a version that none of them can
// have, and keeps others from doing it.
#pragma once

#include <bitset>
#include <optional>
#include <span>

#include "base/buffer.h"
#include "layout/stripe_write.h"

namespace braid {

/// Which stripe a record is about.
struct ChecksumOwner {
    Uuid group;
    StripeIndex stripe;
    std::uint32_t generation = 0;  ///< of the stripe's zone
};

/// A block that is not what was written to its place.
struct ChecksumMismatch {
    std::uint32_t offset = 0;  ///< in its strip
    std::uint32_t expected = 0, found = 0;
};

class ChecksumRecord {
public:
    ChecksumRecord() = default;
    /// Knows nothing yet.
    ChecksumRecord(const Geometry& geometry, const ChecksumOwner& owner);

    explicit operator bool() const { return !bytes_.empty(); }
    std::uint32_t generation() const { return generation_; }

    /// Takes from a copy what is newer.
    void take(std::span<const std::byte> copy);
    /// After all copies were taken: this one is whole and the newest in all of its sectors.
    bool current(std::span<const std::byte> copy) const;
    /// Of each sector some copy was whole.
    bool whole() const { return found_.count() == geometry_.checksum_sectors(); }
    std::uint64_t version() const { return version_; }  ///< of its newest sector

    /// Whole blocks at `from` of a role's strip. What nothing is known of fits.
    std::optional<ChecksumMismatch> mismatch(unsigned role, std::uint32_t from,
                                             std::span<const std::byte> content) const;
    bool known(unsigned role, std::uint32_t offset) const { return entry(role, offset) != kUnknown; }

    void set(unsigned role, std::uint32_t from, std::span<const std::byte> content);
    /// True if it did not say so.
    bool learn(unsigned role, std::uint32_t from, std::span<const std::byte> content);
    /// Nobody can say what will stand there.
    void forget(unsigned role, std::uint32_t from, std::uint32_t length);
    /// All that a write changes. Parity that it leaves out, because nobody has it, is not known any more.
    void apply(const StripeWrite& write, std::span<const std::byte> data, const ParityPart& parity);
    /// The bytes for all copies, one version newer than it was, and than `than`. They change with the record.
    std::span<const std::byte> seal(std::uint64_t than = 0);
    /// Those of the newest copies, if it is whole and has not changed.
    std::span<const std::byte> bytes() const { return bytes_.span(); }

private:
    static constexpr std::uint32_t kZeros = 0, kUnknown = 1;
    static constexpr std::size_t kMostSectors = 64;

    std::optional<std::uint64_t> version_of(std::span<const std::byte> sector, std::uint32_t number) const;
    std::uint32_t checksum(unsigned role, std::uint32_t offset, std::uint32_t crc) const;
    std::byte* place(unsigned role, std::uint32_t offset) const;
    std::uint32_t entry(unsigned role, std::uint32_t offset) const;
    void put(unsigned role, std::uint32_t offset, std::uint32_t value);

    Geometry geometry_;
    StripeIndex stripe_;
    std::uint32_t generation_ = 0;
    std::uint32_t salt_ = 0;  ///< of the group
    std::uint64_t version_ = 0;
    std::bitset<kMostSectors> found_;  ///< sectors that some copy had
    Buffer bytes_;
};

}  // namespace braid
