#include "controller/amf_runtime.h"

namespace braid {
namespace {

std::vector<Disk*> raw(const OpenDisks& disks) {
    std::vector<Disk*> out;
    for (const auto& disk : disks) out.push_back(disk.get());
    return out;
}

}  // namespace

AmfRuntime::AmfRuntime(const Environment& env, Transport& links, const FoundGroup& found,
                       const GroupConfig& config, OpenDisks disks, ControllerSlot controller, unsigned index,
                       AmfOptions options)
    : links_(links),
      index_(index),
      disks_(std::move(disks)),
      amf_(env.executor, env.clock, *this, found.group, config, found.members.front().superblock.table_start,
           raw(disks_), amf_slot(controller, config.sharing.amfs, index), options) {}

void AmfRuntime::adopt(AmfView view) {
    view.self = amf_id(controller_of(view.self), index_);
    amf_.adopt(view);
}

void AmfRuntime::send(AmfId to, Message message) {
    message.from_index = static_cast<std::uint8_t>(index_);
    links_.send(to, std::move(message));
}

}  // namespace braid
