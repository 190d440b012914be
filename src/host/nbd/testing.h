// The world around the NBD server in memory: what its tests and its fuzzer stand on. A clock that moves by
// hand, a stream whose far end is the test, a network that hands such streams to the server.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "async/scope.h"
#include "base/codec.h"
#include "io/clock.h"
#include "io/stream.h"
#include "volume/memory_space.h"
#include "volume/port_registry.h"

namespace braid::nbd::testing {

class ManualClock final : public Clock {
public:
    explicit ManualClock(Executor& executor) : executor_(executor) {}
    Nanos now() const override { return now_; }
    void arm(TimerOp& op) override {
        op.sequence = ++sequence_;
        op.armed_by = this;
        timers_.emplace(std::pair(op.deadline, op.sequence), &op);
    }
    void disarm(TimerOp& op) override {
        timers_.erase({op.deadline, op.sequence});
        op.armed_by = nullptr;
    }
    /// Moves on by `step`, running what becomes ready at each deadline on the way.
    void advance(Nanos step) {
        const Nanos end = now_ + step;
        executor_.run_until_idle();
        while (!timers_.empty() && timers_.begin()->first.first <= end) {
            TimerOp& op = *timers_.begin()->second;
            timers_.erase(timers_.begin());
            op.armed_by = nullptr;
            op.fired = true;
            now_ = std::max(now_, op.deadline);
            executor_.post(*op.wakeup);
            executor_.run_until_idle();
        }
        now_ = end;
    }

private:
    Executor& executor_;
    Nanos now_ = 1s;
    std::uint64_t sequence_ = 0;
    std::map<std::pair<Nanos, std::uint64_t>, TimerOp*> timers_;
};

/// The far end of a stream, as the test holds it. It outlives the server's end.
struct Wire {
    std::deque<std::byte> to_server;
    Bytes from_server;
    std::size_t room = ~std::size_t{0};          ///< how much the client still takes
    std::size_t receive_most = ~std::size_t{0};  ///< bytes of one receive: short reads
    bool client_ended = false;
    bool server_ended = false;
    bool refuses_writes = false;    ///< the server's writes fail, its reads do not
    std::size_t writes = 0;         ///< write_pieces calls
    std::function<void()> changed;  ///< the stream's: looks whether a call can go on

    void send(std::span<const std::byte> bytes) {
        to_server.insert(to_server.end(), bytes.begin(), bytes.end());
        if (changed) changed();
    }
    void end() {
        client_ended = true;
        if (changed) changed();
    }
    void take(std::size_t more) {
        room += more;
        if (changed) changed();
    }
};

struct LooseWire final : LooseStream {
    explicit LooseWire(std::shared_ptr<Wire> w) : wire(std::move(w)) {}
    std::shared_ptr<Wire> wire;
};

class WireStream final : public ByteStream {
public:
    explicit WireStream(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {
        wire_->changed = [this] { progress(); };
    }
    ~WireStream() override {
        if (wire_ == nullptr) return;
        wire_->server_ended = true;
        wire_->changed = nullptr;
    }
    std::unique_ptr<LooseStream> let_go() override {
        ASSERT(read_ == nullptr && write_ == nullptr);
        wire_->changed = nullptr;
        return std::make_unique<LooseWire>(std::exchange(wire_, nullptr));
    }
    void submit(StreamOp& op, Join& join) override {
        StreamOp*& place = op.verb == StreamVerb::read ? read_ : write_;
        ASSERT(place == nullptr);
        if (op.verb == StreamVerb::write) ++wire_->writes;
        place = &op;
        op.join = &join;
        op.in_flight = this;
        join.add();
        progress();
    }
    void abandon(StreamOp& op) override {
        if (read_ == &op) read_ = nullptr;
        if (write_ == &op) write_ = nullptr;
    }
    void shutdown() override {
        wire_->server_ended = true;
        progress();
    }
    std::string peer_name() const override { return "test"; }

private:
    void progress() {
        if (read_ != nullptr) progress_read();
        if (write_ != nullptr) progress_write();
    }
    void progress_read() {
        Wire& wire = *wire_;
        const std::size_t count = std::min({read_->into.size(), wire.to_server.size(), wire.receive_most});
        if (wire.server_ended) return finish(read_, fail(Errc::closed));
        if (count == 0 && !wire.client_ended) return;
        std::copy_n(wire.to_server.begin(), count, read_->into.begin());
        wire.to_server.erase(wire.to_server.begin(),
                             wire.to_server.begin() + static_cast<std::ptrdiff_t>(count));
        finish(read_, count);
    }
    void progress_write() {
        Wire& wire = *wire_;
        if (wire.server_ended || wire.refuses_writes) return finish(write_, fail(Errc::closed));
        std::size_t skip = write_->progress, total = 0;
        for (const auto piece : write_->from) {
            total += piece.size();
            const std::size_t begin = std::min(skip, piece.size());
            skip -= begin;
            const auto part = piece.subspan(begin).first(std::min(piece.size() - begin, wire.room));
            wire.from_server.insert(wire.from_server.end(), part.begin(), part.end());
            wire.room -= part.size();
            write_->progress += part.size();
            if (part.size() < piece.size() - begin) return;
        }
        finish(write_, total);
    }
    void finish(StreamOp*& place, Result<std::size_t> result) {
        StreamOp& op = *std::exchange(place, nullptr);
        op.result = result;
        op.in_flight = nullptr;
        op.join->done();
    }

    std::shared_ptr<Wire> wire_;
    StreamOp* read_ = nullptr;
    StreamOp* write_ = nullptr;
};

class WireNetwork final : public Network {
public:
    explicit WireNetwork(Executor& executor) : arrived_(executor) {}

