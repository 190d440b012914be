// Rounds: the hosts work, some controllers die together in the middle of it and stay away, the survivors are
// looked at, the dead come back. Or all die and power is lost with them. Many deaths in a short time, each
// with the look that shows what it left.
#include <algorithm>
#include <array>

#include "sim/cluster.h"

namespace braid::sim {

/// The death that ends round 0 is fault 1000, what goes wrong before it 1001, 1002 and so on.
void Cluster::run_rounds() {
    for (unsigned round = 0; round < plan_.rounds && world_.violated().empty(); ++round) {
        gone_ = 0;
        faulty_ = true;
        hosts_->resume();
        Fault& death = new_fault((round + 1) * 1000);
        schedule_fault(death.number + 1);
        kill_soon(death);
        if (!world_.run_until([&] { return !faulty_; }, 30s)) return fail("nobody could be killed for 30 s");
        if (plan_.happens(death.number)) end_round(death);
        if (world_.violated().empty()) wait_until_calm();
    }
}

void Cluster::end_round(Fault& death) {
    if (plan_.power_cuts) return revive_after_power_cut(death);
    // What is late meets what the survivors go on writing.
    const Nanos longer = death.below(death.prng.chance(1, 2) ? 3'000'000 : 60'000'000);
    world_.run_until([] { return false; }, longer);
    // Or they come back while the survivors are still at work.
    const bool early = !resync_needed() && death.prng.chance(1, 2);
    if (!early) look_after_death();
    if (world_.violated().empty()) revive(death);
}

/// When everybody is well; on purpose in the middle of writes, more often than not.
void Cluster::kill_soon(Fault& fault) {
    world_.after(fault.below(120'000'000), [this, &fault] {
        if (!plan_.happens(fault.number)) {
            faulty_ = false;
        } else {
            kill_when_calm(fault);
        }
    });
}

void Cluster::kill_when_calm(Fault& fault) {
    if (!faulty_ || over_) return;
    if (!all_calm()) {
        // Somebody whom the others fenced, because the store was too slow for him.
        revive(fault);
        world_.after(10ms, [this, &fault] { kill_when_calm(fault); });
        return;
    }
    if (plan_.power_cuts) return cut_power(fault);
    kill_prepared(fault, fault.prng.below(nodes_.size()));
    // Something came between: once more.
    world_.after(100ms, [this, &fault] { kill_when_calm(fault); });
}

bool Cluster::all_calm() {
    return deaths_since_calm_ == 0 && std::ranges::all_of(nodes_, [&](Node& n) { return rested(n); });
}

/// The end of a round's faults: this one, and with it those who keep its records, or those before it, or
/// whoever is about to finish its writes.
void Cluster::kill_for_good(Fault& fault, std::size_t index) {
    if (!all_calm()) return;
    faulty_ = false;
    gone_ = plan_.last_deaths;
    const std::size_t step = fault.prng.chance(2, 3) ? 1 : nodes_.size() - 1;
    // A write that two recoverers die of is put into quarantine: one at most.
    const bool recoverers = gone_ == 2 && plan_.dimension > 2 && fault.prng.chance(2, 3);
    const bool at_once = gone_ > 2 || fault.prng.chance(1, 2);
    const auto dies = [this, &fault](Process* process, unsigned which) {
        strikes(fault, Mark::death_in_round, process->pid, which);
        world_.crash(*process);
    };
    if (!recoverers && (at_once || gone_ == 1) && gone_ + 1 == plan_.dimension && gone_ <= 3) {
        constexpr std::array kWhich = {Mark::all_but_one_of_two, Mark::all_but_one_of_three,
                                       Mark::all_but_one_of_four};
        world_.mark(kWhich[gone_ - 1]);
    }
    for (unsigned i = 0; i < gone_; ++i) {
        Process* process = nodes_[(index + i * step) % nodes_.size()].process.get();
        if (i == 0) {
            dies(process, 1);
        } else if (recoverers) {
            world_.after(50us, [this, &fault] { kill_recoverer(fault, 400); });
        } else {
            world_.after(fault.below(at_once ? 1 : 2'000'000), [dies, process, i] { dies(process, i + 1); });
        }
    }
}

void Cluster::kill_recoverer(Fault& fault, int looks) {
    Process* victim = nullptr;
    bool found = false;
    for (Node& node : nodes_) {
        if (!node.running || amf_of(node) == nullptr) continue;
        const bool this_one = recovers(node);
        if (victim == nullptr || this_one) victim = node.process.get();
        found |= this_one;
    }
    if (!found && looks != 0) {
        world_.after(50us, [this, &fault, looks] { kill_recoverer(fault, looks - 1); });
    } else if (victim != nullptr) {
        world_.after(fault.below(1'200'000), [this, &fault, victim, found] {
            if (!victim->alive) return kill_recoverer(fault, 0);
            strikes(fault, found ? Mark::crash_of_recoverer : Mark::death_in_round, victim->pid, 2);
            world_.crash(*victim);
        });
    }
}

/// All die, and what the members had not flushed may be lost.
void Cluster::cut_power(Fault& fault) {
    faulty_ = false;
    strikes(fault, Mark::power_cut);
    hosts_->quiet();
    if (std::ranges::any_of(nodes_, [this](Node& node) { return resyncs(node); }))
        world_.mark(Mark::power_cut_in_resync);
    for (Node& node : nodes_) {
        if (node.process->alive) world_.crash(*node.process);
    }
    // Commands under way reach the caches by then, and nobody runs.
    dark_ = true;
    world_.run_until([] { return false; }, plan_.drain_max + 1ms);
    dark_ = false;
    for (auto& media : media_) media->lose_power();
    hosts_->power_lost();
    while (disks_failed_ < plan_.disk_faults && fault.prng.chance(1, 2)) {
        Media* const media = healthy_disk(fault.prng);
        if (media == nullptr) continue;
        ++disks_failed_;
        media->dead = true;
        strikes(fault, Mark::disk_gone_in_the_dark, media->id());
    }
}

void Cluster::revive(Fault& fault) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (!nodes_[i].running) world_.after(fault.pause(0, 30), [this, i] { start_node(i); });
    }
}

