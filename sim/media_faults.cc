// What befalls a member's content.
#include <cstring>
#include <utility>

#include "sim/sim_disk.h"

namespace braid::sim {

void Media::write_torn(std::uint64_t at, std::span<const std::byte> from) {
    if (dead) return;
    const std::size_t grain = world_.prng.chance(1, 2) ? 512 : kBlockSize;
    const bool first_ones = world_.prng.chance(1, 3);
    const std::size_t end = first_ones ? world_.prng.below(from.size() / grain + 1) * grain : from.size();
    world_.note("disk.torn", id_ << 48 | at / kBlockSize, from.size(), grain << 1 | (first_ones ? 1 : 0));
    world_.mark(first_ones ? Mark::torn_after_some : grain == 512 ? Mark::torn_at_512 : Mark::torn_at_4096);
    for (std::size_t done = 0; done < end; done += grain) {
        if (first_ones || world_.prng.chance(1, 2)) put(at + done, from.subspan(done, grain));
    }
}

void Media::lose_power() {
    for (auto& [number, old] : std::exchange(flushed_, {})) {
        const std::uint64_t fate = world_.prng.below(3);
        world_.note("disk.power", id_ << 48 | number, fate);
        constexpr std::array kFates = {Mark::power_keeps, Mark::power_drops, Mark::power_tears};
        world_.mark(kFates[fate]);
        if (fate == 0) continue;  // it had been written
        if (fate == 1) {
            blocks_[number] = std::move(old);
            continue;
        }
        Block before, after;
        look(number, after.data());
        std::swap(blocks_[number], old);
        look(number, before.data());
        for (std::size_t at = 0; at < kBlockSize; at += 512) {
            const bool lost = world_.prng.chance(1, 2);
            std::memcpy(after.data() + at, (lost ? before : after).data() + at, lost ? 512 : 0);
        }
        blocks_[number].block = std::make_unique<Block>(after);
        blocks_[number].zeroed = false;
    }
}

Media::Content Media::snapshot() const {
    Content out(blocks_.size());
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
        out[i].zeroed = blocks_[i].zeroed;
        if (blocks_[i].block) out[i].block = std::make_unique<Block>(*blocks_[i].block);
    }
    return out;
}

void Media::pull() {
    dead = true;
    ++plugged_;
}

void Media::plug_in(std::optional<Content> content, bool zeros) {
    dead = false;
    flushed_.clear();
    bad.clear();
    forget_lies();
    if (content) {
        blocks_ = std::move(*content);
        return;
    }
    salt_ = mix64(salt_);
    for (Place& place : blocks_) {
        place.block.reset();
        place.zeroed = zeros;
    }
}

void Media::rot(Prng& prng, std::uint64_t block) {
    Block bytes;
    look(block, bytes.data());
    bytes[prng.below(kBlockSize)] ^= static_cast<std::byte>(1u << prng.below(8));
    put(block * kBlockSize, bytes);
    lies_[block] = Mark::met_rot;
}

bool Media::lies(std::uint64_t at, std::uint64_t length) const {
    const auto first = lies_.lower_bound(at / kBlockSize);
    return first != lies_.end() && first->first * kBlockSize < at + length;
}

/// A write that is answered and is not where it belongs.
bool Media::goes_wrong(std::uint64_t at, std::span<const std::byte> from) {
    const bool lost = loses != 0;
    --(lost ? loses : misdirects);
    world_.note(lost ? "disk.lost" : "disk.misdirected", id_ << 48 | at / kBlockSize, from.size());
    for (std::size_t done = 0; done < from.size(); done += kBlockSize) {
        lies_[(at + done) / kBlockSize] = lost ? Mark::met_lost_write : Mark::met_misdirected_write;
        const std::uint64_t other = at + from.size() + done;
        if (lost || other + kBlockSize > size() - kPageSize) continue;
        put(other, from.subspan(done, kBlockSize));
        lies_[other / kBlockSize] = Mark::met_misdirected_write;
    }
    return true;
}

std::optional<std::uint64_t> Media::rot(Prng& prng, std::uint64_t from, std::uint64_t to) {
    const auto written = [&]() -> std::optional<std::uint64_t> {
        for (int tries = 0; tries < 200; ++tries) {
            const std::uint64_t number = from + prng.below(to - from);
            if (blocks_[number].block) return number;
        }
        return std::nullopt;
    };
    const auto victim = written(), other = written();
    if (!victim || !other) return std::nullopt;
    Block bytes = *blocks_[*victim].block;
    switch (prng.below(3)) {
        case 0:
            for (std::uint64_t bits = 1 + prng.below(3); bits > 0; --bits)
                bytes[prng.below(kBlockSize)] ^= static_cast<std::byte>(1u << prng.below(8));
            break;
        case 1:
            for (std::size_t at = prng.below(8) * 512, end = at + 512; at < end; ++at)
                bytes[at] = static_cast<std::byte>(prng.next());
            break;
        default:  // a write that went to the wrong place
            bytes = *blocks_[*other].block;
            break;
    }
    put(*victim * kBlockSize, bytes);
    return victim;
}

}  // namespace braid::sim
