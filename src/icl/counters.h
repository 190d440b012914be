// What went over the links of one peer, since this controller started: plain numbers, read by the metrics
// page.
#pragma once

#include <array>
#include <cstdint>

#include "icl/message.h"

namespace braid {

struct TrafficCounters {
    std::array<std::uint64_t, 112> messages{};  ///< by MessageType
    std::uint64_t packets = 0;                  ///< calls on the stream: messages per packet is the gathering
    std::uint64_t bytes = 0;                    ///< frame headers included

    void add(const TrafficCounters& other) {
        for (std::size_t i = 0; i < messages.size(); ++i) messages[i] += other.messages[i];
        packets += other.packets;
        bytes += other.bytes;
    }
    std::uint64_t all_messages() const {
        std::uint64_t sum = 0;
        for (std::uint64_t n : messages) sum += n;
        return sum;
    }
};

struct PeerCounters {
    TrafficCounters sent;
    TrafficCounters received;
    std::uint64_t dropped_stale = 0;   ///< received, of an older epoch
    std::uint64_t dropped_broken = 0;  ///< not sent: the session broke in this epoch
    std::uint64_t sessions = 0;        ///< hellos that succeeded
};

}  // namespace braid
