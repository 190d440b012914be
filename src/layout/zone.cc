#include "layout/zone.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/assert.h"

namespace braid {
namespace {

// Where a member stands in the order of this extent, which begins one member later at each extent.
std::size_t turn(MemberIndex member, ExtentIndex extent, std::size_t members) {
    return (member.v + members - extent.v % members) % members;
}

}  // namespace

DiskPlace strip_place(const Geometry& geometry, Segment segment, Row row, std::uint64_t data_start) {
    return {segment.member,
            data_start + segment.index.v * kSegmentUnit + std::uint64_t{row.v} * geometry.strip_size};
}

DiskPlace strip_place(const Geometry& geometry, const Zone& zone, Row row, Role role,
                      std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.shape == geometry.shape() && role.v < zone.width);
    return strip_place(geometry, zone.segments[geometry.position_of(role, row).v], row, data_start);
}

DiskPlace checksum_place(const Geometry& geometry, Segment segment, Row row, unsigned copy,
                         std::uint64_t data_start) {
    return {segment.member, data_start + segment.index.v * kSegmentUnit + geometry.rows_size() +
                                geometry.checksum_offset(copy, row)};
}

DiskPlace checksum_place(const Geometry& geometry, const Zone& zone, Row row, unsigned copy,
                         std::uint64_t data_start) {
    ASSERT(zone.allocated() && zone.shape == geometry.shape() && copy < geometry.checksum_copies());
    return checksum_place(geometry, zone.segments[geometry.checksum_position(copy, row).v], row, copy,
                          data_start);
}

// ---- quarantine

std::span<const RowRange> Quarantine::ranges() const {
    const auto end = std::ranges::find(ranges_, 0, &RowRange::count);
    return {ranges_.begin(), end};
}

bool Quarantine::contains(Row row) const {
    return std::ranges::any_of(
        ranges(), [row](const RowRange& range) { return range.first <= row.v && row.v < range.end(); });
}

std::uint32_t Quarantine::rows() const {
    std::uint32_t out = 0;
    for (const RowRange& range : ranges()) out += range.count;
    return out;
}

void Quarantine::add(Row row) {
    if (contains(row)) return;
    std::vector<RowRange> all(ranges().begin(), ranges().end());
    const auto after = std::ranges::upper_bound(all, row.v, {}, &RowRange::first);
    all.insert(after, {static_cast<std::uint16_t>(row.v), 1});
    const auto gap = [](const RowRange& one, const RowRange& next) { return next.first - one.end(); };
    const auto join = [&](std::size_t i) {
        all[i].count = static_cast<std::uint16_t>(all[i + 1].end() - all[i].first);
        all.erase(all.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    };
    for (std::size_t i = all.size() - 1; i-- > 0;) {
        if (gap(all[i], all[i + 1]) == 0) join(i);
    }
    if (all.size() > kMaxRanges) {
        std::size_t nearest = 0;
        for (std::size_t i = 1; i + 1 < all.size(); ++i) {
            if (gap(all[i], all[i + 1]) < gap(all[nearest], all[nearest + 1])) nearest = i;
        }
        join(nearest);
    }
    ranges_ = {};
    std::ranges::copy(all, ranges_.begin());
}

std::optional<Quarantine> Quarantine::of(const std::array<RowRange, kMaxRanges>& ranges) {
    Quarantine out;
    out.ranges_ = ranges;
    const std::size_t used = out.ranges().size();
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        if (i >= used ? ranges[i] != RowRange{} : i != 0 && ranges[i].first <= ranges[i - 1].end())
            return std::nullopt;
        if (ranges[i].end() > std::numeric_limits<std::uint16_t>::max()) return std::nullopt;
    }
    return out;
}

// ---- zones

Zone Zone::succeeded() const {
    ASSERT(successor && successor.segments.size() == successor.shape.width());
    Zone out{.state = ZoneState::allocated,
             .width = static_cast<std::uint8_t>(successor.segments.size()),
             .shape = successor.shape,
             .generation = generation + 1};
    std::ranges::copy(successor.segments, out.segments.begin());
    return out;
}

MemberMask members_of(const Zone& zone) {
    MemberMask out;
    for (const Segment& part : zone.parts()) out.set(part.member.v);
    if (zone.move) out.set(zone.move->target.member.v);
    return out;
}

unsigned positions_on(const Zone& zone, MemberMask members) {
    const auto on = [&](const Segment& part) {
        return members[part.member.v] || (zone.moves_in_place() && zone.move->target == part);
    };
    return static_cast<unsigned>(std::ranges::count_if(zone.parts(), on));
}

