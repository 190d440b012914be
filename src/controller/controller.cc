#include "controller/controller.h"

#include <algorithm>

#include "base/log.h"
#include "cluster/local_membership.h"

namespace braid {
namespace {

constexpr Nanos kRescanPause = 2s;  // between attempts to assemble what could not be assembled

}  // namespace
