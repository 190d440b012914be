// What operators ask a controller to change. Everything is checked before anything is touched; a refusal
// names the thing, the reason and what to do.
#include <algorithm>
#include <set>

#include "base/log.h"
#include "controller/controller.h"
#include "controller/refusals.h"

namespace braid {
namespace {

constexpr Nanos kAttachPatience = 10s;

std::string join(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

std::string scrub_every_text(std::uint32_t seconds) {
    return seconds == 0 ? "never" : std::to_string(seconds) + " s";
}

/// A controller's slot, and those of its partners.
AdminResult<std::pair<std::uint8_t, NamedPartners>> named_partners(const GroupConfig& config,
                                                                   const std::string& controller,
                                                                   const std::vector<std::string>& partners) {
    const auto slot_of = [&](const std::string& name) -> AdminResult<std::uint8_t> {
        const auto slot = config.slot_of(name);
        if (slot && !is_outside(*slot)) return slot->v;
        return refuse(Errc::not_found, "controller " + name + " does not share group " + config.name,
                      "braid group show " + config.name);
    };
    const auto of = slot_of(controller);
    if (!of) return std::unexpected(of.error());
    NamedPartners out;
    std::set<std::string> places;
    for (const std::string& name : partners) {
        const bool is_place = name.starts_with(kHostPlace) || name.starts_with(kSitePlace);
        if (is_place && !valid_place(name))
            return refuse(Errc::invalid, "group " + config.name + ": " + name + " names no place",
                          "host:LABEL or site:LABEL, as in the [controller] section of the controllers");
        const auto partner = is_place ? AdminResult<std::uint8_t>(std::uint8_t{0}) : slot_of(name);
        if (!partner) return std::unexpected(partner.error());
        const unsigned bit = is_place ? 0 : 1u << *partner;
        if ((out.controllers & bit) != 0 || (is_place && !places.insert(name).second)) {
            return refuse(Errc::invalid, "group " + config.name + ": partner " + name + " is named twice",
                          "name each controller, host and site once");
        }
        out.controllers = static_cast<std::uint16_t>(out.controllers | bit);
    }
    out.places.assign(places.begin(), places.end());
    return std::pair{*of, std::move(out)};
}

}  // namespace

std::shared_ptr<GroupRuntime> Controller::find_group(std::string_view name) const {
    for (const auto& [uuid, group] : groups_) {
        if (group->name() == name) return group;
    }
    return nullptr;
}

const ViewMember* Controller::live(std::string_view controller) const {
    for (const ViewMember& member : view_.members) {
        if (member.name == controller) return &member;
    }
    return nullptr;
}

AdminResult<std::shared_ptr<GroupRuntime>> Controller::serving_group(std::string_view name) const {
    if (name.empty()) {
        if (groups_.empty())
            return refuse(Errc::not_found, "this controller serves no group", "braid group create");
        if (groups_.size() > 1)
            return refuse(Errc::invalid, "there are several groups", "name one: --group NAME");
    }
    std::shared_ptr<GroupRuntime> group = name.empty() ? groups_.begin()->second : find_group(name);
    if (group == nullptr) {
        return refuse(Errc::not_found, "group " + std::string(name) + " is not served by " + config_.name,
                      "braid group list; ask a controller that shares it with --api");
    }
    if (group->state() != GroupRuntime::State::serving) {
        return refuse(Errc::busy, "group " + group->name() + " is not served by " + config_.name + " now",
                      "braid status says why; ask another controller with --api");
    }
    return group;
}

AdminResult<Controller::VolumeRef> Controller::find_volume(std::string_view name) const {
    for (const auto& [uuid, group] : groups_) {
        if (group->state() != GroupRuntime::State::serving) continue;
        for (const VolumeRecord& record : group->tables().volumes()) {
            if (record.name == name) return VolumeRef{group, record};
        }
    }
    return refuse(Errc::not_found, "there is no volume " + std::string(name), "braid volume list");
}

// ---- groups

/// Those that nobody uses, open, in this order.
/// `away`: one that a group knows, and does not use any more.
Task<AdminResult<std::vector<std::unique_ptr<Disk>>>> Controller::open_new_disks(
    std::vector<std::string> names, bool force, std::string away) {
    std::vector<std::unique_ptr<Disk>> disks;
    const std::vector<std::string> shelf = env_.shelf.scan();
    std::map<std::string, std::string> users;  // disk -> who has it
    for (const auto& [uuid, group] : groups_) {
        for (std::string& name : group->disk_names())
            users.emplace(std::move(name), "belongs to the group " + group->name() + ", which is in use");
    }
    users.erase(away);
    for (const std::string& wanted : names) {
        const auto named = [&](const std::string& path) {
            return path == wanted || path.ends_with("/" + wanted);
        };
        const auto found = std::find_if(shelf.begin(), shelf.end(), named);
        if (found == shelf.end()) {
            co_return refuse(Errc::not_found,
                             "disk " + wanted + " matches none of this controller's [disks] scan patterns",
                             "braid disk list");
        }
        const auto [user, free] = users.emplace(*found, "is named twice");
        if (!free)
            co_return refuse(Errc::would_lose_data, "disk " + wanted + ' ' + user->second, "braid disk list");
        const auto content = env_.shelf.probe(*found);
        if (!content) {
            co_return refuse(content.error().code, "disk " + wanted + " cannot be read",
                             "check the path and permissions");
        }
        if (!content->empty && !force) {
            co_return refuse(Errc::would_lose_data, "disk " + wanted + " holds " + content->what,
                             "use another disk, or --force to overwrite it");
        }
        Result<std::unique_ptr<Disk>> disk = env_.shelf.open(*found);
        if (!disk)
            co_return refuse(disk.error().code, "disk " + wanted + " cannot be opened", "check permissions");
        const Result<Superblock> superblock = co_await read_superblock(env_.executor, **disk);
        const bool ours = superblock || superblock.error().code != Errc::not_found;
        if (ours && !force) {
            co_return refuse(
                Errc::would_lose_data,
                "disk " + wanted + " belongs to the group " +
                    (superblock ? superblock->group_name : std::string("of an unreadable superblock")),
                "use another disk, or --force to overwrite it");
        }
        disks.push_back(std::move(*disk));
    }
    co_return disks;
}

Task<bool> Controller::wait_attached(Uuid uuid, std::vector<std::string> controllers) {
    const Nanos deadline = env_.clock.now() + kAttachPatience;
    while (true) {
        const auto own = groups_.find(uuid);
        bool all = own == groups_.end() || own->second->state() == GroupRuntime::State::serving;
        for (const std::string& name : controllers) {
            const ViewMember* member = live(name);
            if (member != nullptr && !member->attached(uuid)) all = false;
            if (name == config_.name && own == groups_.end()) all = false;
        }
        if (all) co_return true;
        if (env_.clock.now() >= deadline) co_return false;
        co_await sleep_for(env_.clock, 5ms);
    }
}

Task<AdminResult<Outcome>> Controller::create_group(CreateGroup request) {
    const std::string what = "group " + request.name;
    if (!valid_name(request.name)) {
        co_return refuse(Errc::invalid, "'" + request.name + "' is not a name",
                         "letters, digits, '.', '_', '-', at most 63, not beginning with '.' or '-'");
    }
    if (find_group(request.name) != nullptr)
        co_return refuse(Errc::exists, what + " exists already", "braid group list");
    const auto level = parse_level(request.level);
    if (!level) {
        co_return refuse(Errc::invalid, "level '" + request.level + "' is unknown",
                         "mirror, raid5, raid6 or raid7.3");
    }
    if (request.disks.size() < 3 || request.disks.size() > kMaxMembers) {
        co_return refuse(Errc::invalid, what + " names " + std::to_string(request.disks.size()) + " disks",
                         "a group has 3 to " + std::to_string(kMaxMembers) + " disks");
    }
    const std::size_t most =
        request.disks.size() - std::min<std::size_t>(request.disks.size(), request.spares);
    const unsigned width = request.width != 0 || request.spares == 0
                               ? request.width
                               : static_cast<unsigned>(std::min<std::size_t>(most, kMaxWidth));
    const auto geometry =
        Geometry::make(*level, request.disks.size(), static_cast<std::uint32_t>(request.strip_size),
                       *level == Level::mirror ? request.copies : width);
    if (geometry ? geometry->width() > most : most == 0) {
        co_return refuse(Errc::invalid,
                         what + ": " + std::to_string(request.spares) + " spares of " +
                             std::to_string(request.disks.size()) + " disks leave " + std::to_string(most) +
                             (geometry ? ", and a stripe is " + std::to_string(geometry->width()) + " wide"
                                       : std::string{}),
                         "fewer --spares, more --disks or a smaller --width");
    }
    if (!geometry || request.strip_size > kMaxStripSize) {
        co_return refuse(
            Errc::invalid,
            what + ": " + request.level + " on " + std::to_string(request.disks.size()) + " disks" +
                (request.spares == 0
                     ? std::string()
                     : ", of which the room of " + std::to_string(request.spares) + " is kept,") +
                " with a strip of " + std::to_string(request.strip_size) + " bytes is not possible",
            "strip size: a power of two from 4 KiB to 1 MiB; disks: raid5 3, raid6 4, raid7.3 5 or more; "
            "mirror 2 to 4 copies; width: parity strips and 2 or more, at most as many as disks, and 24");
    }
    NewGroup wish;
    wish.name = request.name;
    wish.geometry = *geometry;
    wish.geometry.checksums = request.checksums.value_or(wish.geometry.strip_size >= kMinUsualChecksumStrip);
    wish.controllers = request.controllers;
    if (wish.controllers.empty()) {
        for (const ViewMember& member : view_.members) wish.controllers.push_back(member.name);
    }
    if (wish.controllers.size() > kMaxControllers) {
        co_return refuse(Errc::invalid, what + " names more than 16 controllers",
                         "name fewer with --controllers");
    }
    for (const std::string& name : wish.controllers) {
        const bool known = std::any_of(view_.known.begin(), view_.known.end(),
                                       [&](const KnownController& k) { return k.name == name; });
        if (!known)
            co_return refuse(Errc::not_found, "controller " + name + " is unknown", "braid controller list");
    }
    if (std::find(wish.controllers.begin(), wish.controllers.end(), config_.name) == wish.controllers.end()) {
        co_return refuse(Errc::invalid, config_.name + " is not among the controllers of " + what,
                         "ask one that will share the group: --api");
    }
    for (auto at = wish.controllers.begin(); at != wish.controllers.end(); ++at) {
        if (std::find(at + 1, wish.controllers.end(), *at) != wish.controllers.end())
            co_return refuse(Errc::invalid, what + ": controller " + *at + " is named twice",
                             "name each controller once");
    }
    if (request.dimension > kMaxDimension)
        co_return refuse(Errc::invalid, what + ": dimension out of range", "dimension 1 to 8");
    if (request.dimension > wish.controllers.size()) {
        co_return refuse(
            Errc::invalid,
            what + ": dimension " + std::to_string(request.dimension) + " is more than the " +
                std::to_string(wish.controllers.size()) + " controllers that share it: each keeps one copy",
            "--dimension " + std::to_string(wish.controllers.size()) + " at most, or more --controllers");
    }
    wish.dimension = static_cast<std::uint8_t>(
        request.dimension != 0 ? request.dimension : std::min<std::size_t>(2, wish.controllers.size()));
    wish.sharing = request.sharing;
    wish.power_loss = request.power_loss;
    wish.spares = static_cast<std::uint8_t>(request.spares);
    const std::string_view complaint =
        wish.sharing.complaint(wish.controllers.size(), wish.geometry.strip_size);
    if (!complaint.empty())
        co_return refuse(Errc::invalid, what + ": " + std::string(complaint), "braid group create --help");

    auto disks = co_await open_new_disks(request.disks, request.force);
    if (!disks) co_return std::unexpected(disks.error());
    Outcome outcome;
    outcome.steps.push_back("writes " + std::to_string(disks->size()) +
                            " superblocks: " + join(request.disks));
    outcome.steps.push_back("makes " + what + ", " + request.level + ' ' + std::to_string(geometry->k) + '+' +
                            std::to_string(geometry->m) + ", shared by " + join(wish.controllers));
    if (!wish.geometry.checksums && !request.checksums) {
        outcome.steps.push_back(
            "keeps no checksums of blocks: with strips of less than 16 KiB they take much "
            "of the disks; --checksums on if they shall be kept");
    }
    if (wish.sharing.write_cache == WriteCache::back && wish.dimension == 1) {
        outcome.steps.push_back(
            "answers hosts when the disks have their writes: write-back needs a copy elsewhere, --dimension "
            "2");
    }
    if (request.dry_run) co_return outcome;

    std::vector<Disk*> raw;
    for (const auto& disk : *disks) raw.push_back(disk.get());
    const std::vector<std::string> sharing = wish.controllers;
    const Result<Uuid> uuid =
        co_await format_group(env_.executor, env_.random, std::move(wish), std::move(raw));
    if (!uuid) co_return std::unexpected(from(uuid.error(), what));
    disks->clear();
    LOG_INFO("group.created", {"group", request.name}, {"level", request.level},
             {"disks", request.disks.size()});
    tell_groups_changed();
    want_rescan();
    if (!co_await wait_attached(*uuid, sharing)) {
        co_return refuse(Errc::timeout, what + " was created, but not all of its controllers serve it yet",
                         "braid status; braid group show " + request.name);
    }
    co_return outcome;
}

// ---- virtual disks

static AdminResult<Outcome> no_room_for(const std::string& what, const Tables& tables) {
    std::uint64_t taken = 0;
    for (const VolumeRecord& volume : tables.volumes()) taken += volume.extents;
    const std::uint64_t usable = tables.usable_extents();
    const std::string left = std::to_string((usable - std::min(usable, taken)) * kExtentSize);
    const std::string& name = tables.config().name;
    if (tables.failed_members() != 0)
        return refuse(
            Errc::no_space,
            what + ": group " + name + " has " + left + " bytes that no virtual disk has, and failed disks",
            "braid disk replace OLD NEW, for each of the failed disks");
    return refuse(Errc::no_space,
                  what + ": group " + name + " has " + left + " bytes that no virtual disk has",
                  "braid group expand " + name + " --add DISK, or delete virtual disks");
}

Task<AdminResult<Outcome>> Controller::create_volume(CreateVolume request) {
    const auto group = serving_group(request.group);
    if (!group) co_return std::unexpected(group.error());
    const std::string what = "volume " + request.name;
    if (!valid_name(request.name)) {
        co_return refuse(Errc::invalid, "'" + request.name + "' is not a name",
                         "letters, digits, '.', '_', '-', at most 63, not beginning with '.' or '-'");
    }
    if (request.size == 0 || request.size % 512 != 0) {
        co_return refuse(Errc::invalid, what + ": " + std::to_string(request.size) + " bytes is not a size",
                         "a multiple of 512 bytes");
    }
    if (find_volume(request.name))
        co_return refuse(Errc::exists, what + " exists already", "braid volume list");
    Outcome outcome;
    outcome.steps.push_back("makes " + what + " of " + std::to_string(request.size) + " bytes in " +
                            (*group)->name());
    if (request.dry_run) co_return outcome;
    const auto record = co_await (*group)->tables().create_volume(request.name, request.size);
    if (!record && record.error().code == Errc::no_space) co_return no_room_for(what, (*group)->tables());
    if (!record) co_return std::unexpected(from(record.error(), what));
    co_return outcome;
}

// ---- controllers, jobs

Task<AdminResult<Outcome>> Controller::fence_controller(std::string name, bool dry_run) {
    const ViewMember* member = live(name);
    if (member == nullptr) {
        co_return refuse(Errc::not_found, "controller " + name + " is not up", "braid controller list");
    }
    if (name == config_.name) {
        co_return refuse(Errc::invalid, "a controller does not fence itself", "ask another one: --api");
    }
    Outcome outcome;
    outcome.steps.push_back("kills " + name + " (pid " + std::to_string(member->process.pid) +
                            "), the others finish its open operations");
    if (dry_run) co_return outcome;
    const ControllerId id = member->id;
    const Incarnation incarnation = member->incarnation;
    membership_->suspect(id, SuspectReason::operator_request);
    const Nanos deadline = env_.clock.now() + 10s;
    while (const ViewMember* still = view_.find(id)) {
        if (still->incarnation != incarnation) break;
        if (env_.clock.now() >= deadline) {
            co_return refuse(Errc::timeout, "controller " + name + " is still in the view",
                             "braid controller list");
        }
        co_await sleep_for(env_.clock, 2ms);
    }
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::set_group(SetGroup request) {
    const auto group = serving_group(request.name);
    if (!group) co_return std::unexpected(group.error());
    Tables& tables = (*group)->tables();
    const GroupConfig& config = tables.config();
    const std::string what = "group " + config.name;
    if (!request.partners_of.empty()) {
        const auto named = named_partners(config, request.partners_of, request.partners);
        if (!named) co_return std::unexpected(named.error());
        request.change.partners = *named;
    }
    if (request.change == SharingChange{} && !request.scrub_every && !request.level && !request.spares)
        co_return refuse(Errc::invalid, what + ": nothing is to be set", "braid group set --help");
    const SharingOptions before = config.sharing, after = request.change.applied_to(before);
    const std::string_view complaint = after.complaint(config.controllers.size(), config.geometry.strip_size);
    if (!complaint.empty())
        co_return refuse(Errc::invalid, what + ": " + std::string(complaint), "braid group set --help");
    Outcome outcome;
    const auto step = [&](std::string name, const std::string& from_value, const std::string& to_value) {
        if (from_value != to_value)
            outcome.steps.push_back("sets " + name + " of " + what + " from " + from_value + " to " +
                                    to_value + ", on all controllers");
    };
    const auto us = [](Nanos time) { return std::to_string(time / 1us) + " us"; };
    step("lock order", std::string(to_string(before.lock_order)), std::string(to_string(after.lock_order)));
    step("minimum hold", us(before.min_hold), us(after.min_hold));
    step("prefetch", std::to_string(before.prefetch), std::to_string(after.prefetch));
    step("replication", std::string(to_string(before.replication)),
         std::string(to_string(after.replication)));
    step("few partners", std::string(to_string(before.few_partners)),
         std::string(to_string(after.few_partners)));
    if (before.partners != after.partners) {
        outcome.steps.push_back(request.partners.empty()
                                    ? "lets " + what + " choose the partners of " + request.partners_of
                                    : "keeps records of " + request.partners_of + " in " + what + " at " +
                                          join(request.partners) + " where these are up");
    }
    const std::uint32_t every = tables.state().schedule.every;
    if (request.scrub_every && *request.scrub_every > ScrubSchedule::kLongest)
        co_return refuse(Errc::invalid, what + ": --scrub-every is more than ten years", "7d");
    if (request.scrub_every)
        step("scrub every", scrub_every_text(every), scrub_every_text(*request.scrub_every));
    const StripeShape shape = request.level ? config.wanted.at_level(*request.level) : config.wanted;
    const bool converts = shape != config.wanted;
    if (request.spares) {
        const bool more = *request.spares > config.spares;
        if (more && !tables.can_spare(*request.spares, shape)) {
            co_return refuse(Errc::no_space,
                             what + " has no room of " + std::to_string(*request.spares) +
                                 " disks beside its stripes and what its virtual disks may need",
                             "braid group expand " + request.name +
                                 " --add DISK, delete virtual disks, or fewer --spares");
        }
        step("spares", std::to_string(config.spares), std::to_string(*request.spares));
    }
    if (const Obstacle obstacle = tables.why_not(shape, {}, request.spares); obstacle != Obstacle::none)
        co_return std::unexpected(cannot_convert(tables, shape, obstacle));
    if (converts) {
        outcome.steps.push_back("converts all stripes of " + what + " to " +
                                std::string(to_string(shape.level)) + " on " + std::to_string(shape.width()) +
                                " disks");
    }
    if (outcome.steps.empty()) outcome.steps.push_back(what + " is so already");
    if (request.dry_run) co_return outcome;
    GroupChange change{request.change, {}, request.scrub_every, request.spares};
    if (converts) change.wanted = shape;
    const Status status = co_await tables.set(change);
    if (!status) co_return std::unexpected(from(status.error(), what));
    if (converts) outcome.job = co_await job_of_shapes(tables);
    co_return outcome;
}

}  // namespace braid
