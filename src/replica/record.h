// Update records on the wire. A record says everything that is needed to finish a stripe's write without its
// writer: the new data (`begin`, in frames of at most 8 MiB) and the new parity (`redo`). Who sends what and
// when: docs/protocols.md. Decoding trusts nothing: every number is checked against the group's limits before
// anybody uses it. (Rows R1, R2.)
#pragma once

#include <cstdint>

#include "base/result.h"
#include "icl/message.h"
#include "replica/errand.h"

namespace braid {

/// A record's name: unique for ever, because no incarnation of a controller comes twice.
struct RecordId {
    AmfId origin;
    Incarnation incarnation;
    std::uint64_t sequence = 0;  ///< not 0
    friend auto operator<=>(const RecordId&, const RecordId&) = default;
};

/// What the numbers of a record may be at most. The default fits every group.
struct RecordLimits {
    std::uint64_t stripes = ~0ull;
    std::uint32_t stripe_size = (kMaxWidth << 20);  ///< data bytes of a stripe
    std::uint32_t strip_size = 1u << 20;
    unsigned parity = kMaxParity;
    std::uint64_t logical_size = ~0ull >> 1;
};

/// Block data of one frame.
constexpr std::uint32_t kMaxRecordFrame = 8u << 20;

constexpr auto kRecordFetch = static_cast<MessageType>(static_cast<unsigned>(MessageType::amf_first));
constexpr auto kRecordFetched = static_cast<MessageType>(static_cast<unsigned>(MessageType::amf_first) + 1);

/// What a record is about: in every begin frame.
struct RecordInfo {
    RecordId id;
    RecordId root;  ///< the host write that this record finishes: its own id, or that of an orphan
    std::uint8_t attempts = 0;  ///< recoveries of `root` that began before, this one included
    StripeIndex stripe;
    std::uint64_t base = 0;    ///< where the stripe begins in the logical space, as its writer cut it
    std::uint32_t zone = 0;    ///< generation of the stripe's zone: another one holds other data
    std::uint32_t offset = 0;  ///< of the new data in the stripe's data bytes, whole blocks
    std::uint32_t length = 0;  ///< bytes, whole blocks, not 0
    Errand errand;             ///< that the host write is a part of, if it is
    std::uint64_t begin() const { return base + offset; }
    std::uint64_t end() const { return begin() + length; }
    friend bool operator==(const RecordInfo&, const RecordInfo&) = default;
};

struct BeginFrame {
    RecordInfo info;
    std::uint32_t at = 0;  ///< of these bytes in the new data, a multiple of kMaxRecordFrame
    Slice data;
    bool dirty = false;  ///< the new data stays here alone for a while: say when it is there
};

/// The new parity of the bytes [at, at + length) of the strips.
struct Redo {
    std::uint8_t parities =
        0;  ///< bit j: parity strip j is in the bytes. 0 for mirrors: the copies are the data
    std::uint32_t at = 0;
    std::uint32_t length = 0;
    Slice bytes;  ///< `length` bytes for each bit, ascending
};

struct RedoFrame {
    RecordId id;
    Redo redo;
};

/// Nobody needs the record any more. With `done`: it is on the disks.
struct EndFrame {
    RecordId id;
    StripeIndex stripe;
    std::uint32_t zone = 0;
    bool done = false;
};

enum class AckedPart : std::uint8_t {
    stored = 1,  ///< data and parity
    ended = 2,
    data = 3,  ///< of a dirty record
    sent = 4,  ///< it has left the process: told by our own link, never by a partner
};

struct AckFrame {
    RecordId id;
    AckedPart part = AckedPart::stored;
};

/// Asks for all orphans of some stripes; the answer is their begin and redo frames, then `kRecordFetched`,
/// which says where to ask on if these were too many for once.
struct FetchFrame {
    std::uint64_t ticket = 0;
    StripeIndex first;
    std::uint32_t count = 0;
};
struct FetchedFrame {
    std::uint64_t ticket = 0;
    StripeIndex next;  ///< all before it are told
};

Message encode(const Uuid& group, const BeginFrame& frame);
Message encode(const Uuid& group, const RedoFrame& frame);
Message encode(const Uuid& group, const EndFrame& frame);
Message encode(const Uuid& group, const AckFrame& frame);
Message encode(const Uuid& group, const FetchFrame& frame);
Message encode(const Uuid& group, const FetchedFrame& frame);

/// corrupt for anything that the encoder would not have written for a group of these limits.
Result<BeginFrame> decode_begin(const Message& message, const RecordLimits& limits);
Result<RedoFrame> decode_redo(const Message& message, const RecordLimits& limits);
Result<EndFrame> decode_end(const Message& message);
Result<AckFrame> decode_ack(const Message& message);
Result<FetchFrame> decode_fetch(const Message& message);
Result<FetchedFrame> decode_fetched(const Message& message);

}  // namespace braid
