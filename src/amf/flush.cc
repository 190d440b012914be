// FLUSH and FUA. What was answered to any host by any AMF of the group is safe when a flush has its answer
// (H24): on the members, their own caches flushed, or in a journal.
//
//   flush     all AMFs of the view, this one too, finish the writes of the dead and put what is dirty into
//             the journal, or destage it; a new view meanwhile asks all of them again: who has left may have
//             been asked in vain
//   leaving   who leaves in order asks the others to do without the copies that it keeps for them
//   FUA       with a journal the same for its stripe; else past the dirty content, through to the members
#include <algorithm>

#include "amf/dirty_write.h"
#include "base/log.h"

namespace braid {
namespace {

/// For how long nothing is passed on, so that a round of a flush is its last one: longer than it takes, which
/// nobody knows before.
Nanos no_passes(std::uint8_t times) { return times == 0 ? 0ns : 50ms * (1 << times); }

}  // namespace

Task<Status> Amf::then_flush(Task<Status> operation) {
    CO_TRY(co_await std::move(operation));
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    co_return co_await flush_members();
}

Task<Status> Amf::flush() {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    if (write_back()) CO_TRY(co_await secure_everywhere(false));
    co_return co_await flush_members();
}

/// The members' own caches, all of them: what was answered is on the members. With a journal it is safe
/// already.
Task<Status> Amf::flush_members() {
    ++counters_.flushes;
    while (!tables_.settled()) co_await tables_.settled_event();
    if (tables_.offline()) co_return fail(Errc::offline);
    if (journal_.is_open()) co_return Status{};
    MemberMask failed;
    {
        DiskBatchOf<kMaxMembers> batch(executor_, tables_, kNoExtent, DiskPurpose::host);
        for (std::uint8_t i = 0; i < tables_.state().members.size(); ++i) {
            if (tables_.member_ok(MemberIndex(i))) batch.flush(MemberIndex(i));
        }
        co_await batch.done();
        failed = batch.failed();
    }
    if (failed.any()) CO_TRY(co_await fail_members(failed));
    if (tables_.offline()) co_return fail(Errc::offline);
    co_return Status{};
}

/// `leaving`: we are about to, and the others are to keep the copies of their records elsewhere first.
///
/// Dirty content may go from one AMF to another with its lock (pass.cc), from one that has not been asked yet
/// to one that has answered. So all say how often they have passed something on; if one has since a round
/// began, there is another round.
Task<Status> Amf::secure_everywhere(bool leaving) {
    for (std::uint8_t times = 0;;) {
        const Epoch epoch = view_.epoch;
        const std::uint64_t number = next_flush_++;
        const std::uint64_t passed = counters_.passed_on;
        asking_.push_back({number, {}, passes_known_});
        for (const AmfMember& member : view_.members) {
            if (member.id == view_.self) continue;
            asking_.back().waiting.insert(member.id);
            transport_.send(member.id, encode(group_, FlushAsk{number, leaving, times}));
        }
        pass_nothing_for(no_passes(times));
        const Status own = co_await secure(leaving);
        const auto mine = [&] { return std::ranges::find(asking_, number, &Asking::number); };
        const auto over = [&] { return view_.epoch != epoch || replicator_.fenced() || tables_.offline(); };
        while (own && !over() && !mine()->waiting.empty()) co_await flush_answered_.next();
        const bool ok = mine()->ok;
        const bool again = mine()->again || counters_.passed_on != passed;
        asking_.erase(mine());
        CO_TRY(own);
        if (replicator_.fenced()) co_return fail(Errc::fenced);
        if (tables_.offline()) co_return fail(Errc::offline);
        if (view_.epoch != epoch) continue;
        if (ok && again) {
            ++counters_.flushes_again;
            times = std::min<std::uint8_t>(times + 1, FlushAsk::kMostTimes);
            continue;
        }
        if (!ok) co_return fail(Errc::io_error);
        co_return Status{};
    }
}

/// The view has changed, or we are to leave it.
void Amf::wake_flushes() {
    flush_answered_.notify_all();
    passed_.notify_all();
    replicator_.dropped().notify_all();
}

void Amf::pass_nothing_for(Nanos time) { pass_again_ = std::max(pass_again_, clock_.now() + time); }

/// What hosts were told here, or by the dead whose records are here: in the journal, if there is one and it
/// has room, else on the members. Whoever leaves takes its content along there.
Task<Status> Amf::secure(bool leaving) {
    const Counted at_work(securing_);
    co_await inherited_all();
    CO_TRY(co_await dead_finished());
    std::vector<StripeIndex> rest = dirty_.stripes();
    if (rest.empty()) co_return Status{};
    std::vector<Journal::Ticket> tickets;
    CO_TRY_LET(const bool copied, co_await all_copied());
    if (copied && !leaving && journal_.is_open())
        std::erase_if(rest, [&](StripeIndex stripe) { return put_dirty(stripe, tickets); });
    CO_TRY(co_await destage_some(std::move(rest)));
    co_return co_await in_journal(std::move(tickets));
}

/// No record of the dead is here. Offline: others finish what we cannot when we have left, which waits for
/// us.
Task<Status> Amf::dead_finished() {
    const auto left = [this] { return !replicator_.store().orphan_stripes().empty(); };
    while (!replicator_.fenced() && !tables_.offline() && left()) co_await replicator_.dropped().next();
    if (replicator_.fenced()) co_return fail(Errc::fenced);
    if (tables_.offline()) co_return fail(Errc::offline);
    co_return Status{};
}

/// What was begun before is at as many partners as it ought to be; else a death would leave it to a journal
/// that nobody replays while others live. fenced.
Task<Result<bool>> Amf::all_copied() {
    const std::uint64_t begun = replicator_.begun();
    CO_TRY(co_await early_answers_copied());
    co_return replicator_.copies() >= replicator_.dimension() && replicator_.copied(begun);
}

Task<Status> Amf::in_journal(std::vector<Journal::Ticket> tickets) {
    start_destages();
    for (const Journal::Ticket ticket : tickets) CO_TRY(co_await journal_.durable(ticket));
    co_return Status{};
}

/// The same of one stripe, which is locked.
Task<Status> Amf::secure_locked(StripeIndex stripe) {
    std::vector<Journal::Ticket> tickets;
    CO_TRY_LET(const bool copied, co_await all_copied());
    if (!copied || !put_dirty(stripe, tickets)) co_return co_await destage_locked(stripe);
    co_return co_await in_journal(std::move(tickets));
}

/// What is dirty of a stripe goes into the journal, if it is not there; `tickets`: what has all of it. False:
/// it is better written to the members.
bool Amf::put_dirty(StripeIndex stripe, std::vector<Journal::Ticket>& tickets) {
    const DirtyStripes::Stripe* dirty = dirty_.find(stripe);
    if (dirty == nullptr) return true;
    if (dirty->full()) return false;  // needs no reads
    const Zone* zone = tables_.zone(geometry_.extent_of(stripe));
    if (zone == nullptr || zone->generation != dirty->generation) return false;
    // What is being destaged goes without what has come beside it: an entry is over as a whole.
    const std::uint32_t joins = destaging_.contains(stripe) ? 0 : 1;
    std::map<std::uint32_t, std::uint32_t> ranges;  // from, to: they do not meet
    const auto add = [&](std::uint32_t from, std::uint32_t to) {
        for (bool grown = true; grown;) {
            const auto [wide_from, wide_to] = journal_.with_data_met(stripe, from, to);
            grown = wide_from != from || wide_to != to;
            from = wide_from;
            to = wide_to;
            for (auto at = ranges.begin(); at != ranges.end();) {
                if (at->first >= to + joins || at->second + joins <= from) {
                    ++at;
                    continue;
                }
                grown |= at->first < from || at->second > to;
                from = std::min(from, at->first);
                to = std::max(to, at->second);
                at = ranges.erase(at);
            }
        }
        ranges.emplace(from, to);
    };
    // What was answered early since, and has no copies yet, must not come back after it was lost with us.
    std::vector<DirtyPiece> young;
    for (const auto& [ticket, piece] : dirty->records) {
        const DirtyWrite& write = *dirty_writes_.at(ticket);
        if (write.journaled != 0) {
            tickets.push_back(write.journaled);
        } else if (write.copied || write.mode == Replication::synchronous) {
            add(piece.offset, piece.end());
        } else if (write.covered.empty()) {
            young.push_back(piece);
        } else {
            return false;
        }
    }
    for (const auto& [from, to] : ranges) {
        const auto in_range = [&](const DirtyPiece& p) { return p.offset < to && from < p.end(); };
        if (std::ranges::any_of(young, in_range) || !journal_.has_room_for_data(stripe, from, to - from))
            return false;
        const DirtyPiece piece{from, to - from};
        const Journal::Ticket put =
            journal_.put_data(stripe, dirty->generation, from, dirty_.content(stripe, piece));
        for (const DirtyStripes::Ticket ticket : dirty_.records_in(stripe, piece))
            dirty_writes_.at(ticket)->journaled = put;
        tickets.push_back(put);
        ++counters_.flushed_by_append;
    }
    return true;
}

/// What is dirty here does not need who is about to leave.
Task<Status> Amf::copied_elsewhere() {
    start_destages();  // with too few partners nothing stays dirty, nor what gets so when its lock comes
    const auto needed = [this, begun = replicator_.begun()] {
        const bool clean = dirty_.empty() && inherited_.empty();
        return !replicator_.copied(begun) || (!enough_copies() && !clean);
    };
    while (!replicator_.fenced() && !tables_.offline() && needed()) co_await sleep_for(clock_, 1ms);
    co_return Status{};
}

/// Not at all while it cannot be done: who is offline leaves the view, and then the others ask again.
Task<void> Amf::answer_flush(AmfId from, FlushAsk ask) {
    if (ask.leaving) replicator_.avoid(from);
    pass_nothing_for(no_passes(ask.times));
    const Status status = co_await (ask.leaving ? copied_elsewhere() : secure(false));
    if (replicator_.fenced() || tables_.offline()) co_return;
    transport_.send(from, encode(group_, FlushDone{ask.number, status.has_value(), counters_.passed_on}));
}

void Amf::deliver_flush(AmfId from, const Message& message) {
    if (message.type == MessageType::flush_ask) {
        if (const Result<FlushAsk> ask = decode_flush_ask(message))
            return scope_.spawn(answer_flush(from, *ask));
    } else if (const Result<FlushDone> done = decode_flush_done(message)) {
        passes_known_[from] = done->passed;
        const auto asking = std::ranges::find(asking_, done->number, &Asking::number);
        if (asking == asking_.end()) return;  // of a view that has passed
        asking->ok &= done->ok;
        asking->again |= asking->before[from] != done->passed;
        asking->waiting.erase(from);
        return flush_answered_.notify_all();
    }
    LOG_WARN("flush.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

}  // namespace braid
