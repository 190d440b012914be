#include "forward/forward_frames.h"

#include <utility>

#include "base/assert.h"
#include "ondisk/table_pages.h"

namespace braid {
namespace {

constexpr std::uint8_t kFua = 1, kMayLeaveHole = 2, kRepeated = 4, kBlocks = 8;
constexpr std::size_t kMostPorts = std::size_t{kVolumePages} * kVolumesPerPage * kMaxOutside;
constexpr auto kLastErrc = static_cast<unsigned>(Errc::cancelled);

Status check(const ForwardRequest& r, std::size_t payload) {
    const bool moves_data = r.reads() || r.type == MessageType::forward_write;
    if (moves_data && (r.length == 0 || r.length > kMaxForwardData)) return fail(Errc::corrupt);
    const bool allocation = r.type == MessageType::forward_allocation;
    if (allocation != (r.runs != 0) || (allocation && r.length == 0)) return fail(Errc::corrupt);
    if (!allocation && r.detail != AllocationDetail{}) return fail(Errc::corrupt);
    if (payload != (r.type == MessageType::forward_write ? r.length : 0)) return fail(Errc::corrupt);
    if (r.number == 0 || r.watermark > r.number) return fail(Errc::corrupt);
    return {};
}

}  // namespace

Message encode(const Uuid& group, const ForwardRequest& r) {
    Message message{group, r.type, {}, r.data};
    message.head.reserve(39);
    Writer out(message.head);
    out.put(r.number);
    out.put(r.watermark);
    out.put(r.volume);
    out.put(r.offset);
    out.put(r.length);
    out.put(static_cast<std::uint8_t>((r.fua ? kFua : 0) | (r.may_leave_hole ? kMayLeaveHole : 0) |
                                      (r.repeated ? kRepeated : 0) |
                                      (r.detail == AllocationDetail::blocks ? kBlocks : 0)));
    out.put(r.runs);
    ASSERT(check(r, r.data.bytes.size()).has_value());
    return message;
}

Result<ForwardRequest> decode_forward_request(const Message& message) {
    const bool asks = message.type >= MessageType::forward_read && message.type <= MessageType::forward_flush;
    if (!asks && message.type != MessageType::forward_allocation) return fail(Errc::corrupt);
    Reader in(message.head);
    ForwardRequest r;
    r.type = message.type;
    r.number = in.get<std::uint64_t>();
    r.watermark = in.get<std::uint64_t>();
    r.volume = in.get<VolumeId>();
    r.offset = in.get<std::uint64_t>();
    r.length = in.get<std::uint64_t>();
    const auto flags = in.get<std::uint8_t>();
    r.runs = in.get<std::uint16_t>();
    if (!in.done() || (flags & ~(kFua | kMayLeaveHole | kRepeated | kBlocks)) != 0)
        return fail(Errc::corrupt);
    r.fua = (flags & kFua) != 0;
    r.may_leave_hole = (flags & kMayLeaveHole) != 0;
    r.repeated = (flags & kRepeated) != 0;
    r.detail = (flags & kBlocks) != 0 ? AllocationDetail::blocks : AllocationDetail::extents;
    TRY(check(r, message.payload.bytes.size()));
    r.data = message.payload;
    return r;
}

bool is_refusal(Errc code) {
    return code == Errc::not_ready || code == Errc::offline || code == Errc::fenced ||
           code == Errc::cancelled;
}

Buffer encode(const std::vector<AllocationRun>& runs) {
    Bytes bytes;
    Writer out(bytes);
    for (const AllocationRun& run : runs) {
        out.put(run.length);
        out.put(static_cast<std::uint8_t>(run.hole ? 1 : 0));
    }
    return Buffer::copy_of(bytes);
}

Result<std::vector<AllocationRun>> decode_runs(std::span<const std::byte> data,
                                               const ForwardRequest& request) {
    Reader in(data);
    std::vector<AllocationRun> runs;
    std::uint64_t left = request.length;
    while (in.ok() && in.left() != 0) {
        const auto length = in.get<std::uint64_t>();
        const auto hole = in.get<std::uint8_t>();
        const bool same = !runs.empty() && runs.back().hole == (hole == 1);
        if (length == 0 || length > left || hole > 1 || same || runs.size() == request.runs) in.fail();
        left -= std::min(left, length);
        runs.push_back({length, hole == 1});
    }
    if (!in.done() || runs.empty()) return fail(Errc::corrupt);
    return runs;
}

Message encode(const Uuid& group, const ForwardReply& reply) {
    Message message{group, MessageType::forward_reply, {}, reply.data};
    Writer out(message.head);
    out.put(reply.number);
    out.put(
        static_cast<std::uint8_t>(reply.status ? 0 : 1 + static_cast<unsigned>(reply.status.error().code)));
    return message;
}

Result<ForwardReply> decode_forward_reply(const Message& message) {
    Reader in(message.head);
    ForwardReply reply;
    reply.number = in.get<std::uint64_t>();
    const auto code = in.get<std::uint8_t>();
    if (!in.done() || code > 1 + kLastErrc || message.payload.bytes.size() > kMaxForwardData)
        return fail(Errc::corrupt);
    if (code != 0) {
        if (!message.payload.bytes.empty()) return fail(Errc::corrupt);
        reply.status = fail(static_cast<Errc>(code - 1));
    }
    reply.data = message.payload;
    return reply;
}

Message encode(const ForwardPorts& list) {
    Message message{Uuid{}, MessageType::forward_ports, {}, {}};
    Writer out(message.head);
    out.put(list.number);
    out.put(list.group);
    out.string(list.group_name);
    out.put(static_cast<std::uint16_t>(list.ports.size()));
    for (const ForwardPorts::Port& port : list.ports) {
        out.string(port.controller);
        out.put(port.slot);
        out.put(port.volume);
        out.string(port.name);
        out.put(port.size);
        out.put(static_cast<std::uint8_t>(port.closing ? 1 : 0));
    }
    return message;
}

Result<ForwardPorts> decode_forward_ports(const Message& message) {
    Reader in(message.head);
    ForwardPorts list;
    list.number = in.get<std::uint64_t>();
    list.group = in.uuid();
    list.group_name = in.string(kMaxNameLength);
    const std::size_t count = in.get<std::uint16_t>();
    if (count > kMostPorts) return fail(Errc::corrupt);
    for (std::size_t i = 0; i < count && in.ok(); ++i) {
        ForwardPorts::Port port;
        port.controller = in.string(kMaxControllerNameLength);
        port.slot = in.get<ControllerSlot>();
        port.volume = in.get<VolumeId>();
        port.name = in.string(kMaxNameLength);
        port.size = in.get<std::uint64_t>();
        const auto closing = in.get<std::uint8_t>();
        if (closing > 1 || port.slot.v >= kMaxControllers + kMaxOutside) in.fail();
        port.closing = closing == 1;
        list.ports.push_back(std::move(port));
    }
    if (!in.done() || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return list;
}

Message encode(const ForwardDrained& drained) {
    Message message{Uuid{}, MessageType::forward_drained, {}, {}};
    Writer out(message.head);
    out.put(drained.number);
    out.put(drained.group);
    out.put(drained.volume);
    out.put(drained.slot);
    return message;
}

Result<ForwardDrained> decode_forward_drained(const Message& message) {
    Reader in(message.head);
    ForwardDrained drained;
    drained.number = in.get<std::uint64_t>();
    drained.group = in.uuid();
    drained.volume = in.get<VolumeId>();
    drained.slot = in.get<ControllerSlot>();
    if (!in.done() || !message.payload.bytes.empty()) return fail(Errc::corrupt);
    return drained;
}

}  // namespace braid
