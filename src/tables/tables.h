// The tables of one group as one AMF has them: configuration, member states, virtual disks, map (row M2).
// They are a resource of the group: every AMF has all of it in memory, it stands on every member, and it
// changes only under the tables lock, one page at a time:
//
//   holder: lock -> new page to all ok members, flushed -> table_update to every AMF of the view -> all
//   table_ack -> table_agreed -> unlock
//
// so between two changes all AMFs agree, and during one they differ by at most that one: until it is `agreed`
// what an AMF did by the new page must not be visible to the others. A change has a
// version number; at every adopted view each AMF tells its version to all (table_version) and those that have
// the last change send it to those that lack it. Until all versions of the view are in and equal the tables
// are not `settled`.
//
//   state of an AMF     enters by                       leaves by
//   unloaded            start                           load(): from a loaded AMF, or from the disks if there
//   is none loaded, unsettled   adopt(view)                     all table_version in, own version the highest
//   -> settled loaded, settled     see above                       adopt(view)
//
// Needs from its caller: zones and member states are looked up only while holding a lock and settled() (a
// lock that was granted in this epoch proves nothing about tables otherwise). Never takes a stripe lock.
//
// Intents: which 4 MiB regions may hold half-written stripes of this AMF. The page of an AMF's slot
// is written by its owner alone, outside the lock; bits are cleared lazily.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "icl/message.h"
#include "icl/view.h"
#include "io/clock.h"
#include "io/disk.h"
#include "layout/zone.h"
#include "lock/lock_manager.h"
#include "ondisk/superblock.h"
#include "ondisk/table_pages.h"
#include "tables/change_turn.h"
#include "tables/group_change.h"
#include "tables/replayed.h"
#include "tables/zone_uses.h"

namespace braid {

/// Of a job; `unit`: the bytes of one.
struct JobSize {
    std::uint64_t unit = 1, done_bytes = 0, total_bytes = 0;
};

/// Of the extent's, bit i: the i-th is one of these.
std::uint16_t regions_in(ExtentIndex extent, const std::set<RegionIndex>& regions);

class Tables {
public:
    /// `disks` by member, null where the disk is not there, and which disks these are. `slot` is this AMF's
    /// place in the group. `table_start` is the superblocks'.
    Tables(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
           std::uint64_t table_start, std::vector<Disk*> disks, std::vector<Uuid> disk_ids, AmfSlot slot);
    ~Tables();

    /// Before anything else; `locks` outlives the tables. They are stopped when the tables go offline.
    void use_locks(LockManager& locks) { locks_ = &locks; }

    // ---- assembly
    /// Fills the tables; the view with this AMF in it has been adopted. offline: too few members are there to
    /// know the newest tables. After it, former_intents() says what this slot left behind in an earlier life.
    Task<Status> load();
    /// No disk command of these tables is in flight when it returns, and none comes. The locks are stopped.
    Task<void> stop();
    bool loaded() const { return loaded_; }

