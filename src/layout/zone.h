// A zone is the place of one extent: a segment on each of k + m different members. One of them may be on its
// move to a further member: then rows at that position have two places, and strip_places() and
// checksum_places() are where everybody learns of both. The allocator keeps, per member, the runs of units
// that no zone uses; it is derived from all zones and holds no truth of its own.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "layout/geometry.h"

namespace braid {

/// The numbers are those on the disk.
enum class ZoneState : std::uint8_t {
    none = 0,
    allocated = 1,
    emptying = 2,  ///< the extent is about to lose it: nobody reads or writes it before that is over, or
                   ///< taken back because who began it is gone
};

struct Segment {
    MemberIndex member;
    SegmentIndex index;
    friend auto operator<=>(const Segment&, const Segment&) = default;
};

/// What stands in one of a zone's segments goes, row by row, to a segment of a member that the zone does not
/// use yet. Until the last row is there the zone has the old segment; then it has the new one, and the old
/// one is free. Or it moves in place: the target is the zone's own segment, on a disk that was away and is
/// back; then the position is missing until the last row is there.
struct ZoneMove {
    ZonePosition position;
    Segment target;
    std::uint32_t rows_done = 0;  ///< rows below are whole at the target, whatever happens
    friend bool operator==(const ZoneMove&, const ZoneMove&) = default;
};

/// Segments of another shape, on as many different members, that are to hold the extent's content instead:
/// nobody reads there before they are the zone's (decisions/021).
struct Successor {
    StripeShape shape;
    std::vector<Segment> segments;  ///< by position, as many as the shape is wide; none: there is none
    explicit operator bool() const { return !segments.empty(); }
    friend bool operator==(const Successor&, const Successor&) = default;
};

/// Rows [first, first + count); none if count is 0.
struct RowRange {
    std::uint16_t first = 0, count = 0;
    std::uint32_t end() const { return std::uint32_t{first} + count; }
    friend bool operator==(const RowRange&, const RowRange&) = default;
};

/// Rows whose stripes have lost something that hosts were told is done: they answer with errors as long as
/// the extent has this zone. Ranges ascend and do not touch; where there is no room for another one the two
/// that are nearest become one, with what lies between them.
class Quarantine {
public:
    static constexpr std::size_t kMaxRanges = 5;
    bool any() const { return ranges_[0].count != 0; }
    bool contains(Row row) const;
    /// The ranges that there are.
    std::span<const RowRange> ranges() const;
    std::uint32_t rows() const;
    /// A row below 65535.
    void add(Row row);
    /// As they were written; nothing if they could not have been.
    static std::optional<Quarantine> of(const std::array<RowRange, kMaxRanges>& ranges);
    friend bool operator==(const Quarantine&, const Quarantine&) = default;

private:
    std::array<RowRange, kMaxRanges> ranges_{};
};

struct Zone {
    ZoneState state = ZoneState::none;
    std::uint8_t width = 0;
    StripeShape shape;             ///< of the extent's stripes, with a zone or without; the zone is as wide
    std::uint32_t generation = 0;  ///< raised when the extent gets or loses its zone, or another shape with
                                   ///< it; kept while it has none, and when a segment moves: it names the
                                   ///< content as it is cut
    std::uint16_t missed = 0;  ///< bit i: of its i-th region something may have been written that a missing
                               ///< segment lacks; 0 while none is missing
    std::array<Segment, kMaxWidth> segments{};
    std::optional<ZoneMove> move{};
    Successor successor{};
    Quarantine quarantine{};

    bool allocated() const { return state != ZoneState::none; }
    bool emptying() const { return state == ZoneState::emptying; }
    bool moves_in_place() const { return move && move->target == segments[move->position.v]; }
    /// The extent without it.
    Zone emptied() const { return {.shape = shape, .generation = generation + 1}; }
    /// Its successor in its place; there is one.
    Zone succeeded() const;
    std::span<const Segment> parts() const { return {segments.data(), width}; }
    friend bool operator==(const Zone&, const Zone&) = default;
};

/// A byte of a member's disk.
struct DiskPlace {
    MemberIndex member;
    std::uint64_t offset = 0;
    friend bool operator==(const DiskPlace&, const DiskPlace&) = default;
};

/// Where a strip, or a copy of a checksum record, is read, and where it is written: at two places while its
/// position moves. The segment of before is read as long as its member is there: both have the same where the
/// target has anything. All that is written goes to both, above rows_done as well: what the mover has copied
/// there must not grow old. The one place of a position that moves in place is written, and read below
/// rows_done.
struct Places {
    std::optional<DiskPlace> read;
    std::array<DiskPlace, 2> write{};
    unsigned writes = 0;

