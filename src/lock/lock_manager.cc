#include "lock/lock_manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "lock/broadcast.h"

namespace braid {

namespace {

const LockQueuePolicy& queue_of(const SharingOptions& sharing) {
    return sharing.lock_order == LockOrder::priority ? priority_lock_queue() : fifo_lock_queue();
}

std::unique_ptr<Arbitration> make_arbitration(const SharingOptions& sharing) {
    if (sharing.coherency == Coherency::broadcast) return std::make_unique<Broadcast>();
    return std::make_unique<Arbiter>(queue_of(sharing));
}

}  // namespace

/// One acquire that waits. Destroying it gives up the place in the queue, or the pin that was on its way.
class LockManager::Wait : public LockWaiter {
public:
    Wait(LockManager& locks, UnitIndex wanted, LockMode wanted_mode, bool in_background,
         std::uint8_t units_ahead, LockRange wanted_range)
        : locks_(locks) {
        unit = wanted;
        mode = wanted_mode;
        background = in_background;
        ahead = units_ahead;
        range = wanted_range;
        locks_.client_.wait(*this);
        locks_.pump();
    }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
        if (queued) {
            ++locks_.counters_.cancelled;
            locks_.client_.cancel(*this);
            locks_.call_when_due();
        } else if (granted) {
            locks_.unpin(unit, life);
        }
    }

    void wake() { locks_.executor_.post(wakeup_); }
    /// The pin, if there is one that still means something.
    LockPin take() {
        if (!std::exchange(granted, false) || life != locks_.client_.life()) return {};
        return LockPin(locks_, unit, mode, life);
    }

    bool await_ready() const noexcept { return granted; }
    void await_suspend(std::coroutine_handle<> h) noexcept { wakeup_.handle = h; }
    void await_resume() noexcept {}

private:
    LockManager& locks_;
    Wakeup wakeup_;
};

LockManager::LockManager(Executor& executor, Clock& clock, Transport& transport, const Uuid& group,
                         LockOptions options, LockHooks& hooks)
    : executor_(executor),
      clock_(clock),
      transport_(transport),
      group_(group),
      hooks_(hooks),
      sharing_(options.sharing),
      arbitration_(make_arbitration(options.sharing)),
      client_(*arbitration_, {options.held_idle, options.sharing.min_hold}),
      streams_(options.sharing.prefetch),
      holds_(executor),
      due_(executor),
      scope_(executor) {
    scope_.spawn(pump_when_due());
    scope_.spawn(end_holds());
}

LockManager::~LockManager() = default;

Task<Result<LockPin>> LockManager::acquire(UnitIndex unit, LockMode mode, bool background, LockRange range,
                                           std::uint32_t more) {
    if (stopped_) co_return fail(Errc::cancelled);
    LockPin pin;
    if (try_acquire(unit, mode, pin)) co_return std::move(pin);
    ++counters_.peer;
    const Nanos start = clock_.now();
    const std::uint8_t ahead = background ? std::uint8_t{0} : streams_.miss(unit, more);
    while (!pin) {
        if (stopped_) {
            ++counters_.cancelled;
            co_return fail(Errc::cancelled);
        }
        Wait wait(*this, unit, mode, background, ahead, range);
        co_await wait;
        pin = wait.take();
    }
    count_wait(unit, start);
    co_return std::move(pin);
}

void LockManager::count_wait(UnitIndex unit, Nanos begun) {
    const Nanos now = clock_.now();
    const Nanos waited = now - begun;
    hot_.waited(unit, waited, now);
    const auto ns = static_cast<std::uint64_t>(std::max<Nanos::rep>(waited.count(), 1));
    const auto bucket = static_cast<std::size_t>(std::bit_width(ns) - 1);
    ++counters_.waits[std::min(bucket, counters_.waits.size() - 1)];
    counters_.wait_ns += ns;
}

