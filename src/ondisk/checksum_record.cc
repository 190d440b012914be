#include "ondisk/checksum_record.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/prng.h"
#include "base/zeros.h"

namespace braid {
namespace {

constexpr std::uint32_t kMagic = 0x53437262;  // "brCS"
constexpr std::size_t kChecksumAt = 4;
constexpr std::size_t kStripeAt = 8;
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kNumberAt = 28;
constexpr std::size_t kEntriesAt = 32;
static_assert(kEntriesAt + kChecksumsPerSector * 4 == kChecksumSector);

template <class T>
T get(std::span<const std::byte> sector, std::size_t at) {
    T value;
    std::memcpy(&value, sector.data() + at, sizeof(T));
    return value;
}
template <class T>
void put(std::span<std::byte> sector, std::size_t at, T value) {
    std::memcpy(sector.data() + at, &value, sizeof(T));
}

/// With its own field zero.
std::uint32_t checksum_of_sector(std::span<const std::byte> sector, std::uint32_t salt) {
    constexpr std::array<std::byte, 4> kNone{};
    const std::uint32_t head = crc32c(kNone, crc32c(sector.first(kChecksumAt), salt));
    return crc32c(sector.subspan(kChecksumAt + 4), head);
}

}  // namespace

ChecksumRecord::ChecksumRecord(const Geometry& geometry, const ChecksumOwner& owner)
    : geometry_(geometry),
      stripe_(owner.stripe),
      generation_(owner.generation),
      salt_(crc32c(std::as_bytes(std::span(owner.group.bytes)))),
      bytes_(Buffer::zeroed(geometry.checksum_record_size())) {
    ASSERT(geometry.checksum_sectors() <= kMostSectors);
    for (unsigned role = 0; role < geometry.width(); ++role) forget(role, 0, geometry.strip_size);
}

std::byte* ChecksumRecord::place(unsigned role, std::uint32_t offset) const {
    const std::uint32_t number = role * geometry_.blocks_per_strip() + offset / kBlockSize;
    return bytes_.data() + number / kChecksumsPerSector * kChecksumSector + kEntriesAt +
           number % kChecksumsPerSector * 4;
}
std::uint32_t ChecksumRecord::entry(unsigned role, std::uint32_t offset) const {
    std::uint32_t value;
    std::memcpy(&value, place(role, offset), sizeof value);
    return value;
}
void ChecksumRecord::put(unsigned role, std::uint32_t offset, std::uint32_t value) {
    std::memcpy(place(role, offset), &value, sizeof value);
}

/// Nothing if it is not a sector of this record.
std::optional<std::uint64_t> ChecksumRecord::version_of(std::span<const std::byte> sector,
                                                        std::uint32_t number) const {
    if (get<std::uint32_t>(sector, 0) != kMagic) {
        return all_zero(sector) ? std::optional<std::uint64_t>(0) : std::nullopt;
    }
    const bool ours = get<std::uint64_t>(sector, kStripeAt) == stripe_.v &&
                      get<std::uint32_t>(sector, kGenerationAt) == generation_ &&
                      get<std::uint32_t>(sector, kNumberAt) == number &&
                      get<std::uint32_t>(sector, kChecksumAt) == checksum_of_sector(sector, salt_);
    if (!ours) return std::nullopt;
    return get<std::uint64_t>(sector, kVersionAt);
}

void ChecksumRecord::take(std::span<const std::byte> copy) {
    for (std::uint32_t i = 0; i < geometry_.checksum_sectors(); ++i) {
        const auto from = copy.subspan(i * kChecksumSector, kChecksumSector);
        const auto here = bytes_.span(i * kChecksumSector, kChecksumSector);
        const std::optional<std::uint64_t> version = version_of(from, i);
        if (!version || (found_[i] && *version <= get<std::uint64_t>(here, kVersionAt))) continue;
        std::memcpy(here.data(), from.data(), kChecksumSector);
        found_.set(i);
        version_ = std::max(version_, *version);
    }
}

bool ChecksumRecord::current(std::span<const std::byte> copy) const {
    const std::size_t used = geometry_.checksum_sectors() * kChecksumSector;
    return whole() && std::memcmp(copy.data(), bytes_.data(), used) == 0;
}

std::uint32_t ChecksumRecord::checksum(unsigned role, std::uint32_t offset, std::uint32_t crc) const {
    const std::uint64_t where = std::uint64_t{role} << 32 | offset;
    const std::uint64_t address = mix64(mix64(mix64(stripe_.v) ^ generation_) ^ where) ^ salt_;
    const std::uint32_t sum = crc ^ static_cast<std::uint32_t>(address);
    return sum <= kUnknown ? sum + 2 : sum;
}

std::optional<ChecksumMismatch> ChecksumRecord::mismatch(unsigned role, std::uint32_t from,
                                                         std::span<const std::byte> content) const {
    static const std::uint32_t crc_of_zeros = crc32c(std::array<std::byte, kBlockSize>{});
    for (std::size_t done = 0; done < content.size(); done += kBlockSize) {
        const auto offset = static_cast<std::uint32_t>(from + done);
        std::uint32_t expected = entry(role, offset);
        if (expected == kUnknown) continue;
        if (expected == kZeros) expected = checksum(role, offset, crc_of_zeros);
        const std::uint32_t found = checksum(role, offset, crc32c(content.subspan(done, kBlockSize)));
        if (found != expected) return ChecksumMismatch{offset, expected, found};
    }
    return std::nullopt;
}

void ChecksumRecord::set(unsigned role, std::uint32_t from, std::span<const std::byte> content) {
    for (std::size_t done = 0; done < content.size(); done += kBlockSize) {
        const auto offset = static_cast<std::uint32_t>(from + done);
        put(role, offset, checksum(role, offset, crc32c(content.subspan(done, kBlockSize))));
    }
}

bool ChecksumRecord::learn(unsigned role, std::uint32_t from, std::span<const std::byte> content) {
    bool news = false;
    for (std::size_t done = 0; done < content.size(); done += kBlockSize) {
        const auto offset = static_cast<std::uint32_t>(from + done);
        const auto block = content.subspan(done, kBlockSize);
        if (known(role, offset) && !mismatch(role, offset, block)) continue;
        set(role, offset, block);
        news = true;
    }
    return news;
}

void ChecksumRecord::forget(unsigned role, std::uint32_t from, std::uint32_t length) {
    for (std::uint32_t done = 0; done < length; done += kBlockSize) put(role, from + done, kUnknown);
}

void ChecksumRecord::apply(const StripeWrite& write, std::span<const std::byte> data,
                           const ParityPart& parity) {
    for_each_strip(geometry_, write, data, parity,
                   [this](unsigned role, std::uint32_t from, std::span<const std::byte> bytes) {
                       set(role, from, bytes);
                   });
    if (write.length == 0 || geometry_.k == 1) return;
    for (unsigned j = 0; j < geometry_.m; ++j) {
        if ((parity.parities >> j & 1u) == 0)
            forget(geometry_.k + j, write.hull().from, write.hull().length());
    }
}

std::span<const std::byte> ChecksumRecord::seal(std::uint64_t than) {
    version_ = std::max(version_, than) + 1;
    for (std::uint32_t i = 0; i < geometry_.checksum_sectors(); ++i) {
        const auto sector = bytes_.span(i * kChecksumSector, kChecksumSector);
        braid::put(sector, 0, kMagic);
        braid::put(sector, kStripeAt, stripe_.v);
        braid::put(sector, kVersionAt, version_);
        braid::put(sector, kGenerationAt, generation_);
        braid::put(sector, kNumberAt, i);
        braid::put(sector, kChecksumAt, checksum_of_sector(sector, salt_));
        found_.set(i);
    }
    return bytes_.span();
}

}  // namespace braid
