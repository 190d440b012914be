// What sharing costs, counted exactly: a cluster in the simulator with links and disks that always take the
// same time, and hosts that work on it as the rows say. Prints messages, packets, bytes and virtual time per
// operation, for one AMF of the group to eight.
//
//   locks_sim [--amfs 1,2,3,4,8] [--per-controller 1] [--granularity stripe] [--coherency arbiter]
//             [--prefetch 32] [--min-hold 0] [--dimension 1] [--cache write-through] [--power-loss resync]
//             [--replication synchronous] [--dirty BYTES] [--dirty-age MS] [--link 25] [--disk 50] [--seed 1]
//             [--only WORD]
//
// `lock msg`: about locks, between AMFs, whatever way they take; `msg`, `packets`, `bytes`: on the links
// between controllers, everything included; `us`: until the host has its answer, in the mean, and what 50 and
// 99 of 100 operations stay below; `lock rtt`: how long it waited for locks, in round trips of a link.
#include <CLI/CLI.hpp>
#include <functional>
#include <numeric>

#include "sim_bench.h"

namespace braid::sim {
namespace {

Nanos link_latency = 25us;  ///< one way
Nanos disk_latency = 50us;

/// What one operation of a host is.
struct Access {
    std::size_t node = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = kBlockSize;
    bool write = true;
    bool fua = false;
    bool flush = false;  ///< after it
};
using Draw = std::function<Access(std::size_t lane, std::size_t turn, Prng& prng)>;

/// Hosts that do something, and the name under which it is printed.
struct Work {
    std::string name;
    Draw draw;
    std::size_t lanes = 1;
    std::size_t turns = 200;  ///< of each lane, counted
    std::size_t warm_up = 0;  ///< turns before that
    std::size_t per = 1;      ///< operations that the figures are of
    std::optional<unsigned> prefetch{};
};

struct Counts {
    std::uint64_t lock_messages = 0, messages = 0, packets = 0, bytes = 0, lock_wait_ns = 0;

    Counts operator-(const Counts& before) const {
        return {lock_messages - before.lock_messages, messages - before.messages, packets - before.packets,
                bytes - before.bytes, lock_wait_ns - before.lock_wait_ns};
    }
};

class Bench : SimBench {
public:
    Bench(Shape shape, std::uint64_t seed)
        : SimBench("locks_sim", std::move(shape), kVolumeSize, seed,
                   {.link = link_latency, .disk = disk_latency}) {
        for (const std::uint64_t extent : {1u, 2u, 3u}) {  // so that no row pays for a zone
            const std::uint64_t at = extent * kExtentSize - 8 * kBlockSize;
            one(Access{0, at});
        }
        rest(kRest);
    }

    void print(const Work& work) {
        std::size_t turns = work.warm_up;
        if (turns != 0) run(work, 0, turns);
        rest(kRest);
        const Counts before = counts();
        times_.clear();
        run(work, turns, work.turns);
        rest(kRest);
        const Counts c = counts() - before;
        const double operations =
            static_cast<double>(work.lanes * work.turns) / static_cast<double>(work.per);
        const auto each = [&](std::uint64_t count) { return static_cast<double>(count) / operations; };
        std::ranges::sort(times_);
        const Nanos sum = std::reduce(times_.begin(), times_.end());
        const auto below = [&](double share) {
            const auto at = static_cast<std::size_t>(share * static_cast<double>(times_.size()));
            return static_cast<double>(times_[std::min(at, times_.size() - 1)].count()) / 1e3;
        };
        const std::string gathered =
            c.packets == 0
                ? "-"
                : fmt::format("{:.2f}", static_cast<double>(c.messages) / static_cast<double>(c.packets));
        fmt::print(
            "| {:<44} | {:>4} | {:>8.2f} | {:>7.2f} | {:>7.2f} | {:>10} | {:>9.0f} | {:>8.1f} | {:>8.1f} | "
            "{:>8.1f} "
            "| {:>8.2f} |\n",
            work.name, shape_.controllers * shape_.sharing.amfs, each(c.lock_messages), each(c.messages),
            each(c.packets), gathered, each(c.bytes), each(static_cast<std::uint64_t>(sum.count())) / 1e3,
            below(0.5), below(0.99), each(c.lock_wait_ns) / static_cast<double>((2 * link_latency).count()));
    }

private:
    /// What follows an operation without its host waiting for it has happened too.
    static constexpr Nanos kRest = 20ms;

