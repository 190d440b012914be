#include "journal/journal.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace braid {

/// Somebody who needs something retired, as long as it lives.
struct Journal::Waiter {
    explicit Waiter(Journal& j) : journal(j) {
        ++journal.waiters_;
        journal.want_retirer();
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { --journal.waiters_; }
    Journal& journal;
};

void Journal::open() {
    const GroupConfig& config = tables_.config();
    const JournalState& state = tables_.journal(tables_.slot());
    ASSERT(config.has_journal() && state.open());
    owner_ = {tables_.group(), config.journal.key, tables_.slot(), state.life};
    ring_size_ = config.journal.ring_size;
    wake();
}

Task<void> Journal::opened() {
    while (!is_open() && tables_.config().has_journal() && !over()) co_await moved_.next();
}

/// Who was not in the view when this AMF came may have died at any time before.
void Journal::wake() {
    if (!tables_.journal_of_the_dead()) {
        held_from_.reset();
    } else if (!held_from_) {
        held_from_ = tables_.view().epoch;
    }
    if (is_open() && !filling_ && tables_.journal(owner_.slot).filling.any()) {
        filling_ = true;
        scope_.spawn(fill_ring());
    }
    moved_.notify_all();
    done_.notify_all();
    room_.notify_all();
}

/// What was put before a member was chosen for the ring is not on it: the ring is whole when all of that is
/// retired.
Task<void> Journal::fill_ring() {
    while (!over() && tables_.journal(owner_.slot).filling.any()) {
        const JournalState as = tables_.journal(owner_.slot);
        const std::uint64_t first = next_number_;
        const auto old = [first](const Batch& batch) {
            return batch.number < first && !batch.entries.empty();
        };
        const Waiter waiter(*this);
        while (!over() && std::ranges::any_of(batches_, old)) co_await moved_.next();
        if (over() || !co_await tables_.ring_filled(as)) break;
    }
    filling_ = false;
    moved_.notify_all();
}

Journal::Ticket Journal::put(const JournalEntry& entry, Slice data, Slice parity) {
    if (!is_open()) return 0;
    entries_.emplace(++last_ticket_, Entry{entry.stripe, 0});
    ++bucket(entry.stripe);
    waiting_.push_back({last_ticket_, entry, std::move(data), std::move(parity)});
    ++counters_.entries;
    want_writer();
    return last_ticket_;
}

Task<Status> Journal::durable(Ticket ticket) {
    while (ticket != 0 && entries_.at(ticket).batch == 0) {
        if (over()) co_return fail(Errc::offline);
        co_await moved_.next();
    }
    co_return Status{};
}

void Journal::done(Ticket ticket) {
    if (ticket == 0) return;
    const Entry& entry = entries_.at(ticket);
    ASSERT(entry.batch != 0);
    --batches_[entry.batch - batches_.front().number].undone;
    done_.notify_all();
}

bool Journal::any_in(StripeIndex first, std::uint64_t count) const {
    if (entries_.empty() || (count == 1 && buckets_[first.v % kBuckets] == 0)) return false;
    return std::ranges::any_of(entries_, [&](const auto& entry) {
        const std::uint64_t stripe = entry.second.stripe.v;
        return stripe >= first.v && stripe - first.v < count;
    });
}

Task<void> Journal::retired(StripeIndex first, std::uint64_t count) {
    while (any_in(first, count)) {
        const Waiter waiter(*this);
        co_await moved_.next();
    }
}

Task<void> Journal::stop() {
    stopped_ = true;
    wake();
    while (writer_runs_ || retirer_runs_ || filling_) co_await moved_.next();
}

MemberMask Journal::ok_members() const {
    MemberMask out;
    for (std::size_t i = 0; i < tables_.config().members.size(); ++i) {
        out[i] = tables_.member_ok(MemberIndex(static_cast<std::uint8_t>(i)));
    }
    return out;
}

/// Writes these bytes, if there are any, then flushes. Members that fail are failed by agreement before it
/// returns. offline.
Task<Status> Journal::on_members(MemberMask members, std::uint64_t at, std::span<const std::byte> bytes) {
    MemberMask failed;
    for (const DiskVerb verb : {DiskVerb::write, DiskVerb::flush}) {
        if (verb == DiskVerb::write && bytes.empty()) continue;
        std::vector<DiskOp> ops(members.size());
        Join join(executor_);
        for (std::uint8_t i = 0; i < members.size(); ++i) {
            if (!members[i] || failed[i]) continue;
            ops[i].verb = verb;
            ops[i].offset = at;
            if (verb == DiskVerb::write) ops[i].memory = {const_cast<std::byte*>(bytes.data()), bytes.size()};
            tables_.disk(MemberIndex(i))->submit(ops[i], join);
        }
        co_await join;
        for (std::uint8_t i = 0; i < members.size(); ++i) failed[i] = failed[i] || !ops[i].status;
    }
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (failed[i]) CO_TRY(co_await tables_.fail_member(MemberIndex(i)));
    }
    if (tables_.offline()) co_return fail(Errc::offline);
    co_return Status{};
}

