// Runs the simulator: one seed, a range, or fresh ones for a while. A failure prints the one command that
// repeats it.
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "report.h"
#include "scenarios.h"
#include "shrink.h"

namespace braid::sim {
namespace {

using Wall = std::chrono::steady_clock;

struct Options {
    std::optional<std::uint64_t> seed;
    std::uint64_t first = 1, last = 0;
    std::vector<std::uint64_t> also;
    std::vector<unsigned> without, only;
    std::vector<std::string> values;
    bool fresh = false;
    bool twice = false;
    bool trace = false;
    bool log = false;
    bool list = false;
    bool hunt = false;
    bool shrink = false;
    bool all_marks = false;
    double minutes = 0;
    unsigned jobs = 1;
    std::string failures = "failing-seeds.txt";
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

/// False: a setting that there is not.
bool set_value(Plan& plan, const std::string& text) {
    const std::size_t equals = text.find('=');
    for (const Setting& setting : settings()) {
        if (equals == std::string::npos || text.substr(0, equals) != setting.name) continue;
        char* end = nullptr;
        const std::uint64_t value = std::strtoull(text.c_str() + equals + 1, &end, 10);
        if (end == text.c_str() + equals + 1 || *end != 0) return false;
        setting.set(plan, value);
        return true;
    }
    return false;
}

std::optional<Plan> plan_of(std::uint64_t seed, const Options& options) {
    Plan plan = draw_plan(seed);
    plan.without = {options.without.begin(), options.without.end()};
    if (!options.only.empty()) plan.only.emplace(options.only.begin(), options.only.end());
    for (const std::string& value : options.values) {
        if (set_value(plan, value)) continue;
        std::string known;
        for (const Setting& setting : settings()) known += ' ' + std::string(setting.name);
        std::fprintf(stderr, "simulate: --set %s: expected NAME=NUMBER, NAME one of:%s\n", value.c_str(),
                     known.c_str());
        return std::nullopt;
    }
    return plan;
}

/// Prints what is wrong and how to see it again. True if all was well.
bool run_one(const Plan& plan, const Options& options, Totals& totals) {
    running_seed = plan.seed;
    FaultSeen seen;
    if (options.list) seen = [](const FaultRecord& fault) { std::printf("  %s\n", in_words(fault).c_str()); };
    Outcome outcome = run_plan(plan, options.trace, std::move(seen));
    if (outcome.failure.empty() && options.twice) {
        const Outcome again = run_plan(plan, false);
        if (again.hash != outcome.hash) outcome.failure = "not deterministic: two runs have different traces";
    }
    totals.add(outcome);
    if (options.seed) {
        std::printf("hash %016llx  %llu events  virtual %.1f s\n",
                    static_cast<unsigned long long>(outcome.hash),
                    static_cast<unsigned long long>(outcome.events),
                    static_cast<double>(outcome.virtual_time.count()) / 1e9);
    }
    if (outcome.failure.empty()) return true;
    const std::string command = command_of(plan);
    std::printf("FAILED %s\n  %s\n  repeat: %s --trace --log\n  fewer faults: %s --shrink\n",
                describe(plan).c_str(), outcome.failure.c_str(), command.c_str(), command.c_str());
    std::fflush(stdout);
    std::ofstream(options.failures, std::ios::app) << plan.seed << '\n';
    return false;
}

double seconds_since(Wall::time_point begin) {
    return std::chrono::duration<double>(Wall::now() - begin).count();
}

/// The one with this number among all that are to be run.
std::optional<std::uint64_t> seed_at(const Options& options, std::uint64_t base, std::uint64_t number) {
    if (options.fresh) return base + number;
    const std::uint64_t in_range = options.last - options.first + 1;
    if (number < in_range) return options.first + number;
    if (number - in_range < options.also.size()) return options.also[number - in_range];
    return std::nullopt;
}

/// The seeds of worker `worker` of `jobs`. True if all passed.
bool work(const Options& options, unsigned worker, std::uint64_t base, Totals& totals) {
    const auto begin = Wall::now();
    bool ok = true;
    for (std::uint64_t i = worker;; i += options.jobs) {
        const auto next = seed_at(options, base, i);
        if (!next) break;
        const std::uint64_t seed = *next;
        if (options.minutes > 0 && seconds_since(begin) > options.minutes * 60) break;
        if (options.hunt) {
            std::printf("begin %llu\n", static_cast<unsigned long long>(seed));
            std::fflush(stdout);
        }
        const auto plan = plan_of(seed, options);
        ok = plan && run_one(*plan, options, totals) && ok;
        if (!ok && options.hunt) break;
    }
    return ok;
}

/// Workers that share the seeds, and one line of progress for all of them.
bool work_together(const Options& options, std::uint64_t base, Totals& totals, Wall::time_point begin) {
    std::set<pid_t> children;
    for (unsigned worker = 0; worker < options.jobs; ++worker) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(work(options, worker, base, totals) ? 0 : 1);
        children.insert(child);
    }
    bool ok = true;
    auto last = begin;
    while (!children.empty()) {
        int status = 0;
        if (const pid_t ended = ::waitpid(-1, &status, WNOHANG); ended > 0) {
            children.erase(ended);
            ok = ok && WIFEXITED(status) && WEXITSTATUS(status) == 0;
            continue;
        }
        ::usleep(50'000);
        if (Wall::now() - last < std::chrono::seconds(20)) continue;
        last = Wall::now();
        print(totals, seconds_since(begin), false);
    }
    return ok;
}

int run_seeds(const Options& options) {
    const std::uint64_t base = std::random_device{}() * 1'000'000ull;
    if (options.fresh) std::printf("fresh seeds from %llu\n", static_cast<unsigned long long>(base));
    std::fflush(stdout);
    Totals& totals = shared_totals();
    const auto begin = Wall::now();
    // A hunt stays in this process: its limits count.
    const bool ok =
        options.hunt ? work(options, 0, base, totals) : work_together(options, base, totals, begin);
    print(totals, seconds_since(begin), true);
    std::printf("%s\n", ok ? "all seeds passed" : "some seeds FAILED");
    if (options.all_marks && totals.missing() != 0) {
        std::printf("some marks were not hit: FAILED\n");
        return 1;
    }
    return ok ? 0 : 1;
}

int run(int argc, char** argv) {
    Options options;
    ScenarioOptions scenarios;
    std::string range;
    CLI::App app{"Runs simulated clusters and checks the promises on them."};
    app.add_option("--scenario", scenarios.files, "run the scenarios of these files");
    app.add_flag("--checksums", scenarios.checksums, "their groups keep checksums of blocks");
    app.add_flag("--broadcast", scenarios.broadcast, "their groups acquire by broadcast");
    app.add_option("--granularity", scenarios.granularity, "what one of their locks covers: block, ...")
        ->check([](const std::string& text) {
            return parse_granularity(text) ? std::string() : "block, blocks:N, stripe, stripes:N";
        });
    app.add_option("--seed", options.seed, "run this seed alone");
    app.add_option("--seeds", range, "run a range, A..B");
    app.add_option("--also", options.also, "further seeds, beside a range")->delimiter(',');
    app.add_flag("--fresh", options.fresh, "run seeds that the clock names, until --minutes are over");
    app.add_option("--minutes", options.minutes, "stop after so long");
    app.add_option("--jobs", options.jobs, "processes")->check(CLI::Range(1u, 64u));
    app.add_flag("--twice", options.twice, "run each seed twice and compare the trace hashes");
    app.add_flag("--trace", options.trace, "print every event that the hash covers");
    app.add_flag("--list", options.list, "print every fault as it strikes");
    app.add_option("--without", options.without, "faults that do not happen, by number")->delimiter(',');
    app.add_option("--only", options.only, "the only faults that happen, by number; 0: none")->delimiter(',');
    app.add_option("--set", options.values, "NAME=NUMBER: a value of the plan instead of the drawn one");
    app.add_flag("--shrink", options.shrink,
                 "look for fewer faults with which the seed fails in the same way");
    app.add_flag("--all-marks", options.all_marks, "fail unless every mark is hit by some seed");
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
        const auto plan = plan_of(*options.seed, options);
        if (!plan) return 2;
        std::printf("%s\n", describe(*plan).c_str());
        if (options.shrink) return shrink(*plan) ? 1 : 0;
        Totals& totals = shared_totals();
        const auto begin = Wall::now();
        const bool ok = run_one(*plan, options, totals);
        print(totals, seconds_since(begin), false);
        return ok ? 0 : 1;
    }
    if (range.empty()) {
        options.fresh = true;
        if (options.minutes <= 0) options.minutes = 1;
    }
    return run_seeds(options);
}

}  // namespace
}  // namespace braid::sim

int main(int argc, char** argv) { return braid::sim::run(argc, argv); }
