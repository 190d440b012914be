#include "amf/limping.h"

#include <algorithm>

namespace braid {

MemberLatency& MemberLatency::operator|=(const MemberLatency& other) {
    const bool theirs = other.limps && (!limps || other.p99() > p99());
    MemberLatency all = theirs ? other : *this;
    all.reads = std::max(reads, other.reads);
    all.writes = std::max(writes, other.writes);
    all.waits = std::max(waits, other.waits);
    return *this = all;
}

void Limping::end_window(std::span<Disk* const> disks, Nanos now) {
    ++now_;
    waits_.assign(disks.size(), Nanos{});
    seen_.resize(disks.size());
    std::vector<std::array<bool, 2>> fresh(disks.size());
    for (std::size_t i = 0; i < disks.size(); ++i) {
        if (disks[i] == nullptr) {
            seen_[i] = {};
            continue;
        }
        if (const auto since = disks[i]->oldest(); since && now - *since >= options_.hangs)
            waits_[i] = now - *since;
        DiskLatencies& all = disks[i]->latencies();
        for (const Kind kind : {kReads, kWrites}) {
            Latencies& latest = kind == kReads ? all.reads : all.writes;
            fresh[i][kind] = latest.count() >= options_.enough;
            if (!fresh[i][kind]) continue;
            seen_[i][kind].p99 = latest.quantile(990);
            seen_[i][kind].at = now_;
            latest.clear();
        }
    }
    limping_.reset();
    for (std::size_t i = 0; i < disks.size(); ++i) {
        for (const Kind kind : {kReads, kWrites}) {
            if (fresh[i][kind]) judge(i, kind);
            if (seen_[i][kind].limps || waits_[i] != Nanos{}) limping_.set(i);
        }
    }
}

void Limping::judge(std::size_t member, Kind kind) {
    Seen& seen = seen_[member][kind];
    const std::optional<Nanos> usual = others(member, kind);
    if (!usual) return;
    seen.others = *usual;
    const Nanos bound = std::max(options_.floor, *usual * kTimes);
    const bool slow = seen.p99 > (seen.limps ? bound / 2 : bound);
    seen.in_a_row = slow == seen.limps ? 0 : seen.in_a_row + 1;
    if (seen.in_a_row < (seen.limps ? kWell : kSlow)) return;
    seen.limps = slow;
    seen.in_a_row = 0;
}

/// The median of their p99; the upper one of two.
std::optional<Nanos> Limping::others(std::size_t member, Kind kind) const {
    std::vector<Nanos> all;
    for (std::size_t i = 0; i < seen_.size(); ++i) {
        const Seen& other = seen_[i][kind];
        if (i != member && other.at != 0 && other.at + kForgotten >= now_) all.push_back(other.p99);
    }
    if (all.empty()) return std::nullopt;
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
    std::nth_element(all.begin(), middle, all.end());
    return *middle;
}

std::vector<MemberLatency> Limping::report() const {
    std::vector<MemberLatency> out;
    for (std::size_t i = 0; i < seen_.size(); ++i) {
        const Member& member = seen_[i];
        const bool reads = member[kReads].limps;
        const Seen& worse = member[reads ? kReads : kWrites];
        out.push_back({member[kReads].p99, member[kWrites].p99, limping_[i], reads, worse.others, waits_[i]});
    }
    return out;
}

}  // namespace braid
