// What every simulated cluster is made of: its shape, its members, and a controller that runs in a process on
// the simulated seams. Who starts, kills and judges them is cluster.h's or scenario_run.h's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controller/controller.h"
#include "sim/hosts.h"
#include "sim/sim_disk.h"
#include "sim/sim_member_store.h"
#include "sim/sim_network.h"
#include "sim/sim_sides.h"

namespace braid::sim {

/// Controllers, the one group "g" that they share, and controllers outside of it.
struct Shape {
    std::size_t controllers = 3;
    std::size_t outside = 0;  ///< further controllers, which do not share the group
    std::size_t all() const { return controllers + outside; }
    std::size_t disks = 5;
    std::size_t extra_disks = 0;  ///< further ones, which belong to no group at first
    std::string level = "raid5";
    std::uint64_t strip_size = 16u << 10;
    SharingOptions sharing;
    PowerLoss power_loss = PowerLoss::resync;
    bool checksums = false;
    unsigned dimension = 2;
    unsigned copies = 0;  ///< of a mirror
    unsigned width = 0;   ///< of the others; 0: all disks
    Nanos ping_timeout = 500ms;
    Nanos intent_idle = 2s;
    std::uint64_t cache = 0;                  ///< bytes, of each AMF
    std::uint64_t checksum_cache = 1u << 20;  ///< bytes, of each AMF
    std::uint64_t dirty = 1u << 20;           ///< with write-back, bytes of each AMF
    Nanos dirty_age = 100ms;
    std::uint64_t passed = 64u << 10;       ///< of it, bytes that go along with a lock
    std::uint64_t window = 4u << 20;        ///< of it, bytes answered before their copies stand
    std::uint64_t copy_window = 32u << 10;  ///< on their way to one new partner at once: so small that seeds
                                            ///< fill it
    Nanos window_age = 200ms;
    LimpOptions limping{};
    Nanos host_p99{};  ///< that background work leaves hosts; 0: it goes as fast as it can
    std::uint64_t background_min = 10u << 20;  ///< bytes per second of each AMF in any case
    Nanos spare_delay = 1h;                    ///< what a failed member held is made again so long after
    std::uint64_t spare = 0;                   ///< segments of each member that nobody else needs
    unsigned reshapes = 0;  ///< times that the operator wants wider stripes, or a higher level
    bool mixed = false;     ///< extents get other shapes than the group's first one
    std::vector<std::string> hosts_of = {}, sites_of = {};  ///< labels of the controllers, by number
    bool early_answers() const {
        return sharing.write_cache == WriteCache::back && dimension > 1 &&
               sharing.replication != Replication::synchronous;
    }
    bool slow_sides = false;  ///< what passes between AMFs of a process takes its time
    std::vector<std::string> nbd =
        {};  ///< where hosts dial a controller; none: they have its ports themselves
};

/// Of the virtual disk "v": not a multiple of anything.
constexpr std::uint64_t kVolumeSize = 3 * kExtentSize - 3 * kSector;

Geometry geometry_of(const Shape& shape);
/// Shapes that extents may get where they are mixed: what the group survives they survive.
std::vector<StripeShape> stripe_shapes_of(const Shape& shape);
/// Members with room for more than the virtual disk.
std::vector<std::unique_ptr<Media>> make_media(World& world, const Shape& shape);
std::string disk_name(std::size_t member);        ///< "d03"
std::string controller_name(std::size_t number);  ///< "ctl-a" is 0
/// Of those outside of the group.
std::vector<std::string> outside_names(const Shape& shape);
CreateGroup group_request(const Shape& shape);

/// What runs in one process; destroyed in reverse.
struct Running {
    Running(Wires& wires, SharedRecord& record, std::vector<std::unique_ptr<Media>>& media, Process& process,
            const Shape& shape);

    /// The first one, once its tables are loaded.
    Amf* amf();
    /// Those whose tables are loaded, by index.
    std::vector<Amf*> amfs();
    /// The sides of a port, by AMF: less of them while it opens or closes. One, if it leads to another
    /// controller.
    std::vector<std::shared_ptr<Port>> sides(std::string_view port);
    /// For one more host: the sides take turns.
    struct Side {
        std::shared_ptr<Port> port;  ///< null: there is none
        std::size_t index = 0;       ///< of the AMF
    };
    Side take_turn(std::string_view port);
    bool serving();
    /// For a controller outside of the group: it has joined, and has a port of "v" if these tables say so.
    bool fits(const Tables* tables);
    /// How often its operations were given to another AMF, or may have been.
    std::uint64_t moves() const;

    SimNetwork network;
    SimMemberStore store;
    SimShelf shelf;
    SimSides threads;
    Controller controller;
    Scope scope;
};

}  // namespace braid::sim
