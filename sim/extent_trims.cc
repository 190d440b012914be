#include "sim/extent_trims.h"

namespace braid::sim {
namespace {

Sectors sectors_of(std::uint64_t extent) {
    constexpr std::uint64_t kSectors = kExtentSize / kSector;
    return {extent * kSectors, kSectors};
}

}  // namespace

ExtentTrims::ExtentTrims(World& world, Ports& ports, OneDisk& one_disk, Options options,
                         std::function<Instant()> instant, std::function<std::uint64_t()> next_id,
                         std::function<bool(std::uint64_t)> excused)
    : world_(world),
      ports_(ports),
      one_disk_(one_disk),
      options_(options),
      instant_(std::move(instant)),
      next_id_(std::move(next_id)),
      excused_(std::move(excused)),
      prng_(world.prng.split(0x7219)) {}

void ExtentTrims::next() {
    if (options_.pause_max == Nanos{0} || quiet_ || at_work_) return;
    const auto longest = static_cast<std::uint64_t>(options_.pause_max.count());
    world_.after(Nanos(static_cast<std::int64_t>(prng_.below(longest))), [this, turn = ++turn_] {
        if (turn != turn_ || quiet_ || at_work_) return;
        extent_ = prng_.below(kExtents);
        last_[extent_] = {next_id_(), instant_(), kNever};
        in_doubt_[extent_] = false;
        one_disk_.write_begins(sectors_of(extent_), last_[extent_].id, last_[extent_].invoked);
        at_work_ = true;
        issue();
    });
}

void ExtentTrims::resume() {
    quiet_ = false;
    if (std::exchange(quiet_stuck_, false)) return again(Nanos{0});
    next();
}

void ExtentTrims::issue() {
    asked_ = false;
    const auto place = ports_.pick(prng_, options_.in_parts);
    if (!place) return again(5ms);
    const bool as_zeros = prng_.chance(1, 4);
    const bool parts = options_.in_parts && prng_.chance(1, 4);
    // A sector is the other hosts' unit: the two parts do not share one.
    const std::uint64_t split = parts ? (1 + prng_.below(kExtentSize / kSector - 1)) * kSector : kExtentSize;
    whole_ = !parts && !place->outside;
    asked_ = true;
    process_ = place->process->pid;
    world_.note("host.trim", extent_, split, process_);
    place->scope->spawn(run(*this, ++turn_, place->port, extent_ * kExtentSize, split, as_zeros));
}

Task<void> ExtentTrims::run(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port,
                            std::uint64_t at, std::uint64_t split, bool as_zeros) {
    Status status;
    for (const auto& [from, to] : {std::pair(std::uint64_t{0}, split), std::pair(split, kExtentSize)}) {
        if (!status || from == to) continue;
        status = co_await (as_zeros ? port->write_zeroes(at + from, to - from, {})
                                    : port->trim(at + from, to - from));
    }
    trims.world_.after(Nanos{0}, [&trims, turn, status] { trims.ended(turn, status); });
}

void ExtentTrims::ended(std::uint64_t turn, Status status) {
    if (turn != turn_) return;
    world_.note("host.trimmed", extent_, status ? 0 : 1 + static_cast<unsigned>(status.error().code));
    if (!status) {
        const Errc code = status.error().code;
        if (code != Errc::not_ready && !excused_(process_))
            world_.violation("the host that trims got error " + std::string(to_string(code)));
        return again(1ms);
    }
    at_work_ = asked_ = false;
    last_[extent_].completed = instant_();
    one_disk_.write_done(sectors_of(extent_), last_[extent_].id, last_[extent_].completed,
                         whole_ || options_.journal);
    next();
}

/// Until then it is as if it were under way: it may have happened.
void ExtentTrims::again(Nanos pause) {
    asked_ = false;
    world_.after(pause, [this, turn = ++turn_] {
        if (turn != turn_) return;
        if (quiet_ && !ports_.pick(prng_, options_.in_parts)) {
            quiet_stuck_ = true;  // nobody may have a port
            return;
        }
        issue();
    });
}

std::string ExtentTrims::pending() const {
    if (!at_work_) return {};
    return "trim of extent " + std::to_string(extent_) + " on pid " + std::to_string(process_) + " since " +
           std::to_string(last_[extent_].invoked) + "\n";
}

void ExtentTrims::process_died(const Process& process) {
    if (at_work_ && asked_ && process_ == process.pid) again(1ms);
}

/// What power found under way is over, or never was.
void ExtentTrims::power_lost() {
    in_doubt_.fill(true);
    ++turn_;
    at_work_ = asked_ = quiet_stuck_ = false;
    next();
}

std::optional<std::uint64_t> ExtentTrims::zeros(std::uint64_t extent, Instant invoked,
                                                Instant completed) const {
    if (extent >= kExtents) return 0;
    const Zeroed& last = last_[extent];
    if (in_doubt_[extent]) return std::nullopt;
    if (last.id == 0) return 0;
    if (last.invoked < completed && last.completed >= invoked) return std::nullopt;
    if (last.invoked >= completed) return std::nullopt;
    return last.id;
}

}  // namespace braid::sim
