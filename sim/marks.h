// What a run has met, counted: each kind of fault, and situations that the promises are about and that some
// run must reach, or nobody has tested them. One table of names (marks.cc); counting is one addition.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/types.h"

namespace braid::sim {

enum class Mark : std::uint8_t {
    // Kinds of faults.
    crash,
    crash_of_recoverer,
    pause,
    long_pause,
    cut,
    reset,
    slow_link,
    spike,
    paths,
    path,
    all_die,
    power_cut,
    disk_gone_in_the_dark,
    death_in_round,
    slow_disk,
    bad_blocks,
    disk_gone,
    disk_refuses_writes,
    disk_fails_some,
    disk_declared,
    disk_back_same,
    disk_back_old,
    disk_back_empty,
    clock_jump,
    store_slow,
    store_refuses,
    half_open,
    suspend,
    rot_table,
    rot_superblock,
    rot_data,
    lost_write,
    misdirected_write,
    // Situations.
    first_situation,
    recovery_with_redo = first_situation,
    recovery_with_data,
    recovery_of_recoverer,
    resync_corrected,
    power_cut_in_resync,
    death_in_resync,
    death_with_records,
    death_while_joining,
    death_with_store_lock,
    view_in_view,
    group_left,
    fence_of_living,
    fence_not_drained,
    write_full,
    write_rmw,
    write_rcw,
    write_regenerating,
    write_full_degraded,
    read_regenerated,
    read_around,
    read_whole_stripe,
    block_repaired,
    member_error,
    row_moved,
    disk_after_rebuild,
    disk_added,
    disk_taken_back,
    group_expanded,
    extent_released,
    extent_added_up,
    trims_not_zeros,
    hole_told,
    extent_kept,
    extent_shaped,
    extent_reshaped,
    cut_anew,
    cache_local,
    cache_peer,
    cache_without_lease,
    lock_revoked,
    lock_claimed,
    lock_blocks_kept,
    lock_wait_ended,
    orphan_lands,
    orphan_tears,
    orphan_vanishes,
    torn_at_512,
    torn_at_4096,
    torn_after_some,
    disk_stall,
    power_keeps,
    power_drops,
    power_tears,
    port_closed,
    host_timeout,
    host_leaves,
    host_repeats,
    ghost_lands,
    ghost_dies,
    space_anew,
    forward_asked_again,
    forward_moved,
    forward_done_before,
    forward_outlived,
    dirty_write,
    dirty_waits,
    destage_full,
    destage_partial,
    destage_recalled,
    dirty_passed,
    dirty_asked_again,
    flush_by_append,
    met_rot,
    met_lost_write,
    met_misdirected_write,
    checksum_in_read,
    checksum_in_update,
    checksum_in_check,
    checksum_copies,
    job_paused,
    scrub_cancelled,
    scrub_shared,
    death_in_scrub,
    replication_set,
    early_answer,
    early_lost,
    late_copies,
    all_but_one_of_two,
    all_but_one_of_three,
    all_but_one_of_four,
    count,
};

constexpr std::size_t kMarks = static_cast<std::size_t>(Mark::count);
constexpr std::size_t kFaultKinds = static_cast<std::size_t>(Mark::first_situation);

using Marks = std::array<std::uint64_t, kMarks>;

/// "crash", "recovery.with_redo".
std::string_view name(Mark mark);
constexpr bool is_fault(Mark mark) { return mark < Mark::first_situation; }

/// A fault that struck.
struct FaultRecord {
    unsigned number = 0;  ///< 0: an operator's
    Mark kind{};
    Nanos at{};
    std::uint64_t a = 0, b = 0;  ///< whom or what; see the table
};

constexpr std::uint64_t micros(Nanos time) { return static_cast<std::uint64_t>(time.count() / 1000); }

/// "12 at 2.0421 s: pid 104 dies".
std::string in_words(const FaultRecord& fault);

}  // namespace braid::sim
