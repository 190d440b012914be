#include "cache/block_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/assert.h"

namespace braid {

BlockCache::BlockCache(std::size_t bytes) : slots_(bytes / kBlockSize) {
    const std::size_t blocks = slots_.size();
    ASSERT(blocks < kNone);
    if (blocks == 0) return;
    arena_ = std::make_unique_for_overwrite<std::byte[]>(blocks * kBlockSize);
    mask_ = std::bit_ceil(blocks) - 1;
    by_block_.assign(mask_ + 1, kNone);
    by_unit_.assign(mask_ + 1, kNone);
    small_target_ = std::max<std::size_t>(blocks / 10, 1);
    ghosts_.resize(2 * (mask_ + 1));
    ghost_age_ = static_cast<std::uint32_t>(std::max<std::size_t>(blocks - small_target_, 1));
    ghost_clock_ = ghost_age_;
    for (Index i = 0; i < blocks; ++i) slots_[i].next = i + 1 < blocks ? i + 1 : kNone;
    free_ = 0;
}

// ---- what its user calls

bool BlockCache::read(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation) {
    if (valid_ == 0) return false;
    while (!into.empty()) {
        const Index i = find(at / kBlockSize);
        if (i == kNone || !slots_[i].valid || slots_[i].generation != generation) return false;
        Slot& slot = slots_[i];
        if (slot.reads < kMostReads) ++slot.reads;
        const std::size_t skip = at % kBlockSize;
        const std::size_t count = std::min(into.size(), kBlockSize - skip);
        std::memcpy(into.data(), content_of(i).data() + skip, count);
        at += count;
        into = into.subspan(count);
    }
    return true;
}

void BlockCache::insert(UnitIndex unit, std::uint32_t generation, std::uint64_t at,
                        std::span<const std::byte> content) {
    ASSERT(at % kBlockSize == 0 && content.size() % kBlockSize == 0);
    if (slots_.empty()) return;
    for (std::size_t done = 0; done < content.size(); done += kBlockSize) {
        const std::uint64_t block = (at + done) / kBlockSize;
        Index i = find(block);
        if (i == kNone) i = add(unit, block);
        Slot& slot = slots_[i];
        ASSERT(slot.unit == unit);
        slot.generation = generation;
        if (!std::exchange(slot.valid, true)) ++valid_;
        std::memcpy(content_of(i).data(), content.data() + done, kBlockSize);
        ++counters_.inserted;
    }
}

void BlockCache::invalidate(std::uint64_t at, std::uint64_t length) {
    ASSERT(at % kBlockSize == 0 && length % kBlockSize == 0);
    for (const std::uint64_t end = at + length; at != end && valid_ != 0; at += kBlockSize) {
        const Index i = find(at / kBlockSize);
        if (i != kNone && std::exchange(slots_[i].valid, false)) --valid_;
    }
}

void BlockCache::drop(UnitIndex unit) {
    if (slots_.empty()) return;
    for (Index i = unit_bucket(unit); i != kNone;) {
        const Index next = slots_[i].next_by_unit;
        if (slots_[i].unit == unit) {
            ++counters_.dropped;
            remove(i);
        }
        i = next;
    }
}

void BlockCache::clear() {
    for (Index i = 0; i < slots_.size(); ++i) {
        if (slots_[i].where != Where::free) remove(i);
    }
}

bool BlockCache::holds_any(UnitIndex unit) const {
    if (slots_.empty()) return false;
    Index i = by_unit_[mix64(unit.v) & mask_];
    while (i != kNone && slots_[i].unit != unit) i = slots_[i].next_by_unit;
    return i != kNone;
}

// ---- places

BlockCache::Index BlockCache::find(std::uint64_t block) const {
    Index i = by_block_[mix64(block) & mask_];
    while (i != kNone && slots_[i].block != block) i = slots_[i].next_by_block;
    return i;
}

BlockCache::Index BlockCache::add(UnitIndex unit, std::uint64_t block) {
    if (free_ == kNone) evict();
    const Index i = std::exchange(free_, slots_[free_].next);
    Slot& slot = slots_[i];
    slot = Slot{.block = block, .unit = unit};
    Index& in_bucket = block_bucket(block);
    slot.next_by_block = std::exchange(in_bucket, i);
    Index& of_unit = unit_bucket(unit);
    slot.next_by_unit = of_unit;
    if (of_unit != kNone) slots_[of_unit].prev_by_unit = i;
    of_unit = i;
    push(remembered(block) ? Where::main : Where::small, i);
    return i;
}

void BlockCache::remove(Index i) {
    Slot& slot = slots_[i];
    unlink(i);
    Index* link = &block_bucket(slot.block);
    while (*link != i) link = &slots_[*link].next_by_block;
    *link = slot.next_by_block;
    (slot.prev_by_unit == kNone ? unit_bucket(slot.unit) : slots_[slot.prev_by_unit].next_by_unit) =
        slot.next_by_unit;
    if (slot.next_by_unit != kNone) slots_[slot.next_by_unit].prev_by_unit = slot.prev_by_unit;
    if (slot.valid) --valid_;
    slot = Slot{.next = std::exchange(free_, i)};
}

void BlockCache::push(Where where, Index i) {
    Queue& queue = queue_of(where);
    Slot& slot = slots_[i];
    slot.where = where;
    slot.prev = kNone;
    slot.next = queue.newest;
    (queue.newest == kNone ? queue.oldest : slots_[queue.newest].prev) = i;
    queue.newest = i;
    ++queue.size;
}

void BlockCache::unlink(Index i) {
    const Slot& slot = slots_[i];
    Queue& queue = queue_of(slot.where);
    (slot.prev == kNone ? queue.newest : slots_[slot.prev].next) = slot.next;
    (slot.next == kNone ? queue.oldest : slots_[slot.next].prev) = slot.prev;
    --queue.size;
}

// ---- who goes

/// Frees one place.
void BlockCache::evict() {
    ++counters_.evicted;
    if (small_.size >= small_target_ && evict_from_small()) return;
    evict_from_main();
}

/// False: all of it has moved to main.
bool BlockCache::evict_from_small() {
    while (small_.size != 0) {
        const Index i = small_.oldest;
        if (slots_[i].reads <= 1) {
            remember(slots_[i].block);
            remove(i);
            return true;
        }
        unlink(i);
        slots_[i].reads = 0;
        push(Where::main, i);
    }
    return false;
}

void BlockCache::evict_from_main() {
    while (true) {
        const Index i = main_.oldest;
        if (slots_[i].reads == 0) return remove(i);
        --slots_[i].reads;
        unlink(i);
        push(Where::main, i);
    }
}

void BlockCache::remember(std::uint64_t block) {
    const std::uint64_t hash = mix64(block);
    ghosts_[hash & (ghosts_.size() - 1)] = {static_cast<std::uint32_t>(hash >> 32), ++ghost_clock_};
}

bool BlockCache::remembered(std::uint64_t block) {
    const std::uint64_t hash = mix64(block);
    const Ghost& ghost = ghosts_[hash & (ghosts_.size() - 1)];
    return ghost.tag == static_cast<std::uint32_t>(hash >> 32) && ghost_clock_ - ghost.when < ghost_age_;
}

}  // namespace braid