    std::span<const DiskPlace> to_write() const { return {write.data(), writes}; }
};

/// Where the strip of `role` in `row` begins in the zone's own segment, and where in any. The zone is
/// allocated and of the geometry's shape.
DiskPlace strip_place(const Geometry& geometry, const Zone& zone, Row row, Role role,
                      std::uint64_t data_start);
DiskPlace strip_place(const Geometry& geometry, Segment segment, Row row, std::uint64_t data_start);
/// Where a copy, 0 .. checksum_copies() - 1, of the checksum record of `row` begins.
DiskPlace checksum_place(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                         std::uint64_t data_start);
DiskPlace checksum_place(const Geometry& geometry, Segment segment, Row row, unsigned copy,
                         std::uint64_t data_start);

/// The places of what stands in a row at a position: `place(segment)` in each segment whose member is there
/// (`ok`).
template <class Ok, class Place>
Places places_at(const Zone& zone, ZonePosition position, Row row, Ok&& ok, Place&& place) {
    Places out;
    const auto each = [&](Segment segment, bool has) {
        const DiskPlace at = place(segment);
        if (has && !out.read) out.read = at;
        out.write[out.writes++] = at;
    };
    const Segment own = zone.segments[position.v];
    const bool moves = zone.move && zone.move->position == position;
    const bool twice = moves && !zone.moves_in_place();
    if (ok(own.member)) each(own, !moves || twice || row.v < zone.move->rows_done);
    if (twice && ok(zone.move->target.member)) each(zone.move->target, row.v < zone.move->rows_done);
    return out;
}

/// `ok(member)`: it is there.
template <class Ok>
Places strip_places(const Geometry& geometry, const Zone& zone, Row row, Role role, std::uint64_t data_start,
                    Ok&& ok) {
    return places_at(zone, geometry.position_of(role, row), row, ok,
                     [&](Segment segment) { return strip_place(geometry, segment, row, data_start); });
}
template <class Ok>
Places checksum_places(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                       std::uint64_t data_start, Ok&& ok) {
    return places_at(zone, geometry.checksum_position(copy, row), row, ok, [&](Segment segment) {
        return checksum_place(geometry, segment, row, copy, data_start);
    });
}

/// Those that the zone's segments stand on, and go to.
MemberMask members_of(const Zone& zone);
/// How many of the zone's positions stand on these members, or move in place.
unsigned positions_on(const Zone& zone, MemberMask members);
/// The role that `member` has in `row`, or nothing if the zone does not use the member.
Result<Role> role_of_member(const Geometry& geometry, const Zone& zone, Row row, MemberIndex member);

/// How many zones of `width` distinct members fit at most, however they are allocated and freed: the largest
/// E with sum(min(segments, E)) >= width * E. With width == members that is the smallest member's count. So
/// many of the members, whichever they are, may be away: `spares`. What they held finds its places one after
/// the other, none of which moves again; for that a zone is left free for each of them.
std::uint32_t zone_capacity(std::span<const std::uint32_t> segments_by_member, unsigned width,
                            unsigned spares = 0);

/// Further zones that are to find their places, whatever else is taken.
struct Promise {
    ZoneSize size;
    std::uint32_t zones = 0;
};

/// Members that share zones are drawn so that each shares as much with every other one, as far as that goes:
/// then all of them give their part when what one of them held is made again.
///
/// Zones may differ in size. A segment is taken at the start of the first run that has room for it; so one of
/// n units takes nothing but one place from those that a member has for segments of n units, and as long as
/// all have one size every free run but the last is a multiple of it.
class SegmentAllocator {
public:
    explicit SegmentAllocator(std::span<const std::uint32_t> units_by_member);

