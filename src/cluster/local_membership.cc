#include "cluster/local_membership.h"

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "cluster/transitions.h"
#include "icl/frame.h"

namespace braid {
/// Of one other process. Shared with the task that waits for its end.
struct LocalMembership::Watch {
    Watch(Executor& executor, const ViewMember& member)
        : id(member.id), incarnation(member.incarnation), died(executor) {}
    const ControllerId id;
    const Incarnation incarnation;
    Event died;
    bool over = false;  ///< nobody is interested any more
};

LocalMembership::LocalMembership(Executor& executor, Clock& clock, MemberStore& store, Random& random,
                                 Transport& transport, MembershipEvents& events,
                                 LocalMembershipOptions options)
    : executor_(executor),
      clock_(clock),
      store_(store),
      random_(random),
      transport_(transport),
      events_(events),
      options_(options),
      turn_(executor, 1),
      locked_(executor),
      change_wanted_(executor),
      read_wanted_(executor),
      view_changed_(executor),
      scope_(executor) {}

LocalMembership::~LocalMembership() {
    for (const auto& [id, watch] : watches_) store_.unwatch(id.v);
}

// ---- the record and its lock

Task<Result<ClusterRecord>> LocalMembership::read() {
    const Result<Bytes> bytes = co_await store_.read();
    if (!bytes) co_return std::unexpected(bytes.error());
    co_return decode_record(*bytes);
}

Task<void> LocalMembership::take_lock() {
    lock_status_ = co_await store_.lock();
    locked_.set();
}

Task<Status> LocalMembership::acquire() {
    co_await turn_.take();
    locked_.reset();
    scope_.spawn(take_lock());
    LockTurn turn;
    Nanos since = clock_.now();
    while (!co_await wait_until(locked_, clock_, clock_.now() + options_.lock_patience)) {
        if (const LockTurn now = store_.last_lock(); now != turn) {
            turn = now;
            since = clock_.now();
        }
        const bool stuck = clock_.now() - since >= options_.holder_patience;
        co_await free_lock(stuck ? turn.process : ProcessRef{});
    }
    const Status status = lock_status_;
    if (!status) turn_.give();
    co_return status;
}

/// The lock's holder does not give it back. If it is one of those to be fenced, or has had the lock for
/// longer than any fence takes, be it in the view or not yet, its death frees the lock; the view changes
/// afterwards, under the lock as always.
Task<void> LocalMembership::free_lock(ProcessRef holder) {
    LOG_WARN("cluster.lock_held", {"epoch", view_.epoch}, {"holder", store_.last_lock().process.pid},
             {"to_fence", to_fence_.size()});
    if (holder.pid != 0 && holder != store_.self()) (void)co_await store_.kill(holder);
    for (const ControllerId id : sentenced()) {
        const ViewMember* member = execute(view_, id);
        if (member == nullptr) continue;
        const ProcessRef process = member->process;
        (void)co_await store_.kill(process);
    }
}

std::vector<ControllerId> LocalMembership::sentenced() const {
    std::vector<ControllerId> out;
    for (const auto& [id, sentence] : to_fence_) out.push_back(id);
    return out;
}

/// The member of `view` whose fence begins now and cannot be stopped any more; null if it is not to be
/// fenced, or not any more: those before it took their time.
const ViewMember* LocalMembership::execute(const View& view, ControllerId id) {
    const auto at = to_fence_.find(id);
    const ViewMember* member = view.find(id);
    if (at == to_fence_.end() || member == nullptr || member->incarnation != at->second.incarnation)
        return nullptr;
    at->second.revocable = false;
    return member;
}

void LocalMembership::release() {
    store_.unlock();
    turn_.give();
}

// ---- join and leave

Task<Result<Joined>> LocalMembership::join(JoinRequest request) {
    ASSERT(state_ == State::outside);
    state_ = State::joining;
    Result<ClusterRecord> record = fail(Errc::io_error);
    Status status = co_await acquire();
    if (status) {
        record = co_await enter(request);
        release();
        if (!record) status = std::unexpected(record.error());
    }
    if (!status) {
        state_ = State::outside;
        co_return std::unexpected(status.error());
    }
    state_ = State::inside;
    groups_ = request.groups;
    LOG_INFO("cluster.joined", {"name", request.name}, {"id", joined_.self}, {"epoch", record->view.epoch});
    events_.on_joined(joined_);
    adopt(*record);
    scope_.spawn(change_loop());
    scope_.spawn(read_loop());
    tell_peers(view_.epoch);
    co_return joined_;
}

/// Under the lock: writes the view with us in it.
Task<Result<ClusterRecord>> LocalMembership::enter(const JoinRequest& request) {
    const Result<ClusterRecord> present = co_await read();
    if (!present) {
        LOG_ERROR("cluster.record_unreadable", {"error", to_string(present.error().code)});
        co_return std::unexpected(present.error());
    }
    ClusterRecord next = successor(*present);
    if (next.cluster.is_nil()) next.cluster = random_.uuid();
    CO_TRY(co_await clear_dead(next, request.name));
    const Result<ControllerId> id =
        add_member(next, request.name, request.address, store_.self(), request.groups, request.location);
    if (!id) {
        LOG_ERROR("cluster.join_refused", {"name", request.name}, {"error", to_string(id.error().code)});
        co_return std::unexpected(id.error());
    }
    CO_TRY(co_await store_.write(encode_record(next)));
    joined_ = {next.cluster, *id, Incarnation(next.view.epoch.v)};
    co_return next;
}

/// Members whose processes are gone leave the view. A living one of our name is an operator's mistake; if it
/// is just ending it gets a moment to do so.
Task<Status> LocalMembership::clear_dead(ClusterRecord& next, std::string name) {
    const std::vector<ViewMember> members = next.view.members;
    Status status;
    for (const ViewMember& member : members) {
        Event died(executor_);
        store_.watch(member.id.v, member.process, died);
        if (member.name == name) co_await wait_until(died, clock_, clock_.now() + options_.exit_patience);
        const bool dead = died.is_set();
        store_.unwatch(member.id.v);
        if (dead) {
            const FenceReport report = co_await store_.kill(member.process);
            if (!report.cut || !report.drained) {
                status = fail(Errc::busy, member.id.v);
                break;
            }
            LOG_INFO("cluster.dead_removed", {"name", member.name}, {"pid", member.process.pid});
            remove_member(next, member.id, member.incarnation, true);
        } else if (member.name == name) {
            LOG_ERROR("cluster.name_in_use", {"name", name}, {"pid", member.process.pid});
            status = fail(Errc::exists, member.id.v);
            break;
        }
    }
    co_return status;
}

Task<Status> LocalMembership::leave() {
    if (state_ != State::inside) co_return fail(Errc::fenced);
    state_ = State::leaving;
    Status status = co_await acquire();
    if (status) {
        status = co_await remove_self();
        release();
    }
    end_all(State::out);
    co_await scope_.join();
    co_return status;
}

Task<Status> LocalMembership::remove_self() {
    const Result<ClusterRecord> present = co_await read();
    if (!present) co_return std::unexpected(present.error());
    ClusterRecord next = successor(*present);
    if (present->cluster != joined_.cluster ||
        !remove_member(next, joined_.self, joined_.incarnation, false)) {
        co_return fail(Errc::fenced);
    }
    CO_TRY(co_await store_.write(encode_record(next)));
    LOG_INFO("cluster.left", {"epoch", next.view.epoch});
    tell_peers(next.view.epoch);
    co_return Status{};
}

// ---- changes of the view by us

void LocalMembership::want_change() { change_wanted_.notify_all(); }

bool LocalMembership::change_due() const {
    if (renew_ == view_.epoch) return true;
    if (!to_fence_.empty()) return true;
    const ViewMember* self = view_.find(joined_.self);
    const auto same = [](const Attachment& attached, const auto& wanted) {
        return attached.group == wanted.first && attached.amfs == wanted.second;
    };
    return self != nullptr && !std::ranges::equal(self->groups, groups_, same);
}

Task<void> LocalMembership::change_loop() {
    while (state_ == State::inside) {
        if (!change_due()) {
            co_await change_wanted_.next();
            continue;
        }
        const Status status = co_await change();
        if (status || state_ != State::inside) continue;
        LOG_WARN("cluster.change_failed", {"error", to_string(status.error().code)}, {"epoch", view_.epoch});
        co_await wait_until(change_wanted_, clock_, clock_.now() + options_.retry, true);
    }
}

/// Whatever we want changed, applied to what stands in the store now, as one new epoch; nothing if others did
/// it.
Task<Status> LocalMembership::change() {
    CO_TRY(co_await acquire());
    Result<ClusterRecord> record = co_await read();
    if (!record || lacks_us(*record)) {
        release();
        if (!record) co_return std::unexpected(record.error());
        be_fenced();
        co_return Status{};
    }
    ClusterRecord next = successor(*record);
    const Result<Applied> applied = co_await apply(next);
    Status status;
    if (!applied) status = std::unexpected(applied.error());
    const bool write = applied && (applied->changed || renew_ == record->view.epoch);
    if (write) status = co_await store_.write(encode_record(next));
    release();
    if (!status) co_return status;
    adopt(write ? next : *record);
    if (write) tell_peers(next.view.epoch);
    co_return applied->undrained ? fail(Errc::busy) : Status{};
}

/// Who is not drained yet stays in the view: the epoch without it has to wait.
Task<Result<LocalMembership::Applied>> LocalMembership::apply(ClusterRecord& next) {
    Applied out;
    for (const ControllerId id : sentenced()) {
        const ViewMember* member = execute(next.view, id);
        if (member == nullptr) continue;
        const ProcessRef process = member->process;
        const Incarnation incarnation = member->incarnation;
        LOG_WARN("cluster.fence", {"name", member->name}, {"pid", process.pid}, {"epoch", next.view.epoch});
        const FenceReport report = co_await store_.kill(process);
        if (report.cut && report.drained) {
            out.changed |= remove_member(next, id, incarnation, true);
        } else {
            out.undrained = true;
        }
    }
    const Result<bool> groups = set_groups(next, joined_.self, groups_);
    if (!groups) co_return std::unexpected(groups.error());
    out.changed |= *groups;
    co_return out;
}

Task<Status> LocalMembership::attach(Uuid group, std::uint8_t amfs) {
    if (state_ != State::inside) co_return fail(Errc::fenced);
    if (groups_.size() >= kMaxAttachedGroups && !groups_.contains(group)) co_return fail(Errc::no_space);
    groups_[group] = amfs;
    want_change();
    co_return co_await wait_groups(group, true);
}

Task<Status> LocalMembership::detach(Uuid group) {
    if (state_ != State::inside) co_return fail(Errc::fenced);
    groups_.erase(group);
    want_change();
    co_return co_await wait_groups(group, false);
}

Task<Status> LocalMembership::wait_groups(Uuid group, bool attached) {
    while (state_ == State::inside) {
        const ViewMember* self = view_.find(joined_.self);
        if (self != nullptr && self->attached(group) == attached) co_return Status{};
        if (groups_.contains(group) != attached)
            co_return fail(Errc::cancelled);  // somebody wants the opposite
        co_await view_changed_.next();
    }
    co_return fail(Errc::fenced);
}

void LocalMembership::suspect(ControllerId peer, SuspectReason reason) {
    const ViewMember* member = view_.find(peer);
    if (state_ != State::inside || member == nullptr || peer == joined_.self) return;
    LOG_INFO("cluster.suspect", {"name", member->name}, {"reason", to_string(reason)},
             {"epoch", view_.epoch});
    // A broken session alone condemns nobody: if the process died its watch tells, if it lives its session
    // comes back (restored) or it counts as silent.
    if (reason == SuspectReason::transport) return;
    Sentence& sentence = to_fence_.try_emplace(peer, member->incarnation, true).first->second;
    sentence.revocable &= reason == SuspectReason::silent;
    want_change();
}

void LocalMembership::heard(ControllerId peer) {
    const auto at = to_fence_.find(peer);
    if (at == to_fence_.end() || !at->second.revocable) return;
    LOG_INFO("cluster.heard_again", {"id", peer}, {"epoch", view_.epoch});
    to_fence_.erase(at);
}

bool LocalMembership::condemned(ControllerId peer) const { return to_fence_.contains(peer); }

void LocalMembership::restored(ControllerId peer) {
    if (state_ != State::inside || view_.find(peer) == nullptr) return;
    if (peer < joined_.self) return scope_.spawn(renew_later(view_.epoch));
    renew_ = view_.epoch;
    want_change();
}

/// The end with the smaller id renews the epoch; if it does not know that it must, we do.
Task<void> LocalMembership::renew_later(Epoch epoch) {
    const Nanos deadline = clock_.now() + options_.renew_patience;
    while (state_ == State::inside && view_.epoch == epoch) {
        if (co_await wait_until(view_changed_, clock_, deadline, true)) continue;
        renew_ = epoch;
        want_change();
        co_return;
    }
}

void LocalMembership::refresh() { read_wanted_.set(); }

// ---- what others did

Task<void> LocalMembership::read_loop() {
    while (state_ == State::inside) {
        co_await wait_until(read_wanted_, clock_, clock_.now() + options_.poll);
        read_wanted_.reset();
        if (state_ != State::inside) co_return;
        const Result<ClusterRecord> record = co_await read();
        if (state_ != State::inside) co_return;
        if (!record) {
            LOG_ERROR("cluster.record_unreadable", {"error", to_string(record.error().code)});
        } else if (record->cluster == joined_.cluster && record->view.epoch < view_.epoch) {
            continue;  // read without the lock, while a change of our own was written and adopted
        } else if (lacks_us(*record)) {
            be_fenced();
        } else {
            adopt(*record);
        }
    }
}

bool LocalMembership::lacks_us(const ClusterRecord& record) const {
    // A record older than our view was put back by somebody: nothing in it can be relied on.
    return record.cluster != joined_.cluster || record.view.epoch < view_.epoch ||
           !holds(record, joined_.self, joined_.incarnation);
}

void LocalMembership::adopt(const ClusterRecord& record) {
    if (state_ != State::inside || record.view.epoch <= view_.epoch) return;
    view_ = record.view;
    std::erase_if(to_fence_,
                  [&](const auto& entry) { return !holds(record, entry.first, entry.second.incarnation); });
    renew_watches();
    events_.on_view(view_);
    view_changed_.notify_all();
    change_wanted_.notify_all();
}

void LocalMembership::renew_watches() {
    for (auto at = watches_.begin(); at != watches_.end();) {
        const ViewMember* member = view_.find(at->first);
        if (member != nullptr && member->incarnation == at->second->incarnation) {
            ++at;
        } else {
            end_watch(*at->second);
            at = watches_.erase(at);
        }
    }
    for (const ViewMember& member : view_.members) {
        if (member.id == joined_.self || watches_.contains(member.id)) continue;
        auto watch = std::make_shared<Watch>(executor_, member);
        watches_[member.id] = watch;
        store_.watch(member.id.v, member.process, watch->died);
        scope_.spawn(watch_process(watch));
    }
}

void LocalMembership::end_watch(Watch& watch) {
    store_.unwatch(watch.id.v);
    watch.over = true;
    watch.died.set();
}

Task<void> LocalMembership::watch_process(std::shared_ptr<Watch> watch) {
    co_await watch->died;
    if (watch->over || state_ != State::inside) co_return;
    LOG_WARN("cluster.died", {"id", watch->id}, {"epoch", view_.epoch});
    to_fence_.insert_or_assign(watch->id, Sentence{watch->incarnation, false});
    want_change();
}

/// Everything that runs here ends by itself after this.
void LocalMembership::end_all(State state) {
    state_ = state;
    for (const auto& [id, watch] : watches_) end_watch(*watch);
    watches_.clear();
    change_wanted_.notify_all();
    view_changed_.notify_all();
    read_wanted_.set();
}

void LocalMembership::be_fenced() {
    if (state_ != State::inside) return;
    LOG_ERROR("cluster.fenced", {"id", joined_.self}, {"epoch", view_.epoch});
    end_all(State::out);
    events_.on_fenced();
}

void LocalMembership::tell_peers(Epoch epoch) {
    for (const ViewMember& member : view_.members) {
        if (member.id == joined_.self) continue;
        transport_.send(amf_id(member.id), {{}, MessageType::view_changed, encode_view_changed(epoch), {}});
    }
}

}  // namespace braid
