#include "lock/arbiter.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/assert.h"

namespace braid {

void Arbiter::adopt(const AmfView& view) {
    units_.clear();
    undecided_.clear();
    outbox_.clear();
    missing_.clear();
    view_ = view;
    in_view_ = view.contains(view.self);
    for (const AmfMember& member : view.members) missing_.push_back(member.id);
}

// ---- who decides

AmfId Arbiter::other() const {
    return view_.members[0].id == view_.self ? view_.members[1].id : view_.members[0].id;
}

const Arbiter::Unit* Arbiter::find(UnitIndex unit) const {
    const auto place = units_.find(unit);
    return place == units_.end() ? nullptr : &place->second;
}

/// At home that is us even if the unit is away: what our client says goes on from here.
AmfId Arbiter::arbiter(UnitIndex unit) const {
    return two() && in_view_ && find(unit) != nullptr ? view_.self : home(unit);
}

std::vector<AmfId> Arbiter::audience() const {
    std::vector<AmfId> all;
    for (const AmfMember& member : view_.members) all.push_back(member.id);
    return all;
}

/// The present view is known to both: whoever holds for writing decides from here on.
void Arbiter::settle_role(UnitIndex index) {
    const auto place = units_.find(index);
    if (place == units_.end() || place->second.away) return;
    Unit& unit = place->second;
    const auto writer = std::ranges::find_if(
        unit.holders, [](const Holder& h) { return h.mode == LockMode::write && !h.recovering; });
    const bool stays = writer == unit.holders.end() || !unit.claims.empty();
    if ((stays ? home(index) : writer->who) == view_.self) return;
    if (at_home(index)) {
        unit.away = true;
        unit.holders.clear();
    } else {
        units_.erase(place);
    }
}

/// `to`, the other one, has been granted writing.
void Arbiter::move_role(UnitIndex index) {
    Unit& unit = units_.at(index);
    for (const WaitingRequest& r : unit.queue) {
        LockFrame again{MessageType::lock_request, index, r.ticket, r.mode};
        again.background = r.background;
        send(other(), again);
    }
    if (at_home(index)) {
        unit.away = true;
        unit.holders.clear();
    } else {
        units_.erase(index);
    }
}

void Arbiter::granted(const LockFrame& frame) {
    if (!two() || frame.recover) return;
    const auto take_role = [&](UnitIndex index, std::uint64_t ticket) {
        Unit& unit = units_[index];
        unit.away = false;
        unit.holders = {{view_.self, frame.mode, ticket, false}};
    };
    const auto place = units_.find(frame.unit);
    if (place != units_.end()) {
        std::erase_if(place->second.queue, [&](const WaitingRequest& r) { return r.ticket == frame.ticket; });
    }
    if (frame.mode == LockMode::write) {
        take_role(frame.unit, frame.ticket);
        for (std::uint64_t i = 0; i < kNeighbourhoodUnits; ++i) {
            const UnitIndex ahead(frame.unit.v + 1 + i);
            if ((frame.granted_ahead >> i & 1) != 0) take_role(ahead, frame.ticket + 1 + i);
        }
    } else if (place != units_.end() && place->second.away) {
        place->second.holders = {{view_.self, frame.mode, frame.ticket, false}};
    }
}

/// The other one has nothing of the unit any more and asks nobody to decide about it.
void Arbiter::returned(UnitIndex index) {
    const auto place = units_.find(index);
    if (place == units_.end()) return;
    Unit& unit = place->second;
    if (!thawed()) std::erase_if(unit.holders, [this](const Holder& h) { return h.who != view_.self; });
    unit.away = false;
    decide(index);
}

// ---- what comes in

bool Arbiter::report(AmfId from, const LockReport& report) {
    const auto place = std::ranges::find(missing_, from);
    if (place == missing_.end()) return false;
    const bool ours = two() || std::ranges::all_of(report.entries, [this](const LockReportEntry& e) {
                          return at_home(e.unit);
                      });
    if (!ours) return false;
    for (const LockReportEntry& entry : report.entries) {
        Unit& unit = units_[entry.unit];
        if (entry.kind == ReportKind::claim) {
            add_claim(unit, {from, entry.progress, entry.ticket});
        } else {
            add_holder(unit, {from, entry.mode, entry.ticket, entry.kind == ReportKind::recovering});
        }
        if (entry.kind == ReportKind::claim || two()) undecided_.push_back(entry.unit);
    }
    if (!report.last) return true;
    missing_.erase(place);
    if (!thawed()) return true;
    const std::vector<UnitIndex> waiting = std::exchange(undecided_, {});
    if (two()) {
        for (const UnitIndex index : waiting) settle_role(index);
    }
    for (const UnitIndex index : waiting) decide(index);
    return true;
}

bool Arbiter::take(AmfId from, const LockFrame& frame) {
    if (!two() && !at_home(frame.unit)) return false;
    switch (frame.type) {
        case MessageType::lock_request:
            request(from, frame);
            return true;
        case MessageType::lock_released:
            released(from, frame);
            return true;
        case MessageType::lock_returned:
            if (!two() || !at_home(frame.unit) || from == view_.self) return false;
            returned(frame.unit);
            return true;
        default:
            return false;
    }
}

void Arbiter::request(AmfId from, const LockFrame& frame) {
    // Before both have reported nobody knows who decides, and nothing is decided.
    const bool decides = at_home(frame.unit) || find(frame.unit) != nullptr || !thawed();
    if (!decides && from == view_.self) return send(home(frame.unit), frame);  // the role went meanwhile
    if (!decides) return;  // it crossed with our lock_returned: the home asks itself
    Unit& unit = units_[frame.unit];
    if (unit.away && from != view_.self) return;
    // What it asks for came ahead, with a grant that is on its way to it: it does not wait for an answer.
    const auto has = [&](const Holder& h) {
        return h.who == from && !h.recovering && covers(h.mode, frame.mode);
    };
    if (std::ranges::any_of(unit.holders, has)) return;
    std::erase_if(unit.queue, [from](const WaitingRequest& r) { return r.who == from; });
    unit.queue.push_back({from, frame.mode, frame.ticket, frame.background, frame.ahead});
    if (unit.away) {
        LockFrame on = frame;
        on.ahead = 0;
        return send(other(), on);
    }
    decide(frame.unit);
}

void Arbiter::released(AmfId from, const LockFrame& frame) {
    const auto place = units_.find(frame.unit);
    if (place == units_.end()) {
        if (from == view_.self && !at_home(frame.unit)) send(home(frame.unit), frame);
        return;
    }
    Unit& unit = place->second;
    for (Holder& holder : unit.holders) {
        if (holder.who != from || holder.ticket != frame.ticket) continue;
        holder.mode = frame.mode;
        holder.asked = LockMode::none;
        unit.heir = frame.next;
    }
    std::erase_if(unit.holders, [](const Holder& h) { return h.mode == LockMode::none; });
    if (unit.away && from == view_.self) send(other(), frame);
    decide(frame.unit);
}

std::size_t Arbiter::waiting(UnitIndex unit) const {
    const Unit* known = find(unit);
    return known == nullptr ? 0 : known->queue.size();
}

LockStanding Arbiter::standing(UnitIndex unit) const {
    LockStanding out;
    const auto place = units_.find(unit);
    if (place == units_.end()) return out;
    for (const Holder& holder : place->second.holders) out.holders.push_back({holder.who, holder.mode});
    for (const WaitingRequest& request : place->second.queue)
        out.waiting.push_back({request.who, request.mode});
    return out;
}

void Arbiter::add_holder(Unit& unit, const Holder& holder) {
    std::erase_if(unit.holders, [&](const Holder& h) { return h.who == holder.who; });
    for (const Holder& present : unit.holders) ASSERT(compatible(present.mode, holder.mode));
    unit.holders.push_back(holder);
}

void Arbiter::add_claim(Unit& unit, const Claim& claim) {
    std::erase_if(unit.claims, [&](const Claim& c) { return c.who == claim.who; });
    const auto later = [](const Claim& a, const Claim& b) {
        return a.progress != b.progress ? a.progress < b.progress : a.who > b.who;
    };
    unit.claims.insert(std::lower_bound(unit.claims.begin(), unit.claims.end(), claim, later), claim);
}

// ---- decisions

void Arbiter::decide(UnitIndex index) {
    if (!thawed()) {
        undecided_.push_back(index);
        return;
    }
    const auto place = units_.find(index);
    if (place == units_.end() || place->second.away) return;
    Unit& unit = place->second;
    if (std::ranges::any_of(unit.holders, &Holder::recovering)) return;
    if (!unit.claims.empty()) {
        decide_claims(index, unit);
    } else {
        decide_requests(index, unit);
    }
    tidy_up(index);
}

/// Forgets what nobody holds, claims or waits for; away from home the role ends with our own hold.
void Arbiter::tidy_up(UnitIndex index) {
    const auto place = units_.find(index);
    if (place == units_.end() || place->second.away) return;
    const Unit& unit = place->second;
    if (!unit.queue.empty() || !unit.claims.empty()) return;
    const bool guest = two() && !at_home(index);
    const bool held =
        guest ? std::ranges::any_of(unit.holders, [this](const Holder& h) { return h.who == view_.self; })
              : !unit.holders.empty();
    if (held) return;
    units_.erase(place);
    if (guest) send(home(index), {MessageType::lock_returned, index});
}

void Arbiter::decide_claims(UnitIndex index, Unit& unit) {
    for (Holder& holder : unit.holders) ask(index, holder, LockMode::write, {});
    if (!unit.holders.empty()) return;
    const Claim claim = unit.claims.back();
    unit.claims.pop_back();
    unit.holders.push_back({claim.who, LockMode::write, claim.ticket, true, LockMode::write, {}});
    grant(index, unit, unit.holders.back(), 0);
}

void Arbiter::decide_requests(UnitIndex index, Unit& unit) {
    std::vector<WaitingRequest> granted;
    bool role_goes = false;
    std::optional<WaitingRequest> blocked;
    while (!unit.queue.empty() && !role_goes) {
        const std::size_t next = next_of(unit);
        ASSERT(next < unit.queue.size());
        const WaitingRequest request = unit.queue[next];
        if (!fits(unit, request)) {
            blocked = request;
            break;
        }
        for (std::size_t i = 0; i < next; ++i) ++unit.queue[i].passed_over;
        unit.queue.erase(unit.queue.begin() + static_cast<std::ptrdiff_t>(next));
        unit.heir = AmfId();
        add_holder(unit, {request.who, request.mode, request.ticket, false});
        granted.push_back(request);
        role_goes = two() && request.mode == LockMode::write && request.who != view_.self;
    }
    for (const WaitingRequest& request : granted) {
        Holder& holder = *std::ranges::find(unit.holders, request.who, &Holder::who);
        if (blocked && !compatible(wanted(unit), holder.mode)) {
            holder.asked = wanted(unit);
            if (blocked->mode == LockMode::write) holder.next = blocked->who;
        }
        grant(index, unit, holder, request.ahead);
    }
    if (role_goes) return move_role(index);
    if (!blocked) return;
    for (Holder& holder : unit.holders) {
        if (holder.who != blocked->who && !compatible(holder.mode, blocked->mode))
            ask(index, holder, wanted(unit), blocked->mode == LockMode::write ? blocked->who : AmfId());
    }
}

/// Whoever has state of the holder before, else by the policy.
std::size_t Arbiter::next_of(const Unit& unit) const {
    const auto heir = std::ranges::find(unit.queue, unit.heir, &WaitingRequest::who);
    if (heir != unit.queue.end()) return static_cast<std::size_t>(heir - unit.queue.begin());
    return policy_->next(unit.queue);
}

/// Who writes keeps nothing if one of those who wait wants to write.
LockMode Arbiter::wanted(const Unit& unit) {
    return std::ranges::max(unit.queue, {}, &WaitingRequest::mode).mode;
}

bool Arbiter::fits(const Unit& unit, const WaitingRequest& request) {
    return std::ranges::all_of(unit.holders, [&](const Holder& h) {
        return h.who == request.who || compatible(h.mode, request.mode);
    });
}

void Arbiter::grant(UnitIndex index, const Unit& unit, const Holder& holder, std::uint8_t ahead) {
    LockFrame frame{MessageType::lock_grant, index, holder.ticket, holder.mode, holder.asked,
                    holder.recovering};
    for (const Holder& h : unit.holders) {
        if (h.who != holder.who) frame.holder = h.who;
    }
    frame.next = holder.next;
    if (ahead != 0) frame.granted_ahead = grant_ahead(index, holder, ahead);
    send(holder.who, frame);
}

/// Row L10: of the units behind this one those that are free, as far as they have the same home.
std::uint64_t Arbiter::grant_ahead(UnitIndex index, const Holder& holder, std::uint8_t ahead) {
    std::uint64_t granted = 0;
    if (index == kTablesUnit || (two() && !at_home(index))) return granted;
    for (std::uint64_t i = 0; i < ahead; ++i) {
        const UnitIndex next(index.v + 1 + i);
        if (next.v / kNeighbourhoodUnits != index.v / kNeighbourhoodUnits) break;
        Unit& unit = units_[next];
        const bool free = !unit.away && unit.queue.empty() && unit.claims.empty() &&
                          std::ranges::all_of(unit.holders, [&](const Holder& h) {
                              return h.who != holder.who && compatible(h.mode, holder.mode);
                          });
        if (free) {
            granted |= 1ull << i;
            unit.holders.push_back({holder.who, holder.mode, holder.ticket + 1 + i, false});
            if (two() && holder.mode == LockMode::write && holder.who != view_.self) move_role(next);
        }
        tidy_up(next);
    }
    return granted;
}

void Arbiter::ask(UnitIndex index, Holder& holder, LockMode wanted, AmfId next) {
    if (holder.asked >= wanted) return;
    holder.asked = wanted;
    send(holder.who, {.type = MessageType::lock_revoke,
                      .unit = index,
                      .ticket = holder.ticket,
                      .wanted = wanted,
                      .next = next});
}

}  // namespace braid
