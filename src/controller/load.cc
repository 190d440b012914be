// What this controller does how much, and which locks it trades with whom: all from memory.
#include <algorithm>
#include <set>
#include <tuple>

#include "controller/controller.h"
#include "icl/frame.h"

namespace braid {
namespace {

/// Upper end of the bucket that holds the `part` of 100 smallest waits.
Nanos wait_below(const LockCounters& counters, std::uint64_t waits, unsigned part) {
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counters.waits.size(); ++i) {
        seen += counters.waits[i];
        if (seen != 0 && seen * 100 >= waits * part) return Nanos(std::int64_t{2} << i);
    }
    return {};
}

AmfLoad load_of(const std::string& group, unsigned index, const AmfReport& amf) {
    AmfLoad out;
    out.group = group;
    out.amf = index;
    const AmfCounters& c = amf.counters;
    out.reads = c.reads;
    out.read_bytes = c.read_bytes;
    out.writes = c.writes;
    out.written_bytes = c.written_bytes;
    const LockCounters& locks = amf.locks;
    out.held_units = amf.held_units;
    out.units_in_use = amf.units_in_use;
    out.lock_requests = locks.by_result();
    for (std::size_t i = 0; i < locks.messages.size(); ++i) {
        if (locks.messages[i] == 0) continue;
        const auto type = static_cast<MessageType>(LockCounters::kFirst + i);
        out.lock_messages.emplace_back(to_string(type), locks.messages[i]);
    }
    for (const std::uint64_t n : locks.waits) out.lock_waits += n;
    out.lock_wait_sum = Nanos(static_cast<std::int64_t>(locks.wait_ns));
    out.lock_wait_median = wait_below(locks, out.lock_waits, 50);
    out.lock_wait_p99 = wait_below(locks, out.lock_waits, 99);
    return out;
}

/// Neighbouring units that the same AMFs trade.
struct TradedRange {
    std::vector<AmfId> parties;
    UnitIndex last;
    std::uint64_t begin = 0, end = 0;  ///< bytes of the group
    std::uint64_t transfers = 0;       ///< in a second
};
constexpr std::uint64_t kNeighbours = 4;  ///< units apart, and still one range

std::vector<TradedRange> traded_ranges(std::vector<HotReport> units) {
    std::erase_if(units, [](const HotReport& report) {
        const HotUnit& u = report.unit;
        return u.unit == kTablesUnit || u.ping_pong < HotUnits::kPingPongSeconds || u.parties.size() < 2;
    });
    std::ranges::sort(units, [](const HotReport& a, const HotReport& b) {
        return std::tie(a.unit.parties, a.unit.unit) < std::tie(b.unit.parties, b.unit.unit);
    });
    std::vector<TradedRange> out;
    for (const auto& [u, standing, range] : units) {
        if (out.empty() || out.back().parties != u.parties || u.unit.v - out.back().last.v > kNeighbours)
            out.push_back({u.parties, u.unit, range.offset, range.end(), 0});
        out.back().last = u.unit;
        out.back().end = range.end();
        out.back().transfers += u.transfers;
    }
    return out;
}

/// The volume that holds this byte of the group, and where in it.
std::optional<std::pair<std::string, std::uint64_t>> volume_at(const GroupRuntime& group, std::uint64_t at) {
    for (const VolumeRecord& volume : group.tables().volumes()) {
        const std::uint64_t begin = volume.first_extent.v * kExtentSize;
        if (at >= begin && at < begin + volume.size) return std::pair(volume.name, at - begin);
    }
    return std::nullopt;
}

/// "v0 bytes 0 to 4194303"
std::string where(const GroupRuntime& group, LogicalRange range) {
    const auto [name, from] = volume_at(group, range.offset).value_or(std::pair(group.name(), range.offset));
    return name + " bytes " + std::to_string(from) + " to " + std::to_string(from + range.length - 1);
}

bool hotter(const HotUnitInfo& a, const HotUnitInfo& b) {
    if (a.transfers_per_s != b.transfers_per_s) return a.transfers_per_s > b.transfers_per_s;
    return std::tie(a.group, a.range.offset) < std::tie(b.group, b.range.offset);
}

}  // namespace

