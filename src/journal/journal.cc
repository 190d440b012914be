#include "journal/journal.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "journal/replay.h"
#include "layout/stripe_write.h"

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
        marked_from_.reset();
        marks_.clear();
    } else if (!marked_from_) {
        marked_from_ = tables_.view().epoch;
    }
    for (std::uint8_t i = 0; is_open() && i < dead_.size(); ++i) {
        const std::uint64_t life =
            tables_.is_dead(tables_.journal(AmfSlot(i))) ? tables_.journal(AmfSlot(i)).life : 0;
        DeadRing& ring = dead_[i];
        if (ring.life != life) {
            ring.life = life;
            ring.read = false;
            ring.stripes.clear();
        }
        if (life != 0 && !ring.read && !std::exchange(ring.reading, true))
            scope_.spawn(look_into(AmfSlot(i)));
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
        const auto stands_in = [this](Ticket ticket, const Batch& batch) {
            const auto entry = entries_.find(ticket);
            return entry != entries_.end() && entry->second.batch == batch.number;
        };
        const auto old = [&](const Batch& batch) {
            const auto marks = [&](const auto& mark) { return mark.second.second == batch.number; };
            const auto stands = [&](Ticket ticket) { return stands_in(ticket, batch); };
            return batch.number < first &&
                   (std::ranges::any_of(batch.entries, stands) || std::ranges::any_of(marks_, marks));
        };
        // One that is on its way was begun without the new member, too.
        const auto on_its_way = [&] {
            return first > 1 && (batches_.empty() || batches_.back().number + 1 < first);
        };
        const Waiter waiter(*this);
        while (!over() && (on_its_way() || std::ranges::any_of(batches_, old))) co_await moved_.next();
        if (over() || !co_await tables_.ring_filled(as)) break;
    }
    filling_ = false;
    moved_.notify_all();
}

/// Which stripes stand in the ring of a dead AMF: only they need marks.
Task<void> Journal::look_into(AmfSlot slot) {
    DeadRing& ring = dead_[slot.v];
    while (ring.life != 0 && !ring.read && !over()) {
        const std::uint64_t life = ring.life;
        Result<std::set<StripeIndex>> found = co_await ring_stripes(executor_, tables_, slot);
        if (ring.life != life) continue;
        if (!found) break;  // the next wake() tries again; nothing put since is retired before
        ring.stripes = std::move(*found);
        ring.read = true;
    }
    ring.reading = false;
    moved_.notify_all();
    done_.notify_all();
    retire_soon();
}

bool Journal::dead_rings_read() const {
    return std::ranges::all_of(dead_, [](const DeadRing& ring) { return ring.life == 0 || ring.read; });
}

bool Journal::in_dead_ring(StripeIndex stripe) const {
    return std::ranges::any_of(dead_, [&](const DeadRing& ring) { return ring.stripes.contains(stripe); });
}

Journal::Ticket Journal::put_entry(Entry entry) {
    const StripeIndex stripe = entry.what.stripe;
    entries_.emplace(++last_ticket_, std::move(entry));
    ++bucket(stripe);
    waiting_.push_back(last_ticket_);
    ++counters_.entries;
    return last_ticket_;
}

Journal::Ticket Journal::put(const JournalEntry& entry, Slice data, Slice parity, bool of_the_dead) {
    if (!is_open()) return 0;
    const Ticket ticket = put_entry({entry, of_the_dead, false, 0, 0, std::move(data), std::move(parity)});
    want_writer();
    return ticket;
}

Journal::Ticket Journal::put_data(StripeIndex stripe, std::uint32_t zone, std::uint32_t offset, Slice data) {
    ASSERT(is_open());
    const auto length = static_cast<std::uint32_t>(data.bytes.size());
    const JournalEntry entry{.kind = JournalKind::data,
                             .before = {},
                             .stripe = stripe,
                             .zone = zone,
                             .offset = offset,
                             .length = length};
    const std::uint64_t room = cost(stripe, offset, length);
    const Ticket ticket = put_entry({entry, false, false, 0, room, std::move(data), {}});
    data_[stripe].push_back(ticket);
    data_cost_ += room;
    ++counters_.data_entries;
    return ticket;
}

