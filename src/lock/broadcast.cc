#include "lock/broadcast.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace braid {

bool Broadcast::Claim::before(const Claim& other) const {
    const auto rank = [](const Claim& c) { return std::tuple(!c.recover, 255 - c.progress, c.stamp, c.who); };
    return rank(*this) < rank(other);
}

void Broadcast::adopt(const AmfView& view) {
    view_ = view;
    reported_ = false;
    units_.clear();
    undecided_.clear();
    outbox_.clear();
    given_up_.fill(0);
}

std::size_t Broadcast::waiting(UnitIndex unit) const {
    const auto place = units_.find(unit);
    return place == units_.end() ? 0 : place->second.own.size() + place->second.deferred.size();
}

// ---- from the own client

bool Broadcast::report(AmfId from, const LockReport& report) {
    if (from != view_.self || reported_) return false;
    for (const LockReportEntry& entry : report.entries) {
        Unit& unit = units_[entry.unit];
        undecided_.push_back(entry.unit);
        if (entry.kind == ReportKind::claim) {
            unit.own.push_back({from, LockMode::write, entry.ticket, true, entry.progress});
        } else {
            const bool leaves = entry.kind == ReportKind::recovering;
            unit.hold = {entry.mode, entry.ticket, leaves ? LockMode::write : LockMode::none};
        }
    }
    if (!report.last) return true;
    reported_ = true;
    for (const UnitIndex index : std::exchange(undecided_, {})) settle(index);
    return true;
}

bool Broadcast::take(AmfId from, const LockFrame& frame) {
    const bool own = frame.type == MessageType::lock_request || frame.type == MessageType::lock_released;
    if (own != (from == view_.self)) return false;
    switch (frame.type) {
        case MessageType::lock_request:
            request(frame);
            return true;
        case MessageType::lock_released:
            released(frame);
            return true;
        case MessageType::lock_claim:
            claimed(from, frame);
            return true;
        case MessageType::lock_yield:
            return yielded(from, frame);
        default:
            return false;
    }
}

void Broadcast::request(const LockFrame& frame) {
    std::vector<Claim>& own = units_[frame.unit].own;
    std::erase_if(own, [](const Claim& c) { return !c.recover; });
    own.push_back({.who = view_.self, .mode = frame.mode, .ticket = frame.ticket, .range = frame.range});
    settle(frame.unit);
}

void Broadcast::released(const LockFrame& frame) {
    const auto place = units_.find(frame.unit);
    if (place == units_.end()) return;
    std::optional<Hold>& hold = place->second.hold;
    if (!hold || hold->ticket != frame.ticket) return;
    if (hold->mode == LockMode::write) given_up(frame.unit) = ++clock_;
    hold->mode = frame.mode;
    hold->asked = LockMode::none;
    if (hold->mode == LockMode::none) hold.reset();
    settle(frame.unit);
}

// ---- from peers

void Broadcast::claimed(AmfId from, const LockFrame& frame) {
    clock_ = std::max(clock_, frame.stamp);
    std::vector<Claim>& deferred = units_[frame.unit].deferred;
    std::erase_if(deferred, [from](const Claim& c) { return c.who == from; });
    deferred.push_back(
        {from, frame.mode, frame.ticket, frame.recover, frame.progress, frame.stamp, frame.range});
    settle(frame.unit);
}

bool Broadcast::yielded(AmfId from, const LockFrame& frame) {
    clock_ = std::max(clock_, frame.stamp);
    const auto place = units_.find(frame.unit);
    if (place == units_.end()) return false;
    Unit& unit = place->second;
    const bool asked_for =
        !unit.own.empty() && unit.own.front().ticket == frame.ticket && std::erase(unit.missing, from) != 0;
    if (!asked_for) return false;
    if (frame.holder == from) unit.holder = from;
    const bool whole = frame.data.bytes.size() == unit.own.front().range.length;
    if (frame.changed) {
        const bool first = !std::exchange(unit.changed, true);
        unit.data = first && whole ? frame.data : Slice{};
    } else if (!unit.changed && unit.data.bytes.empty() && whole) {
        unit.data = frame.data;
    }
    settle(frame.unit);
    return true;
}