    /// Marks the segments, each of so many units, of a zone that was read from the map. corrupt, and nothing
    /// changed, if a part of one is out of range or taken.
    Status take(const Zone& zone, std::uint32_t units);
    /// A zone on distinct members of `usable`, those with places for most segments of its size, of equal ones
    /// those that share least with the others, then turn by turn with the extent; generation 0. Only if there
    /// are too few, or if not all that is `promised` would find its places, members of `reserve` complete it:
    /// a degraded group gives its missing members here. no_space.
    Result<Zone> allocate(ZoneSize size, ExtentIndex extent, MemberMask usable, MemberMask reserve = {},
                          Promise promised = {});
    /// Returns the segments of a zone that was taken or allocated here.
    void release(const Zone& zone, std::uint32_t units);
    /// Further zones that find their places on these, if nothing else is taken.
    std::uint32_t room(ZoneSize size, MemberMask members) const;
    /// Members of `usable` that can give a segment of so many units away: all that is `promised` finds its
    /// places on `usable` without it.
    MemberMask with_spare(std::uint32_t units, MemberMask usable, Promise promised) const;
    /// A free segment for one of the zone's positions, which is not taken: of the member of `from` with most
    /// of them that the zone does not use, of equal ones the one that shares least with the zone's. no_space.
    Result<Segment> spare(const Zone& zone, std::uint32_t units, MemberMask from) const;
    /// Which of the members are fuller than all of them together, and which are emptier, the emptiest first:
    /// as parts of what they have. What goes from the ones to the others evens out, and goes once.
    struct Uneven {
        MemberMask fuller;
        std::vector<MemberIndex> emptier;
    };
    Uneven uneven(MemberMask members) const;
    /// Segments of so many units that go until all of them are as full, about.
    std::uint32_t to_even_out(std::uint32_t segment, MemberMask members) const;

    /// Further segments of so many units that fit on the member.
    std::uint32_t free_on(MemberIndex member, std::uint32_t units) const {
        return members_.at(member.v).fitting(units);
    }
    std::uint32_t used_units(MemberIndex member) const { return members_.at(member.v).used(); }
    /// A segment of so many units less on `from` and one more on `to`, and `to` is not fuller than `from`, as
    /// parts of what they have.
    bool evens_out(std::uint32_t units, MemberIndex from, MemberIndex to) const;
    /// Another disk, nothing of which is taken, in a place where nothing is taken, or in the next one.
    void put_member(MemberIndex member, std::uint32_t units);

private:
    using Runs = std::map<std::uint32_t, std::uint32_t>;  ///< free units: start, length; no two touch
    class Member {
    public:
        explicit Member(std::uint32_t units);
        std::uint32_t units() const { return units_; }
        std::uint32_t free() const { return free_; }
        std::uint32_t used() const { return units_ - free_; }
        /// When all moves have ended.
        std::uint32_t stays() const { return used() - leaving; }
        /// Segments of so many units that fit.
        std::uint32_t fitting(std::uint32_t units) const;
        /// Of those the ones that are left when one of `taken` units has been taken, if that fits.
        std::uint32_t fitting_after(std::uint32_t units, std::uint32_t taken) const;
        /// Where the first one would be, if it fits.
        std::optional<SegmentIndex> first(std::uint32_t units) const;
        bool is_free(SegmentIndex at, std::uint32_t units) const;
        void take(SegmentIndex at, std::uint32_t units);
        void release(SegmentIndex at, std::uint32_t units);

        std::uint32_t leaving = 0;  ///< units of segments that move elsewhere

    private:
        Runs::const_iterator first_run(std::uint32_t units) const;
        Runs::iterator run_with(SegmentIndex at);
        void add(std::uint32_t start, std::uint32_t length);
        void remove(Runs::iterator run);

        std::uint32_t units_, free_ = 0;
        Runs runs_;
        mutable std::map<std::uint32_t, std::uint32_t> fitting_;  ///< by size, of those that were asked for
    };
    void pick(std::vector<MemberIndex>& chosen, ZoneSize size, std::size_t most, ExtentIndex extent,
              MemberMask from) const;
    bool fits(Promise promised, MemberMask usable, MemberMask taken_from, std::uint32_t taken) const;
    void take_parts(std::span<const Segment> parts, std::uint32_t units);
    /// Units of zones that it has with these.
    std::uint64_t shared(MemberIndex member, std::span<const MemberIndex> with) const;

    std::vector<Member> members_;
    std::vector<std::array<std::uint32_t, kMaxMembers>> shared_;  ///< units of the zones of a pair
};

}  // namespace braid
