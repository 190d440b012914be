// What the hosts of one run do: how often they read, write, write zeros, flush; how large, how near to each
// other; how patient they are.
#pragma once

#include <cstdint>
#include <string>

#include "base/prng.h"
#include "base/types.h"

namespace braid::sim {

struct Workload {
    // Weights. Private: of an area of the host's own, any bytes.
    unsigned writes = 35, reads = 35, private_writes = 15, private_reads = 9, zeroes = 3, trims = 0,
             flushes = 3;
    unsigned fua_of_100 = 10;
    // Sizes of writes and reads, weights.
    unsigned small = 92;          ///< up to 16 KiB, or any bytes up to 9000
    unsigned tiny = 0;            ///< one sector, or a few bytes
    unsigned stripes = 8;         ///< up to three stripes, or up to half of the host's own area
    unsigned huge = 0;            ///< up to 1.5 MiB
    unsigned streams_of_100 = 0;  ///< of the shared writes and reads: go on where the last one ended
    bool hot = false;             ///< most operations on two spots of one or two blocks
    unsigned depth = 1;           ///< operations that a host has in flight
    bool roams = true;          ///< every operation goes to some controller, else all to one while it serves
    Nanos timeout{};            ///< then a host goes elsewhere; 0: it waits
    Nanos trim_pause{};         ///< at most, between trims of whole extents; 0: none
    bool trims_spread = false;  ///< parts of them through different controllers
    bool maps = false;          ///< holes are asked for
    unsigned leaves_of_1000 = 0;  ///< a host drops its connection with what is in flight, once per look
};

constexpr std::uint64_t kLongestOperation = 3u << 19;

Workload draw_workload(Prng& prng);
std::string describe(const Workload& workload);

}  // namespace braid::sim
