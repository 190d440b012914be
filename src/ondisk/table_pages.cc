#include "ondisk/table_pages.h"

#include <algorithm>

#include "ondisk/page_content.h"

namespace braid {
namespace {

constexpr std::size_t kStateMembers = 72;
constexpr std::size_t kStateMemberSize = 16;
constexpr std::size_t kStateJournals = kStateMembers + kMaxMembers * kStateMemberSize;
constexpr std::size_t kStateJournalSize = 34;
static_assert(kStateJournals == 1096 && kStateJournals + kMaxGroupAmfs * kStateJournalSize <= kPageSize);

constexpr std::size_t kStateSchedule = kStateJournals + kMaxGroupAmfs * kStateJournalSize;
constexpr std::size_t kStateJobs = kStateSchedule + 16;
constexpr std::size_t kStateReturns = kStateJobs + kJobRecords * kJobRecordSize;
constexpr std::size_t kReturnPointSize = 1 + kMaxGroupAmfs * 8;
static_assert(kStateSchedule == 1640 && kStateReturns == 3704 &&
              kStateReturns + kMaxReturnPoints * kReturnPointSize <= kPageSize);

constexpr std::size_t kIntentRegions = 72;
constexpr std::size_t kIntentOwner = kIntentRegions + kMaxIntentRegions * 4;
constexpr std::uint32_t kFormerRegion = 1u << 31;
static_assert(kIntentOwner == 4072 && kIntentOwner + 18 <= kPageSize);

constexpr std::size_t kVolumeRecordSize = 128;
constexpr std::size_t kVolumeUsed = 30 + kNameField;
static_assert(kVolumeUsed <= kVolumeRecordSize);
static_assert(kPageHeaderSize + kVolumesPerPage * kVolumeRecordSize <= kPageSize);

constexpr std::size_t kZoneEntrySize = 288;
constexpr std::size_t kSegmentSize = 5;
constexpr std::size_t kZoneMove = 8 + kMaxWidth * kSegmentSize;
constexpr std::size_t kZoneShape = kZoneMove + 10;
constexpr std::size_t kZoneSuccessor = 144;
static_assert(kZoneMove == 128 && kZoneShape + 3 <= kZoneSuccessor);
constexpr std::size_t kZoneQuarantine = kZoneSuccessor + 4 + kMaxWidth * kSegmentSize;
static_assert(kZoneQuarantine == 268 && kZoneQuarantine + 4 * Quarantine::kMaxRanges <= kZoneEntrySize);
static_assert(kPageHeaderSize + kZonesPerPage * kZoneEntrySize <= kPageSize);

bool is_valid(const JournalState& j) {
    if (!j.open()) return j.incarnation == Incarnation() && j.members.none() && j.filling.none();
    return j.life != 0 && j.whole().any() && (j.filling & ~j.members).none();
}

/// Bit i: member i.
static_assert(kMaxMembers == 64);
void put_mask(FieldWriter& out, MemberMask mask) { out.put(std::uint64_t{mask.to_ullong()}); }
MemberMask get_mask(Reader& in) { return MemberMask(in.get<std::uint64_t>()); }

// Ports of the group's controllers, and those of controllers outside, stand apart.
static_assert(kMaxControllers == 16 && kMaxControllers + kMaxOutside == 32);
std::uint16_t low_half(std::uint32_t slots) { return static_cast<std::uint16_t>(slots & 0xffff); }

bool is_valid(const VolumeRecord& v) {
    if (v.state == VolumeState::free) return v == VolumeRecord{};
    return v.state <= VolumeState::deleting && valid_name(v.name) && v.size <= v.extents * kExtentSize &&
           std::uint64_t{v.first_extent.v} + v.extents <= UINT32_MAX && (v.closing & ~v.ports) == 0;
}

void put_segments(FieldWriter& out, std::span<const Segment> segments) {
    for (const Segment& part : segments) {
        out.put(part.member);
        out.put(part.index);
    }
}

Segment get_segment(Reader& in) {
    const auto member = in.get<MemberIndex>();
    return {member, in.get<SegmentIndex>()};
}

/// On members of their own, which are noted.
bool differ(std::span<const Segment> segments, MemberMask& members) {
    for (const Segment& part : segments) {
        if (part.member.v >= kMaxMembers || members[part.member.v]) return false;
        members.set(part.member.v);
    }
    return true;
}

bool is_valid(const Successor& s) {
    MemberMask members;
    if (!s) return s == Successor{};
    return s.shape.check() && s.segments.size() == s.shape.width() && differ(s.segments, members);
}

bool is_valid(const std::vector<ReturnPoint>& returns, const std::vector<MemberStatus>& members) {
    MemberMask seen;
    for (const auto& [member, shrunk] : returns) {
        const bool failed = member.v < members.size() && members[member.v].state == MemberState::failed;
        if (!failed || seen[member.v]) return false;
        seen.set(member.v);
    }
    return returns.size() <= kMaxReturnPoints;
}

bool is_valid(const Zone& zone) {
    if (zone.state > ZoneState::emptying) return false;
    const bool without = zone.shape == StripeShape{} && !zone.allocated();
    if (!without && !zone.shape.check()) return false;
    if (!zone.allocated())
        return zone.width == 0 && zone.missed == 0 && !zone.move && zone.successor == Successor{} &&
               !zone.quarantine.any();
    MemberMask members;
    if (zone.width != zone.shape.width() || !differ(zone.parts(), members)) return false;
    if (!is_valid(zone.successor) || (zone.successor && zone.successor.shape == zone.shape)) return false;
    if (!zone.move) return true;
    if (zone.successor) return false;
    const ZoneMove& move = *zone.move;
    return move.position.v < zone.width && move.target.member.v < kMaxMembers &&
           (!members[move.target.member.v] || zone.moves_in_place());
}

}  // namespace

bool valid_name(std::string_view name, std::size_t limit) {
    const auto is_letter_or_digit = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    if (name.empty() || name.size() > limit || name[0] == '.' || name[0] == '-') return false;
    return std::ranges::all_of(
        name, [&](char c) { return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

std::string_view to_string(MemberState state) {
    switch (state) {
        case MemberState::ok:
            return "ok";
        case MemberState::failed:
            return "failed";
        case MemberState::leaving:
            return "leaving";
        case MemberState::gone:
            return "gone";
        case MemberState::dismissed:
            return "dismissed";
    }
    return "unknown";
}

void GroupState::encode(PageBytes page) const {
    ASSERT(members.size() <= kMaxMembers);
    FieldWriter out = content_writer(page);
    out.put(static_cast<std::uint16_t>(members.size()));
    out.put(static_cast<std::uint8_t>(clean ? 1 : 0));
    out.put(static_cast<std::uint8_t>(balancing ? 1 : 0));
    out.pad_to(in_content(kStateMembers));
    for (const MemberStatus& member : members) {
        out.put(static_cast<std::uint8_t>(member.state));
        out.zeros(3);
        out.put(member.errors);
        out.put(member.changed);
    }
    out.pad_to(in_content(kStateJournals));
    for (const JournalState& journal : journals) {
        ASSERT(is_valid(journal));
        out.put(journal.life);
        out.put(journal.incarnation);
        out.put(journal.owner);
        put_mask(out, journal.members);
        put_mask(out, journal.filling);
    }
    ASSERT(schedule.is_valid());
    out.put(schedule.every);
    out.put(schedule.age);
    out.put(schedule.begun);
    out.zeros(4);
    for (const JobRecord& job : jobs) {
        ASSERT(!job.active() || active(job.kind) == &job);
        job.encode(out);
    }
    ASSERT(is_valid(returns, members));
    for (const ReturnPoint& point : returns) {
        out.put(static_cast<std::uint8_t>(point.member.v + 1));
        for (const std::uint64_t shrunk : point.shrunk) out.put(shrunk);
    }
    out.finish();
}

Result<GroupState> GroupState::decode(ConstPageBytes page) {
    Reader in = content_reader(page);
    GroupState state;
    const auto members = in.get<std::uint16_t>();
    const auto clean = in.get<std::uint8_t>();
    const auto balancing = in.get<std::uint8_t>();
    if (members > kMaxMembers || clean > 1 || balancing > 1) return fail(Errc::corrupt);
    state.clean = clean == 1;
    state.balancing = balancing == 1;
    in = Reader(page.subspan(kStateMembers));
    for (unsigned i = 0; i < members; ++i) {
        const auto member_state = in.get<std::uint8_t>();
        if (member_state > static_cast<std::uint8_t>(MemberState::dismissed)) return fail(Errc::corrupt, i);
        in.raw(3);
        const auto errors = in.get<std::uint32_t>();
        state.members.push_back({static_cast<MemberState>(member_state), in.get<Epoch>(), errors});
    }
    if (!in.ok()) return fail(Errc::corrupt);
    in = Reader(page.subspan(kStateJournals));
    for (JournalState& journal : state.journals) {
        journal.life = in.get<std::uint64_t>();
        journal.incarnation = in.get<Incarnation>();
        journal.owner = in.get<AmfId>();
        journal.members = get_mask(in);
        journal.filling = get_mask(in);
        if (!is_valid(journal)) return fail(Errc::corrupt);
    }
    state.schedule.every = in.get<std::uint32_t>();
    state.schedule.age = in.get<std::uint32_t>();
    state.schedule.begun = in.get<std::uint32_t>();
    in.raw(4);
    if (!state.schedule.is_valid()) return fail(Errc::corrupt);
    for (JobRecord& job : state.jobs) {
        TRY_LET(job, JobRecord::decode(in));
        if (!job.active()) continue;
        if (state.active(job.kind) != &job) return fail(Errc::corrupt);  // the first one that goes on
    }
    for (std::size_t i = 0; i < kMaxReturnPoints; ++i) {
        const auto member = in.get<std::uint8_t>();
        if (member == 0) break;
        ReturnPoint& point = state.returns.emplace_back(MemberIndex(static_cast<std::uint8_t>(member - 1)));
        for (std::uint64_t& shrunk : point.shrunk) shrunk = in.get<std::uint64_t>();
    }
    if (!in.ok() || !is_valid(state.returns, state.members)) return fail(Errc::corrupt);
    return state;
}

const JobRecord* GroupState::job(std::uint32_t id) const {
    const auto at = std::ranges::find(jobs, id, &JobRecord::id);
    return id == 0 || at == jobs.end() ? nullptr : &*at;
}

const JobRecord* GroupState::active(JobKind kind) const {
    const auto is = [kind](const JobRecord& job) { return job.active() && job.kind == kind; };
    const auto at = std::ranges::find_if(jobs, is);
    return at == jobs.end() ? nullptr : &*at;
}

void Intent::encode(PageBytes page) const {
    ASSERT(regions.size() <= kMaxIntentRegions);
    FieldWriter out = content_writer(page);
    out.put(static_cast<std::uint32_t>(regions.size()));
    out.pad_to(in_content(kIntentRegions));
    for (std::size_t i = 0; i < regions.size(); ++i) {
        ASSERT(i == 0 || regions[i - 1] < regions[i]);
        ASSERT(regions[i].v < kFormerRegion);
        out.put(regions[i].v | (former.contains(regions[i]) ? kFormerRegion : 0));
    }
    out.pad_to(in_content(kIntentOwner));
    out.put(incarnation);
    out.put(owner);
    out.put(shrunk);
    out.finish();
}

Result<Intent> Intent::decode(ConstPageBytes page) {
    Reader in = content_reader(page);
    const auto count = in.get<std::uint32_t>();
    if (count > kMaxIntentRegions) return fail(Errc::corrupt);
    in = Reader(page.subspan(kIntentRegions));
    Intent intent;
    for (std::uint32_t i = 0; i < count; ++i) {
        const auto entry = in.get<std::uint32_t>();
        const RegionIndex region(entry & ~kFormerRegion);
        if (i > 0 && region <= intent.regions.back()) return fail(Errc::corrupt);
        intent.regions.push_back(region);
        if (entry != region.v) intent.former.insert(region);
    }
    in = Reader(page.subspan(kIntentOwner));
    intent.incarnation = in.get<Incarnation>();
    intent.owner = in.get<AmfId>();
    intent.shrunk = in.get<std::uint64_t>();
    if (!in.ok()) return fail(Errc::corrupt);
    return intent;
}

void VolumesPage::encode(PageBytes page) const {
    FieldWriter out = content_writer(page);
    for (const VolumeRecord& volume : records) {
        ASSERT(is_valid(volume));
        const std::size_t begin = out.written();
        out.put(volume.id);
        out.put(static_cast<std::uint8_t>(volume.state));
        out.zeros(1);
        out.put(low_half(volume.ports));
        out.put(volume.first_extent);
        out.put(volume.extents);
        out.put(volume.size);
        out.name(volume.name, kNameField);
        out.put(low_half(volume.closing));
        out.put(low_half(volume.ports >> kMaxControllers));
        out.put(low_half(volume.closing >> kMaxControllers));
        out.pad_to(begin + kVolumeRecordSize);
    }
    out.finish();
}

Result<VolumesPage> VolumesPage::decode(ConstPageBytes page) {
    Reader in = content_reader(page);
    VolumesPage volumes;
    for (VolumeRecord& volume : volumes.records) {
        volume.id = in.get<VolumeId>();
        volume.state = static_cast<VolumeState>(in.get<std::uint8_t>());
        in.raw(1);
        volume.ports = in.get<std::uint16_t>();
        volume.first_extent = in.get<ExtentIndex>();
        volume.extents = in.get<std::uint32_t>();
        volume.size = in.get<std::uint64_t>();
        volume.name = read_name(in, kNameField);
        volume.closing = in.get<std::uint16_t>();
        volume.ports |= std::uint32_t{in.get<std::uint16_t>()} << kMaxControllers;
        volume.closing |= std::uint32_t{in.get<std::uint16_t>()} << kMaxControllers;
        in.raw(kVolumeRecordSize - kVolumeUsed);
        if (!in.ok() || !is_valid(volume)) return fail(Errc::corrupt);
    }
    return volumes;
}

void MapPage::encode(PageBytes page) const {
    FieldWriter out = content_writer(page);
    for (const Zone& zone : zones) {
        ASSERT(is_valid(zone));
        const std::size_t begin = out.written();
        out.put(static_cast<std::uint8_t>(zone.state));
        out.put(zone.width);
        out.put(zone.missed);
        out.put(zone.generation);
        put_segments(out, zone.parts());
        out.pad_to(begin + kZoneMove);
        if (zone.move) {
            out.put(static_cast<std::uint8_t>(zone.move->position.v + 1));
            out.put(zone.move->target.member);
            out.put(zone.move->target.index);
            out.put(zone.move->rows_done);
        }
        out.pad_to(begin + kZoneShape);
        put_shape(out, zone.shape);
        out.pad_to(begin + kZoneSuccessor);
        if (zone.successor) {
            put_shape(out, zone.successor.shape);
            out.zeros(1);
            put_segments(out, zone.successor.segments);
        }
        out.pad_to(begin + kZoneQuarantine);
        for (const RowRange& range : zone.quarantine.ranges()) {
            out.put(range.first);
            out.put(range.count);
        }
        out.pad_to(begin + kZoneEntrySize);
    }
    out.finish();
}

Result<MapPage> MapPage::decode(ConstPageBytes page) {
    Reader in = content_reader(page);
    MapPage map;
    for (std::size_t i = 0; i < map.zones.size(); ++i) {
        Zone& zone = map.zones[i];
        in = Reader(page.subspan(kPageHeaderSize + i * kZoneEntrySize, kZoneEntrySize));
        zone.state = static_cast<ZoneState>(in.get<std::uint8_t>());
        zone.width = in.get<std::uint8_t>();
        zone.missed = in.get<std::uint16_t>();
        zone.generation = in.get<std::uint32_t>();
        if (zone.width > kMaxWidth) return fail(Errc::corrupt);
        for (std::size_t part = 0; part < zone.width; ++part) zone.segments[part] = get_segment(in);
        in = Reader(page.subspan(kPageHeaderSize + i * kZoneEntrySize + kZoneMove));
        if (const auto position = in.get<std::uint8_t>(); position != 0) {
            const Segment target = get_segment(in);
            zone.move = {ZonePosition(static_cast<std::uint8_t>(position - 1)), target,
                         in.get<std::uint32_t>()};
        }
        Reader shape(page.subspan(kPageHeaderSize + i * kZoneEntrySize + kZoneShape, 3));
        zone.shape = get_shape(shape);
        Reader next(page.subspan(kPageHeaderSize + i * kZoneEntrySize + kZoneSuccessor));
        if (zone.successor.shape = get_shape(next); zone.successor.shape) {
            if (!zone.successor.shape.check()) return fail(Errc::corrupt);
            next.raw(1);
            for (unsigned part = 0; part < zone.successor.shape.width(); ++part)
                zone.successor.segments.push_back(get_segment(next));
        }
        Reader rows(page.subspan(kPageHeaderSize + i * kZoneEntrySize + kZoneQuarantine));
        std::array<RowRange, Quarantine::kMaxRanges> ranges;
        for (RowRange& range : ranges) {
            range.first = rows.get<std::uint16_t>();
            range.count = rows.get<std::uint16_t>();
        }
        const auto quarantine = Quarantine::of(ranges);
        if (!quarantine) return fail(Errc::corrupt);
        zone.quarantine = *quarantine;
        if (!in.ok() || !is_valid(zone)) return fail(Errc::corrupt);
    }
    return map;
}

}  // namespace braid
