// From disks to groups: who carries a superblock of which group, and making a new group of empty disks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/random.h"
#include "layout/power_loss.h"
#include "ondisk/superblock.h"
#include "ondisk/table_pages.h"

namespace braid {

/// A disk of a group that was found on the shelf, open.
struct FoundMember {
    std::unique_ptr<Disk> disk;
    Superblock superblock;
};

struct FoundGroup {
    Uuid group;
    std::string name;
    /// By member index. Several may claim one: the configuration says which disk it is.
    std::vector<FoundMember> members;
};

/// Reads the superblock of an open disk. not_found: it has none of ours.
Task<Result<Superblock>> read_superblock(Executor& executor, Disk& disk);

/// Opens all disks of the shelf but those whose names are in `skip` and sorts those with a superblock by
/// group. Of two that are one disk, as a copy is, the one with the higher superblock sequence is taken and
/// the other logged.
Task<std::vector<FoundGroup>> scan_shelf(Executor& executor, DiskShelf& shelf, std::vector<std::string> skip);

/// The newest configuration and state that the members carry, for what must be known before the tables are
/// loaded: who shares the group, and whether enough of its members are here.
struct GroupPages {
    GroupConfig config;
    GroupState state;
    /// Members that serve; with `found`, those of them that were found.
    std::size_t serving(const FoundGroup* found = nullptr) const;
};
Task<Result<GroupPages>> read_group(Executor& executor, const FoundGroup& group);

struct NewGroup {
    std::string name;
    Geometry geometry;
    std::uint8_t dimension = 2;
    std::vector<std::string> controllers;
    SharingOptions sharing;
    PowerLoss power_loss = PowerLoss::resync;
    std::uint8_t spares = 0;
};

/// Writes superblocks and first tables on `disks`, which become members 0 .. n-1 in this order. Destroys what
/// is there: the caller has asked. invalid, no_space, io_error.
Task<Result<Uuid>> format_group(Executor& executor, Random& random, NewGroup wish, std::vector<Disk*> disks);

/// Of a member, as the configuration has it. `sequence`: higher than that of the superblock whose place it
/// takes.
Superblock superblock_of(const GroupConfig& config, const Uuid& group, std::uint64_t table_start,
                         MemberIndex member, std::uint64_t disk_size, std::uint64_t sequence);
/// Nothing stands before the data any more: no tables or journals, and, from 0 on, no superblock.
Task<Status> clear_tables(Executor& executor, Disk& disk, std::uint64_t data_start, std::uint64_t from = 0);
Task<Status> write_superblock(Executor& executor, Disk& disk, Superblock superblock);
/// The disk of the shelf that this group knows by this id, open; null if it is not here.
Task<std::unique_ptr<Disk>> open_member(Executor& executor, DiskShelf& shelf, Uuid group, Uuid id);

/// Takes the superblock off a disk, so that it is nobody's.
Task<Status> wipe_superblock(Executor& executor, Disk& disk);

}  // namespace braid