    // ---- what they say (loaded)
    const GroupConfig& config() const { return config_; }
    /// Of the shape that extents had at first; what it says of strips, and of the numbers of stripes, is true
    /// of all shapes.
    const Geometry& geometry() const { return config_.geometry; }
    /// Of the extent's shape.
    Geometry geometry_of(ExtentIndex extent) const { return config_.geometry_of(shape_of(extent)); }
    Geometry geometry_of(StripeIndex stripe) const { return geometry_of(geometry().extent_of(stripe)); }
    StripeShape shape_of(ExtentIndex extent) const {
        return extent.v < zones_.size() ? zones_[extent.v].shape : config_.geometry.shape();
    }
    const Uuid& group() const { return group_; }
    AmfSlot slot() const { return slot_; }
    bool settled() const { return settled_.is_set(); }  ///< all versions of the view are in and equal
    Event& settled_event() { return settled_; }
    /// All AMFs of the view have everything that is applied here. A write that went by tables that others may
    /// lack keeps its lock until then.
    bool agreed() const { return agreed_.is_set(); }
    Event& agreed_event() { return agreed_; }
    Task<void> settled_and_agreed();  ///< what was answered anywhere before is known here then
    /// Null: it has none. The pointer stays valid; what it points to changes only with the zone.
    const Zone* zone(ExtentIndex extent) const;
    /// Grows with each change of its zone.
    std::uint64_t map_sequence(ExtentIndex extent) const { return sequences_[map_page(extent).v]; }
    /// It is about to lose its zone, or was when somebody died: release_zone(), keep_zone().
    bool emptying(ExtentIndex extent) const { return zones_[extent.v].emptying(); }
    /// The bytes of an extent that a virtual disk can reach, from its beginning on.
    std::uint64_t bytes_in_use(ExtentIndex extent) const;
    /// Not failed by agreement, and its disk is here.
    bool member_ok(MemberIndex member) const {
        return member.v < disks_.size() && disks_[member.v] != nullptr &&
               serves(state_.members[member.v].state);
    }
    /// A volume may be deleted under what works on its zones for no port (recovery, repair, resync): it works
    /// on a copy of the zone, and sends commands only while it is still_there().
    bool still_there(ExtentIndex extent, const Zone& zone) const {
        return zones_[extent.v].allocated() && zones_[extent.v].generation == zone.generation;
    }
    /// Commands by the place of a zone are sent by what it is at that moment, and noted here while they are
    /// under way: its segments are not given to another extent before they have ended.
    ZoneUses& zone_uses() { return zone_uses_; }
    const GroupState& state() const { return state_; }
    Disk* disk(MemberIndex member) const { return disks_[member.v]; }
    unsigned failed_members() const;
    /// Zones lack parts.
    bool any_missing() const { return missing_parts_ != 0; }
    /// Of its parts that a zone can still lose, of the zone that can lose fewest; `most` if there are none.
    unsigned least_redundancy(unsigned most) const;
    /// More is gone than the level survives, for all or for us alone: nothing may be read or written.
    bool offline() const { return lost_quorum_ || beyond_; }
    /// Would be false if these were gone, too.
    bool survives(MemberMask failing) const;
    /// Says so: too few members are reached from here, or another AMF of this controller has found that.
    void go_offline();
    std::vector<VolumeRecord> volumes() const;
    /// Null if there is none; valid until the next change.
    const VolumeRecord* volume(VolumeId id) const;
    /// That virtual disks can have, with the members that have not left and do not.
    std::uint32_t usable_extents() const;
    /// Zones of so many segments that these members hold, whichever `spares` of them are away.
    std::uint32_t zones_on(MemberMask members, unsigned width, unsigned spares = 0) const;
    /// Of the configured spares, how many more members may be lost for which there is room.
    unsigned spares_left() const;
    /// There are members enough for so many, and virtual disks can have what they may need.
    bool can_spare(unsigned spares, StripeShape wanted) const;
    /// Zones that virtual disks may still need.
    std::uint32_t promised_zones() const;
    std::uint64_t allocated_extents() const { return allocated_extents_; }
    /// Who loads the tables from the disks, and so is alone with them, does this before anybody can have
    /// them: makes the stripes right that the open journals speak of; is called again as long as there are
    /// any. Set once.
    void on_assembled(std::function<Task<Result<Replayed>>()> replay) { replay_ = std::move(replay); }
    /// Opens the disk of this id, which has become this member; null if it is not reached from here. The disk
    /// stays open as long as these tables are there. Set once.
    void on_member(std::function<Task<Disk*>(MemberIndex, Uuid)> open) { open_member_ = std::move(open); }
    /// Called after every change that this AMF applied, own or another's. Set once.
    void on_change(std::function<void()> listener) { listener_ = std::move(listener); }
    /// Called when these tables have become settled. Set once.
    void on_settled(std::function<void()> listener) { settled_listener_ = std::move(listener); }

