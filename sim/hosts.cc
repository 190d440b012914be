#include "sim/hosts.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "sim/extent_trims.h"

namespace braid::sim {

Hosts::Hosts(World& world, Ports& ports, HostOptions options)
    : world_(world),
      ports_(ports),
      options_(options),
      private_size_(kPrivateSize / options.work.depth / kBlockSize * kBlockSize),
      hosts_(options.hosts),
      lanes_(options.hosts * options.work.depth) {
    Prng prng = world_.prng.split(0x40575);
    const std::uint64_t shared = shared_size();
    for (int i = 0; i < 6; ++i) spots_.push_back(prng.below(shared / kSector) * kSector);
    spots_.push_back(0);
    spots_.push_back(kExtentSize - options_.stripe_size / kSector / 2 * kSector);  // across an extent's end
    stream_area_ = std::min(spots_[2], shared - kStreamArea) / kSector * kSector;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
        Lane& lane = lanes_[i];
        lane.index = i;
        lane.host = &hosts_[i / options_.work.depth];
        lane.prng = prng.split(i);
        lane.stream_at = lane.prng.below(kStreamArea / kSector) * kSector;
        lane.expected.assign(private_size_, std::byte{0});
        lane.uncertain.assign(private_size_, 0);
        if (options_.power_cuts) lane.durable.assign(private_size_, std::byte{0});
    }
    prng_ = prng.split(lanes_.size());
    constexpr std::uint64_t kFewRows = 300;
    const bool in_parts = kExtentSize / options_.stripe_size <= kFewRows;
    // What was answered early of a part may die with its controller.
    const bool spread = options_.work.trims_spread && in_parts && !options_.early;
    const ExtentTrims::Options trims{options_.work.trim_pause, in_parts, spread, options_.work.maps,
                                     options_.journal};
    trims_ = std::make_unique<ExtentTrims>(
        world_, ports_, one_disk_, trims, [this] { return instant(); }, [this] { return next_id_++; },
        [this](std::uint64_t pid) { return errors_allowed || excused_.contains(pid); });
}

Hosts::~Hosts() = default;

void Hosts::start() {
    for (Lane& lane : lanes_) next(lane);
    trims_->start();
    if (options_.work.timeout != Nanos{0} || options_.work.leaves_of_1000 != 0) look_at_the_clock();
}

void Hosts::quiet() {
    quiet_ = true;
    trims_->quiet();
}

void Hosts::resume() {
    quiet_ = false;
    trims_->resume();
    for (Lane& lane : lanes_) next(lane);
}

bool Hosts::idle() const {
    return trims_->idle() &&
           std::ranges::all_of(lanes_, [](const Lane& lane) { return lane.state == State::free; });
}

std::size_t Hosts::remembered() const {
    std::size_t out = 0;
    for (const Lane& lane : lanes_) {
        for (const auto* operations : {&lane.unflushed, &lane.unanswered}) {
            for (const Operation& op : *operations) out += std::bit_ceil(op.data.size());
        }
    }
    return out;
}

std::string Hosts::pending() const {
    std::string out = trims_->pending();
    for (const Lane& lane : lanes_) {
        if (lane.state == State::free) continue;
        const Operation& op = lane.operation;
        out += "lane " + std::to_string(lane.index) + " state " +
               std::to_string(static_cast<int>(lane.state)) + " kind " +
               std::to_string(static_cast<int>(op.kind)) + " at " + std::to_string(op.offset) + " + " +
               std::to_string(op.length) + " on pid " + std::to_string(lane.process) + " since " +
               std::to_string(op.invoked) + "\n";
    }
    return out;
}

// ---- an operation

void Hosts::next_after(Lane& lane, Nanos delay) {
    world_.after(delay, [this, &lane] { next(lane); });
}

/// Some controller, or the one that this host has its connection to.
std::optional<Ports::Place> Hosts::place_for(Lane& lane) {
    std::optional<Ports::Place>& place = lane.host->place;
    if (options_.work.roams || !place) place = ports_.pick(lane.prng, true);
    return place;
}

