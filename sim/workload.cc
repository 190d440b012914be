#include "sim/workload.h"

namespace braid::sim {

Workload draw_workload(Prng& prng) {
    Workload out;
    out.hot = prng.chance(1, 2);
    out.depth = prng.chance(1, 2) ? 1 : static_cast<unsigned>(2 + prng.below(3));
    out.roams = prng.chance(2, 3);
    if (prng.chance(1, 3)) out.timeout = Nanos(static_cast<std::int64_t>(prng.between(50, 2000) * 1'000'000));
    if (prng.chance(1, 4)) out.leaves_of_1000 = static_cast<unsigned>(prng.between(5, 60));
    if (prng.chance(1, 3)) return out;
    const auto any = [&prng](std::uint64_t most) { return static_cast<unsigned>(prng.below(most + 1)); };
    out.writes = 5 + any(60);
    out.reads = 5 + any(60);
    out.private_writes = 2 + any(30);
    out.private_reads = 2 + any(20);
    out.zeroes = any(8);
    out.trims = any(8);
    out.flushes = any(prng.chance(1, 5) ? 30 : 6);
    out.fua_of_100 = prng.chance(1, 3) ? any(100) : any(10);
    switch (prng.below(4)) {
        case 0:
            out.tiny = 60;
            break;
        case 1:
            out.stripes = 40;
            break;
        case 2:
            out.huge = 1 + any(3);
            break;
        default:
            break;
    }
    if (prng.chance(1, 3)) out.streams_of_100 = 10 + any(80);
    return out;
}

std::string describe(const Workload& w) {
    std::string out;
    if (w.hot) out += " hot";
    if (w.tiny > w.small / 2) out += " tiny";
    if (w.stripes > w.small / 4) out += " stripes";
    if (w.huge != 0) out += " huge";
    if (w.streams_of_100 != 0) out += " streams";
    if (w.fua_of_100 > 30) out += " fua";
    if (w.flushes > 10) out += " flush";
    if (w.trim_pause != Nanos{0}) out += w.trims_spread ? " extents spread" : " extents";
    if (w.trim_pause != Nanos{0} && w.maps) out += " maps";
    if (!w.roams) out += " loyal";
    if (w.depth > 1) out += " depth " + std::to_string(w.depth);
    if (w.timeout != Nanos{0}) out += " timeout " + std::to_string(w.timeout.count() / 1'000'000) + " ms";
    if (w.leaves_of_1000 != 0) out += " leave";
    return out;
}

}  // namespace braid::sim
