#include "report.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

namespace braid::sim {

void Totals::add(const Outcome& outcome) {
    ++seeds;
    failed += outcome.failure.empty() ? 0 : 1;
    events += outcome.events;
    operations += outcome.operations;
    checked += outcome.checked;
    recovered += outcome.recovered;
    virtual_ns += static_cast<std::uint64_t>(outcome.virtual_time.count());
    for (std::size_t i = 0; i < kMarks; ++i) marks[i] += outcome.marks[i];
}

std::size_t Totals::missing() const {
    std::size_t out = 0;
    for (const Count& count : marks) out += count == 0 ? 1 : 0;
    return out;
}

Totals& shared_totals() {
    void* memory = ::mmap(nullptr, sizeof(Totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("simulate: mmap");
        std::exit(2);
    }
    return *new (memory) Totals;
}

void print(const Totals& totals, double seconds, bool at_the_end) {
    const auto number = [](const Totals::Count& count) {
        return static_cast<unsigned long long>(count.load());
    };
    std::string faults, unmet, rare;
    for (std::size_t i = 0; i < kMarks; ++i) {
        const auto mark = static_cast<Mark>(i);
        const std::uint64_t count = totals.marks[i];
        if (count == 0) unmet += (unmet.empty() ? "" : ", ") + std::string(name(mark));
        if (count != 0 && count < 10) {
            rare += (rare.empty() ? "" : ", ") + std::string(name(mark)) + ' ' + std::to_string(count);
        }
        if (count == 0 || !is_fault(mark)) continue;
        faults += (faults.empty() ? "" : ", ") + std::string(name(mark)) + ' ' + std::to_string(count);
    }
    std::printf(
        "%llu seeds, %llu failed, %.2f virtual hours, %llu operations, %llu registers checked, %llu writes "
        "finished for dead controllers, %.0f events/s; faults: %s; marks hit %zu/%zu\n",
        number(totals.seeds), number(totals.failed), static_cast<double>(totals.virtual_ns) / 3.6e12,
        number(totals.operations), number(totals.checked), number(totals.recovered),
        static_cast<double>(totals.events) / seconds, faults.empty() ? "none" : faults.c_str(),
        kMarks - totals.missing(), kMarks);
    if (at_the_end && !rare.empty()) std::printf("hit rarely: %s\n", rare.c_str());
    if (at_the_end && !unmet.empty()) std::printf("not hit: %s\n", unmet.c_str());
    std::fflush(stdout);
}

}  // namespace braid::sim