void Hosts::next(Lane& lane) {
    if (quiet_ || lane.state != State::free) return;
    const auto place = place_for(lane);
    if (!place) return next_after(lane, 5ms);
    lane.operation = draw(lane);
    Operation& op = lane.operation;
    if (op.kind == Kind::private_write) stamp(op);
    if (op.kind == Kind::read || op.kind == Kind::private_read) op.data = Buffer(op.length);
    if (op.changes_private()) {
        const std::uint64_t from = op.offset - private_base(lane);
        std::fill_n(lane.uncertain.begin() + static_cast<std::ptrdiff_t>(from), op.length, std::uint8_t{1});
    }
    issue(lane, *place);
}

/// For the first time, or again.
void Hosts::issue(Lane& lane, const Ports::Place& place) {
    Operation& op = lane.operation;
    op.invoked = instant();
    op.who = place.outside ? 0 : answerer(place.process->pid, place.side);
    if (op.kind == Kind::write) {
        stamp(op);
        one_disk_.write_begins(op.sectors(), op.id, op.invoked);
        if (options_.early) early_.begins(op.who, op.sectors(), op.id, op.invoked);
    }
    lane.state = State::waiting;
    lane.process = place.process->pid;
    lane.outside = place.outside;
    lane.moves = place.outside ? ports_.moves(lane.process) : 0;
    world_.note("host.op", lane.index << 8 | static_cast<unsigned>(op.kind), op.offset, op.length);
    place.scope->spawn(run(*this, lane.index, ++lane.turn, place.port));
}

Task<void> Hosts::run(Hosts& hosts, std::size_t index, std::uint64_t turn, std::shared_ptr<Port> port) {
    const Operation op = hosts.lanes_[index].operation;
    const Status status = co_await perform(op, port);
    // The hosts are not part of the process: they hear of the end in an event of their own.
    hosts.world_.after(Nanos{0}, [&hosts, index, turn, status] {
        Lane& lane = hosts.lanes_[index];
        if (lane.turn == turn) hosts.ended(lane, status);
    });
}

/// `op` outlives it.
Task<Status> Hosts::perform(const Operation& op, std::shared_ptr<Port> port) {
    switch (op.kind) {
        case Kind::read:
        case Kind::private_read:
            co_return co_await port->read(op.offset, op.data.span());
        case Kind::write:
        case Kind::private_write:
            co_return co_await port->write(op.offset, Slice(op.data), op.fua);
        case Kind::private_zero:
            co_return co_await port->write_zeroes(op.offset, op.length,
                                                  {.may_leave_hole = op.id % 2 == 0, .fast = op.fast});
        case Kind::trim:
            co_return co_await port->trim(op.offset, op.length);
        case Kind::flush:
            co_return co_await port->flush();
    }
    co_return Status{};
}

/// Somebody else was asked meanwhile, perhaps for this one, and nobody may be left who knows how far it has
/// come: it may have happened twice.
void Hosts::look_at_moves(const Lane& lane) {
    const Operation& op = lane.operation;
    if (!options_.writes_repeat || !lane.outside || op.kind != Kind::write ||
        ports_.moves(lane.process) == lane.moves)
        return;
    one_disk_.may_repeat(op.sectors(), op.id);
}

void Hosts::ended(Lane& lane, Status status) {
    look_at_moves(lane);
    if (lane.state == State::waiting) return complete(lane, status);
    if (lane.state != State::left) return;
    if (status) world_.mark(Mark::ghost_lands);
    gone(lane);
}

void Hosts::complete(Lane& lane, Status status) {
    world_.note("host.done", lane.index, status ? 0 : 1 + static_cast<unsigned>(status.error().code));
    if (!status) {
        ++failed_;
        const Errc code = status.error().code;
        if (code == Errc::not_ready) world_.mark(Mark::port_closed);
        // A port that closes says so; zeros that would not be fast are refused.
        const bool expected = code == Errc::not_ready || (code == Errc::unsupported && lane.operation.fast);
        if (!errors_allowed && !expected && !excused_.contains(lane.process)) {
            world_.violation("host " + std::to_string(lane.index) + " got error " +
                             std::string(to_string(code)) + " at " + std::to_string(lane.operation.offset) +
                             " + " + std::to_string(lane.operation.length));
        }
        return gone(lane);
    }
    ++finished_;
    lane.state = State::free;
    succeed(lane, std::exchange(lane.operation, {}));
    const bool at_once = lane.prng.chance(1, 2);
    const auto longest = static_cast<std::uint64_t>(options_.think_max.count());
    next_after(lane, Nanos(static_cast<std::int64_t>(at_once ? 0 : lane.prng.below(longest))));
}

