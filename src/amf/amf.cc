#include "amf/amf.h"

#include <algorithm>

#include "base/log.h"

namespace braid {

Amf::Amf(Executor& executor, Clock& clock, Transport& transport, const Uuid& group, const GroupConfig& config,
         std::uint64_t table_start, std::vector<Disk*> disks, AmfSlot slot, AmfOptions options)
    : executor_(executor),
      clock_(clock),
      transport_(transport),
      group_(group),
      geometry_(config.geometry),
      data_start_(config.data_start),
      units_(config.geometry, config.sharing.granularity),
      extents_(config.extents),
      disks_(disks),
      options_(options),
      code_(config.geometry.k, config.geometry.m),
      replicator_(executor, transport, group),
      cache_(options.cache),
      peer_cache_(executor, clock, transport, group, options.peer_patience),
      locks_(executor, clock, transport, group, LockOptions{.sharing = config.sharing}, *this),
      tables_(executor, clock, transport, group, table_start, std::move(disks), slot),
      stripe_locks_(executor),
      pieces_(executor, options.pieces),
      gate_(executor),
      read_errors_(disks_.size()),
      scope_(executor) {
    tables_.use_locks(locks_);
    const RecordLimits limits{std::uint64_t{extents_} * geometry_.rows_per_extent(), geometry_.stripe_size(),
                              geometry_.strip_size, geometry_.m};
    replicator_.configure(config.dimension, limits);
}

Amf::~Amf() = default;

Task<Status> Amf::start() {
    CO_TRY(co_await tables_.load());
    while (!tables_.settled()) co_await tables_.settled_event();
    ready_ = true;
    scope_.spawn(housekeeping());
    co_return Status{};
}

Task<void> Amf::stop() {
    co_await finish();
    co_await end();
}

Task<void> Amf::finish() {
    gate_.close();
    co_await gate_.drained();
    // Records of the dead may be here and nowhere else: they are finished, here or by whoever gathers them.
    while (!replicator_.fenced() && !tables_.offline() &&
           (!recovering_.empty() || !replicator_.store().orphan_stripes().empty())) {
        co_await sleep_for(clock_, 1ms);
    }
    if (!replicator_.fenced() && !tables_.offline()) co_await tables_.settle_pages();
}

Task<void> Amf::end() {
    stopping_ = true;
    while (!replicator_.fenced() && (!recovering_.empty() || failing_.any())) {
        co_await sleep_for(clock_, 1ms);
    }
    locks_.stop();
    if (!replicator_.fenced() && !tables_.offline()) co_await replicator_.quiesced(StripeIndex(0), ~0ull);
    co_await replicator_.completions().handed_on();
    if (ready_ && !tables_.offline()) (void)co_await tables_.clear_idle_intents(Nanos{0});
    co_await tables_.stop();
    ready_ = false;
    scope_.destroy_all();  // housekeeping, and what could not be finished
}

Task<void> Amf::housekeeping() {
    while (true) {
        co_await sleep_for(clock_, options_.housekeeping);
        if (!tables_.offline()) (void)co_await tables_.clear_idle_intents(options_.intent_idle);
    }
}

// ---- the view

void Amf::adopt(const AmfView& view) {
    view_ = view;
    replicator_.adopt(view);  // a newcomer knows what is in quarantine before its tables are settled
    tables_.adopt(view);
    locks_.adopt(view, claims());
    peer_cache_.adopt();
}

void Amf::deliver(AmfId from, Message message) {
    const auto type = static_cast<unsigned>(message.type);
    if (type >= static_cast<unsigned>(MessageType::table_update) &&
        type <= static_cast<unsigned>(MessageType::table_agreed)) {
        tables_.deliver(from, message);
    } else if (type >= static_cast<unsigned>(MessageType::lock_request) &&
               type <= static_cast<unsigned>(MessageType::lock_returned)) {
        locks_.deliver(from, message);
    } else if (message.type == MessageType::cache_fetch || message.type == MessageType::cache_data) {
        deliver_cached(from, message);
    } else {
        replicator_.deliver(from, message);
    }
}

AmfConditions Amf::conditions() const {
    AmfConditions out;
    out.fenced = replicator_.fenced();
    out.offline = ready_ && tables_.offline();
    out.failed_members = ready_ ? tables_.failed_members() : 0;
    out.missing_copies = replicator_.dimension() - std::min(replicator_.copies(), replicator_.dimension());
    for (const auto& [stripe, generation] : replicator_.quarantine()) {
        const Zone* zone = ready_ ? tables_.zone(geometry_.extent_of(stripe)) : nullptr;
        if (zone != nullptr && zone->generation == generation) ++out.quarantined_stripes;
    }
    out.recovering_units = recovering_.size();
    return out;
}

// ---- members

RoleMask Amf::writable(const Spot& spot) const {
    RoleMask out;
    for (unsigned role = 0; role < geometry_.width(); ++role) {
        out[role] = tables_.member_ok(place(spot, role).member);
    }
    return out;
}

Task<void> Amf::declare_failed(MemberIndex member) {
    if (failing_[member.v]) co_return;
    failing_.set(member.v);
    (void)co_await tables_.fail_member(member);
    failing_.reset(member.v);
}

Task<Status> Amf::fail_members(MemberMask members) {
    for (std::uint8_t i = 0; i < disks_.size(); ++i) {
        if (members[i]) CO_TRY(co_await tables_.fail_member(MemberIndex(i)));
    }
    co_return Status{};
}

// ---- operations of several pieces

Task<Status> Amf::in_pieces(std::vector<Task<Status>> pieces) {
    Status status;
    for (std::size_t at = 0; at < pieces.size(); at += options_.pieces_per_operation) {
        const std::size_t end = std::min(pieces.size(), at + options_.pieces_per_operation);
        std::vector<Task<Status>> some;
        for (std::size_t i = at; i < end; ++i) some.push_back(std::move(pieces[i]));
        for (const Status& s : co_await gather(executor_, std::move(some))) {
            if (status && !s) status = s;
        }
    }
    co_return status;
}

Task<Status> Amf::then_flush(Task<Status> operation) {
    CO_TRY(co_await std::move(operation));
    co_return co_await flush();
}

/// A write that was answered has made its zone known to all AMFs that have settled since.
Task<Result<std::vector<bool>>> Amf::allocation(std::uint64_t offset, std::uint64_t length) {
    ASSERT(length != 0 && offset + length <= extents_ * kExtentSize);
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    while (!tables_.settled()) co_await tables_.settled_event();
    std::vector<bool> out;
    for (std::uint64_t at = offset / kExtentSize; at * kExtentSize < offset + length; ++at)
        out.push_back(allocated(ExtentIndex(static_cast<std::uint32_t>(at))));
    co_return out;
}

/// The members' own caches, all of them: what was answered is on the members.
Task<Status> Amf::flush() {
    if (!ready_ || !gate_.try_enter()) co_return fail(Errc::not_ready);
    const GateGuard inside(gate_);
    ++counters_.flushes;
    while (!tables_.settled()) co_await tables_.settled_event();
    MemberMask failed;
    {
        DiskBatch batch(executor_);
        for (std::uint8_t i = 0; i < disks_.size(); ++i) {
            if (tables_.member_ok(MemberIndex(i))) batch.flush(i, *disks_[i]);
        }
        co_await batch.done();
        for (std::size_t i = 0; i < batch.size(); ++i) {
            if (!batch.status(i)) failed.set(batch.role(i));
        }
    }
    if (failed.any()) CO_TRY(co_await fail_members(failed));
    if (tables_.offline()) co_return fail(Errc::offline);
    co_return Status{};
}

}  // namespace braid