Result<Role> role_of_member(const Geometry& geometry, const Zone& zone, Row row, MemberIndex member) {
    const auto parts = zone.parts();
    const auto found = std::ranges::find(parts, member, &Segment::member);
    if (found == parts.end()) return fail(Errc::not_found);
    return geometry.role_at(ZonePosition(static_cast<std::uint8_t>(found - parts.begin())), row);
}

std::uint32_t zone_capacity(std::span<const std::uint32_t> segments_by_member, unsigned width,
                            unsigned spares) {
    ASSERT(width > 0);
    if (segments_by_member.size() < width + spares) return 0;
    std::vector<std::uint32_t> left(segments_by_member.begin(), segments_by_member.end());
    std::ranges::sort(left);  // the largest may be those that are away
    left.resize(left.size() - spares);
    const auto fits = [&](std::uint64_t zones) {
        std::uint64_t usable = 0;
        for (std::uint32_t segments : left) usable += std::min<std::uint64_t>(segments, zones);
        return usable >= width * zones;
    };
    const std::uint64_t all = std::accumulate(left.begin(), left.end(), std::uint64_t{0});
    std::uint64_t low = 0;
    std::uint64_t high = std::min<std::uint64_t>(all / width, UINT32_MAX);
    while (low < high) {
        const std::uint64_t middle = low + (high - low + 1) / 2;
        if (fits(middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return static_cast<std::uint32_t>(low - std::min<std::uint64_t>(low, spares));
}

// ---- a member's free runs

SegmentAllocator::Member::Member(std::uint32_t units) : units_(units) {
    if (units != 0) add(0, units);
}

void SegmentAllocator::Member::add(std::uint32_t start, std::uint32_t length) {
    runs_.emplace(start, length);
    free_ += length;
    for (auto& [units, count] : fitting_) count += length / units;
}

void SegmentAllocator::Member::remove(Runs::iterator run) {
    free_ -= run->second;
    for (auto& [units, count] : fitting_) count -= run->second / units;
    runs_.erase(run);
}

std::uint32_t SegmentAllocator::Member::fitting(std::uint32_t units) const {
    const auto [known, asked_first] = fitting_.try_emplace(units, 0);
    if (asked_first) {
        for (const auto& [start, length] : runs_) known->second += length / units;
    }
    return known->second;
}

std::uint32_t SegmentAllocator::Member::fitting_after(std::uint32_t units, std::uint32_t taken) const {
    const auto run = first_run(taken);
    if (run == runs_.end()) return fitting(units);
    return fitting(units) - run->second / units + (run->second - taken) / units;
}

SegmentAllocator::Runs::const_iterator SegmentAllocator::Member::first_run(std::uint32_t units) const {
    return std::ranges::find_if(runs_, [units](const auto& run) { return run.second >= units; });
}

std::optional<SegmentIndex> SegmentAllocator::Member::first(std::uint32_t units) const {
    const auto run = first_run(units);
    return run == runs_.end() ? std::nullopt : std::optional(SegmentIndex(run->first));
}

/// The last one that begins there or before, or none.
SegmentAllocator::Runs::iterator SegmentAllocator::Member::run_with(SegmentIndex at) {
    const auto behind = runs_.upper_bound(at.v);
    return behind == runs_.begin() ? runs_.end() : std::prev(behind);
}

bool SegmentAllocator::Member::is_free(SegmentIndex at, std::uint32_t units) const {
    const auto behind = runs_.upper_bound(at.v);
    if (behind == runs_.begin()) return false;
    const auto& [start, length] = *std::prev(behind);
    return std::uint64_t{at.v} + units <= std::uint64_t{start} + length;
}

void SegmentAllocator::Member::take(SegmentIndex at, std::uint32_t units) {
    const auto run = run_with(at);
    const auto [start, length] = *run;
    remove(run);
    if (start < at.v) add(start, at.v - start);
    if (at.v + units < start + length) add(at.v + units, start + length - at.v - units);
}

void SegmentAllocator::Member::release(SegmentIndex at, std::uint32_t units) {
    std::uint32_t start = at.v, end = at.v + units;
    ASSERT(end <= units_);
    if (const auto before = run_with(at); before != runs_.end()) {
        ASSERT(before->first + before->second <= start);
        if (before->first + before->second == start) {
            start = before->first;
            remove(before);
        }
    }
    if (const auto behind = runs_.lower_bound(at.v); behind != runs_.end()) {
        ASSERT(behind->first >= end);
        if (behind->first == end) {
            end += behind->second;
            remove(behind);
        }
    }
    add(start, end - start);
}

// ---- all members

SegmentAllocator::SegmentAllocator(std::span<const std::uint32_t> units_by_member) {
    ASSERT(units_by_member.size() <= kMaxMembers);
    for (std::uint32_t units : units_by_member) members_.emplace_back(units);
    shared_.resize(members_.size());
}

bool SegmentAllocator::evens_out(std::uint32_t units, MemberIndex from, MemberIndex to) const {
    const Member& full = members_.at(from.v);
    const Member& empty = members_.at(to.v);
    if (full.stays() < units || empty.fitting(units) == 0) return false;
    return (std::uint64_t{empty.stays()} + units) * full.units() <=
           std::uint64_t{full.stays() - units} * empty.units();
}

SegmentAllocator::Uneven SegmentAllocator::uneven(MemberMask members) const {
    std::uint64_t used = 0, units = 0;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (!members[i]) continue;
        used += members_[i].stays();
        units += members_[i].units();
    }
    Uneven out;
    for (std::uint8_t i = 0; i < members_.size(); ++i) {
        const std::uint64_t own = members_[i].stays() * units, mean = used * members_[i].units();
        if (members[i] && own > mean) out.fuller.set(i);
        if (members[i] && own < mean) out.emptier.push_back(MemberIndex(i));
    }
    std::ranges::sort(out.emptier, [this](MemberIndex a, MemberIndex b) {
        const std::uint64_t one = std::uint64_t{members_[a.v].stays()} * members_[b.v].units();
        const std::uint64_t other = std::uint64_t{members_[b.v].stays()} * members_[a.v].units();
        return std::pair(one, a) < std::pair(other, b);
    });
    return out;
}

std::uint32_t SegmentAllocator::to_even_out(std::uint32_t segment, MemberMask members) const {
    std::uint64_t used = 0, units = 0, out = 0;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        used += members[i] ? members_[i].stays() : 0;
        units += members[i] ? members_[i].units() : 0;
    }
    for (std::size_t i = 0; units != 0 && i < members_.size(); ++i) {
        const std::uint64_t own = members_[i].stays(), share = used * members_[i].units() / units;
        if (members[i] && own > share) out += (own - share + segment / 2) / segment;
    }
    return static_cast<std::uint32_t>(out);
}

void SegmentAllocator::put_member(MemberIndex member, std::uint32_t units) {
    ASSERT(member.v <= members_.size() && member.v < kMaxMembers);
    if (member.v == members_.size()) {
        members_.emplace_back(units);
        shared_.emplace_back();
        return;
    }
    ASSERT(members_[member.v].used() == 0);
    members_[member.v] = Member(units);
}

namespace {

/// All that a zone uses: its parts, and where one of them goes.
std::vector<Segment> used_by(const Zone& zone) {
    std::vector<Segment> out(zone.parts().begin(), zone.parts().end());
    if (zone.move && !zone.moves_in_place()) out.push_back(zone.move->target);
    return out;
}

/// Who has a part until its move ends.
std::optional<MemberIndex> left_by(const Zone& zone) {
    if (!zone.move || zone.moves_in_place()) return std::nullopt;
    return zone.segments[zone.move->position.v].member;
}

}  // namespace

Status SegmentAllocator::take(const Zone& zone, std::uint32_t units) {
    const std::vector<Segment> parts = used_by(zone);
    MemberMask used;
    for (const Segment& part : parts) {
        if (part.member.v >= members_.size()) return fail(Errc::corrupt);
        if (used[part.member.v] || !members_[part.member.v].is_free(part.index, units))
            return fail(Errc::corrupt, part.member.v);
        used.set(part.member.v);
    }
    take_parts(parts, units);
    if (const auto from = left_by(zone)) members_[from->v].leaving += units;
    return {};
}

void SegmentAllocator::take_parts(std::span<const Segment> parts, std::uint32_t units) {
    for (const Segment& part : parts) {
        members_[part.member.v].take(part.index, units);
        for (const Segment& other : parts) shared_[part.member.v][other.member.v] += units;
    }
}

std::uint64_t SegmentAllocator::shared(MemberIndex member, std::span<const MemberIndex> with) const {
    std::uint64_t sum = 0;
    for (const MemberIndex other : with) sum += shared_[member.v][other.v];
    return sum;
}

// Adds members of `from` with room for a segment to `chosen`, up to `most`.
void SegmentAllocator::pick(std::vector<MemberIndex>& chosen, ZoneSize size, std::size_t most,
                            ExtentIndex extent, MemberMask from) const {
    std::vector<MemberIndex> candidates;
    for (std::uint8_t i = 0; i < members_.size(); ++i) {
        if (from[i] && members_[i].fitting(size.units) > 0) candidates.push_back(MemberIndex(i));
    }
    while (chosen.size() < most && !candidates.empty()) {
        const auto next = std::ranges::min_element(candidates, {}, [&](MemberIndex m) {
            return std::tuple(~members_[m.v].fitting(size.units), shared(m, chosen),
                              turn(m, extent, members_.size()));
        });
        chosen.push_back(*next);
        candidates.erase(next);
    }
}

Result<Zone> SegmentAllocator::allocate(ZoneSize size, ExtentIndex extent, MemberMask usable,
                                        MemberMask reserve, Promise promised) {
    ASSERT(size.width >= 1 && size.width <= kMaxWidth && size.units >= 1);
    std::vector<MemberIndex> chosen;
    for (unsigned absent = 0; absent <= size.width; ++absent) {
        std::vector<MemberIndex> next;
        pick(next, size, size.width - absent, extent, usable);
        pick(next, size, size.width, extent, reserve & ~usable);
        if (next.size() < size.width) continue;
        MemberMask taken;
        for (const MemberIndex member : next) taken.set(member.v);
        const bool room = fits(promised, usable | reserve, taken, size.units);
        if (chosen.empty() || room) chosen = std::move(next);
        if (room) break;
    }
    if (chosen.empty()) return fail(Errc::no_space);
    // The order decides who holds P in row 0: by turns as well, whatever made the choice.
    std::ranges::sort(chosen, {}, [&](MemberIndex m) { return turn(m, extent, members_.size()); });
    Zone zone;
    zone.state = ZoneState::allocated;
    zone.width = static_cast<std::uint8_t>(size.width);
    for (std::size_t i = 0; i < size.width; ++i)
        zone.segments[i] = {chosen[i], *members_[chosen[i].v].first(size.units)};
    take_parts(zone.parts(), size.units);
    return zone;
}

void SegmentAllocator::release(const Zone& zone, std::uint32_t units) {
    const std::vector<Segment> parts = used_by(zone);
    for (const Segment& part : parts) {
        members_.at(part.member.v).release(part.index, units);
        for (const Segment& other : parts) shared_[part.member.v][other.member.v] -= units;
    }
    if (const auto from = left_by(zone)) members_[from->v].leaving -= units;
}

std::uint32_t SegmentAllocator::room(ZoneSize size, MemberMask members) const {
    std::vector<std::uint32_t> free;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        if (members[i]) free.push_back(members_[i].fitting(size.units));
    }
    return zone_capacity(free, size.width);
}

