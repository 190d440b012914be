// A small world for tests of whole AMFs: disks in memory, links that keep order, one executor, and a step
// counter, so that a test can stop the world at any step and kill a controller there. Real tables, locks and
// records run on it. Tests only.
#pragma once

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "amf/amf.h"
#include "amf/testing_media.h"
#include "base/prng.h"
#include "io/random.h"
#include "ondisk/space.h"
#include "tables/assembly.h"

namespace braid::testing {

class World;

class MemoryDisk final : public Disk {
public:
    /// While `*cut` every command of this path fails, and what is on the media is none the wiser.
    MemoryDisk(World& world, Media& media, std::string name, const bool* cut = nullptr)
        : world_(world), media_(media), name_(std::move(name)), cut_(cut) {}
    std::uint64_t size() const override { return media_.size; }
    const std::string& name() const override { return name_; }
    Media& media() const { return media_; }
    void submit(DiskOp& op, Join& join) override;
    void abandon(DiskOp& op) override;
    /// Does the command, or those of a write's sectors.
    Status perform(DiskOp& op) { return perform(op, {0, op.memory.size() / kSectorSize}); }
    Status perform(DiskOp& op, Landing part);

private:
    World& world_;
    Media& media_;
    std::string name_;
    const bool* cut_;
};

class TestClock final : public Clock {
public:
    explicit TestClock(Executor& executor) : executor_(executor) {}
    Nanos now() const override { return now_; }
    void arm(TimerOp& op) override {
        op.armed_by = this;
        op.sequence = next_++;
        queue_.emplace(std::pair(op.deadline, op.sequence), &op);
    }
    void disarm(TimerOp& op) override {
        queue_.erase(std::pair(op.deadline, op.sequence));
        op.armed_by = nullptr;
    }
    /// Fires the earliest timer, if it is due before `limit`.
    bool advance(Nanos limit) {
        if (queue_.empty() || queue_.begin()->first.first > limit) return false;
        TimerOp& op = *queue_.begin()->second;
        now_ = std::max(now_, op.deadline);
        disarm(op);
        op.fired = true;
        executor_.post(*op.wakeup);
        return true;
    }

private:
    Executor& executor_;
    Nanos now_{1s};
    std::uint64_t next_ = 1;
    std::map<std::pair<Nanos, std::uint64_t>, TimerOp*> queue_;
};

class TestRandom final : public Random {
public:
    std::uint64_t next() override { return prng_.next(); }

private:
    Prng prng_{7};
};

/// One controller with its AMF.
class Node final : public Transport {
public:
    Node(World& world, AmfId id, Incarnation incarnation);
    ~Node() override;
    void send(AmfId to, Message message) override;
    Task<Disk*> open_disk(MemberIndex member, Uuid wanted);

    World& world;
    AmfId id;
    Incarnation incarnation;
    std::array<bool, kMaxMembers> cut{};  ///< by disk: this controller alone does not reach it
    std::vector<std::unique_ptr<MemoryDisk>> disks;
    std::unique_ptr<Amf> amf;
    std::unique_ptr<Scope> scope;  ///< the operations of its hosts
};

struct WorldOptions {
    Level level = Level::raid5;
    std::size_t disks = 5;
    std::uint32_t strip_size = 16u << 10;
    std::uint8_t spares = 0;  ///< room of so many disks is kept free
    unsigned width = 0;
    bool checksums = true;
    std::uint8_t dimension = 2;
    SharingOptions sharing{};
    PowerLoss power_loss = PowerLoss::resync;
    std::uint32_t extents = 2;
    std::uint64_t seed = 0;  ///< 0: first come first served; else commands and links take turns by chance
    AmfOptions amf{};
};

/// What becomes of the writes in flight of a controller that is killed.
enum class InFlight { lost, landed, torn, mixed, chosen };

class World {
public:
    explicit World(WorldOptions options);
    /// Another one of the same group, with nothing but these disks.
    World(const World& like, const std::vector<Pages>& disks);
    ~World();

