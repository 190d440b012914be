#include "host/nbd/transmission.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"

namespace braid::nbd {
namespace {

constexpr std::size_t kMaxRuns = 1024;

bool has_data(const Request& request) {
    return request.type == Command::read || request.type == Command::write;
}

// The flags a command may carry. FUA may stand at any command, even where it means nothing.
std::uint16_t known_flags(Command command, bool structured) {
    unsigned flags = fua;
    switch (command) {
        case Command::read:
            flags |= structured ? df : 0;
            break;
        case Command::write_zeroes:
            flags |= no_hole | fast_zero;
            break;
        case Command::block_status:
            flags |= req_one;
            break;
        default:
            break;
    }
    return static_cast<std::uint16_t>(flags);
}

// Memory in which the data has the alignment that its offset has on the disk, so that whole blocks in it are
// aligned.
struct Placed {
    Buffer buffer;
    std::span<std::byte> bytes;

    Placed(std::uint64_t offset, std::size_t length) {
        const std::size_t lead = offset % kBlockSize;
        buffer = Buffer(lead + length);
        bytes = buffer.span(lead, length);
    }
    Slice slice() && { return Slice(std::move(buffer), bytes); }
};

std::size_t memory_of(const Request& request) {
    return has_data(request) ? request.offset % kBlockSize + request.length : 0;
}

}  // namespace

Transmission::Transmission(Executor& executor, Clock& clock, ByteStream& stream, Intake& intake,
                           Agreement agreement, const Limits& limits, SharedBudget& budget,
                           Counters& counters)
    : clock_(clock),
      stream_(stream),
      intake_(intake),
      agreement_(std::move(agreement)),
      port_(*agreement_.port),
      limits_(limits),
      counters_(counters),
      admission_(executor, limits, budget),
      replies_(executor, clock, stream, admission_),
      requests_(executor),
      writer_(executor),
      watch_(executor) {}

Task<void> Transmission::run() {
    intake_.grow(limits_.receive_buffer);
    writer_.spawn(replies_.run());
    watch_.spawn(watch_port());
    const Status end = co_await receive();
    if (!end && end.error().code != Errc::closed && !draining_) {
        ++counters_.protocol_errors;
        LOG_WARN("nbd.connection_cut", {"peer", stream_.peer_name()}, {"port", port_.name()},
                 {"reason", to_string(end.error().code)});
        stream_.shutdown();
    }
    co_await requests_.join();
    replies_.finish();
    co_await writer_.join();
    watch_.destroy_all();
    stream_.shutdown();
}

// Ends without an error when the client says that it disconnects.
Task<Status> Transmission::receive() {
    while (!replies_.dead()) {
        if (intake_.available().size() < kRequestSize) CO_TRY(co_await intake_.need(kRequestSize));
        const Result<Request> request = decode_request(intake_.available().first<kRequestSize>());
        if (!request) co_return std::unexpected(request.error());
        intake_.consume(kRequestSize);
        if (const auto type = static_cast<std::size_t>(request->type); type < kCommands)
            ++counters_.requests[type];
        if (request->type == Command::disc) co_return Status{};

        // The common case takes no further frame: everything is admitted at once and needs no payload.
        const std::size_t charge = admission_.charge_for(memory_of(*request));
        if (request->type != Command::write && objection(*request) == WireError::none &&
            admission_.try_enter(charge)) {
            start(*request, charge);
        } else {
            CO_TRY(co_await dispatch(*request));
        }
    }
    co_return fail(Errc::closed);
}

WireError Transmission::objection(const Request& request) const {
    if (draining_ || port_.closing()) return WireError::shutdown;
    if (static_cast<std::size_t>(request.type) >= kCommands) return WireError::invalid;
    if ((request.flags & ~known_flags(request.type, agreement_.structured)) != 0) return WireError::invalid;
    if (has_data(request) && request.length > kMaximumBlock) return WireError::invalid;
    if (request.type == Command::flush) return WireError::none;
    if (!port_.contains(request.offset, request.length)) {
        const bool writes = request.type == Command::write || request.type == Command::write_zeroes;
        return writes ? WireError::no_space : WireError::invalid;
    }
    if (request.type == Command::block_status && (!agreement_.allocation || request.length == 0)) {
        return WireError::invalid;
    }
    return WireError::none;
}

Task<Status> Transmission::dispatch(Request request) {
    if (request.type == Command::write) co_return co_await dispatch_write(request);
    const WireError error = objection(request);
    if (error != WireError::none) {
        co_await admit_and_fail(request, error);
        co_return Status{};
    }
    const std::size_t charge = admission_.charge_for(memory_of(request));
    co_await admission_.enter(charge);
    start(request, charge);
    co_return Status{};
}

Task<Status> Transmission::dispatch_write(Request request) {
    const WireError error = objection(request);
    if (error != WireError::none) co_return co_await refuse_write(request, error);
    const std::size_t charge = admission_.charge_for(memory_of(request));
    if (!admission_.try_enter(charge)) co_await admission_.enter(charge);
    Placed memory(request.offset, request.length);
    const std::size_t here = intake_.take(memory.bytes);
    if (here != memory.bytes.size()) {
        payload_since_ = clock_.now();
        const Status status = co_await intake_.read_rest(memory.bytes.subspan(here));
        payload_since_ = Nanos{};
        if (!status) {
            admission_.leave(charge);
            co_return status;
        }
    }
    requests_.spawn(write(request, std::move(memory).slice(), charge));
    co_return Status{};
}

// The payload follows whatever the answer is; a length beyond all reason is not waited for.
Task<Status> Transmission::refuse_write(Request request, WireError error) {
    if (request.length > limits_.write_skip) co_return fail(Errc::too_large);
    CO_TRY(co_await intake_.skip(request.length));
    co_await admit_and_fail(request, error);
    co_return Status{};
}

// Refusals are counted like other requests: a client that only sends nonsense cannot make the queue grow.
Task<void> Transmission::admit_and_fail(Request request, WireError error) {
    const std::size_t charge = admission_.charge_for(0);
    if (!admission_.try_enter(charge)) co_await admission_.enter(charge);
    answer_error(request, error, charge);
}

void Transmission::start(const Request& request, std::size_t charge) {
    switch (request.type) {
        case Command::read:
            return requests_.spawn(read(request, charge));
        case Command::flush:
            return requests_.spawn(flush(request, charge));
        case Command::write_zeroes:
            return requests_.spawn(write_zeroes(request, charge));
        case Command::trim:
        case Command::cache:
            return requests_.spawn(hint(request, charge));
        case Command::block_status:
            return requests_.spawn(block_status(request, charge));
        case Command::write:
        case Command::disc:
            break;
    }
    ASSERT(false);
}

Task<void> Transmission::read(Request request, std::size_t charge) {
    Placed memory(request.offset, request.length);
    const Status status = co_await port_.read(request.offset, memory.bytes);
    if (!status) {
        answer_error(request, error_of(request, status.error()), charge);
        co_return;
    }
    counters_.bytes_read += request.length;
    if (!agreement_.structured) {
        replies_.push(simple_reply(request.cookie, WireError::none), std::move(memory).slice(), charge);
    } else if (request.length == 0) {
        replies_.push(empty_chunk(request.cookie), Slice(),
                      charge);  // a content chunk holds at least one byte
    } else {
        replies_.push(data_chunk(request.cookie, request.offset, request.length), std::move(memory).slice(),
                      charge);
    }
}

Task<void> Transmission::write(Request request, Slice data, std::size_t charge) {
    const Status status = co_await port_.write(request.offset, std::move(data), (request.flags & fua) != 0);
    if (status) counters_.bytes_written += request.length;
    answer(request, status, charge);
}

Task<void> Transmission::write_zeroes(Request request, std::size_t charge) {
    const ZeroMode mode{.may_leave_hole = (request.flags & no_hole) == 0,
                        .fast = (request.flags & fast_zero) != 0,
                        .fua = (request.flags & fua) != 0};
    answer(request, co_await port_.write_zeroes(request.offset, request.length, mode), charge);
}

Task<void> Transmission::hint(Request request, std::size_t charge) {
    const bool trims = request.type == Command::trim;
    answer(request,
           trims ? co_await port_.trim(request.offset, request.length, (request.flags & fua) != 0)
                 : co_await port_.cache(request.offset, request.length),
           charge);
}

Task<void> Transmission::flush(Request request, std::size_t charge) {
    answer(request, co_await port_.flush(), charge);
}

Task<void> Transmission::block_status(Request request, std::size_t charge) {
    const std::size_t most = (request.flags & req_one) != 0 ? 1 : kMaxRuns;
    const auto runs = co_await port_.allocation(request.offset, request.length, most);
    if (!runs) co_return answer_error(request, error_of(request, runs.error()), charge);
    Buffer descriptors(runs->size() * 8);
    for (std::size_t i = 0; i < runs->size(); ++i) {
        const AllocationRun& run = (*runs)[i];
        put_descriptor(descriptors.span(i * 8, 8).first<8>(), static_cast<std::uint32_t>(run.length),
                       run.hole ? hole | reads_zero : 0u);
    }
    replies_.push(status_chunk(request.cookie, static_cast<std::uint32_t>(runs->size())),
                  Slice(std::move(descriptors)), charge);
}

void Transmission::answer(const Request& request, Status status, std::size_t charge) {
    if (!status) return answer_error(request, error_of(request, status.error()), charge);
    replies_.push(simple_reply(request.cookie, WireError::none), Slice(), charge);
}

void Transmission::answer_error(const Request& request, WireError error, std::size_t charge) {
    ++counters_.errors;
    // A read's answer is structured once that is agreed; for block status nothing else is allowed at all.
    const bool chunk =
        agreement_.structured && (request.type == Command::read || request.type == Command::block_status);
    replies_.push(chunk ? error_chunk(request.cookie, error) : simple_reply(request.cookie, error), Slice(),
                  charge);
}

WireError Transmission::error_of(const Request& request, Error error) const {
    LOG_DEBUG("nbd.request_failed", {"port", port_.name()}, {"type", static_cast<unsigned>(request.type)},
              {"reason", to_string(error.code)});
    return wire_error(error);
}

Nanos Transmission::stalled_since() const {
    const Nanos write = replies_.writing_since();
    if (write == Nanos{}) return payload_since_;
    return payload_since_ == Nanos{} ? write : std::min(write, payload_since_);
}

Task<void> Transmission::watch_port() {
    co_await port_.closed();
    co_await sleep_for(clock_, limits_.closing_grace);
    drain();
}

void Transmission::drain() {
    if (std::exchange(draining_, true)) return;
    watch_.spawn(end_when_answered());
}

Task<void> Transmission::end_when_answered() {
    const Nanos deadline = clock_.now() + limits_.drain_deadline;
    while (admission_.inside() != 0 && clock_.now() < deadline) {
        co_await wait_until(admission_.settled(), clock_, deadline, true);
    }
    stream_.shutdown();
}

}  // namespace braid::nbd