    // ---- changes; each takes the tables lock itself and returns when all AMFs of the view have it
    /// The zone of `extent`, zeroed and mapped if there was none. no_space, offline.
    Task<Result<const Zone*>> allocate_zone(ExtentIndex extent);
    /// The extent loses its zone, and what is in it. The caller has all of it locked for writing, everywhere;
    /// fenced, and nothing is changed, if `still` says that it has not any more.
    Task<Status> release_zone(ExtentIndex extent, std::function<bool()> still);
    /// Who was at that is gone, and had not come to its end: the zone stays, with what is in it.
    Task<Status> keep_zone(ExtentIndex extent);
    /// The stripes of an extent without a zone have this shape from now on. The caller has all of it locked
    /// for writing, as it is and as it will be; fenced, and nothing is changed, if `still` says that it has
    /// not any more. busy: it has a zone; invalid: it does not work for this group.
    Task<Status> set_shape(ExtentIndex extent, StripeShape shape, std::function<bool()> still);
    /// A place for the content of an extent with a zone, cut by this shape; what it had of the kind before is
    /// given up. The zone as it is then. not_found: it has no zone; exists: it has that shape; busy:
    /// something else comes first; no_space.
    Task<Result<Zone>> reserve_successor(ExtentIndex extent, StripeShape shape);
    Task<Status> drop_successor(ExtentIndex extent);
    /// All is there, and flushed: the successor of `from` is the extent's zone from now on. The caller has
    /// all of the extent locked for writing, as it is and as it will be; fenced, and nothing is changed, if
    /// `still` says that it has not any more. busy: the zone is not as `from` any more, or not all of its
    /// successor's members are there.
    Task<Status> succeed(ExtentIndex extent, Zone from, std::function<bool()> still);
    /// This stripe of the zone of that generation has lost something for good: it answers with errors.
    bool quarantined(StripeIndex stripe, std::uint32_t generation) const;
    /// Says so for as long as the extent has that zone, and lasts; does nothing if it has it no more.
    Task<Status> quarantine(StripeIndex stripe, std::uint32_t generation);
    std::size_t quarantined_stripes() const;
    /// All of it, or nothing: invalid, or no_space, if the shape is not for this group (why_not()).
    Task<Status> set(GroupChange change);
    /// Why extents cannot have this shape, when these disks have come.
    Obstacle why_not(StripeShape shape, const Units& coming = {},
                     std::optional<std::uint8_t> spares = {}) const;
    /// Extents that have another shape than is wanted.
    std::uint32_t extents_of_other_shapes() const { return other_shapes_; }