    // ---- controllers
    Node& start(std::uint16_t id);
    void kill(std::uint16_t id, InFlight fate = InFlight::mixed);
    /// What a controller does that cannot serve the group any more: its AMF stops, then the view lacks it.
    void leave(std::uint16_t id) {
        std::optional<Status> stopped;
        Scope scope(executor);
        scope.spawn(keep(stop(*nodes.at(id)->amf), stopped));
        const bool ended = run_until([&] { return stopped.has_value(); });
        ASSERT(ended);
        kill(id, InFlight::lost);
        adopt();
    }
    bool alive(std::uint16_t id) const { return nodes.contains(id); }
    Node& node(std::uint16_t id) { return *nodes.at(id); }
    Amf& amf(std::uint16_t id) { return *nodes.at(id)->amf; }
    /// A new epoch with those that are alive.
    void adopt();

    // ---- time
    bool step();
    std::size_t steps() const { return steps_; }
    template <class Done>
    bool run_until(Done&& done, Nanos limit = 100s) {
        const Nanos end = clock.now() + limit;
        while (!done()) {
            if (!step() && !clock.advance(end)) return false;
        }
        return true;
    }
    void settle() {
        while (step()) {
        }
    }
    /// Runs a task on a node to its end.
    template <class T>
    T run(std::uint16_t id, Task<T> task) {
        std::optional<T> out;
        nodes.at(id)->scope->spawn(keep(std::move(task), out));
        const bool ended = run_until([&] { return out.has_value(); });
        ASSERT(ended);
        return std::move(*out);
    }
    static Task<Status> stop(Amf& amf) {
        co_await amf.stop();
        co_return Status{};
    }
    template <class T>
    static Task<void> keep(Task<T> task, std::optional<T>& out) {
        out.emplace(co_await std::move(task));
    }

    // ---- short forms
    Status write(std::uint16_t id, std::uint64_t at, const Buffer& data, bool fua = false) {
        return run(id, amf(id).write(at, Slice(data), fua));
    }
    Buffer read(std::uint16_t id, std::uint64_t at, std::size_t size) {
        Buffer out(size);
        const Status status = run(id, amf(id).read(at, out.span()));
        if (!status) return {};
        return out;
    }
    /// Stripes of the extents that are not clean.
    std::vector<StripeIndex> unclean(std::uint16_t id, std::uint64_t bytes);
    std::size_t bytes_left_at(std::uint16_t id) { return amf(id).replicator().store().bytes(); }

