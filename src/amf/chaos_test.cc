// Several AMFs, hosts that write overlapping stripes through all of them, links and disks that take turns by
// chance, controllers that die and come back. Each host owns some blocks and knows what they may hold.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::size_t kBlocks = 6;  // of one host
constexpr std::size_t kHosts = 10;
constexpr std::size_t kSpan = kBlocks * kBlockSize;

struct Host {
    std::uint64_t base = 0;
    std::vector<std::vector<Buffer>> possible;  ///< by block
    std::uint16_t node = 0;                     ///< 0: idle
    bool writing = false;
    std::uint64_t at = 0;
    Buffer memory;
    std::optional<Status> result;
    std::uint64_t finished = 0;

    bool known() const {
        return std::ranges::all_of(possible, [](const auto& p) { return p.size() == 1; });
    }
};

class Chaos {
public:
    Chaos(std::uint64_t seed, WorldOptions options, std::size_t disk_deaths)
        : prng_(seed), world_((options.seed = seed, options)), disk_deaths_(disk_deaths) {
        world_.dead_disks_answer = true;
        for (std::uint16_t id = 1; id <= 3; ++id) world_.start(id);
        for (std::size_t i = 0; i < kHosts; ++i) {
            hosts_[i].base = i * kSpan;
            hosts_[i].possible.assign(kBlocks, {Buffer::zeroed(kBlockSize)});
        }
    }

    void go(std::size_t turns) {
        for (std::size_t turn = 0; turn < turns && !::testing::Test::HasFatalFailure(); ++turn) {
            for (Host& host : hosts_) {
                if (host.node == 0 && prng_.chance(1, 3)) begin(host);
            }
            for (std::uint64_t i = prng_.below(12); i > 0; --i) {
                if (!world_.step()) world_.clock.advance(world_.clock.now() + 100ms);
            }
            for (Host& host : hosts_) collect(host);
            if (prng_.chance(1, 60)) fault();
        }
        finish();
    }

    std::uint64_t finished() const {
        std::uint64_t sum = 0;
        for (const Host& host : hosts_) sum += host.finished;
        return sum;
    }
    std::uint64_t kills() const { return kills_; }
    std::uint64_t leaves() const { return leaves_; }

private:
    std::uint16_t any_node() {
        auto at = world_.nodes.begin();
        std::advance(at, prng_.below(world_.nodes.size()));
        return at->first;
    }

    void begin(Host& host) {
        host.node = any_node();
        host.result.reset();
        host.writing = host.known() && prng_.chance(2, 3);
        Amf& amf = world_.amf(host.node);
        if (!host.writing) {
            host.at = 0;
            host.memory = Buffer(kSpan);
            world_.node(host.node).scope->spawn(
                World::keep(amf.read(host.base, host.memory.span()), host.result));
            return;
        }
        host.at = prng_.below(kSpan / 512) * 512;
        const std::size_t size = std::min<std::size_t>(prng_.between(1, 20) * 512, kSpan - host.at);
        host.memory = pattern(prng_.next(), size);
        for (std::size_t b = 0; b < kBlocks; ++b) {
            Buffer next = Buffer::copy_of(host.possible[b].front().span());
            const std::uint64_t from = std::max<std::uint64_t>(host.at, b * kBlockSize);
            const std::uint64_t to = std::min<std::uint64_t>(host.at + size, (b + 1) * kBlockSize);
            if (from >= to) continue;
            std::memcpy(next.data() + (from - b * kBlockSize), host.memory.data() + (from - host.at),
                        to - from);
            host.possible[b].push_back(next);
        }
        world_.node(host.node).scope->spawn(
            World::keep(amf.write(host.base + host.at, Slice(host.memory), false), host.result));
    }

    void collect(Host& host) {
        if (host.node == 0 || !host.result) return;
        host.node = 0;
        // Through a controller that leaves: like one that died, the write may be there or not.
        if (!*host.result && leaving_) return;
        ASSERT_TRUE(host.result->has_value()) << to_string(host.result->error().code);
        ++host.finished;
        if (host.writing) {
            for (auto& p : host.possible) p.erase(p.begin(), p.end() - 1);
            return;
        }
        judge(host, host.memory);
    }

    void judge(Host& host, const Buffer& seen) {
        for (std::size_t b = 0; b < kBlocks; ++b) {
            const auto block = seen.span(b * kBlockSize, kBlockSize);
            const auto is = [&](const Buffer& p) {
                return std::memcmp(p.data(), block.data(), kBlockSize) == 0;
            };
            ASSERT_TRUE(std::ranges::any_of(host.possible[b], is))
                << "host at " << host.base << " block " << b;
            host.possible[b] = {Buffer::copy_of(block)};
        }
    }

    bool calm() {
        return std::ranges::all_of(world_.nodes, [](const auto& n) {
            return n.second->amf->conditions().recovering_units == 0 &&
                   n.second->amf->replicator().store().orphan_stripes().empty() &&
                   n.second->amf->tables().settled();
        });
    }

    void kill_one() {
        const std::uint16_t victim = any_node();
        for (Host& host : hosts_) {
            if (host.node != victim) continue;
            // Its answer may have been given in this very moment.
            collect(host);
            host.node = 0;
        }
        world_.kill(victim, InFlight::mixed);
        ++kills_;
        for (std::uint64_t i = prng_.below(40); i > 0; --i) world_.step();
        world_.adopt();
    }

