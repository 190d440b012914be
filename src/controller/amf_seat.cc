#include "controller/amf_seat.h"

#include "base/log.h"
#include "controller/side_host.h"

namespace braid {
namespace {

constexpr Nanos kReportPause = 250ms;

/// What does not open now is not there for this AMF.
OpenDisks open_disks(DiskShelf& shelf, const std::vector<std::string>& names) {
    OpenDisks disks(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i].empty()) continue;
        Result<std::unique_ptr<Disk>> disk = shelf.open(names[i]);
        if (disk) {
            disks[i] = std::move(*disk);
        } else {
            LOG_WARN("disk.not_opened", {"disk", names[i]}, {"reason", to_string(disk.error().code)});
        }
    }
    return disks;
}

}  // namespace

struct AmfSeat::Desk {
    std::function<void()> changed;  ///< null when the seat is gone
    AmfReport last;                 ///< of a side, and the next
    std::vector<HotReport> hot;
};

AmfSeat::AmfSeat(const Environment& env, Icl& links, PortRegistry& registry, AmfPlan plan, OpenDisks disks,
                 std::function<void()> changed)
    : desk_(std::make_shared<Desk>(std::move(changed))),
      amf_(env.executor, nullptr,
           [&env, &links, &registry, desk = desk_, plan = std::move(plan),
            disks = std::move(disks)]() mutable {
               AmfVoice voice;
               voice.send = [&links](Epoch epoch, AmfId to, Message message) {
                   links.send_in(epoch, to, std::move(message));
               };
               voice.changed = [desk](const AmfRuntime&) {
                   if (desk->changed) desk->changed();
               };
               return std::make_unique<AmfRuntime>(env.executor, env.clock, env.shelf, registry,
                                                   std::move(plan), std::move(disks), std::move(voice));
           }) {}

AmfSeat::AmfSeat(const Environment& env, Icl& links, SideThread& side, const OnThread<SideHost>& host,
                 AmfPlan plan, std::function<void()> changed)
    : desk_(std::make_shared<Desk>(std::move(changed))),
      amf_(env.executor, &side,
           [&links, &side, host = host.reach(), desk = desk_, plan = std::move(plan)]() mutable {
               AmfVoice voice;
               voice.send = [&links, &side](Epoch epoch, AmfId to, Message message) {
                   side.post_back([&links, epoch, to, message = std::move(message)]() mutable {
                       links.send_in(epoch, to, std::move(message));
                   });
               };
               voice.changed = [&side, desk](const AmfRuntime& amf) {
                   side.post_back([desk, report = amf.report(), hot = amf.hot_units()]() mutable {
                       desk->last = std::move(report);
                       desk->hot = std::move(hot);
                       if (desk->changed) desk->changed();
                   });
               };
               voice.repeat = kReportPause;
               OpenDisks disks = open_disks(side.shelf(), plan.disks);
               return std::make_unique<AmfRuntime>(side.executor(), side.clock(), side.shelf(),
                                                   host().registry, std::move(plan), std::move(disks),
                                                   std::move(voice));
           }) {}

AmfSeat::~AmfSeat() { desk_->changed = nullptr; }

void AmfSeat::adopt(AmfView view, std::vector<ForwardCaller> callers) {
    tell([view = std::move(view), callers = std::move(callers)](AmfRuntime& amf) mutable {
        amf.adopt(std::move(view), std::move(callers));
    });
}

void AmfSeat::deliver(AmfId from, Message message) {
    tell([from, message = std::move(message)](AmfRuntime& amf) mutable {
        amf.deliver(from, std::move(message));
    });
}

bool AmfSeat::offline() const {
    return (amf_.here() ? runtime().amf().conditions() : desk_->last.conditions).offline;
}

std::vector<HotReport> AmfSeat::hot_units() const { return amf_.here() ? runtime().hot_units() : desk_->hot; }

AmfReport AmfSeat::report() const { return amf_.here() ? runtime().report() : desk_->last; }

}  // namespace braid
