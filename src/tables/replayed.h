// What an assembly gets from the journals, and the tables have to say before the journals are closed.
#pragma once

#include <bitset>
#include <set>

#include "layout/zone.h"
#include "ondisk/table_pages.h"

namespace braid {

/// What doing again what journals say has come to.
struct Replayed {
    MemberMask failed;                          ///< a write meanwhile: to be declared failed first
    std::bitset<kMaxGroupAmfs> in_next_life{};  ///< rings whose next life has what is left to be done
    std::set<RegionIndex> regions;              ///< where it has written
    std::set<StripeIndex> lost;  ///< they could not take all that flushes had put into journals
};

}  // namespace braid
