// Where the bytes of a group's logical space are: pure arithmetic. The space is cut into extents of 64 MiB;
// an extent is cut into stripes ("rows") of k strips; a zone holds an extent, one segment on each of k + m
// different members; row r of the zone is one strip of each segment, at r * strip_size. Within a row the
// roles rotate over the segments.
//
// A group's strip size is one for all, and so is whether it has checksums. What differs from extent to extent
// is the shape: level, k and m. A Geometry is the arithmetic of one shape; the numbers of stripes, and which
// extent and row they are, are the same in all of a group's (decisions/021): an extent takes as many numbers
// as a mirror's has rows, and those beyond its own rows name no stripe.
//
// An extent has ceil(64 MiB / (k * strip_size)) rows. Where k does not divide the extent, the last row is
// partly (or in its high columns wholly) beyond the extent: those blocks are never addressed and count as
// zeros.
//
// With checksums a segment has an area behind its rows for the checksum records of its zone: one for each
// row, with m + 1 copies on different members, whose places rotate with the rows as the roles do. So a member
// that lost what was written to it is judged by what others say, as long as no more than m do that.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace braid {

/// A stripe's place in its extent.
using Row = Strong<struct RowTag, std::uint32_t>;
/// A strip's number in its stripe's code: 0 .. k-1 data, k .. k+m-1 parity.
using Role = Strong<struct RoleTag, std::uint8_t>;
/// A place in a zone's list of segments.
using ZonePosition = Strong<struct ZonePositionTag, std::uint8_t>;
/// Where a segment begins on its member: units from the start of its data area.
using SegmentIndex = Strong<struct SegmentIndexTag, std::uint32_t>;
constexpr std::uint64_t kSegmentUnit = 64u << 10;  ///< bytes; a segment is a run of whole units
/// A set of members of a group.
using MemberMask = std::bitset<kMaxMembers>;

constexpr std::uint32_t kMinStripSize = kBlockSize;
constexpr std::uint32_t kMaxStripSize = 1u << 20;
constexpr std::uint32_t kDefaultStripSize = 64u << 10;

/// A checksum record is made of sectors that are written whole or not at all, each with so many checksums.
constexpr std::uint32_t kChecksumSector = 512;
constexpr std::uint32_t kChecksumsPerSector = 120;
/// From this strip size on a group has checksums if nothing else is said: with smaller strips the records, a
/// block for each stripe and copy, are a large part of the members.
constexpr std::uint32_t kMinUsualChecksumStrip = 16u << 10;

/// The numbers are those on the disk.
enum class Level : std::uint8_t { mirror = 1, raid5 = 2, raid6 = 3, raid7_3 = 4 };

std::string_view to_string(Level level);  ///< mirror, raid5, raid6, raid7.3
Result<Level> parse_level(std::string_view text);

/// Bytes of the logical space.
struct LogicalRange {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;

    std::uint64_t end() const { return offset + length; }
    friend bool operator==(const LogicalRange&, const LogicalRange&) = default;
};

/// A byte of the logical space, by stripe.
struct StripePlace {
    StripeIndex stripe;
    std::uint32_t offset = 0;  ///< bytes from the stripe's first data byte
    friend bool operator==(const StripePlace&, const StripePlace&) = default;
};

/// The part of a range that lies in one stripe, as the shape says that it was split by.
struct StripePiece {
    StripeIndex stripe;
    std::uint32_t offset = 0;  ///< in the stripe
    std::uint32_t length = 0;
    std::uint64_t at = 0;  ///< its first byte in the logical space
    std::uint64_t end() const { return at + length; }
    friend bool operator==(const StripePiece&, const StripePiece&) = default;
};

/// A byte of a stripe, by strip.
struct StripPlace {
    Role column;               ///< 0 .. k-1
    std::uint32_t offset = 0;  ///< bytes from the strip's start
    friend bool operator==(const StripPlace&, const StripPlace&) = default;
};

/// How the stripes of an extent are made.
struct StripeShape {
    Level level{};       ///< none of the levels: nothing is said
    std::uint8_t k = 0;  ///< data strips of a stripe
    std::uint8_t m = 0;  ///< parity strips (mirror: further copies)

