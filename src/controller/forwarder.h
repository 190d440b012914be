// Ports of this controller for virtual disks of groups that it does not share (row A4, figure 6): opened and
// closed as the groups' keepers say (outside_ports.h), served by the AMFs of those groups
// (forward/forward_client.h). Nothing of it is stored here.
//
// Needs: adopt() of every view after the links; stop(), or destruction after whoever uses the ports.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "forward/forwarded_space.h"
#include "icl/icl.h"
#include "volume/port_registry.h"

namespace braid {

class Forwarder {
public:
    struct PortReport {
        std::string volume, group;
        std::uint64_t size = 0;
        bool closing = false;
        std::size_t in_flight = 0;
        std::optional<AmfId> through;  ///< who is asked first; nothing: nobody serves the group
    };
    struct GroupReport {
        std::string group;
        ForwardCounters counters;
        std::size_t open = 0;
    };

    Forwarder(Executor& executor, Clock& clock, Icl& links, PortRegistry& registry)
        : executor_(executor),
          clock_(clock),
          links_(links),
          registry_(registry),
          budget_(executor, ForwardClient::kBudget),
          scope_(executor) {}
    ~Forwarder();

    void adopt(const View& view, ControllerId self);
    /// A keeper's list; `name` is ours.
    void take(const ForwardPorts& list, std::string_view name);
    /// Returns when there is no port of this volume.
    Task<void> closed(Uuid group, VolumeId volume);
    /// Closes all ports and waits for their operations, which wait for nobody who is not there.
    Task<void> stop();

    std::vector<PortReport> ports() const;
    std::vector<GroupReport> groups() const;

private:
    struct Export {
        Export(ForwardClient& client, VolumeId volume) : space(client, volume) {}
        ForwardedSpace space;
        std::shared_ptr<Port> port;
    };
    struct Group {
        Group(Forwarder& f, const Uuid& uuid)
            : client(f.executor_, f.clock_, f.links_, uuid, f.budget_), changed(f.executor_) {}
        std::string name;
        ForwardClient client;
        std::vector<ForwardPorts::Port> wanted;                    ///< of ours, by the last list
        std::map<std::uint32_t, std::unique_ptr<Export>> exports;  ///< by VolumeId
        Event changed;
    };
    void apply(const Uuid& uuid, Group& group);
    void open(Group& group, const ForwardPorts::Port& wanted);
    Task<void> drain(Uuid uuid, VolumeId volume);

    Executor& executor_;
    Clock& clock_;
    Icl& links_;
    PortRegistry& registry_;
    Semaphore budget_;
    View view_;
    ControllerId self_;
    std::map<Uuid, std::unique_ptr<Group>> groups_;  ///< those that ever had a port here
    bool stopping_ = false;
    Scope scope_;
};

}  // namespace braid
