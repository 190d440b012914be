// What is looked at while a cluster runs: locks by eye, and which situations the run has met. All from
// outside: counters, conditions, the record of members.
#include <algorithm>

#include "sim/checkers/cache_coherence.h"
#include "sim/cluster.h"

namespace braid::sim {
namespace {

/// Of all controllers and hosts together: what hosts may have in flight, with its parity and its copies, is a
/// fifth of it.
constexpr std::size_t kMemory = 256u << 20;

}  // namespace

/// Looks at the living every so often; checks that nobody shares a lock with a writer or remembers what is
/// old.
void Cluster::watch() {
    // The members see who is in whose way at any time; locks are looked at now and then.
    const bool look = ++looks_ % (faulty_ ? 5 : 50) == 0;
    const std::size_t bytes = Buffer::bytes_in_use();
    if (bytes > kMemory && bytes - std::min(bytes, hosts_->remembered()) > kMemory)
        fail("memory: " + std::to_string(bytes >> 20) + " MiB of buffers");
    locks_.begin();
    for (Node& node : nodes_) {
        const std::vector<Amf*> amfs = amfs_of(node);
        if (!amfs.empty() && amfs.front()->conditions().offline) world_.mark(Mark::group_left);
        if (!works(node)) {
            node.serving_since = Nanos{0};
            continue;
        }
        if (node.serving_since == Nanos{0}) node.serving_since = world_.now();
        count_work(node);
        check_resynced(node);
        for (Amf* amf : amfs) {
            if (amf->conditions().copying_records != 0) world_.mark(Mark::late_copies);
            const std::string wrong = look ? locks_.add(name_of(node, *amf), *amf) : std::string{};
            if (!wrong.empty()) fail("single writer: " + wrong);
            if (!look || node.process->left_view) continue;
            const std::string old = check_cache(*amf, by_member(amf->tables().config(), media_));
            if (!old.empty()) fail("cache of " + name_of(node, *amf) + ": " + old);
        }
    }
    const auto calm = [&](Node& node) { return !node.running || settled(node); };
    if (std::ranges::all_of(nodes_, calm)) {
        deaths_since_calm_ = 0;
        for (Node& node : nodes_) deaths_since_calm_ += rested(node) ? 0 : 1;
    }
    if (!over_) world_.after(10ms, [this] { watch(); });
}

/// Where a copy of every record has survived, parity is right before anybody resyncs it.
void Cluster::check_resynced(Node& node) {
    std::uint64_t stripes = 0;
    for (const Amf* amf : amfs_of(node)) stripes += amf->counters().resynced;
    if (stripes == 0 || !covered()) return;
    fail("resync: " + node.name + " corrected " + std::to_string(stripes) +
         " stripes although copies of all records survived");
}

namespace {

struct Counted {
    Mark mark;
    std::uint64_t AmfCounters::* counter;
};
constexpr std::array kCounted = {
    Counted{Mark::recovery_with_redo, &AmfCounters::recovered_redo},
    Counted{Mark::recovery_with_data, &AmfCounters::recovered_data},
    Counted{Mark::resync_corrected, &AmfCounters::resynced},
    Counted{Mark::forward_done_before, &AmfCounters::done_before},
    Counted{Mark::read_regenerated, &AmfCounters::regenerated},
    Counted{Mark::read_around, &AmfCounters::read_around},
    Counted{Mark::read_whole_stripe, &AmfCounters::whole_stripe_reads},
    Counted{Mark::lock_blocks_kept, &AmfCounters::blocks_kept},
    Counted{Mark::block_repaired, &AmfCounters::repaired},
    Counted{Mark::member_error, &AmfCounters::member_errors},
    Counted{Mark::row_moved, &AmfCounters::moved_rows},
    Counted{Mark::extent_released, &AmfCounters::released_extents},
    Counted{Mark::extent_added_up, &AmfCounters::added_up_extents},
    Counted{Mark::trims_not_zeros, &AmfCounters::trims_not_zeros},
    Counted{Mark::extent_kept, &AmfCounters::kept_extents},
    Counted{Mark::extent_shaped, &AmfCounters::shaped_extents},
    Counted{Mark::extent_reshaped, &AmfCounters::reshaped_extents},
    Counted{Mark::cut_anew, &AmfCounters::cut_anew},
    Counted{Mark::cache_local, &AmfCounters::cached_reads},
    Counted{Mark::cache_peer, &AmfCounters::peer_reads},
    Counted{Mark::cache_without_lease, &AmfCounters::reads_without_lease},
    Counted{Mark::dirty_write, &AmfCounters::dirty_writes},
    Counted{Mark::dirty_waits, &AmfCounters::dirty_waits},
    Counted{Mark::destage_full, &AmfCounters::destaged_full},
    Counted{Mark::destage_partial, &AmfCounters::destaged_partial},
    Counted{Mark::destage_recalled, &AmfCounters::destages_recalled},
    Counted{Mark::dirty_passed, &AmfCounters::passed_on},
    Counted{Mark::dirty_asked_again, &AmfCounters::flushes_again},
    Counted{Mark::flush_by_append, &AmfCounters::flushed_by_append},
    Counted{Mark::checksum_in_read, &AmfCounters::rotten_reads},
    Counted{Mark::checksum_in_update, &AmfCounters::rotten_updates},
    Counted{Mark::checksum_in_check, &AmfCounters::rotten_checks},
    Counted{Mark::checksum_copies, &AmfCounters::checksum_repairs},
    Counted{Mark::early_answer, &AmfCounters::early_answers},
};
struct CountedPath {
    WritePath path;
    Mark mark;
};
constexpr std::array kCountedPaths = {
    CountedPath{WritePath::full, Mark::write_full},
    CountedPath{WritePath::rmw, Mark::write_rmw},
    CountedPath{WritePath::rcw, Mark::write_rcw},
    CountedPath{WritePath::degraded, Mark::write_regenerating},
};
struct CountedLock {
    Mark mark;
    std::uint64_t LockCounters::* counter;
};
constexpr std::array kCountedLocks = {
    CountedLock{Mark::lock_claimed, &LockCounters::recoveries},
    CountedLock{Mark::lock_wait_ended, &LockCounters::cancelled},
};

}  // namespace

/// Adds what the node's AMFs have done since the last look to the marks.
void Cluster::count_work(Node& node) {
    count_forwarded(node);
    const std::vector<Amf*> amfs = amfs_of(node);
    for (std::size_t i = 0; i < amfs.size(); ++i) count_work(*amfs[i], node.counted[i]);
}

void Cluster::count_work(Amf& amf, Node::Counted& before) {
    const AmfCounters& now = amf.counters();
    const LockCounters& locks = amf.locks().counters();
    if (now.writes < before.work.writes || now.reads < before.work.reads) before = {};  // another one
    const bool degraded = amf.conditions().failed_members != 0;
    for (const Counted& at : kCounted) world_.mark(at.mark, now.*at.counter - before.work.*at.counter);
    for (const CountedLock& at : kCountedLocks)
        world_.mark(at.mark, locks.*at.counter - before.locks.*at.counter);
    world_.mark(Mark::lock_revoked,
                locks.sent(MessageType::lock_revoke) - before.locks.sent(MessageType::lock_revoke));
    for (const CountedPath& at : kCountedPaths) {
        const auto path = static_cast<std::size_t>(at.path);
        const std::uint64_t written = now.stripe_writes[path] - before.work.stripe_writes[path];
        world_.mark(at.mark, written);
        if (degraded && before.degraded && at.path == WritePath::full)
            world_.mark(Mark::write_full_degraded, written);
    }
    before = {now, locks, degraded};
}

void Cluster::count_forwarded(Node& node) {
    if (!node.running) return;
    ForwardCounters now;
    for (const auto& group : node.running->controller.forwarder().groups()) now += group.counters;
    world_.mark(Mark::forward_asked_again, now.asked_again - node.forwarded.asked_again);
    world_.mark(Mark::forward_moved, now.moved - node.forwarded.moved);
    node.forwarded = now;
}

/// It dies now; what it was at is still there to see.
void Cluster::count_death(Node& node) {
    if (record_.holder == node.process->pid) world_.mark(Mark::death_with_store_lock);
    count_work(node);
    if (outside(node)) {
        // Nothing of a stripe is its own.
    } else if (amf_of(node) == nullptr) {
        world_.mark(Mark::death_while_joining);
    } else {
        check_resynced(node);
        if (recovers(node)) world_.mark(Mark::recovery_of_recoverer);
        if (live_records(node) != 0) world_.mark(Mark::death_with_records);
        if (resyncs(node)) world_.mark(Mark::death_in_resync);
        if (amf_of(node)->tables().state().active(JobKind::scrub) != nullptr)
            world_.mark(Mark::death_in_scrub);
    }
    node.counted = {};
    node.forwarded = {};
}

bool Cluster::resyncs(Node& node) {
    if (!node.running) return false;
    return std::ranges::any_of(node.running->controller.jobs(), [](const JobInfo& job) {
        return job.kind == "resync" && is_active(job.state);
    });
}

/// The record of members names a new view. Who has not even the one before?
void Cluster::count_view(Epoch before) {
    for (Node& node : nodes_) {
        if (!node.running || node.running->controller.view().members.empty()) continue;
        if (node.running->controller.view().epoch < before) return world_.mark(Mark::view_in_view);
    }
}

}  // namespace braid::sim
