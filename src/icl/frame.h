// One message as bytes on a link. Little-endian, fixed:
//
//   at  size  field                          at  size  field
//    0     4  magic "brdI"                   32     4  head length     <= kMaxFrameHead
//    4     1  version                        36     4  payload length  <= kMaxFramePayload
//    5     1  type                           40     4  CRC32C of the payload
//    6     1  index of the sending AMF       44     4  CRC32C of bytes 0 .. 43 and the head
//    7     1  index of the AMF it is for
//    8    16  group                          48     .  head, then payload
//   24     8  epoch
//
// The decoders are pure, look at lengths before anything is allocated, and never assert on what they are
// given.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "icl/message.h"

namespace braid {

constexpr std::size_t kFrameHeaderSize = 48;
constexpr std::uint32_t kMaxFrameHead = 1u << 20;     ///< bytes
constexpr std::uint32_t kMaxFramePayload = 8u << 20;  ///< bytes
constexpr std::uint8_t kFrameVersion = 1;

struct FrameHeader {
    MessageType type{};
    std::uint8_t from_index = 0;
    std::uint8_t to_index = 0;
    Uuid group;
    Epoch epoch;
    std::uint32_t head_size = 0;
    std::uint32_t payload_size = 0;
    std::uint32_t payload_crc = 0;
    std::uint32_t crc = 0;
    friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

/// What a reader accepts: little before the far end has said who it is.
struct FrameLimits {
    std::uint32_t head = kMaxFrameHead;
    std::uint32_t payload = kMaxFramePayload;
};

using FrameHeaderBytes = std::span<const std::byte, kFrameHeaderSize>;

/// Appends header and head to `out`; the payload follows them on the wire. ASSERTs the limits.
void encode_frame(Bytes& out, Epoch epoch, const Message& message);

/// corrupt: no frame; unsupported: another version; too_large: beyond the limits.
Result<FrameHeader> decode_frame_header(FrameHeaderBytes bytes, const FrameLimits& limits = {});
/// The checksum over header and head, before anything in them is believed; corrupt.
Status check_frame_head(const FrameHeader& header, FrameHeaderBytes bytes, std::span<const std::byte> head);
Status check_frame_payload(const FrameHeader& header, std::span<const std::byte> payload);

/// What the ends of a link tell each other first: head of `hello`. The epoch is the frame's.
struct Hello {
    Uuid cluster;
    ControllerId from;
    Incarnation from_incarnation;
    ControllerId to;  ///< whom the sender believes to talk to
    Incarnation to_incarnation;
    friend bool operator==(const Hello&, const Hello&) = default;
};

constexpr std::uint32_t kHelloSize = 38;
Bytes encode_hello(const Hello& hello);
Result<Hello> decode_hello(std::span<const std::byte> head);

/// Head of `ping`: by the sender's clock, for the sender alone.
struct Ping {
    Nanos sent_at{};
};
Bytes encode_ping(const Ping& ping);
Result<Ping> decode_ping(std::span<const std::byte> head);

/// Head of `pong`: of the ping that it answers, and how long its sender waits for a word before it suspects
/// somebody.
struct Pong {
    Nanos sent_at{};
    Nanos patience{};
};
Bytes encode_pong(const Pong& pong);
Result<Pong> decode_pong(std::span<const std::byte> head);

/// Head of `view_changed`: the epoch of the view that stands in the store.
Bytes encode_view_changed(Epoch epoch);
Result<Epoch> decode_view_changed(std::span<const std::byte> head);

/// The link's own types: they carry no protocol, so no epoch refuses them.
constexpr bool is_link_type(MessageType type) { return type <= MessageType::view_changed; }
/// For metrics: "lock_request"; the AMF's own are "amf".
std::string_view to_string(MessageType type);

}  // namespace braid