// ---- writing

void Journal::want_writer() {
    if (writer_runs_ || over()) return;
    writer_runs_ = true;
    scope_.spawn(writer());
}

/// What is used of the ring is one piece, from the first batch to head_, around the end.
bool Journal::find_place(Load& load, std::uint64_t stays_free) const {
    load.at = head_ + load.size <= ring_size_ ? head_ : 0;
    return used_ + gap_before(load.at) + load.size + stays_free <= ring_size_;
}

/// So many of those that wait go together, or a header alone if that makes room. Nothing if there is no room.
std::optional<Journal::Load> Journal::next_load() const {
    // For a header alone there is room always: it is what makes room.
    constexpr std::uint64_t kForHeaders = 2 * kPageSize;
    Load load{0, kPageSize, 0};
    while (load.count < std::min(waiting_.size(), kMaxJournalEntries)) {
        const std::uint64_t size = waiting_[load.count].entry.payload();
        if (load.count != 0 && load.size + size > std::min(kMaxBatch, ring_size_ / 4)) break;
        load.size += size;
        ++load.count;
    }
    if (load.count != 0 && find_place(load, kForHeaders)) return load;
    if (tail_ == published_tail_) return std::nullopt;
    load = {0, kPageSize, 0};
    const bool fits = find_place(load, 0);
    ASSERT(fits);
    return load;
}

Task<void> Journal::writer() {
    while (!over() && must_write()) {
        const std::optional<Load> load = next_load();
        if (load) {
            if (!co_await write_batch(*load)) break;
            continue;
        }
        ++counters_.full;
        const Waiter waiter(*this);
        co_await room_.next();
    }
    writer_runs_ = false;
    moved_.notify_all();
}

Task<bool> Journal::write_batch(Load load) {
    JournalBatch batch{tables_.view().epoch, next_number_++, tail_, {}};
    Batch kept{batch.number, batch.epoch, gap_before(load.at) + load.size, {}, load.count};
    const Buffer bytes(load.size);
    std::byte* to = bytes.data() + kPageSize;
    for (std::size_t i = 0; i < load.count; ++i) {
        const Waiting& next = waiting_.front();
        batch.entries.push_back(next.entry);
        kept.entries.push_back(next.ticket);
        for (const Slice* part : {&next.data, &next.parity}) {
            if (part->bytes.empty()) continue;
            std::memcpy(to, part->bytes.data(), part->bytes.size());
            to += part->bytes.size();
        }
        waiting_.pop_front();
    }
    ASSERT(to == bytes.data() + bytes.size());
    seal_journal_batch(bytes.span(), batch, owner_);
    const MemberMask members = tables_.journal(owner_.slot).members & ok_members();
    const std::uint64_t start = tables_.config().ring_start(owner_.slot);
    if (!co_await on_members(members, start + load.at, bytes.span())) co_return false;
    for (const Ticket ticket : kept.entries) entries_.at(ticket).batch = batch.number;
    used_ += kept.taken;
    batches_.push_back(std::move(kept));
    head_ = load.at + load.size;
    published_tail_ = batch.tail;
    ++counters_.batches;
    counters_.bytes += load.size;
    forget_retired();
    if (used_ > ring_size_ / 4) retire_soon();
    moved_.notify_all();
    co_return true;
}

// ---- retiring

void Journal::forget_retired() {
    while (!batches_.empty() && batches_.front().number < published_tail_) {
        used_ -= batches_.front().taken;
        for (const Ticket ticket : batches_.front().entries) {
            const auto entry = entries_.find(ticket);
            --bucket(entry->second.stripe);
            entries_.erase(entry);
        }
        batches_.pop_front();
    }
}

void Journal::want_retirer() {
    retire_wanted_ = true;
    if (retirer_runs_ || over()) return;
    retirer_runs_ = true;
    scope_.spawn(retirer());
}

/// The last batch with entries that are all done, and with them those of all batches before. 0: none.
std::uint64_t Journal::done_up_to() const {
    std::uint64_t out = 0;
    for (const Batch& batch : batches_) {
        if (batch.undone != 0 || (held_from_ && batch.epoch >= *held_from_)) break;
        if (!batch.entries.empty()) out = batch.number;
    }
    return out;
}

Task<void> Journal::retirer() {
    while (std::exchange(retire_wanted_, false) && !over()) {
        const std::uint64_t last = done_up_to();
        if (last < tail_) {
            if (waiters_ == 0) continue;
            co_await done_.next();
            retire_wanted_ = true;
            continue;
        }
        ++counters_.retirements;
        if (!co_await on_members(ok_members(), 0, {})) break;
        tail_ = last + 1;
        room_.notify_all();
        want_writer();
        while (published_tail_ < tail_ && !over()) co_await moved_.next();
        retire_wanted_ |= waiters_ != 0;
    }
    retirer_runs_ = false;
    moved_.notify_all();
}

}  // namespace braid
