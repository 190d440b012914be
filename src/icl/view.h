// A view: the epoch and who is alive in it. The membership decides it; everything on the links carries its
// epoch. Any change of who serves a group is a change of view, so all AMFs of a group agree on each other in
// every epoch.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/types.h"
#include "io/member_store.h"

namespace braid {

/// A controller serves a group: it runs AMFs for it. All of them come and go together.
struct Attachment {
    Uuid group;
    /// Epoch of the view that first held this attachment: the AMF's incarnation. A group that was left and
    /// attached again by the same process is a new AMF that knows nothing of the old one's.
    Incarnation since;
    std::uint8_t amfs = 1;  ///< 1 .. kMaxAmfs
    friend bool operator==(const Attachment&, const Attachment&) = default;
};

/// Where a controller stands, as its operator says: what may fail together has one label. Empty: not said.
struct Location {
    std::string host, site;
    friend bool operator==(const Location&, const Location&) = default;
};

struct ViewMember {
    ControllerId id;
    Incarnation incarnation;  ///< epoch of the view that first held this start of the controller
    std::string name;         ///< label, unique in the cluster: "ctl-a"
    std::string address;      ///< where its peers dial it
    ProcessRef process;
    std::vector<Attachment> groups;  ///< sorted by group
    Location location{};

    const Attachment* attachment(const Uuid& group) const {
        const auto at = std::ranges::lower_bound(groups, group, {}, &Attachment::group);
        return at != groups.end() && at->group == group ? &*at : nullptr;
    }
    bool attached(const Uuid& group) const { return attachment(group) != nullptr; }
    friend bool operator==(const ViewMember&, const ViewMember&) = default;
};

/// The groups of a controller and how many AMFs it runs for each.
using ServedGroups = std::map<Uuid, std::uint8_t>;

/// A controller that the cluster has seen at some time, alive or not.
struct KnownController {
    ControllerId id;
    std::string name;
    std::uint64_t pid = 0;         ///< of its last start
    std::uint64_t left_epoch = 0;  ///< epoch of the view that first lacked it; 0 while alive
    bool fenced = false;           ///< it left by a fence, not in order
    friend bool operator==(const KnownController&, const KnownController&) = default;
};

struct View {
    Epoch epoch;
    std::vector<ViewMember> members;     ///< sorted by id
    std::vector<KnownController> known;  ///< sorted by id

    const ViewMember* find(ControllerId id) const {
        for (const ViewMember& m : members) {
            if (m.id == id) return &m;
        }
        return nullptr;
    }
};

/// One AMF of a group in a view.
struct AmfMember {
    AmfId id;
    Incarnation incarnation;  ///< of the attachment, not of the process
    friend auto operator<=>(const AmfMember&, const AmfMember&) = default;
};

/// The view as the AMFs of one group see it.
struct AmfView {
    Epoch epoch;
    AmfId self;
    std::vector<AmfMember> members;  ///< those attached to the group, sorted by id
    struct OnController {
        std::string name;
        Location location;
    };
    std::map<ControllerId, OnController> controllers{};  ///< theirs

    bool contains(AmfId id) const {
        for (const AmfMember& m : members) {
            if (m.id == id) return true;
        }
        return false;
    }
    /// This very AMF is alive: an earlier incarnation of the same id is not.
    bool contains(const AmfMember& amf) const {
        return std::find(members.begin(), members.end(), amf) != members.end();
    }
};

inline AmfView amf_view(const View& view, const Uuid& group, AmfId self) {
    AmfView out{view.epoch, self, {}};
    for (const ViewMember& m : view.members) {
        const Attachment* attached = m.attachment(group);
        for (unsigned i = 0; attached != nullptr && i < attached->amfs; ++i)
            out.members.push_back({amf_id(m.id, i), attached->since});
        if (attached != nullptr) out.controllers[m.id] = {m.name, m.location};
    }
    std::ranges::sort(out.members);
    return out;
}

}  // namespace braid
