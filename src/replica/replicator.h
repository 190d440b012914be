// Update records of one AMF: its own at its partners, and those it keeps for others (rows R1 R2 R6, O4).
//
// A record of ours:
//
//   begin() -> redo() -> waiting() false -> [disk writes] -> end() -> acknowledged by all holders: forgotten
//
// A dirty one may stay without redo for long: its host is answered when it is stored(). Several of a stripe
// may be open; only the last one, which covers all of them that it meets, may get a redo, after they have
// been ended.
//
// Guarantees: `waiting()` turns false only when every partner of the present view has begin and redo, and
// when no earlier record of the same stripe is left at anybody who does not have this one, so that what
// survives us is always enough to finish the stripe and nothing older can be replayed over it. A view change
// gives open records to the new partners, so many bytes at a time, and repeats ends that were not
// acknowledged.
//
// Partners stand on `dimension - 1` controllers of the view, one on each, which partners.h chooses: a
// controller dies with all its AMFs, so a second copy there would be worth nothing, and one here neither.
// Fewer if fewer controllers are alive.
//
// A prefix survives (H20): every partner gets our records in the order in which they began, also those that
// it gets later because it is a new one. So if one of them is anywhere when we die, all that began before it
// are, unless they have ended; and before another AMF finishes one of them, its partners get all of them.
// Where hosts have always been answered when the copies stand (no keep_order()) new records do not wait for
// the older ones that a new partner still has to get: nobody counts on what it has before it has all.
// Needs: adopt() before everything else of the new view; the Replicator outlives all OpenRecords.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "icl/message.h"
#include "icl/view.h"
#include "replica/amf_set.h"
#include "replica/completions.h"
#include "replica/partners.h"
#include "replica/record.h"
#include "replica/record_store.h"

namespace braid {

class OpenRecord;

/// What a record that ends has done to the disks.
enum class Effect : bool { none, done };

/// Bytes of a stripe's data; all of them if nothing is said.
struct StripeBytes {
    std::uint32_t offset = 0;
    std::uint32_t length = ~0u;
    bool meets(std::uint32_t other, std::uint32_t other_length) const {
        return offset < std::uint64_t{other} + other_length && other < std::uint64_t{offset} + length;
    }
};

struct ReplicatorCounters {
    std::uint64_t records = 0, resent = 0, ended = 0, stored = 0, refused = 0;
};

class Replicator {
public:
    Replicator(Executor& executor, Transport& transport, const Uuid& group)
        : executor_(executor),
          transport_(transport),
          group_(group),
          ended_(executor),
          answered_(executor),
          dropped_(executor),
          completions_(executor, transport, group) {}
    Replicator(const Replicator&) = delete;
    Replicator& operator=(const Replicator&) = delete;

    static constexpr std::size_t kCopyWindow = 8u << 20;
    /// Once, when the group's configuration is known; until then nobody here writes. `dimension` 1 .. 8.
    /// `copy_window`: bytes of open records that are on their way to one new partner at once, the next ones
    /// are sent when some are acknowledged; and of orphans to one who fetches them, who asks on for more.
    void configure(unsigned dimension, const RecordLimits& limits, std::size_t copy_window = kCopyWindow);

    void adopt(const AmfView& view) { adopt(view, able_); }
    void adopt(const AmfView& view, std::optional<AmfSet> able);
    /// Only these can finish what we leave: nobody else is a partner. All, if nothing was said.
    void allow(std::optional<AmfSet> able);
    /// Takes record_* and the two fetch messages. A frame that does not decode is counted and dropped.
    void deliver(AmfId from, const Message& message);

    bool fenced() const { return fenced_; }
    /// Copies that a new record has now, the writer's included, and how many there ought to be.
    unsigned copies() const { return static_cast<unsigned>(1 + partners_.size()); }
    unsigned dimension() const { return dimension_; }
    const AmfSet& partners() const { return partners_; }
    /// What our controller shares with the nearest of theirs.
    Nearness nearest() const { return nearest_; }
    /// Where an operator wants records of ours to be.
    void prefer(PreferredPartners partners);

    /// Nobody holds a record of ours for these bytes of the stripes in [first, first + count).
    bool quiet(StripeIndex first, std::uint64_t count, StripeBytes bytes = {}) const;
    /// Goes on when nobody holds a record of ours for these bytes of the stripes in [first, first + count)
    /// any more: the lock may leave. Never, if a record of them was left without an end: then we have to
    /// leave the view.
    Task<void> quiesced(StripeIndex first, std::uint64_t count, StripeBytes bytes = {});