std::string Controller::amf_name(AmfId id) const {
    const std::string name = controller_name(controller_of(id));
    return amf_index(id) == 0 ? name : name + '/' + std::to_string(amf_index(id));
}

HotUnitInfo Controller::describe(const GroupRuntime& group, const HotReport& report) const {
    const auto& [hot, standing, range] = report;
    HotUnitInfo info;
    info.group = group.name();
    info.transfers_per_s = hot.transfers;
    info.ping_pong = hot.ping_pong >= HotUnits::kPingPongSeconds;
    if (hot.waits != 0) info.mean_wait = hot.waited / hot.waits;
    for (const auto& [who, mode] : standing.holders)
        info.holders.push_back({amf_name(who), mode == LockMode::write});
    for (const auto& [who, mode] : standing.waiting)
        info.waiting.push_back({amf_name(who), mode == LockMode::write});
    if (hot.unit == kTablesUnit) return info;
    info.blocks = hot.unit >= kFirstBlockUnit;
    info.unit = info.blocks ? hot.unit.v - kFirstBlockUnit.v : hot.unit.v;
    info.range = range;
    if (const auto found = volume_at(group, range.offset)) std::tie(info.volume, info.volume_offset) = *found;
    return info;
}

LoadReport Controller::load(std::size_t hot) {
    LoadReport report;
    report.controller = config_.name;
    report.now = env_.clock.now();
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        for (unsigned index = 0; index < group->amfs(); ++index) {
            const AmfReport amf = group->seat(index).report();
            if (!amf.loaded) continue;
            report.amfs.push_back(load_of(group->name(), index, amf));
            for (const HotReport& unit : group->seat(index).hot_units())
                report.hot.push_back(describe(*group, unit));
        }
    }
    std::ranges::sort(report.hot, hotter);
    if (report.hot.size() > hot) report.hot.resize(hot);
    for (const auto& [peer, counters] : icl_.counters()) {
        const TrafficCounters& sent = counters.sent;
        const TrafficCounters& received = counters.received;
        report.links.push_back({controller_name(peer), sent.all_messages(), sent.packets, sent.bytes,
                                received.all_messages(), received.packets, received.bytes});
    }
    return report;
}

/// One entry for the same AMFs of a group: it names the busiest of their ranges.
std::vector<Controller::PingPong> Controller::ping_pongs() const {
    std::map<std::string, PingPong> found;
    for (const auto& [uuid, group] : groups_) {
        if (!group->tables().loaded()) continue;
        std::vector<HotReport> hot;  // each arbiter knows those of its own
        for (unsigned index = 0; index < group->amfs(); ++index) {
            for (HotReport& unit : group->seat(index).hot_units()) hot.push_back(std::move(unit));
        }
        for (const TradedRange& range : traded_ranges(std::move(hot))) {
            PingPong here{group->name(), {}, {}, range.transfers, 0};
            std::set<std::string> names;  // numbers are given in the order of the first joins
            for (const AmfId who : range.parties) names.insert(amf_name(who));
            for (const std::string& name : names)
                here.controllers += (here.controllers.empty() ? "" : ", ") + name;
            here.where = where(*group, {range.begin, range.end - range.begin});
            const auto [place, fresh] = found.try_emplace(here.group + ": " + here.controllers, here);
            if (fresh) continue;
            here.further_ranges = place->second.further_ranges + 1;
            if (here.transfers_per_s > place->second.transfers_per_s) place->second = here;
            place->second.further_ranges = here.further_ranges;
        }
    }
    std::vector<PingPong> out;
    for (const auto& [key, value] : found) out.push_back(value);
    return out;
}

}  // namespace braid
