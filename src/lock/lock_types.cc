#include "lock/lock_types.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/prng.h"
#include "icl/frame.h"

namespace braid {

namespace {

constexpr std::uint8_t kReleaseWhenDone = 1;
constexpr std::uint8_t kRecover = 2;
constexpr std::uint8_t kChanged = 4;
constexpr std::uint8_t kLast = 1;

/// Which fields follow unit and ticket.
struct Fields {
    bool mode = false, range = false, clock = false, claim = false;
    std::uint8_t flags = 0;  ///< those it may have
};

Fields fields_of(MessageType type) {
    switch (type) {
        case MessageType::lock_request:
            return {.mode = true, .range = true};
        case MessageType::lock_grant:
            return {.mode = true, .range = true, .flags = kReleaseWhenDone | kRecover};
        case MessageType::lock_claim:
            return {.mode = true, .range = true, .clock = true, .claim = true, .flags = kRecover};
        case MessageType::lock_yield:
            return {.clock = true, .flags = kChanged};
        default:
            return {};
    }
}

bool is_mode(std::uint8_t value) {
    return value == static_cast<std::uint8_t>(LockMode::read) ||
           value == static_cast<std::uint8_t>(LockMode::write);
}

}  // namespace

AmfId arbiter_of(UnitIndex unit, const AmfView& view) {
    const std::uint64_t place = mix64(unit.v / kNeighbourhoodUnits);
    AmfId best;
    std::uint64_t highest = 0;
    for (const AmfMember& member : view.members) {
        const std::uint64_t weight = mix64(place ^ mix64(member.id.v));
        if (best.v == 0 || weight > highest) {
            best = member.id;
            highest = weight;
        }
    }
    ASSERT(best.v != 0);
    return best;
}

Bytes encode(const LockFrame& frame) {
    Bytes bytes;
    bytes.reserve(48);
    Writer writer(bytes);
    writer.put(frame.unit);
    writer.put(frame.ticket);
    const Fields fields = fields_of(frame.type);
    if (fields.mode) writer.put(static_cast<std::uint8_t>(frame.mode));
    if (fields.mode || fields.clock) {
        const unsigned flags = (frame.release_when_done ? kReleaseWhenDone : 0u) |
                               (frame.recover ? kRecover : 0u) | (frame.changed ? kChanged : 0u);
        writer.put(static_cast<std::uint8_t>(flags));
    }
    if (fields.range) {
        writer.put(frame.range.offset);
        writer.put(frame.range.length);
    }
    if (fields.clock) writer.put(frame.stamp);
    if (fields.claim) {
        writer.put(frame.progress);
    }
    return bytes;
}

Result<LockFrame> decode_lock_frame(MessageType type, std::span<const std::byte> head) {
    Reader reader(head);
    LockFrame frame{type, reader.get<UnitIndex>(), reader.get<std::uint64_t>()};
    if (frame.ticket == 0) reader.fail();
    const Fields fields = fields_of(type);
    if (fields.mode) {
        const auto mode = reader.get<std::uint8_t>();
        if (!is_mode(mode)) reader.fail();
        frame.mode = static_cast<LockMode>(mode);
    }
    if (fields.mode || fields.clock) {
        const auto flags = reader.get<std::uint8_t>();
        if ((flags & ~fields.flags) != 0) reader.fail();
        frame.release_when_done = (flags & kReleaseWhenDone) != 0;
        frame.recover = (flags & kRecover) != 0;
        frame.changed = (flags & kChanged) != 0;
    }
    if (fields.range) {
        frame.range = {reader.get<std::uint64_t>(), reader.get<std::uint32_t>()};
        if (frame.range.length > kMaxFramePayload) reader.fail();
    }
    if (fields.clock) frame.stamp = reader.get<std::uint64_t>();
    if (fields.claim) {
        frame.progress = reader.get<std::uint8_t>();
        if (frame.recover && frame.mode != LockMode::write) reader.fail();
    }
    if (!reader.done()) return fail(Errc::corrupt);
    return frame;
}

Bytes encode(const LockReport& report) {
    Bytes bytes;
    bytes.reserve(5 + report.entries.size() * 19);
    Writer writer(bytes);
    writer.put(static_cast<std::uint8_t>(report.last ? kLast : 0));
    writer.put(static_cast<std::uint32_t>(report.entries.size()));
    for (const LockReportEntry& entry : report.entries) {
        writer.put(entry.unit);
        writer.put(entry.ticket);
        writer.put(static_cast<std::uint8_t>(entry.kind));
        writer.put(static_cast<std::uint8_t>(entry.mode));
        writer.put(entry.progress);
    }
    return bytes;
}

Result<LockReport> decode_lock_report(std::span<const std::byte> head) {
    Reader reader(head);
    LockReport report;
    const auto flags = reader.get<std::uint8_t>();
    if ((flags & ~kLast) != 0) reader.fail();
    report.last = flags == kLast;
    const auto count = reader.get<std::uint32_t>();
    if (count > kReportEntries) reader.fail();
    for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
        LockReportEntry entry{reader.get<UnitIndex>(), reader.get<std::uint64_t>()};
        const auto kind = reader.get<std::uint8_t>();
        const auto mode = reader.get<std::uint8_t>();
        entry.progress = reader.get<std::uint8_t>();
        entry.kind = static_cast<ReportKind>(kind);
        entry.mode = static_cast<LockMode>(mode);
        const bool sound = entry.ticket != 0 && is_mode(mode) &&
                           kind <= static_cast<std::uint8_t>(ReportKind::claim) &&
                           (entry.kind == ReportKind::held || entry.mode == LockMode::write);
        if (!sound) reader.fail();
        report.entries.push_back(entry);
    }
    if (!reader.done()) return fail(Errc::corrupt);
    return report;
}

}  // namespace braid