    // ---- forwarded operations
    Completions& completions() { return completions_; }
    const Completions& completions() const { return completions_; }
    /// Whether somebody has done the first of these bytes of the errand before, and how far that goes: all in
    /// the view are asked. The caller has the stripe for writing. fenced.
    Task<Result<Completions::Run>> done_before(Completion part);

    // ---- recovery
    const RecordStore& store() const { return store_; }
    /// Brings all orphans of these stripes that anybody alive has into our store. fenced.
    Task<Status> gather(StripeIndex first, std::uint32_t count);
    /// All orphans there are; does something once in a view.
    Task<Status> gather_all();
    /// Hosts may have been answered before their records had their copies: before a partner gets a record
    /// that finishes one of a dead AMF's it gets all others of that one that are here. For good: what was
    /// answered so may be open, or a dead AMF's, when hosts are answered later again.
    void keep_order() { in_order_ = true; }
    bool keeps_order() const { return in_order_; }
    /// Removes records of the dead here and at everybody alive, and returns when all have acknowledged.
    /// fenced.
    Task<Status> forget(std::vector<EndFrame> ends);
    /// Goes on when there is no orphan of these bytes of the logical space here any more. fenced.
    Task<Status> forgotten(std::uint64_t begin, std::uint64_t end);
    /// An orphan is not here any more.
    Event& dropped() { return dropped_; }

    const ReplicatorCounters& counters() const { return counters_; }
    /// Records of ours that are open or whose end is not acknowledged.
    std::size_t live_records() const { return entries_.size() - free_.size(); }
    /// Open dirty records that new partners still have to get, and their bytes; and all that there were when
    /// partners were last chosen.
    struct Missing {
        std::size_t records = 0;
        std::uint64_t bytes = 0, bytes_at_first = 0;
    };
    Missing missing() const;
    /// So many records have begun. Whether all partners have those of them that are dirty and open.
    std::uint64_t begun() const { return next_number_ - 1; }
    bool copied(std::uint64_t begun) const;
    /// Its controller is about to leave in order: no partner of ours stands there from now on, and open
    /// records get copies elsewhere. Until the next view, which it is asked to leave with.
    void avoid(AmfId leaver);

private:
    friend class OpenRecord;
    static constexpr std::uint32_t kNone = ~0u;
    static constexpr std::size_t kBuckets = 8192;
    static constexpr unsigned kSlotBits = 24;

    /// A record of ours until nobody holds it. `open` is null once it was ended (or its operation is gone).
    struct Entry {
        std::uint64_t sequence = 0;  ///< 0: free. The low kSlotBits are the entry's place in the table
        StripeIndex stripe;
        std::uint32_t offset = 0, length = 0;  ///< of the new data in the stripe's
        OpenRecord* open = nullptr;
        AmfSet holders;  ///< may have a copy
        bool ended = false;
        bool done = false;           ///< it took effect
        std::uint32_t next = kNone;  ///< in its bucket
    };
    /// Records that one partner gets once more, by their sequence.
    struct Copying {
        std::deque<std::uint64_t> waiting;            ///< ascending: it has not been sent them in this view
        std::map<std::uint64_t, std::uint32_t> sent;  ///< and not acknowledged; their bytes
        std::size_t bytes = 0;                        ///< in `sent`
    };
    struct Forgetting {
        EndFrame end;
        AmfSet waiting;
    };
    struct Gathering {
        FetchFrame fetch;
        AmfSet waiting;
    };

    std::uint32_t& bucket(StripeIndex stripe) { return buckets_[stripe.v % kBuckets]; }
    std::uint32_t open_entry(OpenRecord& record);
    void retire(std::uint32_t slot);
    Entry* find(const RecordId& id);
    bool older_copies_elsewhere(const OpenRecord& record) const;
    void wake_stripe(StripeIndex stripe);

    void send_begin(const OpenRecord& record, AmfId to);
    void send_redo(const OpenRecord& record, AmfId to);
    void send_stored(const StoredRecord& record, AmfId to);
    void send_end(const Entry& entry, AmfId to);
    void note_done(const RecordInfo& info);
    bool choose_partners();
    void choose_again();
    void adopt_own_records(const AmfView& before);
    void copy_open_records();
    void copy_more(AmfId to);
    bool waits_for_copy(AmfId to, std::uint64_t sequence) const;
    void wake_open_records();
    void adopt_recovery();
    void hand_on(const RecordInfo& finished, AmfId to);
    AmfSet others() const;

