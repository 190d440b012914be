// What one server allows its clients, and what it has counted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "host/nbd/protocol.h"

namespace braid::nbd {

struct Limits {
    std::size_t connections = 1024;  ///< of the server; one more ends the oldest handshake, or is closed
    std::size_t requests_in_flight = 4096;    ///< of a connection; from admission until the reply is sent
    std::size_t bytes_in_flight = 64u << 20;  ///< of a connection: payloads and replies
    std::size_t total_bytes_in_flight = 512u << 20;  ///< of all connections
    std::size_t receive_buffer = 256u << 10;         ///< of a connection; several requests per receive

    std::size_t options = 256;              ///< of a handshake
    std::size_t option_length = 16u << 10;  ///< bytes that are looked at; longer ones are refused
    std::size_t option_skip = 1u << 20;     ///< bytes of a refused option that are skipped; beyond: closed
    std::size_t write_skip = 64u << 20;     ///< bytes of a refused write that are skipped; beyond: closed

    Nanos handshake_deadline = 30s;
    Nanos drain_deadline = 5s;    ///< at an orderly end, for clients that do not take their replies
    Nanos closing_grace = 500ms;  ///< how long a closed port's connections still answer "shutting down"
    /// While others wait for memory: who neither takes its replies nor sends its payload for so long is cut.
    Nanos stall_deadline = 30s;
};

struct Counters {
    std::uint64_t connections_opened = 0;
    std::uint64_t connections_open = 0;
    std::uint64_t connections_refused = 0;  ///< over the limit
    std::uint64_t handshakes_failed = 0;
    std::uint64_t protocol_errors = 0;  ///< connections closed for breaking the protocol in transmission
    std::uint64_t stalled = 0;          ///< connections cut while memory was short
    std::array<std::uint64_t, kCommands> requests{};  ///< by Command
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
    std::uint64_t errors = 0;  ///< replies that carry an error
};

}  // namespace braid::nbd
