#include "jobs/reshaper.h"

#include "jobs/share.h"
#include "jobs/turn.h"

namespace braid {

bool Reshaper::mine(ExtentIndex extent) const { return has_share(amf_.view(), extent); }

std::optional<ExtentIndex> Reshaper::next() {
    const Tables& tables = amf_.tables();
    std::erase_if(avoided_, [this](const auto& entry) { return entry.second <= clock_.now(); });
    const std::uint32_t extents = tables.config().extents;
    for (std::uint32_t i = 0; i < extents; ++i) {
        const ExtentIndex extent((at_ + i) % extents);
        if (tables.shape_of(extent) == tables.config().wanted || !mine(extent) || avoided_.contains(extent))
            continue;
        at_ = extent.v + 1;
        return extent;
    }
    return std::nullopt;
}

Task<void> Reshaper::run() {
    while (!ending_) {
        co_await sleep_for(clock_, options_.poll);
        const Tables& tables = amf_.tables();
        if (!amf_.ready() || !tables.settled() || tables.offline()) continue;
        busy_ = true;
        co_await work();
        busy_ = false;
    }
}

Task<void> Reshaper::work() {
    Tables& tables = amf_.tables();
    if (cleared_ != amf_.view().epoch && !co_await drop_left()) co_return;
    while (!ending_ && amf_.ready() && tables.settled() && !tables.offline()) {
        const bool wanted = tables.extents_of_other_shapes() != 0;
        if (!wanted && job() == nullptr) co_return;
        std::optional<ExtentIndex> extent = next();
        const bool begins = wanted && job() == nullptr;
        if (begins || !extent || clock_.now() - recorded_ >= options_.retry) {
            if (!co_await keep_record()) co_return;
        }
        const bool paused = job() != nullptr && job()->state == JobState::paused;
        if (!extent || paused || job() == nullptr) co_return;
        const bool has_zone = tables.zone(*extent) != nullptr;
        const auto may_go = [this](std::uint64_t bytes) { return turn(bytes); };
        const Status status = co_await amf_.reshape(*extent, tables.config().wanted, job()->priority, may_go);
        if (status) {
            unreadable_.erase(*extent);
            done_ += has_zone ? 1 : 0;
            continue;
        }
        const Errc code = status.error().code;
        if (code == Errc::media_error) unreadable_.insert(*extent);
        avoided_[*extent] = clock_.now() + (code == Errc::busy          ? options_.poll
                                            : code == Errc::media_error ? options_.unreadable
                                                                        : options_.retry);
    }
}

/// What has been copied waits where it is while the job is paused.
Task<Status> Reshaper::turn(std::uint64_t bytes) {
    const Epoch epoch = amf_.view().epoch;
    const auto over = [this, epoch] {
        return ending_ || !amf_.ready() || amf_.view().epoch != epoch || job() == nullptr;
    };
    while (!over() && job()->state == JobState::paused) co_await sleep_for(clock_, options_.poll);
    if (over()) co_return fail(Errc::cancelled);
    co_return co_await take_turn(pace_, clock_, JobKind::reshape, job()->priority, bytes, over);
}

/// Nobody goes on with what the dead, or who had the extent in an earlier view, have begun.
Task<Status> Reshaper::drop_left() {
    Tables& tables = amf_.tables();
    const Epoch epoch = amf_.view().epoch;
    for (std::uint32_t i = 0; i < tables.config().extents; ++i) {
        const ExtentIndex extent(i);
        if (!mine(extent)) continue;
        (void)co_await amf_.take_back(extent);  // one that cannot be read keeps its successor
        const Zone* zone = tables.zone(extent);
        if (zone != nullptr && zone->successor) CO_TRY(co_await tables.drop_successor(extent));
    }
    unreadable_.clear();
    cleared_ = epoch;
    co_return Status{};
}

/// What all see of it, and outlives us. It is there before anything changes; the keeper ends it.
Task<Status> Reshaper::keep_record() {
    recorded_ = clock_.now();
    Tables& tables = amf_.tables();
    if (tables.extents_of_other_shapes() != 0 && job() == nullptr)
        (void)co_await tables.add_job({.kind = JobKind::reshape, .started = clock_.unix_seconds()}, 0);
    if (done_ != 0) {
        CO_TRY(co_await tables.note_done(JobKind::reshape, done_));
        done_ = 0;
    }
    if (amf_.keeper() && job() != nullptr && tables.extents_of_other_shapes() == 0)
        CO_TRY(co_await tables.end_reshape());
    co_return Status{};
}

}  // namespace braid