/// What replay has to have room for: the same with its parity.
std::uint64_t Journal::cost(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) const {
    const Geometry geometry = tables_.geometry_of(stripe);
    return length +
           std::uint64_t{geometry.m} * StripeWrite{geometry.strip_size, offset, length}.hull().length();
}

bool Journal::has_room_for_data(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) const {
    return is_open() && data_cost_ + uncovered_cost_ + cost(stripe, offset, length) <= most_data();
}

std::pair<std::uint32_t, std::uint32_t> Journal::with_data_met(StripeIndex stripe, std::uint32_t offset,
                                                               std::uint32_t end) const {
    const auto of_stripe = data_.find(stripe);
    if (of_stripe == data_.end()) return {offset, end};
    for (const Ticket ticket : of_stripe->second) {  // they do not meet each other, once they are durable
        const Entry& entry = entries_.at(ticket);
        if (!entry.meets(offset, end)) continue;
        const std::uint32_t from = std::min(offset, entry.what.offset);
        const std::uint32_t to = std::max(end, entry.what.offset + entry.what.length);
        if (from != offset || to != end) return with_data_met(stripe, from, to);
    }
    return {offset, end};
}

/// `covered`: by an entry behind it, which tells replay.
void Journal::release(Entry& entry, bool covered) {
    entry.released = true;
    if (entry.batch != 0) entry.data = {};
    data_cost_ -= entry.cost;
    if (covered) entry.cost = 0;
    uncovered_cost_ += entry.cost;
}

void Journal::release(StripeIndex stripe, std::uint32_t offset, std::uint32_t length) {
    const auto of_stripe = data_.find(stripe);
    if (of_stripe == data_.end()) return;
    std::erase_if(of_stripe->second, [&](Ticket ticket) {
        Entry& entry = entries_.at(ticket);
        if (!entry.meets(offset, offset + length)) return false;
        release(entry, false);
        return true;
    });
    if (of_stripe->second.empty()) data_.erase(of_stripe);
    if (uncovered_cost_ > most_data() / 2) retire_soon();
    done_.notify_all();
}

/// What it covers of older data is not needed any more.
void Journal::stand_durable(Ticket ticket, std::uint64_t batch) {
    Entry& entry = entries_.at(ticket);
    const bool fresh = std::exchange(entry.batch, batch) == 0;
    if (!entry.lasts()) {
        entry.data = {};
        entry.parity = {};
    }
    if (!fresh || entry.what.length == 0) return;
    const auto of_stripe = data_.find(entry.what.stripe);
    if (of_stripe == data_.end()) return;
    const std::uint32_t from = entry.what.offset, to = from + entry.what.length;
    std::erase_if(of_stripe->second, [&](Ticket older) {
        Entry& old = entries_.at(older);
        if (older >= ticket || !old.meets(from, to)) return false;
        ASSERT(old.what.offset >= from && old.what.offset + old.what.length <= to);
        release(old, true);
        return true;
    });
    if (of_stripe->second.empty()) data_.erase(of_stripe);
}

