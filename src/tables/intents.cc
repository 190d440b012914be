// The intent page of this AMF's slot: the regions that may hold half-written stripes if it dies. One
// writer, this AMF; a change that comes while a write is under way goes with the next one.
#include <algorithm>

#include "base/log.h"
#include "tables/tables.h"

namespace braid {

bool Tables::intent_marked(RegionIndex region) {
    RegionState& state = regions_[region.v];
    state.last_use = clock_.now();
    return state.marked;
}

void Tables::pin_intent(RegionIndex region) { ++regions_[region.v].pins; }

void Tables::unpin_intent(RegionIndex region) {
    ASSERT(regions_[region.v].pins > 0);
    --regions_[region.v].pins;
}

void Tables::want_intent_write() {
    ++intents_wanted_;
    if (intent_writer_runs_) return;
    intent_writer_runs_ = true;
    scope_.spawn(intent_writer());
}

Task<void> Tables::intent_writer() {
    while (intents_stored_ != intents_wanted_) {
        const std::uint64_t writing = intents_wanted_;
        std::vector<RegionIndex> regions;
        for (std::uint32_t region : wanted_regions_) regions.push_back(RegionIndex(region));
        intent_status_ = co_await store_intents();
        intents_stored_ = writing;
        if (intent_status_) {
            for (RegionIndex region : regions) regions_[region.v].marked = wanted_regions_.contains(region.v);
        }
        intents_changed_.notify_all();
        if (!write_errors_.empty() && !offline()) {
            const Result<Turn> turn = co_await begin_change();
            if (turn) (void)co_await end_change();
        }
    }
    intent_writer_runs_ = false;
    intents_changed_.notify_all();
}

/// A region may leave the page when what was written there cannot get lost in a member's cache any more: the
/// page is what was wanted before the flush. So the newest page is enough, on however many members it stands:
/// what it lacks is safe, and what it has too much was not written to yet.
Task<Status> Tables::store_intents() {
    const PageNumber page = intent_page(slot_);
    Buffer bytes = encode_page(page, ++intent_sequence_);
    if (std::exchange(intents_shrink_, false)) CO_TRY(co_await flush_members());
    co_return co_await store_page(page, std::move(bytes));
}

Task<Status> Tables::mark_intent(RegionIndex region) {
    pin_intent(region);  // no clearing between here and the return
    while (!regions_[region.v].marked) {
        if (offline()) {
            unpin_intent(region);
            co_return fail(Errc::offline);
        }
        if (!wanted_regions_.contains(region.v)) {
            if (wanted_regions_.size() >= kMaxIntentRegions) {
                (void)co_await clear_idle_intents(Nanos{0});
                if (wanted_regions_.size() >= kMaxIntentRegions) {
                    co_await sleep_for(clock_, 1ms);
                    continue;
                }
            }
            wanted_regions_.insert(region.v);
            want_intent_write();
        }
        const std::uint64_t need = intents_wanted_;
        while (intents_stored_ < need) co_await intents_changed_.next();
        if (!intent_status_ && offline()) continue;
        if (!regions_[region.v].marked && intent_status_) continue;
        if (!intent_status_) want_intent_write();
    }
    regions_[region.v].last_use = clock_.now();
    unpin_intent(region);
    co_return Status{};
}

Task<Status> Tables::clear_idle_intents(Nanos idle) {
    const Nanos now = clock_.now();
    bool changed = false;
    for (auto it = wanted_regions_.begin(); it != wanted_regions_.end();) {
        RegionState& state = regions_[*it];
        if (state.marked && state.pins == 0 && now - state.last_use >= idle) {
            state.marked = false;  // at once: a writer that comes now marks it again
            it = wanted_regions_.erase(it);
            changed = intents_shrink_ = true;
        } else {
            ++it;
        }
    }
    if (changed) {
        want_intent_write();
        const std::uint64_t need = intents_wanted_;
        while (intents_stored_ < need) co_await intents_changed_.next();
    }
    co_return intent_status_;
}

Task<Status> Tables::load_own_intents() {
    CO_TRY_LET(const SlotIntents left, co_await intents_of(slot_));
    intent_sequence_ = left.sequence;
    while (!former_intents_.empty()) former_intent_done();
    for (const RegionIndex region : left.regions) {
        former_intents_.push_back(region);
        pin_intent(region);
        wanted_regions_.insert(region.v);
        regions_[region.v].marked = true;
        regions_[region.v].last_use = clock_.now();
    }
    // Under a new number: who is resyncing what we left must not empty the page of this life.
    if (!left.regions.empty()) CO_TRY(co_await store_intents());
    co_return Status{};
}

Task<Result<Tables::SlotIntents>> Tables::intents_of(AmfSlot slot) {
    SlotIntents out;
    const auto picks = co_await read_page(intent_page(slot), serving());
    for (const Pick& pick : picks) {
        if (!pick || pick->first.sequence <= out.sequence) continue;
        CO_TRY_LET(Intent intent, Intent::decode(ConstPageBytes(pick->second.span())));
        out = {std::move(intent.regions),
               pick->first.sequence,
               std::move(intent.former),
               {intent.owner, intent.incarnation}};
    }
    std::erase_if(out.regions, [this](RegionIndex region) { return region.v >= regions_.size(); });
    co_return out;
}

/// Of those who are here only what earlier lives left: whatever else they say, they work on it themselves.
Task<bool> Tables::left_half_written(RegionIndex first, std::uint32_t count) {
    const auto meant = [=](RegionIndex region) { return region.v >= first.v && region.v - first.v < count; };
    for (std::uint8_t slot = 0; slot < config_.amf_slots(); ++slot) {
        if (AmfSlot(slot) == slot_) {
            if (std::ranges::any_of(former_intents_, meant)) co_return true;
            continue;
        }
        const Result<SlotIntents> left = co_await intents_of(AmfSlot(slot));
        if (!left) continue;
        const bool gone = !view_.contains(left->owner);
        if (std::ranges::any_of(left->former, meant) || (gone && std::ranges::any_of(left->regions, meant)))
            co_return true;
    }
    co_return false;
}

Task<Status> Tables::clear_intents_of(AmfSlot slot, std::uint64_t sequence,
                                      std::function<bool()> still_absent) {
    CO_TRY_LET(const Turn turn, co_await begin_change());
    if (!still_absent()) co_return Status{};
    const PageNumber page = intent_page(slot);
    CO_TRY_LET(const SlotIntents now, co_await intents_of(slot));
    if (now.sequence == 0 || now.sequence != sequence) co_return Status{};
    CO_TRY(co_await flush_members());
    Buffer bytes = Buffer::zeroed(kPageSize);
    write_page(PageBytes(bytes.span()), Intent{}, PageHeader{page, group_, sequence + 1, view_.epoch, slot_});
    CO_TRY(co_await store_page(page, std::move(bytes)));
    co_return co_await end_change();
}

}  // namespace braid
