#include "jobs/mover.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/log.h"
#include "jobs/share.h"
#include "jobs/turn.h"

namespace braid {
namespace {

constexpr std::size_t kFound = 64;   // zones that one look finds at most
constexpr Nanos kLookAgain = 500ms;  // if not all of them have been moved before

}  // namespace

bool Mover::mine(ExtentIndex extent) const { return has_share(amf_.view(), extent); }

bool Mover::due(const Zone& zone) const {
    if (zone.move) return true;
    const Tables& tables = amf_.tables();
    const auto position = tables.position_to_move(zone);
    if (!position && tables.position_to_balance(zone)) return true;
    if (!position || (tables.with_spare(zone) & ~members_of(zone)).none()) return false;
    const MemberIndex member = zone.segments[position->v].member;
    if (tables.state().members[member.v].state != MemberState::failed) return true;
    const auto since = failed_since_[member.v];
    return since && clock_.now() - *since >= options_.delay;
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
            if (zone != nullptr && due(*zone) && mine(extent) && !avoided_.contains(extent)) return extent;
        }
        if (looked) return std::nullopt;
        look();
    }
}

/// What there is to do for all, and what of it we do next: a look at all zones is long in a large group.
void Mover::look() {
    const Tables& tables = amf_.tables();
    std::uint64_t left = 0;
    std::set<std::tuple<int, bool, ExtentIndex>> mine_first;
    for (std::uint32_t i = 0; i < tables.config().extents; ++i) {
        const ExtentIndex extent(i);
        const Geometry geometry = tables.geometry_of(extent);
        const Zone* zone = tables.zone(extent);
        if (zone == nullptr || !due(*zone)) continue;
        const std::uint32_t done = zone->move ? zone->move->rows_done : 0;
        left += std::uint64_t{geometry.rows_per_extent() - done} * geometry.strip_size;
        if (!mine(extent) || avoided_.contains(extent)) continue;
        mine_first.emplace(-static_cast<int>(tables.missing_of(*zone)), !zone->move.has_value(), extent);
        if (mine_first.size() > kFound) mine_first.erase(std::prev(mine_first.end()));
    }
    found_.clear();
    for (const auto& [need, open, extent] : mine_first) found_.push_back(extent);
    looked_ = clock_.now();
    const bool was_running = progress_.running();
    progress_.total_bytes = left == 0 ? 0 : std::max(progress_.total_bytes, left);
    progress_.done_bytes = progress_.total_bytes - left;
    if (progress_.running() != was_running && changed_) changed_();
}

Task<void> Mover::run() {
    while (!ending_) {
        co_await sleep_for(clock_, options_.poll);
        const Tables& tables = amf_.tables();
        while (!ending_ && amf_.ready() && tables.settled() && !tables.offline()) {
            if (!tables.anything_to_move() && !progress_.running() && job() == nullptr) break;
            std::optional<ExtentIndex> extent = next();
            if (paused()) extent.reset();
            busy_ = true;
            const bool begins = extent && job() == nullptr;
            if (!extent || begins || clock_.now() - recorded_ >= options_.retry) (void)co_await keep_record();
            const Status status = co_await (extent ? move_zone(*extent) : end_moves());
            busy_ = false;
            if (!extent) break;
            if (status) continue;
            const bool soon = status.error().code == Errc::busy;
            avoided_[*extent] = clock_.now() + (soon ? options_.poll : options_.retry);
        }
    }
}

/// What all see of it, and outlives us. It is there before anything moves; the keeper ends it.
Task<Status> Mover::keep_record() {
    recorded_ = clock_.now();
    Tables& tables = amf_.tables();
    if (progress_.running() && job() == nullptr)
        (void)co_await tables.add_job({.kind = JobKind::rebuild, .started = clock_.unix_seconds()}, 0);
    if (moved_ != 0) {
        CO_TRY(co_await tables.note_done(JobKind::rebuild, moved_));
        moved_ = 0;
    }
    if (amf_.keeper() && job() != nullptr && tables.zones_to_move() == 0)
        CO_TRY(co_await tables.end_rebuild());
    co_return Status{};
}

/// One of all does it.
Task<Status> Mover::end_moves() {
    Tables& tables = amf_.tables();
    if (amf_.keeper() && tables.state().balancing && !progress_.running())
        CO_TRY(co_await tables.end_balancing());
    for (std::uint8_t i = 0; amf_.keeper() && i < tables.state().members.size(); ++i) {
        if (tables.leaves_empty(MemberIndex(i))) co_return co_await tables.end_leaves();
    }
    co_return Status{};
}

Task<Status> Mover::move_zone(ExtentIndex extent) {
    Tables& tables = amf_.tables();
    const Zone* zone = tables.zone(extent);
    if (zone != nullptr && !zone->move) CO_TRY(co_await tables.open_move(extent));
    while (!ending_ && mine(extent) && !paused()) {
        zone = tables.zone(extent);
        if (zone == nullptr || !zone->move) co_return Status{};
        const ZoneMove move = *zone->move;
        if (!tables.member_ok(move.target.member)) co_return co_await tables.give_up_move(extent);
        CO_TRY(co_await move_run(extent, move));
    }
    co_return Status{};
}

/// From the watermark on.
Task<Status> Mover::move_run(ExtentIndex extent, ZoneMove move) {
    Tables& tables = amf_.tables();
    const Epoch epoch = amf_.view().epoch;
    const std::uint32_t regions = kExtentSize / kRegionSize;
    if (co_await tables.left_half_written(RegionIndex(extent.v * regions), regions))
        co_return fail(Errc::busy);
    const std::uint32_t rows = tables.geometry_of(extent).rows_per_extent();
    const std::uint32_t end = std::min(rows, move.rows_done + options_.run);
    CO_TRY(co_await move_rows(extent, move.rows_done, end, epoch));
    CO_TRY(co_await amf_.flush_member(move.target.member));
    const auto still = [this, epoch] { return amf_.view().epoch == epoch; };
    CO_TRY(co_await tables.advance_move(extent, move, end, still));
    moved_ += end == rows ? 1 : 0;
    co_return Status{};
}

Task<Status> Mover::move_rows(ExtentIndex extent, std::uint32_t from, std::uint32_t to, Epoch epoch) {
    const Geometry& geometry = amf_.tables().geometry();
    while (from < to) {
        std::vector<Task<Status>> some;
        for (; from < to && some.size() < options_.depth; ++from)
            some.push_back(move_row(geometry.stripe_of(extent, Row(from)), epoch));
        const std::uint64_t bytes = some.size() * geometry.strip_size;
        for (const Status& status : co_await gather(amf_.executor(), std::move(some))) CO_TRY(status);
        progress_.moved_here += bytes;
    }
    co_return Status{};
}

Task<Status> Mover::move_row(StripeIndex stripe, Epoch epoch) {
    const unsigned priority = job() != nullptr ? job()->priority : kDefaultPriority;
    const std::uint64_t bytes = amf_.tables().geometry().strip_size;
    const auto ending = [this] { return ending_; };
    CO_TRY(co_await take_turn(pace_, clock_, JobKind::rebuild, priority, bytes, ending));
    co_return co_await amf_.move_row(stripe, epoch);
}

}  // namespace braid
