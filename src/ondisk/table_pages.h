// What the table pages say, as structs. encode() fills the content part of a page (then seal_page() it);
// decode() reads the content of a page that open_page() accepted, and refuses with `corrupt` whatever the
// encoder could not have written. Encoders ASSERT the stated bounds: what comes from a user is checked before
// it gets here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "layout/geometry.h"
#include "layout/sharing.h"
#include "layout/zone.h"
#include "ondisk/job_record.h"
#include "ondisk/page.h"

namespace braid {

constexpr std::size_t kMaxNameLength = 63;  ///< of groups and virtual disks
constexpr std::size_t kMaxControllerNameLength = 31;
constexpr unsigned kMaxDimension = 8;  ///< replication dimension N

/// Letters, digits, '.', '_', '-', not beginning with '.' or '-', 1 .. limit bytes: for groups, virtual disks
/// and controllers alike.
bool valid_name(std::string_view name, std::size_t limit = kMaxNameLength);

/// "host:LABEL" or "site:LABEL".
bool valid_place(std::string_view text);

struct MemberRecord {
    Uuid disk;
    std::uint32_t units = 0;  ///< of its data area
    friend bool operator==(const MemberRecord&, const MemberRecord&) = default;
};

/// Where the AMFs of a group write down what they are about to do, so that no loss of power leaves a stripe
/// half-written: a ring for each AMF slot, before the data area, at the same place on every member; each ring
/// is used on m + 1 of them (JournalState). The numbers in the page are as here.
struct JournalConfig {
    std::uint64_t ring_size = 0;  ///< bytes, whole blocks; 0: the group has no journal
    std::uint64_t key = 0;        ///< random; told to nobody outside
    friend bool operator==(const JournalConfig&, const JournalConfig&) = default;
};
constexpr std::uint64_t kMaxRingSize = 1ull << 30;

/// Page 0: what the group is. Changed by operators only.
struct GroupConfig {
    std::string name;
    Geometry geometry;   ///< of the shape that extents had when the group was made
    StripeShape wanted;  ///< that all extents are to have
    /// So many members may be away, and what they held still finds room on the others: virtual disks get no
    /// more. As many as there are beside the width, at most.
    std::uint8_t spares = 0;
    SharingOptions sharing;
    JournalConfig journal;
    std::uint8_t dimension = 2;    ///< 1 .. 8: copies of an update record, the writer's included
    std::uint64_t created = 0;     ///< seconds since 1970, for people; nothing is decided by it
    std::uint64_t data_start = 0;  ///< the same on every member
    std::uint32_t page_count = 0;
    std::uint32_t extents = 0;             ///< of the logical space
    std::vector<std::string> controllers;  ///< by slot, at most 16; an empty name is a free slot
    /// Names of controllers outside of the group that have, or had, ports of it: of slot 16 and those that
    /// follow, at most 16; a name is replaced when no volume has a port there.
    std::vector<std::string> outside;
    std::vector<MemberRecord> members;  ///< by MemberIndex, geometry.width() .. 64

    /// Empty for a slot that nobody has.
    const std::string& name_of(ControllerSlot slot) const;
    /// That an operator has named for this controller: names, then places.
    std::vector<std::string> partners_of(ControllerSlot slot) const;
    std::optional<ControllerSlot> slot_of(std::string_view controller) const;

    Geometry geometry_of(StripeShape shape) const {
        return shape == geometry.shape() ? geometry : geometry.of(shape);
    }
    /// That a zone may need, whichever shape its extent has.
    ZoneSize zone_size() const {
        const ZoneSize one = geometry.zone_size(), other = geometry_of(wanted).zone_size();
        return {std::max(one.width, other.width), std::max(one.units, other.units)};
    }
    /// The shape works for this group: it has so many members, and its largest write finds room in a ring.
    bool can_have(StripeShape shape) const {
        const Geometry g = geometry_of(shape);
        return shape.check() && shape.width() <= members.size() &&
               (!has_journal() ||
                g.stripe_size() + g.m * std::uint64_t{g.strip_size} <= journal.ring_size / 2);
    }
    /// Members that may fail at once are at most so many.
    unsigned most_parity() const { return std::max(geometry.m, wanted.m); }
    /// With fewer members nothing goes.
    unsigned least_data() const { return std::min(geometry.k, wanted.k); }

    std::uint64_t logical_size() const { return extents * kExtentSize; }
    /// That the map has room for.
    std::uint32_t most_extents() const { return (page_count - kFirstMapPage.v) * kZonesPerPage; }
    bool has_journal() const { return journal.ring_size != 0; }
    unsigned amf_slots() const { return static_cast<unsigned>(controllers.size()) * sharing.amfs; }
    /// Where the ring of a slot begins on each member that has it.
    std::uint64_t ring_start(AmfSlot slot) const {
        return data_start - (amf_slots() - slot.v) * journal.ring_size;
    }

