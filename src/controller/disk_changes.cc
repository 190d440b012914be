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
        co_return refuse(Errc::exists, found->text + " is " + std::string(to_string(state)) + " already",
                         state == MemberState::failed
                             ? "braid disk replace " + name + " NEW, or remove " + name
                             : "braid disk list");
    }
    if (!tables.survives(MemberMask().set(found->member.v))) {
        const unsigned lost = tables.failed_members();
        co_return refuse(
            Errc::would_lose_data,
            "group " + found->group->name() + " would go offline without " + found->text +
                (lost == 0 ? std::string() : ": " + std::to_string(lost) + " of its disks are gone already"),
            lost == 0 ? "braid disk replace " + name + " NEW moves what it has first"
                      : "braid disk replace OLD NEW, for each that is gone, and wait: braid job list");
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
    outcome.job = co_await job_of_moves(member.group->tables(), JobKind::rebuild);
    co_return outcome;
}

/// Disks that are to come into the group, open: each has room for a segment, and nobody uses it.
Task<AdminResult<Controller::NewDisks>> Controller::new_disks(GroupRuntime& group,
                                                              std::vector<std::string> names, bool force,
                                                              std::string away) {
    const GroupConfig& config = group.tables().config();
    if (!group.tables().places_for(names.size())) {
        co_return refuse(Errc::no_space,
                         "group " + group.name() + " has " + std::to_string(kMaxMembers) +
                             " disks at most, and no places for " + std::to_string(names.size()) + " more",
                         "braid disk remove one of them first");
    }
    auto open = co_await open_new_disks(names, force, away);
    if (!open) co_return std::unexpected(open.error());
    NewDisks out{std::move(*open), {}};
    const std::uint32_t one = config.zone_size().units;
    for (std::size_t i = 0; i < names.size(); ++i) {
        out.units.push_back(units_on(out.disks[i]->size(), config.data_start));
        if (out.units.back() >= one) continue;
        co_return refuse(
            Errc::invalid, "disk " + names[i] + " is too small for group " + group.name(),
            "use one of " + std::to_string(smallest_disk(config.data_start, one)) + " bytes or more");
    }
    co_return out;
}

/// All of them, or none. `instead` goes out in the same change.
Task<AdminResult<void>> Controller::admit(GroupRuntime& group, NewDisks& disks,
                                          std::optional<MemberIndex> instead) {
    std::vector<Newcomer> newcomers;
    std::string names;
    for (const auto& disk : disks.disks) {
        newcomers.push_back({disk.get(), env_.random.uuid()});
        names += (names.empty() ? "disk " : ", disk ") + disk->name();
    }
    const auto added = co_await group.tables().admit(std::move(newcomers), instead);
    // Offline: they may be members all the same.
    if (!added && added.error().code != Errc::offline)
        for (const auto& disk : disks.disks) (void)co_await wipe_superblock(env_.executor, *disk);
    if (!added && added.error().code == Errc::not_ready)
        co_return std::unexpected(not_reached(added.error(), names));
    if (!added && added.error().code == Errc::would_lose_data) {
        co_return refuse(Errc::busy, names + ": the group has changed meanwhile",
                         "try again: nothing was done");
    }
    if (!added) co_return std::unexpected(from(added.error(), names));
    co_return AdminResult<void>{};
}

/// What moves by itself after a change has a record from the beginning, so that it can be waited for.
Task<std::optional<std::uint64_t>> Controller::job_of_moves(Tables& tables, JobKind kind) {
    if (tables.must_move(kind)) {
        const JobRecord job{.kind = kind, .started = env_.clock.unix_seconds()};
        if (const auto id = co_await tables.add_job(job, newest_job())) co_return *id;
    }
    const JobRecord* present = tables.state().active(kind);
    if (present == nullptr) co_return std::nullopt;
    co_return present->id;
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
    auto disks = co_await new_disks(*group, {request.disk}, request.force, away);
    if (!disks) co_return std::unexpected(disks.error());
    const bool stays_ok = old && tables.state().members[old->member.v].state == MemberState::ok;
    if (stays_ok) {
        const Obstacle obstacle = tables.why_stays(old->member, disks->units);
        if (obstacle != Obstacle::none)
            co_return std::unexpected(cannot_leave(tables, old->text, obstacle, what + " in its place"));
    }
    Outcome outcome;
    outcome.steps.push_back("writes a superblock and the tables of group " + group->name() + " on " + what);
    if (old) {
        outcome.steps.push_back("moves all that " + old->text +
                                " has, or had, to the other disks of its group");
        outcome.steps.push_back("then takes it out of the group");
    }
    if (request.dry_run) co_return outcome;
    const auto instead = old ? std::optional(old->member) : std::nullopt;
    const auto done = co_await admit(*group, *disks, instead);
    if (!done) co_return std::unexpected(done.error());
    outcome.job = co_await job_of_moves(tables, JobKind::rebuild);
    co_return outcome;
}

