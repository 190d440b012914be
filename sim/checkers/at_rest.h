// Nothing is left over: of an AMF whose hosts are quiet and whose jobs are done no operation, lock in use,
// record or recovery is open, every record has its copies again, and its locks are kept as its tables say.
#pragma once

#include <string>

#include "amf/amf.h"

namespace braid::sim {

/// Empty, or what is still open.
std::string check_at_rest(Amf& amf);

}  // namespace braid::sim
