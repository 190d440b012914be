// The NBD server of one controller: accepts on any number of addresses, negotiates, and serves the ports of a
// registry.
//
// Guarantees: memory for clients' work is bounded (Limits) and shared fairly; no client can disturb another
// one; stop() answers what is inside and returns when no connection and no operation of one is left. Needs:
// everything it is given outlives it; stop() before it is destroyed, except in a simulated crash. One thread.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/scope.h"
#include "base/codec.h"
#include "host/nbd/admission.h"
#include "host/nbd/limits.h"
#include "io/clock.h"
#include "io/stream.h"
#include "volume/port_registry.h"

namespace braid::nbd {

class Connection;
struct Agreement;

/// A connection after its handshake, between two threads.
struct Handed {
    std::unique_ptr<LooseStream> stream;
    std::string port;
    bool structured = false, allocation = false;
    Bytes received;  ///< behind the handshake
};

class Server {
public:
    Server(Executor& executor, Clock& clock, Network& network, PortRegistry& ports, Limits limits = {});
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    /// Begins to accept. May be called again for further addresses.
    Status listen(std::string_view address);
    /// The addresses it really has, in the order of the calls.
    std::vector<std::string> addresses() const;
    /// Where connections go that got another side of their port than the first one: each thread has a server
    /// of its own, and the data of a connection never leaves its thread.
    void on_hand_over(std::function<void(unsigned side, Handed)> hand_over) {
        hand_over_ = std::move(hand_over);
    }
    /// One that another server has negotiated; ended if it cannot be served here.
    void take_over(Handed handed);
    /// Orderly end: accepts nothing more, answers new requests with "shutting down", finishes what is inside.
    Task<void> stop();

    const Counters& counters() const { return counters_; }
    std::size_t connections() const { return connections_.size(); }

private:
    friend class Connection;

    Task<void> accept_on(Listener& listener);
    bool make_room();
    Task<void> serve(std::unique_ptr<ByteStream> stream);
    Task<void> serve_handed(std::unique_ptr<ByteStream> stream, Agreement agreement, Bytes received);
    /// Cuts clients that hold memory and do not move while others wait for it.
    Task<void> reclaim();

    Executor& executor_;
    Clock& clock_;
    Network& network_;
    PortRegistry& ports_;
    const Limits limits_;
    std::function<void(unsigned, Handed)> hand_over_;
    Counters counters_;
    SharedBudget budget_;
    bool stopping_ = false;
    std::vector<std::unique_ptr<Listener>> listeners_;
    std::list<Connection*> connections_;  // each lives in the frame of its serve()
    Scope scope_;
    Scope watch_;
};

}  // namespace braid::nbd
