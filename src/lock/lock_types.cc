#include "lock/lock_types.h"

#include "base/assert.h"
#include "base/codec.h"
#include "base/prng.h"
#include "icl/frame.h"

namespace braid {

namespace {

constexpr std::uint8_t kRecover = 1;
constexpr std::uint8_t kBackground = 2;
constexpr std::uint8_t kChanged = 4;
constexpr std::uint8_t kLast = 1;

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
    const auto put = [&](auto value) { writer.put(static_cast<std::uint8_t>(value)); };
    const auto put_range = [&] {
        writer.put(frame.range.offset);
        writer.put(frame.range.length);
        writer.put(frame.range.generation);
    };
    switch (frame.type) {
        case MessageType::lock_request:
            put(frame.mode);
            put(frame.background ? kBackground : 0);
            put(frame.ahead);
            put_range();
            break;
        case MessageType::lock_grant:
            put(frame.mode);
            put(frame.recover ? kRecover : 0);
            put(frame.wanted);
            writer.put(frame.granted_ahead);
            writer.put(frame.holder);
            writer.put(frame.former);
            writer.put(frame.next);
            put_range();
            break;
        case MessageType::lock_claim:
            put(frame.mode);
            put(frame.recover ? kRecover : 0);
            put(frame.progress);
            writer.put(frame.stamp);
            put_range();
            break;
        case MessageType::lock_yield:
            put(frame.changed ? kChanged : 0);
            writer.put(frame.holder);
            writer.put(frame.stamp);
            break;
        case MessageType::lock_revoke:
            put(frame.wanted);
            writer.put(frame.next);
            break;
        case MessageType::lock_released:
            put(frame.mode);
            writer.put(frame.next);
            break;
        default:
            break;
    }
    return bytes;
}

Result<LockFrame> decode_lock_frame(MessageType type, std::span<const std::byte> head) {
    Reader reader(head);
    LockFrame frame{type, reader.get<UnitIndex>(), reader.get<std::uint64_t>()};
    if ((frame.ticket == 0) != (type == MessageType::lock_returned)) reader.fail();
    const auto mode = [&](LockMode least, LockMode most) {
        const auto value = static_cast<LockMode>(reader.get<std::uint8_t>());
        if (value < least || value > most) reader.fail();
        return value;
    };
    const auto flag = [&](std::uint8_t known) {
        const auto value = reader.get<std::uint8_t>();
        if (value != 0 && value != known) reader.fail();
        return value != 0;
    };
    const auto range = [&] {
        const LockRange value{reader.get<std::uint64_t>(), reader.get<std::uint32_t>(),
                              reader.get<std::uint32_t>()};
        if (value.length > kMaxFramePayload) reader.fail();
        return value;
    };
    switch (type) {
        case MessageType::lock_request:
            frame.mode = mode(LockMode::read, LockMode::write);
            frame.background = flag(kBackground);
            frame.ahead = reader.get<std::uint8_t>();
            if (frame.ahead >= kNeighbourhoodUnits) reader.fail();
            frame.range = range();
            break;
        case MessageType::lock_grant:
            frame.mode = mode(LockMode::read, LockMode::write);
            frame.recover = flag(kRecover);
            frame.wanted = mode(LockMode::none, LockMode::write);
            frame.granted_ahead = reader.get<std::uint64_t>();
            frame.holder = reader.get<AmfId>();
            frame.former = reader.get<AmfId>();
            frame.next = reader.get<AmfId>();
            if (frame.next.v != 0 && frame.wanted != LockMode::write) reader.fail();
            frame.range = range();
            break;
        case MessageType::lock_claim:
            frame.mode = mode(LockMode::read, LockMode::write);
            frame.recover = flag(kRecover);
            frame.progress = reader.get<std::uint8_t>();
            frame.stamp = reader.get<std::uint64_t>();
            frame.range = range();
            if (frame.recover && frame.mode != LockMode::write) reader.fail();
            break;
        case MessageType::lock_yield:
            frame.changed = flag(kChanged);
            frame.holder = reader.get<AmfId>();
            frame.stamp = reader.get<std::uint64_t>();
            break;
        case MessageType::lock_revoke:
            frame.wanted = mode(LockMode::read, LockMode::write);
            frame.next = reader.get<AmfId>();
            if (frame.next.v != 0 && frame.wanted != LockMode::write) reader.fail();
            break;
        case MessageType::lock_released:
            frame.mode = mode(LockMode::none, LockMode::read);
            frame.next = reader.get<AmfId>();
            if (frame.next.v != 0 && frame.mode != LockMode::none) reader.fail();
            break;
        default:
            break;
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
