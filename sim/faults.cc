// What goes wrong in a simulated cluster, and what befalls its controllers: each fault is one call, drawn by
// chance. How much may be broken at the same time: docs/fault-model.md.
#include <algorithm>
#include <array>

#include "sim/cluster.h"

namespace braid::sim {

// ---- the list

/// Its source depends on the seed and the number alone.
Cluster::Fault& Cluster::new_fault(unsigned number) {
    return faults_.emplace_back(number, Prng(mix64(mix64(plan_.seed) ^ mix64(number + 0xfau))));
}

void Cluster::strikes(const Fault& fault, Mark kind, std::uint64_t a, std::uint64_t b) {
    world_.mark(kind);
    world_.note(name(kind), fault.number, a, b);
    if (seen_) seen_({fault.number, kind, world_.now(), a, b});
}

/// This one and those that follow, one after the other. Those that are left out take their time all the same.
void Cluster::schedule_fault(unsigned number) {
    Fault& fault = new_fault(number);
    world_.after(fault.below(2 * static_cast<std::uint64_t>(plan_.fault_pause.count())),
                 [this, &fault, number] {
                     if (!faulty_) return;
                     if (plan_.happens(number)) one_fault(fault);
                     schedule_fault(number + 1);
                 });
}

/// One of those that the plan allows. A kind that is switched off leaves those faults alone that are of
/// another.
void Cluster::one_fault(Fault& fault) {
    struct Choice {
        unsigned weight;
        bool allowed;
        void (Cluster::*strike)(Fault&);
    };
    const Plan& p = plan_;
    const std::array choices = {
        Choice{8, p.crashes, &Cluster::crash_one},
        Choice{3, p.pauses, &Cluster::pause_one},
        Choice{3, p.cuts, &Cluster::cut_two},
        Choice{3, p.resets, &Cluster::reset_some},
        Choice{3, p.half_open, &Cluster::half_open},
        Choice{3, p.spikes, &Cluster::slow_links},
        Choice{4, p.disk_faults != 0 && !p.swaps, &Cluster::disk_fault},
        Choice{10, p.swaps, &Cluster::swap_disk},
        Choice{2, p.slow_disks, &Cluster::slow_disk},
        Choice{3, p.latent_errors, &Cluster::spoil_blocks},
        Choice{2, p.rot, &Cluster::rot_tables},
        Choice{4, p.path_losses, &Cluster::lose_paths},
        Choice{1, p.cluster_kill, &Cluster::kill_all},
        Choice{2, p.clocks, &Cluster::jump_clock},
        Choice{3, p.stores, &Cluster::trouble_store},
        Choice{1, p.suspends, &Cluster::suspend},
        Choice{p.lies ? 6u : 0u, p.lies, &Cluster::tell_lies},
    };
    unsigned all = 0;
    for (const Choice& choice : choices) all += choice.weight;
    for (int tries = 0; tries < 8; ++tries) {
        std::uint64_t dice = fault.prng.below(all);
        const Choice* choice = choices.data();
        for (; dice >= choice->weight; ++choice) dice -= choice->weight;
        if (choice->allowed) return (this->*choice->strike)(fault);
    }
}

// ---- controllers

void Cluster::kill_node(Fault& fault, std::size_t index, Mark kind) {
    if (plan_.last_deaths != 0) return kill_for_good(fault, index);
    strikes(fault, kind, nodes_[index].process->pid);
    world_.crash(*nodes_[index].process);
    world_.after(fault.prng.chance(1, 4) ? fault.pause(50, 2500) : fault.pause(20, 300),
                 [this, index] { start_node(index); });
}

/// A controller dies and comes back: at any instant, or while it writes.
void Cluster::crash_one(Fault& fault) {
    if (!may_lose_one() || plan_.rounds != 0) return;
    const std::size_t index = random_node(fault.prng, true);
    if (index == nodes_.size()) return;
    kill_prepared(fault, index);
    if (fault.prng.chance(1, 3)) crash_recoverer(fault, 400);
}

/// Its last words may come late or be lost, and a member may fail close to it.
void Cluster::kill_prepared(Fault& fault, std::size_t index) {
    if (fault.prng.chance(1, 5)) {
        kill_node(fault, index, Mark::crash);
    } else {
        // What it tells one of the others, or all, comes late or is lost: records, ends, releases.
        const bool late = fault.prng.chance(3, 4);
        if (late) slow_link(fault, index, 60ms);
        const auto pid = nodes_[index].process->pid;
        world_.after(late ? fault.pause(0, fault.prng.chance(1, 2) ? 5 : 40) : Nanos{0},
                     [this, &fault, index, pid] { crash_in_the_middle(fault, index, pid, 200); });
    }
    // A member that goes at the same time meets the stripes that are being finished.
    if (fault.prng.chance(1, 4)) {
        world_.after(fault.below(3'000'000), [this, &fault] {
            if (faulty_) disk_fault(fault);
        });
    }
}

/// Looks every 20 us for open records, then lets them go on for a moment that ends in any phase of a write.
void Cluster::crash_in_the_middle(Fault& fault, std::size_t index, std::uint64_t pid, int looks) {
    Node& node = nodes_[index];
    if (!faulty_ || node.process->pid != pid || !may_lose_one() || !rested(node)) return;
    if (looks == 0) {
        return kill_node(fault, index, recovers(node) ? Mark::crash_of_recoverer : Mark::crash);
    }
    const bool writes = live_records(node) >= 1 + fault.prng.below(3);
    const std::uint64_t longest = fault.prng.chance(3, 4) ? 700'000 : 6'000'000;
    world_.after(writes ? fault.below(longest) : Nanos{20'000}, [this, &fault, index, pid, looks, writes] {
        crash_in_the_middle(fault, index, pid, writes ? 0 : looks - 1);
    });
}

/// Whoever finishes the writes of a dead controller dies as well, where the copies allow it.
void Cluster::crash_recoverer(Fault& fault, int looks) {
    if (!faulty_ || looks == 0) return;
    for (std::size_t index = 0; index < nodes_.size(); ++index) {
        Node& node = nodes_[index];
        if (!rested(node) || !recovers(node)) continue;
        if (!may_lose_one()) return;
        const auto pid = node.process->pid;
        world_.after(fault.below(1'500'000),
                     [this, &fault, index, pid] { crash_in_the_middle(fault, index, pid, 0); });
        return;
    }
    world_.after(100us, [this, &fault, looks] { crash_recoverer(fault, looks - 1); });
}

/// Somebody will be lost within this time, and nobody can tell yet who.
void Cluster::doom(Nanos length) {
    ++doomed_;
    world_.after(length, [this] { --doomed_; });
}

/// A controller stands still; beyond the ping timeout it is killed.
void Cluster::pause_one(Fault& fault) {
    const bool harmless = fault.prng.chance(1, 2) || !may_lose_one();
    const std::size_t index = random_node(fault.prng, !harmless);
    if (index == nodes_.size()) return;
    Process* process = nodes_[index].process.get();
    const auto timeout_ms = static_cast<std::uint64_t>(plan_.ping_timeout.count() / 1'000'000);
    const std::uint64_t longest = fault.prng.chance(1, 8) ? 30'000 : 3 * timeout_ms;
    const Nanos length = harmless ? fault.pause(1, timeout_ms / 4) : fault.pause(timeout_ms / 2, longest);
    strikes(fault, harmless ? Mark::pause : Mark::long_pause, process->pid, micros(length));
    world_.pause(*process);
    if (!harmless) doom(std::min(length, 3 * plan_.ping_timeout) + 400ms);
    world_.after(length, [this, process] { world_.resume(*process); });
    world_.after(length + 400ms, [this, index] { start_node(index); });
}

/// All stand still and go on together, as when a machine sleeps: nobody is to blame.
void Cluster::suspend(Fault& fault) {
    const Nanos length = fault.prng.chance(1, 4) ? fault.pause(1000, 30'000) : fault.pause(1, 1500);
    strikes(fault, Mark::suspend, micros(length));
    asleep_until_ = std::max(asleep_until_, world_.now() + length);
    for (Node& node : nodes_) {
        if (!node.process->alive) continue;
        world_.pause(*node.process);
        world_.after(length, [this, process = node.process] { world_.resume(*process); });
    }
}

/// The clock of one process jumps forward.
void Cluster::jump_clock(Fault& fault) {
    const std::size_t index = random_node(fault.prng, false);
    if (index == nodes_.size()) return;
    const Nanos by = fault.prng.chance(1, 2) ? fault.pause(1, 100) : fault.pause(100, 5000);
    strikes(fault, Mark::clock_jump, nodes_[index].process->pid, micros(by));
    nodes_[index].process->clock.jump(by);
}

/// One controller alone does not reach its disks, or one of them, for a while: it leaves the group, alive,
/// and comes back.
void Cluster::lose_paths(Fault& fault) {
    if (!may_lose_one()) return;
    const std::size_t index = random_node(fault.prng, true);
    if (index == nodes_.size() || outside(nodes_[index])) return;
    std::shared_ptr<Process> process = nodes_[index].process;
    const Nanos length = fault.pause(5, 3000);
    const bool one = plan_.single_paths && fault.prng.chance(2, 3);
    strikes(fault, one ? Mark::path : Mark::paths, process->pid, micros(length));
    hosts_->excuse(process->pid);
    operator_->excuse(process->pid);
    if (one) {
        process->no_path.set(media_[fault.prng.below(media_.size())]->id());
    } else {
        process->no_path.set();
    }
    process->path_errors = 0;
    ++doomed_;
    give_paths_back(index, process, length);
}

/// A path that was lost for a moment, in which a write failed, is a member that fails writes: there is none
/// of that. Whoever has met an error is out of the group before.
void Cluster::give_paths_back(std::size_t index, std::shared_ptr<Process> process, Nanos after) {
    world_.after(after, [this, index, process] {
        const bool same = nodes_[index].process == process && nodes_[index].running;
        if (faulty_ && same && serving(nodes_[index]) && process->path_errors != 0)
            return give_paths_back(index, process, 10ms);
        process->no_path.reset();
        --doomed_;
    });
}

/// Everybody dies at once.
void Cluster::kill_all(Fault& fault) {
    strikes(fault, Mark::all_die);
    all_die_ = true;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].process->alive) world_.crash(*nodes_[i].process);
        world_.after(fault.pause(100, 1500), [this, i] { start_node(i); });
    }
    all_die_ = false;
    if (plan_.sharing.write_cache != WriteCache::back || plan_.dimension < 2) return;
    hosts_->power_lost();
    hosts_->resume();
}

}  // namespace braid::sim
