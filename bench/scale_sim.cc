// How rebuild, expansion and conversion scale with controllers and disks: in the simulator, with disks, links
// and controllers of set speed. A disk does one command after the other; what a controller and its disks
// exchange passes its bus. Prints a row for each number of controllers and disks.
//
//   scale_sim [--work rebuild|expand|widen] [--controllers 1,2,4,8] [--disks 6,12,24,36,60]
//             [--level raid5] [--width 5] [--to-width 6] [--segments 120] [--strip 64]
//             [--disk-rate 200] [--disk 50] [--bus 0] [--link-rate 1250] [--link 25]
//             [--hosts 0] [--bound 0] [--min 10] [--seed 1]
//   rebuild: a disk fails, and what it held is made again on the others
//   expand: of the disks a sixth comes when the others are full, and gets its part
//   widen: all extents get stripes of `--to-width` disks
//
// `s`: from the job's begin to its end; `MB/s`: of all disks but the failed one; `disk`, `AMF`: bytes of the
// busiest one, as a part of the mean. scale_plot.py draws the rows.
#include <CLI/CLI.hpp>
#include <numeric>

#include "base/latencies.h"
#include "sim_bench.h"

namespace braid::sim {
namespace {

struct Setup {
    std::string work = "rebuild", level = "raid5";
    std::vector<std::size_t> controllers = {1, 2, 4, 8}, disks = {6, 12, 24, 36, 60};
    unsigned width = 5, to_width = 6;
    std::uint64_t segments = 120;  ///< of a disk that are in use
    std::uint64_t strip_kib = 64;
    std::uint64_t disk_mb = 200, bus_mb = 0, link_mb = 1250;  ///< 10^6 bytes per second
    std::uint64_t disk_us = 50, link_us = 25;
    std::uint64_t hosts = 0;  ///< operations of each controller per second
    std::uint64_t bound_us = 0, min_mib = 10;
    std::uint64_t seed = 1;
};

struct Figures {
    Nanos took{};
    std::vector<std::uint64_t> disks, amfs;  ///< bytes
    Latencies before, during;
};

class Bench : SimBench {
public:
    Bench(const Setup& setup, std::size_t controllers, std::size_t disks)
        : SimBench("scale_sim", shape(setup, controllers, disks),
                   extents(setup, controllers, disks) * kExtentSize, setup.seed,
                   {.link = std::chrono::microseconds(setup.link_us), .disk = 1us}),
          setup_(setup),
          extents_(extents(setup, controllers, disks)) {
        world_.knobs.zeros_are_free = true;
        for (std::uint64_t extent = 0; extent < extents_;) {
            for (; extent < extents_ && open_ < 64; ++extent) spawn(0, extent * kExtentSize, true);
            must(world_.run_until([this] { return open_ == 0; }, 60s), "no zone");
        }
        rest(2s);
        world_.knobs.disk_latency_min = world_.knobs.disk_latency_max =
            std::chrono::microseconds(setup.disk_us);
        world_.knobs.disk_rate = setup.disk_mb * 1'000'000;
        world_.knobs.bus_rate = setup.bus_mb * 1'000'000;
        world_.knobs.link_rate = setup.link_mb * 1'000'000;
    }

    Figures run() {
        Figures out;
        if (setup_.hosts != 0) {
            for (std::size_t node = 0; node < nodes_.size(); ++node) arrive(node);
            rest(3s);  // what is empty fills
            latencies_ = &out.before;
            rest(3s);
            latencies_ = nullptr;
        }
        const std::vector<std::uint64_t> before = disk_bytes();
        begin();
        const JobKind kind = setup_.work == "widen"    ? JobKind::reshape
                             : setup_.work == "expand" ? JobKind::rebalance
                                                       : JobKind::rebuild;
        const auto active = [&] {
            return nodes_[0].running->amf()->tables().state().active(kind) != nullptr;
        };
        must(world_.run_until(active, 60s), "no job");
        latencies_ = &out.during;
        const Nanos begun = world_.now();
        must(world_.run_until([&] { return !active(); }, 36000s, 100us), "the job does not end");
        out.took = world_.now() - begun;
        latencies_ = nullptr;
        out.disks = disk_bytes();
        for (std::size_t i = 0; i < before.size(); ++i) out.disks[i] -= before[i];
        if (setup_.work == "rebuild") out.disks.erase(out.disks.begin());
        for (Node& node : nodes_) {
            const AmfReport report = report_of(node);
            out.amfs.push_back(report.moved_bytes + report.counters.reshaped_rows);
        }
        ended_ = true;
        (void)world_.run_until([this] { return open_ == 0; }, 60s);
        return out;
    }

private:
    static std::size_t added(const Setup& setup, std::size_t disks) {
        return setup.work == "expand" ? std::max<std::size_t>(disks / 6, 1) : 0;
    }
    static Shape shape(const Setup& setup, std::size_t controllers, std::size_t disks) {
        Shape out{.ping_timeout = 600s, .intent_idle = 600s};
        out.controllers = controllers;
        out.dimension = controllers == 1 ? 1 : out.dimension;
        out.extra_disks = added(setup, disks);
        out.disks = disks - out.extra_disks;
        out.level = setup.level;
        out.width = setup.width;
        out.strip_size = setup.strip_kib << 10;
        const std::uint64_t others = out.disks - 1;  // they take what one had
        out.spare = setup.segments + (setup.segments + others - 1) / others + 4;
        if (setup.work == "widen") out.spare += setup.segments / 2;
        out.spare_delay = 1ms;
        out.host_p99 = std::chrono::microseconds(setup.bound_us);
        out.background_min = setup.min_mib << 20;
        return out;
    }
    static std::uint64_t extents(const Setup& setup, std::size_t controllers, std::size_t disks) {
        const Shape of = shape(setup, controllers, disks);
        return setup.segments * of.disks / geometry_of(of).width();
    }