/// All that can be refused is before the disks come, and these come together.
Task<AdminResult<Outcome>> Controller::expand_group(ExpandGroup request) {
    const auto named = serving_group(request.name);
    if (!named) co_return std::unexpected(named.error());
    const std::shared_ptr<GroupRuntime> group = *named;
    Tables& tables = group->tables();
    const std::string what = "group " + group->name();
    for (const std::string& name : request.disks) {
        if (const auto back = co_await disk_back(tables, name)) {
            co_return refuse(Errc::would_lose_data,
                             "disk " + name + " is member " + std::to_string(back->superblock.member.v) +
                                 " of " + what + ", which has failed",
                             "braid disk add " + name + " takes it back; expand the group by the others");
        }
    }
    auto disks = co_await new_disks(*group, request.disks, request.force, {});
    if (!disks) co_return std::unexpected(disks.error());
    const StripeShape before = tables.config().wanted;
    const StripeShape shape = request.width == 0 ? before : before.as_wide_as(request.width);
    const bool wider = shape != before;
    if (const Obstacle obstacle = tables.why_not(shape, disks->units); obstacle != Obstacle::none)
        co_return std::unexpected(cannot_convert(tables, shape, obstacle));
    const std::uint64_t more =
        tables.extents_if_expanded(shape, disks->units) - std::uint64_t{tables.config().extents};
    if (more == 0 && tables.state().balancing && request.disks.empty() && !wider) {
        co_return refuse(Errc::exists, what + " is as large as its disks are, and being spread over them",
                         "braid group expand " + group->name() + " --add DISK");
    }
    Outcome outcome;
    for (const std::string& disk : request.disks)
        outcome.steps.push_back("writes a superblock and the tables of " + what + " on disk " + disk);
    if (wider) {
        outcome.steps.push_back("converts all that is there to stripes of " + std::to_string(request.width) +
                                " disks; then there may be more room");
    }
    outcome.steps.push_back("makes " + std::to_string(more * kExtentSize) + " bytes more for virtual disks");
    outcome.steps.push_back("moves segments until all disks are as full as the others");
    if (request.dry_run) co_return outcome;
    if (!disks->disks.empty()) {
        const auto added = co_await admit(*group, *disks, std::nullopt);
        if (!added) co_return std::unexpected(added.error());
    }
    Status status;
    if (wider) status = co_await tables.set({.wanted = shape});
    if (status) status = co_await tables.expand();
    if (!status && status.error().code != Errc::exists) {
        if (disks->disks.empty()) co_return std::unexpected(from(status.error(), what));
        co_return refuse(
            status.error().code,
            what + " has the disks, but is not expanded: " + std::string(to_string(status.error().code)),
            "braid status, then braid group expand " + group->name() + " again, without --add");
    }
    outcome.job = wider ? co_await job_of_shapes(tables) : co_await job_of_moves(tables, JobKind::rebalance);
    co_return outcome;
}

/// Each AMF begins the job, too, when it sees that there is something to do.
Task<std::optional<std::uint64_t>> Controller::job_of_shapes(Tables& tables) {
    const JobRecord job{.kind = JobKind::reshape, .started = env_.clock.unix_seconds()};
    if (const auto id = co_await tables.add_job(job, newest_job())) co_return *id;
    const JobRecord* present = tables.state().active(JobKind::reshape);
    if (present == nullptr) co_return std::nullopt;
    co_return present->id;
}

Task<AdminResult<Outcome>> Controller::remove_disk(std::string name, bool dry_run) {
    const auto found = member_named(name);
    if (!found) co_return refuse(Errc::not_found, "no group has a disk " + name, "braid disk list");
    Tables& tables = found->group->tables();
    const MemberState state = tables.state().members[found->member.v].state;
    const bool failed = state == MemberState::failed;
    if (state != MemberState::ok && !failed) {
        co_return refuse(Errc::exists, found->text + " is " + std::string(to_string(state)) + " already",
                         "braid disk list; braid job list shows how far it is");
    }
    const Obstacle obstacle = failed ? Obstacle::none : tables.why_stays(found->member);
    if (obstacle != Obstacle::none)
        co_return std::unexpected(cannot_leave(tables, found->text, obstacle, {}));
    Outcome outcome;
    outcome.steps.push_back(
        failed ? "makes all that " + found->text + " had again on the other disks of its group"
               : "moves all that " + found->text + " has to the other disks of its group");
    outcome.steps.push_back("then takes it out of the group");
    if (dry_run) co_return outcome;
    const Status status = co_await tables.take_out(found->member);
    if (!status && status.error().code == Errc::would_lose_data) {
        co_return refuse(Errc::busy, found->text + ": its group has changed meanwhile",
                         "try again: nothing was done");
    }
    if (!status) co_return std::unexpected(from(status.error(), found->text));
    outcome.job = co_await job_of_moves(tables, JobKind::rebuild);
    co_return outcome;
}

}  // namespace braid
