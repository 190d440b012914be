#include "host/nbd/server.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"
#include "host/nbd/intake.h"
#include "host/nbd/negotiation.h"
#include "host/nbd/transmission.h"

namespace braid::nbd {

// A client from its first byte to its last; stands in the server's list as long as it lives.
class Connection {
public:
    Connection(Server& server, std::unique_ptr<ByteStream> stream)
        : server_(server),
          stream_(std::move(stream)),
          intake_(server.executor_, *stream_, std::max<std::size_t>(server.limits_.option_length, 4096)),
          place_(server.connections_.insert(server.connections_.end(), this)),
          watch_(server.executor_) {
        ++server_.counters_.connections_opened;
        ++server_.counters_.connections_open;
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() {
        server_.connections_.erase(place_);
        --server_.counters_.connections_open;
    }

    Task<void> run() {
        watch_.spawn(handshake_deadline());
        Result<Agreement> agreement = co_await negotiate();
        watch_.destroy_all();
        agreed_ = agreement.has_value();
        if (!agreement) {
            if (agreement.error().code != Errc::cancelled) {
                ++server_.counters_.handshakes_failed;
                LOG_INFO("nbd.handshake_failed", {"peer", stream_->peer_name()},
                         {"reason", to_string(agreement.error().code)});
            }
            stream_->shutdown();
            co_return;
        }
        if (agreement->side != 0 && hand_over(*agreement)) co_return;
        co_await transmit(std::move(*agreement));
    }

    /// One that was negotiated on another thread, with what it has sent since.
    Task<void> run_handed(Agreement agreement, Bytes received) {
        agreed_ = true;
        intake_.begin_with(received);
        co_await transmit(std::move(agreement));
    }

    void stop() {
        if (transmission_) {
            transmission_->drain();
        } else {
            stream_->shutdown();
        }
    }

    /// Ends a handshake. False: it is over, or has been ended before.
    bool give_place() {
        if (agreed_ || std::exchange(cut_, true)) return false;
        stream_->shutdown();
        return true;
    }

    bool cut_if_stalled_since(Nanos limit) {
        if (!transmission_) return false;
        const Nanos since = transmission_->stalled_since();
        if (since == Nanos{} || since > limit) return false;
        LOG_WARN("nbd.connection_stalled", {"peer", stream_->peer_name()});
        stream_->shutdown();
        return true;
    }

private:
    Task<void> transmit(Agreement agreement) {
        transmission_.emplace(server_.executor_, server_.clock_, *stream_, intake_, std::move(agreement),
                              server_.limits_, server_.budget_, server_.counters_);
        co_await transmission_->run();
    }

    /// False: it cannot leave this thread, whose side of the port is as good.
    bool hand_over(const Agreement& agreement) {
        if (agreement.port->closing()) return false;  // another one may have its name by now
        std::unique_ptr<LooseStream> loose = server_.hand_over_ ? stream_->let_go() : nullptr;
        if (loose == nullptr) return false;
        const auto left = intake_.available();
        server_.hand_over_(agreement.side,
                           Handed{std::move(loose), agreement.port->name(), agreement.structured,
                                  agreement.allocation, Bytes(left.begin(), left.end())});
        return true;
    }

    Task<Result<Agreement>> negotiate() {
        Negotiation negotiation(server_.executor_, *stream_, intake_, server_.ports_, server_.limits_);
        co_return co_await negotiation.run();
    }

    Task<void> handshake_deadline() {
        co_await sleep_for(server_.clock_, server_.limits_.handshake_deadline);
        stream_->shutdown();
    }

    Server& server_;
    std::unique_ptr<ByteStream> stream_;
    Intake intake_;
    std::list<Connection*>::iterator place_;
    std::optional<Transmission> transmission_;
    bool agreed_ = false;
    bool cut_ = false;
    Scope watch_;
};

Server::Server(Executor& executor, Clock& clock, Network& network, PortRegistry& ports, Limits limits)
    : executor_(executor),
      clock_(clock),
      network_(network),
      ports_(ports),
      limits_(limits),
      budget_(executor, limits.total_bytes_in_flight),
      scope_(executor),
      watch_(executor) {
    watch_.spawn(reclaim());
}

Server::~Server() = default;

Status Server::listen(std::string_view address) {
    TRY_LET(listeners_.emplace_back(), network_.listen(address));
    LOG_INFO("nbd.listening", {"address", listeners_.back()->address()});
    scope_.spawn(accept_on(*listeners_.back()));
    return {};
}

std::vector<std::string> Server::addresses() const {
    std::vector<std::string> all;
    for (const auto& listener : listeners_) all.push_back(listener->address());
    return all;
}

Task<void> Server::accept_on(Listener& listener) {
    constexpr Nanos kPause = 100ms;  // when descriptors are short: closing connections make room
    while (!stopping_) {
        Result<std::unique_ptr<ByteStream>> stream = co_await listener.accept();
        if (!stream) {
            if (stopping_ || stream.error().code == Errc::closed) break;
            LOG_WARN("nbd.accept_failed", {"address", listener.address()},
                     {"reason", to_string(stream.error().code)});
            co_await sleep_for(clock_, kPause);
        } else if (stopping_ || (connections_.size() >= limits_.connections && !make_room())) {
            ++counters_.connections_refused;
            (*stream)->shutdown();
        } else {
            scope_.spawn(serve(std::move(*stream)));
        }
    }
}

/// Who only holds a place must not keep hosts out of it: the longest handshake goes.
bool Server::make_room() {
    return std::ranges::any_of(connections_, [](Connection* connection) { return connection->give_place(); });
}

Task<void> Server::serve(std::unique_ptr<ByteStream> stream) {
    Connection connection(*this, std::move(stream));
    co_await connection.run();
}

void Server::take_over(Handed handed) {
    std::unique_ptr<ByteStream> stream = network_.take(std::move(handed.stream));
    std::shared_ptr<Port> port = ports_.find(handed.port);
    if (stream == nullptr || port == nullptr || stopping_ || connections_.size() >= limits_.connections) {
        ++counters_.connections_refused;
        if (stream != nullptr) stream->shutdown();
        return;
    }
    scope_.spawn(serve_handed(std::move(stream),
                              Agreement{std::move(port), 0, handed.structured, handed.allocation},
                              std::move(handed.received)));
}

Task<void> Server::serve_handed(std::unique_ptr<ByteStream> stream, Agreement agreement, Bytes received) {
    Connection connection(*this, std::move(stream));
    co_await connection.run_handed(std::move(agreement), std::move(received));
}

Task<void> Server::reclaim() {
    while (true) {
        if (budget_.waiting() == 0) co_await budget_.shortage().next();
        co_await sleep_for(clock_, limits_.stall_deadline / 4);
        if (budget_.waiting() == 0) continue;
        const Nanos limit = clock_.now() - limits_.stall_deadline;
        for (Connection* connection : connections_) {
            if (connection->cut_if_stalled_since(limit)) ++counters_.stalled;
        }
    }
}

Task<void> Server::stop() {
    stopping_ = true;
    for (const auto& listener : listeners_) listener->close();
    for (Connection* connection : connections_) connection->stop();
    co_await scope_.join();
    watch_.destroy_all();
}

}  // namespace braid::nbd