    friend bool operator==(const GroupConfig&, const GroupConfig&) = default;
    /// Only what a SharingChange can change is other, the wanted shape, the spares, who outside has slots,
    /// and members and extents may have come.
    bool may_become(GroupConfig next) const;
    void encode(PageBytes page) const;
    static Result<GroupConfig> decode(ConstPageBytes page);
};

/// The numbers are those on the disk.
enum class MemberState : std::uint8_t {
    ok = 0,
    failed = 1,     ///< whatever its disk says later, until it is taken back
    leaving = 2,    ///< gets no new segments; those that it has move to others
    gone = 3,       ///< has left, with nothing on it, or has never been there; a new disk may take its place
    dismissed = 4,  ///< failed, and gone as soon as nothing is on it
};
constexpr std::size_t kMemberStates = 5;
std::string_view to_string(MemberState state);
/// Its disk is read and written.
constexpr bool serves(MemberState state) { return state == MemberState::ok || state == MemberState::leaving; }

struct MemberStatus {
    MemberState state = MemberState::ok;
    Epoch changed;             ///< the view that set the state
    std::uint32_t errors = 0;  ///< since the group was created, does not wrap
    friend bool operator==(const MemberStatus&, const MemberStatus&) = default;
};

/// The ring of an AMF slot. Batches count only if they are of this life; a closed ring holds nothing that
/// anybody needs.
struct JournalState {
    std::uint64_t life = 0;   ///< one more each time that the ring is opened
    AmfId owner;              ///< 0: closed
    Incarnation incarnation;  ///< of the owner
    MemberMask members;       ///< what is written goes to all of these
    MemberMask filling;       ///< of them, those that lack what was written before they were chosen
    bool open() const { return owner != AmfId(); }
    JournalState closed() const {
        JournalState out;
        out.life = life;
        return out;
    }
    /// Each has all that is needed.
    MemberMask whole() const { return members & ~filling; }
    friend bool operator==(const JournalState&, const JournalState&) = default;
};

/// What the disk of a member that has failed must at least have of the intent pages to be taken back: what a
/// region had that has left one before is on it, then (tables/returns.cc).
struct ReturnPoint {
    MemberIndex member;
    std::array<std::uint64_t, kMaxGroupAmfs> shrunk{};  ///< by AmfSlot: Intent::shrunk
    friend bool operator==(const ReturnPoint&, const ReturnPoint&) = default;
};
constexpr std::size_t kMaxReturnPoints = 3;

/// Page 1: how the group is.
struct GroupState {
    std::vector<MemberStatus> members;  ///< by MemberIndex, at most 64
    bool clean = false;                 ///< stopped in order: no stripe can be half-written
    bool balancing = false;             ///< segments move until all members are as full as the others
    std::array<JournalState, kMaxGroupAmfs> journals;  ///< by AmfSlot
    ScrubSchedule schedule;
    std::array<JobRecord, kJobRecords> jobs;  ///< in no order
    std::vector<ReturnPoint> returns;         ///< of failed members, each once, the latest last

    /// Null if there is none.
    const JobRecord* job(std::uint32_t id) const;
    /// The one that goes on; of each kind there is one at most.
    const JobRecord* active(JobKind kind) const;
    friend bool operator==(const GroupState&, const GroupState&) = default;
    void encode(PageBytes page) const;
    static Result<GroupState> decode(ConstPageBytes page);
};

/// 4 MiB of the logical space.
using RegionIndex = Strong<struct RegionIndexTag, std::uint32_t>;
constexpr std::uint64_t kRegionSize = 4ull << 20;
constexpr std::size_t kMaxIntentRegions = 1000;
constexpr RegionIndex region_of(std::uint64_t logical_offset) {
    return RegionIndex(static_cast<std::uint32_t>(logical_offset / kRegionSize));
}

/// Pages 2 .. 17, one per AMF slot: where that AMF may have left half-written stripes.
struct Intent {
    std::vector<RegionIndex> regions;  ///< ascending, each once, at most kMaxIntentRegions
    std::set<RegionIndex> former;  ///< of these, what an earlier life of the slot left: nobody works there
                                   ///< under a record
    AmfId owner;                   ///< who says so
    Incarnation incarnation;
    std::uint64_t shrunk = 0;  ///< sequence of the newest page that has dropped regions; their members had
                               ///< been flushed before

    friend bool operator==(const Intent&, const Intent&) = default;
    void encode(PageBytes page) const;
    static Result<Intent> decode(ConstPageBytes page);
};

enum class VolumeState : std::uint8_t { free = 0, ok = 1, deleting = 2 };

struct VolumeRecord {
    VolumeState state = VolumeState::free;
    VolumeId id;
    std::string name;  ///< empty only if free
    ExtentIndex first_extent;
    std::uint32_t extents = 0;
    std::uint64_t size = 0;   ///< bytes, at most extents * 64 MiB
    std::uint32_t ports = 0;  ///< bit = ControllerSlot that has a port
    std::uint32_t closing =
        0;  ///< of these, the ports that their controllers are draining; a subset of ports
    bool has_port(ControllerSlot slot) const { return (ports >> slot.v & 1) != 0; }
    bool closes_port(ControllerSlot slot) const { return (closing >> slot.v & 1) != 0; }
    friend bool operator==(const VolumeRecord&, const VolumeRecord&) = default;
};

/// Pages 18 .. 33.
struct VolumesPage {
    std::array<VolumeRecord, kVolumesPerPage> records;

    friend bool operator==(const VolumesPage&, const VolumesPage&) = default;
    void encode(PageBytes page) const;
    static Result<VolumesPage> decode(ConstPageBytes page);
};

/// Pages 34 ..: the zone of extent e is entry e % 14 of page 34 + e / 14. An entry without a shape has no
/// zone, and the shape that extents had when the group was made.
struct MapPage {
    std::array<Zone, kZonesPerPage> zones;

    friend bool operator==(const MapPage&, const MapPage&) = default;
    void encode(PageBytes page) const;
    static Result<MapPage> decode(ConstPageBytes page);
};

/// Encodes and seals.
template <class Content>
void write_page(PageBytes bytes, const Content& content, const PageHeader& header) {
    content.encode(bytes);
    seal_page(bytes, header);
}

}  // namespace braid
