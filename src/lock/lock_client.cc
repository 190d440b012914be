#include "lock/lock_client.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace braid {

namespace {

const AmfMember* find_self(const AmfView& view) {
    for (const AmfMember& member : view.members) {
        if (member.id == view.self) return &member;
    }
    return nullptr;
}

}  // namespace

void LockClient::List::push(Entry& e, Links Entry::* links) {
    (e.*links) = {last, nullptr};
    (last == nullptr ? first : (last->*links).next) = &e;
    last = &e;
}

void LockClient::List::push_front(Entry& e, Links Entry::* links) {
    (e.*links) = {nullptr, first};
    (first == nullptr ? last : (first->*links).prev) = &e;
    first = &e;
}

void LockClient::List::remove(Entry& e, Links Entry::* links) {
    const Links at = e.*links;
    (at.prev == nullptr ? first : (at.prev->*links).next) = at.next;
    (at.next == nullptr ? last : (at.next->*links).prev) = at.prev;
    (e.*links) = {};
}

LockClient::Entry& LockClient::entry(UnitIndex unit) {
    const auto [place, fresh] = entries_.try_emplace(unit);
    Entry& e = place->second;
    if (fresh) {
        e.unit = unit;
        all_.push(e, &Entry::all);
    }
    return e;
}

LockClient::Entry* LockClient::find(UnitIndex unit) {
    const auto place = entries_.find(unit);
    return place == entries_.end() ? nullptr : &place->second;
}

void LockClient::forget(Entry& e) {
    set_idle(e, false);
    all_.remove(e, &Entry::all);
    entries_.erase(e.unit);
}

bool LockClient::serves(const Entry& e, LockMode mode) {
    return e.held && e.asked == LockMode::none && covers(e.mode, mode);
}

void LockClient::enqueue(Entry& e, LockWaiter& waiter) {
    waiter.queued = true;
    waiter.granted = false;
    waiter.prev = e.last;
    waiter.next = nullptr;
    (e.last == nullptr ? e.first : e.last->next) = &waiter;
    e.last = &waiter;
}

void LockClient::unlink(Entry& e, LockWaiter& waiter) {
    (waiter.prev == nullptr ? e.first : waiter.prev->next) = waiter.next;
    (waiter.next == nullptr ? e.last : waiter.next->prev) = waiter.prev;
    waiter.prev = waiter.next = nullptr;
    waiter.queued = false;
}

// ---- local operations

bool LockClient::holds(UnitIndex unit, LockMode mode) const {
    const Entry* e = find(unit);
    return e != nullptr && serves(*e, mode);
}

bool LockClient::try_pin(UnitIndex unit, LockMode mode) {
    Entry* e = find(unit);
    if (e == nullptr || !serves(*e, mode)) return false;
    pin(*e);
    return true;
}

void LockClient::pin(Entry& e) {
    ++e.pins;
    if (std::exchange(e.prefetched, false)) ++prefetched_;
    set_idle(e, false);
}

void LockClient::wait(LockWaiter& waiter) {
    ASSERT(!waiter.queued);
    Entry& e = entry(waiter.unit);
    enqueue(e, waiter);
    settle(e);
}

void LockClient::cancel(LockWaiter& waiter) {
    ASSERT(waiter.queued);
    Entry& e = *find(waiter.unit);
    unlink(e, waiter);
    settle(e);
}

std::vector<LockWaiter*> LockClient::cancel_all() {
    std::vector<LockWaiter*> waiters;
    for (Entry* e = all_.first; e != nullptr; e = e->all.next) {
        for (LockWaiter* w = e->first; w != nullptr; w = w->next) waiters.push_back(w);
    }
    for (LockWaiter* w : waiters) cancel(*w);
    return waiters;
}

void LockClient::unpin(UnitIndex unit, std::uint32_t life) {
    if (life != life_) return;
    Entry* e = find(unit);
    ASSERT(e != nullptr && e->pins > 0);
    if (--e->pins == 0) settle(*e);
}