/// Nothing but the intents on the disks tells which stripes are half-written. Whoever comes back first pays
/// for those who stay away.
void Cluster::revive_after_power_cut(Fault& fault) {
    if (nodes_.size() > 1 && fault.prng.chance(1, 3)) {
        const std::size_t first = fault.prng.below(plan_.controllers);
        start_node(first);
        const auto calm = [&] { return settled(nodes_[first]) && jobs_done(); };
        if (!world_.run_until(calm, kJobs, 100us))
            return fail("liveness: one alone does not serve after a power cut");
        look_at_parity("after power was lost, by one alone", first);
        if (!world_.violated().empty()) return;
    }
    revive(fault);
    while (fault.prng.chance(1, 3)) {  // again, while they start or resync
        world_.run_until([] { return false; }, fault.below(300'000'000));
        cut_power(fault);
        revive(fault);
    }
    wait_until_calm();
    if (!world_.violated().empty()) return;
    look_at_parity("after power was lost", 0);
}

void Cluster::wait_until_calm() {
    const auto calm = [&] {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            if (!nodes_[i].running) start_node(i);
        }
        return std::ranges::all_of(nodes_, [&](Node& n) { return settled(n); });
    };
    if (!world_.run_until(calm, 60s, 100us)) return fail("liveness: the dead do not come back in 60 s");
    if (!plan_.power_cuts && !resync_needed()) return;
    if (!world_.run_until([&] { return jobs_done(); }, kJobs, 100us))
        fail("liveness: jobs do not end:" + unfinished());
}

}  // namespace braid::sim