    // Members (members.cc).
    /// The places of the next disks that come. no_space: there are not as many.
    Result<std::vector<MemberIndex>> places_for(std::size_t disks) const;
    /// Takes disks, which nobody else uses and whose content is nobody's, into the group: all, or none.
    /// `instead`: it is taken out in the same change. invalid: one has no room for a segment; no_space: the
    /// group has all the members that it can have; not_ready, with an AMF that does not reach one: nothing
    /// but the disks is changed; else as take_out().
    Task<Result<std::vector<MemberIndex>>> admit(std::vector<Newcomer> disks,
                                                 std::optional<MemberIndex> instead = {});
    /// Regions that a member has a part of, and of these the ones perhaps written without it (returns.cc).
    struct Return {
        MemberIndex member;
        std::uint32_t regions = 0, missed = 0;
    };
    /// Of a failed member's disk. not_found: it is none; refused: it may lack what it had; busy: retry.
    Task<Result<Return>> may_return(Disk& disk, Superblock superblock);
    /// It is ok again; the mover copies what it has missed. `id`: a new one. Else as may_return(), admit().
    Task<Result<MemberIndex>> take_back(Disk& disk, Superblock superblock, Uuid id);
    /// From now on virtual disks can have as many extents as fit on the members, and all that stands on some
    /// is spread over all. exists: they could before, and it is.
    Task<Status> expand();
    /// That there would be, with another shape, when these disks have come.
    std::uint32_t extents_if_expanded(StripeShape wanted, const Units& coming = {}) const;
    std::uint32_t extents_if_expanded() const { return extents_if_expanded(config_.wanted); }
    /// From now on the member goes: it leaves, or, if it has failed, is dismissed, and is gone when all that
    /// it has, or had, stands elsewhere. would_lose_data: it cannot leave (why_stays()). not_found.
    Task<Status> take_out(MemberIndex member);
    /// Why a member that is ok cannot leave, when these disks have come.
    Obstacle why_stays(MemberIndex member, const Units& coming = {}) const;
    /// Declares a member failed by agreement of the view. offline, and the member stays as it is, if the
    /// level does not survive that: nothing more is written then.
    /// `certain`: an operator says so. Else offline as well if others reach it and we do not (reach.cc).
    Task<Status> fail_member(MemberIndex member, bool certain = false);
    /// exists, no_space.
    Task<Result<VolumeRecord>> create_volume(std::string name, std::uint64_t size);
    /// Two steps: `deleting` (ports close everywhere), then zones and record go. not_found, busy while it has
    /// ports.
    Task<Status> delete_volume(VolumeId id);
    /// not_found, exists; busy while an earlier port of this slot is still closing.
    Task<Status> add_port(VolumeId id, ControllerSlot slot);
    /// The same for a controller outside of the group, which gets a slot first. no_space: too many have one.
    Task<Status> add_outside_port(VolumeId id, std::string controller);
    /// First `closing` (the slot's controller drains it), then gone. not_found.
    Task<Status> close_port(VolumeId id, ControllerSlot slot);
    /// cancelled, and nothing is changed, if `still` says no under the tables lock.
    Task<Status> remove_port(VolumeId id, ControllerSlot slot, std::function<bool()> still = {});

    /// If an AMF was lost since the last change: makes the pages on the members what all AMFs know. Else a
    /// page that only the lost one knew, and perhaps had not finished, would be the newest at the next
    /// assembly.
    Task<void> settle_pages();

    // ---- moves of segments (moves.cc)
    /// The zone's segment at this position stands on a member that has failed, or else on one that leaves.
    std::optional<ZonePosition> position_to_move(const Zone& zone) const;
    /// While the group is balanced: a segment of a fuller member, and the emptier one that it goes to (020).
    std::optional<std::pair<ZonePosition, MemberIndex>> position_to_balance(const Zone& zone) const;
    /// There is a zone with such a position, or with an open move, or a member that leaves.
    bool anything_to_move() const;
    /// Members that can take a segment which moves, and no virtual disk may need the place.
    MemberMask with_spare(const Zone& zone) const { return room(units_of(zone)).spare; }
    unsigned missing_of(const Zone& zone) const { return positions_on(zone, gone()); }
    std::size_t open_moves() const { return open_moves_; }
    /// Begins to move the segment at that position. not_found: none, or the zone has a move; no_space.
    Task<Status> open_move(ExtentIndex extent);
    /// All rows below `rows` are whole at the target, and flushed; after the last one the zone has the new
    /// segment. busy, and nothing is changed, if the move is not as `from` any more or `still` says no under
    /// the tables lock.
    Task<Status> advance_move(ExtentIndex extent, ZoneMove from, std::uint32_t rows,
                              std::function<bool()> still);
    /// Ends a move whose target is there no more; else it does nothing.
    Task<Status> give_up_move(ExtentIndex extent);
    /// Moves in place of this map page by which nothing has to be copied are at their end. `intents`: as
    /// all_intents() said when their targets were there. How many there were; busy as advance_move().
    Task<Result<std::uint32_t>> end_moves_in_place(PageNumber page, std::set<RegionIndex> intents,
                                                   std::function<bool()> still);
    /// All members are as full as the others: nothing is to be balanced any more.
    Task<Status> end_balancing();
    /// Members that leave, or are dismissed, and have nothing any more are gone.
    Task<Status> end_leaves();
    /// Segments move, or are to at once: not those of failed members, which wait for an operator or a delay.
    bool must_move(JobKind kind) const;
    /// A rebuild's, or a rebalance's, of a zone with a segment that moves or is to.
    JobKind job_of(const Zone& zone) const;
    bool leaves_empty(MemberIndex member) const;

