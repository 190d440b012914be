// What operators do with the disks of groups. As in changes.cc everything is checked before anything is
// touched.
#include "controller/controller.h"
#include "controller/refusals.h"
#include "ondisk/space.h"

namespace braid {

/// The member that a disk is, of a group that is served here, by its name, the end of it, or group/number.
std::optional<Controller::MemberPlace> Controller::member_named(const std::string& name) const {
    for (const auto& [uuid, group] : groups_) {
        if (group->state() != GroupRuntime::State::serving) continue;
        for (std::size_t i = 0; i < group->member_count(); ++i) {
            const MemberIndex member(static_cast<std::uint8_t>(i));
            const Disk* disk = group->disk(member);
            const std::string place = group->name() + "/" + std::to_string(i);
            const bool named =
                name == place ||
                (disk != nullptr && (disk->name() == name || disk->name().ends_with("/" + name)));
            if (named) return MemberPlace{group, member, "disk " + name + " (" + place + ")"};
        }
    }
    return std::nullopt;
}

Task<AdminResult<Outcome>> Controller::fail_disk(std::string name, bool dry_run) {
    const auto found = member_named(name);
    if (!found) co_return refuse(Errc::not_found, "no group has a disk " + name, "braid disk list");
    Tables& tables = found->group->tables();
    const MemberState state = tables.state().members[found->member.v].state;
    if (!serves(state)) {
        co_return refuse(Errc::exists, "disk " + name + " is " + std::string(to_string(state)) + " already",
                         "braid disk list");
    }
    if (!tables.survives(MemberMask().set(found->member.v))) {
        co_return refuse(Errc::would_lose_data,
                         "group " + found->group->name() + " would go offline without disk " + name,
                         "replace the disks that have failed before");
    }
    Outcome outcome;
    outcome.steps.push_back("declares " + found->text + " failed, on all controllers");
    if (dry_run) co_return outcome;
    const Status status = co_await tables.fail_member(found->member, true);
    if (!status) co_return std::unexpected(from(status.error(), "disk " + name));
    co_return outcome;
}

AdminError Controller::not_reached(Error error, const std::string& what) const {
    return refuse(Errc::not_ready,
                  "controller " +
                      controller_name(controller_of(AmfId(static_cast<std::uint16_t>(error.detail)))) +
                      " does not reach " + what,
                  "all controllers that serve the group must: check its cables, and [disks] scan there")
        .error();
}

Task<std::optional<Controller::DiskBack>> Controller::disk_back(Tables& tables, const std::string& name) {
    for (const std::string& path : env_.shelf.scan()) {
        if (path != name && !path.ends_with("/" + name)) continue;
        Result<std::unique_ptr<Disk>> disk = env_.shelf.open(path);
        if (!disk) co_return std::nullopt;
        const Result<Superblock> superblock = co_await read_superblock(env_.executor, **disk);
        if (!superblock) co_return std::nullopt;
        const auto may = co_await tables.may_return(**disk, *superblock);
        if (!may && may.error().code == Errc::not_found) co_return std::nullopt;
        co_return DiskBack{std::move(*disk), *superblock, may};
    }
    co_return std::nullopt;
}

Task<AdminResult<Outcome>> Controller::take_back(MemberPlace member, DiskBack& back, bool dry_run) {
    const auto& [index, regions, missed] = *back.may;
    Outcome outcome;
    outcome.steps.push_back("takes " + member.text + " back");
    outcome.steps.push_back("copies what has been written since to it: at most " + std::to_string(missed) +
                            " of " + std::to_string(regions) + " regions of 4 MiB");
    if (dry_run) co_return outcome;
    const auto taken =
        co_await member.group->tables().take_back(*back.disk, back.superblock, env_.random.uuid());
    if (!taken && taken.error().code == Errc::not_ready)
        co_return std::unexpected(not_reached(taken.error(), member.text));
    if (!taken) co_return std::unexpected(from(taken.error(), member.text));
    co_return outcome;
}

/// The disk has a superblock already when it is asked for by others, so that they find it. One that is a
/// failed member's is taken back, or, if it lacks what it had, and by force, takes its own place anew.
Task<AdminResult<Outcome>> Controller::add_disk(AddDisk request) {
    const std::string what = "disk " + request.disk;
    std::optional<MemberPlace> old;
    if (!request.replaces.empty()) {
        old = member_named(request.replaces);
        if (!old)
            co_return refuse(Errc::not_found, "no group has a disk " + request.replaces, "braid disk list");
        const MemberState state = old->group->tables().state().members[old->member.v].state;
        if (state != MemberState::ok && state != MemberState::failed) {
            co_return refuse(Errc::exists, old->text + " is " + std::string(to_string(state)) + " already",
                             "braid disk add " + request.disk);
        }
    }
    const auto named =
        old ? AdminResult<std::shared_ptr<GroupRuntime>>(old->group) : serving_group(request.group);
    if (!named) co_return std::unexpected(named.error());
    const std::shared_ptr<GroupRuntime> group = *named;
    Tables& tables = group->tables();
    std::string away;
    if (auto back = old ? std::nullopt : co_await disk_back(tables, request.disk)) {
        const MemberIndex member = back->superblock.member;
        MemberPlace place{group, member, what + " (" + group->name() + "/" + std::to_string(member.v) + ")"};
        if (back->may) co_return co_await take_back(place, *back, request.dry_run);
        if (back->may.error().code == Errc::busy) {
            co_return refuse(Errc::busy, place.text + " must wait for another disk that is back",
                             "try again when its rebuild has ended: braid job list");
        }
        if (back->may.error().code != Errc::refused)
            co_return std::unexpected(from(back->may.error(), place.text));
        if (!request.force) {
            co_return refuse(Errc::would_lose_data,
                             place.text + " is not, or may not be, as it was when it failed",
                             "--force to overwrite it: what it had is made again from the others");
        }
        away = back->disk->name();
        old = std::move(place);
    }
    if (!tables.place_for_member()) {
        co_return refuse(Errc::no_space,
                         "group " + group->name() + " has " + std::to_string(kMaxMembers) + " disks",
                         "braid disk remove one of them first");
    }
    auto disks = co_await open_new_disks({request.disk}, request.force, away);
    if (!disks) co_return std::unexpected(disks.error());
    Disk& disk = *disks->front();
    const GroupConfig& config = tables.config();
    if (const std::uint32_t one = config.geometry.zone_size().units;
        units_on(disk.size(), config.data_start) < one) {
        co_return refuse(
            Errc::invalid, what + " is too small for group " + group->name(),
            "use one of " + std::to_string(smallest_disk(config.data_start, one)) + " bytes or more");
    }
    Outcome outcome;
    outcome.steps.push_back("writes a superblock and the tables of group " + group->name() + " on " + what);
    if (old) {
        outcome.steps.push_back("moves all that " + old->text +
                                " has, or had, to the other disks of its group");
        outcome.steps.push_back("then takes it out of the group");
    }
    if (request.dry_run) co_return outcome;
    const auto added = co_await tables.admit(disk, env_.random.uuid());
    if (!added && added.error().code == Errc::not_ready) {
        (void)co_await wipe_superblock(env_.executor, disk);
        co_return std::unexpected(not_reached(added.error(), what));
    }
    if (!added) co_return std::unexpected(from(added.error(), what));
    if (old) {
        const bool failed = tables.state().members[old->member.v].state == MemberState::failed;
        const Status status =
            co_await (failed ? tables.dismiss_member(old->member) : tables.begin_leave(old->member));
        if (!status && status.error().code == Errc::would_lose_data) {
            co_return refuse(
                Errc::would_lose_data,
                what + " is in the group, but the disks have no room for what " + request.replaces + " has",
                "add a larger one, too, then braid disk remove " + request.replaces);
        }
        if (!status) co_return std::unexpected(from(status.error(), "disk " + request.replaces));
    }
    co_return outcome;
}

/// All is checked before the first disk comes. They come one after the other; those before one that fails
/// stay, as spare room.
Task<AdminResult<Outcome>> Controller::expand_group(ExpandGroup request) {
    const auto group = serving_group(request.name);
    if (!group) co_return std::unexpected(group.error());
    Tables& tables = (*group)->tables();
    Outcome outcome;
    for (const bool dry_run : {true, false}) {
        if (!dry_run && request.dry_run) break;
        for (const std::string& disk : request.disks) {
            const auto added = co_await add_disk({disk, request.name, {}, request.force, dry_run});
            if (!added) co_return std::unexpected(added.error());
            if (dry_run) outcome.steps.insert(outcome.steps.end(), added->steps.begin(), added->steps.end());
        }
    }
    const std::uint64_t before = tables.config().extents;
    const StripeShape shape =
        request.width == 0 ? tables.config().wanted : tables.config().wanted.as_wide_as(request.width);
    const bool wider = shape != tables.config().wanted;
    if (wider && (!request.dry_run || request.disks.empty())) {
        const auto asked = co_await want_shape(**group, shape, request.dry_run);
        if (!asked) co_return std::unexpected(asked.error());
        outcome.job = asked->job;
    }
    if (!request.dry_run) {
        const Status status = co_await tables.expand();
        if (!status && !wider && status.error().code == Errc::exists) {
            co_return refuse(
                Errc::exists,
                "group " + (*group)->name() + " is as large as its disks are, and being spread over them",
                "braid group expand " + (*group)->name() + " --add DISK");
        }
        if (!status && status.error().code != Errc::exists)
            co_return std::unexpected(from(status.error(), "group " + (*group)->name()));
    }
    if (wider)
        outcome.steps.push_back("converts all that is there to stripes of " + std::to_string(request.width) +
                                " disks; then there may be more room");
    outcome.steps.push_back(
        "makes " + std::to_string((tables.extents_if_expanded() - before) * kExtentSize) +
        " bytes more for virtual disks" +
        (request.dry_run && !request.disks.empty() ? ", and what the new disks hold" : ""));
    outcome.steps.push_back("moves segments until all disks are as full as the others");
    co_return outcome;
}

/// All stripes are to have it, those that are there too.
Task<AdminResult<Outcome>> Controller::want_shape(GroupRuntime& group, StripeShape shape, bool dry_run) {
    Tables& tables = group.tables();
    const std::string what = "group " + group.name();
    if (const std::string reason = tables.why_not(shape); !reason.empty())
        co_return refuse(Errc::invalid, what + ": " + reason, "braid group show " + group.name());
    if (dry_run) co_return Outcome{};
    const Status status = co_await tables.set_wanted(shape);
    if (!status && status.error().code == Errc::no_space)
        co_return refuse(Errc::no_space,
                         what +
                             " has no room for what its virtual disks may need in such stripes, and for "
                             "one extent beside them while it is converted",
                         "braid group expand " + group.name() + " --add DISK");
    if (!status) co_return std::unexpected(from(status.error(), what));
    // Each AMF begins the job, too, when it sees that there is something to do.
    Outcome outcome;
    const auto id = co_await tables.add_job({.kind = JobKind::reshape, .started = env_.clock.unix_seconds()},
                                            newest_job());
    if (id) {
        outcome.job = *id;
    } else if (const JobRecord* present = tables.state().active(JobKind::reshape)) {
        outcome.job = present->id;
    }
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::remove_disk(std::string name, bool dry_run) {
    const auto found = member_named(name);
    if (!found) co_return refuse(Errc::not_found, "no group has a disk " + name, "braid disk list");
    Tables& tables = found->group->tables();
    const MemberState state = tables.state().members[found->member.v].state;
    const bool failed = state == MemberState::failed;
    if (state != MemberState::ok && !failed) {
        co_return refuse(Errc::exists, "disk " + name + " is " + std::string(to_string(state)) + " already",
                         "braid disk list");
    }
    const Status may = failed ? Status{} : tables.may_leave(found->member);
    if (!may && may.error().code == Errc::would_lose_data) {
        co_return refuse(Errc::would_lose_data,
                         "the other disks of group " + found->group->name() + " have no room for what " +
                             name + " has, and for what its virtual disks may need",
                         "braid disk add a disk first, or delete virtual disks");
    }
    Outcome outcome;
    outcome.steps.push_back(
        failed ? "makes all that " + found->text + " had again on the other disks of its group"
               : "moves all that " + found->text + " has to the other disks of its group");
    outcome.steps.push_back("then takes it out of the group");
    if (dry_run) co_return outcome;
    const Status status =
        co_await (failed ? tables.dismiss_member(found->member) : tables.begin_leave(found->member));
    if (!status) co_return std::unexpected(from(status.error(), "disk " + name));
    co_return outcome;
}

}  // namespace braid