    /// One controller alone loses its paths, goes offline by its own writes, and leaves.
    void cut_one() {
        const std::uint16_t victim = any_node();
        world_.node(victim).cut.fill(true);
        ++leaves_;
        const Buffer block = pattern(1, kBlockSize);
        const auto offline = [&] { return world_.amf(victim).tables().offline(); };
        while (!offline()) {
            ASSERT_FALSE(world_.write(victim, kHosts * kSpan, block));
            (void)world_.run_until(offline, 10ms);
        }
        // As the ports do: what has come in is answered first.
        leaving_ = true;
        const bool answered = world_.run_until([&] {
            return std::ranges::all_of(
                hosts_, [&](const Host& h) { return h.node != victim || h.result.has_value(); });
        });
        ASSERT_TRUE(answered) << "an operation hangs in a controller that leaves";
        for (Host& host : hosts_) {
            if (host.node == victim) collect(host);
        }
        leaving_ = false;
        world_.leave(victim);
    }

    /// Some blocks of the first disk become unreadable.
    void spoil() {
        testing::Media& media = *world_.media[0];
        const std::uint64_t first = world_.config.data_start / kBlockSize;
        for (auto page = media.pages.lower_bound(first); page != media.pages.end(); ++page) {
            if (prng_.chance(1, 2)) media.bad.insert(page->first);
        }
    }

    void kill_disk() {
        const auto victim = prng_.below(world_.media.size());
        world_.media[victim]->dead = true;
        dead_disks_.insert(victim);
    }

    void fault() {
        if (dead_disks_.size() < disk_deaths_ && prng_.chance(1, 4)) {
            kill_disk();
        } else if (prng_.chance(1, 2)) {
            std::uint16_t id = 1;
            while (world_.alive(id)) ++id;
            if (id <= 5) world_.start(id);
        } else if (disk_deaths_ == 0 && prng_.chance(1, 3)) {
            spoil();
        } else if (calm() && world_.nodes.size() > 2 && prng_.chance(1, 4)) {
            cut_one();
        } else if (calm()) {
            const unsigned together = world_.options.dimension - 1u;
            for (unsigned i = 0; i < together && world_.nodes.size() > 2; ++i) {
                kill_one();
                for (std::uint64_t s = prng_.below(60); s > 0; --s) world_.step();
            }
        } else if (prng_.chance(1, 2)) {
            world_.adopt();  // a link broke and came again
        }
    }

    void finish() {
        if (::testing::Test::HasFatalFailure()) return;
        const bool idle = world_.run_until([&] {
            for (Host& host : hosts_) collect(host);
            return calm() && std::ranges::all_of(hosts_, [](const Host& h) { return h.node == 0; });
        });
        ASSERT_TRUE(idle) << "an operation hangs";
        for (Host& host : hosts_) judge(host, world_.read(any_node(), host.base, kSpan));
        for (auto& media : world_.media) media->bad.clear();
        if (disk_deaths_ == 0) {
            EXPECT_TRUE(world_.unclean(any_node(), kHosts * kSpan).empty()) << "parity is wrong";
        }
        // What is left must give back everything after any further loss that the level survives.
        while (dead_disks_.size() < world_.config.geometry.m) kill_disk();
        for (Host& host : hosts_) judge(host, world_.read(any_node(), host.base, kSpan));
        for (const auto& [id, node] : world_.nodes) {
            world_.run_until([] { return false; }, 50ms);
            EXPECT_EQ(node->amf->replicator().store().bytes(), 0u) << id;
            EXPECT_EQ(node->amf->replicator().live_records(), 0u) << id;
        }
    }

    Prng prng_;
    World world_;
    std::array<Host, kHosts> hosts_;
    std::uint64_t kills_ = 0;
    std::uint64_t leaves_ = 0;
    bool leaving_ = false;
    std::size_t disk_deaths_;
    std::set<std::size_t> dead_disks_;
};

class ChaosSeeds : public ::testing::TestWithParam<int> {};

TEST_P(ChaosSeeds, IsOneDiskWhoeverDies) {
    const int shape = GetParam();
    std::uint64_t kills = 0;
    std::uint64_t leaves = 0;
    std::uint64_t operations = 0;
    for (std::uint64_t seed = 1; seed <= 16; ++seed) {
        SCOPED_TRACE(::testing::Message() << "seed " << seed);
        WorldOptions options{.level = Level::raid5, .disks = 5, .strip_size = 16u << 10};
        if (shape == 1) options.dimension = 3;
        if (shape == 2) options.sharing.granularity.stripes = 4;
        if (shape == 3) options = {.level = Level::raid6, .disks = 8, .strip_size = 4096, .dimension = 3};
        if (shape == 4) options = {.level = Level::raid6, .disks = 6, .strip_size = 8192};
        if (shape == 5) options = {.level = Level::raid7_3, .disks = 8, .strip_size = 4096, .dimension = 3};
        if (shape == 6) options.dimension = 3;
        if (shape == 7) options = {.level = Level::raid6, .disks = 6, .strip_size = 8192};
        if (shape >= 6) options.sharing.granularity.blocks = static_cast<std::uint16_t>(1 + seed % 2);
        const std::size_t disk_deaths = shape == 7                ? 2
                                        : shape < 4 || shape == 6 ? 0
                                                                  : static_cast<std::size_t>(shape - 2);
        options.amf.cache = std::size_t{seed % 3 == 0 ? 0u : seed % 3 == 1 ? 8u : 256u} * kBlockSize;
        Chaos chaos(seed * 101 + static_cast<std::uint64_t>(shape), options, disk_deaths);
        chaos.go(600);
        kills += chaos.kills();
        leaves += chaos.leaves();
        operations += chaos.finished();
        if (HasFatalFailure() || HasNonfatalFailure()) return;
    }
    EXPECT_GT(kills, 12u);
    EXPECT_GT(leaves, 2u);
    EXPECT_GT(operations, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChaosSeeds, ::testing::Range(0, 8));

}  // namespace
}  // namespace braid