    /// A new client on whichever address accepts first.
    std::shared_ptr<Wire> dial() {
        auto wire = std::make_shared<Wire>();
        waiting_.push_back(wire);
        arrived_.notify_all();
        return wire;
    }
    Task<Result<std::unique_ptr<ByteStream>>> connect(std::string) override { co_return fail(Errc::refused); }
    std::unique_ptr<ByteStream> take(std::unique_ptr<LooseStream> loose) override {
        return std::make_unique<WireStream>(static_cast<LooseWire&>(*loose).wire);
    }
    Result<std::unique_ptr<Listener>> listen(std::string_view address) override {
        if (address == "taken") return fail(Errc::io_error);
        return std::make_unique<WireListener>(*this, std::string(address));
    }

private:
    class WireListener final : public Listener {
    public:
        WireListener(WireNetwork& network, std::string address)
            : network_(network), address_(std::move(address)) {}
        Task<Result<std::unique_ptr<ByteStream>>> accept() override {
            while (network_.waiting_.empty() && !closed_) co_await network_.arrived_.next();
            if (closed_) co_return fail(Errc::closed);
            auto wire = std::move(network_.waiting_.front());
            network_.waiting_.pop_front();
            co_return std::make_unique<WireStream>(std::move(wire));
        }
        void close() override {
            closed_ = true;
            network_.arrived_.notify_all();
        }
        std::string address() const override { return address_; }

    private:
        WireNetwork& network_;
        std::string address_;
        bool closed_ = false;
    };

    Event arrived_;
    std::deque<std::shared_ptr<Wire>> waiting_;
};

/// Big-endian bytes of what a client sends.
class Script {
public:
    Script& u16(std::uint64_t v) { return number(v, 2); }
    Script& u32(std::uint64_t v) { return number(v, 4); }
    Script& u64(std::uint64_t v) { return number(v, 8); }
    Script& text(std::string_view s) {
        for (char c : s) bytes_.push_back(static_cast<std::byte>(c));
        return *this;
    }
    Script& fill(std::size_t count, unsigned value) {
        bytes_.resize(bytes_.size() + count, static_cast<std::byte>(value));
        return *this;
    }
    Script& append(std::span<const std::byte> more) {
        bytes_.insert(bytes_.end(), more.begin(), more.end());
        return *this;
    }
    const Bytes& bytes() const { return bytes_; }
    operator std::span<const std::byte>() const { return bytes_; }

private:
    Script& number(std::uint64_t v, unsigned size) {
        while (size-- != 0) bytes_.push_back(static_cast<std::byte>(v >> 8 * size));
        return *this;
    }
    Bytes bytes_;
};

}  // namespace braid::nbd::testing
