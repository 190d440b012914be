#include "sim/sim_network.h"

#include <algorithm>

#include "sim/tap.h"

namespace braid::sim {

constexpr Nanos kHeldAgain = 50us;  // a frame that is held is looked at so often

Nanos Wires::delay(std::uint64_t from, std::uint64_t to) const {
    Nanos longest = world.knobs.link_latency_max + spike;
    if (const auto extra = slow.find({from, to}); extra != slow.end()) longest += extra->second;
    const auto low = static_cast<std::uint64_t>(world.knobs.link_latency_min.count());
    return Nanos(
        static_cast<std::int64_t>(world.prng.between(low, static_cast<std::uint64_t>(longest.count()))));
}

void Wires::reset(std::uint64_t a, std::uint64_t b) {
    for (auto& [id, weak] : connections_) {
        const auto connection = weak.lock();
        if (!connection) continue;
        const std::uint64_t left = connection->sides[0].process->pid,
                            right = connection->sides[1].process->pid;
        if ((left == a && right == b) || (left == b && right == a)) connection->close(2);
    }
    std::erase_if(connections_, [](const auto& entry) { return entry.second.expired(); });
}

void Wires::half_open(std::uint64_t a, std::uint64_t b, Nanos late) {
    for (auto& [id, weak] : connections_) {
        const auto connection = weak.lock();
        if (!connection) continue;
        for (unsigned side = 0; side < 2; ++side) {
            if (connection->sides[side].process->pid == a && connection->sides[1 - side].process->pid == b)
                connection->close_one(side, late);
        }
    }
}

std::pair<std::unique_ptr<SimStream>, std::unique_ptr<SimStream>> Connection::make(Wires& wires,
                                                                                   Process& dialler,
                                                                                   Process& acceptor) {
    const std::shared_ptr<Connection> connection(new Connection(wires));
    wires.connections_[wires.next_connection_++] = connection;
    std::array<std::unique_ptr<SimStream>, 2> streams;
    const std::array<Process*, 2> processes = {&dialler, &acceptor};
    for (unsigned side = 0; side < 2; ++side) {
        streams[side] = std::make_unique<SimStream>(connection, side);
        connection->sides[side].stream = streams[side].get();
        // Processes live as long as the world: the pointer is shared for its type only.
        connection->sides[side].process = std::shared_ptr<Process>(processes[side], [](Process*) {});
    }
    return {std::move(streams[0]), std::move(streams[1])};
}

void Connection::finish(StreamOp*& op, Result<std::size_t> result) {
    if (op == nullptr) return;
    StreamOp& done = *std::exchange(op, nullptr);
    done.in_flight = nullptr;
    done.result = result;
    done.join->done();
}

void Connection::end_side(unsigned side) {
    Side& end = sides[side];
    if (end.closed) return;
    end.closed = true;
    fail_calls(side);
}

void Connection::fail_calls(unsigned side) {
    finish(sides[side].write, fail(Errc::closed));
    finish(sides[side].read, fail(Errc::closed));
}

void Connection::close(unsigned asked_by) {
    for (unsigned side = 0; side < 2; ++side) {
        if (side == asked_by) {
            end_side(side);
        } else if (!sides[1 - side].lost) {
            wires_.world.after(wires_.delay(sides[1 - side].process->pid, sides[side].process->pid),
                               [self = shared_from_this(), side] { self->end_side(side); });
        }
    }
}

void Connection::close_one(unsigned side, Nanos other_after) {
    sides[side].lost = true;
    end_side(side);
    wires_.world.after(other_after, [self = shared_from_this(), side] { self->end_side(1 - side); });
}

/// Moves what the writer has into the wire as far as the window allows.
void Connection::pump_write(unsigned side) {
    Side& from = sides[side];
    Side& to = sides[1 - side];
    World& world = wires_.world;
    if (from.write == nullptr) return;
    StreamOp& op = *from.write;
    std::size_t total = 0;
    for (const auto& piece : op.from) total += piece.size();
    const std::size_t used = to.flying + to.inbound.size() - to.taken;
    const std::size_t room = world.knobs.stream_window > used ? world.knobs.stream_window - used : 0;
    std::size_t take = std::min(room, total - op.progress);
    if (take > 0) {
        std::vector<std::byte> bytes;
        bytes.reserve(take);
        std::size_t skip = op.progress;
        op.progress += take;
        for (const auto& piece : op.from) {
            if (skip >= piece.size()) {
                skip -= piece.size();
                continue;
            }
            const auto part = piece.subspan(skip, std::min(take, piece.size() - skip));
            bytes.insert(bytes.end(), part.begin(), part.end());
            take -= part.size();
            skip = 0;
            if (take == 0) break;
        }
        to.flying += bytes.size();
        if (world.tap == nullptr) {
            send(side, std::move(bytes));
        } else {
            for (std::span<const std::byte> rest = bytes; !rest.empty();) {
                const auto frame = rest.first(world.tap->frame_length(rest));
                world.tap->sent(*from.process, *to.process, frame);
                send(side, {frame.begin(), frame.end()});
                rest = rest.subspan(frame.size());
            }
        }
    }
    if (op.progress == total) finish(from.write, total);
}

/// A piece leaves `side`; pieces arrive in order.
void Connection::send(unsigned side, std::vector<std::byte> bytes) {
    Side& to = sides[1 - side];
    World& world = wires_.world;
    Process& from = *sides[side].process;
    Nanos when = std::max(to.last_delivery, world.now() + wires_.delay(from.pid, to.process->pid));
    if (const std::uint64_t rate = world.knobs.link_rate; rate != 0 && from.pid != to.process->pid) {
        from.port_until = std::max(from.port_until, world.now()) + at_rate(bytes.size(), rate);
        when = std::max(when, from.port_until + world.knobs.link_latency_min);
    }
    to.last_delivery = when;
    to.wire.push_back(std::move(bytes));
    world.at(when, [self = shared_from_this(), side] { self->deliver(1 - side); });
}

/// The next piece on the way to `side` is due: always the oldest, so that a cut in between cannot change
/// their order.
void Connection::deliver(unsigned side) {
    Side& to = sides[side];
    const Side& from = sides[1 - side];
    if (wires_.cuts.contains({from.process->pid, to.process->pid})) {
        wires_.world.after(10ms, [self = shared_from_this(), side] { self->deliver(side); });
        return;
    }
    Tap* tap = wires_.world.tap;
    if (tap != nullptr && !to.closed && tap->holds(*from.process, *to.process, to.wire.front())) {
        wires_.world.after(kHeldAgain, [self = shared_from_this(), side] { self->deliver(side); });
        return;
    }
    std::vector<std::byte> bytes = std::move(to.wire.front());
    to.wire.pop_front();
    to.flying -= bytes.size();
    if (to.closed) return;
    if (tap != nullptr) tap->arrives(*from.process, *to.process, bytes);
    if (to.taken == to.inbound.size()) {
        to.inbound = std::move(bytes);
        to.taken = 0;
    } else {
        to.inbound.insert(to.inbound.end(), bytes.begin(), bytes.end());
    }
    pump_read(side);
}

void Connection::pump_read(unsigned side) {
    Side& end = sides[side];
    const std::size_t present = end.inbound.size() - end.taken;
    if (end.read == nullptr || present == 0) return;
    World& world = wires_.world;
    std::size_t count = std::min(present, end.read->into.size());
    if (world.tap == nullptr && count > 1 && world.prng.chance(1, 8)) count = 1 + world.prng.below(count);
    std::copy_n(end.inbound.data() + end.taken, count, end.read->into.data());
    end.taken += count;
    if (end.taken == end.inbound.size()) {
        end.inbound.clear();
        end.taken = 0;
    }
    world.note("stream.read", end.process->pid, count);
    finish(end.read, count);
    pump_write(1 - side);
}

// ---- streams

/// Between two threads of its process, which stand on one executor here. Ends with it.
struct LooseSimStream final : LooseStream {
    explicit LooseSimStream(std::unique_ptr<SimStream> s) : stream(std::move(s)) {}
    std::unique_ptr<SimStream> stream;
};

SimStream::~SimStream() {
    if (connection_ == nullptr) return;
    connection_->sides[side_].stream = nullptr;
    connection_->close(side_);
}

void SimStream::submit(StreamOp& op, Join& join) {
    op.join = &join;
    op.in_flight = this;
    op.progress = 0;
    join.add();
    Connection::Side& side = connection_->sides[side_];
    StreamOp*& slot = op.verb == StreamVerb::read ? side.read : side.write;
    ASSERT(slot == nullptr);
    slot = &op;
    // Never an answer before this returns.
    side.process->world.after(Nanos{0}, [connection = connection_, at = side_, verb = op.verb] {
        Connection::Side& s = connection->sides[at];
        if (s.closed) {
            connection->fail_calls(at);
        } else if (verb == StreamVerb::read) {
            connection->pump_read(at);
        } else {
            connection->pump_write(at);
        }
    });
}

void SimStream::abandon(StreamOp& op) {
    Connection::Side& side = connection_->sides[side_];
    if (side.read == &op) side.read = nullptr;
    if (side.write == &op) {
        side.write = nullptr;
        shutdown();  // part of it may be on the way: the stream is no use any more
    }
    op.in_flight = nullptr;
}

std::unique_ptr<LooseStream> SimStream::let_go() {
    Connection::Side& side = connection_->sides[side_];
    ASSERT(side.read == nullptr && side.write == nullptr);
    auto other = std::make_unique<SimStream>(std::exchange(connection_, nullptr), side_);
    side.stream = other.get();
    return std::make_unique<LooseSimStream>(std::move(other));
}

void SimStream::shutdown() { connection_->close(side_); }

// ---- listening and dialling

SimListener::SimListener(Wires& wires, Process& process, std::string address)
    : wires_(wires), process_(process), address_(std::move(address)), changed_(process.executor) {
    wires_.listeners[address_] = this;
}

SimListener::~SimListener() { close(); }

void SimListener::close() {
    if (closed_) return;
    closed_ = true;
    wires_.listeners.erase(address_);
    waiting_.clear();
    changed_.notify_all();
}

void SimListener::arrive(std::unique_ptr<SimStream> stream) {
    waiting_.push_back(std::move(stream));
    changed_.notify_all();
}

Task<Result<std::unique_ptr<ByteStream>>> SimListener::accept() {
    while (waiting_.empty() && !closed_) co_await changed_.next();
    if (closed_) co_return fail(Errc::closed);
    std::unique_ptr<ByteStream> stream = std::move(waiting_.front());
    waiting_.pop_front();
    co_return stream;
}

Result<std::unique_ptr<Listener>> SimNetwork::listen(std::string_view address) {
    std::string where(address);
    if (where.ends_with(":0")) where.replace(where.size() - 1, 1, std::to_string(wires_.next_port++));
    if (wires_.listeners.contains(where)) return fail(Errc::exists);
    return std::make_unique<SimListener>(wires_, process_, std::move(where));
}

std::unique_ptr<ByteStream> SimNetwork::take(std::unique_ptr<LooseStream> loose) {
    return std::move(static_cast<LooseSimStream&>(*loose).stream);
}

Task<Result<std::unique_ptr<ByteStream>>> SimNetwork::connect(std::string address) {
    co_await sleep_for(process_.clock, wires_.delay(0, 0));
    const auto listener = wires_.listeners.find(address);
    if (listener == wires_.listeners.end()) co_return fail(Errc::refused);
    Process& other = listener->second->process();
    if (wires_.cuts.contains({process_.pid, other.pid}) || wires_.cuts.contains({other.pid, process_.pid})) {
        co_await sleep_for(process_.clock, 50ms);
        co_return fail(Errc::timeout);
    }
    auto [near, far] = Connection::make(wires_, process_, other);
    listener->second->arrive(std::move(far));
    co_return std::move(near);
}

}  // namespace braid::sim
