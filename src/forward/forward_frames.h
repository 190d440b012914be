// What a controller without a group and those that share it say to each other: bytes of the forward_*
// messages. The decoders look at lengths before anything is allocated and never assert on what they are
// given.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "amf/allocation.h"
#include "base/result.h"
#include "icl/frame.h"
#include "icl/message.h"
#include "ondisk/page.h"

namespace braid {

constexpr std::uint32_t kMaxForwardData = kMaxFramePayload;  ///< bytes that one request reads or writes

/// One operation on a virtual disk. `type` is one of forward_read, _write, _zeroes, _flush, _allocation.
struct ForwardRequest {
    MessageType type = MessageType::forward_flush;
    /// Of the operation, given once by its controller for this group, from 1; repeated if it is asked again.
    std::uint64_t number = 0;
    /// All operations with smaller numbers have ended for their controller.
    std::uint64_t watermark = 0;
    VolumeId volume;
    std::uint64_t offset = 0;  ///< in the virtual disk
    std::uint64_t length = 0;  ///< of reads and writes at most kMaxForwardData
    bool fua = false;
    bool may_leave_hole = true;
    bool repeated = false;      ///< it has been asked before, of whomever
    std::uint16_t runs = 0;     ///< of forward_allocation, at most so many: not 0
    AllocationDetail detail{};  ///< of it
    Slice data;                 ///< of a write: `length` bytes

    bool reads() const { return type == MessageType::forward_read; }
    /// Twice is not the same as once, when others write in between.
    bool changes() const { return type == MessageType::forward_write || type == MessageType::forward_zeroes; }
    /// Bytes of data in the answer if all goes well, at most; of reads just so many.
    std::uint64_t answer_size() const {
        if (type == MessageType::forward_allocation) return runs * kRunSize;
        return reads() ? length : 0;
    }
    static constexpr std::uint64_t kRunSize = 9;
};
Message encode(const Uuid& group, const ForwardRequest& request);
Result<ForwardRequest> decode_forward_request(const Message& message);

/// The AMF has nothing of the operation in hand any more, and says nothing about its outcome: it may be asked
/// of another one, or here again.
bool is_refusal(Errc code);

/// Data of the answer to forward_allocation. corrupt for what is no answer to this one.
Buffer encode(const std::vector<AllocationRun>& runs);
Result<std::vector<AllocationRun>> decode_runs(std::span<const std::byte> data,
                                               const ForwardRequest& request);

struct ForwardReply {
    std::uint64_t number = 0;
    Status status;
    Slice data;  ///< of a read or an allocation that went well
};
Message encode(const Uuid& group, const ForwardReply& reply);
Result<ForwardReply> decode_forward_reply(const Message& message);

/// All ports of a group on controllers outside of it.
struct ForwardPorts {
    struct Port {
        std::string controller;
        ControllerSlot slot;
        VolumeId volume;
        std::string name;  ///< of the virtual disk
        std::uint64_t size = 0;
        bool closing = false;
        friend bool operator==(const Port&, const Port&) = default;
    };
    std::uint64_t number = 0;  ///< of the list: its sender's count
    Uuid group;
    std::string group_name;
    std::vector<Port> ports;
};
Message encode(const ForwardPorts& list);
Result<ForwardPorts> decode_forward_ports(const Message& message);

/// Nothing that came through this port, which list `number` calls closing, is under way at the sender.
struct ForwardDrained {
    std::uint64_t number = 0;
    Uuid group;
    VolumeId volume;
    ControllerSlot slot;
};
Message encode(const ForwardDrained& drained);
Result<ForwardDrained> decode_forward_drained(const Message& message);

}  // namespace braid