    WorldOptions options;
    Executor executor;
    TestClock clock{executor};
    TestRandom random;
    Prng prng;
    std::vector<std::unique_ptr<Media>> media;
    Uuid group;
    GroupConfig config;
    std::uint64_t table_start = 0;
    Epoch epoch;
    std::map<std::uint16_t, std::unique_ptr<Node>> nodes;
    InFlight fate = InFlight::lost;
    std::set<std::pair<std::uint16_t, std::uint16_t>>
        slow;                            ///< links, from and to, that deliver nothing for now
    std::set<const Disk*> held;          ///< paths whose data commands do not end for now
    std::size_t abandoned_writes = 0;    ///< destroyed in flight: a real disk does not allow it
    std::vector<std::size_t> abandoned;  ///< by the last who was killed: sectors of each write
    std::vector<Landing> landings;       ///< InFlight::chosen: what becomes of these
    /// One more disk, nobody's.
    MemoryDisk add_disk();
    /// The member that a disk is by `config`, by its superblock.
    std::optional<MemberIndex> member_on(std::size_t disk) const;
    /// From now on what a power cut may undo is kept.
    void keep_unstable();
    /// What a power cut may undo now, in the order in which it was written; of the disks that are not dead.
    std::vector<Unstable> unstable() const;
    /// Changes with everything that changes what a power cut would leave.
    std::uint64_t disk_events() const { return disk_events_; }
    void hold(std::uint16_t id) {
        for (const auto& disk : nodes.at(id)->disks) held.insert(disk.get());
    }
    /// Data writes of this controller in flight.
    std::size_t pending(std::uint16_t id) const {
        std::size_t count = 0;
        for (const Command& command : commands_) {
            const bool data = command.op->verb == DiskVerb::write && command.op->offset >= config.data_start;
            for (const auto& disk : nodes.at(id)->disks) count += data && disk.get() == command.disk ? 1 : 0;
        }
        return count;
    }
    bool hold_data = false;  ///< disk commands outside the tables do not end for now
    bool dead_disks_answer =
        false;  ///< a controller that starts finds a dead disk, with errors, or does not find it

private:
    friend class MemoryDisk;
    friend class Node;
    struct Command {
        MemoryDisk* disk;
        DiskOp* op;
    };
    struct Letter {
        Epoch epoch;
        Message message;
    };
    void format();
    void complete(std::size_t index);
    void deliver(std::pair<std::uint16_t, std::uint16_t> link);
    std::deque<Command> commands_;
    std::uint64_t disk_events_ = 0;
    std::map<std::pair<std::uint16_t, std::uint16_t>, std::deque<Letter>> links_;
    bool messages_first_ = false;
    std::size_t steps_ = 0;
};

Buffer pattern(std::uint64_t seed, std::size_t size);

/// Minutes and hours instead of seconds.
inline bool soaks() { return std::getenv("BRAID_SOAK") != nullptr; }

// ---- definitions

inline Buffer pattern(std::uint64_t seed, std::size_t size) {
    Buffer out(size);
    Prng prng(seed);
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = prng.next();
        std::memcpy(out.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return out;
}

inline void MemoryDisk::submit(DiskOp& op, Join& join) {
    ASSERT(op.offset % kBlockSize == 0 && op.memory.size() % kBlockSize == 0);
    ASSERT(reinterpret_cast<std::uintptr_t>(op.memory.data()) % kBlockSize == 0);
    ASSERT(op.offset + op.memory.size() + op.zero_length <= media_.size);
    join.add();
    op.join = &join;
    op.in_flight = this;
    if (op.verb != DiskVerb::read) ++world_.disk_events_;
    if (op.verb == DiskVerb::flush) op.progress = media_.flushed + media_.unflushed.size();
    world_.commands_.push_back({this, &op});
}

inline Status MemoryDisk::perform(DiskOp& op, Landing part) {
    if (cut_ != nullptr && *cut_) return fail(Errc::io_error);
    if (op.verb == DiskVerb::write) {
        ++media_.writes;
        if (media_.fail_writes_after == 0) media_.dead = true;
        if (media_.fail_writes_after >= 0) --media_.fail_writes_after;
    }
    if (media_.dead) return fail(Errc::io_error);
    if (op.verb != DiskVerb::read) media_.done.emplace_back(op.verb, op.offset);
    const std::uint64_t first = op.offset / kBlockSize;
    if (op.verb == DiskVerb::zero) {
        ASSERT(!media_.keeps_unstable);
        const auto end = media_.pages.lower_bound((op.offset + op.zero_length) / kBlockSize);
        media_.pages.erase(media_.pages.lower_bound(first), end);
        return {};
    }
    if (op.verb == DiskVerb::flush) {
        media_.flush(op.progress);
        return {};
    }
    const std::size_t blocks = op.memory.size() / kBlockSize;
    if (op.verb == DiskVerb::write) {
        media_.write(op.offset, op.memory, part);
        return {};
    }
    for (std::size_t i = 0; i < blocks; ++i) {
        const auto memory = op.memory.subspan(i * kBlockSize, kBlockSize);
        if (media_.bad.contains(first + i)) return fail(Errc::media_error);
        const auto page = media_.pages.find(first + i);
        if (page == media_.pages.end()) {
            std::memset(memory.data(), 0, kBlockSize);
        } else {
            std::memcpy(memory.data(), page->second.data(), kBlockSize);
        }
    }
    return {};
}

inline void MemoryDisk::abandon(DiskOp& op) {
    std::erase_if(world_.commands_, [&](const World::Command& c) { return c.op == &op; });
    op.in_flight = nullptr;
    if (op.verb != DiskVerb::write) return;
    ++world_.abandoned_writes;
    const std::size_t sectors = op.memory.size() / kSectorSize;
    world_.abandoned.push_back(sectors);
    switch (world_.fate) {
        case InFlight::lost:
            break;
        case InFlight::landed:
            (void)perform(op);
            break;
        case InFlight::torn:
            (void)perform(op, {0, sectors / 2});
            break;
        case InFlight::mixed:
            (void)perform(op, {0, sectors * world_.prng.below(5) / 4});
            break;
        case InFlight::chosen:
            (void)perform(op, world_.landings.at(world_.abandoned.size() - 1));
            break;
    }
}

inline Node::Node(World& w, AmfId i, Incarnation inc) : world(w), id(i), incarnation(inc) {
    std::vector<Disk*> raw(world.config.members.size());
    for (std::size_t at = 0; at < world.media.size(); ++at) {
        const auto member = world.member_on(at);
        if (!member || (world.media[at]->dead && !world.dead_disks_answer)) continue;
        disks.push_back(
            std::make_unique<MemoryDisk>(world, *world.media[at], "d" + std::to_string(at), &cut[at]));
        raw[member->v] = disks.back().get();
    }
    amf = std::make_unique<Amf>(world.executor, world.clock, *this, world.group, world.config,
                                world.table_start, raw, AmfSlot(static_cast<std::uint8_t>(id.v - 1)),
                                world.options.amf);
    amf->on_member([this](MemberIndex member, Uuid disk) { return open_disk(member, disk); });
    scope = std::make_unique<Scope>(world.executor);
}

inline Task<Disk*> Node::open_disk(MemberIndex, Uuid wanted) {
    for (std::size_t i = 0; i < world.media.size(); ++i) {
        auto disk = std::make_unique<MemoryDisk>(world, *world.media[i], "d" + std::to_string(i), &cut[i]);
        const Result<Superblock> superblock = co_await read_superblock(world.executor, *disk);
        if (!superblock || superblock->disk != wanted) continue;
        disks.push_back(std::move(disk));
        co_return disks.back().get();
    }
    co_return nullptr;
}

inline Node::~Node() {
    scope.reset();
    amf.reset();
}

inline void Node::send(AmfId to, Message message) {
    ASSERT(message.payload.bytes.empty() || !message.payload.owner.empty());
    world.links_[{id.v, to.v}].push_back({world.epoch, std::move(message)});
}

inline World::World(WorldOptions o) : options(o), prng(o.seed + 1) { format(); }
inline World::World(const World& like, const std::vector<Pages>& disks)
    : options(like.options),
      prng(like.options.seed + 1),
      group(like.group),
      config(like.config),
      table_start(like.table_start),
      epoch(like.epoch) {
    for (const Pages& pages : disks) {
        media.push_back(std::make_unique<Media>());
        media.back()->size = like.media.front()->size;
        media.back()->pages = pages;
    }
}
inline MemoryDisk World::add_disk() {
    media.push_back(std::make_unique<Media>());
    media.back()->size = media.front()->size;
    return MemoryDisk(*this, *media.back(), "d" + std::to_string(media.size() - 1));
}
inline std::optional<MemberIndex> World::member_on(std::size_t disk) const {
    const auto page = media[disk]->pages.find(0);
    if (page == media[disk]->pages.end()) return std::nullopt;
    const auto superblock = Superblock::decode(ConstPageBytes(page->second.span()));
    for (std::size_t i = 0; superblock && i < config.members.size(); ++i) {
        if (config.members[i].disk == superblock->disk) return MemberIndex(static_cast<std::uint8_t>(i));
    }
    return std::nullopt;
}
inline World::~World() {
    fate = InFlight::lost;
    nodes.clear();
}

inline void World::format() {
    Geometry geometry = *Geometry::make(options.level, options.disks, options.strip_size, options.width);
    geometry.checksums = options.checksums;
    const std::uint64_t share = (options.extents * geometry.width() + options.disks - 1) / options.disks;
    std::uint64_t size = (8u << 20) + (share + 1) * (geometry.segment_space() + (1u << 20));
    if (options.power_loss == PowerLoss::journal) {
        const std::array sizes{size};
        size += 8 * usual_ring_size(geometry, sizes);
    }
    FoundGroup found;
    std::vector<Disk*> raw;
    for (std::size_t i = 0; i < options.disks; ++i) {
        media.push_back(std::make_unique<Media>());
        media.back()->size = size;
        found.members.push_back(
            {std::make_unique<MemoryDisk>(*this, *media.back(), "d" + std::to_string(i)), {}});
        raw.push_back(found.members.back().disk.get());
    }
    NewGroup wish{"g", geometry, options.dimension, {}, options.sharing, options.power_loss};
    wish.spares = options.spares;
    for (int i = 1; i <= 8; ++i) wish.controllers.push_back("c" + std::to_string(i));
    Scope scope(executor);
    std::optional<Result<Uuid>> made;
    scope.spawn(keep(format_group(executor, random, wish, raw), made));
    settle();
    ASSERT(made && *made);
    group = **made;
    for (FoundMember& member : found.members) {
        std::optional<Result<Superblock>> block;
        scope.spawn(keep(read_superblock(executor, *member.disk), block));
        settle();
        ASSERT(block && *block);
        member.superblock = **block;
    }
    found.group = group;
    table_start = found.members.front().superblock.table_start;
    std::optional<Result<GroupPages>> read;
    scope.spawn(keep(read_group(executor, found), read));
    settle();
    ASSERT(read && *read);
    config = (*read)->config;
}

inline Node& World::start(std::uint16_t id) {
    nodes[id] = std::make_unique<Node>(*this, AmfId(id), Incarnation(epoch.v + 1));
    adopt();
    const Status started = run(id, amf(id).start());
    ASSERT(started.has_value());
    return node(id);
}

inline void World::kill(std::uint16_t id, InFlight how) {
    fate = how;
    abandoned.clear();
    nodes.erase(id);
    fate = InFlight::lost;
    for (auto& [link, letters] : links_) {
        if (link.second == id) letters.clear();
    }
}

inline void World::adopt() {
    epoch = epoch.next();
    AmfView view{epoch, {}, {}};
    for (auto& [id, n] : nodes) view.members.push_back({n->id, n->incarnation});
    for (auto& [id, n] : nodes) {
        view.self = n->id;
        n->amf->adopt(view);
    }
}

inline void World::keep_unstable() {
    for (auto& one : media) {
        one->keeps_unstable = true;
        one->stable = one->pages;
    }
}

inline std::vector<Unstable> World::unstable() const {
    std::vector<Unstable> out;
    for (std::size_t member = 0; member < media.size(); ++member) {
        for (const auto& [at, bytes] : media[member]->unflushed) {
            if (!bytes.empty()) out.push_back({member, at, bytes});
        }
        for (const Command& command : commands_) {
            if (command.op->verb == DiskVerb::write && &command.disk->media() == media[member].get())
                out.push_back({member, command.op->offset, Buffer::copy_of(command.op->memory)});
        }
    }
    return out;
}

inline void World::complete(std::size_t index) {
    const Command command = commands_[index];
    if (command.op->verb != DiskVerb::read) ++disk_events_;
    commands_.erase(commands_.begin() + static_cast<std::ptrdiff_t>(index));
    DiskOp& op = *command.op;
    op.status = command.disk->perform(op);
    if (op.durable && op.status) command.disk->media().make_durable(op.offset, op.memory.size());
    op.in_flight = nullptr;
    op.join->done();
}

inline void World::deliver(std::pair<std::uint16_t, std::uint16_t> link) {
    auto& letters = links_[link];
    Letter letter = std::move(letters.front());
    letters.pop_front();
    if (letter.epoch != epoch || !nodes.contains(link.second)) return;
    // Another machine has its own memory.
    if (!letter.message.payload.bytes.empty()) {
        letter.message.payload = Slice(Buffer::copy_of(letter.message.payload.bytes));
    }
    nodes.at(link.second)->amf->deliver(AmfId(link.first), std::move(letter.message));
}

inline bool World::step() {
    ++steps_;
    if (executor.run_one()) return true;
    std::vector<std::pair<std::uint16_t, std::uint16_t>> links;
    for (const auto& [link, letters] : links_) {
        if (!letters.empty() && !slow.contains(link)) links.push_back(link);
    }
    std::vector<std::size_t> commands;
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        const bool data = commands_[i].op->offset >= config.data_start;
        if (!data || (!hold_data && !held.contains(commands_[i].disk))) commands.push_back(i);
    }
    const std::size_t choices = links.size() + commands.size();
    if (choices == 0) {
        --steps_;
        return false;
    }
    if (options.seed != 0) {
        const std::size_t choice = prng.below(choices);
        if (choice < links.size()) {
            deliver(links[choice]);
        } else {
            complete(commands[choice - links.size()]);
        }
        return true;
    }
    messages_first_ = !messages_first_;
    if (commands.empty() || (messages_first_ && !links.empty())) {
        deliver(links.front());
    } else {
        complete(commands.front());
    }
    return true;
}

inline std::vector<StripeIndex> World::unclean(std::uint16_t id, std::uint64_t bytes) {
    std::vector<StripeIndex> out;
    for (std::uint64_t at = 0; at < bytes;) {
        const Geometry geometry =
            amf(id).tables().geometry_of(ExtentIndex(static_cast<std::uint32_t>(at / kExtentSize)));
        const StripePlace place = geometry.locate(at);
        const auto verdict = run(id, amf(id).check_stripe(place.stripe, false));
        const bool fine = verdict && (*verdict == StripeVerdict::clean || *verdict == StripeVerdict::absent);
        if (!fine) out.push_back(place.stripe);
        at = geometry.range_of(place.stripe).end();
    }
    return out;
}

}  // namespace braid::testing