    Counts counts() {
        Counts out;
        for (Node& node : nodes_) {
            for (const auto& [peer, link] : node.running->controller.icl().counters()) {
                out.messages += link.sent.all_messages();
                out.packets += link.sent.packets;
                out.bytes += link.sent.bytes;
            }
            const LockCounters& locks = node.running->amf()->locks().counters();
            for (const std::uint64_t n : locks.messages) out.lock_messages += n;
            out.lock_wait_ns += locks.wait_ns;
        }
        return out;
    }

    // ---- operations

    /// All lanes at once, each one operation after the other.
    void run(const Work& work, std::size_t from, std::size_t turns) {
        open_ = work.lanes;
        for (std::size_t lane = 0; lane < work.lanes; ++lane) next(work, lane, from, from + turns);
        must(world_.run_until([this] { return open_ == 0; }, 600s), work.name);
    }
    void next(const Work& work, std::size_t lane, std::size_t turn, std::size_t end) {
        if (turn == end) {
            --open_;
            return;
        }
        const Access access = work.draw(lane, turn, prng_);
        Node& node = nodes_[access.node];
        node.running->scope.spawn(perform(*this, node.port(), access, &work, lane, turn, end));
    }
    static Task<void> perform(Bench& bench, std::shared_ptr<Port> port, Access access, const Work* work,
                              std::size_t lane, std::size_t turn, std::size_t end) {
        const Buffer data = Buffer::zeroed(access.length);
        const Nanos begun = bench.world_.now();
        Status status = access.write ? co_await port->write(access.offset, Slice(data), access.fua)
                                     : co_await port->read(access.offset, data.span());
        if (status && access.flush) status = co_await port->flush();
        bench.must(status.has_value(), "an operation failed");
        bench.times_.push_back(bench.world_.now() - begun);
        bench.world_.after(0ns, [&bench, work, lane, turn, end] { bench.next(*work, lane, turn + 1, end); });
    }
    void one(Access access) {
        const Work work{"set up", [access](std::size_t, std::size_t, Prng&) { return access; }};
        run(work, 0, 1);
    }

