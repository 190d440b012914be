// Making the stripes right that the open journals of a group speak of: at assembly, by whoever is alone with
// the group, before anybody can read or write it (promise 3).
//
//   read all rings -> make every needed batch whole on all members of its ring -> write the entries again, in
//   the order of epochs -> flush
//
// It may be cut short at any point and begun again: nothing in a ring changes, and the same is written. The
// caller closes the rings afterwards. An entry of a zone that the extent has no more is left out.
#pragma once

#include <cstdint>
#include <set>

#include "async/task.h"
#include "tables/tables.h"

namespace braid {

/// Entries of the journals, in this assembly.
struct ReplayProgress {
    std::size_t entries = 0, done = 0;
    bool under_way() const { return done != entries; }
};

/// The members that failed a write meanwhile and must be declared failed before the rings are closed.
/// io_error if a ring can be read from none of its members. The tables have been read from the disks, and
/// every member that is not here has been declared failed.
Task<Result<MemberMask>> replay_journals(Executor& executor, Tables& tables, ReplayProgress& progress);

/// The sequences of all update records that the ring of a slot holds, each on all of its members that are not
/// failed: as long as the ring is open, power may go, and they are done again. Its owner is gone for good, so
/// this does not change. io_error.
Task<Result<std::set<std::uint64_t>>> ring_holds(Executor& executor, Tables& tables, AmfSlot slot);

}  // namespace braid
