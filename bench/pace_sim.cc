// How background work gives way to hosts: the step response of src/jobs/pace.h in the simulator. Members do
// one command after the other, so that work stands in the way of hosts; hosts' operations arrive at the rate
// of the time, whoever waits. From --from to --to there is a scrub, and again and again, or a member fails
// and what it held is made anew. Prints a row for each --step: what hosts saw, and how fast the work went,
// without and with a bound.
//
//   pace_sim [--work scrub|rebuild|limp] [--bound 2000] [--min 10] [--hosts 2] [--load
//   0:1000,12:0,18:1000,24:3000]
//            [--priority 9] [--from 2] [--to 30] [--until 30] [--step 1] [--disk 100] [--disk-rate 400]
//            [--extents 32] [--slow 20] [--seed 1]
//   --load: from which second on so many operations of each host per second
//
// With --work limp a member takes --slow times as long meanwhile, and the rows are without and with reads
// around it.
#include <CLI/CLI.hpp>
#include <map>

#include "base/latencies.h"
#include "sim_bench.h"

namespace braid::sim {
namespace {

struct Setup {
    std::string work = "scrub";
    std::uint64_t bound_us = 2000, min_mib = 10;
    std::size_t hosts = 2;  ///< controllers that have one
    std::map<std::uint64_t, std::uint64_t> load = {
        {0, 1000},
        {12, 0},
        {18, 1000},
        {24, 3000}};  ///< operations of each host per second, from a second on
    unsigned priority = 9;
    std::uint64_t from = 2, to = 30, until = 30, step = 1;  ///< seconds
    std::uint64_t disk_us = 100, disk_mib = 400;
    std::uint64_t extents = 32;
    unsigned slow = 20;
    std::uint64_t seed = 1;
    bool limp() const { return work == "limp"; }
};

struct Sample {
    Latencies hosts, reads, writes;
    std::uint64_t bytes = 0;
};

class Bench : SimBench {
public:
    Bench(const Setup& options, bool paced)
        : SimBench("pace_sim", shape(options, paced), options.extents * kExtentSize, options.seed,
                   {.link = 25us, .disk = 20us}),
          options_(options) {
        for (std::uint64_t extent = 0; extent < options_.extents; ++extent) {
            ++open_;
            spawn(0, extent * kExtentSize, true);
            must(world_.run_until([this] { return open_ == 0; }, 10s), "no zone");
        }
        rest(2s);
        world_.knobs.disk_latency_min = world_.knobs.disk_latency_max =
            std::chrono::microseconds(options_.disk_us);
        world_.knobs.disk_rate = options_.disk_mib << 20;
    }

