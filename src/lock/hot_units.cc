#include "lock/hot_units.h"

#include <algorithm>
#include <utility>

namespace braid {

AmfId HotUnits::granted(UnitIndex unit, AmfId to, AmfId former, Nanos now) {
    const std::uint64_t second = second_of(now);
    Slot* const known = find(unit);
    Slot& slot = known != nullptr ? *known : take_place(unit, second);
    advance(slot, second);
    ++slot.weight;
    const bool came_back = former != AmfId() && former != to && slot.newest == to;
    slot.current.transfers += came_back ? 2 : 1;
    if (former != AmfId()) meet(slot, former);
    meet(slot, to);
    return std::exchange(slot.newest, to);
}

void HotUnits::waited(UnitIndex unit, Nanos wait, Nanos now) {
    Slot* const slot = find(unit);
    if (slot == nullptr) return;
    advance(*slot, second_of(now));
    ++slot->current.waits;
    slot->current.waited += wait;
}

std::vector<HotUnit> HotUnits::hottest(std::size_t limit, Nanos now) const {
    std::vector<HotUnit> out;
    const std::uint64_t second = second_of(now);
    for (std::size_t i = 0; i < used_; ++i) {
        Slot slot = slots_[i];
        advance(slot, second);
        if (slot.last.transfers == 0) continue;
        HotUnit& hot = out.emplace_back(HotUnit{.unit = units_[i],
                                                .transfers = slot.last.transfers,
                                                .waits = slot.last.waits,
                                                .waited = slot.last.waited,
                                                .ping_pong = slot.streak});
        for (const Party& party : slot.parties) {
            if (party.who != AmfId() && party.seen + 1 >= second) hot.parties.push_back(party.who);
        }
        std::ranges::sort(hot.parties);
    }
    std::ranges::sort(out, [](const HotUnit& a, const HotUnit& b) {
        return a.transfers != b.transfers ? a.transfers > b.transfers : a.unit < b.unit;
    });
    if (out.size() > limit) out.resize(limit);
    return out;
}

HotUnits::Slot* HotUnits::find(UnitIndex unit) {
    const auto end = units_.begin() + static_cast<std::ptrdiff_t>(used_);
    const auto place = std::find(units_.begin(), end, unit);
    return place == end ? nullptr : &slots_[static_cast<std::size_t>(place - units_.begin())];
}

HotUnits::Slot& HotUnits::take_place(UnitIndex unit, std::uint64_t second) {
    std::size_t place = used_;
    std::uint64_t weight = 0;
    if (used_ < kSlots) {
        ++used_;
    } else {
        weight = ~0ull;
        for (std::size_t i = 0; i < kSlots; ++i) {
            const std::uint64_t now =
                slots_[i].weight >> std::min<std::uint64_t>(second - slots_[i].second, 63);
            if (now >= weight) continue;
            weight = now;
            place = i;
        }
    }
    units_[place] = unit;
    slots_[place] = Slot{.second = second, .weight = weight};
    return slots_[place];
}

bool HotUnits::traded(const Slot& slot) {
    const auto seen = std::ranges::count_if(
        slot.parties, [&](const Party& party) { return party.who != AmfId() && party.seen == slot.second; });
    return slot.current.transfers > kPingPong && seen >= 2;
}

/// Brings the slot to a later second.
void HotUnits::advance(Slot& slot, std::uint64_t second) {
    if (second <= slot.second) return;
    const std::uint64_t passed = second - slot.second;
    slot.streak = traded(slot) ? slot.streak + 1 : 0;
    slot.last = std::exchange(slot.current, {});
    if (passed > 1) {
        slot.streak = 0;
        slot.last = {};
    }
    slot.weight >>= std::min<std::uint64_t>(passed, 63);
    slot.second = second;
}

void HotUnits::meet(Slot& slot, AmfId who) {
    Party* oldest = &slot.parties.front();
    for (Party& party : slot.parties) {
        if (party.who == who) {
            party.seen = slot.second;
            return;
        }
        if (oldest->who != AmfId() && (party.who == AmfId() || party.seen < oldest->seen)) oldest = &party;
    }
    *oldest = {who, slot.second};
}

}  // namespace braid
