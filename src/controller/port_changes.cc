// What operators ask a controller to change about ports, and with them virtual disks that go. Everything is
// checked before anything is touched.
#include <algorithm>

#include "controller/controller.h"
#include "controller/refusals.h"

namespace braid {

Task<AdminResult<Outcome>> Controller::close_ports(VolumeRef volume, std::vector<ControllerSlot> slots) {
    Tables& tables = volume.group->tables();
    std::uint32_t closing = 0;
    for (const ControllerSlot slot : slots) {
        // Nobody drains the port of a controller that is gone: its operations ended with it. Those of one
        // outside of the group are elsewhere, and the group's keeper sees to them.
        const bool drains = is_outside(slot) || live(tables.config().name_of(slot)) != nullptr;
        const Status status = co_await (drains ? tables.close_port(volume.record.id, slot)
                                               : tables.remove_port(volume.record.id, slot));
        if (!status) co_return std::unexpected(from(status.error(), "port of " + volume.record.name));
        closing |= 1u << slot.v;
    }
    co_return co_await wait_closed(std::move(volume), closing);
}

/// Until the volume has none of these ports any more, which are closing; `slots` is a bit for each.
Task<AdminResult<Outcome>> Controller::wait_closed(VolumeRef volume, std::uint32_t slots) {
    Tables& tables = volume.group->tables();
    const Nanos deadline = env_.clock.now() + 30s;
    while (true) {
        const auto now = find_volume(volume.record.name);
        if (!now || now->record.id != volume.record.id) co_return Outcome{};
        std::uint32_t left = now->record.ports & slots;
        for (std::uint8_t slot = 0; slot < kMaxControllers; ++slot) {
            const bool present = (left >> slot & 1) != 0;
            if (!present || live(tables.config().name_of(ControllerSlot(slot))) != nullptr) continue;
            (void)co_await tables.remove_port(volume.record.id, ControllerSlot(slot));
            left &= ~(1u << slot);
        }
        if (left == 0) co_return Outcome{};
        if (env_.clock.now() >= deadline) {
            co_return refuse(
                Errc::timeout,
                "port of " + volume.record.name + " is closing, operations of its hosts are still in flight",
                "braid port list");
        }
        co_await sleep_for(env_.clock, 5ms);
    }
}

Task<AdminResult<Outcome>> Controller::delete_volume(std::string name, bool force, bool dry_run) {
    const auto volume = find_volume(name);
    if (!volume) co_return std::unexpected(volume.error());
    const std::string what = "volume " + name;
    if (volume->record.ports != 0 && !force) {
        co_return refuse(Errc::would_lose_data, what + " has ports, hosts may use it",
                         "braid port delete " + name + " CONTROLLER, or --force");
    }
    Outcome outcome;
    std::vector<ControllerSlot> slots;
    for (std::uint8_t slot = 0; slot < kMaxControllers + kMaxOutside; ++slot) {
        if (volume->record.has_port(ControllerSlot(slot))) slots.push_back(ControllerSlot(slot));
    }
    if (!slots.empty()) outcome.steps.push_back("closes " + std::to_string(slots.size()) + " ports");
    outcome.steps.push_back("deletes " + what + " and gives its space back");
    if (dry_run) co_return outcome;
    if (!slots.empty()) {
        const auto closed = co_await close_ports(*volume, std::move(slots));
        if (!closed) co_return std::unexpected(closed.error());
    }
    const Status status = co_await volume->group->tables().delete_volume(volume->record.id);
    if (!status) co_return std::unexpected(from(status.error(), what));
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::create_ports(CreatePorts request) {
    const auto volume = find_volume(request.volume);
    if (!volume) co_return std::unexpected(volume.error());
    Tables& tables = volume->group->tables();
    std::vector<std::string> names = request.controllers;
    const auto& sharing = tables.config().controllers;
    const std::uint32_t closing = volume->record.closing;
    const std::uint32_t open = volume->record.ports & ~closing;
    if (names.empty()) {
        for (std::size_t slot = 0; slot < sharing.size(); ++slot) {
            if (!sharing[slot].empty() && (open >> slot & 1) == 0) names.push_back(sharing[slot]);
        }
    }
    Outcome outcome;
    std::uint32_t first_to_close = 0;
    for (const std::string& name : names) {
        const auto slot = tables.config().slot_of(name);
        const bool outside = !slot || is_outside(*slot);
        if (!slot && std::ranges::find(view_.known, name, &KnownController::name) == view_.known.end())
            co_return refuse(Errc::not_found, "controller " + name + " is unknown", "braid controller list");
        if (slot && (open >> slot->v & 1) != 0) {
            co_return refuse(Errc::exists, "volume " + request.volume + " has a port on " + name + " already",
                             "braid port list");
        }
        if (slot) first_to_close |= closing & 1u << slot->v;
        outcome.steps.push_back("opens a port of " + request.volume + " on " + name +
                                (outside ? ", forwarded to those that share " + volume->group->name() : ""));
    }
    if (request.dry_run) co_return outcome;
    if (first_to_close != 0) {
        const auto closed = co_await wait_closed(*volume, first_to_close);
        if (!closed) co_return std::unexpected(closed.error());
    }
    for (const std::string& name : names) {
        const auto slot = tables.config().slot_of(name);
        const bool outside = !slot || is_outside(*slot);
        const Status status = co_await (outside ? tables.add_outside_port(volume->record.id, name)
                                                : tables.add_port(volume->record.id, *slot));
        if (!status) co_return std::unexpected(from(status.error(), "port of " + request.volume));
    }
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::delete_port(std::string name, std::string controller, bool dry_run) {
    const auto volume = find_volume(name);
    if (!volume) co_return std::unexpected(volume.error());
    const auto slot = volume->group->tables().config().slot_of(controller);
    if (!slot || !volume->record.has_port(*slot)) {
        co_return refuse(Errc::not_found, "volume " + name + " has no port on " + controller,
                         "braid port list");
    }
    Outcome outcome;
    outcome.steps.push_back("closes the port of " + name + " on " + controller +
                            " when what is in flight has finished");
    if (dry_run) co_return outcome;
    const auto closed = co_await close_ports(*volume, {*slot});
    if (!closed) co_return std::unexpected(closed.error());
    co_return outcome;
}

}  // namespace braid
