// What makes a disk a member of a group: one 4 KiB block at offset 0 and a copy in the disk's last whole 4
// KiB block. It names the group and the disk and says where the tables and the data are. Byte table:
// docs/on-disk.md.
//
// Writers write the copy first and the block at 0 last, so of two valid blocks that name different groups or
// disks (a disk taken over while somebody pulled the plug) the one at 0 is right.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/types.h"
#include "ondisk/page.h"

namespace braid {

constexpr std::uint64_t kSuperblockOffset = 0;
/// Of the copy, for a disk of `disk_size` bytes (>= 8 KiB).
constexpr std::uint64_t superblock_copy_offset(std::uint64_t disk_size) {
    return (disk_size / kPageSize - 1) * kPageSize;
}

/// Features that a reader must know to touch the disk at all.
constexpr std::uint64_t kKnownIncompatFeatures = 0;

struct Superblock {
    std::uint64_t incompat_features = 0;  ///< unknown bits: hands off
    std::uint64_t compat_features = 0;    ///< unknown bits: ignore, and keep
    std::uint64_t sequence = 0;           ///< one more at every change
    Uuid group;
    Uuid disk;
    MemberIndex member;
    std::string group_name;
    std::uint64_t disk_size = 0;  ///< bytes, as it was when the disk was taken
    std::uint64_t table_start = 0;
    std::uint32_t page_count = 0;
    std::uint64_t data_start = 0;
    std::uint32_t units = 0;  ///< of the data area

    friend bool operator==(const Superblock&, const Superblock&) = default;
    void encode(PageBytes block) const;
    /// not_found: no superblock of ours. corrupt: damaged, or its numbers contradict each other. unsupported:
    /// a version or a feature of later.
    static Result<Superblock> decode(ConstPageBytes block);
};

struct SuperblockChoice {
    Superblock superblock;
    bool from_copy = false;
    bool both_agree = false;  ///< otherwise the other block wants to be written anew
};

/// The newest valid one. unsupported as soon as one of them is whole but of later: an older block beside it
/// is stale.
Result<SuperblockChoice> choose_superblock(ConstPageBytes first, ConstPageBytes copy);

}  // namespace braid
