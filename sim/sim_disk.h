// Simulated disks. The media is shared by all processes that open it; a handle belongs to one process. Commands of one handle
// finish in any order. A dead process's commands in flight each land whole, land torn at 512 bytes, or vanish.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/buffer.h"
#include "io/disk.h"
#include "sim/world.h"

namespace braid::sim {

class Media {
public:
    Media(World& world, std::uint64_t id, std::uint64_t size) : world_(world), id_(id), size_(size) {}

    std::uint64_t id() const { return id_; }
    std::uint64_t size() const { return size_; }
    Status read(std::uint64_t at, std::span<std::byte> into);
    Status write(std::uint64_t at, std::span<const std::byte> from);
    void zero(std::uint64_t at, std::uint64_t length);
    /// What stands there, whatever the disk would answer. False if nothing was ever written in the range.
    bool peek(std::uint64_t at, std::span<std::byte> into) const;
    /// Some sectors of it only, by chance.
    void write_torn(std::uint64_t at, std::span<const std::byte> from);

    bool dead = false;                 ///< every command of everybody fails
    unsigned slow = 1;                 ///< factor on the latency
    std::set<std::uint64_t> bad;       ///< blocks that fail to read until they are written

private:
    using Block = std::array<std::byte, kBlockSize>;
    World& world_;
    std::uint64_t id_;
    std::uint64_t size_;
    std::map<std::uint64_t, std::unique_ptr<Block>> blocks_;  ///< absent: zeros
};

class SimDisk final : public Disk {
public:
    SimDisk(Process& process, Media& media, std::string name)
        : process_(process), media_(media), name_(std::move(name)), prng_(process.world.prng.split(media.id())) {}

    std::uint64_t size() const override { return media_.size(); }
    const std::string& name() const override { return name_; }
    void submit(DiskOp& op, Join& join) override;
    void abandon(DiskOp& op) override;

private:
    struct Pending {
        DiskOp* op;
        EventKey event;
    };
    void finish(std::uint64_t ticket);

    Process& process_;
    Media& media_;
    std::string name_;
    Prng prng_;
    std::map<std::uint64_t, Pending> pending_;
    std::uint64_t next_ticket_ = 1;
};

class SimShelf final : public DiskShelf {
public:
    SimShelf(Process& process, std::vector<std::unique_ptr<Media>>& media) : process_(process), media_(media) {}
    std::vector<std::string> scan() override;
    Result<std::unique_ptr<Disk>> open(std::string_view name) override;
    Result<DiskContent> probe(std::string_view) override { return DiskContent{}; }

private:
    Process& process_;
    std::vector<std::unique_ptr<Media>>& media_;
};

}  // namespace braid::sim
