// From one view to the next: pure. `successor` begins the next epoch, the others change it in place; several
// changes may go into one epoch. Each says whether it changed anything, so that what somebody else has done
// already is no new epoch.
#pragma once

#include "base/result.h"
#include "cluster/record.h"

namespace braid {

/// The same members in the next epoch: by itself the renewal after a link broke.
ClusterRecord successor(const ClusterRecord& record);

/// A start of the controller `name`: its known id or the next free one; its incarnation is the record's
/// epoch. exists: a member has the name; no_space: too many; invalid: a name or address that is empty, or one
/// or a label that is too long.
Result<ControllerId> add_member(ClusterRecord& next, const std::string& name, const std::string& address,
                                ProcessRef process, const ServedGroups& groups,
                                const Location& location = {});
/// This very incarnation is out: fenced, or left in order.
bool remove_member(ClusterRecord& next, ControllerId id, Incarnation incarnation, bool fenced);
/// Exactly these groups are attached from now on. no_space: too many.
/// Those that are new, or have another number of AMFs, begin with the record's epoch.
Result<bool> set_groups(ClusterRecord& next, ControllerId id, const ServedGroups& groups);

/// This very incarnation is a member.
bool holds(const ClusterRecord& record, ControllerId id, Incarnation incarnation);

}  // namespace braid