void Hosts::succeed(Lane& lane, Operation op) {
    const Instant now = op.completed = instant();
    switch (op.kind) {
        case Kind::read:
            return record_read(op, now);
        case Kind::private_read:
            return check_private(lane, op);
        case Kind::write:
            one_disk_.write_done(op.sectors(), op.id, now, op.fua || options_.journal);
            if (options_.early) early_.done(op.who, op.id, now, op.fua, one_disk_);
            // These happened before now or never will.
            for (const std::uint64_t id : op.former) one_disk_.write_done(op.sectors(), id, now);
            return;
        case Kind::private_write:
        case Kind::private_zero:
        case Kind::trim: {
            const auto from = static_cast<std::ptrdiff_t>(op.offset - private_base(lane));
            std::fill_n(lane.uncertain.begin() + from, op.length, std::uint8_t{0});
            apply(lane, op, lane.expected);
            if (!options_.power_cuts) return;
            if (options_.journal) return apply(lane, op, lane.durable);
            lane.unflushed.push_back(std::move(op));
            if (options_.early &&
                early_.told_by_the_dead(lane.unflushed.back().who, lane.unflushed.back().invoked))
                may_be_lost(lane, [&](const Operation& one) { return &one == &lane.unflushed.back(); });
            return;
        }
        case Kind::flush:
            return flushed(op);
    }
}

// ---- hosts that go elsewhere

/// It will not wait any longer. What it wrote may land all the same.
void Hosts::give_up(Lane& lane, Mark why) {
    world_.mark(why);
    world_.note(name(why), lane.index, lane.process);
    lane.host->place.reset();
    if (lane.operation.kind == Kind::write || lane.operation.changes_private()) {
        lane.state = State::left;
        return;
    }
    forget(lane);
    next_after(lane, 10us);
}

void Hosts::forget(Lane& lane) {
    ++lane.turn;
    lane.state = State::free;
    leave_unanswered(lane, std::exchange(lane.operation, {}));
}

/// The operation has no good answer, and cannot land any more but by those who finish it before anybody else
/// sees its stripes.
void Hosts::gone(Lane& lane) {
    lane.host->place.reset();
    ++lane.turn;
    const bool write = lane.operation.kind == Kind::write || lane.operation.changes_private();
    constexpr std::array kPauses = {Nanos{10us}, Nanos{1ms}, Nanos{20ms}};
    const Nanos pause = kPauses[lane.prng.below(kPauses.size())];
    if (write && lane.prng.chance(3, 4)) {
        lane.state = State::again;
        world_.after(pause, [this, &lane, turn = lane.turn] {
            if (lane.turn == turn) again(lane);
        });
        return;
    }
    forget(lane);
    next_after(lane, pause);
}

/// The same write somewhere else; in the shared area its value is new, to tell the two apart.
void Hosts::again(Lane& lane) {
    const auto place = place_for(lane);
    if (!place && quiet_) return forget(lane);  // nobody may have a port
    if (!place) {
        world_.after(5ms, [this, &lane, turn = lane.turn] {
            if (lane.turn == turn) again(lane);
        });
        return;
    }
    world_.mark(Mark::host_repeats);
    if (lane.operation.kind == Kind::write) {
        lane.operation.former.push_back(lane.operation.id);
        lane.operation.id = next_id_++;
    }
    issue(lane, *place);
}

/// Who has waited too long goes elsewhere, and who feels like it.
void Hosts::look_at_the_clock() {
    const Workload& work = options_.work;
    const Instant now = world_.now().count();
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
        const bool leaves = !quiet_ && prng_.chance(work.leaves_of_1000, 1000);
        for (std::size_t at = i * work.depth; at < (i + 1) * work.depth; ++at) {
            Lane& lane = lanes_[at];
            if (lane.state != State::waiting) continue;
            const bool late = work.timeout != Nanos{0} && now - lane.operation.invoked > work.timeout.count();
            if (leaves || late) give_up(lane, late ? Mark::host_timeout : Mark::host_leaves);
        }
    }
    world_.after(20ms, [this] { look_at_the_clock(); });
}

