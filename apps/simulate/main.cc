// Runs the simulator: one seed, a range, or fresh ones for a while. A failure prints the one command that
// repeats it.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>

#include "base/log.h"
#include "sim/cluster.h"
#include "simulate/scenarios.h"

namespace braid::sim {
namespace {

using Wall = std::chrono::steady_clock;

struct Options {
    std::optional<std::uint64_t> seed;
    std::uint64_t first = 1, last = 0;
    bool fresh = false;
    bool twice = false;
    bool trace = false;
    bool log = false;
    bool hunt = false;
    double minutes = 0;
    unsigned jobs = 1;
    std::string failures = "failing-seeds.txt";
};

struct Totals {
    std::uint64_t seeds = 0, failed = 0, events = 0, operations = 0, checked = 0, faults = 0, recovered = 0;
    std::uint64_t virtual_ns = 0;
};

std::uint64_t running_seed = 0;

/// A broken ASSERT ends the process: the seed has to be named all the same.
void name_the_seed(int signal) {
    char text[160];
    const int size = std::snprintf(
        text, sizeof text, "FAILED seed %llu: signal %d\n  repeat: simulate --seed %llu --trace --log\n",
        static_cast<unsigned long long>(running_seed), signal, static_cast<unsigned long long>(running_seed));
    (void)!::write(STDOUT_FILENO, text, static_cast<std::size_t>(size));
    std::signal(signal, SIG_DFL);
    (void)std::raise(signal);
}

/// Prints what is wrong and how to see it again. True if all was well.
bool run_one(std::uint64_t seed, const Options& options, Totals& totals) {
    running_seed = seed;
    const Outcome outcome = run_seed(seed, options.trace);
    ++totals.seeds;
    totals.events += outcome.events;
    totals.operations += outcome.operations;
    totals.checked += outcome.checked;
    totals.faults += outcome.faults;
    totals.recovered += outcome.recovered;
    totals.virtual_ns += static_cast<std::uint64_t>(outcome.virtual_time.count());
    std::string failure = outcome.failure;
    if (failure.empty() && options.twice) {
        const Outcome again = run_seed(seed, false);
        if (again.hash != outcome.hash) failure = "not deterministic: two runs have different traces";
    }
    if (options.seed) {
        std::printf(
            "hash %016llx  events %llu  operations %llu  checked %llu  faults %llu  finished for others %llu "
            " "
            "virtual %.1f s\n",
            static_cast<unsigned long long>(outcome.hash), static_cast<unsigned long long>(outcome.events),
            static_cast<unsigned long long>(outcome.operations),
            static_cast<unsigned long long>(outcome.checked), static_cast<unsigned long long>(outcome.faults),
            static_cast<unsigned long long>(outcome.recovered),
            static_cast<double>(outcome.virtual_time.count()) / 1e9);
    }
    if (failure.empty()) return true;
    ++totals.failed;
    std::printf("FAILED %s\n  %s\n  repeat: simulate --seed %llu --trace --log\n",
                describe(draw_plan(seed)).c_str(), failure.c_str(), static_cast<unsigned long long>(seed));
    std::fflush(stdout);
    std::ofstream(options.failures, std::ios::app) << seed << '\n';
    return false;
}

void progress(const Totals& t, Wall::time_point begin, const char* end) {
    const double seconds = std::chrono::duration<double>(Wall::now() - begin).count();
    std::printf(
        "%llu seeds, %llu failed, %.2f virtual hours, %llu operations, %llu registers checked, %llu faults, "
        "%llu writes finished for dead controllers, %.0f events/s%s",
        static_cast<unsigned long long>(t.seeds), static_cast<unsigned long long>(t.failed),
        static_cast<double>(t.virtual_ns) / 3.6e12, static_cast<unsigned long long>(t.operations),
        static_cast<unsigned long long>(t.checked), static_cast<unsigned long long>(t.faults),
        static_cast<unsigned long long>(t.recovered), static_cast<double>(t.events) / seconds, end);
    std::fflush(stdout);
}

/// The seeds of worker `worker` of `jobs`.
int work(const Options& options, unsigned worker, std::uint64_t base) {
    Totals totals;
    const auto begin = Wall::now();
    auto last = begin;
    const auto over = [&] {
        return options.minutes > 0 &&
               std::chrono::duration<double>(Wall::now() - begin).count() > options.minutes * 60;
    };
    for (std::uint64_t i = worker;; i += options.jobs) {
        const std::uint64_t seed = options.fresh ? base + i : options.first + i;
        if (!options.fresh && seed > options.last) break;
        if (over()) break;
        if (options.hunt) {
            std::printf("begin %llu\n", static_cast<unsigned long long>(seed));
            std::fflush(stdout);
        }
        if (!run_one(seed, options, totals) && options.hunt) break;
        if (Wall::now() - last > std::chrono::seconds(20)) {
            last = Wall::now();
            progress(totals, begin, "\n");
        }
    }
    progress(totals, begin, "\n");
    return totals.failed == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
    Options options;
    ScenarioOptions scenarios;
    std::string range;
    CLI::App app{"Runs simulated clusters and checks the promises on them."};
    app.add_option("--scenario", scenarios.files, "run the scenarios of these files");
    app.add_option("--seed", options.seed, "run this seed alone");
    app.add_option("--seeds", range, "run a range, A..B");
    app.add_flag("--fresh", options.fresh, "run seeds that the clock names, until --minutes are over");
    app.add_option("--minutes", options.minutes, "stop after so long");
    app.add_option("--jobs", options.jobs, "processes")->check(CLI::Range(1u, 64u));
    app.add_flag("--twice", options.twice, "run each seed twice and compare the trace hashes");
    app.add_flag("--trace", options.trace, "print every event that the hash covers");
    app.add_flag("--hunt", options.hunt, "name each seed before it is run, stop at the first that fails");
    app.add_flag("--log", options.log, "print the controllers' logs");
    app.add_option("--failures", options.failures, "file that failing seeds are added to");
    CLI11_PARSE(app, argc, argv);
    set_log_level(LogLevel::error);
    if (options.log) {
        set_log_level(LogLevel::debug);
        set_log_sink([](LogLevel, std::string_view text) {
            std::printf("    log %.*s\n", static_cast<int>(text.size()), text.data());
        });
    }
    if (!range.empty()) {
        unsigned long long first = 0, last = 0;
        if (std::sscanf(range.c_str(), "%llu..%llu", &first, &last) != 2 || last < first) {
            std::fprintf(stderr, "simulate: --seeds %s: expected A..B\n", range.c_str());
            return 2;
        }
        options.first = scenarios.first_seed = first;
        options.last = scenarios.last_seed = last;
    }
    if (!scenarios.files.empty()) {
        if (options.seed) scenarios.first_seed = scenarios.last_seed = *options.seed;
        scenarios.trace = options.trace;
        return run_scenarios(scenarios);
    }
    for (const int signal : {SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGBUS}) std::signal(signal, name_the_seed);
    if (options.seed) {
        std::printf("%s\n", describe(draw_plan(*options.seed)).c_str());
        Totals totals;
        return run_one(*options.seed, options, totals) ? 0 : 1;
    }
    if (range.empty()) {
        options.fresh = true;
        if (options.minutes <= 0) options.minutes = 1;
    }
    const std::uint64_t base = std::random_device{}() * 1'000'000ull;
    if (options.fresh) std::printf("fresh seeds from %llu\n", static_cast<unsigned long long>(base));
    std::fflush(stdout);
    if (options.hunt) return work(options, 0, base);  // limits of this process count
    std::vector<pid_t> children;
    for (unsigned worker = 0; worker < options.jobs; ++worker) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(work(options, worker, base));
        children.push_back(child);
    }
    bool ok = true;
    for (const pid_t child : children) {
        int status = 0;
        ::waitpid(child, &status, 0);
        ok = ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    std::printf("%s\n", ok ? "all seeds passed" : "some seeds FAILED");
    return ok ? 0 : 1;
}

}  // namespace
}  // namespace braid::sim

int main(int argc, char** argv) { return braid::sim::run(argc, argv); }