    // ---- long work over the whole group (jobs.cc)
    /// The extent has a zone, and the scrub has not been there.
    bool unscrubbed(const JobRecord& job, ExtentIndex extent) const;
    JobSize size_of(const JobRecord& job) const;
    /// Of a rebuild, or a rebalance: those that move, or should and have a place to go to.
    std::uint32_t segments_to_move(JobKind kind) const;
    /// Its number, greater than `above`. exists: one of its kind goes on. not_found: there is no schedule.
    Task<Result<std::uint32_t>> add_job(JobRecord job, std::uint32_t above, bool by_schedule = false);
    /// running, paused, cancelled. not_found; exists: it has ended; invalid: it cannot be cancelled.
    Task<Status> set_job(std::uint32_t id, JobState to);
    /// A scrub, or moves that nothing depends on: members that leave stay then, and what has moved has moved.
    bool may_cancel(JobKind kind) const;
    /// 1 .. kMaxPriority, from now on. not_found; exists: it has ended; invalid.
    Task<Status> set_job_priority(std::uint32_t id, std::uint8_t priority);
    /// Adds what was found in extents that this AMF has been through; those that a death or a join made two
    /// go through count once. After the last one the job is done.
    Task<Status> note_scrubbed(std::uint32_t id, std::map<ExtentIndex, ScrubCounts> extents);
    /// Units that this AMF has done: segments moved to their end, extents that have another shape.
    Task<Status> note_done(JobKind kind, std::uint32_t units);
    /// A rebuild, or a rebalance, if no move of it is open. What is not due yet is the next one's.
    Task<Status> end_moves(JobKind kind);
    /// If all extents have the shape that is wanted. They are as many as fit then.
    Task<Status> end_reshape();
    /// Zones that have another shape than is wanted.
    std::uint32_t zones_to_reshape() const;
    /// There are some, and there is no room for another one beside them.
    bool reshape_waits() const;
    Task<Status> add_scrub_age(std::uint32_t seconds);

    // ---- journals
    const JournalState& journal(AmfSlot slot) const { return state_.journals[slot.v]; }
    /// Our own ring holds nothing that is needed and older than when it looked like this: it is whole on all
    /// of its members. Nothing is changed if it does not look like this any more.
    Task<Status> ring_filled(JournalState as);
    /// One of them is on fewer members than it should be until what is in it is retired.
    bool rings_filling() const {
        return std::ranges::any_of(state_.journals,
                                   [](const JournalState& ring) { return ring.filling.any(); });
    }
    /// A ring is open whose AMF is not in the view: what it says is not void yet.
    bool journal_of_the_dead() const;
    bool is_dead(const JournalState& journal) const;
    /// The AMFs of the view that have an open ring.
    std::vector<AmfId> with_open_journal() const;
    /// Flushes the members and closes the rings of all who are not in the view. False, and nothing is
    /// changed, if the epoch is not this one any more.
    Task<Result<bool>> close_journals(Epoch epoch);
    /// Opens our own for this life. False: an earlier life of it is open still. offline: nobody of the view
    /// has one, and some of the dead's are open, which nobody can finish but an assembly.
    Task<Result<bool>> open_journal();

