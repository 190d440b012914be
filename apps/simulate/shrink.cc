// Every try runs in a process of its own, so that a broken ASSERT or a run without an end is a failure like
// any other. What it tells goes through files in memory.
#include "shrink.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <vector>

namespace braid::sim {
namespace {

using Wall = std::chrono::steady_clock;
constexpr std::string_view kAssert = "broken invariant: ";

struct Verdict {
    std::string failure;  ///< empty: it passed
    std::vector<FaultRecord> faults;
};

std::string content(int file) {
    std::string out;
    std::array<char, 4096> part;
    off_t at = 0;
    for (ssize_t got = 0; (got = ::pread(file, part.data(), part.size(), at)) > 0; at += got)
        out.append(part.data(), static_cast<std::size_t>(got));
    return out;
}

[[noreturn]] void run_child(const Plan& plan, int told, int faults, unsigned cpu_seconds) {
    const rlimit cpu{cpu_seconds, cpu_seconds}, core{0, 0};
    ::setrlimit(RLIMIT_CPU, &cpu);
    ::setrlimit(RLIMIT_CORE, &core);
    for (const int signal : {SIGABRT, SIGSEGV, SIGILL, SIGFPE, SIGBUS}) std::signal(signal, SIG_DFL);
    ::dup2(told, STDOUT_FILENO);
    ::dup2(told, STDERR_FILENO);
    const Outcome outcome = run_plan(plan, false, [faults](const FaultRecord& fault) {
        if (::write(faults, &fault, sizeof fault) != sizeof fault) std::abort();
    });
    if (outcome.failure.empty()) ::_exit(0);
    std::printf("%s\n", outcome.failure.c_str());
    std::fflush(stdout);
    ::_exit(1);
}

/// The failure's words from what the child printed and how it ended.
std::string judge(const std::string& told, int status) {
    if (WIFEXITED(status))
        return WEXITSTATUS(status) == 0 ? std::string{} : told.substr(0, told.find_last_not_of("\n") + 1);
    if (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGXCPU) return "it does not end";
    const std::size_t broken = told.find(kAssert);
    if (broken != std::string::npos) return told.substr(broken, told.find_first_of("|\n", broken) - broken);
    return "signal " + std::to_string(WTERMSIG(status));
}

Verdict attempt(const Plan& plan, unsigned cpu_seconds) {
    const int told = ::memfd_create("told", MFD_CLOEXEC), faults = ::memfd_create("faults", MFD_CLOEXEC);
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) run_child(plan, told, faults, cpu_seconds);
    int status = 0;
    ::waitpid(child, &status, 0);
    Verdict out{judge(content(told), status), {}};
    const std::string bytes = content(faults);
    out.faults.resize(bytes.size() / sizeof(FaultRecord));
    std::copy_n(bytes.data(), out.faults.size() * sizeof(FaultRecord),
                reinterpret_cast<char*>(out.faults.data()));
    ::close(told);
    ::close(faults);
    return out;
}

/// What two failures of one cause have in common: the checker that spoke, or the words without numbers.
std::string kind_of(const std::string& failure) {
    if (failure.starts_with(kAssert)) return failure;
    const std::size_t colon = failure.find(':');
    if (colon != std::string::npos) return failure.substr(0, std::min(colon, failure.find(' ')));
    std::string out;
    for (const char letter : failure) {
        const bool digit = letter >= '0' && letter <= '9';
        if (!digit) out += letter;
    }
    return out;
}

class Shrinker {
public:
    explicit Shrinker(Plan plan) : plan_(std::move(plan)) {}

    bool run() {
        const auto begin = Wall::now();
        found_ = attempt(plan_, 600);
        if (found_.failure.empty()) {
            std::printf("it does not fail\n");
            return false;
        }
        cpu_ = 10 + 3 * static_cast<unsigned>(
                            std::chrono::ceil<std::chrono::seconds>(Wall::now() - begin).count());
        std::printf("fails: %s\n", found_.failure.c_str());
        (void)try_plan(with_only(numbers()), "the faults that struck, by number");
        kinds();
        halves();
        values();
        halves();
        report();
        return true;
    }

private:
    /// Of the faults that struck last time, once each.
    std::set<unsigned> numbers() const {
        std::set<unsigned> out;
        for (const FaultRecord& fault : found_.faults) {
            if (fault.number != 0) out.insert(fault.number);
        }
        return out;
    }
    Plan with_only(std::set<unsigned> only) const {
        Plan plan = plan_;
        plan.only = std::move(only);
        return plan;
    }
    bool try_plan(const Plan& plan, const std::string& what) {
        Verdict verdict = attempt(plan, cpu_);
        ++tries_;
        if (kind_of(verdict.failure) != kind_of(found_.failure)) return false;
        plan_ = plan;
        found_ = std::move(verdict);
        std::printf("try %u: fails with %zu faults: %s\n", tries_, numbers().size(), what.c_str());
        std::fflush(stdout);
        return true;
    }

