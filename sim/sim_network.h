// Simulated byte streams: ordered, with a window, delivered in pieces of random size after a random delay. A
// pair of processes can be cut (bytes wait), a connection can be reset, a dead process's connections are
// reset soon after.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "io/stream.h"
#include "sim/world.h"

namespace braid::sim {

class SimListener;

/// What all processes share: who listens where, who is cut from whom.
class Wires {
public:
    explicit Wires(World& w) : world(w) {}
    World& world;
    std::map<std::string, SimListener*> listeners;
    std::uint16_t next_port = 20000;
    /// Bytes from the first pid to the second wait.
    std::set<std::pair<std::uint64_t, std::uint64_t>> cuts;
    void cut(std::uint64_t a, std::uint64_t b, bool both) {
        cuts.insert({a, b});
        if (both) cuts.insert({b, a});
    }
    void heal() { cuts.clear(); }
    Nanos spike{};                                                  ///< every delay is longer by up to this
    std::map<std::pair<std::uint64_t, std::uint64_t>, Nanos> slow;  ///< the same, from pid to pid
    /// Of one packet between two pids.
    Nanos delay(std::uint64_t from, std::uint64_t to) const;
    /// Ends all connections between the two.
    void reset(std::uint64_t a, std::uint64_t b);
    /// Ends them for `a` alone; `b` hears of it after `late`, and what it sends meanwhile is lost.
    void half_open(std::uint64_t a, std::uint64_t b, Nanos late);

private:
    friend class Connection;
    std::map<std::uint64_t, std::weak_ptr<class Connection>> connections_;
    std::uint64_t next_connection_ = 1;
};

class SimStream;

/// Both directions of one connection.
class Connection : public std::enable_shared_from_this<Connection> {
public:
    static std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> make(Wires& wires,
                                                                                  Process& dialler,
                                                                                  Process& acceptor);
    /// Ends it for both, after a delay for the side that did not ask.
    void close(unsigned asked_by);
    void close_one(unsigned side, Nanos other_after);
    void pump_write(unsigned side);
    void pump_read(unsigned side);
    void fail_calls(unsigned side);

    struct Side {
        SimStream* stream = nullptr;
        std::shared_ptr<Process> process;
        std::vector<std::byte> inbound;
        std::size_t taken = 0;                    ///< of inbound, read already
        std::deque<std::vector<std::byte>> wire;  ///< sent to this side and not delivered yet, in order
        std::size_t flying = 0;                   ///< bytes sent to this side and not delivered yet
        Nanos last_delivery{};
        StreamOp* read = nullptr;
        StreamOp* write = nullptr;
        bool closed = false;
        bool lost = false;  ///< the other side is not told of its end
    };
    std::array<Side, 2> sides;

private:
    friend class Wires;
    explicit Connection(Wires& wires) : wires_(wires) {}
    void send(unsigned side, std::vector<std::byte> bytes);
    void deliver(unsigned side);
    void end_side(unsigned side);
    static void finish(StreamOp*& op, Result<std::size_t> result);
    Wires& wires_;
};

class SimStream final : public ByteStream {
public:
    SimStream(std::shared_ptr<Connection> connection, unsigned side)
        : connection_(std::move(connection)), side_(side) {}
    ~SimStream() override;
    void submit(StreamOp& op, Join& join) override;
    void abandon(StreamOp& op) override;
    void shutdown() override;
    std::string peer_name() const override { return "sim"; }
    std::unique_ptr<LooseStream> let_go() override;

private:
    std::shared_ptr<Connection> connection_;
    unsigned side_;
};

class SimListener final : public Listener {
public:
    SimListener(Wires& wires, Process& process, std::string address);
    ~SimListener() override;
    Task<Result<std::unique_ptr<ByteStream>>> accept() override;
    void close() override;
    std::string address() const override { return address_; }

    Process& process() { return process_; }
    void arrive(std::unique_ptr<SimStream> stream);

private:
    Wires& wires_;
    Process& process_;
    std::string address_;
    std::deque<std::unique_ptr<SimStream>> waiting_;
    Event changed_;
    bool closed_ = false;
};

class SimNetwork final : public Network {
public:
    SimNetwork(Wires& wires, Process& process) : wires_(wires), process_(process) {}
    Task<Result<std::unique_ptr<ByteStream>>> connect(std::string address) override;
    Result<std::unique_ptr<Listener>> listen(std::string_view address) override;
    std::unique_ptr<ByteStream> take(std::unique_ptr<LooseStream> loose) override;

private:
    Wires& wires_;
    Process& process_;
};

}  // namespace braid::sim