    // ---- intents (own slot)
    /// True and noted as used now, or false: then mark_intent() first.
    bool intent_marked(RegionIndex region);
    /// Returns when the region stands in the intent page on the ok members. Calls that come together share
    /// one write.
    Task<Status> mark_intent(RegionIndex region);
    /// A write in the region begins / has ended: a region in use is never cleared.
    void pin_intent(RegionIndex region);
    void unpin_intent(RegionIndex region);
    /// Removes regions that nobody has used for `idle`; one page write if there are any.
    Task<Status> clear_idle_intents(Nanos idle);
    /// What an earlier life of this slot left: regions whose parity has to be made right. Each stays in the
    /// page, pinned, until it is `done`: last first.
    const std::vector<RegionIndex>& former_intents() const { return former_intents_; }
    void former_intent_done() {
        unpin_intent(former_intents_.back());
        former_intents_.pop_back();
    }
    /// Regions that stand in this slot's page or are about to.
    std::size_t dirty_regions() const { return wanted_regions_.size(); }
    Task<Result<std::set<RegionIndex>>> all_intents();
    struct SlotIntents {
        std::vector<RegionIndex> regions;
        std::uint64_t sequence = 0;  ///< of the newest page
        std::set<RegionIndex> former;
        AmfMember owner;
        std::uint64_t shrunk = 0;
    };
    /// What the page of a slot whose AMF is not in the view says, on the disks.
    Task<Result<SlotIntents>> intents_of(AmfSlot slot);
    /// Somebody has left one of the regions with what may be half-written stripes that no record is about,
    /// and nobody has resynced it yet, as far as the disks say.
    Task<bool> left_half_written(RegionIndex first, std::uint32_t count = 1);
    /// Empties that page; does nothing if it is not the one of this sequence any more (its AMF was
    /// here meanwhile), or if `still_absent` says no under the tables lock.
    Task<Status> clear_intents_of(AmfSlot slot, std::uint64_t sequence, std::function<bool()> still_absent);

    // ---- the view
    void adopt(const AmfView& view);
    void deliver(AmfId from, const Message& message);
    std::uint64_t version() const { return version_; }
    const AmfView& view() const { return view_; }

private:
    using Turn = ChangeTurn;
    struct RegionState {
        std::uint32_t pins = 0;
        bool marked = false;
        Nanos last_use{};
    };

    using Pick = std::optional<std::pair<PageHeader, Buffer>>;
    struct VolumePlace {
        PageNumber page;
        std::size_t record = 0;
    };

    // tables.cc: view change, agreement
    void send_version(AmfId to);
    void send_update(AmfId to);
    void send_agreed(AmfId to);
    void check_settled();
    bool all_versions_in() const;
    Task<void> agree(PageNumber page, Buffer bytes);
    void on_update(AmfId from, const Message& message);
    Task<void> acknowledge(AmfId to, std::uint64_t version);
    Task<void> zone_uses_over();
    void on_page(const Message& message);
    void send_all_pages(AmfId to);
    Task<void> reload();

    /// Of each of its segments.
    std::uint32_t units_of(const Zone& zone) const {
        return config_.geometry_of(zone.shape).zone_size().units;
    }

    // load.cc: content and disks
    Status apply_page(PageNumber page, ConstPageBytes bytes);
    Status apply_config(ConstPageBytes bytes);
    void apply_zones(std::uint32_t first, const MapPage& content);
    Buffer encode_page(PageNumber page, std::uint64_t sequence) const;
    MemberMask serving() const;
    Task<std::vector<Pick>> read_page(PageNumber page, MemberMask members);
    Task<Status> on_all_members(DiskVerb verb, std::uint64_t offset, std::span<std::byte> memory);
    Task<Status> flush_members();
    Task<Status> store_page(PageNumber page, Buffer bytes);
    Task<Status> load_from_disks();
    Task<Status> load_from_peer(AmfId peer);
    Task<Status> load_own_intents();
    Task<Status> verify_pages();
    Status check_quorum() const;
    void note_stale(PageNumber page, const std::vector<Pick>& picks);
    std::uint32_t page_count() const { return kFirstMapPage.v + map_pages(); }
    std::uint32_t map_pages() const { return (config_.extents + kZonesPerPage - 1) / kZonesPerPage; }
    static bool is_shared(PageNumber page) { return kind_of(page) != PageKind::intent; }

