#include <algorithm>

#include "base/log.h"
#include "icl/frame.h"
#include "icl/peer.h"

namespace braid {
namespace {

/// All that is accepted of somebody who has not said who it is.
constexpr FrameLimits kHelloLimits{.head = kHelloSize, .payload = 0};

}  // namespace

// ---- hello

Message Icl::hello_to(ControllerId to, Incarnation incarnation) const {
    return {{}, MessageType::hello, encode_hello({cluster_, self_, incarnation_, to, incarnation}), {}};
}

/// The peer that a hello names, if the present view has it and the hello means us.
Icl::PeerRef Icl::check_hello(const Hello& hello, std::string_view where) const {
    const PeerRef peer = find(hello.from);
    const bool for_us =
        hello.cluster == cluster_ && hello.to == self_ && hello.to_incarnation == incarnation_;
    if (for_us && peer && peer->incarnation == hello.from_incarnation) return peer;
    LOG_INFO("icl.stranger", {"from", where}, {"peer", hello.from}, {"epoch", epoch_});
    return nullptr;
}

/// Reads who dials; answers and returns its peer if it may have a session.
Task<Icl::PeerRef> Icl::answer_hello(LinkRef link) {
    const Result<Frame> frame = co_await link->read(kHelloLimits);
    if (!frame) {
        if (frame.error().code != Errc::closed) {
            LOG_WARN("icl.bad_hello", {"from", link->peer_name()}, {"error", to_string(frame.error().code)});
        }
        co_return nullptr;
    }
    if (frame->message.type != MessageType::hello) co_return nullptr;
    const Result<Hello> hello = decode_hello(frame->message.head);
    if (!hello || (started() && hello->cluster != cluster_)) {
        LOG_WARN("icl.bad_hello", {"from", link->peer_name()}, {"error", "not of this cluster"});
        co_return nullptr;
    }
    // The dialler may know a view that we do not, or we have not finished our join.
    while (frame->epoch > epoch_ && !link->closed() && !stopping_) {
        hear_of(frame->epoch);
        co_await link->resumed();
    }
    if (link->closed() || stopping_) co_return nullptr;
    const PeerRef peer = check_hello(*hello, link->peer_name());
    if (!peer || self_ < peer->id) co_return nullptr;  // a larger id only knocks: now we dial it
    if (!co_await link->say(epoch_, hello_to(peer->id, peer->incarnation))) co_return nullptr;
    co_return peer->gone ? nullptr : peer;
}

Task<void> Icl::accept_loop() {
    while (!stopping_) {
        Result<std::unique_ptr<ByteStream>> stream = co_await listener_->accept();
        if (stopping_ || (!stream && stream.error().code == Errc::closed)) co_return;
        if (!stream) {
            LOG_WARN("icl.accept_failed", {"error", to_string(stream.error().code)});
            co_await wait_until(stop_wanted_, clock_, clock_.now() + options_.redial_max);
            continue;
        }
        if (handshakes_.size() >= options_.max_handshakes) continue;  // closes it
        scope_.spawn(accept_one(std::move(*stream)));
    }
}

Task<void> Icl::accept_one(std::unique_ptr<ByteStream> stream) {
    const auto link = std::make_shared<Link>(executor_, clock_, std::move(stream));
    handshakes_.push_back(link);
    const PeerRef peer = co_await answer_hello(link);
    handshakes_.remove(link);
    if (peer && !link->closed()) co_await session(peer, link);
}

// ---- dialling

Task<void> Icl::dial_loop(PeerRef peer) {
    co_await yield_turn(executor_);
    Nanos pause{};
    while (!peer->gone && !stopping_) {
        const Nanos begun = clock_.now();
        co_await dial_once(peer);
        if (peer->gone || stopping_) co_return;
        if (clock_.now() - begun > options_.redial_max) pause = {};
        pause = std::clamp(2 * pause, options_.redial_min, options_.redial_max);
        co_await wait_until(peer->changed, clock_, clock_.now() + pause, true);
    }
}

/// One attempt, and the session that it leads to.
Task<void> Icl::dial_once(PeerRef peer) {
    Result<std::unique_ptr<ByteStream>> stream = co_await network_.connect(peer->address);
    if (!stream || peer->gone || stopping_) co_return;
    const auto link = std::make_shared<Link>(executor_, clock_, std::move(*stream));
    handshakes_.push_back(link);
    Result<Frame> frame = fail(Errc::closed);
    if (co_await link->say(epoch_, hello_to(peer->id, peer->incarnation)))
        frame = co_await link->read(kHelloLimits);
    handshakes_.remove(link);
    if (!frame || frame->message.type != MessageType::hello || peer->gone || stopping_) co_return;
    hear_of(frame->epoch);
    const Result<Hello> hello = decode_hello(frame->message.head);
    if (!hello || check_hello(*hello, link->peer_name()) != peer || link->closed()) co_return;
    co_await session(peer, link);
}

/// Lets a peer that will dial us know that there is a view with us in it.
Task<void> Icl::knock(ControllerId to, Incarnation incarnation, std::string address) {
    co_await yield_turn(executor_);
    Result<std::unique_ptr<ByteStream>> stream = co_await network_.connect(address);
    if (!stream || stopping_) co_return;
    const auto link = std::make_shared<Link>(executor_, clock_, std::move(*stream));
    handshakes_.push_back(link);
    if (co_await link->say(epoch_, hello_to(to, incarnation))) (void)co_await link->read(kHelloLimits);
    handshakes_.remove(link);
}

// ---- sessions

void Icl::session_starts(Peer& peer, const LinkRef& link) {
    if (peer.link) {  // the far end gave the old one up before we noticed
        const LinkRef old = peer.link;
        old->close();
        session_ends(peer, *old);
    }
    peer.link = link;
    peer.heard_at = clock_.now();
    link->count_for(peer.counters);
    link->on_sent([this, id = peer.id](Epoch epoch, Message receipt) {
        if (epoch == epoch_) deliver(id, std::move(receipt));
    });
    ++peer.counters.sessions;
    ping(peer);
    LOG_INFO("icl.up", {"peer", peer.id}, {"epoch", epoch_}, {"address", link->peer_name()});
    if (peer.state == PeerState::broken) return events_.on_restored(peer.id);
    peer.state = PeerState::up;
    for (Message& message : peer.queue) link->enqueue(epoch_, std::move(message));
    peer.queue.clear();
    peer.queue_bytes = 0;
}

void Icl::session_ends(Peer& peer, const Link& link) {
    if (peer.link.get() != &link) return;
    peer.heard_at = std::max(peer.heard_at, link.heard_at);
    peer.link = nullptr;
    peer.state = PeerState::broken;
    LOG_INFO("icl.down", {"peer", peer.id}, {"epoch", epoch_});
    if (!peer.gone && !stopping_) events_.on_suspect(peer.id, SuspectReason::transport);
}

Task<void> Icl::session(PeerRef peer, LinkRef link) {
    session_starts(*peer, link);
    std::vector<Task<void>> both;
    both.push_back(receive(peer, link));
    both.push_back(link->write_queue());
    co_await gather(executor_, std::move(both));
    session_ends(*peer, *link);
}

Task<void> Icl::receive(PeerRef peer, LinkRef link) {
    while (!link->closed()) {
        Result<Frame> frame = co_await link->read(FrameLimits{});
        if (!frame) {
            if (frame.error().code != Errc::closed) {
                LOG_WARN("icl.bad_frame", {"peer", peer->id}, {"error", to_string(frame.error().code)});
            }
            break;
        }
        ++peer->counters.received.messages[static_cast<std::size_t>(frame->message.type)];
        if (peer->gone) break;
        if (std::exchange(peer->silent, false)) events_.on_heard(peer->id);
        hear_of(frame->epoch);
        if (is_link_type(frame->message.type)) {
            if (!link_message(*peer, *link, *frame)) break;
            continue;
        }
        while (frame->epoch > epoch_ && !link->closed()) {
            link->blocked = true;
            hear_of(frame->epoch);
            co_await link->resumed();
        }
        if (link->blocked) link->heard_at = clock_.now();
        link->blocked = false;
        if (link->closed() || peer->gone) break;
        if (frame->epoch < epoch_) {
            ++peer->counters.dropped_stale;
            continue;
        }
        deliver(peer->id, std::move(frame->message));
    }
    link->close();
}

/// False when the peer breaks the protocol.
bool Icl::link_message(Peer& peer, Link& link, const Frame& frame) {
    switch (frame.message.type) {
        case MessageType::ping:
            return answer_ping(peer, link, frame.message);
        case MessageType::pong:
            return take_pong(peer, frame.message);
        case MessageType::view_changed: {
            const Result<Epoch> epoch = decode_view_changed(frame.message.head);
            if (epoch) hear_of(*epoch);
            return epoch.has_value();
        }
        default:
            LOG_WARN("icl.bad_frame", {"peer", peer.id}, {"error", "second hello"});
            return false;
    }
}

}  // namespace braid