    void on_begin(AmfId from, const Message& message);
    void on_redo(AmfId from, const Message& message);
    void on_end(AmfId from, const Message& message);
    void on_ack(AmfId from, const Message& message);
    void on_sent(AmfId to, const Message& message);
    void on_fetch(AmfId from, const Message& message);
    void on_fetched(AmfId from, const Message& message);
    void refuse(AmfId from, const Message& message);
    bool may_send(AmfId from, const RecordId& id) const;
    void acknowledge(AmfId to, const RecordId& id, AckedPart part);
    RecordId own_id(std::uint64_t sequence) const { return {view_.self, incarnation_, sequence}; }

    Executor& executor_;
    Transport& transport_;
    Uuid group_;
    unsigned dimension_ = 1;
    RecordLimits limits_;
    std::size_t copy_window_ = kCopyWindow;
    AmfView view_;
    Incarnation incarnation_;
    bool fenced_ = false;
    AmfSet partners_;
    Nearness nearest_ = Nearness::apart;
    PreferredPartners preferred_;
    std::set<ControllerId> leaving_;
    std::optional<AmfSet> able_;

    std::vector<Entry> entries_;
    std::vector<std::uint32_t> free_;
    std::array<std::uint32_t, kBuckets> buckets_ = [] {
        std::array<std::uint32_t, kBuckets> none;
        none.fill(kNone);
        return none;
    }();
    std::uint64_t next_number_ = 1;
    Event ended_;  ///< an entry is gone

    RecordStore store_;
    std::map<AmfId, Copying> copying_;
    std::uint64_t copying_at_first_ = 0;
    std::vector<Forgetting> forgetting_;
    std::vector<Gathering> gathering_;
    bool in_order_ = false;
    bool gathering_all_ = false;
    Epoch gathered_all_;                               ///< in this view
    std::set<std::pair<AmfMember, AmfId>> handed_on_;  ///< whose records to whom, in this view
    std::uint64_t next_ticket_ = 1;
    Event answered_;
    Event dropped_;  ///< an orphan
    Completions completions_;
    ReplicatorCounters counters_;
};

/// One record, in the frame of the coroutine that writes the stripe. Destroying it without end() is what a
/// crash does, and what an operation does that leaves a stripe half-written and cannot help it: nothing is
/// sent, the partners keep their copies, and the stripe stays blocked for quiesced(), so that its lock goes
/// to nobody before this AMF is out of the view and the copies are orphans.
class OpenRecord {
public:
    explicit OpenRecord(Replicator& replicator) : replicator_(replicator), moved_(replicator.executor_) {}
    OpenRecord(const OpenRecord&) = delete;
    OpenRecord& operator=(const OpenRecord&) = delete;
    ~OpenRecord();

    /// Sends the new data of [offset, offset + data) of the stripe, which begins at `base` in the logical
    /// space, and whose zone has this generation. The bytes stay unchanged as long as their owner lives,
    /// which is not null. `errand`: what it is a part of. `dirty`: the members will have it later, see
    /// stored().
    void begin(StripeIndex stripe, std::uint64_t base, std::uint32_t zone, std::uint32_t offset, Slice data,
               const Errand& errand = {}, bool dirty = false, bool receipt = false);
    /// The same for a write that finishes an orphan's.
    void begin_recovery(const StoredRecord& orphan, std::uint8_t attempts);
    /// Sends the new parity.
    void redo(Redo redo);

    /// Of a dirty record: all partners of the present view have the data, or we are fenced. Wait as for
    /// waiting().
    bool stored() const;
    /// Of a dirty record that asked for receipts: it has left this process for all partners of the present
    /// view, or is stored(). Wait as for waiting().
    bool sent() const;
    /// `while (r.waiting()) co_await r.moved().next();` then check fenced().
    bool waiting() const;
    Event& moved() { return moved_; }
    bool fenced() const { return replicator_.fenced_; }

    /// The stripe is consistent: partners may forget. Returns at once.
    void end(Effect effect);
    const RecordInfo& info() const { return info_; }

private:
    friend class Replicator;
    void open();
    Replicator& replicator_;
    RecordInfo info_;
    Slice data_;
    Redo redo_;
    bool redone_ = false;
    bool dirty_ = false;
    bool receipt_ = false;  ///< it is to be told when it has been sent
    bool late_ = false;     ///< it is on its way to a new partner
    std::uint32_t slot_ = Replicator::kNone;
    AmfSet acked_;      ///< have all of it
    AmfSet have_data_;  ///< of a dirty one
    AmfSet sent_to_;    ///< of one with receipts, in this view
    Event moved_;
};

}  // namespace braid
