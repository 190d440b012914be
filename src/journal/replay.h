// Making the stripes right that the open journals of a group speak of: at assembly, by whoever is alone with
// the group, before anybody can read or write it (promise 3).
//
//   read all rings -> make every needed batch whole on all members of its ring -> write the entries again, in
//   the order of epochs -> flush -> is there data alone that nothing later covers?
//     no    the caller closes the rings
//     yes   it is read together with the rest of its stripe, gets its parity, and is put as entries like the
//           others where its ring is free, in the ring's next life, flushed; the caller opens that life,
//           closes the other rings, all at once, and begins again
//
// It may be cut short at any point and begun again: nothing in a ring changes that is needed, and the same is
// written. An entry of a zone that the extent has no more is left out, and what somebody has said is over.
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

/// io_error if a ring can be read from none of its members. The tables have been read from the disks, and
/// every member that is not here has been declared failed.
Task<Result<Replayed>> replay_journals(Executor& executor, Tables& tables, ReplayProgress& progress);

/// The stripes that the ring of a slot, whose owner is gone for good, says anything of, and perhaps some that
/// it has said something of. io_error.
Task<Result<std::set<StripeIndex>>> ring_stripes(Executor& executor, Tables& tables, AmfSlot slot);

}  // namespace braid
