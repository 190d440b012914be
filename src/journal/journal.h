// What this AMF is about to do to stripes, written down on the members before it is done: so that a stripe
// that is half-written when all power goes is finished before anybody looks at it, even with members missing
// (promise 3). And what a flush makes safe without touching a stripe: new data alone. A ring of batches
// (ondisk/journal_batch.h), the same on m + 1 members; whatever came while one batch was on its way goes with
// the next.
//
//   put() -> durable() -> [disk writes] -> done() -> retired: the members' caches are flushed, then a later
//   batch says that this one is not needed
//   put_data() -> durable() -> [as long as it takes] -> an entry that covers it is durable, or release()
//
// Guarantees: durable() returns after the entry is safe on all members of the ring that are not failed by
// agreement, so it survives whatever the group survives. Batches are retired in their order; data alone that
// is still needed does not hold them up, it is put once more at the head. What was put since an AMF died, of
// a stripe that stands in that one's ring, leaves a mark until the ring of the dead is closed: replay in the
// order of epochs is right only as long as something says that the older entry is over.
//
// The ring is bounded, and no wait for room is circular: data alone takes an eighth of it at most, there is
// always room to put it and the marks once more, and no entry waits for the ring of a dead AMF to be closed.
//
// A ring belongs to one life of its slot: it is opened in the tables and closed there, which voids all of it
// at once. Needs: wake() after every change of tables or view; done() for every entry that was put, unless
// this AMF is about to leave the group with a stripe half-written; what an entry meets of data alone that is
// older it covers wholly. Without a journal all of it does nothing.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "async/scope.h"
#include "async/sync.h"
#include "ondisk/journal_batch.h"
#include "tables/tables.h"

namespace braid {

struct JournalCounters {
    std::uint64_t entries = 0, batches = 0, bytes = 0;
    std::uint64_t retirements = 0;  ///< flushes of all members
    std::uint64_t full = 0;         ///< waits for room
    std::uint64_t data_entries = 0, moved = 0, marks = 0;
};

class Journal {
public:
    using Ticket = std::uint64_t;  ///< of an entry; 0: none

    Journal(Executor& executor, Tables& tables)
        : executor_(executor),
          tables_(tables),
          moved_(executor),
          done_(executor),
          room_(executor),
          scope_(executor) {}
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    /// The tables say that our ring is open. Nothing is put before.
    void open();
    bool is_open() const { return ring_size_ != 0; }
    /// Returns when the ring is open, at once for a group without a journal.
    Task<void> opened();

    /// What is about to be written. `data` and `parity`, which have owners, stay unchanged until durable().
    /// `of_the_dead`: it finishes a write of a dead AMF, of whom there may be more in the stripe.
    Ticket put(const JournalEntry& entry, Slice data, Slice parity, bool of_the_dead = false);
    /// New data that its stripe is to get some day, and that replay writes if it has not. It goes with what
    /// is put before the next durable(). `data` stays unchanged as long as its owner lives.
    Ticket put_data(StripeIndex stripe, std::uint32_t zone, std::uint32_t offset, Slice data);
    /// There is room for so much more of it.
    bool has_room_for_data(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) const;
    bool has_data() const { return !data_.empty(); }
    bool has_data(StripeIndex stripe) const { return data_.contains(stripe); }
    /// Some of it should go to the members before there is room for no more.
    bool has_much_data() const { return data_cost_ > most_data() / 2; }
    /// Bytes of a stripe, with all of the data entries that they meet.
    std::pair<std::uint32_t, std::uint32_t> with_data_met(StripeIndex stripe, std::uint32_t offset,
                                                          std::uint32_t end) const;
    /// Data entries of these bytes are needed no more.
    void release(StripeIndex stripe, std::uint32_t offset, std::uint32_t length);
    /// offline.
    Task<Status> durable(Ticket ticket);
    /// What the entry is about is on the members, or not one of them was touched for it.
    void done(Ticket ticket);

    /// Something in the ring is about a stripe in [first, first + count).
    bool any_in(StripeIndex first, std::uint64_t count) const;
    /// Goes on when nothing in the ring is about a stripe in [first, first + count): the lock may leave.
    /// Never, if an entry of these is not done.
    Task<void> retired(StripeIndex first, std::uint64_t count);
    /// Begins to retire what is done.
    void retire_soon() {
        if (!entries_.empty()) want_retirer();
    }
    /// Nothing is on its way to a disk when it returns, and nothing comes any more.
    Task<void> stop();
    void wake();

