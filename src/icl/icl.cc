#include "icl/icl.h"

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "icl/frame.h"
#include "icl/peer.h"

namespace braid {

Icl::Icl(Executor& executor, Clock& clock, Network& network, IclEvents& events, IclOptions options)
    : executor_(executor),
      clock_(clock),
      network_(network),
      events_(events),
      options_(options),
      to_self_wake_(executor),
      stop_wanted_(executor),
      scope_(executor) {}

Icl::~Icl() = default;

void Icl::begin() {
    if (running_) return;
    running_ = true;
    scope_.spawn(tick());
    scope_.spawn(loopback());
}

Result<std::string> Icl::listen(std::string_view address) {
    TRY_LET(listener_, network_.listen(address));
    begin();
    scope_.spawn(accept_loop());
    return listener_->address();
}

void Icl::start(const Uuid& cluster, ControllerId self, Incarnation incarnation) {
    ASSERT(!started() && self.v != 0);
    cluster_ = cluster;
    self_ = self;
    incarnation_ = incarnation;
    begin();
}

// ---- views

void Icl::adopt(const View& view) {
    ASSERT(started());
    if (view.epoch <= epoch_ || stopping_) return;
    epoch_ = view.epoch;
    std::vector<PeerRef> before;
    for (const auto& [id, peer] : peers_) before.push_back(peer);
    for (const PeerRef& peer : before) {
        const ViewMember* member = view.find(peer->id);
        if (member != nullptr && member->incarnation == peer->incarnation) {
            renew_peer(*peer);
        } else {
            drop_peer(*peer);
        }
    }
    const bool first = view.epoch.v == incarnation_.v;
    for (const ViewMember& member : view.members) {
        if (member.id == self_ || peers_.contains(member.id)) continue;
        add_peer(member);
        // They dial us, once they know that we are there: tell them, if the view that brought us is this one.
        if (first && member.id < self_) scope_.spawn(knock(member.id, member.incarnation, member.address));
    }
    for (const LinkRef& link : handshakes_) link->resume();
    renew_lease();
}

void Icl::add_peer(const ViewMember& member) {
    auto peer = std::make_shared<Peer>(executor_, member, counters_[member.id]);
    peer->heard_at = clock_.now();
    peers_[member.id] = peer;
    if (self_ < member.id) scope_.spawn(dial_loop(peer));
}

void Icl::drop_peer(Peer& peer) {
    peer.gone = true;
    if (peer.link) peer.link->close();
    peer.link = nullptr;
    peer.queue.clear();
    peer.changed.notify_all();
    peers_.erase(peer.id);
}

/// The peer is in the next view too.
void Icl::renew_peer(Peer& peer) {
    peer.queue.clear();
    peer.queue_bytes = 0;
    // Nothing of the new epoch was lost in a session that ended before it.
    if (peer.link && peer.link->closed()) {
        peer.heard_at = std::max(peer.heard_at, peer.link->heard_at);
        peer.link = nullptr;
    }
    if (peer.link) {
        peer.state = PeerState::up;
        peer.link->drop_older(epoch_);
        peer.link->resume();
    } else {
        peer.state = PeerState::fresh;
    }
}

Icl::PeerRef Icl::find(ControllerId id) const {
    const auto at = peers_.find(id);
    return at == peers_.end() ? nullptr : at->second;
}

bool Icl::session_up(ControllerId id) const {
    const PeerRef peer = find(id);
    return peer && peer->link && !peer->link->closed();
}

// ---- messages

void Icl::subscribe(const Uuid& group, MessageSink& sink, unsigned index) { sinks_[{group, index}] = &sink; }

void Icl::unsubscribe(const Uuid& group, unsigned index) { sinks_.erase({group, index}); }

void Icl::send(AmfId to_amf, Message message) {
    if (stopping_) return;
    const ControllerId to = controller_of(to_amf);
    message.to_index = static_cast<std::uint8_t>(amf_index(to_amf));
    if (to == self_) {
        to_self_.push_back({epoch_, std::move(message)});
        to_self_wake_.notify_all();
        return;
    }
    const PeerRef peer = find(to);
    if (!peer) {
        LOG_DEBUG("icl.unknown_peer", {"peer", to}, {"epoch", epoch_});
        return;
    }
    if (is_link_type(message.type)) return send_link_message(*peer, std::move(message));
    switch (peer->state) {
        case PeerState::fresh:
            return keep_fresh(*peer, std::move(message));
        case PeerState::broken:
            ++peer->counters.dropped_broken;
            return;
        case PeerState::up:
            break;
    }
    if (peer->link->closed()) {  // its session is just ending
        peer->state = PeerState::broken;
        ++peer->counters.dropped_broken;
        return;
    }
    peer->link->enqueue(epoch_, std::move(message));
    if (peer->link->queued_bytes() > options_.queue_bytes ||
        peer->link->queued_messages() > options_.queue_messages) {
        LOG_WARN("icl.queue_overflow", {"peer", to}, {"epoch", epoch_});
        peer->state = PeerState::broken;
        peer->link->close();
    }
}

void Icl::send_link_message(Peer& peer, Message message) {
    if (peer.link) peer.link->enqueue(epoch_, std::move(message));
}

void Icl::keep_fresh(Peer& peer, Message message) {
    peer.queue_bytes += message.head.size() + message.payload.bytes.size();
    peer.queue.push_back(std::move(message));
    if (peer.queue_bytes <= options_.queue_bytes && peer.queue.size() <= options_.queue_messages) return;
    LOG_WARN("icl.queue_overflow", {"peer", peer.id}, {"epoch", epoch_});
    peer.state = PeerState::broken;
    peer.queue.clear();
    peer.queue_bytes = 0;
}

void Icl::deliver(ControllerId from, Message message) {
    if (stopping_) return;
    const auto sink = sinks_.find({message.group, message.to_index});
    if (sink == sinks_.end()) {
        LOG_DEBUG("icl.no_sink", {"peer", from}, {"group", to_string(message.group)},
                  {"type", std::string(to_string(message.type))});
        return;
    }
    const AmfId sender = amf_id(from, message.from_index);
    sink->second->deliver(sender, std::move(message));
}

Task<void> Icl::loopback() {
    while (!stopping_) {
        if (to_self_.empty()) {
            co_await to_self_wake_.next();
            continue;
        }
        // What the deliveries send to ourselves waits for the next turn, so that nobody is starved.
        for (std::size_t n = to_self_.size(); n != 0 && !to_self_.empty(); --n) {
            Queued queued = std::move(to_self_.front());
            to_self_.pop_front();
            if (queued.epoch == epoch_) deliver(self_, std::move(queued.message));
        }
        co_await yield_turn(executor_);
    }
}

// ---- time

Task<void> Icl::tick() {
    const Nanos interval = options_.ping_timeout / 4;
    while (!stopping_) {
        const Nanos planned = clock_.now() + interval;
        co_await wait_until(stop_wanted_, clock_, planned);
        if (stopping_) co_return;
        const Nanos now = clock_.now();
        std::vector<PeerRef> peers;
        for (const auto& [id, peer] : peers_) peers.push_back(peer);
        if (now - planned > options_.ping_timeout / 2) {
            // We slept, they may not have: what they said meanwhile is still unread.
            LOG_WARN("icl.slept",
                     {"ms", std::chrono::duration_cast<std::chrono::milliseconds>(now - planned).count()});
            for (const PeerRef& peer : peers) peer->heard_at = now;
            for (const LinkRef& link : handshakes_) link->since = now;
        }
        for (const LinkRef& link : handshakes_) {
            if (now - link->since > options_.ping_timeout) link->close();
        }
        for (const PeerRef& peer : peers) {
            if (!peer->gone) tick_peer(*peer, now);
        }
    }
}

void Icl::tick_peer(Peer& peer, Nanos now) {
    if (peer.link) {
        peer.heard_at = std::max(peer.heard_at, peer.link->blocked ? now : peer.link->heard_at);
        ping(peer);
    }
    if (now - std::max(peer.heard_at, peer.suspected_at) <= options_.ping_timeout) return;
    peer.suspected_at = now;
    peer.silent = true;
    LOG_WARN("icl.silent", {"peer", peer.id}, {"epoch", epoch_}, {"session", peer.link ? 1 : 0});
    events_.on_suspect(peer.id, SuspectReason::silent);
}

// ---- the lease

void Icl::ping(Peer& peer) {
    send_link_message(peer, {{}, MessageType::ping, encode_ping({clock_.now()}), {}});
}

/// Whoever is in the view of a newer epoch can put us out, and may be nobody that we know: no lease before we
/// have adopted it.
void Icl::hear_of(Epoch epoch) {
    if (epoch <= epoch_) return;
    newest_ = std::max(newest_, epoch);
    renew_lease();
    events_.on_newer_epoch(epoch);
}

/// False when it is no ping.
bool Icl::answer_ping(const Peer& peer, Link& link, const Message& message) {
    const Result<Ping> ping = decode_ping(message.head);
    if (!ping) return false;
    if (events_.condemned(peer.id)) return true;
    link.enqueue(epoch_, {{}, MessageType::pong, encode_pong({ping->sent_at, options_.ping_timeout}), {}});
    return true;
}

/// The ping that is answered has reached the peer after it was sent, and from then on the peer waits for
/// `patience` at least.
bool Icl::take_pong(Peer& peer, const Message& message) {
    const Result<Pong> pong = decode_pong(message.head);
    if (!pong || pong->sent_at > clock_.now()) return false;
    peer.lease_until = std::max(peer.lease_until, pong->sent_at + pong->patience / 2);
    renew_lease();
    return true;
}

void Icl::renew_lease() {
    Nanos until = newest_ > epoch_ ? Nanos::min() : Nanos::max();
    for (const auto& [id, peer] : peers_) until = std::min(until, peer->lease_until);
    lease_until_ = until;
}

Task<void> Icl::stop() {
    if (listener_) listener_->close();
    const Nanos patience = clock_.now() + 100ms;
    const auto flushed = [this] {
        return std::ranges::all_of(peers_, [](const auto& entry) {
            return !entry.second->link || entry.second->link->closed() || entry.second->link->flushed();
        });
    };
    while (!stopping_ && !flushed() && clock_.now() < patience) co_await sleep_for(clock_, 1ms);
    stopping_ = true;
    stop_wanted_.set();
    to_self_wake_.notify_all();
    while (!peers_.empty()) drop_peer(*PeerRef(peers_.begin()->second));
    for (const LinkRef& link : handshakes_) link->close();
    co_await scope_.join();
}

}  // namespace braid
