// Long work over the whole group, in the state page (ondisk/job_record.h): whoever works on it tells here how
// far it is, and all AMFs know the same.
//
//   scrub     add -> note_scrubbed ... -> at the last extent: done          pause, resume, cancel meanwhile
//   rebuild   begun with the first segment that moves, ended by the keeper  the same; cancel if no data lacks
//   rebalance the same                                                      the same; waits for a rebuild
//   reshape   begun with the first extent that changes, ended by the keeper  pause, resume meanwhile
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {
namespace {

JobRecord& record(GroupState& state, std::uint32_t id) {
    return *std::ranges::find(state.jobs, id, &JobRecord::id);
}

/// Where a new record goes. Of those that ended the newest scrub that came to its end stays: it says how the
/// group is.
JobRecord& place_for_one(GroupState& state) {
    const JobRecord* last = nullptr;
    for (const JobRecord& job : state.jobs) {
        const bool whole = job.id != 0 && job.kind == JobKind::scrub && job.state == JobState::done;
        if (whole && (last == nullptr || job.id > last->id)) last = &job;
    }
    JobRecord* place = nullptr;
    for (JobRecord& job : state.jobs) {
        if (job.active() || &job == last) continue;
        if (place == nullptr || job.id < place->id) place = &job;
    }
    return *place;
}

}  // namespace

bool Tables::unscrubbed(const JobRecord& job, ExtentIndex extent) const {
    return zone(extent) != nullptr && job.awaits(extent);
}

/// Not those that nobody has room for.
std::uint32_t Tables::segments_to_move(JobKind kind) const {
    const MemberMask out =
        in_state(MemberState::failed) | in_state(MemberState::dismissed) | in_state(MemberState::leaving);
    std::uint32_t sum = 0;
    for (const Zone& zone : zones_) {
        if (!zone.allocated()) continue;
        if (kind == JobKind::rebalance) {
            sum += zone.move && job_of(zone) == kind ? 1 : 0;
        } else if (zone.move || (with_spare(zone) & ~members_of(zone)).any()) {
            sum += positions_on(zone, out);
            const bool other = zone.move && !out[zone.segments[zone.move->position.v].member.v];
            sum += other && !zone.moves_in_place() && job_of(zone) == kind ? 1 : 0;
        }
    }
    if (kind == JobKind::rebalance && state_.balancing) {
        sum += allocator_->to_even_out(largest_zone().units, in_state(MemberState::ok));
        sum = std::max(sum, must_move(kind) ? 1u : 0u);
    }
    return sum;
}

JobSize Tables::size_of(const JobRecord& job) const {
    if (job.kind == JobKind::scrub) {
        std::uint64_t left = job.left;
        for (std::uint32_t i = job.cursor.v; job.active() && i < config_.extents; ++i)
            left += unscrubbed(job, ExtentIndex(i)) ? 1 : 0;
        const std::uint64_t done = job.units_done();
        return {kExtentSize, done * kExtentSize, (done + left) * kExtentSize};
    }
    if (job.kind == JobKind::reshape) {
        const std::uint64_t done = job.units_done();
        const std::uint64_t left = job.active() ? zones_to_reshape() : job.left;
        return {kExtentSize, done * kExtentSize, (done + left) * kExtentSize};
    }
    const std::uint64_t segment = geometry().rows_size();
    JobSize size{segment, job.units_done() * segment, (job.units_done() + job.left) * segment};
    if (!job.active()) return size;
    size.total_bytes += segments_to_move(job.kind) * segment;
    for (const Zone& zone : zones_) {
        if (!zone.move || job_of(zone) != job.kind) continue;
        const std::uint64_t rows = config_.geometry_of(zone.shape).rows_per_extent();
        size.done_bytes += zone.move->rows_done * segment / rows;
    }
    return size;
}

Task<Result<std::uint32_t>> Tables::add_job(JobRecord job, std::uint32_t above, bool by_schedule) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (state_.active(job.kind) != nullptr) co_return fail(Errc::exists);
    if (by_schedule && state_.schedule.every == 0) co_return fail(Errc::not_found);
    const bool moves = job.kind == JobKind::rebuild || job.kind == JobKind::rebalance;
    if (moves && segments_to_move(job.kind) == 0) co_return fail(Errc::not_found);
    GroupState state = state_;
    for (const JobRecord& other : state.jobs) above = std::max(above, other.id);
    job.id = above + 1;
    if (job.kind == JobKind::scrub) state.schedule.begun = state.schedule.age;
    place_for_one(state) = job;
    LOG_INFO("job.begun", {"group", config_.name}, {"job", job.id}, {"kind", to_string(job.kind)});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    CO_TRY(co_await end_change());
    co_return job.id;
}

Task<Status> Tables::set_job(std::uint32_t id, JobState to) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const JobRecord* present = state_.job(id);
    if (present == nullptr) co_return fail(Errc::not_found);
    if (!present->active()) co_return fail(Errc::exists);
    if (to == JobState::cancelled && !may_cancel(present->kind)) co_return fail(Errc::invalid);
    if (present->state == to) co_return Status{};
    GroupState state = state_;
    if (to == JobState::cancelled && present->kind != JobKind::scrub)
        CO_TRY(co_await cancel_moves(state, present->kind));
    JobRecord& job = record(state, id);
    if (is_active(to)) {
        job.state = to;
    } else {
        end_job(job, to);
    }
    LOG_INFO("job.set", {"group", config_.name}, {"job", id}, {"state", to_string(to)});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