void LockClient::serve(Entry& e) {
    for (LockWaiter* w = e.first; w != nullptr;) {
        LockWaiter* const next = w->next;
        if (covers(e.mode, w->mode)) {
            unlink(e, *w);
            w->granted = true;
            w->life = life_;
            pin(e);
            outbox_.granted.push_back(w);
        }
        w = next;
    }
}

LockStanding LockClient::standing(UnitIndex unit) const {
    LockStanding out;
    const auto place = entries_.find(unit);
    if (place == entries_.end()) return out;
    const Entry& e = place->second;
    if (e.held) out.holders.push_back({view_.self, e.mode});
    if (e.first != nullptr) out.waiting.push_back({view_.self, wanted_mode(e)});
    return out;
}

LockMode LockClient::wanted_mode(const Entry& e) {
    LockMode mode = LockMode::read;
    for (const LockWaiter* w = e.first; w != nullptr; w = w->next) mode = std::max(mode, w->mode);
    return mode;
}

// ---- from the arbiters

bool LockClient::awaits(const LockFrame& grant) const {
    const auto place = entries_.find(grant.unit);
    if (place == entries_.end()) return false;
    return grant.ticket == (grant.recover ? place->second.claim_ticket : place->second.request_ticket);
}

bool LockClient::granted(const LockFrame& frame, Nanos now) {
    if (!awaits(frame)) {
        send(frame.unit, MessageType::lock_released, frame.ticket, LockMode::none);
        return frame.granted_ahead == 0;
    }
    Entry* const e = find(frame.unit);
    // Only what was prefetched, or is held for reading, may be granted again.
    if (frame.recover && (e->held || frame.mode != LockMode::write)) return false;
    if (e->held && e->mode > frame.mode) return false;
    if ((frame.granted_ahead >> e->ahead) != 0) return false;
    hold(*e, frame, now);
    if (frame.recover) {
        e->claim_ticket = 0;
        e->asked = LockMode::write;
        e->recovering = true;
        outbox_.recover.push_back(e->unit);
        return true;
    }
    e->request_ticket = 0;
    const bool sound = hold_ahead(frame, now);
    serve(*e);
    if (frame.wanted != LockMode::none) want(*e, frame, now);
    settle(*e);
    return sound;
}

/// It is held by this ticket now. A release that was being prepared was of an older one.
void LockClient::hold(Entry& e, const LockFrame& frame, Nanos now) {
    if (!std::exchange(e.held, true)) {
        ++held_;
        e.granted_at = now;
    }
    e.mode = frame.mode;
    e.hold_ticket = frame.ticket;
    e.copy = frame.holder;
    e.next = AmfId();
    e.asked = e.deferred = LockMode::none;
    e.preparing = e.prefetched = false;
}

/// The units that came with a grant. False: some of them make no sense.
bool LockClient::hold_ahead(const LockFrame& frame, Nanos now) {
    for (std::uint64_t i = 0; frame.granted_ahead >> i != 0; ++i) {
        if ((frame.granted_ahead >> i & 1) == 0) continue;
        Entry& e = entry(UnitIndex(frame.unit.v + 1 + i));
        if (e.held) return false;
        hold(e, {frame.type, e.unit, frame.ticket + 1 + i, frame.mode}, now);
        e.prefetched = true;
        if (covers(e.mode, e.requested)) e.request_ticket = 0;  // the arbiter knows, and does not answer
        serve(e);
        settle(e);
    }
    return true;
}

void LockClient::revoked(const LockFrame& frame, Nanos now) {
    Entry* e = find(frame.unit);
    // One that crossed with our release is about a ticket of the past.
    if (e == nullptr || !e->held || e->hold_ticket != frame.ticket) return;
    want(*e, frame, now);
    settle(*e);
}

void LockClient::want(Entry& e, const LockFrame& frame, Nanos now) {
    e.next = frame.next;
    const Nanos due = e.granted_at + options_.min_hold;
    // The tables are held for one change, and nobody's data gets cheaper if they stay.
    if (now >= due || e.unit == kTablesUnit || e.prefetched || e.asked != LockMode::none) {
        e.asked = std::max({e.asked, e.deferred, frame.wanted});
        e.deferred = LockMode::none;
    } else {
        e.deferred = std::max(e.deferred, frame.wanted);
        deferred_.emplace(due, e.unit);
    }
}

