#include "jobs/mover.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/log.h"
#include "jobs/share.h"
#include "jobs/turn.h"

namespace braid {
namespace {

constexpr std::size_t kFound = 64;  // zones that one look finds at most
constexpr std::size_t kMostLanes = 64;
constexpr Nanos kLookAgain = 500ms;  // if not all of them have been moved before
constexpr std::array kKinds{JobKind::rebuild, JobKind::rebalance};

}  // namespace

bool Mover::goes_on() const {
    const Tables& tables = amf_.tables();
    return !ending_ && amf_.ready() && tables.settled() && !tables.offline();
}

bool Mover::any_record() const {
    return std::ranges::any_of(kKinds, [this](JobKind kind) { return record(kind) != nullptr; });
}

bool Mover::paused(JobKind kind) const {
    return record(kind) != nullptr && record(kind)->state == JobState::paused;
}

JobKind Mover::kind_of(ExtentIndex extent) const {
    const Zone* zone = amf_.tables().zone(extent);
    return zone == nullptr ? JobKind::rebuild : amf_.tables().job_of(*zone);
}

/// As long as a move is open this is nobody else's but with another view: rows below its watermark may have
/// no other place, and nobody may be writing there.
bool Mover::mine(ExtentIndex extent) const {
    const Tables& tables = amf_.tables();
    const Zone* zone = tables.zone(extent);
    if (zone == nullptr) return false;
    std::optional position = zone->move ? zone->move->position : tables.position_to_move(*zone);
    if (const auto balance = tables.position_to_balance(*zone); balance && !position)
        position = balance->first;
    if (!position) return false;
    const Segment from = zone->segments[position->v];
    const std::uint32_t units = tables.geometry_of(extent).zone_size().units;
    return has_share(amf_.view(), from.member.v + from.index.v / units);
}

/// Zones at once, here.
std::size_t Mover::most_lanes() const {
    const Tables& tables = amf_.tables();
    const auto members = static_cast<std::size_t>(
        std::ranges::count(tables.state().members, MemberState::ok, &MemberStatus::state));
    const std::size_t each = amf_.view().members.size() * tables.geometry().width();
    return std::min((options_.queue * members + each - 1) / each, kMostLanes);
}

std::optional<Nanos> Mover::due_at(const Zone& zone) const {
    if (zone.move) return Nanos{};
    const Tables& tables = amf_.tables();
    const auto position = tables.position_to_move(zone);
    if (!position && tables.position_to_balance(zone)) return Nanos{};
    if (!position || (tables.with_spare(zone) & ~members_of(zone)).none()) return std::nullopt;
    const MemberIndex member = zone.segments[position->v].member;
    if (tables.state().members[member.v].state != MemberState::failed) return Nanos{};
    return failed_since_[member.v].value_or(clock_.now()) + options_.delay;
}

/// Of mine the one that has lost most, whose move is open if there is such a one.
std::optional<ExtentIndex> Mover::next() {
    const Tables& tables = amf_.tables();
    for (std::size_t i = 0; i < tables.state().members.size(); ++i) {
        const bool failed = tables.state().members[i].state == MemberState::failed;
        if (!failed) failed_since_[i].reset();
        if (failed && !failed_since_[i]) failed_since_[i] = clock_.now();
    }
    std::erase_if(avoided_, [this](const auto& entry) { return entry.second <= clock_.now(); });
    for (bool looked = false;; looked = true) {
        const bool recent = clock_.now() - looked_ < kLookAgain;
        while (recent && !found_.empty()) {
            const ExtentIndex extent = found_.front();
            found_.pop_front();
            const Zone* zone = tables.zone(extent);
            if (zone == nullptr || !due(*zone) || !mine(extent) || !free(extent)) continue;
            const JobKind kind = tables.job_of(*zone);
            const bool waits = kind == JobKind::rebalance && !zone->move && rebuild_goes_first();
            if (!paused(kind) && !waits) return extent;
        }
        if (looked) return std::nullopt;
        look();
    }
}

/// What there is to do for all, and what of it we do next: a look at all zones is long in a large group.
void Mover::look() {
    const Tables& tables = amf_.tables();
    const bool was_due = any_due();
    for (Job& job : jobs_) job.due = false;
    begins_.reset();
    std::set<std::tuple<bool, int, bool, ExtentIndex>> mine_first;
    for (std::uint32_t i = 0; i < tables.config().extents; ++i) {
        const ExtentIndex extent(i);
        const Zone* zone = tables.zone(extent);
        const auto at = zone == nullptr ? std::nullopt : due_at(*zone);
        if (at && *at > clock_.now()) begins_ = begins_ ? std::min(*begins_, *at) : *at;
        if (!at || *at > clock_.now()) continue;
        const JobKind kind = tables.job_of(*zone);
        state_of(kind).due = true;
        if (paused(kind) || !mine(extent) || !free(extent)) continue;
        mine_first.emplace(kind != JobKind::rebuild, -static_cast<int>(tables.missing_of(*zone)),
                           !zone->move.has_value(), extent);
        if (mine_first.size() > kFound) mine_first.erase(std::prev(mine_first.end()));
    }
    found_.clear();
    for (const auto& [balance, need, open, extent] : mine_first) found_.push_back(extent);
    looked_ = clock_.now();
    if (any_due() != was_due && changed_) changed_();
}

Task<void> Mover::run() {
    Scope lanes(amf_.executor());
    while (!ending_) {
        co_await sleep_for(clock_, options_.poll);
        const bool idle = !amf_.tables().anything_to_move() && !any_due() && !any_record() &&
                          jobs_[0].moved + jobs_[1].moved == 0;
        if (!goes_on() || idle) {
            begins_.reset();
            continue;
        }
        busy_ = true;
        co_await work(lanes);
        busy_ = false;
    }
    co_await lanes.join();
}

Task<void> Mover::work(Scope& lanes) {
    if (amf_.tables().open_moves() != 0 && clock_.now() - ended_untouched_ >= options_.retry &&
        !paused(JobKind::rebuild))
        (void)co_await end_untouched();
    if (!goes_on()) co_return;
    std::optional<ExtentIndex> extent = next();
    const bool unrecorded = extent && record(kind_of(*extent)) == nullptr;
    if (!extent || unrecorded || clock_.now() - recorded_ >= options_.retry) {
        if (extent) found_.push_front(*extent);
        (void)co_await keep_records();
        if (!goes_on()) co_return;
        if (extent) extent = next();
    }
    if (!extent && in_hand_.empty()) (void)co_await end_balancing();
    for (; extent && goes_on() && in_hand_.size() < most_lanes(); extent = next()) lanes.spawn(lane(*extent));
    if (extent) found_.push_front(*extent);
}

/// One zone after the other.
Task<void> Mover::lane(ExtentIndex extent) {
    for (std::optional<ExtentIndex> at = extent; at; at = goes_on() ? next() : std::nullopt) {
        in_hand_.insert(*at);
        const Status status = co_await move_zone(*at);
        in_hand_.erase(*at);
        if (status) unreadable_.erase(*at);
        if (status) continue;
        const Errc code = status.error().code;
        avoided_[*at] = clock_.now() + (code == Errc::busy          ? options_.poll
                                        : code == Errc::media_error ? options_.unreadable
                                                                    : options_.retry);
    }
}

std::vector<StripeIndex> Mover::unreadable() const {
    std::vector<StripeIndex> out;
    for (const auto& [extent, stripe] : unreadable_) {
        if (mine(extent)) out.push_back(stripe);
    }
    return out;
}

/// What all see of it, and outlives us. It is there before anything moves; the keeper ends it.
Task<Status> Mover::keep_records() {
    recorded_ = clock_.now();
    for (const JobKind kind : kKinds) CO_TRY(co_await keep_record(kind));
    co_return co_await end_leaves();
}

Task<Status> Mover::keep_record(JobKind kind) {
    Tables& tables = amf_.tables();
    Job& job = state_of(kind);
    if (job.due && record(kind) == nullptr)
        (void)co_await tables.add_job({.kind = kind, .started = clock_.unix_seconds()}, 0);
    if (const std::uint32_t moved = job.moved; moved != 0) {
        CO_TRY(co_await tables.note_done(kind, moved));
        job.moved -= moved;
    }
    if (amf_.keeper() && record(kind) != nullptr && !job.due) CO_TRY(co_await tables.end_moves(kind));
    co_return Status{};
}

/// One of all does it.
Task<Status> Mover::end_balancing() {
    Tables& tables = amf_.tables();
    if (amf_.keeper() && tables.state().balancing && !state_of(JobKind::rebalance).due)
        CO_TRY(co_await tables.end_balancing());
    co_return Status{};
}

/// Whoever has nothing left can go, also while there is something else to do.
Task<Status> Mover::end_leaves() {
    Tables& tables = amf_.tables();
    for (std::uint8_t i = 0; amf_.keeper() && i < tables.state().members.size(); ++i) {
        if (tables.leaves_empty(MemberIndex(i))) co_return co_await tables.end_leaves();
    }
    co_return Status{};
}

Task<Status> Mover::one_by_one(Task<Status> change) {
    co_await changes_.take();
    const Status status = co_await std::move(change);
    changes_.give();
    co_return status;
}

Task<Status> Mover::move_zone(ExtentIndex extent) {
    Tables& tables = amf_.tables();
    const Zone* zone = tables.zone(extent);
    if (zone != nullptr && !zone->move) CO_TRY(co_await one_by_one(tables.open_move(extent)));
    while (!ending_ && mine(extent) && !paused(kind_of(extent))) {
        zone = tables.zone(extent);
        if (zone == nullptr || !zone->move) co_return Status{};
        const ZoneMove move = *zone->move;
        if (!tables.member_ok(move.target.member)) co_return co_await one_by_one(tables.give_up_move(extent));
        CO_TRY(co_await move_run(extent, move));
    }
    co_return Status{};
}

/// Of a move in place, whose target is there; all are of any other.
Task<Result<std::uint16_t>> Mover::regions_to_copy(ExtentIndex extent) {
    Tables& tables = amf_.tables();
    const auto in_place = [&] {
        const Zone* zone = tables.zone(extent);
        return zone != nullptr && zone->moves_in_place();
    };
    if (!in_place()) co_return std::uint16_t{0xffff};
    co_await tables.settled_and_agreed();
    CO_TRY_LET(const std::set<RegionIndex> intents, co_await tables.all_intents());
    if (!in_place()) co_return fail(Errc::busy);
    // After the intents: what has left them is noted by now.
    co_return static_cast<std::uint16_t>(tables.zone(extent)->missed | regions_in(extent, intents));
}

/// Of the map pages that are mine, so that few changes end many zones.
Task<Status> Mover::end_untouched() {
    Tables& tables = amf_.tables();
    ended_untouched_ = clock_.now();
    std::set<PageNumber> pages;
    for (std::uint32_t i = 0; i < tables.config().extents; ++i) {
        const Zone* zone = tables.zone(ExtentIndex(i));
        const PageNumber page = map_page(ExtentIndex(i));
        if (zone != nullptr && zone->moves_in_place() && has_share(amf_.view(), page.v)) pages.insert(page);
    }
    if (pages.empty()) co_return Status{};
    co_await tables.settled_and_agreed();
    // A disk that comes back has another id each time.
    const Epoch epoch = amf_.view().epoch;
    const std::vector<MemberRecord> members = tables.config().members;
    const std::vector<MemberStatus> states = tables.state().members;
    const auto still = [&tables, this, epoch, members, states] {
        return amf_.view().epoch == epoch && tables.config().members == members &&
               tables.state().members == states;
    };
    CO_TRY_LET(const std::set<RegionIndex> intents, co_await tables.all_intents());
    for (const PageNumber page : pages) {
        if (!goes_on() || paused(JobKind::rebuild)) co_return Status{};
        co_await changes_.take();
        const auto ended = co_await tables.end_moves_in_place(page, intents, still);
        changes_.give();
        if (!ended) co_return std::unexpected(ended.error());
        state_of(JobKind::rebuild).moved += *ended;
    }
    co_return Status{};
}

/// From the watermark on.
Task<Status> Mover::move_run(ExtentIndex extent, ZoneMove move) {
    Tables& tables = amf_.tables();
    const Epoch epoch = amf_.view().epoch;
    CO_TRY_LET(const std::uint16_t wanted, co_await regions_to_copy(extent));
    const std::uint32_t regions = kExtentSize / kRegionSize;
    if (co_await tables.left_half_written(RegionIndex(extent.v * regions), regions))
        co_return fail(Errc::busy);
    const Geometry geometry = tables.geometry_of(extent);
    const std::uint32_t rows = geometry.rows_per_extent();
    const Nanos begun = clock_.now();
    std::uint32_t end = move.rows_done, copied = 0;
    Status moved{};
    for (; end < rows; ++end) {
        const StripeIndex stripe = geometry.stripe_of(extent, Row(end));
        const std::uint32_t region = region_of(geometry.range_of(stripe).offset).v % regions;
        if ((wanted >> region & 1u) == 0) continue;
        const bool enough = copied == options_.run || clock_.now() - begun >= options_.mark;
        if (copied != 0 && (enough || ending_ || paused(kind_of(extent)))) break;
        moved = co_await move_row(stripe, epoch, kind_of(extent));
        if (!moved && moved.error().code == Errc::media_error) unreadable_[extent] = stripe;
        if (!moved) break;
        ++copied;
    }
    if (!moved && copied == 0) co_return moved;
    if (copied != 0) CO_TRY(co_await amf_.flush_member(move.target.member));
    const auto still = [this, epoch] { return amf_.view().epoch == epoch; };
    const JobKind kind = kind_of(extent);
    CO_TRY(co_await one_by_one(tables.advance_move(extent, move, end, still)));
    state_of(kind).moved += end == rows ? 1 : 0;
    co_return moved;
}

Task<Status> Mover::move_row(StripeIndex stripe, Epoch epoch, JobKind kind) {
    const unsigned priority = record(kind) != nullptr ? record(kind)->priority : kDefaultPriority;
    const std::uint64_t bytes = amf_.tables().geometry().strip_size;
    const auto ending = [this] { return ending_; };
    CO_TRY(co_await take_turn(pace_, clock_, kind, priority, bytes, ending));
    CO_TRY(co_await amf_.move_row(stripe, epoch));
    moved_bytes_ += bytes;
    co_return Status{};
}

}  // namespace braid
