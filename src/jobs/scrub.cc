#include "jobs/scrub.h"

#include <algorithm>

#include "base/log.h"
#include "jobs/share.h"
#include "jobs/turn.h"
#include "jobs/walk.h"

namespace braid {

bool Scrub::mine(ExtentIndex extent) const { return has_share(amf_.view(), extent); }

Task<void> Scrub::run() {
    while (!ending_) {
        co_await sleep_for(clock_, options_.poll);
        const Tables& tables = amf_.tables();
        Status status;
        while (status && !ending_ && amf_.ready() && tables.settled() && !tables.offline()) {
            busy_ = true;
            co_await keep_schedule();
            status = job() == nullptr ? fail(Errc::not_found) : co_await step();
            busy_ = false;
        }
    }
}

/// busy: nothing to do for now.
Task<Status> Scrub::step() {
    if (id_ != job()->id) {
        id_ = job()->id;
        part_.reset();
        finished_.clear();
        settled_ = clock_.now();
    }
    const bool runs = job()->state == JobState::running;
    const std::optional<ExtentIndex> extent = runs ? next() : std::nullopt;
    Status status = fail(Errc::busy);
    if (extent) status = co_await scrub(*extent);
    if (!extent || clock_.now() - settled_ >= options_.settle) CO_TRY(co_await settle());
    co_return status;
}

/// Extents without a zone are nobody's: the keeper notes that they are done.
Task<Status> Scrub::settle() {
    settled_ = clock_.now();
    const JobRecord* present = job();
    if (present == nullptr || present->id != id_) co_return Status{};
    const bool running = present->state == JobState::running;
    const ExtentIndex first = present->cursor;
    const bool holes = running && amf_.keeper() && !amf_.tables().unscrubbed(*present, first);
    if (finished_.empty() && !holes) co_return Status{};
    CO_TRY(co_await amf_.tables().note_scrubbed(id_, finished_));
    finished_.clear();
    co_return Status{};
}

/// The one that has been begun, or the first.
std::optional<ExtentIndex> Scrub::next() const {
    const Tables& tables = amf_.tables();
    const JobRecord& job = *this->job();
    const auto wanted = [&](ExtentIndex extent) {
        return mine(extent) && tables.unscrubbed(job, extent) && !finished_.contains(extent);
    };
    if (part_ && wanted(part_->extent)) return part_->extent;
    const std::uint32_t end = std::min(tables.config().extents, job.cursor.v + kScrubWindow);
    for (std::uint32_t i = job.cursor.v; i < end; ++i) {
        if (wanted(ExtentIndex(i))) return ExtentIndex(i);
    }
    return std::nullopt;
}

/// When a stripe cannot be looked at now the extent is begun anew: what was repaired stays counted.
Task<Status> Scrub::scrub(ExtentIndex extent) {
    const std::uint64_t begin = extent.v * kExtentSize;
    if (!part_ || part_->extent != extent) part_ = Part{extent, begin, {}};
    priority_ = job()->priority;
    broken_off_ = false;
    const auto one = [this](StripeIndex stripe) { return check(stripe); };
    const Status walked =
        co_await walk_stripes(amf_, part_->at, begin + kExtentSize, priority_, broken_off_, one);
    if (walked) {
        finished_[extent] = part_->counts;
        part_.reset();
    } else if (walked.error().code != Errc::cancelled) {
        part_ = Part{extent, begin, {.repaired = part_->counts.repaired}};
    }
    co_return walked;
}

Task<Status> Scrub::check(StripeIndex stripe) {
    const std::uint64_t bytes = amf_.tables().geometry_of(stripe).stripe_size();
    const auto ending = [this] { return ending_; };
    CO_TRY(co_await take_turn(pace_, clock_, JobKind::scrub, priority_, bytes, ending));
    CO_TRY_LET(const StripeVerdict found, co_await verdict(stripe));
    const JobRecord* present = job();
    broken_off_ = ending_ || present == nullptr || present->id != id_ ||
                  present->state != JobState::running || !mine(part_->extent);
    ScrubCounts counts;
    counts.repaired = found == StripeVerdict::rotten ? 1 : 0;
    counts.incomplete = found == StripeVerdict::incomplete ? 1 : 0;
    if (found == StripeVerdict::wrong) {
        counts.unattributed = 1;
        counts.first_unattributed = stripe;
        LOG_ERROR("scrub.unattributed", {"stripe", stripe});
    }
    part_->counts.add(counts);
    co_return Status{};
}

/// That parity is wrong counts only if in one view nobody had left the stripe half-written, and it was so
/// afterwards: a resync may be at it, or have been.
Task<Result<StripeVerdict>> Scrub::verdict(StripeIndex stripe) {
    CO_TRY_LET(StripeVerdict found, co_await amf_.check_stripe(stripe, false));
    if (found != StripeVerdict::wrong) co_return found;
    Tables& tables = amf_.tables();
    const Epoch epoch = amf_.view().epoch;
    const RegionIndex region = region_of(tables.geometry_of(stripe).range_of(stripe).offset);
    if (co_await tables.left_half_written(region)) co_return fail(Errc::busy);
    CO_TRY_LET(found, co_await amf_.check_stripe(stripe, false));
    if (amf_.view().epoch != epoch) co_return fail(Errc::busy);
    co_return found;
}

/// One of all counts the time, and begins.
Task<void> Scrub::keep_schedule() {
    Tables& tables = amf_.tables();
    const ScrubSchedule schedule = tables.state().schedule;
    if (!amf_.keeper() || schedule.every == 0) {
        counted_.reset();
        co_return;
    }
    if (!counted_) counted_ = clock_.now();
    const auto since = static_cast<std::uint64_t>((clock_.now() - *counted_) / 1s);
    const bool due = schedule.due(schedule.age + since) && job() == nullptr;
    if (since >= std::clamp<std::uint64_t>(schedule.every / 16, 1, 3600) || (due && since != 0)) {
        if (!co_await tables.add_scrub_age(static_cast<std::uint32_t>(since))) co_return;
        *counted_ += since * 1s;
    }
    if (due) (void)co_await tables.add_job({.started = clock_.unix_seconds()}, 0, true);
}

}  // namespace braid
