// What an AMF is told when it is made, and what it tells of itself.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "amf/limping.h"
#include "amf/stripe_plan.h"
#include "icl/lease.h"
#include "io/clock.h"
#include "journal/replay.h"
#include "replica/partners.h"
#include "replica/replicator.h"

namespace braid {

struct AmfOptions {
    std::size_t pieces = 1024;              ///< stripe pieces at work at once, all operations together
    std::size_t pieces_per_operation = 16;  ///< of one large operation
    unsigned recovery_attempts =
        2;  ///< recoveries of one write that may die before its stripe is quarantined
    std::size_t recoveries =
        64;                    ///< lock units at work that dead AMFs have left; all others wait for a place
    unsigned read_errors = 2;  ///< io_errors of reads after which a member is declared failed
    Nanos intent_idle = 5s;    ///< a region is clean when nobody has written there for so long
    Nanos housekeeping = 1s;
    std::size_t cache = 0;                      ///< bytes of clean blocks that are remembered; 0: none
    std::size_t cached_operation = 128u << 10;  ///< a larger read or write leaves nothing in the cache
    Nanos peer_patience = 50ms;                 ///< with another AMF's cache; then the members are asked
    const Lease* lease = &always_live();        ///< outlives the AMF
    std::size_t checksums = 16u << 20;          ///< bytes of checksum records that are remembered
    std::size_t trimmed = 256;                  ///< extents of which trimmed parts are remembered
    Nanos trims_pause =
        500ms;  ///< from a trim of a part to the question what others have trimmed of the rest
    LimpOptions limping{};
    // Write-back.
    std::size_t dirty = 32u << 20;   ///< bytes of records at most: hosts wait; from half of it on the oldest
                                     ///< go; shortly before it hosts are slowed down
    Nanos dirty_age = 1s;            ///< what is older goes
    std::size_t destages = 16;       ///< stripes at work, besides those that somebody waits for
    std::size_t passed = 64u << 10;  ///< bytes of a unit that go along with its lock at most
    std::size_t window = 4u << 20;   ///< bytes of records that hosts were answered for before their copies
                                     ///< stood, at most
    std::size_t copy_window =
        Replicator::kCopyWindow;  ///< of records, on their way to one new partner at once
    Nanos window_age = 200ms;     ///< nobody is answered so early while one of them is older
};

struct AmfCounters {
    std::uint64_t reads = 0, read_bytes = 0, writes = 0, written_bytes = 0, flushes = 0;
    std::array<std::uint64_t, kWritePaths> stripe_writes{};
    std::uint64_t regenerated = 0;  ///< strips computed for a read
    std::uint64_t read_around = 0;  ///< parts of reads, a stripe at a time, with a strip computed because its
                                    ///< member limps
    std::uint64_t repaired = 0;     ///< unreadable blocks written again
    std::uint64_t member_errors = 0;
    std::uint64_t recovered_redo = 0, recovered_data = 0, recovered_dropped = 0;
    std::uint64_t resynced = 0;          ///< stripes whose parity was wrong and was written
    std::uint64_t moved_rows = 0;        ///< of segments that go to another member
    std::uint64_t released_extents = 0;  ///< zones given back by trims
    std::uint64_t added_up_extents = 0;  ///< of these, those that others have trimmed parts of
    std::uint64_t trims_asked = 0;       ///< questions to all others what they have trimmed
    std::uint64_t trims_not_zeros = 0;   ///< what others had trimmed, and somebody has written since
    std::uint64_t shaped_extents = 0;    ///< got another shape
    std::uint64_t reshaped_extents = 0;  ///< of these, those that had a zone
    std::uint64_t reshaped_rows = 0;     ///< rows of them that were written to the new place
    std::uint64_t kept_extents = 0;      ///< about to be released by somebody who died
    std::uint64_t cut_anew = 0;          ///< parts of reads and writes: their extent had got another shape
    std::uint64_t done_before = 0;       ///< parts of repeated errands that were not done again
    // Parts of reads, a stripe at a time: from the own cache, another AMF's, the members.
    std::uint64_t cached_reads = 0, peer_reads = 0, disk_reads = 0;
    std::uint64_t reads_without_lease = 0;  ///< were here and had to come from the members
    std::uint64_t reads_for_peers = 0;      ///< answered from here
    // With locks of blocks.
    std::uint64_t whole_stripe_reads = 0;  ///< parts of reads that needed the stripe to hold still, too
    std::uint64_t blocks_kept = 0;         ///< that nobody read before a dead writer's stripe was finished
    // With write-back.
    std::uint64_t dirty_writes = 0;       ///< pieces that were answered with no disk touched
    std::uint64_t destaged_full = 0;      ///< stripes that needed no reads
    std::uint64_t destaged_partial = 0;   ///< others, or parts of them
    std::uint64_t destaged_writes = 0;    ///< pieces of hosts' writes in both
    std::uint64_t destages_recalled = 0;  ///< of both: because somebody wanted the lock
    std::uint64_t passed_on = 0;          ///< units whose dirty content has gone along with the lock
    std::uint64_t flushes_again = 0;      ///< rounds of flushes because of that
    std::uint64_t dirty_waits = 0;        ///< pieces that had to wait for room
    std::uint64_t dirty_slowed = 0;       ///< pieces that were slowed down because little of it was left
    std::uint64_t flushed_by_append = 0;  ///< runs of dirty content that a flush has put into the journal
    std::uint64_t early_answers = 0;      ///< of dirty_writes: answered before all partners had them
    std::uint64_t window_waits = 0;       ///< that would have been, and had to wait: the window was full
    // With checksums.
    std::uint64_t checksum_reads = 0;  ///< of records from the members; otherwise they were at hand
    std::uint64_t rotten_reads = 0, rotten_updates = 0, rotten_checks = 0;  ///< that met what was not written
    std::uint64_t checksum_repairs = 0;  ///< records of which a copy was old or broken
    std::uint64_t taken_as_found = 0;    ///< blocks of a write that was cut short, beyond what parity tells
    std::array<std::uint64_t, kMaxMembers> mismatches{};  ///< by member: reads that were not what was written
};

/// Where a block was not what had been written there, as its checksum told.
struct WrongPlace {
    MemberIndex member;
    std::uint64_t offset = 0;  ///< on the member, bytes
    StripeIndex stripe;
    Nanos at{};  ///< on the clock of this controller
};
constexpr std::size_t kWrongPlaces = 16;

/// What an operator should know now.
struct AmfConditions {
    bool fenced = false;
    bool offline = false;  ///< more members are gone than the level survives: nothing is read or written
    unsigned failed_members = 0;
    unsigned missing_copies = 0;  ///< copies of a record that there ought to be and are not
    std::size_t quarantined_stripes = 0;
    std::size_t recovering_units = 0;
    std::uint64_t dirty_bytes = 0;  ///< answered, and not on the members yet
    Nanos dirty_age{};              ///< of the oldest of it
    std::uint64_t uncopied_bytes =
        0;                            ///< of it: answered before all partners had it, and they still have not
    Nanos uncopied_age{};             ///< of the oldest of that
    std::size_t copying_records = 0;  ///< had their copies, and get them anew at other partners
    std::uint64_t copying_bytes = 0, copying_bytes_at_first = 0;
    std::vector<ControllerId> partners;    ///< where copies of new records stand
    Nearness nearest = Nearness::apart;    ///< what they share with this controller
    ReplayProgress replay;                 ///< of the assembly that this AMF has done, or does
    std::vector<WrongPlace> wrong_places;  ///< the last ones, at most kWrongPlaces
};

}  // namespace braid
