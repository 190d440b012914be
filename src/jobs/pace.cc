#include "jobs/pace.h"

#include <algorithm>
#include <utility>

namespace braid {
namespace {

constexpr std::uint64_t kMany = 1000;        // operations of an interval
constexpr std::uint64_t kFew = 100;          // that say enough if all of them were quick
constexpr std::uint64_t kMost = 1ull << 42;  // bytes per second
constexpr Nanos kLaneIdle = 1s;              // a work that has not asked for so long does not share
constexpr Nanos kCarried = 100ms;            // at the minimum: what nobody has used so long goes later
constexpr auto kSecond = static_cast<std::uint64_t>(Nanos(1s).count());

std::uint64_t count(Nanos time) { return static_cast<std::uint64_t>(std::max(time, Nanos{1}).count()); }

Nanos duration(std::uint64_t ns) { return Nanos(static_cast<std::int64_t>(ns)); }

std::uint64_t scaled(std::uint64_t value, std::uint64_t by, std::uint64_t of) {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(value) * by / of);
}

}  // namespace

/// What the first ones meet is the work of before.
void Pace::wake(Nanos now) {
    if (hosts_at_work(now)) return;
    changed_ = now;
    begin_interval();
}

void Pace::begin_interval() {
    latencies_.clear();
    over_ = 0;
    all_quick_ = true;
}

void Pace::host_began(Nanos now) {
    wake(now);
    ++inside_;
}

std::optional<HostLatency> Pace::host_took(Nanos now, Nanos took) {
    last_host_ = now;
    if (now - took < changed_) return std::nullopt;
    if (latencies_.count() == 0) begun_ = now - took;
    latencies_.add(took);
    over_ += took > options_.host_p99 ? 1 : 0;
    all_quick_ &= took < aim();
    const Nanos span = now - begun_;
    const bool enough = latencies_.count() >= (all_quick_ ? kFew : kMany) || over_ > kMany / 100;
    if (span < (enough ? kShortest : kLongest)) return std::nullopt;
    const HostLatency latency{latencies_.quantile(990), std::min(span, HostLatency::kLongestSpan)};
    last_p99_ = latency.p99;
    begin_interval();
    heard(now, AmfId(), latency);
    return latency;
}

void Pace::heard(Nanos now, AmfId from, HostLatency latency) {
    wake(now);
    const bool fresh = now - latency.span >= changed_;
    told_[from] = {now, latency.p99, fresh};
    std::erase_if(told_, [&](const auto& entry) { return now - entry.second.at > kForgotten; });
    const bool all = std::ranges::all_of(told_, [](const auto& entry) { return entry.second.fresh; });
    if (all || (fresh && latency.p99 > options_.host_p99)) think(now);
}

/// Slower by as much as the hosts are too slow, between an eighth and three quarters. Faster by a quarter of
/// what they have left; by a sixteenth from three quarters of the rate on at which they were too slow: what
/// they see there changes much with little.
void Pace::think(Nanos now) {
    const bool held = std::exchange(held_, false);
    Nanos worst{};
    for (auto& [from, told] : told_) {
        if (std::exchange(told.fresh, false)) worst = std::max(worst, told.p99);
    }
    if (worst > options_.host_p99) {
        const std::uint64_t eighths =
            std::clamp<std::uint64_t>(count(options_.host_p99 * 8) / count(worst), 2, 7);
        too_fast_ = rate_;
        change(now, rate_ / 8 * eighths);
    } else if (worst < aim() && held) {
        const bool careful = rate_ > too_fast_ / 4 * 3 && rate_ < too_fast_ / 8 * 9;
        const std::uint64_t part = careful ? 16 : 4;
        change(now, rate_ + scaled(rate_, count(aim() - worst), count(aim()) * part) + options_.minimum / 16);
    }
}

void Pace::change(Nanos now, std::uint64_t rate) {
    rate = std::clamp(rate, options_.minimum, std::max(kMost, options_.minimum));
    if (rate == rate_) return;
    rate_ = rate;
    changed_ = now;
    begin_interval();
}

bool Pace::hosts_at_work(Nanos now) const {
    if (inside_ != 0 || (last_host_ && now - *last_host_ <= kForgotten)) return true;
    return std::ranges::any_of(told_, [&](const auto& e) { return now - e.second.at <= kForgotten; });
}

std::optional<std::uint64_t> Pace::limit(Nanos now) const {
    if (!on() || !hosts_at_work(now)) return std::nullopt;
    return rate_;
}

Nanos Pace::ask(Nanos now, JobKind work, unsigned priority, std::uint64_t bytes) {
    Lane& mine = lane(work);
    mine.asked = now;
    mine.priority = priority;
    const std::optional<std::uint64_t> limit = this->limit(now);
    if (limit && now < mine.free_at) {
        held_ = true;
        return std::min(mine.free_at - now, kAskAgain);
    }
    mine.bytes += bytes;
    if (!limit) {
        mine.free_at = now;
        return Nanos{0};
    }
    std::uint64_t priorities = 0;
    for (const Lane& each : lanes_)
        priorities += each.asked && now - *each.asked < kLaneIdle ? each.priority : 0;
    const std::uint64_t share = std::max<std::uint64_t>(*limit * priority / priorities, 1);
    // As many bytes at any rate: many of them at once are what hosts are kept from.
    const Nanos carried = duration(scaled(count(kCarried), options_.minimum, *limit));
    mine.free_at = std::max(mine.free_at, now - carried) + duration(scaled(bytes, kSecond, share));
    return Nanos{0};
}

PaceReport Pace::report(Nanos now) const {
    PaceReport out{.limit = limit(now).value_or(0), .on = on()};
    for (std::size_t i = 0; i < lanes_.size(); ++i) out.bytes[i] = lanes_[i].bytes;
    if (hosts_at_work(now)) out.host_p99 = last_p99_;
    return out;
}

}  // namespace braid
