#include "sim/sim_disk.h"

#include <cstring>

#include "base/crc32c.h"

namespace braid::sim {

Status Media::read(std::uint64_t at, std::span<std::byte> into) {
    if (dead) return fail(Errc::io_error);
    for (std::size_t done = 0; done < into.size(); done += kBlockSize) {
        const std::uint64_t number = (at + done) / kBlockSize;
        if (bad.contains(number)) return fail(Errc::media_error);
        const auto block = blocks_.find(number);
        if (block == blocks_.end()) {
            std::memset(into.data() + done, 0, kBlockSize);
        } else {
            std::memcpy(into.data() + done, block->second->data(), kBlockSize);
        }
    }
    return {};
}

Status Media::write(std::uint64_t at, std::span<const std::byte> from) {
    if (dead) return fail(Errc::io_error);
    world_.note("disk.write", id_ << 48 | at / kBlockSize, from.size(), crc32c(from));
    for (std::size_t done = 0; done < from.size(); done += kBlockSize) {
        const std::uint64_t number = (at + done) / kBlockSize;
        auto& block = blocks_[number];
        if (!block) block = std::make_unique<Block>();
        std::memcpy(block->data(), from.data() + done, kBlockSize);
        bad.erase(number);
    }
    return {};
}

void Media::write_torn(std::uint64_t at, std::span<const std::byte> from) {
    if (dead) return;
    world_.note("disk.torn", id_ << 48 | at / kBlockSize, from.size());
    for (std::size_t done = 0; done < from.size(); done += 512) {
        if (world_.prng.chance(1, 2)) continue;
        auto& block = blocks_[(at + done) / kBlockSize];
        if (!block) block = std::make_unique<Block>();
        std::memcpy(block->data() + (at + done) % kBlockSize, from.data() + done, 512);
    }
}

bool Media::peek(std::uint64_t at, std::span<std::byte> into) const {
    std::memset(into.data(), 0, into.size());
    bool any = false;
    const std::uint64_t end = (at + into.size()) / kBlockSize;
    for (auto block = blocks_.lower_bound(at / kBlockSize); block != blocks_.end() && block->first < end; ++block) {
        std::memcpy(into.data() + (block->first * kBlockSize - at), block->second->data(), kBlockSize);
        any = true;
    }
    return any;
}

void Media::zero(std::uint64_t at, std::uint64_t length) {
    if (dead) return;
    blocks_.erase(blocks_.lower_bound(at / kBlockSize), blocks_.lower_bound((at + length) / kBlockSize));
}

void SimDisk::submit(DiskOp& op, Join& join) {
    World& world = process_.world;
    ASSERT(op.offset % kBlockSize == 0 && op.memory.size() % kBlockSize == 0 && op.zero_length % kBlockSize == 0);
    ASSERT(reinterpret_cast<std::uintptr_t>(op.memory.data()) % kBlockSize == 0);
    ASSERT(op.offset + op.memory.size() + op.zero_length <= media_.size());
    op.join = &join;
    op.in_flight = this;
    join.add();
    const std::uint64_t ticket = next_ticket_++;
    op.device_state = reinterpret_cast<void*>(ticket);
    const auto low = static_cast<std::uint64_t>(world.knobs.disk_latency_min.count());
    const auto high = static_cast<std::uint64_t>(world.knobs.disk_latency_max.count());
    const Nanos latency(static_cast<std::int64_t>(prng_.between(low, high) * media_.slow));
    pending_[ticket] = {&op, world.after(latency, [this, ticket] { finish(ticket); })};
}

void SimDisk::finish(std::uint64_t ticket) {
    DiskOp& op = *pending_.at(ticket).op;
    pending_.erase(ticket);
    op.in_flight = nullptr;
    switch (op.verb) {
        case DiskVerb::read:
            op.status = media_.read(op.offset, op.memory);
            ++counters_.reads;
            counters_.read_bytes += op.memory.size();
            break;
        case DiskVerb::write:
            op.status = media_.write(op.offset, op.memory);
            ++counters_.writes;
            counters_.written_bytes += op.memory.size();
            break;
        case DiskVerb::zero:
            media_.zero(op.offset, op.zero_length);
            op.status = media_.dead ? Status(fail(Errc::io_error)) : Status{};
            ++counters_.zeroes;
            break;
        case DiskVerb::flush:
            op.status = media_.dead ? Status(fail(Errc::io_error)) : Status{};
            ++counters_.flushes;
            break;
    }
    if (!op.status) ++counters_.errors;
    op.join->done();
}

void SimDisk::abandon(DiskOp& op) {
    World& world = process_.world;
    const auto ticket = reinterpret_cast<std::uint64_t>(op.device_state);
    world.cancel(pending_.at(ticket).event);
    pending_.erase(ticket);
    op.in_flight = nullptr;
    if (op.verb != DiskVerb::write) return;
    const std::uint64_t fate = prng_.below(3);
    if (fate == 0) return;  // vanishes
    const Nanos when(static_cast<std::int64_t>(prng_.below(static_cast<std::uint64_t>(world.knobs.drain_max.count()))));
    Process* process = &process_;
    Media* media = &media_;
    ++process->orphans;
    world.after(when, [process, media, fate, at = op.offset, bytes = Buffer::copy_of(op.memory)] {
        if (fate == 1) {
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