    void begin() {
        if (setup_.work == "rebuild") return finish(first().fail_disk(disk_name(0), false));
        ExpandGroup request{.name = "g"};
        if (setup_.work == "widen") request.width = setup_.to_width;
        for (std::size_t i = shape_.disks; i < media_.size(); ++i) request.disks.push_back(disk_name(i));
        finish(first().expand_group(std::move(request)));
    }

    static AmfReport report_of(Node& node) {
        return node.running->controller.groups().begin()->second->seat(0).report();
    }
    std::vector<std::uint64_t> disk_bytes() {
        std::vector<std::uint64_t> out(media_.size());
        for (Node& node : nodes_) {
            const AmfReport report = report_of(node);
            for (std::size_t i = 0; i < report.disks.size(); ++i)
                out[i] += report.disks[i].read_bytes() + report.disks[i].written_bytes();
        }
        return out;
    }

    // ---- hosts

    void arrive(std::size_t node) {
        if (ended_) return;
        const std::uint64_t block = prng_.below(extents_ * kExtentSize / kBlockSize);
        spawn(node, block * kBlockSize, prng_.chance(3, 10));
        const std::uint64_t mean = 1'000'000'000 / setup_.hosts;
        world_.after(Nanos(static_cast<std::int64_t>(prng_.between(mean / 2, mean * 3 / 2))),
                     [this, node] { arrive(node); });
    }
    void spawn(std::size_t node, std::uint64_t at, bool write) {
        ++open_;
        nodes_[node].running->scope.spawn(perform(*this, nodes_[node].port(), at, write));
    }
    static Task<void> perform(Bench& bench, std::shared_ptr<Port> port, std::uint64_t at, bool write) {
        const Buffer data = Buffer::zeroed(kBlockSize);
        const Nanos begun = bench.world_.now();
        const Status status =
            write ? co_await port->write(at, Slice(data), false) : co_await port->read(at, data.span());
        bench.must(status.has_value(), "an operation failed");
        if (bench.latencies_ != nullptr) bench.latencies_->add(bench.world_.now() - begun);
        --bench.open_;
    }

    const Setup setup_;
    const std::uint64_t extents_;
    Latencies* latencies_ = nullptr;
    std::size_t open_ = 0;
    bool ended_ = false;
};

double busiest(const std::vector<std::uint64_t>& bytes) {
    const auto sum = std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0});
    if (sum == 0) return 0;
    return static_cast<double>(std::ranges::max(bytes) * bytes.size()) / static_cast<double>(sum);
}

}  // namespace
}  // namespace braid::sim

int main(int argc, char** argv) {
    using namespace braid;
    using namespace braid::sim;
    Setup o;
    CLI::App app("How rebuild and expansion scale with controllers and disks, in the simulator.");
    app.add_option("--work", o.work)->check(CLI::IsMember({"rebuild", "expand", "widen"}));
    app.add_option("--controllers", o.controllers)->delimiter(',')->check(CLI::Range(1, 8));
    app.add_option("--disks", o.disks, "with those that come")->delimiter(',')->check(CLI::Range(3, 64));
    app.add_option("--level", o.level);
    app.add_option("--width", o.width, "of a stripe, parity included");
    app.add_option("--to-width", o.to_width, "of all stripes, afterwards");
    app.add_option("--segments", o.segments, "of each disk, in use");
    app.add_option("--strip", o.strip_kib, "KiB");
    app.add_option("--disk-rate", o.disk_mb, "MB/s of a disk");
    app.add_option("--disk", o.disk_us, "microseconds of each disk command, on top of that");
    app.add_option("--bus", o.bus_mb, "MB/s between a controller and all its disks; 0: no limit");
    app.add_option("--link-rate", o.link_mb, "MB/s that a controller sends to others");
    app.add_option("--link", o.link_us, "microseconds of each message one way, on top of that");
    app.add_option("--hosts", o.hosts, "operations of each controller per second");
    app.add_option("--bound", o.bound_us, "microseconds of hosts' p99; 0: none");
    app.add_option("--min", o.min_mib, "MiB/s of each AMF in any case");
    app.add_option("--seed", o.seed);
    CLI11_PARSE(app, argc, argv);
    std::string label = o.work;
    if (o.bus_mb != 0) label += fmt::format(", bus {} MB/s", o.bus_mb);
    if (o.bound_us != 0) label += fmt::format(", p99 <= {} us", o.bound_us);
    fmt::print("| work | controllers | disks | s | MB/s | disk | AMF |{}\n|---|---|---|---|---|---|---|{}\n",
               o.hosts != 0 ? " p99 us before | during |" : "", o.hosts != 0 ? "---|---|" : "");
    for (const std::size_t disks : o.disks) {
        for (const std::size_t controllers : o.controllers) {
            const Figures f = Bench(o, controllers, disks).run();
            const double seconds = static_cast<double>(f.took.count()) / 1e9;
            const auto bytes = std::accumulate(f.disks.begin(), f.disks.end(), std::uint64_t{0});
            fmt::print("| {} | {} | {} | {:.2f} | {:.0f} | {:.2f} | {:.2f} |", label, controllers, disks,
                       seconds, static_cast<double>(bytes) / 1e6 / seconds, busiest(f.disks),
                       busiest(f.amfs));
            if (o.hosts != 0)
                fmt::print(" {} | {} |", f.before.quantile(990) / 1us, f.during.quantile(990) / 1us);
            fmt::print("\n");
            std::fflush(stdout);
        }
    }
}
