#include "lock/arbiter.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"

namespace braid {

const LockQueuePolicy& fifo_lock_queue() {
    static const FifoLockQueue policy;
    return policy;
}

void Arbiter::adopt(const AmfView& view) {
    units_.clear();
    undecided_.clear();
    outbox_.clear();
    missing_.clear();
    view_ = view;
    in_view_ = view.contains(view.self);
    for (const AmfMember& member : view.members) missing_.push_back(member.id);
}

std::vector<AmfId> Arbiter::audience() const {
    std::vector<AmfId> all;
    for (const AmfMember& member : view_.members) all.push_back(member.id);
    return all;
}

bool Arbiter::report(AmfId from, const LockReport& report) {
    const auto place = std::find(missing_.begin(), missing_.end(), from);
    if (place == missing_.end()) return false;
    const bool ours = std::all_of(report.entries.begin(), report.entries.end(),
                                  [this](const LockReportEntry& e) { return arbiter(e.unit) == view_.self; });
    if (!ours) return false;
    for (const LockReportEntry& entry : report.entries) {
        Unit& unit = units_[entry.unit];
        if (entry.kind == ReportKind::claim) {
            add_claim(unit, {from, entry.progress, entry.ticket});
            undecided_.push_back(entry.unit);
        } else {
            add_holder(unit, {from, entry.mode, entry.ticket, entry.kind == ReportKind::recovering, false});
        }
    }
    if (!report.last) return true;
    missing_.erase(place);
    if (!thawed()) return true;
    for (const UnitIndex index : std::exchange(undecided_, {})) decide(index);
    return true;
}

bool Arbiter::take(AmfId from, const LockFrame& frame) {
    if (arbiter(frame.unit) != view_.self) return false;
    if (frame.type == MessageType::lock_request) {
        request(from, frame);
        return true;
    }
    if (frame.type != MessageType::lock_released) return false;
    released(from, frame);
    return true;
}

void Arbiter::request(AmfId from, const LockFrame& frame) {
    std::vector<WaitingRequest>& queue = units_[frame.unit].queue;
    std::erase_if(queue, [from](const WaitingRequest& r) { return r.who == from; });
    queue.push_back({from, frame.mode, frame.ticket});
    decide(frame.unit);
}

void Arbiter::released(AmfId from, const LockFrame& frame) {
    const auto place = units_.find(frame.unit);
    if (place == units_.end()) return;
    std::erase_if(place->second.holders,
                  [&](const Holder& h) { return h.who == from && h.ticket == frame.ticket; });
    decide(frame.unit);
}

std::size_t Arbiter::waiting(UnitIndex unit) const {
    const auto place = units_.find(unit);
    return place == units_.end() ? 0 : place->second.queue.size();
}

void Arbiter::add_holder(Unit& unit, const Holder& holder) {
    std::erase_if(unit.holders, [&](const Holder& h) { return h.who == holder.who; });
    for (const Holder& other : unit.holders) ASSERT(compatible(other.mode, holder.mode));
    unit.holders.push_back(holder);
}

void Arbiter::add_claim(Unit& unit, const Claim& claim) {
    std::erase_if(unit.claims, [&](const Claim& c) { return c.who == claim.who; });
    const auto later = [](const Claim& a, const Claim& b) {
        return a.progress != b.progress ? a.progress < b.progress : a.who > b.who;
    };
    unit.claims.insert(std::lower_bound(unit.claims.begin(), unit.claims.end(), claim, later), claim);
}

void Arbiter::decide(UnitIndex index) {
    if (!thawed()) {
        undecided_.push_back(index);
        return;
    }
    const auto place = units_.find(index);
    if (place == units_.end()) return;
    Unit& unit = place->second;
    const bool recovering =
        std::any_of(unit.holders.begin(), unit.holders.end(), [](const Holder& h) { return h.recovering; });
    if (recovering) return;
    if (!unit.claims.empty()) {
        decide_claims(index, unit);
    } else {
        decide_requests(index, unit);
    }
    if (unit.holders.empty() && unit.queue.empty() && unit.claims.empty()) units_.erase(place);
}

void Arbiter::decide_claims(UnitIndex index, Unit& unit) {
    for (Holder& holder : unit.holders) ask(index, holder);
    if (!unit.holders.empty()) return;
    const Claim claim = unit.claims.back();
    unit.claims.pop_back();
    unit.holders.push_back({claim.who, LockMode::write, claim.ticket, true, true});
    grant(index, unit.holders.back());
}

void Arbiter::decide_requests(UnitIndex index, Unit& unit) {
    std::vector<AmfId> granted;
    const WaitingRequest* blocked = nullptr;
    while (!unit.queue.empty() && blocked == nullptr) {
        const std::size_t next = policy_->next(index, unit.queue);
        ASSERT(next < unit.queue.size());
        if (!fits(unit, unit.queue[next])) {
            blocked = &unit.queue[next];
            break;
        }
        const WaitingRequest request = unit.queue[next];
        unit.queue.erase(unit.queue.begin() + static_cast<std::ptrdiff_t>(next));
        add_holder(unit, {request.who, request.mode, request.ticket, false, false});
        granted.push_back(request.who);
    }
    for (const AmfId who : granted) {
        Holder& holder = *std::find_if(unit.holders.begin(), unit.holders.end(),
                                       [who](const Holder& h) { return h.who == who; });
        holder.asked = std::any_of(unit.queue.begin(), unit.queue.end(),
                                   [&](const WaitingRequest& r) { return !compatible(r.mode, holder.mode); });
        grant(index, holder);
    }
    if (blocked == nullptr) return;
    for (Holder& holder : unit.holders) {
        if (holder.who != blocked->who && !compatible(holder.mode, blocked->mode)) ask(index, holder);
    }
}

bool Arbiter::fits(const Unit& unit, const WaitingRequest& request) {
    return std::all_of(unit.holders.begin(), unit.holders.end(), [&](const Holder& h) {
        return h.who == request.who || compatible(h.mode, request.mode);
    });
}

void Arbiter::grant(UnitIndex index, const Holder& holder) {
    outbox_.push_back(
        {holder.who,
         {MessageType::lock_grant, index, holder.ticket, holder.mode, holder.asked, holder.recovering}});
}

void Arbiter::ask(UnitIndex index, Holder& holder) {
    if (std::exchange(holder.asked, true)) return;
    outbox_.push_back({holder.who, {MessageType::lock_revoke, index, holder.ticket}});
}

}  // namespace braid
