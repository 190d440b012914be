// The message by which AMFs tell each other what their hosts see. Decoding trusts nothing.
#pragma once

#include "base/result.h"
#include "icl/message.h"
#include "jobs/pace.h"

namespace braid {

Message encode(const Uuid& group, const HostLatency& latency);
/// corrupt for what no encoder of ours writes.
Result<HostLatency> decode_host_latency(const Message& message);

}  // namespace braid
