// One of the AMFs that a controller runs for a group: the disks that were opened for it alone, and its name
// on the links. It reaches AMFs of its own process over the bus (the Icl's own queue), all others over the
// link to their controller: where the peer is decides, nothing here does.
//
// Needs: `links` and the environment outlive it.
#pragma once

#include <memory>
#include <vector>

#include "amf/amf.h"
#include "controller/environment.h"
#include "tables/assembly.h"

namespace braid {

using OpenDisks = std::vector<std::unique_ptr<Disk>>;  ///< by member, null where there is none

class AmfRuntime final : private Transport {
public:
    /// `index`: which of its controller's AMFs of the group it is.
    AmfRuntime(const Environment& env, Transport& links, const FoundGroup& found, const GroupConfig& config,
               OpenDisks disks, ControllerSlot controller, unsigned index, AmfOptions options);

    Amf& amf() { return amf_; }
    const Amf& amf() const { return amf_; }
    Disk* disk(MemberIndex member) const { return disks_[member.v].get(); }
    std::size_t member_count() const { return disks_.size(); }

    /// `view` as some AMF of this controller sees it.
    void adopt(AmfView view);

private:
    void send(AmfId to, Message message) override;

    Transport& links_;
    unsigned index_;
    OpenDisks disks_;
    Amf amf_;
};

}  // namespace braid
