#include "cluster/transitions.h"

#include <algorithm>

#include "base/assert.h"

namespace braid {
namespace {

KnownController* find_known(View& view, ControllerId id) {
    for (KnownController& known : view.known) {
        if (known.id == id) return &known;
    }
    return nullptr;
}

/// The controller's entry, made if it was never seen; null when there are too many.
KnownController* known_by_name(View& view, const std::string& name) {
    for (KnownController& known : view.known) {
        if (known.name == name) return &known;
    }
    const ControllerId last = view.known.empty() ? ControllerId(0) : view.known.back().id;
    if (view.known.size() >= kMaxKnownControllers || last.v >= kMaxControllerId) return nullptr;
    view.known.push_back({.id = last.next(), .name = name});
    return &view.known.back();
}

}  // namespace

ClusterRecord successor(const ClusterRecord& record) {
    ClusterRecord next = record;
    next.view.epoch = record.view.epoch.next();
    return next;
}

Result<ControllerId> add_member(ClusterRecord& next, const std::string& name, const std::string& address,
                                ProcessRef process, const ServedGroups& groups, const Location& location) {
    View& view = next.view;
    if (location.host.size() > kMaxLabel || location.site.size() > kMaxLabel) return fail(Errc::invalid);
    if (name.empty() || name.size() > kMaxControllerName || address.empty() || address.size() > kMaxAddress) {
        return fail(Errc::invalid);
    }
    for (const ViewMember& member : view.members) {
        if (member.name == name) return fail(Errc::exists, member.id.v);
    }
    if (view.members.size() >= kMaxClusterMembers || groups.size() > kMaxAttachedGroups)
        return fail(Errc::no_space);
    KnownController* known = known_by_name(view, name);
    if (known == nullptr) return fail(Errc::no_space);
    known->pid = process.pid;
    known->left_epoch = 0;
    known->fenced = false;

    const ControllerId id = known->id;
    const auto at = std::ranges::lower_bound(view.members, id, {}, &ViewMember::id);
    view.members.insert(at, ViewMember{id, Incarnation(view.epoch.v), name, address, process, {}, location});
    TRY(set_groups(next, id, groups));
    return id;
}

bool remove_member(ClusterRecord& next, ControllerId id, Incarnation incarnation, bool fenced) {
    if (!holds(next, id, incarnation)) return false;
    std::erase_if(next.view.members, [&](const ViewMember& member) { return member.id == id; });
    KnownController* known = find_known(next.view, id);
    ASSERT(known != nullptr);  // decode_record and add_member see to it
    known->left_epoch = next.view.epoch.v;
    known->fenced = fenced;
    return true;
}

Result<bool> set_groups(ClusterRecord& next, ControllerId id, const ServedGroups& groups) {
    if (groups.size() > kMaxAttachedGroups) return fail(Errc::no_space);
    for (ViewMember& member : next.view.members) {
        if (member.id != id) continue;
        std::vector<Attachment> attached;
        for (const auto& [group, amfs] : groups) {
            const Attachment* before = member.attachment(group);
            const bool stays = before != nullptr && before->amfs == amfs;
            attached.push_back({group, stays ? before->since : Incarnation(next.view.epoch.v), amfs});
        }
        const bool changed = attached != member.groups;
        member.groups = std::move(attached);
        return changed;
    }
    return false;
}

bool holds(const ClusterRecord& record, ControllerId id, Incarnation incarnation) {
    const ViewMember* member = record.view.find(id);
    return member != nullptr && member->incarnation == incarnation;
}

}  // namespace braid