    std::vector<Nanos> times_;  ///< of each operation
    std::size_t open_ = 0;
};

/// The rows, for a cluster of so many controllers.
std::vector<Work> rows(const Shape& shape) {
    const std::uint64_t stripe = geometry_of(shape).stripe_size();
    const std::size_t nodes = shape.controllers;
    const auto block = [](Prng& prng, std::uint64_t in) { return prng.below(in / kBlockSize) * kBlockSize; };
    std::vector<Work> out;
    const auto add = [&](std::string name, std::size_t lanes, std::size_t warm_up, Draw draw) -> Work& {
        return out.emplace_back(
            Work{.name = std::move(name), .draw = std::move(draw), .lanes = lanes, .warm_up = warm_up});
    };
    add("private stripes, 4K write", nodes, 64, [=](std::size_t lane, std::size_t turn, Prng& prng) {
        return Access{lane, (lane * 16 + turn % 16) * stripe + block(prng, stripe)};
    });
    for (const bool fua : {false, true}) {
        add(fua ? "private stripes, 4K write with FUA" : "private stripes, 4K write, then a flush", nodes, 64,
            [=](std::size_t lane, std::size_t turn, Prng& prng) {
                const std::uint64_t at = (lane * 16 + turn % 16) * stripe + block(prng, stripe);
                return Access{lane, at, kBlockSize, true, fua, !fua};
            });
    }
    add("read sharing, 16 stripes, 4K read", nodes, 64, [=](std::size_t lane, std::size_t turn, Prng& prng) {
        return Access{lane, turn % 16 * stripe + block(prng, stripe), kBlockSize, false};
    });
    for (const std::size_t hot : {1u, 10u, 1000u}) {
        add(fmt::format("write sharing, {} hot stripe{}, 4K write", hot, hot == 1 ? "" : "s"), nodes,
            hot == 1000 ? 400 : 50, [=](std::size_t lane, std::size_t, Prng& prng) {
                return Access{lane, prng.below(hot) * stripe + block(prng, stripe)};
            });
    }
    add("write sharing, 10 hot stripes, depth 32 each", nodes * 32, 4,
        [=](std::size_t lane, std::size_t, Prng& prng) {
            return Access{lane % nodes, prng.below(10) * stripe + block(prng, stripe)};
        })
        .turns = 25;
    add("random write, 1000 stripes, depth 32 each", nodes * 32, 20,
        [=](std::size_t lane, std::size_t, Prng& prng) {
            return Access{lane % nodes, prng.below(1000) * stripe + block(prng, stripe)};
        })
        .turns = 25;
    // So many turns that with write-back as much is destaged as is written.
    for (const std::size_t depth : {1u, 32u}) {
        Work& all = add(fmt::format("private 160 MiB, 4K write, depth {} each", depth), nodes * depth,
                        64'000 / depth, [=](std::size_t lane, std::size_t, Prng& prng) {
                            const std::uint64_t own = (std::uint64_t{160} << 20) / nodes / stripe * stripe;
                            return Access{lane % nodes, lane % nodes * own + block(prng, own)};
                        });
        all.turns = 32'000 / depth;
    }
    // 16 units with arbiters of all kinds, and each is found with the other one of two AMFs.
    add("handover of an idle unit, 4K write", 1, 32, [=](std::size_t, std::size_t turn, Prng& prng) {
        const std::size_t node = turn / 16 % std::min<std::size_t>(nodes, 2);
        return Access{node, turn % 16 * kNeighbourhoodUnits * stripe + block(prng, stripe)};
    });
    add("cold random write, 4K", 1, 0, [=](std::size_t, std::size_t turn, Prng& prng) {
        return Access{nodes - 1, kExtentSize + turn * 5 * stripe + block(prng, stripe)};
    });
    for (const bool write : {false, true}) {
        for (const unsigned prefetch : {0u, unsigned{shape.sharing.prefetch}}) {
            Work& work = add(
                fmt::format("cold sequential {}, prefetch {}, per MiB", write ? "write" : "read", prefetch),
                1, 0, [=](std::size_t, std::size_t turn, Prng&) {
                    return Access{0, 2 * kExtentSize + turn * (64u << 10), 64u << 10, write};
                });
            work.turns = 16 * 16;
            work.per = 16;
            work.prefetch = prefetch;
        }
    }
    // One stripe, and everybody has blocks of it to himself.
    add("false sharing, 4K write", nodes, 20,
        [](std::size_t lane, std::size_t, Prng&) { return Access{lane, lane * kBlockSize}; });
    add("false sharing, one writes 4K, the others read", nodes, 20, [](std::size_t lane, std::size_t, Prng&) {
        return Access{lane, lane * kBlockSize, kBlockSize, lane == 0};
    });
    add("false sharing, half of them writes, half reads", nodes, 20,
        [](std::size_t lane, std::size_t turn, Prng&) {
            return Access{lane, lane * kBlockSize, kBlockSize, (lane + turn) % 2 == 0};
        });
    return out;
}

}  // namespace
}  // namespace braid::sim

