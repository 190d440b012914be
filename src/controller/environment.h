// What a controller gets from the world it runs in, and what its configuration says. The daemon builds one
// from io/uring, the simulator one from sim/: nothing in a controller can tell which.
#pragma once

#include <string>
#include <vector>

#include "amf/limping.h"
#include "host/nbd/limits.h"
#include "icl/view.h"
#include "io/clock.h"
#include "io/disk.h"
#include "io/member_store.h"
#include "io/random.h"
#include "io/side_thread.h"
#include "io/stream.h"

namespace braid {

struct Environment {
    Executor& executor;
    Clock& clock;
    Network& network;
    MemberStore& members;
    DiskShelf& shelf;
    Random& random;
    SideThreads& sides;  ///< for AMFs with an index above 0
};

struct ControllerConfig {
    std::string name;                          ///< unique in the cluster, at most 31 bytes
    std::string peer_address = "127.0.0.1:0";  ///< where the other controllers dial this one
    Location location;                         ///< labels of at most 31 bytes: partners stand elsewhere
    std::vector<std::string> nbd;              ///< where hosts dial it; none: no NBD server
    Nanos ping_timeout = 1s;                   ///< silence after which a peer is fenced
    Nanos intent_idle = 10s;                   ///< a region unused for so long leaves the intent page
    std::size_t cache = 64u << 20;             ///< bytes of each group that its AMF remembers; 0: none
    std::size_t dirty = 32u << 20;             ///< of each group with write-back, bytes that its AMF has
                                               ///< answered and not written to the members, at most
    Nanos dirty_age = 1s;                      ///< the same, how long
    std::size_t passed = 64u << 10;      ///< of that, bytes of a lock unit that go along with it at most
    std::size_t checksums = 16u << 20;   ///< bytes of checksums that the same remembers, where there are any
    std::size_t window = 4u << 20;       ///< of that, bytes without all their copies, at most
    std::size_t copy_window = 8u << 20;  ///< bytes of open writes, on their way to one new partner at once
    Nanos window_age = 200ms;            ///< the same, how long
    Nanos spare_delay = 30s;  ///< a member failed so long ago: what it held is made again elsewhere
    Nanos host_p99{};         ///< background work goes as fast as hosts' latency stays within;
                              ///< 0: as fast as it can
    std::uint64_t background_min = 10u << 20;  ///< bytes per second of each AMF that it goes at in any case
    LimpOptions limping{};
    nbd::Limits nbd_limits;
};

}  // namespace braid
