// What goes wrong in a simulated cluster: each fault is one call, drawn by chance. How much may be broken at
// the same time: docs/fault-model.md.
#include <algorithm>

#include "sim/cluster.h"

namespace braid::sim {

Nanos Cluster::pause_of(std::uint64_t low_ms, std::uint64_t high_ms) {
    return Nanos(static_cast<std::int64_t>(prng_.between(low_ms, high_ms) * 1'000'000));
}

void Cluster::schedule_fault() {
    const auto mean = static_cast<std::uint64_t>(plan_.fault_pause.count());
    world_.after(Nanos(static_cast<std::int64_t>(prng_.below(2 * mean))), [this] {
        if (!faulty_) return;
        one_fault();
        schedule_fault();
    });
}

void Cluster::one_fault() {
    ++faults_;
    switch (prng_.below(14)) {
        case 0:
        case 1:
        case 2:
        case 12:
            if (plan_.crashes) crash_one();
            return;
        case 3:
            if (plan_.pauses) pause_one();
            return;
        case 4:
            if (plan_.cuts) cut_two();
            return;
        case 5:
            if (plan_.resets) reset_two();
            // Epochs close together: what was said in one arrives in another.
            while (plan_.resets && prng_.chance(1, 2)) {
                world_.after(Nanos(static_cast<std::int64_t>(prng_.below(5'000'000))),
                             [this] { reset_two(); });
            }
            return;
        case 6:
            if (prng_.chance(1, 2)) disk_fault();
            return;
        case 7: {  // a member limps
            if (!plan_.slow_disks) return;
            Media* media = media_[prng_.below(media_.size())].get();
            media->slow = static_cast<unsigned>(prng_.between(2, 60));
            world_.after(pause_of(10, 800), [media] { media->slow = 1; });
            return;
        }
        case 8:
        case 9:
            if (plan_.latent_errors) spoil_blocks();
            return;
        case 10: {  // the links are slow for a while
            if (!plan_.spikes) return;
            if (prng_.chance(1, 2)) return slow_link(random_node(false), pause_of(20, 500));
            wires_.spike = pause_of(1, 40);
            world_.after(pause_of(20, 500), [this] { wires_.spike = Nanos{0}; });
            return;
        }
        case 11:
            if (plan_.path_losses) lose_paths();
            return;
        default:
            if (plan_.cluster_kill && prng_.chance(1, 3)) kill_all();
            return;
    }
}

// ---- controllers

void Cluster::kill_node(std::size_t index) {
    if (plan_.last_deaths != 0) return kill_for_good(index);
    world_.crash(*nodes_[index].process);
    world_.after(prng_.chance(1, 4) ? pause_of(50, 2500) : pause_of(20, 300),
                 [this, index] { start_node(index); });
}

/// A controller dies and comes back: at any instant, or while it writes.
void Cluster::crash_one() {
    if (!may_lose_one() || plan_.rounds != 0) return;
    const std::size_t index = random_node(true);
    if (index == nodes_.size()) return;
    kill_prepared(index);
    if (prng_.chance(1, 3)) crash_recoverer(400);
}

/// Its last words may come late or be lost, and a member may fail close to it.
void Cluster::kill_prepared(std::size_t index) {
    if (prng_.chance(1, 5)) {
        kill_node(index);
    } else {
        // What it tells one of the others, or all, comes late or is lost: records, ends, releases.
        const bool late = prng_.chance(3, 4);
        if (late) slow_link(index, 60ms);
        const auto pid = nodes_[index].process->pid;
        world_.after(late ? pause_of(0, prng_.chance(1, 2) ? 5 : 40) : Nanos{0},
                     [this, index, pid] { crash_in_the_middle(index, pid, 200); });
    }
    // A member that goes at the same time meets the stripes that are being finished.
    if (prng_.chance(1, 4)) {
        world_.after(Nanos(static_cast<std::int64_t>(prng_.below(3'000'000))), [this] {
            if (faulty_) disk_fault();
        });
    }
}

/// Looks every 20 us for open records, then lets them go on for a moment that ends in any phase of a write.
void Cluster::crash_in_the_middle(std::size_t index, std::uint64_t pid, int looks) {
    Node& node = nodes_[index];
    if (!faulty_ || node.process->pid != pid || !may_lose_one() || !rested(node)) return;
    if (looks == 0) return kill_node(index);
    const bool writes = amf_of(node)->replicator().live_records() >= 1 + prng_.below(3);
    const std::uint64_t longest = prng_.chance(3, 4) ? 700'000 : 6'000'000;
    const auto wait = static_cast<std::int64_t>(writes ? prng_.below(longest) : 20'000);
    world_.after(Nanos(wait), [this, index, pid, looks, writes] {
        crash_in_the_middle(index, pid, writes ? 0 : looks - 1);
    });
}

/// Whoever finishes the writes of a dead controller dies as well, where the copies allow it.
void Cluster::crash_recoverer(int looks) {
    if (!faulty_ || looks == 0) return;
    for (std::size_t index = 0; index < nodes_.size(); ++index) {
        Node& node = nodes_[index];
        if (!rested(node) || amf_of(node)->conditions().recovering_units == 0) continue;
        if (!may_lose_one()) return;
        const auto pid = node.process->pid;
        world_.after(Nanos(static_cast<std::int64_t>(prng_.below(1'500'000))),
                     [this, index, pid] { crash_in_the_middle(index, pid, 0); });
        return;
    }
    world_.after(100us, [this, looks] { crash_recoverer(looks - 1); });
}

/// Somebody will be lost within this time, and nobody can tell yet who.
void Cluster::doom(Nanos length) {
    ++doomed_;
    world_.after(length, [this] { --doomed_; });
}

/// A controller stands still; beyond the ping timeout it is killed.
void Cluster::pause_one() {
    const bool harmless = prng_.chance(1, 2) || !may_lose_one();
    const std::size_t index = random_node(!harmless);
    if (index == nodes_.size()) return;
    Process* process = nodes_[index].process.get();
    const auto timeout_ms = static_cast<std::uint64_t>(plan_.ping_timeout.count() / 1'000'000);
    world_.note("fault.pause", process->pid);
    world_.pause(*process);
    const Nanos length = harmless ? pause_of(1, timeout_ms / 4) : pause_of(timeout_ms / 2, 3 * timeout_ms);
    if (!harmless) doom(length + 400ms);
    world_.after(length, [this, process] { world_.resume(*process); });
    world_.after(length + 400ms, [this, index] { start_node(index); });
}

/// One controller alone does not reach its disks for a while: it leaves the group, alive, and comes back.
void Cluster::lose_paths() {
    if (!may_lose_one()) return;
    const std::size_t index = random_node(true);
    if (index == nodes_.size()) return;
    std::shared_ptr<Process> process = nodes_[index].process;
    world_.note("fault.paths", process->pid);
    hosts_->excuse(process->pid);
    operator_->excuse(process->pid);
    process->no_disks = true;
    const Nanos length = pause_of(5, 3000);
    doom(length);
    world_.after(length, [process] { process->no_disks = false; });
}

/// Everybody dies at once.
void Cluster::kill_all() {
    world_.note("fault.all_die", 0);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].process->alive) world_.crash(*nodes_[i].process);
        world_.after(pause_of(100, 1500), [this, i] { start_node(i); });
    }
}

