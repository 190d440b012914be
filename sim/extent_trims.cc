#include "sim/extent_trims.h"

#include <algorithm>
#include <set>

namespace braid::sim {
namespace {

constexpr std::uint64_t kLongestLook = (8u << 20) / kSector;

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
      prng_(world.prng.split(0x7219)),
      spread_(Prng(prng_).split(1)),
      maps_(Prng(prng_).split(2)) {}

void ExtentTrims::next() {
    if (options_.pause_max == Nanos{0} || quiet_ || at_work_) return;
    const auto longest = static_cast<std::uint64_t>(options_.pause_max.count());
    world_.after(Nanos(static_cast<std::int64_t>(prng_.below(longest))), [this, turn = ++turn_] {
        if (turn != turn_ || quiet_ || at_work_) return;
        begin(prng_.below(kExtents));
        at_work_ = true;
        issue();
    });
}

void ExtentTrims::begin(std::uint64_t extent) {
    extent_ = extent;
    last_[extent] = {next_id_(), instant_(), kNever};
    in_doubt_[extent] = false;
    one_disk_.write_begins(sectors_of(extent), last_[extent].id, last_[extent].invoked);
    const std::uint64_t pieces = options_.spread && spread_.chance(1, 2) ? spread_.between(2, 3) : 1;
    std::set<std::uint64_t> cuts = {extent * kExtentSize, (extent + 1) * kExtentSize};
    while (cuts.size() <= pieces)
        cuts.insert(extent * kExtentSize + spread_.below(kExtentSize / kSector) * kSector);
    parts_.clear();
    for (auto at = cuts.begin(); std::next(at) != cuts.end(); ++at)
        parts_.push_back({*at, *std::next(at) - *at});
    if (spread_.chance(1, 2)) std::ranges::reverse(parts_);
}

void ExtentTrims::resume() {
    quiet_ = false;
    look();
    if (std::exchange(quiet_stuck_, false)) return again(Nanos{0});
    next();
}

void ExtentTrims::issue() {
    asked_ = false;
    const auto place = ports_.pick(prng_, options_.in_parts);
    if (!place) return again(5ms);
    const LogicalRange range = parts_.back();
    const bool as_zeros = prng_.chance(1, 4);
    const bool parts = options_.in_parts && range.length == kExtentSize && prng_.chance(1, 4);
    // A sector is the other hosts' unit: the two parts do not share one.
    const std::uint64_t split = parts ? (1 + prng_.below(kExtentSize / kSector - 1)) * kSector : range.length;
    whole_ = !parts && range.length == kExtentSize && !place->outside;
    asked_ = true;
    process_ = place->process->pid;
    world_.note("host.trim", extent_, range.offset % kExtentSize + split, process_);
    place->scope->spawn(run(*this, ++turn_, place->port, range, split, as_zeros));
}

Task<void> ExtentTrims::run(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port,
                            LogicalRange range, std::uint64_t split, bool as_zeros) {
    Status status;
    for (const auto& [from, to] : {std::pair(std::uint64_t{0}, split), std::pair(split, range.length)}) {
        if (!status || from == to) continue;
        status = co_await (as_zeros ? port->write_zeroes(range.offset + from, to - from, {})
                                    : port->trim(range.offset + from, to - from));
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
    parts_.pop_back();
    if (!parts_.empty()) return again(Nanos{0});
    at_work_ = asked_ = false;
    done();
    next();
}

void ExtentTrims::done() {
    last_[extent_].completed = instant_();
    one_disk_.write_done(sectors_of(extent_), last_[extent_].id, last_[extent_].completed,
                         whole_ || options_.journal);
}

Task<Status> ExtentTrims::trim_apart(std::uint64_t extent, std::vector<std::shared_ptr<Port>> ports) {
    begin(extent);
    whole_ = false;
    const std::uint64_t part = kExtentSize / ports.size() / kBlockSize * kBlockSize;
    for (std::size_t i = 0; i < ports.size(); ++i) {
        const std::uint64_t at = i * part, end = i + 1 == ports.size() ? kExtentSize : at + part;
        CO_TRY(co_await ports[i]->trim(extent * kExtentSize + at, end - at));
    }
    done();
    co_return Status{};
}

// ---- holes

void ExtentTrims::look() {
    if (!options_.maps || options_.pause_max == Nanos{0} || quiet_ || looking_) return;
    const auto longest = static_cast<std::uint64_t>(options_.pause_max.count());
    world_.after(Nanos(static_cast<std::int64_t>(maps_.below(longest))), [this, turn = ++looks_] {
        if (turn != looks_ || quiet_ || looking_) return;
        const auto place = ports_.pick(maps_, true);
        if (!place) return look();
        const std::uint64_t all = kExtents * kExtentSize / kSector;
        const std::uint64_t first = maps_.below(all);
        const Sectors range(first, 1 + maps_.below(std::min(all - first, kLongestLook)));
        looking_ = true;
        look_process_ = place->process->pid;
        place->scope->spawn(ask(*this, turn, place->port, range, maps_.chance(1, 4) ? 1 : 100));
    });
}

Task<void> ExtentTrims::ask(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port, Sectors range,
                            std::size_t most) {
    const Instant invoked = trims.instant_();
    const auto runs = co_await port->allocation(range.first * kSector, range.count * kSector, most);
    std::vector<AllocationRun> seen = runs ? *runs : std::vector<AllocationRun>{};
    trims.world_.after(Nanos{0}, [&trims, turn, range, invoked, seen = std::move(seen)] {
        if (turn != trims.looks_) return;
        trims.told(range, invoked, seen);
        trims.looking_ = false;
        trims.look();
    });
}

void ExtentTrims::told(Sectors range, Instant invoked, const std::vector<AllocationRun>& runs) {
    const Instant completed = instant_();
    std::uint64_t at = range.first * kSector;
    for (const AllocationRun& run : runs) {
        for (const std::uint64_t end = at + run.length; at < end;) {
            const std::uint64_t extent = at / kExtentSize;
            const std::uint64_t next = std::min(end, (extent + 1) * kExtentSize);
            const Sectors hole((at + kSector - 1) / kSector, next / kSector - (at + kSector - 1) / kSector);
            const auto value = zeros(extent, invoked, completed);
            if (run.hole && hole.count != 0 && value) {
                one_disk_.read(hole, *value, invoked, completed);
                if (hole.count < kExtentSize / kSector && runs.size() > 1) world_.mark(Mark::hole_told);
            }
            at = next;
        }
    }
}

// ---- what goes wrong

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
    if (looking_ && look_process_ == process.pid) {
        looking_ = false;
        ++looks_;
        look();
    }
    if (!at_work_ || !asked_ || process_ != process.pid) return;
    asked_ = false;
    again_when_it_cannot_land();
}

/// Those who share the group finish what they had begun for a controller outside.
void ExtentTrims::again_when_it_cannot_land() {
    if (!ports_.may_land(process_)) return again(1ms);
    world_.mark(Mark::forward_outlived);
    world_.after(100us, [this, turn = ++turn_] {
        if (turn == turn_) again_when_it_cannot_land();
    });
}

/// What power found under way is over, or never was.
void ExtentTrims::power_lost() {
    in_doubt_.fill(true);
    ++turn_;
    ++looks_;
    at_work_ = asked_ = quiet_stuck_ = looking_ = false;
    next();
    look();
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