    /// The same data strips with the parities of a raid level; of the same level with another width. They may
    /// be none: check().
    StripeShape at_level(Level other) const;
    StripeShape as_wide_as(unsigned other) const {
        return {level, static_cast<std::uint8_t>(other - std::min<unsigned>(other, m)), m};
    }
    unsigned width() const { return unsigned{k} + m; }
    explicit operator bool() const { return level != Level{}; }
    /// invalid for what Geometry::make() would never give.
    Status check() const;
    friend bool operator==(const StripeShape&, const StripeShape&) = default;
};

/// What a zone takes: a run of units on each of so many different members.
struct ZoneSize {
    unsigned width = 0;
    std::uint32_t units = 0;
    friend bool operator==(const ZoneSize&, const ZoneSize&) = default;
};

struct Geometry {
    Level level = Level::raid5;
    std::uint8_t k = 2;                            ///< data strips of a stripe
    std::uint8_t m = 1;                            ///< parity strips (mirror: further copies)
    std::uint32_t strip_size = kDefaultStripSize;  ///< bytes, a power of two, 4 KiB .. 1 MiB
    bool checksums = false;                        ///< of every block, in an area of their own

    friend bool operator==(const Geometry&, const Geometry&) = default;

    /// `width` 0 is the default: all members, at most 24, or 2 copies for a mirror. invalid if the level does
    /// not work so: raid with m parities takes a width of m+2 .. 24, a mirror 2 .. 4 copies, none more than
    /// there are members.
    static Result<Geometry> make(Level level, std::size_t members,
                                 std::uint32_t strip_size = kDefaultStripSize, unsigned width = 0);
    /// invalid for values that make() would never give: for what came from a disk.
    Status check() const;

    StripeShape shape() const { return {level, k, m}; }
    /// The same group's for another shape.
    Geometry of(StripeShape other) const {
        Geometry out = *this;
        out.level = other.level;
        out.k = other.k;
        out.m = other.m;
        return out;
    }

    unsigned width() const { return unsigned{k} + m; }
    /// Data bytes of a full stripe.
    std::uint32_t stripe_size() const { return k * strip_size; }
    std::uint32_t rows_per_extent() const {
        return static_cast<std::uint32_t>((kExtentSize + stripe_size() - 1) / stripe_size());
    }
    /// Bytes of a zone's rows on each of its members.
    std::uint64_t rows_size() const { return std::uint64_t{rows_per_extent()} * strip_size; }
    /// Bytes of a zone on each of its members.
    std::uint64_t segment_size() const { return rows_size() + checksum_area_size(); }
    ZoneSize zone_size() const {
        return {width(), static_cast<std::uint32_t>((segment_size() + kSegmentUnit - 1) / kSegmentUnit)};
    }
    /// Bytes that a segment takes of its member: whole units.
    std::uint64_t segment_space() const { return zone_size().units * kSegmentUnit; }

    std::uint32_t blocks_per_strip() const { return strip_size / kBlockSize; }
    /// Copies of a stripe's checksum record.
    unsigned checksum_copies() const { return checksums ? m + 1u : 0; }
    /// Sectors of a checksum record that say something.
    std::uint32_t checksum_sectors() const {
        return (width() * blocks_per_strip() + kChecksumsPerSector - 1) / kChecksumsPerSector;
    }
    /// Bytes of a checksum record, whole blocks.
    std::uint32_t checksum_record_size() const {
        return (checksum_sectors() * kChecksumSector + kBlockSize - 1) / kBlockSize * kBlockSize;
    }
    /// Behind the rows of a segment.
    std::uint64_t checksum_area_size() const {
        const std::uint64_t turns = (rows_per_extent() + width() - 1) / width();
        return turns * checksum_copies() * checksum_record_size();
    }
    /// Which of the zone's segments holds a copy of a row's record, and where behind the segment's rows.
    ZonePosition checksum_position(unsigned copy, Row row) const {
        return ZonePosition(static_cast<std::uint8_t>((row.v + copy) % width()));
    }
    std::uint64_t checksum_offset(unsigned copy, Row row) const {
        return (std::uint64_t{row.v / width()} * checksum_copies() + copy) * checksum_record_size();
    }