// ---- links

/// From one controller to another one, or to all.
void Cluster::slow_link(std::size_t index, Nanos length) {
    if (index >= nodes_.size()) return;
    const std::uint64_t from = nodes_[index].process->pid;
    std::size_t other = prng_.below(nodes_.size() + 1);
    // Often one that keeps its records.
    if (Amf* amf = amf_of(nodes_[index]);
        amf != nullptr && !amf->replicator().partners().empty() && prng_.chance(1, 2)) {
        const ControllerId partner = *amf->replicator().partners().begin();
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            Amf* of = amf_of(nodes_[i]);
            if (of != nullptr && of->view().self == partner) other = i;
        }
    }
    const Nanos by = pause_of(1, 40);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (other == nodes_.size() || other == i) wires_.slow[{from, nodes_[i].process->pid}] = by;
    }
    world_.note("fault.slow_link", from, other);
    world_.after(length, [this, from] {
        std::erase_if(wires_.slow, [from](const auto& entry) { return entry.first.first == from; });
    });
}

/// Bytes between two controllers wait, both ways or one way.
void Cluster::cut_two() {
    if (!may_lose_one()) return;
    const std::size_t a = random_node(true), b = random_node(true);
    if (a >= nodes_.size() || b >= nodes_.size() || a == b) return;
    world_.note("fault.cut", nodes_[a].process->pid, nodes_[b].process->pid);
    wires_.cut(nodes_[a].process->pid, nodes_[b].process->pid, prng_.chance(2, 3));
    const Nanos length = pause_of(5, 1500);
    doom(length + 500ms);
    world_.after(length, [this] { wires_.heal(); });
    for (const std::size_t index : {a, b}) {
        world_.after(length + 500ms, [this, index] { start_node(index); });
    }
}

void Cluster::reset_two() {
    const std::size_t a = random_node(false), b = random_node(false);
    if (a >= nodes_.size() || b >= nodes_.size() || a == b) return;
    world_.note("fault.reset", nodes_[a].process->pid, nodes_[b].process->pid);
    wires_.reset(nodes_[a].process->pid, nodes_[b].process->pid);
}

// ---- disks

/// A member that may still go; nothing when as many as the plan allows have gone.
Media* Cluster::healthy_disk() {
    if (disks_failed_ >= plan_.disk_faults) return nullptr;
    Media* media = media_[prng_.below(media_.size())].get();
    const bool healthy =
        !media->dead && !media->fails_writes && media->errors_of_1000 == 0 && !media->declared;
    return healthy ? media : nullptr;
}

/// A member is gone, refuses writes, or fails now and then.
void Cluster::disk_fault() {
    Media* media = healthy_disk();
    if (media == nullptr) return;
    // Some hear late of what is agreed about it.
    if (plan_.spikes || prng_.chance(1, 2)) slow_link(random_node(false), pause_of(5, 60));
    ++disks_failed_;
    switch (prng_.below(3)) {
        case 0:
            media->dead = true;
            break;
        case 1:
            media->fails_writes = true;
            break;
        default:
            media->errors_of_1000 = static_cast<unsigned>(prng_.between(2, 300));
            break;
    }
    world_.note("fault.disk", media->id(), media->errors_of_1000, media->dead ? 1 : 0);
}

/// Blocks of member 0 become unreadable: some anywhere, some where the hosts work.
void Cluster::spoil_blocks() {
    Media& media = *media_[0];
    for (int i = 0; i < 20; ++i) {
        media.bad.insert((8u << 20) / kBlockSize + prng_.below(media.size() / kBlockSize - 4096));
        const auto hot = media.hot_block(prng_);
        if (hot && i < 4) media.bad.insert(*hot);
    }
}

}  // namespace braid::sim