/// All of it finds its places when some members have given a segment of so many units away.
bool SegmentAllocator::fits(Promise promised, MemberMask usable, MemberMask taken_from,
                            std::uint32_t taken) const {
    if (promised.zones == 0) return true;
    std::vector<std::uint32_t> free;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        const Member& member = members_[i];
        const std::uint32_t units = promised.size.units;
        if (usable[i])
            free.push_back(taken_from[i] ? member.fitting_after(units, taken) : member.fitting(units));
    }
    return zone_capacity(free, promised.size.width) >= promised.zones;
}

MemberMask SegmentAllocator::with_spare(std::uint32_t units, MemberMask usable, Promise promised) const {
    MemberMask out;
    for (std::size_t i = 0; i < members_.size(); ++i) {
        out[i] =
            usable[i] && members_[i].fitting(units) > 0 && fits(promised, usable, MemberMask().set(i), units);
    }
    return out;
}

Result<Segment> SegmentAllocator::spare(const Zone& zone, std::uint32_t units, MemberMask from) const {
    std::vector<MemberIndex> chosen;
    for (const Segment& part : zone.parts()) chosen.push_back(part.member);
    const ZoneSize size{zone.width + 1u, units};
    pick(chosen, size, size.width, ExtentIndex(0), from & ~members_of(zone));
    if (chosen.size() < size.width) return fail(Errc::no_space);
    return Segment{chosen.back(), *members_[chosen.back().v].first(units)};
}

}  // namespace braid