LockStanding LockManager::standing(UnitIndex unit) const {
    LockStanding all = arbitration_->standing(unit);
    const LockStanding own = client_.standing(unit);
    const auto add = [](std::vector<LockStanding::Party>& to, const std::vector<LockStanding::Party>& from) {
        for (const LockStanding::Party& party : from) {
            if (std::ranges::find(to, party.who, &LockStanding::Party::who) == to.end()) to.push_back(party);
        }
        std::ranges::sort(to, {}, &LockStanding::Party::who);
    };
    add(all.holders, own.holders);
    add(all.waiting, own.waiting);
    return all;
}

std::vector<std::pair<std::string, std::uint64_t>> LockCounters::by_result() const {
    return {{"held", held - prefetched},
            {"prefetched", prefetched},
            {"peer", peer - cancelled},
            {"cancelled", cancelled}};
}

void LockManager::obey(const SharingOptions& sharing) {
    ASSERT(sharing.coherency == sharing_.coherency);
    if (std::exchange(sharing_, sharing) == sharing) return;
    arbitration_->queue_by(queue_of(sharing));
    streams_.name_at_most(sharing.prefetch);
    client_.hold_at_least(sharing.min_hold);
    pump();
}

void LockManager::stop() {
    stopped_ = true;
    for (LockWaiter* waiter : client_.cancel_all()) static_cast<Wait*>(waiter)->wake();
    pump();
}

void LockManager::unpin(UnitIndex unit, std::uint32_t life) {
    client_.unpin(unit, life);
    call_when_due();
}

void LockManager::recovered(UnitIndex unit) {
    client_.recovered(unit);
    pump();
}

void LockManager::adopt(const AmfView& view, const std::vector<LockClaim>& claims) {
    ASSERT(!pumping_);
    arbitration_->adopt(view);
    client_.adopt(view, claims);
    pump();
}

// ---- messages

void LockManager::deliver(AmfId from, const Message& message) {
    if (!take(from, message)) {
        ++counters_.dropped;
        LOG_WARN("lock.message_dropped", {"from", from}, {"type", static_cast<unsigned>(message.type)},
                 {"epoch", client_.view().epoch});
    }
    pump();
}

bool LockManager::take(AmfId from, const Message& message) {
    if (!client_.in_view() || !client_.view().contains(from) || message.group != group_) return false;
    switch (message.type) {
        case MessageType::lock_report: {
            const Result<LockReport> report = decode_lock_report(message.head);
            return report && arbitration_->report(from, *report);
        }
        case MessageType::lock_request:
        case MessageType::lock_grant:
        case MessageType::lock_revoke:
        case MessageType::lock_released:
        case MessageType::lock_claim:
        case MessageType::lock_yield:
        case MessageType::lock_returned: {
            Result<LockFrame> frame = decode_lock_frame(message.type, message.head);
            if (!frame) return false;
            frame->data = message.payload;
            return take_frame(from, *frame);
        }
        default:
            return false;
    }
}

bool LockManager::take_frame(AmfId from, const LockFrame& frame) {
    if (frame.type != MessageType::lock_grant && frame.type != MessageType::lock_revoke)
        return arbitration_->take(from, frame);
    if (!arbitration_->decides(from, frame.unit)) return false;
    if (frame.type == MessageType::lock_revoke) {
        client_.revoked(frame, clock_.now());
        return true;
    }
    hot_.granted(frame.unit, client_.view().self, frame.former, clock_.now());
    if (from != client_.view().self) arbitration_->granted(frame);
    if (!frame.data.bytes.empty() && client_.awaits(frame)) {
        ++counters_.data_received;
        hooks_.received(frame.unit, frame.range, frame.data);
    }
    if (frame.mode == LockMode::write && !frame.recover && client_.awaits(frame)) hooks_.granted(frame.unit);
    return client_.granted(frame, clock_.now());
}

// ---- what the machines put out

void LockManager::call_when_due() {
    if (!client_.outbox().empty()) due_.notify_all();
}

