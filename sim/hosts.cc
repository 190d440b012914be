#include "sim/hosts.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace braid::sim {
namespace {

/// Word `i` of a sector that a write stamped: differs in every word between any two writes.
std::uint64_t filler(std::uint64_t id, std::uint64_t sector, std::size_t i) {
    return (id * 0x9e3779b97f4a7c15ull ^ sector) + i * 0xd1342543de82ef95ull;
}

}  // namespace

Hosts::Hosts(World& world, Ports& ports, HostOptions options)
    : world_(world), ports_(ports), options_(options) {
    Prng prng = world_.prng.split(0x40575);
    const std::uint64_t shared = options_.volume_size - options_.hosts * kPrivateSize;
    for (int i = 0; i < 6; ++i) spots_.push_back(prng.below(shared / kSector) * kSector);
    spots_.push_back(0);
    spots_.push_back(kExtentSize - options_.stripe_size / kSector / 2 * kSector);  // across an extent's end
    hosts_.resize(options_.hosts);
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
        hosts_[i].index = i;
        hosts_[i].prng = prng.split(i);
        hosts_[i].expected.assign(kPrivateSize, std::byte{0});
        hosts_[i].uncertain.assign(kPrivateSize, 0);
        if (options_.power_cuts) hosts_[i].durable.assign(kPrivateSize, std::byte{0});
    }
}

std::uint64_t Hosts::private_base(const Host& host) const {
    return options_.volume_size - (host.index + 1) * kPrivateSize;
}

void Hosts::start() {
    for (Host& host : hosts_) next(host);
}

void Hosts::resume() {
    quiet_ = false;
    for (Host& host : hosts_) {
        if (!host.operation) next(host);
    }
}

bool Hosts::idle() const {
    return std::none_of(hosts_.begin(), hosts_.end(), [](const Host& h) { return h.operation.has_value(); });
}

std::string Hosts::pending() const {
    std::string out;
    for (const Host& host : hosts_) {
        if (!host.operation) continue;
        out += "host " + std::to_string(host.index) + " kind " +
               std::to_string(static_cast<int>(host.operation->kind)) + " at " +
               std::to_string(host.operation->offset) + " + " + std::to_string(host.operation->length) +
               " on pid " + std::to_string(host.process) + " since " +
               std::to_string(host.operation->invoked) + "\n";
    }
    return out;
}

Hosts::Operation Hosts::draw(Host& host) {
    Prng& prng = host.prng;
    Operation op;
    op.id = next_id_++;
    const std::uint64_t dice = prng.below(100);
    if (dice < 70) {
        op.kind = dice < 35 ? Kind::write : Kind::read;
        const std::uint64_t shared = options_.volume_size - options_.hosts * kPrivateSize;
        const std::uint64_t longest = prng.chance(1, 12) ? 3 * options_.stripe_size : (16u << 10);
        op.length = (1 + prng.below(longest / kSector)) * kSector;
        if (prng.chance(1, 4)) op.length = std::max<std::uint64_t>(op.length / kBlockSize, 1) * kBlockSize;
        const bool meet = options_.hot && prng.chance(3, 4);
        const std::uint64_t near =
            spots_[prng.below(meet ? 2 : spots_.size())] + prng.below(meet ? 2 : 8) * kBlockSize;
        op.offset = std::min(near, shared - op.length) / kSector * kSector;
        op.fua = prng.chance(1, 10);
    } else if (dice < 97) {
        op.kind = dice < 85 ? Kind::private_write : dice < 94 ? Kind::private_read : Kind::private_zero;
        op.length = 1 + prng.below(prng.chance(1, 6) ? kPrivateSize / 2 : 9000);
        op.offset = private_base(host) + prng.below(kPrivateSize - op.length);
    } else {
        op.kind = Kind::flush;
    }
    return op;
}

/// Every sector of a shared write names itself and the write; private bytes are a function of the write.
void Hosts::stamp(Operation& op) {
    op.data = Buffer(op.length);
    if (op.kind == Kind::private_write) {
        for (std::uint64_t i = 0; i < op.length; i += 8) {
            const std::uint64_t word = mix64(op.id * 1'000'003 + i) | 0x0101010101010101ull;
            std::memcpy(op.data.data() + i, &word, std::min<std::uint64_t>(8, op.length - i));
        }
        return;
    }
    for (std::uint64_t at = 0; at < op.length; at += kSector) {
        std::array<std::uint64_t, kSector / 8> words;
        const std::uint64_t sector = (op.offset + at) / kSector;
        for (std::size_t i = 2; i < words.size(); ++i) words[i] = filler(op.id, sector, i);
        words[0] = op.id;
        words[1] = sector;
        std::memcpy(op.data.data() + at, words.data(), kSector);
    }
}

