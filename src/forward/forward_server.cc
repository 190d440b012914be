#include "forward/forward_server.h"

#include <algorithm>

#include "base/log.h"

namespace braid {

ForwardServer::ForwardServer(Executor& executor, GroupSpace& space, Transport& transport, const Uuid& group,
                             Find find)
    : space_(space),
      transport_(transport),
      group_(group),
      find_(std::move(find)),
      ended_(executor),
      scope_(executor) {}

/// What is at work for those who are gone goes on to its end; nobody asks for it any more.
void ForwardServer::adopt(std::vector<ForwardCaller> callers) {
    callers_ = std::move(callers);
    std::erase_if(memories_, [&](const auto& memory) { return !alive(memory.first); });
    for (auto& [who, memory] : memories_) {
        for (auto& [number, entry] : memory.entries) entry.asked = false;
    }
}

bool ForwardServer::alive(const ControllerStart& who) const {
    return std::ranges::any_of(
        callers_, [&](const ForwardCaller& c) { return ControllerStart(c.id, c.incarnation) == who; });
}

void ForwardServer::deliver(AmfId from, const Message& message) {
    const ControllerId id = controller_of(from);
    const auto caller = std::ranges::find(callers_, id, &ForwardCaller::id);
    Result<ForwardRequest> request = decode_forward_request(message);
    if (caller == callers_.end() || !request) {
        LOG_WARN("forward.refused", {"from", from}, {"type", static_cast<unsigned>(message.type)});
        return;
    }
    Memory& memory = memories_[{id, caller->incarnation}];
    memory.watermark = std::max(memory.watermark, request->watermark);
    memory.entries.erase(memory.entries.begin(), memory.entries.lower_bound(memory.watermark));
    if (request->number < memory.watermark) return;
    const auto [known, fresh] = memory.entries.try_emplace(request->number);
    if (!fresh) {
        ++counters_.repeated;
        known->second.asked = true;
        if (known->second.done) reply(id, {request->number, known->second.status, {}});
        return;
    }
    Result<Place> place = fail(Errc::not_ready);
    if (!closed_) place = find_(caller->name, request->volume);
    if (place && (request->offset > place->size || request->length > place->size - request->offset))
        place = fail(Errc::invalid);
    if (!place) {
        memory.entries.erase(known);
        ++counters_.refused;
        return reply(id, {request->number, std::unexpected(place.error()), {}});
    }
    Work what{caller->name, request->volume, {id, caller->incarnation}};
    scope_.spawn(work(std::move(what), std::move(*request), *place));
}

Task<void> ForwardServer::work(Work what, ForwardRequest request, Place place) {
    ++at_work_[what];
    ForwardReply answer{request.number, {}, {}};
    answer.status = co_await perform(what.who, request, place, answer.data);
    if (!answer.status) answer.data = {};
    if (--at_work_[what] == 0) at_work_.erase(what);
    ended_.notify_all();
    end(what.who, request, std::move(answer));
}

/// `request` outlives it.
Task<Status> ForwardServer::perform(ControllerStart who, const ForwardRequest& request, Place place,
                                    Slice& read) {
    const std::uint64_t at = place.begin + request.offset;
    const Errand errand{who, request.number, request.watermark, request.repeated};
    switch (request.type) {
        case MessageType::forward_read: {
            const Buffer into(request.length);
            read = Slice(into);
            co_return co_await space_.read(at, into.span());
        }
        case MessageType::forward_write:
            co_return co_await space_.write(at, request.data, request.fua, errand);
        case MessageType::forward_zeroes:
            co_return co_await space_.write_zeroes(at, request.length, request.may_leave_hole, request.fua,
                                                   errand);
        case MessageType::forward_allocation: {
            CO_TRY_LET(const auto runs,
                       co_await space_.allocation(at, request.length, request.runs, request.detail));
            read = Slice(encode(runs));
            co_return Status{};
        }
        default:
            co_return co_await space_.flush();
    }
}

/// What was refused may be asked again. In a new view it will be, and is begun then: whoever hears of the
/// refusal before would ask another one, and both would be at work.
void ForwardServer::end(const ControllerStart& who, const ForwardRequest& request, ForwardReply answer) {
    const auto at = memories_.find(who);
    if (at == memories_.end()) return;  // its controller has gone
    ++counters_.operations;
    counters_.bytes += request.data.bytes.size() + answer.data.bytes.size();
    Memory& memory = at->second;
    const bool settled = answer.status || !is_refusal(answer.status.error().code);
    const auto entry = memory.entries.find(request.number);
    const bool asked = entry == memory.entries.end() || entry->second.asked;
    if (!request.changes() || !settled) {
        memory.entries.erase(request.number);
    } else if (request.number >= memory.watermark) {
        memory.entries[request.number] = {asked, true, answer.status};
    }
    if (settled || asked) reply(who.first, std::move(answer));
}

void ForwardServer::reply(ControllerId to, ForwardReply reply) {
    transport_.send(amf_id(to), encode(group_, reply));
}

Task<Status> ForwardServer::idle() {
    while (!at_work_.empty()) co_await ended_.next();
    co_return Status{};
}

Task<Status> ForwardServer::drained(std::string controller, VolumeId volume) {
    const auto is_at_work = [&] {
        const auto at = at_work_.lower_bound(Work{controller, volume, {}});
        return at != at_work_.end() && at->first.controller == controller && at->first.volume == volume;
    };
    while (is_at_work()) co_await ended_.next();
    co_return Status{};
}

bool ForwardServer::serves(ControllerId id, Incarnation incarnation) const {
    const ControllerStart who(id, incarnation);
    return alive(who) ||
           std::ranges::any_of(at_work_, [&](const auto& work) { return work.first.who == who; });
}

}  // namespace braid