std::optional<Nanos> LockClient::next_due() const {
    if (deferred_.empty()) return std::nullopt;
    return deferred_.begin()->first;
}

void LockClient::hold_at_least(Nanos time) {
    options_.min_hold = time;
    for (const auto& [due, unit] : std::exchange(deferred_, {})) {
        if (const Entry* e = find(unit)) deferred_.emplace(e->granted_at + time, unit);
    }
}

void LockClient::tick(Nanos now) {
    while (!deferred_.empty() && deferred_.begin()->first <= now) {
        const UnitIndex unit = deferred_.extract(deferred_.begin()).value().second;
        Entry* e = find(unit);
        if (e == nullptr || !e->held || e->deferred == LockMode::none) continue;
        want(*e, {.wanted = e->deferred, .next = e->next}, now);
        settle(*e);
    }
}

AmfId LockClient::copy_at(UnitIndex unit) const {
    const auto place = entries_.find(unit);
    return place == entries_.end() ? AmfId() : place->second.copy;
}

void LockClient::forget_copy(UnitIndex unit) {
    if (Entry* e = find(unit)) e->copy = AmfId();
}

void LockClient::release_prepared(UnitIndex unit, std::uint64_t ticket, AmfId next) {
    Entry* e = find(unit);
    // Lost meanwhile, or granted once more.
    if (e == nullptr || !e->preparing || e->hold_ticket != ticket) return;
    ASSERT(e->pins == 0);
    finish_release(*e, next);
    settle(*e);
}

void LockClient::recovered(UnitIndex unit) {
    Entry* e = find(unit);
    if (e == nullptr || !e->recovering) return;  // lost meanwhile
    e->recovering = false;
    settle(*e);
}

// ---- what follows

void LockClient::settle(Entry& e) {
    if (e.held && e.asked != LockMode::none && e.pins == 0 && !e.recovering && !e.preparing) release(e);
    const bool may_request = !e.held || (e.mode == LockMode::read && e.asked == LockMode::none);
    if (may_request && e.first != nullptr && e.request_ticket == 0 && in_view_) request(e);
    if (!e.held && e.first == nullptr && e.request_ticket == 0 && e.claim_ticket == 0) {
        forget(e);
        return;
    }
    set_idle(
        e, e.held && e.asked == LockMode::none && e.pins == 0 && e.first == nullptr && e.request_ticket == 0);
    trim();
}

void LockClient::release(Entry& e) {
    if (e.mode == LockMode::read) {
        finish_release(e);  // a reader has no state at partners
        return;
    }
    e.preparing = true;
    outbox_.prepare.push_back({e.unit, e.hold_ticket, e.next});
}

/// Who writes may go on reading when it is a reader that waits.
void LockClient::finish_release(Entry& e, AmfId next) {
    const bool keeps = e.asked == LockMode::read && e.mode == LockMode::write;
    send(e.unit, MessageType::lock_released, e.hold_ticket, keeps ? LockMode::read : LockMode::none,
         keeps ? AmfId() : next);
    e.asked = e.deferred = LockMode::none;
    e.preparing = e.prefetched = false;
    if (keeps) {
        e.mode = LockMode::read;
        return serve(e);
    }
    e.held = false;
    --held_;
    outbox_.gone.push_back(e.unit);
}

void LockClient::request(Entry& e) {
    LockFrame frame{MessageType::lock_request, e.unit, next_ticket_, wanted_mode(e)};
    frame.background = true;
    for (const LockWaiter* w = e.first; w != nullptr; w = w->next) {
        frame.background = frame.background && w->background;
        frame.ahead = std::max(frame.ahead, w->ahead);
    }
    if (frame.mode == LockMode::read) frame.range = e.first->range;
    e.request_ticket = next_ticket_;
    e.ahead = frame.ahead;
    e.requested = frame.mode;
    next_ticket_ += 1u + frame.ahead;
    outbox_.messages.push_back(frame);
}

