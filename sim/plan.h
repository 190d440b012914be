// What a seed decides: the shape of a cluster, which faults it meets and how often, how its hosts behave. A
// plan can be changed before it is run: faults left out by their numbers, single values set.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sim/marks.h"
#include "sim/node.h"
#include "sim/workload.h"

namespace braid::sim {

/// What a seed decides.
struct Plan : Shape {
    std::uint64_t seed = 0;
    std::size_t hosts = 4;
    Nanos faults_for = 6s;      ///< length of the first phase
    Nanos fault_pause = 250ms;  ///< mean time between faults
    unsigned disk_faults = 0;   ///< members that may fail, at most the level's parity
    bool crashes = true, pauses = true, cuts = true, resets = true, slow_disks = true, latent_errors = false;
    bool path_losses = false;   ///< a controller alone does not reach the disks
    bool single_paths = false;  ///< or one of them
    bool spikes = false;        ///< links slow down for a while
    bool operators = false;     ///< ports, virtual disks and members are changed meanwhile
    Workload work;
    /// If not 0: the faults end with so many controllers dying together, and they stay away until the
    /// survivors have been looked at. As many as there are copies: only a resync makes their stripes right.
    unsigned last_deaths = 0;
    unsigned rounds = 0;           ///< of deaths, looks and returns; 0: one long storm instead
    bool power_cuts = false;       ///< in each round all die, and the members' unflushed writes may be lost
    bool stalls = false;           ///< a few of the outliers take up to 30 s
    bool unnoticed_swaps = false;  ///< also before anybody has missed them: not survived, never drawn
    bool clocks = false;           ///< of processes differ, and jump
    bool stores = false;           ///< the member store is slow, or fails, for a while
    bool half_open = false;        ///< connections end for one side only
    bool suspends = false;         ///< all processes stand still together
    std::uint64_t stream_window = 1u << 20;  ///< of a connection, bytes
    bool rot = false;                        ///< tables and superblocks of one member rot
    bool swaps = false;                      ///< of the members that may fail, some come back empty or old
    bool lies = false;                       ///< member 0 says at times what was not written to it
    unsigned further_disk_faults = 0;  ///< members that may fail when what those before held is made again
    unsigned outliers = 0;             ///< one of so many disk commands takes up to seconds; 0: none
    Nanos operator_pause = 400ms;
    unsigned additions = 0;  ///< disks that the operator takes into the group, half of them for members
    unsigned removals = 0;   ///< members that the operator takes out of the group
    bool returns = false;    ///< the operator takes disks of failed members back that work
    std::uint32_t scrub_every = 0;  ///< seconds; 0: operators alone begin scrubs
    Nanos shape_pause = 50ms;       ///< with mixed shapes: mean time between attempts to set one
    bool sets_jobs = false;         ///< the operator pauses scrubs, ends them, lets them go on
    bool set_sharing = false;       ///< the operator changes how locks are kept, too
    bool set_replication = false;   ///< and when hosts are answered, so that some may be early
    bool cluster_kill = false;      ///< all controllers die at once, in the middle
    Nanos drain_max = 20ms;         ///< how long a dead controller's disk commands may take
    Nanos think_max = 2ms;          ///< between a host's operations

    /// Faults by number. A fault draws from a source of its own, so leaving one out does not change the
    /// others.
    std::optional<std::set<unsigned>> only;
    std::set<unsigned> without;
    bool happens(unsigned fault) const { return only ? only->contains(fault) : !without.contains(fault); }
};

Plan draw_plan(std::uint64_t seed);
std::string describe(const Plan& plan);

/// A value of a plan that can be set by name, as `simulate --set` does. Times are in microseconds.
struct Setting {
    std::string_view name;
    std::uint64_t least;  ///< sensible value
    std::uint64_t (*get)(const Plan&);
    void (*set)(Plan&, std::uint64_t);
};
std::span<const Setting> settings();

struct Outcome {
    std::string failure;  ///< empty: all promises held
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    std::uint64_t operations = 0;
    std::uint64_t checked = 0;
    std::uint64_t recovered = 0;  ///< writes of dead controllers that others finished
    Marks marks{};
    Nanos virtual_time{};
};

/// Told of every fault as it strikes.
using FaultSeen = std::function<void(const FaultRecord&)>;

Outcome run_plan(const Plan& plan, bool trace, FaultSeen seen = {});
inline Outcome run_seed(std::uint64_t seed, bool trace) { return run_plan(draw_plan(seed), trace); }

}  // namespace braid::sim
