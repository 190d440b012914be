#include "forward/forward_client.h"

#include <algorithm>

#include "base/log.h"
#include "base/prng.h"

namespace braid {
/// In the frame of its perform().
struct ForwardClient::Open {
    Open(ForwardClient& c, ForwardRequest r) : client(c), request(std::move(r)), moved(c.executor_) {
        request.number = client.next_++;
        client.open_.emplace(request.number, this);
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;
    ~Open() {
        client.open_.erase(request.number);
        client.ended_.notify_all();
    }

    ForwardClient& client;
    ForwardRequest request;
    std::optional<AmfMember> with;  ///< who has it in hand
    std::optional<ForwardReply> answer;
    std::size_t turn = 0;  ///< how many have refused it
    Event moved;           ///< answer or with
};

ForwardClient::ForwardClient(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
                             Semaphore& budget, ForwardOptions options)
    : executor_(executor),
      clock_(clock),
      transport_(transport),
      group_(group),
      budget_(budget),
      options_(options),
      changed_(executor),
      ended_(executor) {}

std::vector<AmfMember> forward_order(const AmfView& view, ControllerId asks) {
    std::vector<AmfMember> out = view.members;
    std::ranges::sort(out, {}, [&](const AmfMember& member) {
        return std::pair(mix64(mix64(asks.v) ^ member.id.v), member.id);
    });
    return out;
}

std::optional<AmfId> ForwardClient::first_choice() const {
    if (order_.empty()) return std::nullopt;
    return order_.front().id;
}

void ForwardClient::adopt(const AmfView& view) {
    view_ = view;
    order_ = forward_order(view, controller_of(view.self));
    for (const auto& [number, op] : open_) {
        if (!op->with || op->answer) continue;
        if (view.contains(*op->with)) {
            ++counters_.asked_again;
            ask(*op);
        } else {
            ++counters_.moved;
            op->with.reset();
            op->moved.notify_all();
        }
    }
    changed_.notify_all();
}

void ForwardClient::close() {
    closed_ = true;
    changed_.notify_all();
}

void ForwardClient::ask(Open& op) {
    op.request.watermark = open_.begin()->first;
    transport_.send(op.with->id, encode(group_, op.request));
    op.request.repeated = true;
}

void ForwardClient::choose(Open& op) {
    op.with = order_[op.turn % order_.size()];
    ask(op);
}

/// False if nobody came before the deadline.
Task<bool> ForwardClient::somebody(const Open& op, Nanos deadline) {
    const bool all_refused = op.turn != 0 && !order_.empty() && op.turn % order_.size() == 0;
    if (all_refused) co_await wait_until(changed_, clock_, clock_.now() + options_.pause, true);
    while (order_.empty() && !closed_ && clock_.now() < deadline)
        co_await wait_until(changed_, clock_, deadline, true);
    co_return !order_.empty() && (op.turn == 0 || (!closed_ && clock_.now() < deadline));
}

Task<Result<Slice>> ForwardClient::perform(ForwardRequest request) {
    const std::size_t data = request.answer_size() + request.data.bytes.size();
    const std::size_t charge = std::max(data, kLeastCharge);
    co_await budget_.take(charge);
    const SemaphoreGuard held(budget_, charge);
    while (!open_.empty() && next_ - open_.begin()->first >= kSpan) co_await ended_.next();
    Open op(*this, std::move(request));
    Nanos deadline = clock_.now() + options_.patience;
    while (true) {
        if (!co_await somebody(op, deadline)) {
            ++counters_.given_up;
            co_return fail(Errc::not_ready);
        }
        choose(op);
        while (op.with && !op.answer) co_await op.moved.next();
        if (!op.answer) {  // it has left
            deadline = clock_.now() + options_.patience;
            op.turn = 0;
            continue;
        }
        const ForwardReply answer = *std::exchange(op.answer, std::nullopt);
        op.with.reset();
        if (answer.status) {
            ++counters_.operations;
            counters_.bytes += data;
            co_return answer.data;
        }
        const Errc code = answer.status.error().code;
        const bool disks = code == Errc::io_error || code == Errc::media_error;
        ++op.turn;
        if (!is_refusal(code) && !(disks && op.turn < order_.size())) co_return fail(code);
        ++counters_.refused;
    }
}

void ForwardClient::deliver(AmfId from, Message message) {
    Result<ForwardReply> reply = fail(Errc::corrupt);
    if (message.type == MessageType::forward_reply) reply = decode_forward_reply(message);
    if (!reply) {
        LOG_WARN("forward.bad_reply", {"from", from}, {"type", static_cast<unsigned>(message.type)});
        return;
    }
    const auto at = open_.find(reply->number);
    if (at == open_.end()) return;  // the answer to an earlier question
    Open& op = *at->second;
    if (op.answer || !op.with || op.with->id != from) return;
    const std::size_t most = reply->status ? op.request.answer_size() : 0;
    const bool less = op.request.type == MessageType::forward_allocation;
    if (reply->data.bytes.size() > most || (reply->data.bytes.size() < most && !less)) {
        LOG_WARN("forward.bad_reply", {"from", from}, {"bytes", reply->data.bytes.size()});
        reply->status = fail(Errc::io_error);
        reply->data = {};
    }
    op.answer = std::move(*reply);
    op.moved.notify_all();
}

}  // namespace braid