    // changes.cc
    Task<Result<Turn>> begin_change();
    Task<Status> commit_page(PageNumber page, Buffer bytes);
    template <class Content>
    Task<Status> commit(PageNumber page, Content content);
    Task<Status> end_change();
    Task<Status> zero_segments(Zone zone);
    Task<Status> commit_zone(ExtentIndex extent, Zone zone);
    MapPage map_content(PageNumber page) const;
    Task<Status> free_zones(VolumeRecord volume);
    Task<Status> replay_journals();
    void place_rings(GroupState& state) const;
    std::optional<VolumePlace> find_volume(VolumeId id) const;
    Task<Status> put_volume(VolumePlace place, VolumeRecord record);
    Task<Status> change_ports(VolumeId id, std::function<Status(VolumeRecord&)> change);
    Task<Result<ControllerSlot>> give_outside_slot(std::string controller);
    Result<ExtentIndex> find_space(std::uint32_t extents) const;

    // members.cc
    Task<Status> grow();
    Status take_members(const GroupConfig& before);
    Task<void> open_members();
    MemberMask reached_members() const;
    Task<Status> copy_pages(Disk& disk, PageNumber first, std::uint32_t end);
    Task<Status> commit_members(std::vector<MemberIndex> members, GroupState state);
    Task<Status> name_members(std::vector<MemberIndex> members, GroupConfig config);
    Prospect prospect(StripeShape wanted, const Units& coming) const;
    Result<GroupState> without(MemberIndex member, const Units& coming) const;
    bool comes_without_us(const GroupState& before) const;
    MemberMask counted_members() const;

    // reach.cc
    Task<MemberMask> read_once(MemberMask members);
    Task<MemberMask> read_always(MemberMask members);
    Task<MemberMask> read_elsewhere(MemberMask members);
    Task<MemberMask> reached_by_others_alone(MemberMask members);
    Task<void> tell_read(AmfId to, std::uint64_t question, MemberMask members);
    void on_told(AmfId from, std::uint64_t question, MemberMask read);

    // moves.cc
    /// What follows from all zones, and the states of all members; worked out once after each change.
    struct Room {
        MemberMask spare;                  ///< members that can take a segment
        SegmentAllocator::Uneven balance;  ///< those that have more, and less, than all together
    };
    const Room& room(std::uint32_t units) const;
    /// Failed, or left, or not reached from here.
    MemberMask gone() const { return gone_; }
    MemberMask in_state(MemberState state) const { return in_state_[static_cast<std::size_t>(state)]; }
    void note_missing(const Zone& zone, int change);
    void recount();
    void find_missing();
    bool serves_without(MemberMask members) const;
    bool rings_are_on(MemberMask members) const;  ///< of each open one all that is needed
    std::uint64_t reserved_extents() const;
    Promise promise() const { return {largest_zone(), promised_zones()}; }
    Task<Status> end_what_is_doubtful();

    void end_move(Zone& zone) const;

    using MapPages = std::map<PageNumber, MapPage>;  // returns.cc
    bool may_forget(RegionIndex region) const;
    Task<Status> note_missed(std::vector<RegionIndex> regions);
    Task<Status> note_return_points(MemberMask members);
    Task<Result<MapPages>> zones_if_back(Disk& disk, Superblock superblock);
    Task<Pick> page_on(Disk& disk, PageNumber page);
    Task<Status> copy_intents(Disk& disk);

    // shapes.cc
    void count_shapes();
    Result<Zone> place_beside(ExtentIndex extent, StripeShape shape) const;
    /// That a zone may need, whichever shape its extent has.
    ZoneSize largest_zone() const {
        return other_shapes_ == 0 ? config_.geometry_of(config_.wanted).zone_size() : config_.zone_size();
    }

    // jobs.cc
    void end_job(JobRecord& job, JobState how) const;
    Task<Status> cancel_moves(GroupState& state, JobKind kind);

    // intents.cc
    bool idle_since(RegionIndex region, Nanos before) const;
    Task<void> note_idle(Nanos before);
    Task<Status> let_regions_leave(std::set<std::uint32_t>& regions);
    Task<Status> store_intents();
    Task<void> intent_writer();
    void want_intent_write();
    Buffer encode_intents(const std::set<std::uint32_t>& regions, std::uint64_t sequence) const;