    /// Without all faults of one kind.
    void kinds() {
        for (std::size_t i = 0; i < kFaultKinds; ++i) {
            std::set<unsigned> rest = numbers();
            const std::size_t before = rest.size();
            for (const FaultRecord& fault : found_.faults) {
                if (fault.kind == static_cast<Mark>(i)) rest.erase(fault.number);
            }
            if (rest.size() != before)
                (void)try_plan(with_only(rest), "without " + std::string(name(static_cast<Mark>(i))));
        }
    }

    /// Delta debugging: without this or that part of the list, in smaller and smaller parts.
    void halves() {
        std::size_t parts = 2;
        for (;;) {
            const std::set<unsigned> all = plan_.only ? *plan_.only : numbers();
            const std::vector<unsigned> list(all.begin(), all.end());
            if (list.empty()) return;
            parts = std::min(parts, list.size());
            bool shorter = false;
            for (std::size_t part = 0; part < parts && !shorter; ++part) {
                const std::size_t from = list.size() * part / parts, to = list.size() * (part + 1) / parts;
                std::set<unsigned> rest(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(from));
                rest.insert(list.begin() + static_cast<std::ptrdiff_t>(to), list.end());
                shorter = try_plan(with_only(rest), "without " + std::to_string(to - from) + " more");
            }
            if (shorter) {
                parts = std::max<std::size_t>(2, parts - 1);
            } else if (parts == list.size()) {
                return;
            } else {
                parts = std::min(2 * parts, list.size());
            }
        }
    }

    /// Less of everything that has a number: nothing of it, or half, and so on towards where it fails.
    void values() {
        for (const Setting& setting : settings()) {
            std::uint64_t lowest = setting.least;
            while (lowest < setting.get(plan_)) {
                const std::uint64_t now = setting.get(plan_);
                const std::uint64_t wish = lowest == setting.least ? lowest : lowest + (now - lowest) / 2;
                Plan plan = plan_;
                setting.set(plan, wish);
                if (!try_plan(plan, std::string(setting.name) + '=' + std::to_string(wish))) {
                    // Too little. Not to the last microsecond.
                    lowest = std::max(wish + 1, wish + (now - wish) / 8);
                    if (now - wish < 2 || (now > 1000 && now - wish < now / 8)) break;
                }
            }
        }
    }

    void report() const {
        std::printf("\n%s\nleft after %u tries:\n", describe(plan_).c_str(), tries_);
        for (const FaultRecord& fault : found_.faults) std::printf("  %s\n", in_words(fault).c_str());
        std::printf("fails: %s\nrepeat: %s\n", found_.failure.c_str(), command_of(plan_).c_str());
    }

    Plan plan_;      ///< the smallest that fails so far
    Verdict found_;  ///< of plan_
    unsigned cpu_ = 0, tries_ = 0;
};

std::string list_of(const std::set<unsigned>& numbers) {
    std::string out;
    for (const unsigned number : numbers) out += (out.empty() ? "" : ",") + std::to_string(number);
    return out.empty() ? "0" : out;  // 0 is nobody's number
}

}  // namespace

std::string command_of(const Plan& plan) {
    std::string out = "simulate --seed " + std::to_string(plan.seed);
    const Plan drawn = draw_plan(plan.seed);
    for (const Setting& setting : settings()) {
        if (setting.get(plan) != setting.get(drawn))
            out += " --set " + std::string(setting.name) + '=' + std::to_string(setting.get(plan));
    }
    if (plan.only) out += " --only " + list_of(*plan.only);
    if (!plan.without.empty()) out += " --without " + list_of(plan.without);
    return out;
}

bool shrink(Plan plan) { return Shrinker(std::move(plan)).run(); }

}  // namespace braid::sim
