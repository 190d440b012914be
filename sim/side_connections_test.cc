// Hosts on real NBD connections to a simulated controller with several AMFs: connections of the sides, whose
// AMFs, sockets and operations are not the first thread's.
#include <gtest/gtest.h>

#include "host/nbd/testing.h"
#include "sim/node.h"

namespace braid::sim {
namespace {

using nbd::testing::Script;

/// One controller with two AMFs, and a host's process.
struct Site {
    Site() : host(world.start_process("host")), dialler(wires, *host), hosts(host->executor) {
        shape.controllers = 1;
        shape.dimension = 1;
        shape.sharing.amfs = 2;
        shape.nbd = {"sim:nbd"};
        media = make_media(world, shape);
        running = std::make_unique<Running>(wires, record, media, *process, shape);
        process->destroy = [this] { running.reset(); };
        run(running->controller.start());
        run(running->controller.create_group(group_request(shape)));
        run(running->controller.create_volume({"v", "g", kVolumeSize, false}));
        run(running->controller.create_ports({"v", {}, false}));
    }
    ~Site() { process->destroy = nullptr; }

    template <class T>
    static Task<void> wait(Task<T> task, bool& done) {
        EXPECT_TRUE((co_await std::move(task)).has_value());
        done = true;
    }
    template <class T>
    void run(Task<T> task) {
        bool done = false;
        running->scope.spawn(wait(std::move(task), done));
        ASSERT_TRUE(world.run_until([&] { return done; }, 30s));
    }
    static Task<Status> stop(Running& running) {
        co_await running.controller.stop();
        co_return Status{};
    }
    /// Says all of `bytes`, then takes what comes until the end.
    static Task<void> talk(Site& site, Bytes bytes, Bytes& got, bool& ended) {
        auto stream = co_await site.dialler.connect("sim:nbd");
        EXPECT_TRUE(stream.has_value());
        (void)co_await write_all(site.host->executor, **stream, bytes);
        std::array<std::byte, 4096> some;
        while (true) {
            const Result<std::size_t> count = co_await read_some(site.host->executor, **stream, some);
            if (!count || *count == 0) break;
            got.insert(got.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(*count));
        }
        ended = true;
    }

    World world{1};
    Wires wires{world};
    SharedRecord record;
    Shape shape;
    std::vector<std::unique_ptr<Media>> media;
    std::shared_ptr<Process> process = world.start_process("ctl-a");
    std::unique_ptr<Running> running;
    std::shared_ptr<Process> host;
    SimNetwork dialler;
    Scope hosts;
};

Bytes write_request(std::uint64_t offset) {
    Script all;
    all.u32(3).u64(nbd::kOptionMagic).u32(7).u32(4 + 1 + 2).u32(1).text("v").u16(0);  // flags, GO
    all.u32(0x25609513).u16(0).u16(1).u64(7).u64(offset).u32(8192).fill(8192, 5);
    return all.bytes();
}

TEST(SideConnections, AKilledControllerDropsOperationsBeforeTheAmfsThatTheyAreInsideOf) {
    Site site;
    std::array<Bytes, 4> got;
    std::array<bool, 4> ended{};
    for (std::size_t i = 0; i < got.size(); ++i)
        site.hosts.spawn(Site::talk(site, write_request(i << 20), got[i], ended[i]));
    const auto inside = [&](unsigned amf) {
        const auto sides = site.running->sides("v");
        return sides.size() == 2 && sides[amf]->in_flight() != 0;
    };
    ASSERT_TRUE(site.world.run_until([&] { return inside(0) && inside(1); }, 1s));
    site.world.crash(*site.process);
    EXPECT_EQ(site.running, nullptr);
    EXPECT_TRUE(site.world.run_until([&] { return ended[0] && ended[1] && ended[2] && ended[3]; }, 1s));
    for (const Bytes& answer : got) EXPECT_LT(answer.size(), 200u) << "the handshake at most";
}

TEST(SideConnections, HostsOfASideAreServedThere) {
    Site site;
    std::array<Bytes, 2> got;
    std::array<bool, 2> ended{};
    for (std::size_t i = 0; i < got.size(); ++i)
        site.hosts.spawn(Site::talk(site, write_request(i << 20), got[i], ended[i]));
    const Bytes well = Script().u32(0x67446698).u32(0).u64(7).bytes();
    const auto served = [&](const Bytes& answer) {
        return answer.size() >= well.size() && std::ranges::equal(std::span(answer).last(well.size()), well);
    };
    EXPECT_TRUE(site.world.run_until([&] { return served(got[0]) && served(got[1]); }, 5s));
    for (Amf* amf : site.running->amfs()) EXPECT_EQ(amf->counters().writes, 1u);
    site.run(Site::stop(*site.running));
    EXPECT_TRUE(site.world.run_until([&] { return ended[0] && ended[1]; }, 1s));
}

}  // namespace
}  // namespace braid::sim