void Hosts::next(Host& host) {
    if (quiet_ || host.operation) return;
    const auto place = ports_.pick(host.prng);
    if (!place) {
        world_.after(5ms, [this, &host] { next(host); });
        return;
    }
    host.operation = draw(host);
    Operation& op = *host.operation;
    op.invoked = instant();
    if (op.kind == Kind::write || op.kind == Kind::private_write) stamp(op);
    if (op.kind == Kind::read || op.kind == Kind::private_read) op.data = Buffer(op.length);
    if (op.kind == Kind::write) {
        for (std::uint64_t at = 0; at < op.length; at += kSector) {
            one_disk_.write_begins((op.offset + at) / kSector, op.id, op.invoked);
        }
    }
    if (op.kind == Kind::private_write || op.kind == Kind::private_zero) {
        const std::uint64_t from = op.offset - private_base(host);
        std::fill_n(host.uncertain.begin() + static_cast<std::ptrdiff_t>(from), op.length, std::uint8_t{1});
    }
    host.process = place->process->pid;
    world_.note("host.op", host.index << 8 | static_cast<unsigned>(op.kind), op.offset, op.length);
    place->scope->spawn(run(*this, host.index, ++host.turn, place->port));
}

Task<void> Hosts::run(Hosts& hosts, std::size_t index, std::uint64_t turn, std::shared_ptr<Port> port) {
    const Operation op = *hosts.hosts_[index].operation;
    Status status;
    switch (op.kind) {
        case Kind::read:
        case Kind::private_read:
            status = co_await port->read(op.offset, op.data.span());
            break;
        case Kind::write:
        case Kind::private_write:
            status = co_await port->write(op.offset, Slice(op.data), op.fua);
            break;
        case Kind::private_zero:
            status = co_await port->write_zeroes(op.offset, op.length, ZeroMode{});
            break;
        case Kind::flush:
            status = co_await port->flush();
            break;
    }
    // The hosts are not part of the process: they hear of the end in an event of their own.
    hosts.world_.after(Nanos{0}, [&hosts, index, turn, status] {
        Host& host = hosts.hosts_[index];
        if (host.turn == turn && host.operation) hosts.complete(host, status);
    });
}

void Hosts::complete(Host& host, Status status) {
    Operation op = std::move(*host.operation);
    host.operation.reset();
    world_.note("host.done", host.index, status ? 0 : 1 + static_cast<unsigned>(status.error().code));
    if (!status) {
        ++failed_;
        const bool expected = status.error().code == Errc::not_ready;  // a port that closes says so
        if (expected) world_.mark(Mark::port_closed);
        if (!errors_allowed && !expected && !excused_.contains(host.process)) {
            world_.violation("host " + std::to_string(host.index) + " got error " +
                             std::string(to_string(status.error().code)) + " at " +
                             std::to_string(op.offset) + " + " + std::to_string(op.length));
        }
        leave_unanswered(host, std::move(op));
    } else {
        ++finished_;
        const Instant now = instant();
        if (op.kind == Kind::read) record_read(op, now);
        if (op.kind == Kind::write) {
            for (std::uint64_t at = 0; at < op.length; at += kSector) {
                one_disk_.write_done((op.offset + at) / kSector, op.id, now, op.fua);
            }
        }
        if (op.kind == Kind::flush) flushed(op);
        if (op.kind == Kind::private_write || op.kind == Kind::private_zero) {
            const auto from = static_cast<std::ptrdiff_t>(op.offset - private_base(host));
            std::fill_n(host.uncertain.begin() + from, op.length, std::uint8_t{0});
            apply(host, op, host.expected);
            if (options_.power_cuts) {
                op.completed = now;
                host.unflushed.push_back(op);
            }
        }
        if (op.kind == Kind::private_read) check_private(host, op);
    }
    const bool at_once = host.prng.chance(1, 2);
    world_.after(Nanos(static_cast<std::int64_t>(
                     at_once ? 0 : host.prng.below(static_cast<std::uint64_t>(options_.think_max.count())))),
                 [this, &host] { next(host); });
}

void Hosts::record_read(const Operation& op, Instant completed) {
    for (std::uint64_t at = 0; at < op.length; at += kSector) {
        std::array<std::uint64_t, kSector / 8> words;
        std::memcpy(words.data(), op.data.data() + at, kSector);
        const std::uint64_t sector = (op.offset + at) / kSector;
        const bool zero = std::all_of(words.begin(), words.end(), [](std::uint64_t w) { return w == 0; });
        bool whole = zero || words[1] == sector;
        for (std::size_t i = 2; whole && !zero && i < words.size(); ++i) {
            whole = words[i] == filler(words[0], sector, i);
        }
        if (!whole) {
            world_.violation("sector " + std::to_string(sector) + " is torn or misplaced: words " +
                             std::to_string(words[0]) + ' ' + std::to_string(words[1]));
            return;
        }
        one_disk_.read(sector, zero ? 0 : words[0], op.invoked, completed);
    }
}