void LockClient::set_idle(Entry& e, bool idle) {
    if (e.in_idle == idle) return;
    e.in_idle = idle;
    if (idle) {
        e.prefetched ? idle_units_.push_front(e, &Entry::idle) : idle_units_.push(e, &Entry::idle);
        ++idle_;
    } else {
        idle_units_.remove(e, &Entry::idle);
        --idle_;
    }
}

void LockClient::trim() {
    while (idle_ > options_.held_idle) {
        Entry& oldest = *idle_units_.first;
        set_idle(oldest, false);
        oldest.asked = LockMode::write;
        settle(oldest);
    }
}

void LockClient::send(UnitIndex unit, MessageType type, std::uint64_t ticket, LockMode mode, AmfId next) {
    outbox_.messages.push_back({.type = type, .unit = unit, .ticket = ticket, .mode = mode, .next = next});
}

// ---- views

void LockClient::adopt(const AmfView& view, std::span<const LockClaim> claims) {
    view_ = view;
    const AmfMember* const self = find_self(view);
    in_view_ = self != nullptr;
    outbox_.messages.clear();  // of the epoch that has passed
    outbox_.reports.clear();
    // A new incarnation was out of the view between, seen here or not.
    if (!in_view_ || self->incarnation != incarnation_) lose_all();
    if (!in_view_) return;
    incarnation_ = self->incarnation;
    for (Entry* e = all_.first; e != nullptr; e = e->all.next) {
        e->request_ticket = e->claim_ticket = 0;
        e->deferred = LockMode::none;  // of those who ask again
        e->copy = e->next = AmfId();
    }
    deferred_.clear();
    make_reports(claims);
    std::vector<UnitIndex> busy;
    for (Entry* e = all_.first; e != nullptr; e = e->all.next) {
        if (!e->in_idle) busy.push_back(e->unit);
    }
    for (const UnitIndex unit : busy) {
        if (Entry* e = find(unit)) settle(*e);
    }
}

void LockClient::lose_all() {
    ++life_;
    outbox_.prepare.clear();
    outbox_.recover.clear();
    held_ = 0;
    for (Entry* e = all_.first; e != nullptr;) {
        Entry* const next = e->all.next;
        if (e->held) outbox_.gone.push_back(e->unit);
        e->request_ticket = e->claim_ticket = e->hold_ticket = 0;
        e->asked = e->deferred = LockMode::none;
        e->held = e->preparing = e->recovering = e->prefetched = false;
        e->pins = 0;
        set_idle(*e, false);
        if (e->first == nullptr) forget(*e);
        e = next;
    }
}

void LockClient::make_reports(std::span<const LockClaim> claims) {
    std::vector<LockClaim> sorted(claims.begin(), claims.end());
    std::sort(sorted.begin(), sorted.end(), [](const LockClaim& a, const LockClaim& b) {
        return a.unit != b.unit ? a.unit < b.unit : a.progress > b.progress;
    });
    for (const AmfId to : arbitration_.audience()) outbox_.reports.push_back({to, {}});
    const auto add = [this, all = arbitration_.all_hear_all()](const LockReportEntry& entry) {
        const AmfId arbiter = all ? AmfId() : arbitration_.arbiter(entry.unit);
        for (auto& [to, report] : outbox_.reports) {
            if (all || to == arbiter) report.entries.push_back(entry);
        }
    };
    for (const Entry* e = all_.first; e != nullptr; e = e->all.next) {
        if (!e->held) continue;
        add({e->unit, e->hold_ticket, e->recovering ? ReportKind::recovering : ReportKind::held, e->mode});
    }
    for (const LockClaim& claim : sorted) {
        Entry& e = entry(claim.unit);
        if (e.claim_ticket != 0) continue;
        e.claim_ticket = next_ticket_++;
        add({claim.unit, e.claim_ticket, ReportKind::claim, LockMode::write, claim.progress});
    }
}

}  // namespace braid