/// Retired long ago, if it is not there.
Task<Status> Journal::durable(Ticket ticket) {
    const auto waits = [&] {
        const auto entry = entries_.find(ticket);
        return entry != entries_.end() && entry->second.batch == 0;
    };
    while (waits()) {
        if (over()) co_return fail(Errc::offline);
        want_writer();
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
        const std::uint64_t stripe = entry.second.what.stripe.v;
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
    const auto reads = [](const DeadRing& ring) { return ring.reading; };
    while (writer_runs_ || retirer_runs_ || filling_ || std::ranges::any_of(dead_, reads))
        co_await moved_.next();
}

MemberMask Journal::ok_members() const {
    MemberMask out;
    for (std::size_t i = 0; i < tables_.config().members.size(); ++i) {
        out[i] = tables_.member_ok(MemberIndex(static_cast<std::uint8_t>(i)));
    }
    return out;
}

/// Writes these bytes durably, or flushes if there are none. Members that fail are failed by agreement before
/// it returns. offline.
Task<Status> Journal::on_members(MemberMask members, std::uint64_t at, std::span<const std::byte> bytes) {
    std::vector<DiskOp> ops(members.size());
    Join join(executor_);
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (!members[i]) continue;
        DiskOp& op = ops[i];
        op.purpose = DiskPurpose::log;
        op.verb = DiskVerb::flush;
        if (!bytes.empty()) {
            op.verb = DiskVerb::write;
            op.durable = true;
            op.offset = at;
            op.memory = {const_cast<std::byte*>(bytes.data()), bytes.size()};
        }
        tables_.disk(MemberIndex(i))->submit(op, join);
    }
    co_await join;
    for (std::uint8_t i = 0; i < members.size(); ++i) {
        if (!ops[i].status) CO_TRY(co_await tables_.fail_member(MemberIndex(i)));
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
bool Journal::find_place(Load& load, std::uint64_t free) const {
    load.at = head_ + load.size <= ring_size_ ? head_ : 0;
    return used_ + gap_before(load.at) + load.size + free <= ring_size_;
}

/// What lasts can be put at the head twice: once to make room, once with its parity by replay. What is
/// released and not covered once: replay takes it for what lasts. For a header alone there is room always: it
/// is what makes room.
std::uint64_t Journal::stays_free() const {
    const std::uint64_t headers = 4 + 2 * (entries_.size() + marks_.size()) / kMaxJournalEntries;
    const std::uint64_t data = 2 * data_cost_ + uncovered_cost_;
    return headers * kPageSize + data + (data == 0 ? 0 : most_data());
}

/// First what stands before the tail that is to be and is still needed; when all of that has gone along the
/// tail may move. Then as many of those that wait as fit. Nothing if there is no room.
std::optional<Journal::Load> Journal::next_load() const {
    Load load;
    load.tail = published_tail_;
    bool all = true;
    const auto takes = [&](std::uint64_t size, std::uint64_t most) {
        return load.places() != 0 && (load.size == kPageSize || load.size + size <= kPageSize + most);
    };
    if (tail_ != published_tail_) {
        for (const auto& [stripe, tickets] : data_) {
            for (const Ticket ticket : tickets) {
                const Entry& entry = entries_.at(ticket);
                if (entry.batch == 0 || entry.batch >= tail_) continue;
                all = all && takes(entry.what.payload(), most_data());
                if (!all) break;
                load.entries.push_back(ticket);
                load.size += entry.what.payload();
            }
        }
        for (const auto& [mark, where] : marks_) {
            if (where.second >= tail_) continue;
            all = all && load.places() != 0;
            if (!all) break;
            load.marks.push_back(mark);
        }
        if (all) load.tail = tail_;
    }
    const Load alone = load;
    while (all && load.count < waiting_.size()) {
        const std::uint64_t size = entries_.at(waiting_[load.count]).what.payload();
        if (!takes(size, std::min(kMaxBatch, most_data()))) break;
        load.entries.push_back(waiting_[load.count]);
        load.size += size;
        ++load.count;
    }
    if (load.count != 0 && find_place(load, stays_free())) return load;
    if (tail_ == published_tail_) return std::nullopt;
    load = alone;
    const bool fits = find_place(load, 0);
    ASSERT(fits);
    return load;
}

Task<void> Journal::writer() {
    while (!over() && must_write()) {
        std::optional<Load> load = next_load();
        if (load) {
            auto [batch, bytes] = prepare(*load);
            if (!co_await write_batch(std::move(*load), std::move(batch), std::move(bytes))) break;
            continue;
        }
        ++counters_.full;
        const Waiter waiter(*this);
        co_await room_.next();
    }
    writer_runs_ = false;
    moved_.notify_all();
}

std::pair<Journal::Batch, Buffer> Journal::prepare(const Load& load) {
    JournalBatch batch{tables_.view().epoch, next_number_++, load.tail, {}};
    Batch kept{batch.number, batch.epoch, gap_before(load.at) + load.size, load.entries, 0};
    const Buffer bytes(load.size);
    std::byte* to = bytes.data() + kPageSize;
    for (const Ticket ticket : load.entries) {
        const Entry& entry = entries_.at(ticket);
        batch.entries.push_back(entry.what);
        kept.undone += entry.data_alone() ? 0 : 1;
        for (const Slice* part : {&entry.data, &entry.parity}) {
            if (part->bytes.empty()) continue;
            std::memcpy(to, part->bytes.data(), part->bytes.size());
            to += part->bytes.size();
        }
    }
    for (const Mark& mark : load.marks) {
        const auto& [stripe, before, offset, length] = mark;
        batch.entries.push_back({.kind = JournalKind::over,
                                 .before = before,
                                 .stripe = stripe,
                                 .zone = marks_.at(mark).first,
                                 .offset = offset,
                                 .length = length});
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(load.count));
    ASSERT(to == bytes.data() + bytes.size());
    seal_journal_batch(bytes.span(), batch, owner_);
    return {std::move(kept), bytes};
}

Task<bool> Journal::write_batch(Load load, Batch batch, Buffer bytes) {
    const MemberMask members = tables_.journal(owner_.slot).members & ok_members();
    const std::uint64_t start = tables_.config().ring_start(owner_.slot);
    if (!co_await on_members(members, start + load.at, bytes.span())) co_return false;
    for (const Ticket ticket : load.entries) stand_durable(ticket, batch.number);
    for (const Mark& mark : load.marks) {
        if (const auto at = marks_.find(mark); at != marks_.end()) at->second.second = batch.number;
    }
    used_ += batch.taken;
    batches_.push_back(std::move(batch));
    head_ = load.at + load.size;
    published_tail_ = load.tail;
    ++counters_.batches;
    counters_.bytes += load.size;
    counters_.moved += load.entries.size() - load.count;
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
            if (entry == entries_.end() || entry->second.batch != batches_.front().number) continue;  // moved
            ASSERT(!entry->second.lasts());
            uncovered_cost_ -= entry->second.cost;
            --bucket(entry->second.what.stripe);
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

/// The last batch with something that is over, such that all writes are done there and in those before. 0:
/// none.
std::uint64_t Journal::done_up_to() const {
    std::uint64_t out = 0;
    for (const Batch& batch : batches_) {
        const bool may_need_marks = marked_from_ && batch.epoch >= *marked_from_;
        if (batch.undone != 0 || (may_need_marks && !dead_rings_read())) break;
        const bool any_over = std::ranges::any_of(batch.entries, [&](Ticket ticket) {
            const auto entry = entries_.find(ticket);
            return entry == entries_.end() || !entry->second.lasts() || entry->second.batch != batch.number;
        });
        if (any_over) out = batch.number;
    }
    return out;
}

/// Its writes, which are on the members.
void Journal::mark(const Batch& batch) {
    if (!marked_from_ || batch.epoch < *marked_from_) return;
    for (const Ticket ticket : batch.entries) {
        const auto entry = entries_.find(ticket);
        if (entry == entries_.end() || entry->second.data_alone()) continue;
        const JournalEntry& what = entry->second.what;
        if (!in_dead_ring(what.stripe)) continue;
        // Nobody writes what is new before all that the dead have left of the stripe is finished.
        const bool part = entry->second.of_the_dead;
        const Mark mark{what.stripe, batch.epoch, part ? what.offset : 0,
                        part ? what.length : tables_.geometry_of(what.stripe).stripe_size()};
        counters_.marks += marks_.try_emplace(mark, what.zone, 0).second ? 1 : 0;
    }
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
        if (done_up_to() < last) {  // somebody has died
            retire_wanted_ = true;
            continue;
        }
        for (const Batch& batch : batches_) {
            if (batch.number >= tail_ && batch.number <= last) mark(batch);
        }
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
