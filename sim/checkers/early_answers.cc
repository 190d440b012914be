#include "sim/checkers/early_answers.h"

#include <algorithm>

namespace braid::sim {

void EarlyAnswers::begins(Answerer who, Sectors sectors, std::uint64_t value, Instant invoked) {
    writes_[who].push_back({value, sectors, invoked});
}

void EarlyAnswers::done(Answerer who, std::uint64_t value, Instant completed, bool durable, OneDisk& disk) {
    const auto all = writes_.find(who);
    if (all == writes_.end()) return;
    const auto write = std::ranges::find(all->second.rbegin(), all->second.rend(), value, &Write::value);
    if (write == all->second.rend()) return;
    write->completed = completed;
    write->durable = durable;
    if (durable || !told_by_the_dead(who, write->invoked)) return;
    write->perhaps_lost = true;
    disk.perhaps_lost(write->sectors, value);
}

/// What a controller outside was told by one of those inside may go with any of them.
void EarlyAnswers::process_died(std::uint64_t pid, Instant now, OneDisk& disk) {
    last_death_ = now;
    for (auto& [who, writes] : writes_) {
        if (who != 0 && pid_of(who) != pid) continue;
        for (Write& write : writes) {
            const bool answered = write.completed != kNever;
            if (!answered || write.durable || write.completed <= last_flush_) continue;
            write.perhaps_lost = true;
            disk.perhaps_lost(write.sectors, write.value);
        }
    }
}

EarlyAnswers::Lost EarlyAnswers::settle(OneDisk& disk) {
    Lost lost;
    for (auto& [who, writes] : writes_) {
        if (who == 0) continue;
        Instant survives = std::numeric_limits<Instant>::min();  // what was answered before this
        for (const Write& write : writes) {
            if (write.invoked <= survives) continue;
            if (write.durable || disk.seen(write.sectors, write.value)) survives = write.invoked;
        }
        std::uint64_t sectors = 0;
        for (Write& write : writes) {
            if (!write.perhaps_lost) continue;
            if (write.completed < survives) {
                write.perhaps_lost = false;
                disk.not_lost(write.sectors, write.value);
            } else if (const std::uint64_t gone = disk.gone(write.sectors, write.value); gone != 0) {
                ++lost.writes;
                sectors += gone;
            }
        }
        lost.sectors = std::max(lost.sectors, sectors);
    }
    return lost;
}

}  // namespace braid::sim
