// What the tests of the broadcast share.
#pragma once

#include <gtest/gtest.h>

#include "lock/broadcast.h"

namespace braid {

inline void PrintTo(const LockSend& s, std::ostream* out) {
    *out << "to " << s.to.v << " type " << int(s.frame.type) << " ticket " << s.frame.ticket << " mode "
         << int(s.frame.mode) << " stamp " << s.frame.stamp << " wanted " << int(s.frame.wanted)
         << (s.frame.recover ? " recover" : "") << (s.frame.changed ? " changed" : "") << " data "
         << s.frame.data.bytes.size();
}

namespace testing {

using enum LockMode;
using Sends = std::vector<LockSend>;

constexpr UnitIndex kUnit{7};
constexpr LockRange kRange{4096, 4};

inline AmfId id(unsigned v) { return AmfId(static_cast<std::uint16_t>(v)); }

inline AmfView view_of(std::uint64_t epoch, unsigned self, unsigned count) {
    AmfView view{Epoch(epoch), id(self), {}};
    for (unsigned i = 1; i <= count; ++i) view.members.push_back({id(i), Incarnation(1)});
    return view;
}

inline LockFrame request(LockMode mode, std::uint64_t ticket, LockRange range = {}) {
    return {.type = MessageType::lock_request, .unit = kUnit, .ticket = ticket, .mode = mode, .range = range};
}
inline LockFrame released(std::uint64_t ticket) { return {MessageType::lock_released, kUnit, ticket}; }
inline LockFrame claim(LockMode mode, std::uint64_t ticket, std::uint64_t stamp, LockRange range = {}) {
    return {.type = MessageType::lock_claim,
            .unit = kUnit,
            .ticket = ticket,
            .mode = mode,
            .stamp = stamp,
            .range = range};
}
inline LockFrame recovery(std::uint64_t ticket, std::uint64_t stamp, std::uint8_t progress) {
    LockFrame frame = claim(write, ticket, stamp);
    frame.recover = true;
    frame.progress = progress;
    return frame;
}
inline LockFrame yield(std::uint64_t ticket, std::uint64_t stamp, LockRange range = {}) {
    return {.type = MessageType::lock_yield, .unit = kUnit, .ticket = ticket, .stamp = stamp, .range = range};
}
inline LockFrame with_data(LockFrame frame, std::string_view text) {
    frame.data = Slice(Buffer::copy_of(std::as_bytes(std::span(text))));
    return frame;
}
/// 2 goes on reading.
inline LockFrame reading(LockFrame frame) {
    frame.holder = id(2);
    return frame;
}
inline LockFrame changed(LockFrame frame) {
    frame.changed = true;
    return frame;
}
inline LockFrame grant(LockMode mode, std::uint64_t ticket, LockMode wanted = none, bool recover = false) {
    return {MessageType::lock_grant, kUnit, ticket, mode, wanted, recover};
}
inline LockReport report(ReportKind kind, LockMode mode, std::uint64_t ticket, std::uint8_t progress = 0) {
    return {{{kUnit, ticket, kind, mode, progress}}, true};
}

/// AMF 2 of three.
struct BroadcastTest : ::testing::Test {
    BroadcastTest() { start(1, 3, {}); }
    void start(std::uint64_t epoch, unsigned count, const LockReport& held) {
        machine.adopt(view_of(epoch, 2, count));
        EXPECT_TRUE(machine.report(id(2), held));
    }
    bool take(unsigned from, const LockFrame& frame) { return machine.take(id(from), frame); }
    /// It holds the unit by this ticket; its claim had `stamp`.
    void hold(LockMode mode, std::uint64_t ticket, std::uint64_t stamp) {
        take(2, request(mode, ticket));
        EXPECT_EQ(out(), (Sends{{id(1), claim(mode, ticket, stamp)}, {id(3), claim(mode, ticket, stamp)}}));
        take(1, yield(ticket, 0));
        take(3, yield(ticket, 0));
        EXPECT_EQ(out(), (Sends{{id(2), grant(mode, ticket)}}));
    }
    Sends out() { return std::exchange(machine.outbox(), {}); }
    Sends revoke(std::uint64_t ticket, LockMode wanted = write) {
        return {
            {id(2), {.type = MessageType::lock_revoke, .unit = kUnit, .ticket = ticket, .wanted = wanted}}};
    }

    Broadcast machine;
};

}  // namespace testing
}  // namespace braid
