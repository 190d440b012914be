#include "sim/sim_member_store.h"

#include "cluster/record.h"

namespace braid::sim {

SimMemberStore::~SimMemberStore() {
    *here_ = false;
    if (record_.holder == process_.pid) record_.holder = 0;
}

Nanos SimMemberStore::delay(Nanos least) {
    if (record_.slow == Nanos{0}) return least;
    return least + Nanos(static_cast<std::int64_t>(
                       process_.world.prng.below(static_cast<std::uint64_t>(record_.slow.count()))));
}

Task<Result<Bytes>> SimMemberStore::read() {
    co_await sleep_for(process_.clock, delay(5us));
    if (!record_.refuses) co_return record_.bytes;
    if (process_.world.prng.chance(1, 2)) co_return fail(Errc::io_error);
    Bytes spoilt = record_.bytes;
    if (!spoilt.empty()) spoilt[process_.world.prng.below(spoilt.size())] ^= std::byte{0x10};
    co_return spoilt;
}

Task<Status> SimMemberStore::lock() {
    if (record_.slow != Nanos{0}) co_await sleep_for(process_.clock, delay(0us));
    if (record_.refuses) co_return fail(Errc::io_error);
    while (record_.holder != 0) {
        ASSERT(record_.holder != process_.pid);
        co_await sleep_for(process_.clock, 200us);
    }
    record_.holder = process_.pid;
    ++record_.turns;
    co_return Status{};
}

Task<Status> SimMemberStore::write(Bytes bytes) {
    ASSERT(record_.holder == process_.pid);
    co_await sleep_for(process_.clock, delay(20us));
    const bool fails = record_.refuses;
    if (fails && process_.world.prng.chance(1, 2)) co_return fail(Errc::io_error);
    record_.bytes = std::move(bytes);
    note_members();
    process_.world.note("members.write", process_.pid, record_.bytes.size());
    if (fails) co_return fail(Errc::io_error);
    co_return Status{};
}

/// Who was in the view and is not any more must not change a disk from now on.
void SimMemberStore::note_members() {
    const Result<ClusterRecord> record = decode_record(record_.bytes);
    ASSERT(record.has_value());
    std::set<std::uint64_t> now;
    for (const ViewMember& member : record->view.members) now.insert(member.process.pid);
    for (const std::uint64_t pid : record_.members) {
        if (!now.contains(pid)) process_.world.find(pid)->left_view = true;
    }
    record_.members = std::move(now);
    const Epoch before = std::exchange(record_.epoch, record->view.epoch);
    if (record_.replaced) record_.replaced(before);
}

void SimMemberStore::unlock() {
    ASSERT(record_.holder == process_.pid);
    record_.holder = 0;
}

Task<FenceReport> SimMemberStore::kill(ProcessRef victim) {
    World& world = process_.world;
    Process* target = world.find(victim.pid);
    if (target == nullptr) co_return FenceReport{true, true};
    if (target->alive) {
        ++record_.kills;
        world.mark(Mark::fence_of_living);
        world.after(10us, [&world, target] { world.crash(*target); });
    }
    while (target->alive) co_await sleep_for(process_.clock, 100us);
    // A device may take longer than anybody wants to wait for it: then the fence is cut and not drained.
    const auto longest = static_cast<std::uint64_t>(world.knobs.drain_max.count());
    const bool hasty = world.prng.chance(1, 2);
    const Nanos patience(static_cast<std::int64_t>(world.prng.below(hasty ? longest / 10 : 2 * longest)));
    const Nanos end = world.now() + patience;
    while (target->orphans != 0 && world.now() < end) co_await sleep_for(process_.clock, 100us);
    if (target->orphans != 0) world.mark(Mark::fence_not_drained);
    co_return FenceReport{true, target->orphans == 0};
}

void SimMemberStore::watch(std::uint32_t slot, ProcessRef process, Event& died) {
    watches_[slot] = {&died, process.pid};
    const auto tell = [this, here = here_, slot, pid = process.pid] {
        if (!*here) return;
        const auto at = watches_.find(slot);
        if (at != watches_.end() && at->second.pid == pid) at->second.died->set();
    };
    World& world = process_.world;
    Process* target = world.find(process.pid);
    if (target == nullptr || !target->alive) {
        world.after(10us, tell);
    } else {
        target->on_death.push_back([&world, tell] { world.after(100us, tell); });
    }
}

void SimMemberStore::unwatch(std::uint32_t slot) { watches_.erase(slot); }

}  // namespace braid::sim
