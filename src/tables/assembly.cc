#include "tables/assembly.h"

#include <algorithm>
#include <map>

#include "base/buffer.h"
#include "base/log.h"
#include "ondisk/space.h"

namespace braid {

Task<Result<Superblock>> read_superblock(Executor& executor, Disk& disk) {
    if (disk.size() < kTableStart + kPageSize) co_return fail(Errc::not_found);
    const Buffer first(kPageSize), copy(kPageSize);
    const Status first_read = co_await read(executor, disk, kSuperblockOffset, first.span());
    const Status copy_read = co_await read(executor, disk, superblock_copy_offset(disk.size()), copy.span());
    if (!first_read && !copy_read) co_return std::unexpected(first_read.error());
    if (!first_read) std::ranges::fill(first.span(), std::byte{0});
    if (!copy_read) std::ranges::fill(copy.span(), std::byte{0});
    const auto choice = choose_superblock(ConstPageBytes(first.span()), ConstPageBytes(copy.span()));
    if (!choice) co_return std::unexpected(choice.error());
    co_return choice->superblock;
}

Task<std::vector<FoundGroup>> scan_shelf(Executor& executor, DiskShelf& shelf,
                                         std::vector<std::string> skip) {
    using Claim = std::pair<MemberIndex, Uuid>;
    std::map<Uuid, std::map<Claim, FoundMember>> found;
    for (const std::string& name : shelf.scan()) {
        if (std::find(skip.begin(), skip.end(), name) != skip.end()) continue;
        Result<std::unique_ptr<Disk>> disk = shelf.open(name);
        if (!disk) {
            LOG_WARN("disk.not_opened", {"disk", name}, {"reason", to_string(disk.error().code)});
            continue;
        }
        Result<Superblock> superblock = co_await read_superblock(executor, **disk);
        if (!superblock) {
            if (superblock.error().code != Errc::not_found) {
                LOG_WARN("disk.bad_superblock", {"disk", name},
                         {"reason", to_string(superblock.error().code)});
            }
            continue;
        }
        auto& members = found[superblock->group];
        const Claim claim(superblock->member, superblock->disk);
        const auto twin = members.find(claim);
        if (twin != members.end()) {
            LOG_WARN("disk.twin", {"disk", name}, {"member", superblock->member},
                     {"other", twin->second.disk->name()});
            if (twin->second.superblock.sequence >= superblock->sequence) continue;
        }
        members.insert_or_assign(claim, FoundMember{std::move(*disk), std::move(*superblock)});
    }
    std::vector<FoundGroup> groups;
    for (auto& [uuid, members] : found) {
        FoundGroup group{uuid, members.begin()->second.superblock.group_name, {}};
        for (auto& [claim, member] : members) group.members.push_back(std::move(member));
        groups.push_back(std::move(group));
    }
    co_return groups;
}

template <class Page>
static Task<Result<Page>> read_newest(Executor& executor, const FoundGroup& group, PageNumber page) {
    std::uint64_t newest = 0;
    Result<Page> out = fail(Errc::corrupt);
    const Buffer slots(2 * kPageSize);
    for (const FoundMember& member : group.members) {
        const std::uint64_t at = slot_offset(member.superblock.table_start, page, 0);
        const Status got = co_await read(executor, *member.disk, at, slots.span());
        if (!got) continue;
        const std::span<const std::byte> bytes = slots.span();
        const PagePick pick = pick_slot(ConstPageBytes(bytes.first(kPageSize)),
                                        ConstPageBytes(bytes.subspan(kPageSize)), group.group, page);
        if (!pick.found || pick.header.sequence <= newest) continue;
        Result<Page> decoded = Page::decode(ConstPageBytes(bytes.subspan(pick.slot * kPageSize, kPageSize)));
        if (!decoded) continue;
        newest = pick.header.sequence;
        out = std::move(decoded);
    }
    co_return out;
}

Task<Result<GroupPages>> read_group(Executor& executor, const FoundGroup& group) {
    GroupPages out;
    CO_TRY_LET(out.config, co_await read_newest<GroupConfig>(executor, group, kConfigPage));
    CO_TRY_LET(out.state, co_await read_newest<GroupState>(executor, group, kStatePage));
    co_return out;
}

std::size_t GroupPages::serving(const FoundGroup* found) const {
    std::size_t out = 0;
    for (std::size_t i = 0; i < std::min(config.members.size(), state.members.size()); ++i) {
        const auto here = [&](const FoundMember& member) {
            return member.superblock.member.v == i && member.superblock.disk == config.members[i].disk;
        };
        const bool counts = found == nullptr || std::ranges::any_of(found->members, here);
        out += serves(state.members[i].state) && counts ? 1 : 0;
    }
    return out;
}

Superblock superblock_of(const GroupConfig& config, const Uuid& group, std::uint64_t table_start,
                         MemberIndex member, std::uint64_t disk_size, std::uint64_t sequence) {
    Superblock out;
    out.sequence = sequence;
    out.group = group;
    out.disk = config.members[member.v].disk;
    out.member = member;
    out.group_name = config.name;
    out.disk_size = disk_size;
    out.table_start = table_start;
    out.page_count = config.page_count;
    out.data_start = config.data_start;
    out.units = config.members[member.v].units;
    return out;
}

Task<Status> clear_tables(Executor& executor, Disk& disk, std::uint64_t data_start, std::uint64_t from) {
    Join join(executor);
    DiskOp clear(DiskVerb::zero, from, {}, data_start - from);
    disk.submit(clear, join);
    co_await join;
    CO_TRY(clear.status);
    co_return co_await run(executor, disk, DiskVerb::flush, 0, {});
}

Task<Status> write_superblock(Executor& executor, Disk& disk, Superblock superblock) {
    const Buffer block = Buffer::zeroed(kPageSize);
    superblock.encode(PageBytes(block.span()));
    CO_TRY(co_await write(executor, disk, superblock_copy_offset(disk.size()), block.span()));
    CO_TRY(co_await write(executor, disk, kSuperblockOffset, block.span()));
    co_return co_await run(executor, disk, DiskVerb::flush, 0, {});
}

Task<std::unique_ptr<Disk>> open_member(Executor& executor, DiskShelf& shelf, Uuid group, Uuid id) {
    for (const std::string& name : shelf.scan()) {
        Result<std::unique_ptr<Disk>> disk = shelf.open(name);
        if (!disk) continue;
        const Result<Superblock> superblock = co_await read_superblock(executor, **disk);
        if (superblock && superblock->group == group && superblock->disk == id) co_return std::move(*disk);
    }
    co_return nullptr;
}

static Task<Status> write_everywhere(Executor& executor, Disk& disk, std::uint64_t at, Buffer bytes) {
    co_return co_await write(executor, disk, at, bytes.span());
}

Task<Result<Uuid>> format_group(Executor& executor, Random& random, NewGroup wish, std::vector<Disk*> disks) {
    std::vector<std::uint64_t> sizes;
    for (const Disk* disk : disks) sizes.push_back(disk->size());
    const bool journal = wish.power_loss == PowerLoss::journal;
    const auto rings = static_cast<unsigned>(wish.controllers.size() * wish.sharing.amfs);
    const std::uint64_t ring = journal ? usual_ring_size(wish.geometry, sizes) : 0;
    CO_TRY_LET(const SpacePlan plan, plan_space(wish.geometry, sizes, rings, ring, wish.spares));

    const Uuid group = random.uuid();
    GroupConfig config;
    config.name = wish.name;
    config.geometry = wish.geometry;
    config.wanted = wish.geometry.shape();
    config.spares = wish.spares;
    config.dimension = wish.dimension;
    config.sharing = wish.sharing;
    if (journal) config.journal = {ring, random.next()};
    config.data_start = plan.data_start;
    config.page_count = plan.page_count;
    config.extents = plan.extents;
    config.controllers = wish.controllers;
    GroupState state;
    for (std::size_t i = 0; i < disks.size(); ++i) {
        config.members.push_back({random.uuid(), plan.units[i]});
        state.members.push_back({});
    }
    state.clean = true;

    // Tables first, superblocks last: a disk with a superblock has its tables.
    for (Disk* disk : disks) {
        CO_TRY(co_await clear_tables(executor, *disk, plan.data_start));
        const auto put_page = [&](PageNumber page, const auto& content) {
            Buffer bytes = Buffer::zeroed(kPageSize);
            write_page(PageBytes(bytes.span()), content, PageHeader{page, group, 1, Epoch(0), AmfSlot(0)});
            return write_everywhere(executor, *disk, slot_offset(plan.table_start, page, slot_of(1)),
                                    std::move(bytes));
        };
        CO_TRY(co_await put_page(kConfigPage, config));
        CO_TRY(co_await put_page(kStatePage, state));
        CO_TRY(co_await run(executor, *disk, DiskVerb::flush, 0, {}));
    }
    for (std::size_t i = 0; i < disks.size(); ++i) {
        const MemberIndex member(static_cast<std::uint8_t>(i));
        const Superblock superblock =
            superblock_of(config, group, plan.table_start, member, disks[i]->size(), 1);
        CO_TRY(co_await write_superblock(executor, *disks[i], superblock));
    }
    co_return group;
}

Task<Status> wipe_superblock(Executor& executor, Disk& disk) {
    const Buffer zeros = Buffer::zeroed(kPageSize);
    CO_TRY(co_await write(executor, disk, superblock_copy_offset(disk.size()), zeros.span()));
    CO_TRY(co_await write(executor, disk, kSuperblockOffset, zeros.span()));
    co_return co_await run(executor, disk, DiskVerb::flush, 0, {});
}

}  // namespace braid
