// What tests of jobs have in common: AMFs with their movers, in one thread and virtual time.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>

#include "amf/testing.h"
#include "jobs/mover.h"

namespace braid::testing {

inline constexpr std::array<std::uint16_t, 2> kBoth{1, 2};
inline MoverOptions quick() { return {.delay = 1ms, .run = 64, .poll = 1ms, .retry = 10ms}; }

/// AMFs that move segments when members fail.
class Moving {
public:
    explicit Moving(WorldOptions shape, MoverOptions o = quick()) : world(shape), options(o) {
        for (const std::uint16_t id : kBoth) start(id);
    }
    ~Moving() {
        for (auto& [id, node] : world.nodes) node->scope->destroy_all();
    }
    void start(std::uint16_t id) {
        world.start(id);
        movers[id] = std::make_unique<Mover>(world.amf(id), world.clock, pace, options);
        world.node(id).scope->spawn(movers[id]->run());
    }
    void fail(std::uint8_t member, std::uint16_t id = 1) {
        world.media[member]->dead = true;
        ASSERT_TRUE(world.run(id, world.amf(id).tables().fail_member(MemberIndex(member))));
    }
    bool lacks_something(std::uint16_t id = 1) const {
        const Tables& tables = const_cast<World&>(world).amf(id).tables();
        return tables.any_missing() || tables.open_moves() != 0;
    }
    bool rebuilt(std::uint16_t id = 1) {
        return world.run_until([&] { return !lacks_something(id); });
    }
    bool reads(std::uint16_t id, std::uint64_t at, const Buffer& data) {
        const Buffer back = world.read(id, at, data.size());
        return back.size() == data.size() && std::memcmp(back.data(), data.data(), data.size()) == 0;
    }

    World world;
    MoverOptions options;
    Pace pace{{}};
    std::map<std::uint16_t, std::unique_ptr<Mover>> movers;
};

inline WorldOptions shape(Level level, std::size_t disks, unsigned width, bool checksums, PowerLoss power) {
    WorldOptions out{.level = level, .disks = disks, .strip_size = 256u << 10, .width = width};
    out.checksums = checksums;
    out.power_loss = power;
    return out;
}

}  // namespace braid::testing
