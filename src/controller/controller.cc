#include "controller/controller.h"

#include <algorithm>

#include "base/log.h"
#include "cluster/local_membership.h"

namespace braid {
namespace {

constexpr Nanos kRescanPause = 2s;  // between looks at what could not be assembled
constexpr Nanos kLongestRetry = 60s;
constexpr Nanos kMemberPatience = 2s;  // with members of a group that may only be late
constexpr Nanos kSideLook = 1s;
constexpr unsigned kSidePatience = 5;  // looks: a sleep of the whole process is one of them
constexpr Nanos kLeavePatience = 2s;   // below the lease of a host: others wait for what is kept here

}  // namespace

Controller::Controller(const Environment& env, ControllerConfig config)
    : env_(env),
      config_(std::move(config)),
      icl_(env.executor, env.clock, env.network, *this, IclOptions{.ping_timeout = config_.ping_timeout}),
      membership_(std::make_unique<LocalMembership>(
          env.executor, env.clock, env.members, env.random, icl_, static_cast<MembershipEvents&>(*this),
          LocalMembershipOptions{.lock_patience = config_.ping_timeout})),
      forwarder_(env.executor, env.clock, icl_, registry_),
      sides_(env_, config_.nbd_limits),
      nbd_(env.executor, env.clock, env.network, registry_, config_.nbd_limits),
      jobs_(env.clock),
      view_changed_(env.executor),
      fenced_(env.executor),
      rescan_wanted_(env.executor),
      scope_(env.executor),
      scans_(env.executor) {}

Controller::~Controller() = default;

Task<Status> Controller::start() {
    icl_.subscribe(Uuid{}, *this);
    nbd_.on_hand_over(
        [this](unsigned side, nbd::Handed handed) { sides_.take_over(side, std::move(handed)); });
    CO_TRY_LET(std::string address, icl_.listen(config_.peer_address));
    const auto joined =
        co_await membership_->join(JoinRequest{config_.name, std::move(address), {}, config_.location});
    if (!joined) co_return std::unexpected(joined.error());
    for (const std::string& where : config_.nbd) {
        const Status listens = nbd_.listen(where);
        if (!listens) {
            LOG_ERROR("nbd.listen_failed", {"address", where}, {"reason", to_string(listens.error().code)});
            co_return listens;
        }
    }
    co_await rescan();
    scans_.spawn(rescan_loop());
    scope_.spawn(watch_sides());
    co_return Status{};
}

Task<void> Controller::stop() {
    stopping_ = true;
    want_rescan();
    co_await scans_.join();
    for (auto& [uuid, group] : groups_) co_await group->stop();
    co_await forwarder_.stop();
    co_await nbd_.stop();
    co_await sides_.stop();
    (void)co_await membership_->leave();
    co_await icl_.stop();
    scope_.destroy_all();
}

// ---- the view

void Controller::on_joined(const Joined& joined) {
    self_ = joined.self;
    icl_.start(joined.cluster, joined.self, joined.incarnation);
}

void Controller::on_view(const View& view) {
    view_ = view;
    icl_.adopt(view_);
    for (auto& [uuid, group] : groups_) {
        const ViewMember* self = view_.find(self_);
        if (self != nullptr && self->attached(uuid)) group->adopt(view_, self_);
    }
    forwarder_.adopt(view_, self_);
    LOG_INFO("view.adopted", {"epoch", view_.epoch}, {"controllers", view_.members.size()});
    view_changed_.notify_all();
}

void Controller::on_fenced() {
    LOG_ERROR("controller.fenced", {"epoch", view_.epoch});
    fenced_.set();
}

void Controller::on_suspect(ControllerId peer, SuspectReason reason) { membership_->suspect(peer, reason); }
void Controller::on_restored(ControllerId peer) { membership_->restored(peer); }
void Controller::on_newer_epoch(Epoch) { membership_->refresh(); }
void Controller::on_heard(ControllerId peer) { membership_->heard(peer); }
bool Controller::condemned(ControllerId peer) const { return membership_->condemned(peer); }

void Controller::deliver(AmfId from, Message message) {
    if (message.type == MessageType::groups_changed) {
        want_rescan();
    } else if (message.type == MessageType::forward_ports) {
        if (const auto list = decode_forward_ports(message)) take_list(from, *list);
    } else if (message.type == MessageType::forward_drained) {
        const auto drained = decode_forward_drained(message);
        const auto group = drained ? groups_.find(drained->group) : groups_.end();
        if (group != groups_.end()) group->second->outside().drained(controller_of(from), *drained);
    }
}

/// Everybody answers for what it has itself: a port of its own, operations of others.
void Controller::take_list(AmfId from, const ForwardPorts& list) {
    forwarder_.take(list, config_.name);
    for (const ForwardPorts::Port& port : list.ports) {
        if (!port.closing) continue;
        const ForwardDrained what{list.number, list.group, port.volume, port.slot};
        scope_.spawn(tell_drained(from, view_.epoch, what, port.controller));
    }
}

Task<void> Controller::tell_drained(AmfId to, Epoch epoch, ForwardDrained what, std::string controller) {
    if (controller == config_.name) co_await forwarder_.closed(what.group, what.volume);
    if (const auto at = groups_.find(what.group); at != groups_.end()) {
        const std::shared_ptr<GroupRuntime> group = at->second;
        co_await group->forwarded_drained(controller, what.volume);
    }
    icl_.send_in(epoch, to, encode(what));
}

void Controller::tell_groups_changed() {
    for (const ViewMember& member : view_.members) {
        if (member.id != self_)
            icl_.send(amf_id(member.id), Message{Uuid{}, MessageType::groups_changed, {}, {}});
    }
}

// ---- groups

void Controller::want_rescan() {
    rescan_wanted_.set();
    rescan_wanted_.notify_all();
}

Task<void> Controller::rescan_loop() {
    while (!stopping_) {
        (void)co_await wait_until(rescan_wanted_, env_.clock, env_.clock.now() + kRescanPause);
        const bool told = rescan_wanted_.is_set();
        rescan_wanted_.reset();
        if (!stopping_ && rescan_is_due(told)) co_await rescan();
    }
}

/// Whether a look at the disks can change anything: somebody said so, disks came or went, or a group waits
/// for some and its next try is due. Every try is two new views for everybody, so they become rarer.
bool Controller::rescan_is_due(bool told) {
    std::vector<std::string> names = env_.shelf.scan();
    const bool moved = names != last_scan_;
    last_scan_ = std::move(names);
    const bool waiting = std::any_of(groups_.begin(), groups_.end(), [](const auto& entry) {
        return entry.second->state() == GroupRuntime::State::refused;
    });
    if (!incomplete_since_.empty()) return true;
    if (told || moved || !waiting) {
        retry_pause_ = kRescanPause;
        next_retry_ = env_.clock.now() + retry_pause_;
        return told || moved;
    }
    if (env_.clock.now() < next_retry_) return false;
    retry_pause_ = std::min(2 * retry_pause_, kLongestRetry);
    next_retry_ = env_.clock.now() + retry_pause_;
    return true;
}

/// Attaches the groups on the shelf that name this controller and are not served yet.
Task<void> Controller::rescan() {
    std::vector<std::string> in_use;
    for (const auto& [uuid, group] : groups_) {
        if (group->state() == GroupRuntime::State::refused) continue;
        for (std::string& name : group->disk_names()) in_use.push_back(std::move(name));
    }
    std::vector<FoundGroup> found = co_await scan_shelf(env_.executor, env_.shelf, std::move(in_use));
    std::erase_if(incomplete_since_, [&](const auto& seen) {
        return std::ranges::find(found, seen.first, &FoundGroup::group) == found.end();
    });
    for (FoundGroup& group : found) {
        const Result<GroupPages> pages = co_await read_group(env_.executor, group);
        if (!pages) {
            LOG_WARN("group.no_config", {"group", group.name}, {"reason", to_string(pages.error().code)});
            continue;
        }
        if (!may_attach(group, *pages)) continue;
        if (still_arriving(group, *pages)) continue;
        const Status attached = co_await attach_group(std::move(group), pages->config);
        if (!attached) LOG_WARN("group.not_attached", {"reason", to_string(attached.error().code)});
    }
}

/// It names us, we do not serve it, and what we reach of it can be enough. A group that we could not serve
/// stays in the list, for an operator to see, until it can be tried again.
bool Controller::may_attach(const FoundGroup& found, const GroupPages& pages) {
    const auto& sharing = pages.config.controllers;
    if (std::ranges::find(sharing, config_.name) == sharing.end()) return false;
    const auto present = groups_.find(found.group);
    if (present == groups_.end()) return true;
    return present->second->state() == GroupRuntime::State::refused &&
           pages.serving(&found) + pages.config.most_parity() >= pages.serving();
}

/// Disks come one after the other, when a machine starts and when a group is made: one that is only late is
/// not to be taken for lost.
bool Controller::still_arriving(const FoundGroup& found, const GroupPages& pages) {
    const Nanos now = env_.clock.now();
    const auto [seen, first] = incomplete_since_.try_emplace(found.group, now);
    const bool complete = pages.serving(&found) >= pages.serving();
    if (!complete && now - seen->second < kMemberPatience) return true;
    incomplete_since_.erase(seen);
    return false;
}

Task<Status> Controller::attach_group(FoundGroup found, const GroupConfig& config) {
    const Uuid uuid = found.group;
    if (groups_.contains(uuid)) {
        (void)co_await membership_->detach(uuid);
        drop_group(uuid);
    }
    auto runtime = std::make_shared<GroupRuntime>(env_, config_, icl_, registry_, sides_, jobs_,
                                                  std::move(found), config);
    for (unsigned i = 0; i < runtime->amfs(); ++i) icl_.subscribe(uuid, runtime->seat(i), i);
    groups_.emplace(uuid, std::move(runtime));
    const Status attached = co_await membership_->attach(uuid, config.sharing.amfs);
    if (!attached) {
        drop_group(uuid);
        co_return attached;
    }
    scope_.spawn(serve_group(uuid));
    co_return Status{};
}

void Controller::drop_group(const Uuid& uuid) {
    for (unsigned i = 0; i < groups_.at(uuid)->amfs(); ++i) icl_.unsubscribe(uuid, i);
    groups_.erase(uuid);
}

/// The life of a group here. What ends it leaves the view: not a partner for others, because what it keeps
/// for them it could not finish, and others finish what it left half done.
Task<void> Controller::serve_group(Uuid uuid) {
    GroupRuntime& group = *groups_.at(uuid);
    const Status started = co_await group.start();
    view_changed_.notify_all();
    Scope patience(env_.executor);
    if (started) {
        co_await group.served();
        if (!stopping_) {
            LOG_ERROR("group.left", {"group", group.name()}, {"epoch", view_.epoch});
            patience.spawn(end_if_stuck());
        }
        co_await group.stop();
    }
    if (!stopping_) (void)co_await membership_->detach(uuid);
}

/// A side thread that does not answer keeps locks and records that nobody can take while we are in the view.
Task<void> Controller::watch_sides() {
    while (sides_.missed_looks() < kSidePatience) co_await sleep_for(env_.clock, kSideLook);
    LOG_ERROR("controller.side_stuck", {"epoch", view_.epoch});
    fenced_.set();
}

/// A disk command that does not end, or a member store that cannot be written: as long as we are in the view
/// the others wait for what we keep. Then the whole controller goes, and they need not ask it.
Task<void> Controller::end_if_stuck() {
    co_await sleep_for(env_.clock, kLeavePatience);
    LOG_ERROR("controller.cannot_leave", {"epoch", view_.epoch});
    fenced_.set();
}

}  // namespace braid