    Executor& executor_;
    Clock& clock_;
    Transport& transport_;
    LockManager* locks_ = nullptr;
    Semaphore turn_;
    Uuid group_;
    std::uint64_t table_start_;
    std::vector<Disk*> disks_;
    std::vector<Uuid> disk_ids_;  ///< which these are: others than the configuration's are to be opened
    bool opening_members_ = false;
    AmfSlot slot_;

    GroupConfig config_;
    GroupState state_;
    std::vector<VolumesPage> volume_pages_;
    std::deque<Zone> zones_;                ///< grows, and who has one keeps it
    std::vector<std::uint64_t> sequences_;  ///< by page; 0 = never written
    std::optional<SegmentAllocator> allocator_;
    std::uint64_t allocated_extents_ = 0;
    std::array<std::uint32_t, kMaxParity + 1> zones_left_{};  ///< zones by the parts they can still lose
    std::uint64_t missing_parts_ = 0;                         ///< of all zones
    std::uint64_t zones_beyond_ = 0;                          ///< that have lost more than they can
    bool beyond_ = false;                                     ///< what the level survives
    MemberMask gone_;
    std::array<MemberMask, kMemberStates> in_state_;
    mutable std::map<std::uint32_t, Room> room_;  ///< by the units of the segment
    std::size_t open_moves_ = 0;
    std::uint32_t other_shapes_ = 0;
    ZoneUses zone_uses_;
    bool loaded_ = false;
    bool lost_quorum_ = false;
    std::set<std::uint8_t> write_errors_;  ///< members that failed a write and are not declared failed yet
    MemberMask certainly_failed_;          ///< of these: whoever reaches them
    std::uint64_t question_ = 0;           ///< the newest that was asked
    std::map<std::uint16_t, MemberMask> told_;  ///< the answers to it: members that could be read
    std::function<void()> listener_, settled_listener_;
    std::function<Task<Result<Replayed>>()> replay_;
    std::function<Task<Disk*>(MemberIndex, Uuid)> open_member_;

    AmfView view_;
    Event settled_;
    Event agreed_;
    Event changed_;  ///< an ack, a version, a page or a view came
    std::uint64_t version_ = 0;
    bool verify_before_change_ = false;  ///< somebody was lost: a page on a disk may be newer than all of us
    std::map<std::uint16_t, std::uint64_t> versions_;  ///< of the others in this view; 0 = not loaded
    struct Ack {
        MemberMask reached;
        std::uint64_t shrunk = 0;
    };
    std::map<std::uint16_t, Ack> acked_;
    struct LastChange {
        PageNumber page;
        Buffer bytes;
    };
    std::optional<LastChange> last_change_;
    bool change_open_ = false;
    std::optional<std::map<std::uint32_t, Buffer>> fetched_;  ///< while pages come from a peer
    bool fetch_done_ = false;
    std::uint64_t fetched_version_ = 0;

    std::deque<RegionState> regions_;
    std::vector<RegionIndex> former_intents_;
    std::set<std::uint32_t> wanted_regions_;  ///< the set to be on the disks
    std::set<std::uint32_t> stored_regions_;  ///< the set that is
    std::uint64_t shrunk_ = 0;                ///< Intent::shrunk, also of a page that is on its way
    std::uint64_t intent_sequence_ = 0;
    bool intent_writer_runs_ = false;
    std::uint64_t intents_wanted_ = 0;  ///< version of the set in memory
    std::uint64_t intents_stored_ = 0;  ///< version of the set on the disks
    Status intent_status_;              ///< of the last write
    Event intents_changed_;
    Scope scope_;
};

template <class Content>
Task<Status> Tables::commit(PageNumber page, Content content) {
    Buffer bytes = Buffer::zeroed(kPageSize);
    const PageHeader header{page, group_, sequences_[page.v] + 1, view_.epoch, slot_};
    write_page(PageBytes(bytes.span()), content, header);
    co_return co_await commit_page(page, std::move(bytes));
}

}  // namespace braid