int main(int argc, char** argv) {
    using namespace braid;
    using namespace braid::sim;
    CLI::App app("Exact costs of sharing, in the simulator.");
    std::vector<std::size_t> amfs{1, 2, 3, 4, 8};
    std::size_t per_controller = 1;
    std::string coherency = "arbiter", granularity = "stripe", cache = "write-through", power_loss = "resync",
                replication = "synchronous", only;
    std::uint64_t min_hold_us = 0, disk_us = 50, link_us = 25, seed = 1;
    std::int64_t dirty_age_ms = AmfOptions{}.dirty_age / 1ms;
    Shape shape{.ping_timeout = 600s,
                .intent_idle = 600s,
                .dirty = AmfOptions{}.dirty,
                .copy_window = AmfOptions{}.copy_window};
    shape.dimension = 1;
    shape.spare = 512;  // disks of some GB, so that journals have room as on real ones
    app.add_option("--amfs", amfs, "of the group, in all")->delimiter(',');
    app.add_option("--per-controller", per_controller, "AMFs in one controller");
    app.add_option("--granularity", granularity, "what one lock covers: block, blocks:N, stripe, stripes:N");
    app.add_option("--coherency", coherency);
    app.add_option("--prefetch", shape.sharing.prefetch);
    app.add_option("--min-hold", min_hold_us, "microseconds");
    app.add_option("--dimension", shape.dimension, "copies of an update record");
    app.add_option("--cache", cache, "write-through or write-back")
        ->check(CLI::IsMember({"write-through", "write-back"}));
    app.add_option("--passed", shape.passed,
                   "with write-back: dirty bytes that go along with a lock; 0: none");
    app.add_option("--power-loss", power_loss, "journal or resync")
        ->check(CLI::IsMember({"journal", "resync"}));
    app.add_option("--replication", replication, "with write-back: or pseudo-synchronous, asynchronous")
        ->check(CLI::IsMember({"synchronous", "pseudo-synchronous", "asynchronous"}));
    app.add_option("--dirty", shape.dirty, "with write-back: bytes of each AMF");
    app.add_option("--dirty-age", dirty_age_ms, "milliseconds");
    app.add_option("--link", link_us, "microseconds of each message");
    app.add_option("--disk", disk_us, "microseconds of each disk command");
    app.add_option("--seed", seed);
    app.add_option("--only", only, "rows whose name has this in it");
    CLI11_PARSE(app, argc, argv);
    const auto locks = parse_granularity(granularity);
    if (!locks) {
        fmt::print(stderr, "locks_sim: --granularity is block, blocks:N, stripe or stripes:N\n");
        return 2;
    }
    shape.sharing.granularity = *locks;
    shape.sharing.coherency = *parse_coherency(coherency);
    shape.sharing.min_hold = std::chrono::microseconds(min_hold_us);
    shape.sharing.write_cache = *parse_write_cache(cache);
    shape.sharing.replication = *parse_replication(replication);
    shape.power_loss = *parse_power_loss(power_loss);
    shape.dirty_age = std::chrono::milliseconds(dirty_age_ms);
    link_latency = std::chrono::microseconds(link_us);
    disk_latency = std::chrono::microseconds(disk_us);
    shape.sharing.amfs = static_cast<std::uint8_t>(per_controller);
    fmt::print(
        "| {:<44} | AMFs | lock msg | msg     | packets | msg/packet | bytes     | us       | p50      | p99 "
        "     "
        "| lock rtt |\n",
        coherency);
    fmt::print(
        "|{:-<46}|-----:|---------:|--------:|--------:|-----------:|----------:|---------:|---------:|------"
        "---:"
        "|---------:|\n",
        "");
    Shape any = shape;
    for (std::size_t row = 0; row < rows(any).size(); ++row) {
        for (const std::size_t n : amfs) {
            shape.controllers = (n + per_controller - 1) / per_controller;
            const Work work = rows(shape)[row];
            if (work.name.find(only) == std::string::npos) continue;
            Shape here = shape;
            if (work.prefetch) here.sharing.prefetch = static_cast<std::uint8_t>(*work.prefetch);
            Bench(here, seed).print(work);
        }
    }
}
