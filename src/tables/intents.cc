// The intent page of this AMF's slot: the regions that may hold half-written stripes if it dies. One
// writer, this AMF; a change that comes while a write is under way goes with the next one. What leaves it is
// noted in the map first, where a zone lacks a part (returns.cc).
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
        intent_status_ = co_await store_intents();
        intents_stored_ = writing;
        if (intent_status_) {
            for (std::uint32_t region : stored_regions_)
                regions_[region].marked = wanted_regions_.contains(region);
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
    std::set<std::uint32_t> regions = wanted_regions_;
    CO_TRY(co_await let_regions_leave(regions));
    const std::uint64_t sequence = ++intent_sequence_;
    CO_TRY(co_await store_page(intent_page(slot_), encode_intents(regions, sequence)));
    stored_regions_ = std::move(regions);
    co_return Status{};
}

/// Those that are to leave stay if a member fails the flush, or has failed since they were noted.
Task<Status> Tables::let_regions_leave(std::set<std::uint32_t>& regions) {
    std::vector<std::uint32_t> leaving;
    std::ranges::set_difference(stored_regions_, regions, std::back_inserter(leaving));
    const std::size_t before = leaving.size();
    if (leaving.empty()) co_return Status{};
    CO_TRY(co_await flush_members());
    std::erase_if(leaving, [this](std::uint32_t region) { return may_forget(RegionIndex(region)); });
    if (leaving.size() != before)
        shrunk_ = intent_sequence_ + 1;  // at once: who is told means this page, too
    regions.insert(leaving.begin(), leaving.end());
    wanted_regions_.insert(leaving.begin(), leaving.end());
    // Who waits for one that finds no room asks again.
    for (auto last = regions.end(); regions.size() > kMaxIntentRegions;) {
        --last;
        if (stored_regions_.contains(*last)) continue;
        wanted_regions_.erase(*last);
        last = regions.erase(last);
    }
    co_return Status{};
}

Buffer Tables::encode_intents(const std::set<std::uint32_t>& regions, std::uint64_t sequence) const {
    Intent intent;
    for (std::uint32_t region : regions) intent.regions.push_back(RegionIndex(region));
    for (const RegionIndex region : former_intents_) {
        if (regions.contains(region.v)) intent.former.insert(region);
    }
    intent.owner = view_.self;
    for (const AmfMember& member : view_.members) {
        if (member.id == view_.self) intent.incarnation = member.incarnation;
    }
    intent.shrunk = shrunk_;
    Buffer bytes = Buffer::zeroed(kPageSize);
    write_page(PageBytes(bytes.span()), intent,
               PageHeader{intent_page(slot_), group_, sequence, view_.epoch, slot_});
    return bytes;
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

bool Tables::idle_since(RegionIndex region, Nanos before) const {
    const RegionState& state = regions_[region.v];
    return state.marked && state.pins == 0 && state.last_use <= before;
}

/// Where it does not come to that they stay in the page.
Task<void> Tables::note_idle(Nanos before) {
    std::vector<RegionIndex> regions;
    for (const std::uint32_t region : wanted_regions_) {
        const RegionIndex index(region);
        if (idle_since(index, before) && !may_forget(index)) regions.push_back(index);
    }
    if (regions.empty()) co_return;
    const Result<Turn> turn = co_await begin_change();
    if (turn && co_await note_missed(std::move(regions))) (void)co_await end_change();
}

Task<Status> Tables::clear_idle_intents(Nanos idle) {
    const Nanos before = clock_.now() - idle;
    co_await note_idle(before);
    bool changed = false;
    for (auto it = wanted_regions_.begin(); it != wanted_regions_.end();) {
        const RegionIndex region(*it);
        if (idle_since(region, before) && may_forget(region)) {
            regions_[region.v].marked = false;  // at once: a writer that comes now marks it again
            it = wanted_regions_.erase(it);
            changed = true;
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
    shrunk_ = left.shrunk;
    while (!former_intents_.empty()) former_intent_done();
    for (const RegionIndex region : left.regions) {
        former_intents_.push_back(region);
        pin_intent(region);
        wanted_regions_.insert(region.v);
        regions_[region.v].marked = true;
        regions_[region.v].last_use = clock_.now();
    }
    for (const RegionIndex region : left.regions) stored_regions_.insert(region.v);
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
               {intent.owner, intent.incarnation},
               intent.shrunk};
    }
    std::erase_if(out.regions, [this](RegionIndex region) { return region.v >= regions_.size(); });
    co_return out;
}

Task<Result<std::set<RegionIndex>>> Tables::all_intents() {
    std::set<RegionIndex> out;
    for (std::uint8_t slot = 0; slot < config_.amf_slots(); ++slot) {
        CO_TRY_LET(const SlotIntents intents, co_await intents_of(AmfSlot(slot)));
        out.insert(intents.regions.begin(), intents.regions.end());
    }
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
    CO_TRY(co_await note_missed(now.regions));
    Buffer bytes = Buffer::zeroed(kPageSize);
    write_page(PageBytes(bytes.span()), Intent{.shrunk = sequence + 1},
               PageHeader{page, group_, sequence + 1, view_.epoch, slot_});
    CO_TRY(co_await store_page(page, std::move(bytes)));
    co_return co_await end_change();
}

}  // namespace braid
