// The array management function of one group on one controller: every read and write of the group's logical
// space, normal and degraded, and the recovery of what a dead peer left half done (rows O1 to O6).
//
//   operation: [slot] -> unit locks -> stripe lock -> tables settled -> ... -> end -> answer
//
// Guarantees: every 4 KiB block is a linearizable register; a write that was answered is on all members that
// are not failed by agreement, or, with write-back, at dimension - 1 partners and dirty here until it is; a
// flush that was answered has put there what was answered before, by whichever AMF (with early answers of
// what a dead AMF had answered a prefix, and nobody has read what is lost); a stripe is half-written only
// while a record of it is with dimension - 1 partners. Needs: adopt() for every view, deliver() for every
// message of the group, both on the executor; stop() before destruction in an orderly life. A crash just
// destroys: first whoever calls operations, then this. Never waits for a second stripe while it holds one;
// never regenerates from a stripe that may be half-written.
//
// Where: amf.cc (life, view, flush), locks.cc (which units an operation takes), read.cc, around.cc, write.cc,
// trim.cc, holes.cc (what others have trimmed), reshape.cc, recover.cc, check.cc (parity of one stripe),
// move.cc (segments that move), checksums.cc, cached.cc (what is remembered), destage.cc, copies.cc and
// pass.cc (write-back), flush.cc.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "amf/checksum_cache.h"
#include "amf/disk_batch.h"
#include "amf/group_space.h"
#include "amf/options.h"
#include "amf/peer_trims.h"
#include "amf/stripe_locks.h"
#include "amf/stripe_plan.h"
#include "amf/trimmed_blocks.h"
#include "async/scope.h"
#include "cache/block_cache.h"
#include "cache/peer_cache.h"
#include "destage/dirty_stripes.h"
#include "destage/flush_frames.h"
#include "destage/pass_frames.h"
#include "icl/message.h"
#include "icl/view.h"
#include "io/clock.h"
#include "journal/journal.h"
#include "journal/replay.h"
#include "lock/lock_manager.h"
#include "lock/unit_map.h"
#include "parity/code.h"
#include "replica/replicator.h"
#include "tables/tables.h"

namespace braid {

/// One stripe under check.
enum class StripeVerdict : std::uint8_t {
    absent,      ///< no zone
    clean,       ///< all parity that can be read is right
    wrong,       ///< parity is wrong (and still is)
    corrected,   ///< parity was wrong and has been written
    rotten,      ///< blocks were not what had been written: they have been written again
    incomplete,  ///< data is missing: nothing can be said
};

class Amf final : public GroupSpace, public MessageSink, private LockHooks {
public:
    /// `config` as the disks say it before anything is loaded; `disks` by member, null where there is none.
    Amf(Executor& executor, Clock& clock, Transport& transport, const Uuid& group, const GroupConfig& config,
        std::uint64_t table_start, std::vector<Disk*> disks, AmfSlot slot, AmfOptions options = {});
    ~Amf() override;

    /// Loads the tables; operations fail with not_ready until it has returned. The view with this AMF in it
    /// has been adopted.
    Task<Status> start();
    /// The first half of start(): for AMFs that come together. What the first one waits for before it lets
    /// operations in, another one may have to finish.
    Task<Status> load();
    /// Lets no operation in any more, finishes those inside, leaves nothing behind at partners or in the
    /// intents. Offline: what is half-written stays with the partners, and no disk command of ours is left,
    /// so that others may finish it as soon as the view lacks us.
    Task<void> stop();
    /// The two halves of stop(), for AMFs that leave the group together: none of them may end while another
    /// one has something to finish, because what it needs of this one is answered until then.
    Task<void> finish();
    Task<void> end();

    void adopt(const AmfView& view);
    void deliver(AmfId from, Message message) override;
    /// Whose errands may be asked for in the next view: before adopt().
    void keep_errands(std::span<const ControllerStart> alive) { replicator_.completions().keep(alive); }
    /// Called after every change of the tables that this AMF applied, and when it goes offline. Set once.
    /// As of Tables.
    void on_member(std::function<Task<Disk*>(MemberIndex, Uuid)> open);
    void on_tables_change(std::function<void()> listener) { listener_ = std::move(listener); }

