// An AMF as its controller's first thread has it, whichever thread it runs on. All that the controller says
// to it goes one way, in order: views and messages cannot overtake each other.
//
// What the AMF sends carries the epoch it was in, and is dropped if the controller stands in another one by
// then: a view change asks it to say again what still matters.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "controller/amf_runtime.h"
#include "controller/environment.h"
#include "icl/icl.h"
#include "io/side_thread.h"

namespace braid {

struct SideHost;

class AmfSeat final : public MessageSink {
public:
    /// On the first thread, with its disks. `changed` is called there, after every change of the AMF's
    /// tables.
    AmfSeat(const Environment& env, Icl& links, PortRegistry& registry, AmfPlan plan, OpenDisks disks,
            std::function<void()> changed);
    /// On a side, where `host` is too.
    AmfSeat(const Environment& env, Icl& links, SideThread& side, const OnThread<SideHost>& host,
            AmfPlan plan, std::function<void()> changed);
    ~AmfSeat() override;

    void adopt(AmfView view, std::vector<ForwardCaller> callers);
    void deliver(AmfId from, Message message) override;
    void tell(std::move_only_function<void(AmfRuntime&)> what) { amf_.tell(std::move(what)); }
    Task<Status> ask(std::move_only_function<Task<Status>(AmfRuntime&)> what) {
        return amf_.ask(std::move(what));
    }
    /// As it is here and now, or as it was when the side last told, a quarter of a second ago at most.
    AmfReport report() const;
    // Of the same age.
    bool offline() const;
    std::vector<HotReport> hot_units() const;
    /// For the first thread where it runs there, and for who stands outside of all threads.
    AmfRuntime& runtime() const { return *amf_.object(); }
    /// Whether it has been made.
    bool made() const { return amf_.object() != nullptr; }

private:
    struct Desk;  ///< what the side's words find here as long as the seat is there

    std::shared_ptr<Desk> desk_;
    OnThread<AmfRuntime> amf_;
};

}  // namespace braid
