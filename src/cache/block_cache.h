// Clean 4 KiB blocks of one group's logical space, as this AMF has read or written them: bounded memory, one
// arena. A pure container: whoever uses it sees to the locks (amf/cached.cc).
//
// Which blocks stay is decided by S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for
// cache eviction", SOSP 2023), because a long scan must not wash out what is read again and again:
//
//                insert                   evicted, its number is kept for a while
//   new block ----------> small (1/10) ------------------------------------------> ghost
//                            | read more than once                                  |
//   seen in ghost  --------> main  <---- again, while it was read since -- tail     | inserted again: main
//
// Guarantees: no allocation after construction; a block is under one number, one unit and one generation of
// its zone; drop() costs the unit's blocks. read() never gives what was invalidated, dropped, or put in under
// another generation. Needs: offsets and lengths in whole blocks where it says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/prng.h"
#include "lock/lock_types.h"

namespace braid {

struct BlockCacheCounters {
    std::uint64_t inserted = 0;
    std::uint64_t evicted = 0;  ///< to make room
    std::uint64_t dropped = 0;  ///< with their unit
};

class BlockCache {
public:
    /// Room for bytes / 4 KiB blocks; with none it stays empty.
    explicit BlockCache(std::size_t bytes);
    BlockCache(const BlockCache&) = delete;
    BlockCache& operator=(const BlockCache&) = delete;

    /// Copies any range of bytes, if all of its blocks are here; else false, and `into` is anything.
    bool read(std::uint64_t at, std::span<std::byte> into, std::uint32_t generation);
    /// Whole blocks of one unit; what is here of them is replaced.
    void insert(UnitIndex unit, std::uint32_t generation, std::uint64_t at,
                std::span<const std::byte> content);
    /// Forgets the content of whole blocks; their places wait for the next insert, or leave in their turn.
    void invalidate(std::uint64_t at, std::uint64_t length);
    void drop(UnitIndex unit);
    void clear();

    std::size_t capacity() const { return slots_.size() * kBlockSize; }  ///< bytes
    std::size_t size() const { return valid_ * kBlockSize; }             ///< bytes that read() may give
    bool holds_any(UnitIndex unit) const;
    const BlockCacheCounters& counters() const { return counters_; }

    /// call(unit, generation, offset, content) for all blocks that read() may give, in a fixed order.
    template <class Call>
    void for_each(Call&& call) const {
        for (Index i = 0; i < slots_.size(); ++i) {
            const Slot& slot = slots_[i];
            if (slot.valid) call(slot.unit, slot.generation, slot.block * kBlockSize, content_of(i));
        }
    }

private:
    using Index = std::uint32_t;
    static constexpr Index kNone = ~Index{0};
    static constexpr std::uint8_t kMostReads = 3;

    enum class Where : std::uint8_t { free, small, main };
    struct Slot {
        std::uint64_t block = 0;
        UnitIndex unit;
        std::uint32_t generation = 0;
        Index prev = kNone, next = kNone;  ///< in its queue: towards the newer, the older
        Index next_by_block = kNone;
        Index prev_by_unit = kNone, next_by_unit = kNone;
        Where where = Where::free;
        std::uint8_t reads = 0;  ///< since it came, or since main last looked; at most kMostReads
        bool valid = false;
    };
    struct Queue {
        Index newest = kNone, oldest = kNone;
        std::size_t size = 0;
    };
    struct Ghost {
        std::uint32_t tag = 0;
        std::uint32_t when = 0;
    };

    std::span<std::byte> content_of(Index i) const {
        return {arena_.get() + std::size_t{i} * kBlockSize, kBlockSize};
    }
    Index& block_bucket(std::uint64_t block) { return by_block_[mix64(block) & mask_]; }
    Index& unit_bucket(UnitIndex unit) { return by_unit_[mix64(unit.v) & mask_]; }
    Index find(std::uint64_t block) const;
    Index add(UnitIndex unit, std::uint64_t block);
    void remove(Index i);
    void push(Where where, Index i);
    void unlink(Index i);
    Queue& queue_of(Where where) { return where == Where::small ? small_ : main_; }
    void evict();
    bool evict_from_small();
    void evict_from_main();
    void remember(std::uint64_t block);
    bool remembered(std::uint64_t block);

    std::unique_ptr<std::byte[]> arena_;
    std::vector<Slot> slots_;
    std::vector<Index> by_block_, by_unit_;  ///< heads of chains: a bucket or more for each slot
    std::size_t mask_ = 0;
    Index free_ = kNone;  ///< chained by `next`
    Queue small_, main_;
    std::size_t small_target_ = 0;
    std::size_t valid_ = 0;
    /// Numbers of evicted blocks by their hash, each until as many as main holds have followed it. Two with
    /// one place: the later one stays.
    std::vector<Ghost> ghosts_;
    std::uint32_t ghost_clock_ = 0;
    std::uint32_t ghost_age_ = 0;
    BlockCacheCounters counters_;
};

}  // namespace braid