    // ---- GroupSpace
    Task<Status> read(std::uint64_t offset, std::span<std::byte> into) override;
    Task<Status> write(std::uint64_t offset, Slice data, bool fua, Errand errand = {}) override;
    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_leave_hole, bool fua,
                              Errand errand = {}) override;
    Task<Status> flush() override;
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t offset, std::uint64_t length,
                                                        std::size_t most, AllocationDetail detail) override;

    // ---- for jobs
    bool allocated(ExtentIndex extent) const { return tables_.zone(extent) != nullptr; }
    /// Compares a stripe's parity with its data and, if asked, writes it where it is wrong. What checksums
    /// tell is put right in any case.
    Task<Result<StripeVerdict>> check_stripe(StripeIndex stripe, bool correct);
    /// Copies, or regenerates, one row of a zone whose segment moves, at the move's target. The caller has
    /// seen in `epoch` that nobody who is not here has left its stripe half-written. busy: look again at the
    /// move and the view.
    Task<Status> move_row(StripeIndex stripe, Epoch epoch);
    Task<Status> flush_member(MemberIndex member);
    /// The stripes of an extent without a zone have this shape from now on. busy: it has one.
    Task<Status> set_shape(ExtentIndex extent, StripeShape shape);
    /// The same for any extent: what is in one with a zone is copied to a zone of that shape while hosts go
    /// on, `depth` rows at once, each of them after `turn`, which may end it with an error. busy: look at it
    /// again; no_space; media_error: some of it cannot be read.
    using Turn = std::function<Task<Status>(std::uint64_t bytes)>;
    Task<Status> reshape(ExtentIndex extent, StripeShape to, unsigned depth = 4, Turn turn = {});
    /// The extent is not about to give its zone up, or to another one, when nobody is at that any more.
    Task<Status> take_back(ExtentIndex extent);
    /// The AMF that does what one alone should do: the lowest id of the view.
    bool keeper() const { return !view_.members.empty() && view_.members.front().id == view_.self; }

    /// Which lock units belong to which bytes.
    const UnitMap& units() const { return units_; }
    /// The bytes of the logical space that a unit other than the tables is about.
    LogicalRange bytes_of(UnitIndex unit) const;

    Tables& tables() { return tables_; }
    const Tables& tables() const { return tables_; }
    LockManager& locks() { return locks_; }
    const LockManager& locks() const { return locks_; }
    const Replicator& replicator() const { return replicator_; }
    const Journal& journal() const { return journal_; }
    const BlockCache& cache() const { return cache_; }
    const DirtyStripes& dirty() const { return dirty_; }
    const AmfView& view() const { return view_; }
    const AmfCounters& counters() const { return counters_; }
    const Limping& limping() const { return limping_; }
    AmfConditions conditions() const;
    /// Stripes that an operation works on or waits for.
    std::size_t stripes_in_use() const { return stripe_locks_.active(); }
    bool ready() const { return ready_; }
    Executor& executor() { return executor_; }

