#include "sim/sim_disk.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "sim/checkers/fence.h"
#include "sim/tap.h"

namespace braid::sim {
namespace {

constexpr Nanos kHeldAgain = 50us;              // a command that is held is looked at so often
constexpr std::uint64_t kLabels = 16;           // blocks at the end, for another copy of the superblock
constexpr std::uint64_t kTablesEnd = 8u << 20;  // before it stand the tables, behind it data

std::uint64_t length_of(const DiskOp& op) {
    return op.verb == DiskVerb::zero ? op.zero_length : op.memory.size();
}

}  // namespace

Media::Media(World& world, std::uint64_t id, std::uint64_t size)
    : world_(world),
      id_(id),
      salt_(world.prng.next()),
      blocks_(size / kBlockSize),
      in_flight_(kTablesEnd / kBlockSize, size / kBlockSize - kLabels) {}

void Media::belongs_to(const GroupConfig& config) {
    data_start_ = config.data_start;
    in_flight_.judge_from(data_start_ / kBlockSize);
    if (config.geometry.checksums && config.sharing.granularity.blocks != 0)
        in_flight_.spare_readers(config.geometry.segment_space() / kBlockSize,
                                 config.geometry.rows_size() / kBlockSize);
}

void Media::begun(const Process& process, const DiskOp& op) {
    if (op.verb == DiskVerb::flush) return;
    const bool writes = op.verb != DiskVerb::read;
    std::string wrong =
        in_flight_.begin(process.pid, op.offset, length_of(op), writes, op.verb == DiskVerb::zero);
    if (!wrong.empty()) world_.violation(wrong + " on member " + std::to_string(id_));
}

void Media::ended(DiskVerb verb, std::uint64_t at, std::uint64_t length) {
    if (verb != DiskVerb::flush) in_flight_.end(at, length, verb != DiskVerb::read);
}

void Media::lands(const Process& process) {
    if (const std::string wrong = check_fence(process); !wrong.empty()) world_.violation(wrong);
}

bool Media::fails(bool changes) {
    if (dead || (changes && fails_writes)) return true;
    return errors_of_1000 != 0 && world_.prng.chance(errors_of_1000, 1000);
}

void Media::look(std::uint64_t number, std::byte* into) const {
    const Place& place = blocks_[number];
    if (place.block) {
        std::memcpy(into, place.block->data(), kBlockSize);
    } else if (place.zeroed) {
        std::memset(into, 0, kBlockSize);
    } else {
        for (std::size_t at = 0; at < kBlockSize; at += 8) {
            const std::uint64_t word = mix64(salt_ ^ (number * kBlockSize + at)) | 1;
            std::memcpy(into + at, &word, 8);
        }
    }
}

/// As docs/on-disk.md has it.
bool Media::carries(const Uuid& disk) const {
    constexpr std::size_t kDisk = 56;
    for (const std::size_t number : {std::size_t{0}, blocks_.size() - 1}) {
        const Place& place = blocks_[number];
        if (place.block &&
            std::memcmp(place.block->data() + kDisk, disk.bytes.data(), disk.bytes.size()) == 0)
            return true;
    }
    return false;
}

MemberMedia by_member(const GroupConfig& config, const std::vector<std::unique_ptr<Media>>& media) {
    MemberMedia out(config.members.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
        for (const auto& one : media) {
            if (one->carries(config.members[i].disk)) out[i] = one.get();
        }
    }
    return out;
}

Status Media::read(std::uint64_t at, std::span<std::byte> into) {
    if (fails(false)) return fail(Errc::io_error);
    for (std::size_t done = 0; done < into.size(); done += kBlockSize) {
        const std::uint64_t number = (at + done) / kBlockSize;
        if (!bad.empty() && bad.contains(number)) return fail(Errc::media_error);
        if (const auto lie = lies_.find(number); lie != lies_.end()) world_.mark(lie->second);
        look(number, into.data() + done);
    }
    return {};
}

/// `from` lies in one block.
void Media::put(std::uint64_t at, std::span<const std::byte> from) {
    const std::uint64_t number = at / kBlockSize;
    if (world_.knobs.volatile_cache) remember(number);
    Place& place = blocks_[number];
    if (world_.knobs.zeros_are_free && from.size() == kBlockSize && from.front() == std::byte{} &&
        std::memcmp(from.data(), from.data() + 1, from.size() - 1) == 0) {
        place.block.reset();
        place.zeroed = true;
        return;
    }
    if (!place.block) {
        auto fresh = std::make_unique<Block>();
        if (from.size() != kBlockSize) look(number, fresh->data());
        place.block = std::move(fresh);
    }
    std::memcpy(place.block->data() + at % kBlockSize, from.data(), from.size());
}

Status Media::write(std::uint64_t at, std::span<const std::byte> from, bool durable) {
    if (fails(true)) {
        if (!dead && world_.prng.chance(1, 2)) write_torn(at, from);
        return fail(Errc::io_error);
    }
    if ((loses | misdirects) != 0 && data_start_ != 0 && at >= data_start_ && goes_wrong(at, from)) return {};
    world_.note("disk.write", id_ << 48 | at / kBlockSize, from.size(), crc32c(from));
    for (std::size_t done = 0; done < from.size(); done += kBlockSize) {
        put(at + done, from.subspan(done, kBlockSize));
        if (durable) flushed_.erase((at + done) / kBlockSize);
        if (!bad.empty()) bad.erase((at + done) / kBlockSize);
        if (!lies_.empty()) lies_.erase((at + done) / kBlockSize);
    }
    if (at >= kTablesEnd) {
        if (recent_.size() < kRecent) recent_.emplace_back();
        recent_[next_recent_++ % kRecent] = at / kBlockSize;
    }
    return {};
}

bool Media::all_zeros(std::uint64_t at, std::uint64_t length) const {
    const auto from = blocks_.begin() + static_cast<std::ptrdiff_t>(at / kBlockSize);
    return std::all_of(from, from + static_cast<std::ptrdiff_t>(length / kBlockSize),
                       [](const Place& place) { return !place.block && place.zeroed; });
}

void Media::peek(std::uint64_t at, std::span<std::byte> into) const {
    for (std::size_t done = 0; done < into.size(); done += kBlockSize) {
        look((at + done) / kBlockSize, into.data() + done);
    }
}

Status Media::zero(std::uint64_t at, std::uint64_t length) {
    if (fails(true)) return fail(Errc::io_error);
    world_.note("disk.zero", id_ << 48 | at / kBlockSize, length);
    for (std::uint64_t number = at / kBlockSize; number < (at + length) / kBlockSize; ++number) {
        if (world_.knobs.volatile_cache) remember(number);
        blocks_[number].block.reset();
        blocks_[number].zeroed = true;
    }
    lies_.erase(lies_.lower_bound(at / kBlockSize), lies_.lower_bound((at + length) / kBlockSize));
    bad.erase(bad.lower_bound(at / kBlockSize), bad.lower_bound((at + length) / kBlockSize));
    return {};
}

Status Media::flush() {
    if (fails(true)) return fail(Errc::io_error);
    world_.note("disk.flush", id_, flushed_.size());
    flushed_.clear();
    return {};
}

void Media::remember(std::uint64_t number) {
    const auto [at, fresh] = flushed_.try_emplace(number);
    if (!fresh) return;
    const Place& place = blocks_[number];
    at->second.zeroed = place.zeroed;
    if (place.block) at->second.block = std::make_unique<Block>(*place.block);
}

std::optional<std::uint64_t> Media::hot_block(Prng& prng) const {
    if (recent_.empty()) return std::nullopt;
    return recent_[prng.below(recent_.size())];
}

void SimDisk::submit(DiskOp& op, Join& join) {
    World& world = process_.world;
    ASSERT(op.offset % kBlockSize == 0 && op.memory.size() % kBlockSize == 0 &&
           op.zero_length % kBlockSize == 0);
    ASSERT(reinterpret_cast<std::uintptr_t>(op.memory.data()) % kBlockSize == 0);
    ASSERT(op.offset + op.memory.size() + op.zero_length <= media_.size());
    op.join = &join;
    op.in_flight = this;
    join.add();
    starts(op, process_.clock.now());
    const std::uint64_t ticket = next_ticket_++;
    op.device_state = reinterpret_cast<void*>(ticket);
    const auto low = static_cast<std::uint64_t>(world.knobs.disk_latency_min.count());
    const auto high = static_cast<std::uint64_t>(world.knobs.disk_latency_max.count());
    Nanos latency(static_cast<std::int64_t>(prng_.between(low, high) * media_.slow));
    const unsigned outliers = world.knobs.outliers;
    if (outliers != 0 && prng_.chance(1, outliers)) {
        const std::uint64_t longest = world.knobs.stalls && prng_.chance(1, 16) ? 30'000'000'000
                                      : prng_.chance(1, 8)                      ? 3'000'000'000
                                                                                : 300'000'000;
        latency += Nanos(static_cast<std::int64_t>(prng_.below(longest)));
        if (latency > 3s) world.mark(Mark::disk_stall);
    }
    if (const std::uint64_t rate = world.knobs.disk_rate; rate != 0) {
        latency += at_rate(op.memory.size(), rate);
        media_.busy_until = std::max(media_.busy_until, world.now()) + latency;
        latency = media_.busy_until - world.now();
    }
    if (const std::uint64_t rate = world.knobs.bus_rate; rate != 0) {
        process_.bus_until = std::max(process_.bus_until, world.now()) + at_rate(op.memory.size(), rate);
        latency = std::max(latency, process_.bus_until - world.now());
    }
    media_.begun(process_, op);
    if (world.tap != nullptr) world.tap->begins(process_, media_.id(), op);
    pending_.push_back({ticket, &op, world.after(latency, [this, ticket] { finish(ticket); })});
}

void SimDisk::finish(std::uint64_t ticket) {
    const auto at = pending(ticket);
    DiskOp& op = *at->op;
    World& world = process_.world;
    if (world.tap != nullptr && world.tap->holds(process_, media_.id(), op)) {
        at->event = world.after(kHeldAgain, [this, ticket] { finish(ticket); });
        return;
    }
    pending_.erase(at);
    op.in_flight = nullptr;
    media_.ended(op.verb, op.offset, length_of(op));
    op.status = carry_out(op);
    ends(op, process_.clock.now());
    if (!op.status) ++counters_.errors;
    if (world.tap != nullptr) world.tap->done(process_, media_.id(), op);
    op.join->done();
}

Status SimDisk::carry_out(DiskOp& op) {
    if (plugged_ != media_.plugged()) return fail(Errc::io_error);
    if (process_.no_path[media_.id()]) {
        ++process_.path_errors;
        // What was under way may have arrived, in part; nobody was told.
        if (op.verb == DiskVerb::write && prng_.chance(1, 4)) media_.write_torn(op.offset, op.memory);
        return fail(Errc::io_error);
    }
    switch (op.verb) {
        case DiskVerb::read:
            ++counters_.reads;
            counters_.count_bytes(op);
            return media_.read(op.offset, op.memory);
        case DiskVerb::write:
            ++counters_.writes;
            media_.lands(process_);
            counters_.count_bytes(op);
            return media_.write(op.offset, op.memory, op.durable);
        case DiskVerb::zero:
            ++counters_.zeroes;
            media_.lands(process_);
            return media_.zero(op.offset, op.zero_length);
        case DiskVerb::flush:
            break;
    }
    ++counters_.flushes;
    return media_.flush();
}

void SimDisk::abandon(DiskOp& op) {
    World& world = process_.world;
    const auto ticket = reinterpret_cast<std::uint64_t>(op.device_state);
    const auto at = pending(ticket);
    world.cancel(at->event);
    pending_.erase(at);
    op.in_flight = nullptr;
    const bool writes = op.verb == DiskVerb::write || op.verb == DiskVerb::zero;
    std::uint64_t fate = writes ? prng_.below(3) : 0;
    if (writes && world.knobs.orphans != Orphans::chance)
        fate = static_cast<std::uint64_t>(world.knobs.orphans) - 1;
    constexpr std::array kFates = {Mark::orphan_vanishes, Mark::orphan_lands, Mark::orphan_tears};
    if (writes) world.mark(kFates[fate]);
    if (fate == 0) return media_.ended(op.verb, op.offset, length_of(op));  // vanishes
    const Nanos when(
        static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(world.knobs.drain_max.count()))));
    Process* process = &process_;
    Media* media = &media_;
    ++process->orphans;
    if (op.verb == DiskVerb::zero) {
        const std::uint64_t blocks = op.zero_length / kBlockSize;
        const std::uint64_t length = (fate == 1 ? blocks : prng_.below(blocks + 1)) * kBlockSize;
        world.after(when, [process, media, on = plugged_, at = op.offset, length, whole = op.zero_length] {
            media->ended(DiskVerb::zero, at, whole);
            media->lands(*process);
            if (on == media->plugged()) (void)media->zero(at, length);
            --process->orphans;
        });
        return;
    }
    world.after(when,
                [process, media, on = plugged_, fate, at = op.offset, bytes = Buffer::copy_of(op.memory)] {
                    media->ended(DiskVerb::write, at, bytes.size());
                    media->lands(*process);
                    if (on != media->plugged()) {
                        // It went with the disk.
                    } else if (fate == 1) {
                        (void)media->write(at, bytes.span());
                    } else {
                        media->write_torn(at, bytes.span());
                    }
                    --process->orphans;
                });
}

std::vector<std::string> SimShelf::scan() {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < media_.size(); ++i) {
        names.push_back("disks/d" + std::string(i < 10 ? "0" : "") + std::to_string(i));
    }
    return names;
}

Result<std::unique_ptr<Disk>> SimShelf::open(std::string_view name) {
    const std::vector<std::string> names = scan();
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) return std::make_unique<SimDisk>(process_, *media_[i], names[i]);
    }
    return fail(Errc::not_found);
}

}  // namespace braid::sim
