// The ports that a group has on controllers which do not share it, as those that share it see to them. The
// group's keeper tells every controller of the view which there are, at every view and after every change;
// whoever is named opens and closes them (forwarder.h). A port that closes goes when nobody has anything of
// it under way: its own controller, if it lives, and all AMFs, whatever start of that controller it came
// from.
//
//   keeper              every controller of the view
//     | forward_ports {n, ...}     |
//     |--------------------------->|  opens, closes, drains
//     |    forward_drained {n, port}   for each that is closing
//     |<---------------------------|
//     | all have said so of the last list: the port is taken out of the tables
//
// Guarantees: while a port stands in the tables its volume stays. A list is sent only by settled tables, so a
// port that has gone was closed by the last list before. Needs: adopt() of every view before the tables adopt
// it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "amf/amf.h"
#include "async/scope.h"
#include "forward/forward_frames.h"
#include "icl/view.h"

namespace braid {

class OutsidePorts {
public:
    /// `scope` owns what runs here, and is joined before the AMF ends.
    OutsidePorts(Amf& amf, Transport& links, Scope& scope, std::string group_name);

    /// All controllers of the cluster's view.
    void adopt(const View& view);
    /// The group is served here, and its tables have changed or are settled.
    void tell();
    void drained(ControllerId from, const ForwardDrained& drained);

private:
    using PortKey = std::pair<VolumeId, ControllerSlot>;
    std::vector<ForwardPorts::Port> list() const;
    bool may_go(PortKey port) const;
    Task<void> remove(PortKey port);

    Amf& amf_;
    Transport& links_;
    Scope& scope_;
    std::string group_name_;
    Epoch epoch_;
    std::set<ControllerId> all_;  ///< of the view
    std::uint64_t number_ = 0;    ///< of the last list
    Epoch told_in_;               ///< and its epoch
    std::vector<ForwardPorts::Port> told_;
    std::map<PortKey, std::set<ControllerId>> drained_;  ///< by the last list
    std::set<PortKey> removing_;
};

}  // namespace braid