    std::vector<Sample> run() {
        begun_ = world_.now();
        end_ = begun_ + std::chrono::seconds(options_.until);
        rows_.resize(options_.until / options_.step);
        for (std::size_t host = 0; host < options_.hosts; ++host)
            world_.after(Nanos(static_cast<std::int64_t>(host) * 137'000), [this, host] { arrive(host); });
        std::uint64_t before = done();
        bool work_begun = false;
        for (Sample& row : rows_) {
            now_ = &row;
            const Nanos row_end = world_.now() + std::chrono::seconds(options_.step);
            while (world_.now() < row_end) {
                const Nanos since = world_.now() - begun_;
                const bool due = since >= std::chrono::seconds(options_.from);
                if (options_.work == "rebuild" && due && !work_begun) finish(first().fail_disk("d00", false));
                if (options_.work == "scrub")
                    keep_scrubbing(due && since < std::chrono::seconds(options_.to));
                const bool limps = options_.limp() && due && since < std::chrono::seconds(options_.to);
                media_[1]->slow = limps ? options_.slow : 1;
                work_begun |= due;
                rest(std::min(row_end - world_.now(), Nanos(50ms)));
            }
            row.bytes = done() - before;
            before += row.bytes;
        }
        (void)world_.run_until([this] { return open_ == 0; }, 60s);
        return std::move(rows_);
    }

private:
    static Shape shape(const Setup& options, bool paced) {
        Shape out{.ping_timeout = 600s, .intent_idle = 600s};
        out.controllers = 2;
        out.disks = 6;
        out.width = 5;
        out.strip_size = 64u << 10;
        out.spare = options.extents;  // a segment of each extent, and more than that
        out.spare_delay = 1ms;
        if (options.limp() && !paced) out.limping.window = 1h;
        out.host_p99 = paced && !options.limp() ? std::chrono::microseconds(options.bound_us) : Nanos{0};
        out.background_min = options.min_mib << 20;
        return out;
    }

    void keep_scrubbing(bool wanted) {
        const JobRecord* job = nodes_[0].running->amf()->tables().state().active(JobKind::scrub);
        if (wanted && job == nullptr) finish(first().scrub_group({"g", options_.priority, false}));
        if (!wanted && job != nullptr) finish(first().change_job(job->id, JobChange::cancel, false), true);
    }
    /// Bytes that background work has finished, or is at.
    std::uint64_t done() {
        std::uint64_t sum = 0;
        for (Node& node : nodes_) {
            for (const auto& [uuid, group] : node.running->controller.groups()) {
                const PaceReport pace = group->seat(0).report().pace;
                sum += pace.bytes[0] + pace.bytes[1];
            }
        }
        return sum;
    }

    // ---- hosts

    void arrive(std::size_t host) {
        if (world_.now() >= end_) return;
        const auto second = static_cast<std::uint64_t>((world_.now() - begun_) / 1s);
        const auto load = std::prev(options_.load.upper_bound(second));
        const auto again = [this, host] { arrive(host); };
        if (load->second == 0) {
            world_.after(1ms, again);
            return;
        }
        ++open_;
        spawn(host, prng_.below(options_.extents * kExtentSize / kBlockSize) * kBlockSize,
              prng_.chance(3, 10));
        const std::uint64_t mean = 1'000'000'000 / load->second;
        world_.after(Nanos(static_cast<std::int64_t>(prng_.between(mean / 2, mean * 3 / 2))), again);
    }
    void spawn(std::size_t host, std::uint64_t at, bool write) {
        nodes_[host].running->scope.spawn(perform(*this, nodes_[host].port(), at, write));
    }
    static Task<void> perform(Bench& bench, std::shared_ptr<Port> port, std::uint64_t at, bool write) {
        const Buffer data = Buffer::zeroed(kBlockSize);
        const Nanos begun = bench.world_.now();
        const Status status =
            write ? co_await port->write(at, Slice(data), false) : co_await port->read(at, data.span());
        bench.must(status.has_value(), "an operation failed");
        if (bench.now_ != nullptr) {
            bench.now_->hosts.add(bench.world_.now() - begun);
            (write ? bench.now_->writes : bench.now_->reads).add(bench.world_.now() - begun);
        }
        --bench.open_;
    }

    const Setup options_;
    std::vector<Sample> rows_;
    Sample* now_ = nullptr;
    Nanos begun_{}, end_{};
    std::size_t open_ = 0;
};

}  // namespace
}  // namespace braid::sim

int main(int argc, char** argv) {
    using namespace braid;
    using namespace braid::sim;
    Setup o;
    CLI::App app("How background work gives way to hosts, in the simulator.");
    app.add_option("--work", o.work)->check(CLI::IsMember({"scrub", "rebuild", "limp"}));
    app.add_option("--bound", o.bound_us, "microseconds of hosts' p99");
    app.add_option("--min", o.min_mib, "MiB/s of each AMF in any case");
    app.add_option("--hosts", o.hosts, "controllers with a host, of 2")->check(CLI::Range(0, 2));
    app.add_option_function<std::vector<std::string>>(
           "--load",
           [&o](const std::vector<std::string>& steps) {
               o.load = {{0, 0}};
               for (const std::string& step : steps) {
                   const std::size_t colon = step.find(':');
                   if (colon == std::string::npos) throw CLI::ValidationError("--load", step);
                   o.load[std::stoull(step)] = std::stoull(step.substr(colon + 1));
               }
           },
           "second:operations of each host per second from then on, ...")
        ->delimiter(',');
    app.add_option("--priority", o.priority, "of the scrub")->check(CLI::Range(1, 9));
    app.add_option("--from", o.from, "second");
    app.add_option("--to", o.to, "second");
    app.add_option("--until", o.until, "second");
    app.add_option("--step", o.step, "seconds of a row")->check(CLI::Range(1, 60));
    app.add_option("--disk", o.disk_us, "microseconds of each disk command");
    app.add_option("--disk-rate", o.disk_mib, "MiB/s of a disk, on top of that");
    app.add_option("--extents", o.extents, "of the virtual disk")->check(CLI::Range(1, 256));
    app.add_option("--slow", o.slow, "with --work limp: a member takes so many times as long");
    app.add_option("--seed", o.seed);
    CLI11_PARSE(app, argc, argv);
    const std::vector<Sample> off = Bench(o, false).run();
    const std::vector<Sample> on = Bench(o, true).run();
    if (o.limp()) {
        fmt::print(
            "| s | reads p50 us, p99 us | writes p99 us | reads around: p50 us, p99 us | writes p99 us |\n");
        fmt::print("|---|---|---|---|---|\n");
        for (std::size_t i = 0; i < on.size(); ++i) {
            fmt::print("| {}-{}", i * o.step, (i + 1) * o.step);
            for (const Sample& row : {off[i], on[i]}) {
                fmt::print(" | {}, {} | {}", row.reads.quantile(500) / 1us, row.reads.quantile(990) / 1us,
                           row.writes.quantile(990) / 1us);
            }
            fmt::print(" |\n");
        }
        return 0;
    }
    fmt::print(
        "| s | operations/s | p50 us, no bound | p99 us | MiB/s | p50 us, p99 <= {} us | p99 us | MiB/s |\n",
        o.bound_us);
    fmt::print("|---|---|---|---|---|---|---|---|\n");
    const auto micros = [](const Sample& row, unsigned per_mille) {
        return row.hosts.quantile(per_mille) / 1us;
    };
    for (std::size_t i = 0; i < on.size(); ++i) {
        fmt::print("| {}-{} | {} | {} | {} | {} | {} | {} | {} |\n", i * o.step, (i + 1) * o.step,
                   on[i].hosts.count() / o.step, micros(off[i], 500), micros(off[i], 990),
                   (off[i].bytes >> 20) / o.step, micros(on[i], 500), micros(on[i], 990),
                   (on[i].bytes >> 20) / o.step);
    }
}
