// One connection after its handshake: a reader that turns bytes into requests, a task for each request, a
// writer that sends the replies in the order in which they become ready.
//
// Guarantees: run() returns only when every request that reached the port has returned and every reply has
// been sent or dropped, so memory is never freed under an operation. A client that breaks the protocol loses
// this connection and nothing else. Needs: executor, clock, stream, intake and budget outlive it. Destroying
// it while it runs is a crash.
#pragma once

#include <memory>

#include "async/scope.h"
#include "host/nbd/admission.h"
#include "host/nbd/intake.h"
#include "host/nbd/limits.h"
#include "host/nbd/negotiation.h"
#include "host/nbd/reply_queue.h"
#include "io/clock.h"
#include "io/stream.h"

namespace braid::nbd {

class Transmission {
public:
    Transmission(Executor& executor, Clock& clock, ByteStream& stream, Intake& intake, Agreement agreement,
                 const Limits& limits, SharedBudget& budget, Counters& counters);

    Task<void> run();
    /// Answers new requests with "shutting down" and ends the connection when all that is inside has been
    /// answered, or at the drain deadline. Idempotent.
    void drain();
    /// Since when the client has kept memory without moving: a reply it does not take, a payload it does not
    /// send. 0 if it does not.
    Nanos stalled_since() const;

private:
    Task<Status> receive();
    Task<Status> dispatch(Request request);
    Task<Status> dispatch_write(Request request);
    Task<Status> refuse_write(Request request, WireError error);
    Task<void> admit_and_fail(Request request, WireError error);
    /// Why a request is refused before it is tried, or none.
    WireError objection(const Request& request) const;
    void start(const Request& request, std::size_t charge);

    Task<void> read(Request request, std::size_t charge);
    Task<void> write(Request request, Slice data, std::size_t charge);
    Task<void> write_zeroes(Request request, std::size_t charge);
    Task<void> hint(Request request, std::size_t charge);
    Task<void> flush(Request request, std::size_t charge);
    Task<void> block_status(Request request, std::size_t charge);

    /// The reply of a request without data.
    void answer(const Request& request, Status status, std::size_t charge);
    void answer_error(const Request& request, WireError error, std::size_t charge);
    WireError error_of(const Request& request, Error error) const;

    Task<void> watch_port();
    Task<void> end_when_answered();

    Clock& clock_;
    ByteStream& stream_;
    Intake& intake_;
    const Agreement agreement_;
    Port& port_;
    const Limits& limits_;
    Counters& counters_;
    Admission admission_;
    ReplyQueue replies_;
    Nanos payload_since_{};
    bool draining_ = false;
    Scope requests_;
    Scope writer_;
    Scope watch_;
};

}  // namespace braid::nbd
