// The inter-controller links: one ordered connection per pair of controllers, dialled by the one with the
// smaller id.
//
//   dialler                       acceptor
//      | hello {cluster, who, to whom} |      both check that the other is in their view with exactly this
//      incarnation;
//      |------------------------------>|      an acceptor whose view is older waits until it has caught up
//      |                         hello |
//      |<------------------------------|      session is up
//      | frames {group, epoch, type}   |
//
// Of a peer, in one epoch:
//
//   state   | session | send()                       | leaves by
//   fresh   | not yet | kept until the session is up | hello done -> up
//   up      | yes     | queued, gathered             | session ends -> broken
//   broken  | maybe   | dropped                      | adopt(): with a session -> up, without -> fresh
//
// Guarantees: of one epoch the receiver gets a prefix of what was sent, in order, each message once; a
// reconnect never replays; a message is delivered in the epoch it was sent in or not at all. A frame of a
// newer epoch stops the reading of its link until adopt() has caught up. Bytes that are no frames end their
// own link and nothing else. Needs: adopt() of every view in order of epochs. Never decides who is a member.
#pragma once

#include <atomic>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "async/scope.h"
#include "icl/counters.h"
#include "icl/lease.h"
#include "icl/message.h"
#include "icl/suspicion.h"
#include "icl/view.h"
#include "io/clock.h"
#include "io/stream.h"

namespace braid {

class Link;
struct Frame;
struct Hello;

/// What the links see of the peers. Called from tasks of the Icl, never from inside one of its calls.
class IclEvents {
public:
    virtual ~IclEvents() = default;
    /// `transport` when a session ends, `silent` when nothing was heard for the ping timeout (again after
    /// each further one).
    virtual void on_suspect(ControllerId peer, SuspectReason reason) = 0;
    /// The session that had broken in this epoch stands again; protocol messages go over it from the next
    /// epoch on.
    virtual void on_restored(ControllerId peer) = 0;
    /// A peer is in a newer epoch than we are: read the view again.
    virtual void on_newer_epoch(Epoch epoch) = 0;
    /// A peer that was reported silent says something again.
    virtual void on_heard(ControllerId peer) = 0;
    /// Somebody here wants the peer out of the view: it gets no answer from which it could take a lease.
    virtual bool condemned(ControllerId peer) const = 0;
};

struct IclOptions {
    Nanos ping_timeout = 1s;  ///< silence after which a peer is suspected; pings go every quarter of it
    std::size_t queue_bytes = 256u << 20;  ///< of a peer's queue; beyond it the session is given up
    std::size_t queue_messages = 1u << 18;
    Nanos redial_min = 5ms;  ///< pause between attempts: doubles from here
    Nanos redial_max = 100ms;
    std::size_t max_handshakes = 64;  ///< connections that have not said hello yet
};

class Icl final : public Transport, public Lease {
public:
    Icl(Executor& executor, Clock& clock, Network& network, IclEvents& events, IclOptions options = {});
    ~Icl() override;
    Icl(const Icl&) = delete;
    Icl& operator=(const Icl&) = delete;

    /// Accepts from now on; the address peers can dial. Before start() they wait for their hello to be
    /// answered.
    Result<std::string> listen(std::string_view address);
    /// Who we are: known after the join, before the first adopt().
    void start(const Uuid& cluster, ControllerId self, Incarnation incarnation);
    bool started() const { return self_.v != 0; }
    /// A newer view: messages of older epochs are dropped, links of those who left closed, new members
    /// dialled.
    void adopt(const View& view);
    Epoch epoch() const { return epoch_; }

    /// Messages to this controller's AMF `index` of `group` go to `sink` from now on; the nil group is the
    /// controller itself.
    void subscribe(const Uuid& group, MessageSink& sink, unsigned index = 0);
    void unsubscribe(const Uuid& group, unsigned index = 0);
    /// What an AMF on another thread said in an epoch, which may have passed since: then it is dropped.
    void send_in(Epoch epoch, AmfId to, Message message) {
        if (epoch == epoch_) send(to, std::move(message));
    }
    /// Stamps the present epoch. Limits: kMaxFrameHead and kMaxFramePayload of icl/frame.h.
    void send(AmfId to, Message message) override;

    /// What is queued is sent if the peers take it soon, then everything is closed. Afterwards nothing is
    /// delivered.
    Task<void> stop();

    bool session_up(ControllerId peer) const;
    /// Every peer of the view has answered a ping of ours that went out less than half of its patience ago,
    /// and nobody is known to be in a newer view; alone in the view: always.
    bool live() const override { return clock_.now() < lease_until_.load(); }
    const std::map<ControllerId, PeerCounters>& counters() const { return counters_; }

private:
    enum class PeerState : std::uint8_t { fresh, up, broken };
    struct Queued {
        Epoch epoch;
        Message message;
    };
    struct Peer;
    using PeerRef = std::shared_ptr<Peer>;
    using LinkRef = std::shared_ptr<Link>;

    // icl.cc: peers and messages
    void begin();
    PeerRef find(ControllerId id) const;
    void add_peer(const ViewMember& member);
    void drop_peer(Peer& peer);
    void renew_peer(Peer& peer);
    void send_link_message(Peer& peer, Message message);
    void keep_fresh(Peer& peer, Message message);
    void deliver(ControllerId from, Message message);
    Task<void> loopback();
    Task<void> tick();
    void tick_peer(Peer& peer, Nanos now);

    // sessions.cc: connections
    Task<void> accept_loop();
    Task<void> accept_one(std::unique_ptr<ByteStream> stream);
    Task<void> dial_loop(PeerRef peer);
    Task<void> dial_once(PeerRef peer);
    Task<void> knock(ControllerId to, Incarnation incarnation, std::string address);
    Task<PeerRef> answer_hello(LinkRef link);
    PeerRef check_hello(const Hello& hello, std::string_view where) const;
    Message hello_to(ControllerId to, Incarnation incarnation) const;
    Task<void> session(PeerRef peer, LinkRef link);
    Task<void> receive(PeerRef peer, LinkRef link);
    bool link_message(Peer& peer, Link& link, const Frame& frame);
    void hear_of(Epoch epoch);
    void ping(Peer& peer);
    bool answer_ping(const Peer& peer, Link& link, const Message& message);
    bool take_pong(Peer& peer, const Message& message);
    void renew_lease();
    void session_starts(Peer& peer, const LinkRef& link);
    void session_ends(Peer& peer, const Link& link);

    Executor& executor_;
    Clock& clock_;
    Network& network_;
    IclEvents& events_;
    const IclOptions options_;

    Uuid cluster_;
    ControllerId self_;
    Incarnation incarnation_;
    Epoch epoch_;
    Epoch newest_;                                   ///< that anybody has named to us
    std::atomic<Nanos> lease_until_ = Nanos::max();  ///< asked by AMFs on other threads too
    std::map<ControllerId, PeerRef> peers_;
    std::map<ControllerId, PeerCounters> counters_;
    std::map<std::pair<Uuid, unsigned>, MessageSink*> sinks_;  ///< and the index of the AMF
    std::deque<Queued> to_self_;
    Event to_self_wake_;
    Event stop_wanted_;
    std::list<LinkRef> handshakes_;  ///< connections whose far end is not known yet
    std::unique_ptr<Listener> listener_;
    bool running_ = false;
    bool stopping_ = false;
    Scope scope_;
};

}  // namespace braid
