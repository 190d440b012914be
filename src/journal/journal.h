// What this AMF is about to do to stripes, written down on the members before it is done: so that a stripe
// that is half-written when all power goes is finished before anybody looks at it, even with members missing
// (promise 3). A ring of batches (ondisk/journal_batch.h), the same on m + 1 members; whatever came while one
// batch was on its way goes with the next.
//
//   put() -> durable() -> [disk writes] -> done() -> retired: the members' caches are flushed, then a later
//   batch says that this one is not needed
//
// Guarantees: durable() returns after the entry is safe on all members of the ring that are not failed by
// agreement, so it survives whatever the group survives. Batches are retired in their order. What was put
// since an AMF died is not retired before the ring of that one is closed: replay in the order of epochs is
// right only as long as all of it is there.
//
// The ring is bounded, and no wait for room is circular: who finishes what the dead have left half-written,
// which must be before their ring is closed, needs no room, because the entry of the dead still stands for it
// (replay.h, ring_holds()).
//
// A ring belongs to one life of its slot: it is opened in the tables and closed there, which voids all of it
// at once. Needs: wake() after every change of tables or view; done() for every entry that was put, unless
// this AMF is about to leave the group with a stripe half-written. Without a journal all of it does nothing.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
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

    /// `data` and `parity`, which have owners, stay unchanged until durable().
    Ticket put(const JournalEntry& entry, Slice data, Slice parity);
    /// offline.
    Task<Status> durable(Ticket ticket);
    /// What the entry is about is on the members, or not one of them was touched for it.
    void done(Ticket ticket);

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
        StripeIndex stripe;
        std::uint64_t batch = 0;  ///< its number; 0: not durable
    };
    struct Waiting {
        Ticket ticket = 0;
        JournalEntry entry;
        Slice data, parity;
    };
    struct Batch {
        std::uint64_t number = 0;
        Epoch epoch;
        std::uint64_t taken = 0;  ///< of the ring, with what was left free at its end
        std::vector<Ticket> entries;
        std::size_t undone = 0;
    };
    /// What goes with the next batch.
    struct Load {
        std::size_t count = 0;
        std::uint64_t size = 0;  ///< bytes, header and all
        std::uint64_t at = 0;    ///< in the ring
    };
    struct Waiter;
    static constexpr std::size_t kBuckets = 1024;
    static constexpr std::uint64_t kMaxBatch = 1u << 20;  ///< bytes, beyond the first entry

    std::uint32_t& bucket(StripeIndex stripe) { return buckets_[stripe.v % kBuckets]; }
    bool any_in(StripeIndex first, std::uint64_t count) const;
    bool over() const { return stopped_ || tables_.offline(); }
    bool must_write() const { return !waiting_.empty() || tail_ != published_tail_; }
    MemberMask ok_members() const;
    Task<Status> on_members(MemberMask members, std::uint64_t at, std::span<const std::byte> bytes);

    void want_writer();
    Task<void> writer();
    std::optional<Load> next_load() const;
    std::uint64_t gap_before(std::uint64_t at) const { return at < head_ ? ring_size_ - head_ : 0; }
    bool find_place(Load& load, std::uint64_t stays_free) const;
    Task<bool> write_batch(Load load);
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
    std::deque<Waiting> waiting_;                    ///< not in a batch yet
    std::array<std::uint32_t, kBuckets> buckets_{};  ///< entries by stripe

    std::deque<Batch> batches_;  ///< not retired; their numbers follow each other
    std::uint64_t head_ = 0;     ///< where the next batch goes, if it fits
    std::uint64_t used_ = 0;     ///< bytes of the ring that batches_ take
    std::uint64_t next_number_ = 1;
    std::uint64_t tail_ = 1;            ///< the first batch that is needed
    std::uint64_t published_tail_ = 1;  ///< as the newest batch on the members says
    std::optional<Epoch> held_from_;    ///< since then an AMF is dead whose ring is open

    bool writer_runs_ = false, retirer_runs_ = false, filling_ = false, retire_wanted_ = false,
         stopped_ = false;
    unsigned waiters_ = 0;  ///< who need something retired
    JournalCounters counters_;
    Scope scope_;
};

}  // namespace braid