private:
    /// A stripe with its zone: who has which role.
    struct Spot {
        StripeIndex stripe;
        Row row;
        const Zone* zone = nullptr;
        Geometry geometry;  ///< of its shape
        DiskPurpose purpose = DiskPurpose::host;
    };
    struct IntentPin;
    struct Recovering;
    struct Left;
    struct Sums;

    /// What an operation holds of the group's locks. Where content has units of its own `stripe` is taken
    /// first, by those who need it; else `content` is the stripe's.
    struct PieceLock {
        LockPin stripe, content;
        bool live() const { return (stripe || content) && live(stripe) && live(content); }
        static bool live(const LockPin& pin) { return !pin || pin.live(); }
    };

    // locks.cc
    /// Takes what is at hand, and keeps it if that is not all. `whole`: the stripe must hold still.
    bool try_lock(const StripePiece& piece, LockMode mode, bool whole, PieceLock& lock);
    bool try_units(LockUnits units, LockMode mode, LockPin& pin);
    /// The rest of what try_lock() wants. `wanted`: what a reader wants to see, if others may send it along.
    Task<Status> wait_for_lock(StripePiece piece, LockMode mode, bool whole, PieceLock& lock,
                               LockRange wanted = {});
    /// `background`: for no host.
    Task<Status> wait_for_units(LockUnits units, LockMode mode, LockPin& pin, LockRange wanted,
                                bool background);
    LockRange part_of(const LockRange& range, UnitIndex unit) const;
    /// The stripes are cut as they were when the piece was. Its units are locked, the tables settled.
    bool fits(const StripePiece& piece) const { return tables_.geometry_of(piece.stripe).fits(piece); }
    /// What of one stripe begins there, at most so long.
    StripePiece piece_at(std::uint64_t at, std::uint64_t length) const;
    std::vector<LockClaim> claims() const;
    Task<AmfId> before_release(UnitIndex unit, AmfId next) override;
    void recover(UnitIndex unit) override;
    Task<void> keep_readers_out(UnitIndex unit);

    // flush.cc
    Task<Status> flush_members();
    Task<Status> secure_everywhere(bool leaving);
    void wake_flushes();
    void pass_nothing_for(Nanos time);
    Task<Status> secure(bool leaving);
    Task<Status> dead_finished();
    Task<Result<bool>> all_copied();
    Task<Status> in_journal(std::vector<Journal::Ticket> tickets);
    Task<Status> secure_locked(StripeIndex stripe);
    bool put_dirty(StripeIndex stripe, std::vector<Journal::Ticket>& tickets);
    Task<Status> copied_elsewhere();
    Task<void> answer_flush(AmfId from, FlushAsk ask);
    void deliver_flush(AmfId from, const Message& message);

    // amf.cc
    Task<Status> open_journal();
    std::optional<AmfSet> able_partners() const;
    void close_journals_of_the_dead();
    bool closes_journals() const;
    Task<void> close_journals();
    Spot spot(StripeIndex stripe, const Zone& zone, DiskPurpose purpose = DiskPurpose::host) const {
        return {stripe, geometry_.row_of(stripe), &zone, tables_.config().geometry_of(zone.shape), purpose};
    }
    const Code& code_of(const Geometry& geometry) const { return codes_.of(geometry.k, geometry.m); }
    ExtentIndex extent(const Spot& spot) const { return geometry_.extent_of(spot.stripe); }
    /// As it is now: a segment of it may have gone elsewhere since the spot was made.
    const Zone& zone_of(const Spot& spot) const {
        return tables_.still_there(extent(spot), *spot.zone) ? *tables_.zone(extent(spot)) : *spot.zone;
    }
    /// The places of a role, and of a copy of the checksums: now, for commands that are sent now.
    Places strip_at(const Spot& spot, unsigned role) const;
    Places record_at(const Spot& spot, unsigned copy) const;
    RoleMask writable(const Spot& spot) const;
    RoleMask readable(const Spot& spot) const;
    Task<void> declare_failed(MemberIndex member);
    Task<Status> fail_members(MemberMask members);
    Task<void> housekeeping();
    Task<Status> in_pieces(std::vector<Task<Status>> pieces);
    Task<Status> then_flush(Task<Status> operation);

    // read.cc
    /// `keep`: in the cache, here and in the following.
    Task<Status> read_piece(StripePiece piece, std::span<std::byte> into, bool keep);
    Task<Status> read_anew(std::uint64_t at, std::span<std::byte> into, bool keep);
    Task<Status> read_locked(StripePiece piece, std::span<std::byte> into, const LockPin& content, bool whole,
                             bool keep);
    /// busy: something has to be regenerated, and that needs the stripe to hold still, which it does if
    /// `whole`.
    Task<Status> read_blocks(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole);
    /// `around`: a column that is regenerated though its member is there.
    Task<Status> read_strips(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole,
                             std::optional<unsigned> around);
    Task<Status> regenerate(Sums& sums, unsigned role, StripRange range, std::span<std::byte> into,
                            RoleMask unreadable);
    Task<Status> regenerate_from(Sums& sums, unsigned role, StripRange range, std::span<std::byte> into,
                                 RoleMask unreadable);
    Task<bool> still_right(const Sums& sums, unsigned role, StripRange block, std::span<std::byte> into);
    void note_read_error(MemberIndex member, const Spot& spot, unsigned role, StripRange range, Error error);
    void note_error_of(MemberIndex member, StripeIndex stripe, Error error);
    Task<void> repair(StripeIndex stripe, unsigned role, StripRange range);

    // around.cc
    std::optional<unsigned> column_around(const Spot& spot, const StripeWrite& range);
    Task<Status> read_around(Spot spot, std::uint32_t offset, std::span<std::byte> into, bool whole,
                             unsigned column);
    Task<void> watch_members();

    // checksums.cc
    Task<void> arrived(Sums& sums);
    bool fits(const Sums& sums, unsigned role, std::uint32_t from, std::span<const std::byte> content);
    /// The same; or nobody can say what should be there.
    Task<bool> right_or_in_doubt(Sums& sums, unsigned role, std::uint32_t from,
                                 std::span<const std::byte> content);
    Task<void> believe_if_in_doubt(Sums& sums);
    /// Nobody has made it right yet.
    Task<bool> may_be_half_written(StripeIndex stripe) {
        return tables_.left_half_written(region_of(logical(stripe)));
    }
    Task<Status> read_as_found(Spot spot, unsigned role, StripRange range, std::span<std::byte> into);
    Task<void> repair_sums(StripeIndex stripe);

    // cached.cc
    /// Where the stripe begins in the logical space.
    std::uint64_t logical(StripeIndex stripe) const { return range_of(stripe).offset; }
    LogicalRange range_of(StripeIndex stripe) const { return tables_.geometry_of(stripe).range_of(stripe); }
    bool small(std::size_t operation) const { return operation <= options_.cached_operation; }
    void released(UnitIndex unit) override;
    Slice cached(UnitIndex unit, LockRange range) override;
    void received(UnitIndex unit, LockRange range, Slice data) override;
    LockRange wanted(const StripePiece& piece) const;
    /// The units of whole blocks of one stripe; none if it is not that: what comes from outside may be
    /// anything.
    std::optional<LockUnits> units_of(const LockRange& range) const;
    /// These blocks, if a peer may have them.
    Slice at_hand(const LockRange& range);
    void remember(std::uint64_t at, std::span<const std::byte> content, std::uint32_t generation);
    bool serve_cached(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation);
    Task<Status> fetch_blocks(Spot spot, std::uint32_t offset, std::span<std::byte> into,
                              const LockPin& content, bool whole, bool keep);
    Task<bool> fetch_from_peer(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation,
                               const LockPin& content);
    void deliver_cached(AmfId from, const Message& message);
    void answer_fetch(AmfId from, const CacheFetch& fetch);
    bool old_data_cached(const Spot& spot, unsigned role, StripRange part, std::span<std::byte> into);
    Task<Status> old_block(Spot spot, std::uint32_t offset, std::span<std::byte> into);
    void forget_blocks(StripeIndex stripe, std::uint32_t offset, std::uint32_t length);

    // destage.cc
    struct DirtyWrite;
    struct Room;
    bool write_back() const { return write_back_; }
    Replication replication() const { return tables_.config().sharing.replication; }
    std::size_t room_for(const StripePiece& piece) const;
    Task<Room> take_room(std::size_t bytes);
    /// A destage has the stripe to itself, and is at work elsewhere in it: the piece may get dirty all the
    /// same.
    bool beside_destage(const StripePiece& piece) const;
    /// `until_dirty`: of the stripe, locked or not; null: the caller keeps it locked.
    Task<Status> write_dirty(StripePiece piece, Slice data, Room room, bool fua, Errand errand,
                             StripeLocks::Guard* until_dirty);
    /// `host`: a host's write, and not one that was made here of several.
    void add_dirty(std::uint32_t offset, Slice data, std::shared_ptr<DirtyWrite> write, bool host);
    void end_dirty(DirtyStripes::Ticket ticket);
    std::vector<DirtyStripes::Ticket> drop_dirty(StripeIndex stripe, DirtyPiece piece);
    Task<Status> read_dirty(StripePiece piece, std::span<std::byte> into, Spot spot, const LockPin& content,
                            bool whole, bool keep);
    /// Whatever is dirty of the stripe goes to the members. It takes the local lock of the stripe, and no
    /// other: whoever has dirty content has the stripe's unit for writing until it is clean.
    enum class Destage : std::uint8_t {
        apart,     ///< what lies far apart part by part
        beside,    ///< the same, and what hosts write meanwhile elsewhere in the stripe may stay dirty
        together,  ///< in one update: somebody waits for the unit
    };
    Task<Status> destage(StripeIndex stripe, Destage how = Destage::apart);
    Task<Status> destage_locked(StripeIndex stripe, Destage how = Destage::apart);
    Task<Status> destage_pieces(Spot spot, Gaps over, Destage how);
    Task<Status> destage_piece(Spot spot, DirtyPiece piece, Destage how);
    bool one_record(StripeIndex stripe, DirtyPiece piece) const;
    Task<Status> merge(Spot spot, DirtyPiece piece);
    Task<void> give_up_dirty(StripeIndex stripe);
    void start_destages();
    Task<void> destage_chosen(StripeIndex stripe, Destage how);
    Task<void> destage_old();
    Task<Status> destage_some(std::vector<StripeIndex> stripes);
    void drop_dirty_of_gone_zones();
    // copies.cc
    void obey_sharing();
    bool enough_copies() const;
    Nanos early_age() const;
    Replication mode_for(std::size_t bytes) const;
    Task<Status> answerable(DirtyWrite& write);
    Task<Status> copied(StripeIndex stripe, DirtyPiece piece);
    void await_copies(DirtyWrite& write);
    Task<void> watch_copies();
    Task<void> cleaned(UnitIndex unit);

    // pass.cc
    std::optional<DirtyPass> passable(std::span<const StripeIndex> stripes) const;
    Task<AmfId> pass_on(UnitIndex unit, AmfId next);
    bool may_take(const DirtyPass& pass) const;
    Task<void> take_passed(AmfId from, DirtyPass pass);
    void granted(UnitIndex unit) override;
    Task<void> inherited_all();
    void deliver_pass(AmfId from, const Message& message);

    // write.cc
    enum class Content : std::uint8_t {
        small,  ///< in the cache, here and in the following
        large,
        hole,  ///< zeros; without a zone nothing has to be done
    };
    /// `fua`: it must not stay dirty, unless it is in the journal.
    Task<Status> write_piece(StripePiece piece, Slice data, Content what, bool fua, Errand errand);
    Task<Status> write_anew(std::uint64_t at, Slice data, Content what, bool fua, Errand errand);
    /// What is done again: whose write, in which zone (a copy).
    struct Orphan {
        const StoredRecord& record;
        const Zone& zone;
        std::uint8_t attempts;
    };
    /// `content`: of the piece, null if the data is not to be kept.
    Task<Status> write_locked(StripePiece piece, Slice data, const LockPin* content, const Orphan* orphan,
                              Errand errand = {});
    Task<Result<Slice>> whole_blocks(Spot spot, StripePiece piece, Slice data);
    /// What a write to the members is.
    enum class Kind : std::uint8_t {
        usual,  ///< nobody was told that it is done
        dirty,  ///< a host was told: its record has no end before it is on the members
    };
    Task<Status> update(OpenRecord& record, Spot spot, StripeWrite write, Slice data, IntentPin& intent,
                        Kind kind);
    /// Roles that an update has to do without.
    struct Unusable {
        RoleMask unreadable, wrong;
        bool reached = true;  ///< what cannot be read from here can be read by nobody
    };
    Task<bool> all_old_is_right(const DiskBatch& batch, Sums& sums, StripeWrite write, const WritePlan& plan,
                                const std::array<std::byte*, kMaxWidth>& old, Unusable& unusable);
    Task<Status> finish(OpenRecord& record, Sums& sums, StripeWrite write, Slice data, Redo redo, Kind kind);
    void read_old(DiskBatch& batch, const Spot& spot, const StripeWrite& write, const WritePlan& plan,
                  std::span<std::byte> memory, std::array<std::byte*, kMaxWidth>& old);
    /// What of a role read_old() reads.
    static StripRange old_part(const StripeWrite& write, const WritePlan& plan, unsigned role, unsigned k);
    Redo make_redo(const Geometry& geometry, const StripeWrite& write, const WritePlan& plan,
                   RoleMask targets, const Slice& data, std::array<std::byte*, kMaxWidth>& old) const;

    // trim.cc
    LogicalRange bytes_of(ExtentIndex extent) const;
    Task<Status> zero_in_extent(LogicalRange range, bool may_leave_hole, bool fua, Errand errand);
    Task<Status> release_extent(ExtentIndex extent, bool trimmed);
    Task<Status> keep_extent(ExtentIndex extent);
    Task<Status> lock_extent(ExtentIndex extent, std::uint32_t rows, PieceLock& lock);
    Task<Status> early_answers_copied();

    // holes.cc
    void add_up_soon(ExtentIndex extent);
    Task<void> add_up_trims();
    struct AddUp {
        unsigned times = 0;  ///< that it has come to nothing
        bool at_work = false;
        bool disturbed = false;  ///< what others remembered may have been taken from them
    };
    Task<bool> add_up(ExtentIndex extent, const ExtentBlocks& told, bool disturbed);
    Task<Status> take_zeros(const std::vector<StripePiece>& pieces, const Zone& zone);
    Task<Status> take_zeros(StripePiece piece, const Zone& zone);
    std::set<AmfId> others() const;
    Task<TrimmedOf> trimmed_here(std::vector<ExtentIndex> extents);
    Task<TrimmedOf> trimmed_anywhere(std::vector<ExtentIndex> extents);
    Task<void> tell_trims(AmfId to, TrimsAsk ask);
    void deliver_trims(AmfId from, const Message& message);

    // reshape.cc
    struct HeldExtent;
    struct Reshaping;
    Task<Status> hold_extent(ExtentIndex extent, StripeShape to, HeldExtent& held);
    void forget_extent(ExtentIndex extent, std::uint32_t rows);
    Task<Status> reshape_alone(ExtentIndex extent, StripeShape to, unsigned depth, const Turn& turn);
    Task<Status> copy_and_succeed(Reshaping& work);
    Task<Status> copy_stale(Reshaping& work);
    Task<Status> lock_and_copy(Reshaping& work, Row row);
    Task<Status> copy_row(Reshaping& work, Row row);
    Task<Status> write_row(Reshaping& work, Row row, const Buffer& memory);

    // check.cc
    struct Checked;
    struct Repairs;
    Task<Result<StripeVerdict>> check_locked(StripeIndex stripe, bool correct, Repairs& repairs);
    Task<void> look_at(Checked& checked, bool correct);
    Task<void> heal(Checked& checked);
    void heal_row(Checked& checked, std::uint32_t from, RoleMask wrong);
    Task<Status> put_right(Checked& checked, RoleMask wrong);
    Journal::Ticket put_parity(const Spot& spot, RoleMask roles, std::span<std::byte* const> parity);

    // move.cc
    Task<Status> content_of(Sums& sums, unsigned role, std::span<std::byte> into);
    Task<bool> write_moved(Sums& sums, unsigned role, std::span<const std::byte> content);

    // recover.cc
    Task<void> recover_unit(UnitIndex unit);
    static Left left_in(std::span<const StoredRecord* const> orphans);
    Task<Status> recover_write(std::vector<StoredRecord> copies);
    Task<Status> replay(Orphan orphan);

    Executor& executor_;
    Clock& clock_;
    Transport& transport_;
    Uuid group_;
    const Geometry geometry_;  ///< of the first shape: what it says of strips and numbers is true of all
    std::uint64_t data_start_;
    UnitMap units_;
    AmfOptions options_;
    Codes codes_;
    AmfView view_;
    bool ready_ = false;
    Replicator replicator_;
    BlockCache cache_;
    ChecksumCache sums_;
    TrimmedBlocks trimmed_;
    PeerTrims peer_trims_;
    std::map<ExtentIndex, AddUp> to_add_up_;  ///< parts of these were trimmed since the others were asked
    bool adding_up_ = false;
    PeerCache peer_cache_;
    bool reshapes_ = false;           ///< one extent at a time
    Reshaping* reshaping_ = nullptr;  ///< what is being copied
    Event cleaned_;                   ///< a stripe is not dirty any more
    StripeLocks stripe_locks_;
    LockManager locks_;
    Tables tables_;
    Journal journal_;
    ReplayProgress replayed_;
    Semaphore pieces_;  ///< places for stripe pieces at work: taken before any lock, so whoever holds one has
                        ///< a place
    Gate gate_;
    std::array<unsigned, kMaxMembers> read_errors_{};  ///< by member
    MemberMask failing_;                               ///< being declared failed
    Limping limping_;
    std::optional<Epoch> none_half_written_;  ///< in this epoch nobody has left a stripe so
    std::uint64_t around_ = 0;                ///< reads that could have gone around a member
    Buffer zeros_;
    std::vector<UnitIndex> recovering_;
    bool stopping_ = false;  ///< no recovery begins any more
    bool closing_journals_ = false;
    std::vector<WrongPlace> wrong_places_;
    const AmfSlot slot_;
    const bool has_journal_;
    const bool write_back_;
    DirtyStripes dirty_;
    Semaphore room_;        ///< bytes that may become dirty
    Semaphore recoveries_;  ///< units of the dead at work
    std::unordered_map<DirtyStripes::Ticket, std::shared_ptr<DirtyWrite>> dirty_writes_;
    std::map<StripeIndex, DirtyPiece> destaging_;  ///< where others may write beside it
    bool room_for_all_ = false;
    unsigned waiting_for_room_ = 0, chosen_destages_ = 0, destages_ = 0;
    std::deque<DirtyWrite*> uncopied_;  ///< in the order in which they began; others are at all partners
    std::uint64_t early_bytes_ = 0;     ///< of those of them whose host does not wait for that
    bool watching_copies_ = false;
    Event copied_;  ///< one of them is
    /// What was dirty of a unit that is about to come here with its lock.
    struct Inherited {
        std::uint64_t number = 0;
        Nanos since{};
        std::vector<std::pair<Slice, std::shared_ptr<DirtyWrite>>> content;
    };
    std::map<UnitIndex, Inherited> inherited_;
    std::uint64_t inherited_number_ = 0;
    std::map<std::uint64_t, std::optional<bool>> passing_;  ///< by number: whether it has been taken
    std::uint64_t next_pass_ = 1;
    Nanos pass_again_{};  ///< nothing goes along before
    Event passed_;        ///< an answer came, or what was taken is dirty here
    unsigned securing_ = 0;
    struct Asking {
        std::uint64_t number = 0;
        AmfSet waiting;
        std::map<AmfId, std::uint64_t> before;  ///< what was known when it was asked: FlushDone::passed
        bool ok = true;
        bool again = false;  ///< content has gone elsewhere meanwhile
    };
    std::map<AmfId, std::uint64_t> passes_known_;  ///< the newest FlushDone::passed
    std::vector<Asking> asking_;                   ///< flushes of ours that wait for others
    std::uint64_t next_flush_ = 1;
    Event flush_answered_;
    std::function<void()> listener_;
    AmfCounters counters_;
    Scope scope_;
};

}  // namespace braid