/// An operation of the private area that had no answer, or an error for one: it may have happened.
void Hosts::leave_unanswered(Host& host, Operation op) {
    if (op.kind != Kind::private_write && op.kind != Kind::private_zero) return;
    const std::uint64_t base = private_base(host);
    if (!options_.power_cuts)
        std::erase_if(host.unanswered, [&](const Operation& old) {
            return std::memchr(host.uncertain.data() + (old.offset - base), 1, old.length) == nullptr;
        });
    if (options_.power_cuts) host.unflushed.push_back(op);
    host.unanswered.push_back(std::move(op));
}

void Hosts::apply(const Host& host, const Operation& op, std::vector<std::byte>& area) const {
    const auto at = area.begin() + static_cast<std::ptrdiff_t>(op.offset - private_base(host));
    if (op.kind == Kind::private_zero) {
        std::fill_n(at, op.length, std::byte{0});
    } else {
        std::copy_n(op.data.data(), op.length, at);
    }
}

/// What had an answer when a flush was asked for, by whomever through whatever controller, is durable.
void Hosts::flushed(const Operation& flush) {
    one_disk_.flushed(flush.invoked);
    for (Host& host : hosts_) {
        for (const Operation& op : host.unflushed) {
            if (op.completed <= flush.invoked) apply(host, op, host.durable);
        }
        std::erase_if(host.unflushed, [&](const Operation& op) { return op.completed <= flush.invoked; });
    }
}

/// Bytes that are not durable are as they last were durably, or as any write since left them.
void Hosts::power_lost() {
    one_disk_.power_lost(instant());
    for (Host& host : hosts_) {
        for (Operation& op : host.unflushed) {
            const auto from = static_cast<std::ptrdiff_t>(op.offset - private_base(host));
            const auto length = static_cast<std::ptrdiff_t>(op.length);
            std::fill_n(host.uncertain.begin() + from, length, std::uint8_t{1});
            std::copy_n(host.durable.begin() + from, length, host.expected.begin() + from);
            host.unanswered.push_back(std::move(op));
        }
        host.unflushed.clear();
    }
}

bool Hosts::may_be_there(const Host& host, std::uint64_t offset, std::byte seen) const {
    return std::ranges::any_of(host.unanswered, [&](const Operation& op) {
        if (offset < op.offset || offset >= op.offset + op.length) return false;
        return seen == (op.kind == Kind::private_zero ? std::byte{0} : op.data.data()[offset - op.offset]);
    });
}

/// Bytes under unanswered writes are as they were or as one of these left them, and become certain by being
/// read; all others are as this host left them.
void Hosts::check_private(Host& host, const Operation& op) {
    const std::uint64_t from = op.offset - private_base(host);
    const bool certain = std::memchr(host.uncertain.data() + from, 1, op.length) == nullptr;
    if (certain && std::memcmp(host.expected.data() + from, op.data.data(), op.length) == 0) return;
    for (std::uint64_t i = 0; i < op.length; ++i) {
        std::byte& expected = host.expected[from + i];
        std::uint8_t& uncertain = host.uncertain[from + i];
        const std::byte seen = op.data.data()[i];
        if (seen != expected && (uncertain == 0 || !may_be_there(host, op.offset + i, seen))) {
            world_.violation("private byte " + std::to_string(op.offset + i) + " of host " +
                             std::to_string(host.index) + " is not what it wrote");
            return;
        }
        expected = seen;
        uncertain = 0;
    }
}

void Hosts::process_died(const Process& process) {
    for (Host& host : hosts_) {
        if (!host.operation || host.process != process.pid) continue;
        leave_unanswered(host, *std::exchange(host.operation, std::nullopt));
        world_.after(1ms, [this, &host] { next(host); });
    }
}

Task<Result<Hosts::Operation>> Hosts::read_range(std::shared_ptr<Port> port, std::uint64_t offset,
                                                 std::uint64_t length) {
    Operation op;
    op.offset = offset;
    op.length = length;
    op.data = Buffer(length);
    op.invoked = instant();
    CO_TRY(co_await port->read(offset, op.data.span()));
    co_return op;
}

Task<Status> Hosts::read_all(std::shared_ptr<Port> port) {
    for (const std::uint64_t spot : spots_) {
        const std::uint64_t shared = options_.volume_size - options_.hosts * kPrivateSize;
        const std::uint64_t length =
            std::min(shared - spot, 3 * options_.stripe_size + 12 * kBlockSize) / kSector * kSector;
        CO_TRY_LET(const Operation op, co_await read_range(port, spot, length));
        record_read(op, instant());
    }
    for (Host& host : hosts_) {
        CO_TRY_LET(const Operation op, co_await read_range(port, private_base(host), kPrivateSize));
        check_private(host, op);
    }
    co_return Status{};
}

}  // namespace braid::sim