    /// Numbers of stripes that an extent takes.
    std::uint32_t stripes_per_extent() const { return static_cast<std::uint32_t>(kExtentSize / strip_size); }
    StripeIndex stripe_of(ExtentIndex extent, Row row) const {
        return StripeIndex(std::uint64_t{extent.v} * stripes_per_extent() + row.v);
    }
    ExtentIndex extent_of(StripeIndex stripe) const {
        return ExtentIndex(static_cast<std::uint32_t>(stripe.v / stripes_per_extent()));
    }
    Row row_of(StripeIndex stripe) const {
        return Row(static_cast<std::uint32_t>(stripe.v % stripes_per_extent()));
    }
    /// There is such a row in this shape.
    bool has(StripeIndex stripe) const { return row_of(stripe).v < rows_per_extent(); }

    /// The stripe that holds a byte of the logical space.
    StripePlace locate(std::uint64_t logical_offset) const {
        const std::uint64_t in_extent = logical_offset % kExtentSize;
        const ExtentIndex extent(static_cast<std::uint32_t>(logical_offset / kExtentSize));
        return {stripe_of(extent, Row(static_cast<std::uint32_t>(in_extent / stripe_size()))),
                static_cast<std::uint32_t>(in_extent % stripe_size())};
    }
    /// The piece is cut as this shape cuts.
    bool fits(const StripePiece& piece) const {
        return locate(piece.at) == StripePlace{piece.stripe, piece.offset} &&
               piece.end() <= range_of(piece.stripe).end();
    }
    /// The logical bytes of a stripe: stripe_size(), less for a last row that the extent's end cuts, none for
    /// a number beyond that.
    LogicalRange range_of(StripeIndex stripe) const {
        const std::uint64_t first =
            std::min<std::uint64_t>(std::uint64_t{row_of(stripe).v} * stripe_size(), kExtentSize);
        return {extent_of(stripe).v * kExtentSize + first,
                std::min<std::uint64_t>(stripe_size(), kExtentSize - first)};
    }
    /// The addressed bytes of one data strip: strip_size, less or 0 in a cut last row.
    std::uint32_t column_length(StripeIndex stripe, Role column) const {
        const std::uint64_t data = range_of(stripe).length;
        const std::uint64_t before = std::uint64_t{column.v} * strip_size;
        return static_cast<std::uint32_t>(
            data <= before ? 0 : std::min<std::uint64_t>(strip_size, data - before));
    }

    StripPlace strip_of(std::uint32_t offset_in_stripe) const {
        return {Role(static_cast<std::uint8_t>(offset_in_stripe / strip_size)),
                offset_in_stripe % strip_size};
    }

    /// Which of the zone's segments holds a role of a row, and back.
    ZonePosition position_of(Role role, Row row) const {
        return ZonePosition(static_cast<std::uint8_t>((role.v + row.v) % width()));
    }
    Role role_at(ZonePosition position, Row row) const {
        return Role(static_cast<std::uint8_t>((position.v + width() - row.v % width()) % width()));
    }
};

/// Calls `each(StripePiece)` for the parts of `range`, in ascending order. `geometry_of(extent)`: that of its
/// shape.
template <class GeometryOf, class Each>
void for_each_stripe(GeometryOf&& geometry_of, LogicalRange range, Each&& each) {
    while (range.length != 0) {
        const Geometry geometry =
            geometry_of(ExtentIndex(static_cast<std::uint32_t>(range.offset / kExtentSize)));
        const StripePlace place = geometry.locate(range.offset);
        const std::uint64_t rest = geometry.range_of(place.stripe).length - place.offset;
        const auto length = static_cast<std::uint32_t>(std::min(range.length, rest));
        each(StripePiece{place.stripe, place.offset, length, range.offset});
        range = {range.offset + length, range.length - length};
    }
}

/// Calls `each(StripPlace, std::uint32_t length)` for the strips that `length` bytes at `offset` of a stripe
/// touch.
template <class Each>
void for_each_strip(const Geometry& geometry, const StripePiece& piece, Each&& each) {
    std::uint32_t done = 0;
    while (done < piece.length) {
        const StripPlace place = geometry.strip_of(piece.offset + done);
        const std::uint32_t length = std::min(piece.length - done, geometry.strip_size - place.offset);
        each(place, length);
        done += length;
    }
}

}  // namespace braid
