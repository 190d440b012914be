// What operators do with the disks of groups. As in changes.cc everything is checked before anything is
// touched.
#include "controller/controller.h"
#include "controller/refusals.h"

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
    const Status status = co_await tables.fail_member(found->member);
    if (!status) co_return std::unexpected(from(status.error(), "disk " + name));
    co_return outcome;
}

Task<AdminResult<Outcome>> Controller::remove_disk(std::string name, bool dry_run) {
    const auto found = member_named(name);
    if (!found) co_return refuse(Errc::not_found, "no group has a disk " + name, "braid disk list");
    Tables& tables = found->group->tables();
    const MemberState state = tables.state().members[found->member.v].state;
    if (state != MemberState::ok) {
        co_return refuse(Errc::exists, "disk " + name + " is " + std::string(to_string(state)) + " already",
                         "braid disk list");
    }
    const Status may = tables.may_leave(found->member);
    if (!may && may.error().code == Errc::would_lose_data) {
        co_return refuse(Errc::would_lose_data,
                         "the other disks of group " + found->group->name() + " have no room for what " +
                             name + " has, and for what its virtual disks may need",
                         "delete virtual disks, or use a group whose stripes are narrower");
    }
    Outcome outcome;
    outcome.steps.push_back("moves all that " + found->text + " has to the other disks of its group");
    outcome.steps.push_back("then takes it out of the group");
    if (dry_run) co_return outcome;
    const Status status = co_await tables.begin_leave(found->member);
    if (!status) co_return std::unexpected(from(status.error(), "disk " + name));
    co_return outcome;
}

}  // namespace braid
