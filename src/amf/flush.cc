// FLUSH and FUA. What was answered to any host by any AMF of the group is safe when a flush has its answer
// (H24): on the members, their own caches flushed, or in a journal.
//
//   flush     all AMFs of the view, this one too, finish the writes of the dead and destage what is dirty; a
//             new view meanwhile asks all of them again: who has left may have been asked in vain
//   leaving   who leaves in order asks the others to do without the copies that it keeps for them
//   FUA       goes past the dirty content, through to the members
#include <algorithm>

#include "amf/amf.h"
#include "base/log.h"

namespace braid {

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
        DiskBatch batch(executor_, tables_, kNoExtent);
        for (std::uint8_t i = 0; i < kMaxMembers; ++i) {
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
Task<Status> Amf::secure_everywhere(bool leaving) {
    while (true) {
        const Epoch epoch = view_.epoch;
        const std::uint64_t number = next_flush_++;
        asking_.push_back({number, {}, true});
        for (const AmfMember& member : view_.members) {
            if (member.id == view_.self) continue;
            asking_.back().waiting.insert(member.id);
            transport_.send(member.id, encode(group_, FlushAsk{number, leaving}));
        }
        const Status own = co_await secure();
        const auto mine = [&] { return std::ranges::find(asking_, number, &Asking::number); };
        const auto over = [&] { return view_.epoch != epoch || replicator_.fenced() || tables_.offline(); };
        while (own && !over() && !mine()->waiting.empty()) co_await flush_answered_.next();
        const bool ok = mine()->ok;
        asking_.erase(mine());
        CO_TRY(own);
        if (replicator_.fenced()) co_return fail(Errc::fenced);
        if (tables_.offline()) co_return fail(Errc::offline);
        if (view_.epoch != epoch) continue;
        if (!ok) co_return fail(Errc::io_error);
        co_return Status{};
    }
}

/// What hosts were told here, or by the dead whose records are here.
Task<Status> Amf::secure() {
    CO_TRY(co_await replicator_.all_forgotten());
    co_return co_await destage_some(dirty_.stripes());
}

/// What is dirty here does not need who is about to leave.
Task<Status> Amf::copied_elsewhere() {
    start_destages();  // with too few partners nothing stays dirty
    const auto needed = [this, begun = replicator_.begun()] {
        return !replicator_.copied(begun) || (!enough_copies() && !dirty_.empty());
    };
    while (!replicator_.fenced() && !tables_.offline() && needed()) co_await sleep_for(clock_, 1ms);
    co_return Status{};
}

/// Not at all while it cannot be done: who is offline leaves the view, and then the others ask again.
Task<void> Amf::answer_flush(AmfId from, FlushAsk ask) {
    if (ask.leaving) replicator_.avoid(from);
    const Status status = co_await (ask.leaving ? copied_elsewhere() : secure());
    if (replicator_.fenced() || tables_.offline()) co_return;
    transport_.send(from, encode(group_, FlushDone{ask.number, status.has_value()}));
}

void Amf::deliver_flush(AmfId from, const Message& message) {
    if (message.type == MessageType::flush_ask) {
        if (const Result<FlushAsk> ask = decode_flush_ask(message))
            return scope_.spawn(answer_flush(from, *ask));
    } else if (const Result<FlushDone> done = decode_flush_done(message)) {
        const auto asking = std::ranges::find(asking_, done->number, &Asking::number);
        if (asking == asking_.end()) return;  // of a view that has passed
        asking->ok &= done->ok;
        asking->waiting.erase(from);
        return flush_answered_.notify_all();
    }
    LOG_WARN("flush.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)});
}

}  // namespace braid
