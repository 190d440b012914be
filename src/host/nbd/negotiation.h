// The handshake of one connection: greeting, options, and what both sides agreed on. It knows exports by name
// and nothing of their content. It has no deadline of its own: its caller ends the stream when the time is
// over.
#pragma once

#include <memory>
#include <string>

#include "host/nbd/intake.h"
#include "host/nbd/limits.h"
#include "host/nbd/protocol.h"
#include "volume/port_registry.h"

namespace braid::nbd {

/// What transmission starts with.
struct Agreement {
    std::shared_ptr<Port> port;
    unsigned side = 0;        ///< of the port: which thread's the connection shall be
    bool structured = false;  ///< reads and block status are answered in chunks
    bool allocation = false;  ///< base:allocation was selected for this export
};

class Negotiation {
public:
    Negotiation(Executor& executor, ByteStream& stream, Intake& intake, PortRegistry& ports,
                const Limits& limits)
        : executor_(executor), stream_(stream), intake_(intake), ports_(ports), limits_(limits) {}

    /// `cancelled` if the client ended it in order (ABORT), `closed` if it just left, `corrupt` if it broke
    /// the protocol, `too_large` if it went beyond a limit, `not_found` for EXPORT_NAME of an unknown name.
    Task<Result<Agreement>> run();

private:
    enum class Next : std::uint8_t { option, transmission, end };

    Task<Result<OptionHeader>> receive_header();
    Task<Result<Next>> handle(OptionHeader header);
    /// Appends the replies to an option whose data is complete.
    Result<Next> answer(OptionHeader header, std::span<const std::byte> data);
    Result<Next> answer_export_name(std::span<const std::byte> data);
    Next answer_info(Option option, std::span<const std::byte> data);
    void answer_meta(Option option, std::span<const std::byte> data);
    void answer_list();
    void settle(const std::string& asked_name);
    void reply(Option option, OptionReply type) { append_option_reply(out_, option, type); }
    Task<Status> send();
    std::uint16_t transmission_flags() const;

    Executor& executor_;
    ByteStream& stream_;
    Intake& intake_;
    PortRegistry& ports_;
    const Limits& limits_;

    Agreement agreed_;
    bool padding_ = true;
    bool context_selected_ = false;
    std::string context_name_;  // the export name the context was selected for
    Bytes out_;
};

}  // namespace braid::nbd
