#include "sim/node.h"

#include <algorithm>

#include "ondisk/space.h"

namespace braid::sim {

Geometry geometry_of(const Shape& shape) {
    Geometry geometry =
        *Geometry::make(*parse_level(shape.level), shape.disks, static_cast<std::uint32_t>(shape.strip_size),
                        shape.level == "mirror" ? shape.copies : shape.width);
    geometry.checksums = shape.checksums;
    return geometry;
}

std::vector<StripeShape> stripe_shapes_of(const Shape& shape) {
    constexpr std::uint32_t kMostRows = 2100;
    const Geometry first = geometry_of(shape);
    // What moves to other members finds some.
    const std::size_t widest =
        shape.spare != 0 ? first.width() : std::min<std::size_t>(shape.disks, kMaxWidth);
    std::vector<StripeShape> out;
    if (!shape.mixed) return out;
    for (const Level level : {Level::mirror, Level::raid5, Level::raid6, Level::raid7_3}) {
        for (unsigned width = 2; width <= widest; ++width) {
            const auto other = Geometry::make(level, shape.disks, first.strip_size, width);
            if (!other || other->m < first.m || other->width() > 4 * first.width()) continue;  // journals
            if (other->rows_per_extent() <= std::max(kMostRows, first.rows_per_extent()))
                out.push_back(other->shape());
        }
    }
    return out;
}

std::vector<std::unique_ptr<Media>> make_media(World& world, const Shape& shape) {
    const Geometry geometry = geometry_of(shape);
    const std::uint64_t segments =
        (4 * geometry.width() + shape.disks - 1) / shape.disks + 1 + shape.spare + 2 * shape.reshapes;
    std::uint64_t size = (16u << 20) + segments * geometry.segment_space();
    for (const StripeShape other : stripe_shapes_of(shape))  // one of each extent on each member
        size = std::max(size, (16u << 20) + (6 + shape.spare) * geometry.of(other).segment_space());
    if (shape.power_loss == PowerLoss::journal) {
        const std::array sizes{size};
        size += shape.controllers * shape.sharing.amfs * usual_ring_size(geometry, sizes);
    }
    std::vector<std::unique_ptr<Media>> media;
    for (std::size_t i = 0; i < shape.disks + shape.extra_disks; ++i) {
        media.push_back(std::make_unique<Media>(world, i, size / kBlockSize * kBlockSize));
    }
    return media;
}

std::string disk_name(std::size_t member) { return (member < 10 ? "d0" : "d") + std::to_string(member); }

std::string controller_name(std::size_t number) {
    return "ctl-" + std::string(1, static_cast<char>('a' + number));
}

std::vector<std::string> outside_names(const Shape& shape) {
    std::vector<std::string> out;
    for (std::size_t i = shape.controllers; i < shape.all(); ++i) out.push_back(controller_name(i));
    return out;
}

CreateGroup group_request(const Shape& shape) {
    CreateGroup group;
    group.name = "g";
    group.level = shape.level;
    group.strip_size = shape.strip_size;
    group.sharing = shape.sharing;
    group.power_loss = shape.power_loss;
    group.checksums = shape.checksums;
    group.dimension = shape.dimension;
    group.copies = shape.copies;
    group.width = shape.width;
    for (std::size_t i = 0; i < shape.disks; ++i) group.disks.push_back(disk_name(i));
    for (std::size_t i = 0; shape.outside != 0 && i < shape.controllers; ++i)
        group.controllers.push_back(controller_name(i));
    return group;
}

static Location location_of(const Shape& shape, std::string_view name) {
    const auto number = static_cast<std::size_t>(name.back() - 'a');
    const auto label = [&](const std::vector<std::string>& labels) {
        return number < labels.size() ? labels[number] : std::string();
    };
    return {label(shape.hosts_of), label(shape.sites_of)};
}

Running::Running(Wires& wires, SharedRecord& record, std::vector<std::unique_ptr<Media>>& media,
                 Process& process, const Shape& shape)
    : network(wires, process),
      store(process, record),
      shelf(process, media),
      threads(process, network, shelf, shape.slow_sides),
      controller(Environment{process.executor, process.clock, network, store, shelf, process.random, threads},
                 ControllerConfig{.name = process.name,
                                  .peer_address = "sim:0",
                                  .location = location_of(shape, process.name),
                                  .nbd = shape.nbd,
                                  .ping_timeout = shape.ping_timeout,
                                  .intent_idle = shape.intent_idle,
                                  .cache = shape.cache,
                                  .dirty = shape.dirty,
                                  .dirty_age = shape.dirty_age,
                                  .passed = shape.passed,
                                  .checksums = shape.checksum_cache,
                                  .window = shape.window,
                                  .copy_window = shape.copy_window,
                                  .window_age = shape.window_age,
                                  .spare_delay = shape.spare_delay,
                                  .host_p99 = shape.host_p99,
                                  .background_min = shape.background_min,
                                  .limping = shape.limping}),
      scope(process.executor) {}

std::vector<Amf*> Running::amfs() {
    std::vector<Amf*> out;
    if (controller.groups().empty()) return out;
    GroupRuntime& group = *controller.groups().begin()->second;
    // They are started in this order.
    for (unsigned i = 0; i < group.amfs() && group.seat(i).made(); ++i) {
        Amf& amf = group.seat(i).runtime().amf();
        if (!amf.tables().loaded()) break;
        out.push_back(&amf);
    }
    return out;
}

std::vector<std::shared_ptr<Port>> Running::sides(std::string_view port) {
    std::vector<std::shared_ptr<Port>> out;
    for (const auto& [uuid, group] : controller.groups()) {
        for (unsigned i = 0; i < group->amfs() && group->seat(i).made(); ++i) {
            if (auto side = group->seat(i).runtime().port(port)) out.push_back(std::move(side));
        }
    }
    auto elsewhere = controller.groups().empty() ? controller.registry().find(port) : nullptr;
    if (elsewhere != nullptr) out.push_back(std::move(elsewhere));
    return out;
}

Running::Side Running::take_turn(std::string_view port) {
    const auto all = sides(port);
    if (all.empty()) return {};
    Side out{all[controller.registry().take_turn(port) % all.size()]};
    for (const auto& [uuid, group] : controller.groups()) {
        for (unsigned i = 0; i < group->amfs() && group->seat(i).made(); ++i) {
            if (group->seat(i).runtime().port(port) == out.port) out.index = i;
        }
    }
    return out;
}

Amf* Running::amf() {
    const std::vector<Amf*> all = amfs();
    return all.empty() ? nullptr : all.front();
}

bool Running::fits(const Tables* tables) {
    const auto& members = controller.view().members;
    if (std::ranges::find(members, controller.name(), &ViewMember::name) == members.end()) return false;
    if (tables == nullptr) return true;
    const auto slot = tables->config().slot_of(controller.name());
    const std::vector<VolumeRecord> volumes = tables->volumes();
    const auto v = std::ranges::find(volumes, "v", &VolumeRecord::name);
    const bool wanted = slot && v != volumes.end() && v->has_port(*slot) && !v->closes_port(*slot);
    return wanted == (controller.registry().find("v") != nullptr);
}

std::uint64_t Running::moves() const {
    std::uint64_t out = 0;
    for (const auto& group : controller.forwarder().groups())
        out += group.counters.moved + group.counters.refused;
    return out;
}

bool Running::serving() {
    if (controller.groups().empty()) return false;
    return controller.groups().begin()->second->state() == GroupRuntime::State::serving;
}

}  // namespace braid::sim