Task<void> LockManager::pump_when_due() {
    while (true) {
        co_await due_.next();
        pump();
    }
}

/// Units that others want and that are kept for their time: one timer, for the first of them.
Task<void> LockManager::end_holds() {
    while (true) {
        const std::optional<Nanos> due = client_.next_due();
        if (!due) {
            co_await holds_.next();
            continue;
        }
        if (clock_.now() < *due) (void)co_await wait_until(holds_, clock_, *due);
        client_.tick(clock_.now());
        pump();
    }
}

/// What the client says to arbiters waits until it is known who they are.
bool LockManager::something_to_do() {
    const LockClient::Outbox& work = client_.outbox();
    return !arbitration_->outbox().empty() || !work.granted.empty() || !work.gone.empty() ||
           !work.reports.empty() || !work.prepare.empty() || !work.recover.empty() ||
           (!work.messages.empty() && arbitration_->routed());
}

void LockManager::pump() {
    if (pumping_) return;
    pumping_ = true;
    while (something_to_do()) {
        std::swap(work_, client_.outbox());
        if (!arbitration_->routed()) std::swap(work_.messages, client_.outbox().messages);
        carry_out(work_);
        work_.granted.clear();
        work_.gone.clear();
        work_.reports.clear();
        work_.messages.clear();
        work_.prepare.clear();
        work_.recover.clear();
        std::swap(sending_, arbitration_->outbox());
        for (LockSend& out : sending_) send(out.to, std::move(out.frame));
        sending_.clear();
    }
    pumping_ = false;
    if (client_.next_due() == hold_due_) return;
    hold_due_ = client_.next_due();
    holds_.notify_all();
}

void LockManager::carry_out(LockClient::Outbox& work) {
    for (LockWaiter* waiter : work.granted) static_cast<Wait*>(waiter)->wake();
    for (const UnitIndex unit : work.gone) hooks_.released(unit);
    for (const auto& [to, report] : work.reports) send_report(to, report);
    for (LockFrame& frame : work.messages) send(arbitration_->arbiter(frame.unit), std::move(frame));
    for (const LockClient::Prepare& prepare : work.prepare) {
        scope_.spawn(prepare_release(prepare));
    }
    for (const UnitIndex unit : work.recover) {
        ++counters_.recoveries;
        hooks_.recover(unit);
    }
}

Task<void> LockManager::prepare_release(LockClient::Prepare prepare) {
    const AmfId next = co_await hooks_.before_release(prepare.unit, prepare.next);
    client_.release_prepared(prepare.unit, prepare.ticket, next);
    pump();
}

void LockManager::send(AmfId to, LockFrame frame) {
    if (to != client_.view().self) {
        counters_.count_sent(frame.type);
        // Who yields to all sees them all get it.
        if (frame.type == MessageType::lock_grant || frame.type == MessageType::lock_yield)
            frame.former = hot_.granted(frame.unit, to, {}, clock_.now());
    }
    const bool may_have = frame.type == MessageType::lock_yield && frame.range.length != 0;
    Slice data = may_have ? hooks_.cached(frame.unit, frame.range) : std::move(frame.data);
    if (may_have && !data.bytes.empty()) ++counters_.data_sent;
    transport_.send(to, Message{group_, frame.type, encode(frame), std::move(data)});
}

void LockManager::send_report(AmfId to, const LockReport& report) {
    std::size_t sent = 0;
    do {
        const std::size_t count = std::min(report.entries.size() - sent, kReportEntries);
        LockReport part;
        const auto first = report.entries.begin() + static_cast<std::ptrdiff_t>(sent);
        part.entries.assign(first, first + static_cast<std::ptrdiff_t>(count));
        sent += count;
        part.last = sent == report.entries.size();
        if (to != client_.view().self) counters_.count_sent(MessageType::lock_report);
        transport_.send(to, Message{group_, MessageType::lock_report, encode(part), {}});
    } while (sent < report.entries.size());
}

}  // namespace braid