    std::size_t entries() const { return entries_.size(); }
    std::uint64_t used_bytes() const { return used_; }
    const JournalCounters& counters() const { return counters_; }

private:
    struct Entry {
        JournalEntry what;
        bool of_the_dead = false;
        bool released = false;    ///< data alone that is not needed any more
        std::uint64_t batch = 0;  ///< its number, of data alone the last one; 0: not durable
        std::uint64_t cost = 0;   ///< of data alone, as long as replay may have to put it
        Slice data, parity;       ///< as long as they may have to be written
        bool data_alone() const { return what.kind == JournalKind::data; }
        bool lasts() const { return data_alone() && !released; }
        bool meets(std::uint32_t offset, std::uint32_t end) const {
            return what.offset < end && offset < what.offset + what.length;
        }
    };
    struct Batch {
        std::uint64_t number = 0;
        Epoch epoch;
        std::uint64_t taken = 0;  ///< of the ring, with what was left free at its end
        std::vector<Ticket> entries;
        std::size_t undone = 0;
    };
    /// Stripe, `before`, offset, length.
    using Mark = std::tuple<StripeIndex, Epoch, std::uint32_t, std::uint32_t>;
    /// What goes with the next batch.
    struct Load {
        std::vector<Ticket> entries;  ///< those of before, then those that wait
        std::size_t count = 0;        ///< of those that wait
        std::vector<Mark> marks;
        std::uint64_t size = kPageSize;  ///< bytes, header and all
        std::uint64_t at = 0;            ///< in the ring
        std::uint64_t tail = 0;
        std::size_t places() const { return kMaxJournalEntries - entries.size() - marks.size(); }
    };
    struct DeadRing {
        std::uint64_t life = 0;  ///< 0: there is none
        bool reading = false, read = false;
        std::set<StripeIndex> stripes;  ///< that stand in it
    };
    struct Waiter;
    static constexpr std::size_t kBuckets = 1024;
    static constexpr std::uint64_t kMaxBatch = 1u << 20;  ///< bytes, beyond the first entry
    static constexpr std::uint64_t kDataShare = 8;        ///< data alone takes so much of the ring at most

    std::uint32_t& bucket(StripeIndex stripe) { return buckets_[stripe.v % kBuckets]; }
    bool over() const { return stopped_ || tables_.offline(); }
    bool must_write() const { return !waiting_.empty() || tail_ != published_tail_; }
    Ticket put_entry(Entry entry);
    std::uint64_t cost(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) const;
    void stand_durable(Ticket ticket, std::uint64_t batch);
    void release(Entry& entry, bool covered);
    Task<void> look_into(AmfSlot slot);
    bool dead_rings_read() const;
    bool in_dead_ring(StripeIndex stripe) const;
    void mark(const Batch& batch);
    MemberMask ok_members() const;
    Task<Status> on_members(MemberMask members, std::uint64_t at, std::span<const std::byte> bytes);

    void want_writer();
    Task<void> writer();
    std::optional<Load> next_load() const;
    std::uint64_t stays_free() const;
    std::uint64_t most_data() const { return ring_size_ / kDataShare; }
    std::uint64_t gap_before(std::uint64_t at) const { return at < head_ ? ring_size_ - head_ : 0; }
    bool find_place(Load& load, std::uint64_t free) const;
    std::pair<Batch, Buffer> prepare(const Load& load);
    Task<bool> write_batch(Load load, Batch batch, Buffer bytes);
    void forget_retired();

    void want_retirer();
    Task<void> retirer();
    Task<void> fill_ring();
    std::uint64_t done_up_to() const;

    Executor& executor_;
    Tables& tables_;
    Event moved_;  ///< something is durable or retired, or tables or view have changed
    Event done_;   ///< an entry is done, or tables or view have changed
    Event room_;   ///< there is a new tail to write, or tables or view have changed: for who waits for room
    JournalOwner owner_;
    std::uint64_t ring_size_ = 0;

    std::map<Ticket, Entry> entries_;  ///< not retired
    Ticket last_ticket_ = 0;
    std::deque<Ticket> waiting_;                       ///< not in a batch yet
    std::array<std::uint32_t, kBuckets> buckets_{};    ///< entries by stripe
    std::map<StripeIndex, std::vector<Ticket>> data_;  ///< that lasts
    std::uint64_t data_cost_ = 0;                      ///< of these
    std::uint64_t uncovered_cost_ = 0;  ///< of data that is released, and replay cannot tell: until retired
    std::map<Mark, std::pair<std::uint32_t, std::uint64_t>> marks_;  ///< their zone and batch; 0: not durable

    std::deque<Batch> batches_;  ///< not retired; their numbers follow each other
    std::uint64_t head_ = 0;     ///< where the next batch goes, if it fits
    std::uint64_t used_ = 0;     ///< bytes of the ring that batches_ take
    std::uint64_t next_number_ = 1;
    std::uint64_t tail_ = 1;            ///< before it there is nothing but what goes to the head
    std::uint64_t published_tail_ = 1;  ///< as the newest batch on the members says
    std::optional<Epoch> marked_from_;  ///< since then an AMF is dead whose ring is open
    std::array<DeadRing, kMaxGroupAmfs> dead_;

    bool writer_runs_ = false, retirer_runs_ = false, filling_ = false, retire_wanted_ = false,
         stopped_ = false;
    unsigned waiters_ = 0;  ///< who need something retired
    JournalCounters counters_;
    Scope scope_;
};

}  // namespace braid