// ---- what follows

void Broadcast::settle(UnitIndex index) {
    if (!reported_) {
        undecided_.push_back(index);
        return;
    }
    const auto place = units_.find(index);
    if (place == units_.end()) return;
    Unit& unit = place->second;
    claim(index, unit);
    grant(index, unit);
    answer(index, unit);
    if (!unit.hold && unit.own.empty() && unit.deferred.empty()) units_.erase(place);
}

/// Sends the first own claim. What is held for writing, by a recovery of the last view, has to go before.
void Broadcast::claim(UnitIndex index, Unit& unit) {
    if (unit.own.empty() || unit.own.front().stamp != 0) return;
    if (unit.hold && unit.hold->mode == LockMode::write) {
        ask(index, unit, LockMode::write);
        return;
    }
    Claim& own = unit.own.front();
    own.stamp = ++clock_;
    unit.missing.clear();
    unit.holder = {};
    unit.data = {};
    unit.changed = false;
    for (const AmfMember& member : view_.members) {
        if (member.id == view_.self) continue;
        unit.missing.push_back(member.id);
        outbox_.push_back({member.id,
                           {.type = MessageType::lock_claim,
                            .unit = index,
                            .ticket = own.ticket,
                            .mode = own.mode,
                            .recover = own.recover,
                            .progress = own.progress,
                            .stamp = own.stamp,
                            .range = own.range}});
    }
}

void Broadcast::grant(UnitIndex index, Unit& unit) {
    if (unit.own.empty() || unit.own.front().stamp == 0 || !unit.missing.empty()) return;
    if (unit.hold && unit.own.front().recover) {  // a reader's; one that asks to write keeps it
        ask(index, unit, LockMode::write);
        return;
    }
    const Claim own = unit.own.front();
    unit.own.erase(unit.own.begin());
    LockMode wanted = own.recover ? LockMode::write : LockMode::none;
    for (const Claim& claim : unit.deferred) {
        if (!compatible(claim.mode, own.mode)) wanted = std::max(wanted, claim.mode);
    }
    unit.hold = {own.mode, own.ticket, wanted};
    outbox_.push_back({view_.self,
                       {.type = MessageType::lock_grant,
                        .unit = index,
                        .ticket = own.ticket,
                        .mode = own.mode,
                        .wanted = wanted,
                        .recover = own.recover,
                        .holder = unit.holder,
                        .range = own.range,
                        .data = std::exchange(unit.data, {})}});
}

void Broadcast::answer(UnitIndex index, Unit& unit) {
    std::vector<Claim> waiting;
    LockMode wanted = LockMode::none;
    for (const Claim& claim : std::exchange(unit.deferred, {})) {
        const bool later = !unit.own.empty() && !compatible(unit.own.front().mode, claim.mode) &&
                           unit.own.front().before(claim);
        const bool held = unit.hold && !compatible(unit.hold->mode, claim.mode);
        if (!later && !held) {
            yield(index, unit, claim);
            continue;
        }
        waiting.push_back(claim);
        if (!later) wanted = std::max(wanted, claim.mode);
    }
    unit.deferred = std::move(waiting);
    if (wanted != LockMode::none) ask(index, unit, wanted);
}

void Broadcast::yield(UnitIndex index, const Unit& unit, const Claim& claim) {
    outbox_.push_back({claim.who,
                       {.type = MessageType::lock_yield,
                        .unit = index,
                        .ticket = claim.ticket,
                        .holder = unit.hold ? view_.self : AmfId(),
                        .changed = claim.range.length != 0 && given_up(index) > claim.stamp,
                        .stamp = clock_,
                        .range = claim.range}});
}

void Broadcast::ask(UnitIndex index, Unit& unit, LockMode wanted) {
    if (unit.hold->asked >= wanted) return;
    unit.hold->asked = wanted;
    outbox_.push_back(
        {view_.self,
         {.type = MessageType::lock_revoke, .unit = index, .ticket = unit.hold->ticket, .wanted = wanted}});
}

}  // namespace braid
