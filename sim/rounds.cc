// Rounds: the hosts work, some controllers die together in the middle of it and stay away, the survivors are
// looked at, the dead come back. Or all die and power is lost with them. Many deaths in a short time, each
// with the look that shows what it left.
#include <algorithm>

#include "sim/cluster.h"

namespace braid::sim {

void Cluster::run_rounds() {
    for (unsigned round = 0; round < plan_.rounds && world_.violated().empty(); ++round) {
        gone_ = 0;
        faulty_ = true;
        hosts_->resume();
        schedule_fault();
        kill_soon();
        if (!world_.run_until([&] { return !faulty_; }, 30s)) return fail("nobody could be killed for 30 s");
        if (plan_.power_cuts) {
            revive_after_power_cut();
        } else {
            // What is late meets what the survivors go on writing.
            const auto longer =
                static_cast<std::int64_t>(prng_.below(prng_.chance(1, 2) ? 3'000'000 : 60'000'000));
            world_.run_until([] { return false; }, Nanos(longer));
            const bool early = !resync_needed() && prng_.chance(1, 2);
            if (early) {
                // They come back while the survivors are still at work.
                revive();
            } else {
                look_after_death();
                if (world_.violated().empty()) revive();
            }
        }
        if (world_.violated().empty()) wait_until_calm();
    }
}

/// When everybody is well; on purpose in the middle of writes, more often than not.
void Cluster::kill_soon() {
    world_.after(Nanos(static_cast<std::int64_t>(prng_.below(120'000'000))), [this] { kill_when_calm(); });
}

void Cluster::kill_when_calm() {
    if (!faulty_ || over_) return;
    if (!all_calm()) {
        world_.after(10ms, [this] { kill_when_calm(); });
        return;
    }
    if (plan_.power_cuts) return cut_power();
    kill_prepared(prng_.below(nodes_.size()));
    // Something came between: once more.
    world_.after(100ms, [this] { kill_when_calm(); });
}

bool Cluster::all_calm() {
    return deaths_since_calm_ == 0 && std::ranges::all_of(nodes_, [&](Node& n) { return rested(n); });
}

/// The end of a round's faults: this one, and with it those who keep its records, or those before it, or
/// whoever is about to finish its writes.
void Cluster::kill_for_good(std::size_t index) {
    if (!all_calm()) return;
    faulty_ = false;
    gone_ = plan_.last_deaths;
    const std::size_t step = prng_.chance(2, 3) ? 1 : nodes_.size() - 1;
    // A write that two recoverers die of is put into quarantine: one at most.
    const bool recoverers = gone_ == 2 && plan_.dimension > 2 && prng_.chance(2, 3);
    const bool at_once = gone_ > 2 || prng_.chance(1, 2);
    for (std::size_t i = 0; i < gone_; ++i) {
        Process* process = nodes_[(index + i * step) % nodes_.size()].process.get();
        if (i == 0) {
            world_.crash(*process);
        } else if (recoverers) {
            world_.after(50us, [this] { kill_recoverer(400); });
        } else {
            const auto late = prng_.below(at_once ? 1 : 2'000'000);
            world_.after(Nanos(static_cast<std::int64_t>(late)), [this, process] { world_.crash(*process); });
        }
    }
}

void Cluster::kill_recoverer(int looks) {
    Process* victim = nullptr;
    for (Node& node : nodes_) {
        if (!node.running || amf_of(node) == nullptr) continue;
        if (victim == nullptr || amf_of(node)->conditions().recovering_units != 0)
            victim = node.process.get();
        if (amf_of(node)->conditions().recovering_units != 0) looks = 0;
    }
    if (looks != 0) {
        world_.after(50us, [this, looks] { kill_recoverer(looks - 1); });
    } else if (victim != nullptr) {
        world_.after(Nanos(static_cast<std::int64_t>(prng_.below(1'200'000))), [this, victim] {
            if (!victim->alive) return kill_recoverer(0);
            world_.crash(*victim);
        });
    }
}

/// All die, and what the members had not flushed may be lost.
void Cluster::cut_power() {
    faulty_ = false;
    world_.note("fault.power", 0);
    hosts_->quiet();
    for (Node& node : nodes_) {
        if (node.process->alive) world_.crash(*node.process);
    }
    // Commands under way reach the caches by then, and nobody runs.
    dark_ = true;
    world_.run_until([] { return false; }, plan_.drain_max + 1ms);
    dark_ = false;
    for (auto& media : media_) media->lose_power();
    hosts_->power_lost();
}

void Cluster::revive() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (!nodes_[i].running) world_.after(pause_of(0, 30), [this, i] { start_node(i); });
    }
}

/// Nothing but the intents on the disks tells which stripes are half-written. Whoever comes back first pays
/// for those who stay away.
void Cluster::revive_after_power_cut() {
    if (nodes_.size() > 1 && prng_.chance(1, 3)) {
        const std::size_t first = prng_.below(nodes_.size());
        start_node(first);
        const auto calm = [&] { return settled(nodes_[first]) && jobs_done(); };
        if (!world_.run_until(calm, kJobs, 100us))
            return fail("liveness: one alone does not serve after a power cut");
        look_at_parity("after power was lost, by one alone", first);
        if (!world_.violated().empty()) return;
    }
    revive();
    while (prng_.chance(1, 3)) {  // again, while they start or resync
        world_.run_until([] { return false; }, Nanos(static_cast<std::int64_t>(prng_.below(300'000'000))));
        cut_power();
        revive();
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
