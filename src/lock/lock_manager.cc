#include "lock/lock_manager.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace braid {

/// One acquire that waits. Destroying it gives up the place in the queue, or the pin that was on its way.
class LockManager::Wait : public LockWaiter {
public:
    Wait(LockManager& locks, UnitIndex wanted, LockMode wanted_mode) : locks_(locks) {
        unit = wanted;
        mode = wanted_mode;
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
      arbitration_(std::make_unique<Arbiter>(*options.policy)),
      client_(*arbitration_, options.held_idle),
      due_(executor),
      scope_(executor) {
    scope_.spawn(pump_when_due());
}

LockManager::~LockManager() = default;

Task<Result<LockPin>> LockManager::acquire(UnitIndex unit, LockMode mode) {
    if (stopped_) co_return fail(Errc::cancelled);
    LockPin pin;
    if (try_acquire(unit, mode, pin)) co_return std::move(pin);
    ++counters_.peer;
    const Nanos start = clock_.now();
    while (!pin) {
        if (stopped_) {
            ++counters_.cancelled;
            co_return fail(Errc::cancelled);
        }
        Wait wait(*this, unit, mode);
        co_await wait;
        pin = wait.take();
    }
    count_wait(clock_.now() - start);
    co_return std::move(pin);
}

void LockManager::count_wait(Nanos waited) {
    const auto ns = static_cast<std::uint64_t>(std::max<Nanos::rep>(waited.count(), 1));
    const auto bucket = static_cast<std::size_t>(std::bit_width(ns) - 1);
    ++counters_.waits[std::min(bucket, counters_.waits.size() - 1)];
    counters_.wait_ns += ns;
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
        case MessageType::lock_released: {
            const Result<LockFrame> frame = decode_lock_frame(message.type, message.head);
            return frame && take_frame(from, *frame);
        }
        default:
            return false;
    }
}

bool LockManager::take_frame(AmfId from, const LockFrame& frame) {
    if (frame.type != MessageType::lock_grant && frame.type != MessageType::lock_revoke)
        return arbitration_->take(from, frame);
    if (from != arbitration_->arbiter(frame.unit)) return false;
    if (frame.type == MessageType::lock_grant) return client_.granted(frame);
    client_.revoked(frame);
    return true;
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

void LockManager::pump() {
    if (pumping_) return;
    pumping_ = true;
    while (!client_.outbox().empty() || !arbitration_->outbox().empty()) {
        std::swap(work_, client_.outbox());
        carry_out(work_);
        work_.granted.clear();
        work_.gone.clear();
        work_.reports.clear();
        work_.messages.clear();
        work_.prepare.clear();
        work_.recover.clear();
        std::swap(sending_, arbitration_->outbox());
        for (const LockSend& out : sending_) send(out);
        sending_.clear();
    }
    pumping_ = false;
}

void LockManager::carry_out(const LockClient::Outbox& work) {
    for (LockWaiter* waiter : work.granted) static_cast<Wait*>(waiter)->wake();
    for (const UnitIndex unit : work.gone) hooks_.released(unit);
    for (const auto& [to, report] : work.reports) send_report(to, report);
    for (const LockSend& out : work.messages) send(out);
    for (const LockClient::Prepare& prepare : work.prepare) {
        scope_.spawn(prepare_release(prepare.unit, prepare.ticket));
    }
    for (const UnitIndex unit : work.recover) {
        ++counters_.recoveries;
        hooks_.recover(unit);
    }
}

Task<void> LockManager::prepare_release(UnitIndex unit, std::uint64_t ticket) {
    co_await hooks_.before_release(unit);
    client_.release_prepared(unit, ticket);
    pump();
}

void LockManager::send(const LockSend& out) {
    switch (out.frame.type) {
        case MessageType::lock_request:
            ++counters_.requests_sent;
            break;
        case MessageType::lock_grant:
            ++counters_.grants_sent;
            break;
        case MessageType::lock_revoke:
            ++counters_.revokes_sent;
            break;
        default:
            ++counters_.released_sent;
            break;
    }
    transport_.send(out.to, Message{group_, out.frame.type, encode(out.frame), {}});
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
        ++counters_.reports_sent;
        transport_.send(to, Message{group_, MessageType::lock_report, encode(part), {}});
    } while (sent < report.entries.size());
}

}  // namespace braid
