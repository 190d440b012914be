#include "sim/marks.h"

#include <cstdio>

#include "base/assert.h"

namespace braid::sim {
namespace {

struct Entry {
    Mark mark;
    std::string_view name;
    std::string_view words;  ///< of a fault: % stands for its numbers, one after the other
};

constexpr std::array<Entry, kMarks> kTable{{
    {Mark::crash, "crash", "pid % dies"},
    {Mark::crash_of_recoverer, "crash_of_recoverer", "pid % dies, which finishes writes of the dead"},
    {Mark::pause, "pause", "pid % stands still for % us"},
    {Mark::long_pause, "long_pause", "pid % stands still for % us and is killed for it"},
    {Mark::cut, "cut", "the link of pids % and % is cut"},
    {Mark::reset, "reset", "the connection of pids % and % breaks"},
    {Mark::slow_link, "slow_link", "the links of pid % are slow by up to % us"},
    {Mark::spike, "spike", "all links are slow by up to % us"},
    {Mark::paths, "paths", "pid % does not reach the members for % us"},
    {Mark::path, "path", "pid % does not reach one of the members for % us"},
    {Mark::all_die, "all_die", "all controllers die"},
    {Mark::power_cut, "power_cut", "power is lost"},
    {Mark::disk_gone_in_the_dark, "disk_gone_in_the_dark", "a member does not come back with the power"},
    {Mark::death_in_round, "death_in_round", "pid % dies and stays away, number % of the round"},
    {Mark::slow_disk, "slow_disk", "member % is slow, % times"},
    {Mark::bad_blocks, "bad_blocks", "% blocks of member % become unreadable"},
    {Mark::disk_gone, "disk_gone", "member % is gone"},
    {Mark::disk_refuses_writes, "disk_refuses_writes", "member % refuses writes"},
    {Mark::disk_fails_some, "disk_fails_some", "member % fails % of 1000 commands"},
    {Mark::disk_declared, "disk_declared", "an operator declares member % failed"},
    {Mark::disk_back_same, "disk_back_same", "member % is back"},
    {Mark::disk_back_old, "disk_back_old", "member % is back as it was % us before it went"},
    {Mark::disk_back_empty, "disk_back_empty", "member % is back without its content"},
    {Mark::clock_jump, "clock_jump", "the clock of pid % jumps by % us"},
    {Mark::store_slow, "store_slow", "calls of the member store take up to % us for % us"},
    {Mark::store_refuses, "store_refuses", "the member store fails for % us"},
    {Mark::half_open, "half_open", "the connection of pids % and % ends for the first alone"},
    {Mark::suspend, "suspend", "all stand still for % us"},
    {Mark::rot_table, "rot_table", "block % of member %, a table page, is spoilt"},
    {Mark::rot_superblock, "rot_superblock", "block % of member %, a superblock, is spoilt"},
    {Mark::rot_data, "rot_data", "block % of member %, data or checksums, is spoilt"},
    {Mark::lost_write, "lost_write", "% writes to member % are answered and never there"},
    {Mark::misdirected_write, "misdirected_write", "% writes to member % land behind their place"},
    {Mark::recovery_with_redo, "recovery.with_redo", ""},
    {Mark::recovery_with_data, "recovery.with_data", ""},
    {Mark::recovery_of_recoverer, "recovery.of_recoverer", ""},
    {Mark::resync_corrected, "resync.corrected", ""},
    {Mark::power_cut_in_resync, "resync.power_cut", ""},
    {Mark::death_in_resync, "resync.death", ""},
    {Mark::death_with_records, "death.with_records", ""},
    {Mark::death_while_joining, "death.while_joining", ""},
    {Mark::death_with_store_lock, "death.with_store_lock", ""},
    {Mark::view_in_view, "view.in_view", ""},
    {Mark::group_left, "group.left", ""},
    {Mark::fence_of_living, "fence.of_living", ""},
    {Mark::fence_not_drained, "fence.not_drained", ""},
    {Mark::write_full, "write.full", ""},
    {Mark::write_rmw, "write.rmw", ""},
    {Mark::write_rcw, "write.rcw", ""},
    {Mark::write_regenerating, "write.regenerating", ""},
    {Mark::write_full_degraded, "write.full_degraded", ""},
    {Mark::read_regenerated, "read.regenerated", ""},
    {Mark::read_around, "read.around", ""},
    {Mark::read_whole_stripe, "read.whole_stripe", ""},
    {Mark::block_repaired, "block.repaired", ""},
    {Mark::member_error, "member.error", ""},
    {Mark::row_moved, "row.moved", ""},
    {Mark::disk_after_rebuild, "disk.after_rebuild", ""},
    {Mark::disk_added, "disk.added", ""},
    {Mark::disk_taken_back, "disk.taken_back", ""},
    {Mark::group_expanded, "group.expanded", ""},
    {Mark::extent_released, "extent.released", ""},
    {Mark::extent_added_up, "extent.added_up", ""},
    {Mark::trims_not_zeros, "extent.not_zeros", ""},
    {Mark::hole_told, "extent.hole_told", ""},
    {Mark::extent_kept, "extent.kept", ""},
    {Mark::extent_shaped, "extent.shaped", ""},
    {Mark::extent_reshaped, "extent.reshaped", ""},
    {Mark::cut_anew, "extent.cut_anew", ""},
    {Mark::cache_local, "cache.local", ""},
    {Mark::cache_peer, "cache.peer", ""},
    {Mark::cache_without_lease, "cache.without_lease", ""},
    {Mark::lock_revoked, "lock.revoked", ""},
    {Mark::lock_claimed, "lock.claimed", ""},
    {Mark::lock_blocks_kept, "lock.blocks_kept", ""},
    {Mark::lock_wait_ended, "lock.wait_ended", ""},
    {Mark::orphan_lands, "orphan.lands", ""},
    {Mark::orphan_tears, "orphan.tears", ""},
    {Mark::orphan_vanishes, "orphan.vanishes", ""},
    {Mark::torn_at_512, "torn.at_512", ""},
    {Mark::torn_at_4096, "torn.at_4096", ""},
    {Mark::torn_after_some, "torn.after_some", ""},
    {Mark::disk_stall, "disk.stall", ""},
    {Mark::power_keeps, "power.keeps", ""},
    {Mark::power_drops, "power.drops", ""},
    {Mark::power_tears, "power.tears", ""},
    {Mark::port_closed, "port.closed", ""},
    {Mark::host_timeout, "host.timeout", ""},
    {Mark::host_leaves, "host.leaves", ""},
    {Mark::host_repeats, "host.repeats", ""},
    {Mark::ghost_lands, "ghost.lands", ""},
    {Mark::ghost_dies, "ghost.dies", ""},
    {Mark::space_anew, "space.anew", ""},
    {Mark::forward_asked_again, "forward.asked_again", ""},
    {Mark::forward_moved, "forward.moved", ""},
    {Mark::forward_done_before, "forward.done_before", ""},
    {Mark::forward_outlived, "forward.outlived", ""},
    {Mark::dirty_write, "dirty.write", ""},
    {Mark::dirty_waits, "dirty.waits", ""},
    {Mark::destage_full, "destage.full", ""},
    {Mark::destage_partial, "destage.partial", ""},
    {Mark::destage_recalled, "destage.recalled", ""},
    {Mark::dirty_passed, "dirty.passed_on", ""},
    {Mark::dirty_asked_again, "dirty.flush_asked_again", ""},
    {Mark::flush_by_append, "flush.by_append", ""},
    {Mark::met_rot, "met.rot", ""},
    {Mark::met_lost_write, "met.lost_write", ""},
    {Mark::met_misdirected_write, "met.misdirected_write", ""},
    {Mark::checksum_in_read, "checksum.in_read", ""},
    {Mark::checksum_in_update, "checksum.in_update", ""},
    {Mark::checksum_in_check, "checksum.in_check", ""},
    {Mark::checksum_copies, "checksum.copies", ""},
    {Mark::job_paused, "job.paused", ""},
    {Mark::scrub_cancelled, "scrub.cancelled", ""},
    {Mark::scrub_shared, "scrub.shared", ""},
    {Mark::death_in_scrub, "death.in_scrub", ""},
    {Mark::replication_set, "replication.set", ""},
    {Mark::early_answer, "replication.early_answer", ""},
    {Mark::early_lost, "replication.early_lost", ""},
    {Mark::late_copies, "replication.late_copies", ""},
    {Mark::all_but_one_of_two, "death.all_but_one_of_two", ""},
    {Mark::all_but_one_of_three, "death.all_but_one_of_three", ""},
    {Mark::all_but_one_of_four, "death.all_but_one_of_four", ""},
}};

constexpr bool in_order() {
    for (std::size_t i = 0; i < kTable.size(); ++i) {
        if (kTable[i].mark != static_cast<Mark>(i)) return false;
    }
    return true;
}
static_assert(in_order());

const Entry& entry(Mark mark) { return kTable[static_cast<std::size_t>(mark)]; }

}  // namespace

std::string_view name(Mark mark) { return entry(mark).name; }

std::string in_words(const FaultRecord& fault) {
    std::array<char, 64> start;
    std::snprintf(start.data(), start.size(), "%u at %.4f s: ", fault.number,
                  static_cast<double>(fault.at.count()) / 1e9);
    std::string out = start.data();
    const std::array<std::uint64_t, 2> numbers = {fault.a, fault.b};
    std::size_t next = 0;
    for (const char letter : entry(fault.kind).words) {
        if (letter == '%') {
            out += std::to_string(numbers[next++]);
        } else {
            out += letter;
        }
    }
    return out;
}

}  // namespace braid::sim