/// Bytes of the private area that such a write had are as they last were durably, or as any write since left
/// them.
void Hosts::back_to_durable(Lane& lane, const Operation& op) const {
    const auto from = static_cast<std::ptrdiff_t>(op.offset - private_base(lane));
    const auto length = static_cast<std::ptrdiff_t>(op.length);
    std::fill_n(lane.uncertain.begin() + from, length, std::uint8_t{1});
    std::copy_n(lane.durable.begin() + from, length, lane.expected.begin() + from);
}

void Hosts::may_be_lost(Lane& lane, const std::function<bool(const Operation&)>& lost) {
    if (std::ranges::none_of(lane.unflushed, lost)) return;
    for (Operation& op : lane.unflushed) {
        lane.unanswered.push_back(op);
        if (!lost(op)) continue;
        op.completed = kNever;
        back_to_durable(lane, op);
    }
}

void Hosts::lose_early_answers(std::uint64_t pid) {
    early_.process_died(pid, instant(), one_disk_);
    for (Lane& lane : lanes_)
        may_be_lost(lane, [&](const Operation& op) { return op.who == 0 || pid_of(op.who) == pid; });
}

void Hosts::settle_early() {
    const EarlyAnswers::Lost lost = early_.settle(one_disk_);
    world_.mark(Mark::early_lost, lost.writes);
    if (lost.sectors * kSector > options_.window)
        world_.violation("an AMF took " + std::to_string(lost.sectors * kSector) +
                         " bytes of answered writes along, and its window is " +
                         std::to_string(options_.window));
}

void Hosts::process_died(const Process& process) {
    trims_->process_died(process);
    if (options_.early) lose_early_answers(process.pid);
    for (Lane& lane : lanes_) {
        if (lane.host->place && lane.host->place->process->pid == process.pid) lane.host->place.reset();
        const bool has_it = lane.state == State::waiting || lane.state == State::left;
        if (!has_it || lane.process != process.pid) continue;
        look_at_moves(lane);
        if (lane.outside) {
            gone_when_it_cannot_land(lane);
            continue;
        }
        if (lane.state == State::left) world_.mark(Mark::ghost_dies);
        gone(lane);
    }
}

/// Those who share the group finish what they had begun for a controller outside.
void Hosts::gone_when_it_cannot_land(Lane& lane) {
    const bool write = lane.operation.kind == Kind::write || lane.operation.changes_private();
    if (!write || !ports_.may_land(lane.process)) return gone(lane);
    if (lane.state != State::left) world_.mark(Mark::forward_outlived);
    lane.state = State::left;
    world_.after(100us, [this, &lane, turn = lane.turn] {
        if (lane.turn == turn) gone_when_it_cannot_land(lane);
    });
}

/// Bytes that are not durable are as they last were durably, or as any write since left them.
void Hosts::power_lost() {
    settle_early();
    early_.forget();
    one_disk_.power_lost(instant());
    trims_->power_lost();
    for (Lane& lane : lanes_) {
        if (lane.state != State::free) forget(lane);
        for (Operation& op : lane.unflushed) {
            back_to_durable(lane, op);
            lane.unanswered.push_back(std::move(op));
        }
        lane.unflushed.clear();
    }
}

// ---- all of it

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

Task<Status> Hosts::trim_apart(std::vector<std::shared_ptr<Port>> ports) {
    return trims_->trim_apart(0, std::move(ports));
}

/// What was ever written.
Task<Status> Hosts::read_all(std::shared_ptr<Port> port) {
    const std::uint64_t longest =
        std::max(3 * options_.stripe_size, options_.work.huge != 0 ? kLongestOperation : 0) + 12 * kBlockSize;
    for (const std::uint64_t spot : spots_) {
        const std::uint64_t length = std::min(shared_size() - spot, longest) / kSector * kSector;
        CO_TRY_LET(const Operation op, co_await read_range(port, spot, length));
        record_read(op, instant());
    }
    if (options_.work.streams_of_100 != 0) {
        CO_TRY_LET(const Operation op, co_await read_range(port, stream_area_, kStreamArea));
        record_read(op, instant());
    }
    for (Lane& lane : lanes_) {
        CO_TRY_LET(const Operation op, co_await read_range(port, private_base(lane), private_size_));
        check_private(lane, op);
    }
    co_return Status{};
}

}  // namespace braid::sim