bool Tables::may_cancel(JobKind kind) const {
    if (kind == JobKind::scrub || kind == JobKind::rebalance) return true;
    return kind == JobKind::rebuild && missing_parts_ == 0 &&
           std::ranges::none_of(zones_, &Zone::moves_in_place);
}

/// Nobody has to leave any more, or nothing has to be evened out, in `state`. The segments of before are all
/// there, and stay.
Task<Status> Tables::cancel_moves(GroupState& state, JobKind kind) {
    for (std::uint32_t i = 0; i < map_pages(); ++i) {
        const PageNumber page(kFirstMapPage.v + i);
        MapPage content = map_content(page);
        bool changed = false;
        for (Zone& zone : content.zones) {
            if (!zone.move || job_of(zone) != kind) continue;
            changed = true;
            zone.move.reset();
        }
        if (changed) CO_TRY(co_await commit(page, std::move(content)));
    }
    if (kind == JobKind::rebalance) state.balancing = false;
    for (MemberStatus& member : state.members) {
        const bool leaves = kind == JobKind::rebuild && member.state == MemberState::leaving;
        if (leaves) member = {MemberState::ok, view_.epoch, member.errors};
    }
    place_rings(state);
    co_return Status{};
}

Task<Status> Tables::set_job_priority(std::uint32_t id, std::uint8_t priority) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const JobRecord* present = state_.job(id);
    if (present == nullptr) co_return fail(Errc::not_found);
    if (!present->active()) co_return fail(Errc::exists);
    if (priority < 1 || priority > kMaxPriority) co_return fail(Errc::invalid);
    if (present->priority == priority) co_return Status{};
    GroupState state = state_;
    record(state, id).priority = priority;
    LOG_INFO("job.set", {"group", config_.name}, {"job", id}, {"priority", unsigned{priority}});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

void Tables::end_job(JobRecord& job, JobState how) const {
    const JobSize size = size_of(job);
    job.left = how == JobState::done
                   ? 0
                   : static_cast<std::uint32_t>((size.total_bytes - size.done_bytes) / size.unit);
    job.state = how;
    job.ended = clock_.unix_seconds();
    job.cursor = ExtentIndex();
    job.window.reset();
}

Task<Status> Tables::note_scrubbed(std::uint32_t id, std::map<ExtentIndex, ScrubCounts> extents) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const JobRecord* present = state_.job(id);
    if (present == nullptr || !present->active()) co_return Status{};
    GroupState state = state_;
    JobRecord& job = record(state, id);
    for (const auto& [extent, counts] : extents) {
        if (!job.awaits(extent)) continue;  // somebody else was there, too
        job.note_done(extent);
        job.counts.add(counts);
        ++job.done[slot_.v];
    }
    job.advance(config_.extents, [this](ExtentIndex extent) { return zone(extent) != nullptr; });
    if (job.cursor.v == config_.extents) {
        end_job(job, JobState::done);
        state.schedule.age = state.schedule.begun = 0;
        LOG_INFO("job.done", {"group", config_.name}, {"job", id}, {"extents", job.units_done()},
                 {"repaired", job.counts.repaired}, {"unattributed", job.counts.unattributed},
                 {"incomplete", job.counts.incomplete});
    }
    if (state == state_) co_return Status{};
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

std::uint32_t Tables::zones_to_reshape() const {
    if (other_shapes_ == 0) return 0;
    const auto other = [this](const Zone& zone) { return zone.allocated() && zone.shape != config_.wanted; };
    return static_cast<std::uint32_t>(std::ranges::count_if(zones_, other));
}

Task<Status> Tables::note_done(JobKind kind, std::uint32_t units) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupState state = state_;
    JobRecord* job = nullptr;  // the newest: it may have ended meanwhile
    for (JobRecord& other : state.jobs) {
        if (other.id == 0 || other.kind != kind) continue;
        if (job == nullptr || other.id > job->id) job = &other;
    }
    if (job == nullptr) co_return Status{};
    job->done[slot_.v] += units;
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

Task<Status> Tables::end_moves(JobKind kind) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    GroupState state = state_;
    const JobRecord* present = state.active(kind);
    if (present == nullptr || must_move(kind)) co_return Status{};
    if (kind == JobKind::rebalance && state_.balancing) co_return Status{};
    // Somebody has told it to wait, with whatever waits for a member that may come back.
    if (present->state == JobState::paused && segments_to_move(kind) != 0) co_return Status{};
    end_job(record(state, present->id), JobState::done);
    LOG_INFO("job.done", {"group", config_.name}, {"job", present->id}, {"segments", present->units_done()});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

/// The group may have more extents of the shape that all have by now.
Task<Status> Tables::end_reshape() {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    const JobRecord* present = state_.active(JobKind::reshape);
    if (present == nullptr || other_shapes_ != 0) co_return Status{};
    const std::uint32_t id = present->id;
    CO_TRY(co_await grow());
    GroupState state = state_;
    end_job(record(state, id), JobState::done);
    LOG_INFO("job.done", {"group", config_.name}, {"job", id}, {"extents", record(state, id).units_done()});
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

Task<Status> Tables::add_scrub_age(std::uint32_t seconds) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (state_.schedule.every == 0) co_return Status{};
    GroupState state = state_;
    state.schedule.age += std::min(seconds, ~std::uint32_t{0} - state.schedule.age);
    CO_TRY(co_await commit(kStatePage, std::move(state)));
    co_return co_await end_change();
}

}  // namespace braid
