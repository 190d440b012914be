// What the benches in the simulator share: a cluster with the group "g" and its virtual disk "v", which every
// controller has; links and disks that always take the same time.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/node.h"

namespace braid::sim {

class SimBench {
public:
    SimBench(const SimBench&) = delete;
    SimBench& operator=(const SimBench&) = delete;

protected:
    struct Timing {
        Nanos link, disk;  ///< of a message one way, of a disk command
    };
    /// `name`: for messages.
    SimBench(std::string name, Shape shape, std::uint64_t volume_size, std::uint64_t seed, Timing timing)
        : shape_(std::move(shape)), world_(seed), wires_(world_), prng_(seed), name_(std::move(name)) {
        world_.knobs.link_latency_min = world_.knobs.link_latency_max = timing.link;
        world_.knobs.disk_latency_min = world_.knobs.disk_latency_max = timing.disk;
        world_.knobs.stream_window = 64u << 20;
        media_ = make_media(world_, shape_);
        for (std::size_t i = 0; i < shape_.controllers; ++i) start();
        finish(first().create_group(group_request(shape_)));
        finish(first().create_volume({"v", "g", volume_size, false}));
        finish(first().create_ports({"v", {}, false}));
    }
    ~SimBench() {
        for (Node& node : nodes_) node.running.reset();
    }

    struct Node {
        std::shared_ptr<Process> process;
        std::unique_ptr<Running> running;
        std::shared_ptr<Port> port() { return running->controller.registry().find("v"); }
    };
    Controller& first() { return nodes_[0].running->controller; }

    void must(bool reached, std::string_view what) {
        if (reached && world_.violated().empty()) return;
        fmt::print(stderr, "{}: {}: {}\n", name_, what, world_.violated());
        std::exit(1);
    }
    void finish(Task<AdminResult<braid::Outcome>> task, bool may_fail = false) {
        std::optional<AdminResult<braid::Outcome>> out;
        nodes_[0].running->scope.spawn(into(std::move(task), &out));
        must(world_.run_until([&] { return out.has_value(); }, 30s) && (*out || may_fail),
             "a change of the cluster failed" + (out && !*out ? ": " + out->error().detail : ""));
    }
    void rest(Nanos time) {
        world_.after(time, [] {});  // time stands at the last event
        (void)world_.run_until([] { return false; }, time);
    }

    const Shape shape_;
    World world_;
    Wires wires_;
    SharedRecord record_;
    Prng prng_;
    std::vector<std::unique_ptr<Media>> media_;
    std::vector<Node> nodes_;

private:
    void start() {
        Node& node = nodes_.emplace_back();
        node.process = world_.start_process(controller_name(nodes_.size() - 1));
        node.running = std::make_unique<Running>(wires_, record_, media_, *node.process, shape_);
        node.running->scope.spawn(live(node.running->controller));
        const auto all_in = [this] {
            return std::ranges::all_of(nodes_, [this](const Node& n) {
                return n.running->controller.view().members.size() == nodes_.size();
            });
        };
        must(world_.run_until(all_in, 20s), "no common view");
    }
    static Task<void> live(Controller& controller) { (void)co_await controller.start(); }
    static Task<void> into(Task<AdminResult<braid::Outcome>> task,
                           std::optional<AdminResult<braid::Outcome>>* out) {
        out->emplace(co_await std::move(task));
    }

    const std::string name_;
};

}  // namespace braid::sim
