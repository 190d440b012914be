// link: lock
// Heads of lock messages, as they come and built from the input: no bytes crash a decoder, what one accepts
// encodes to the same bytes, and what an encoder of ours writes is read again. First byte: which message.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/assert.h"
#include "base/codec.h"
#include "lock/lock_types.h"

namespace {

using namespace braid;

constexpr std::array kTypes = {MessageType::lock_request,  MessageType::lock_grant, MessageType::lock_revoke,
                               MessageType::lock_released, MessageType::lock_claim, MessageType::lock_yield,
                               MessageType::lock_returned};

void check_frame(MessageType type, std::span<const std::byte> head) {
    const auto frame = decode_lock_frame(type, head);
    if (!frame) return;
    ASSERT(std::ranges::equal(encode(*frame), head));
}

void check_report(std::span<const std::byte> head) {
    const auto report = decode_lock_report(head);
    if (!report) return;
    ASSERT(report->entries.size() <= kReportEntries);
    ASSERT(std::ranges::equal(encode(*report), head));
}

/// Any grant and any report that a lock manager may send.
void check_built(Reader in) {
    const auto byte = [&] { return in.get<std::uint8_t>(); };
    const auto mode = [&] { return byte() % 2 == 0 ? LockMode::read : LockMode::write; };
    LockFrame grant{MessageType::lock_grant, in.get<UnitIndex>(), in.get<std::uint64_t>() | 1, mode()};
    grant.recover = byte() % 2 != 0;
    grant.wanted = static_cast<LockMode>(byte() % 3);
    grant.granted_ahead = in.get<std::uint64_t>();
    grant.holder = in.get<AmfId>();
    grant.former = in.get<AmfId>();
    grant.range = {in.get<std::uint64_t>(), in.get<std::uint32_t>() % (1u << 20), in.get<std::uint32_t>()};
    const auto again = decode_lock_frame(grant.type, encode(grant));
    ASSERT(again && *again == grant);

    LockReport report;
    report.last = byte() % 2 != 0;
    while (in.left() != 0 && report.entries.size() < kReportEntries) {
        LockReportEntry& entry = report.entries.emplace_back();
        entry = {in.get<UnitIndex>(), in.get<std::uint64_t>() | 1};
        entry.kind = static_cast<ReportKind>(byte() % 3);
        entry.mode = entry.kind == ReportKind::held ? mode() : LockMode::write;
        entry.progress = byte();
    }
    const auto read = decode_lock_report(encode(report));
    ASSERT(read && *read == report);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto head = std::as_bytes(std::span(data, size)).subspan(1);
    const std::size_t which = data[0] % (kTypes.size() + 2);
    if (which < kTypes.size()) {
        check_frame(kTypes[which], head);
    } else if (which == kTypes.size()) {
        check_report(head);
    } else {
        check_built(Reader(head));
    }
    return 0;
}
