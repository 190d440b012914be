// Simulated disks. The media is shared by all processes that open it; a handle belongs to one process.
// Commands of one handle finish in any order. A dead process's commands in flight each land whole, land torn
// (some 512 bytes or 4 KiB of them, or only the first ones), or vanish. What nobody ever wrote or zeroed
// reads as garbage. With a volatile cache, what was answered and not flushed stays, goes or tears when power
// is lost. A disk that was pulled is lost to the handles of before, whatever is plugged in instead.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <string>

#include "base/buffer.h"
#include "io/disk.h"
#include "ondisk/table_pages.h"
#include "sim/checkers/in_flight.h"
#include "sim/world.h"

namespace braid::sim {

class Media {
public:
    using Block = std::array<std::byte, kBlockSize>;
    struct Place {
        std::unique_ptr<Block> block;  ///< null: never written, or zeroed
        bool zeroed = false;
    };
    using Content = std::vector<Place>;

    Media(World& world, std::uint64_t id, std::uint64_t size);

    std::uint64_t id() const { return id_; }
    /// A command of `process` is under way, until ended(). Sees who is in whose way.
    void begun(const Process& process, const DiskOp& op);
    void ended(DiskVerb verb, std::uint64_t at, std::uint64_t length);
    void belongs_to(const GroupConfig& config);
    std::uint64_t data_start() const { return data_start_; }
    /// Sees writes of those who are out of the view.
    void lands(const Process& process);
    std::uint64_t size() const { return blocks_.size() * kBlockSize; }
    Status read(std::uint64_t at, std::span<std::byte> into);
    /// A write that fails on a disk that is not dead may have landed in part.
    Status write(std::uint64_t at, std::span<const std::byte> from, bool durable = false);
    Status zero(std::uint64_t at, std::uint64_t length);
    Status flush();
    /// What was written since the last flush stays, goes, or stays in part, block by block.
    void lose_power();
    /// What stands there, whatever the disk would answer.
    void peek(std::uint64_t at, std::span<std::byte> into) const;
    /// A superblock with this id stands here, in one of its two places.
    bool carries(const Uuid& disk) const;
    /// By zero(), and never written since.
    bool all_zeros(std::uint64_t at, std::uint64_t length) const;
    // media_faults.cc
    /// A part of it only, by chance.
    void write_torn(std::uint64_t at, std::span<const std::byte> from);
    Content snapshot() const;
    /// Nobody reaches it any more, until it is plugged in and opened again.
    void pull();
    /// With this content; zeros, or garbage, if there is none.
    void plug_in(std::optional<Content> content, bool zeros);
    unsigned plugged() const { return plugged_; }  ///< times
    /// What a block says is not what was last written there, and the disk does not know: that is told as it
    /// is read.
    bool lies(std::uint64_t at, std::uint64_t length) const;
    void forget_lies() {
        lies_.clear();
        loses = misdirects = 0;
    }
    /// Flips bits of a block.
    void rot(Prng& prng, std::uint64_t block);
    /// Spoils a block that has been written, of those given: bits, a sector, or another block's content in
    /// its place. Nothing if it finds none.
    std::optional<std::uint64_t> rot(Prng& prng, std::uint64_t from, std::uint64_t to);
    /// A block that was written not long ago, behind the first 8 MiB; nothing if there is none.
    std::optional<std::uint64_t> hot_block(Prng& prng) const;

    bool dead = false;            ///< every command of everybody fails
    bool fails_writes = false;    ///< reads are answered as ever
    unsigned loses = 0;           ///< so many of the next writes of data are answered and never there
    unsigned misdirects = 0;      ///< so many, then, land right behind their place
    unsigned errors_of_1000 = 0;  ///< commands that fail, by chance
    bool declared = false;        ///< an operator has declared it failed
    unsigned slow = 1;            ///< factor on the latency
    Nanos busy_until{};           ///< with a disk_rate
    std::set<std::uint64_t> bad;  ///< blocks that fail to read until they are written

private:
    bool fails(bool changes);
    bool goes_wrong(std::uint64_t at, std::span<const std::byte> from);
    void remember(std::uint64_t number);
    void put(std::uint64_t at, std::span<const std::byte> from);
    void look(std::uint64_t number, std::byte* into) const;

    static constexpr std::size_t kRecent = 64;
    World& world_;
    std::uint64_t id_;
    std::uint64_t salt_;
    Content blocks_;
    unsigned plugged_ = 1;
    std::uint64_t data_start_ = 0;
    InFlight in_flight_;
    std::map<std::uint64_t, Mark> lies_;  ///< by block: what to count when it is read
    std::map<std::uint64_t, Place>
        flushed_;  ///< what stood on the disk itself where the cache has something newer
    std::vector<std::uint64_t> recent_;  ///< a ring of blocks written last
    std::size_t next_recent_ = 0;
};

/// The disks of a group by member, null where it is none of these.
using MemberMedia = std::vector<Media*>;
MemberMedia by_member(const GroupConfig& config, const std::vector<std::unique_ptr<Media>>& media);

class SimDisk final : public Disk {
public:
    SimDisk(Process& process, Media& media, std::string name)
        : process_(process),
          media_(media),
          plugged_(media.plugged()),
          name_(std::move(name)),
          prng_(process.world.prng.split(media.id())) {}

    std::uint64_t size() const override { return media_.size(); }
    const std::string& name() const override { return name_; }
    void submit(DiskOp& op, Join& join) override;
    void abandon(DiskOp& op) override;
    std::optional<Nanos> oldest() const override {
        return oldest_of(std::views::transform(pending_, &Pending::op));
    }

private:
    struct Pending {
        std::uint64_t ticket;
        DiskOp* op;
        EventKey event;
    };
    std::vector<Pending>::iterator pending(std::uint64_t ticket) {
        return std::ranges::lower_bound(pending_, ticket, {}, &Pending::ticket);
    }
    void finish(std::uint64_t ticket);
    Status carry_out(DiskOp& op);

    Process& process_;
    Media& media_;
    unsigned plugged_;  ///< this is a handle of that disk, not of what was plugged in later
    std::string name_;
    Prng prng_;
    std::vector<Pending> pending_;  ///< by ticket
    std::uint64_t next_ticket_ = 1;
};

class SimShelf final : public DiskShelf {
public:
    SimShelf(Process& process, std::vector<std::unique_ptr<Media>>& media)
        : process_(process), media_(media) {}
    std::vector<std::string> scan() override;
    Result<std::unique_ptr<Disk>> open(std::string_view name) override;
    Result<DiskContent> probe(std::string_view) override { return DiskContent{}; }

private:
    Process& process_;
    std::vector<std::unique_ptr<Media>>& media_;
};

}  // namespace braid::sim
