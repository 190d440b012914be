#include "replica/replicator.h"

#include <algorithm>

#include "base/assert.h"
#include "base/log.h"

namespace braid {
namespace {

/// Alive now and all the time since `before`: an AMF that came again has forgotten everything.
bool stayed(AmfId id, const AmfView& before, const AmfView& now) {
    for (const AmfMember& member : before.members) {
        if (member.id == id) return now.contains(member);
    }
    return false;
}

void keep_stayed(AmfSet& set, const AmfView& before, const AmfView& now) {
    const AmfSet all = set;
    for (AmfId id : all) {
        if (!stayed(id, before, now)) set.erase(id);
    }
}

}  // namespace

void Replicator::configure(unsigned dimension, const RecordLimits& limits, std::size_t copy_window) {
    dimension_ = std::max(dimension, 1u);
    limits_ = limits;
    copy_window_ = copy_window;
    choose_partners();
}

// ---- the view

AmfSet Replicator::others() const {
    AmfSet out;
    for (const AmfMember& member : view_.members) {
        if (member.id != view_.self) out.insert(member.id);
    }
    return out;
}

/// True: they are others than before.
bool Replicator::choose_partners() {
    const AmfSet before = std::exchange(partners_, {});
    nearest_ = Nearness::apart;
    if (!view_.contains(view_.self)) return true;
    std::map<ControllerId, std::vector<AmfId>> amfs;
    for (const AmfMember& member : view_.members) {
        if (!able_ || able_->contains(member.id)) amfs[controller_of(member.id)].push_back(member.id);
    }
    const auto known = [&](ControllerId id) {
        const auto at = view_.controllers.find(id);
        return at == view_.controllers.end() ? AmfView::OnController{} : at->second;
    };
    const ControllerId self = controller_of(view_.self);
    std::vector<PartnerCandidate> others;
    for (const auto& [id, theirs] : amfs) {
        if (id == self || leaving_.contains(id)) continue;
        const AmfView::OnController& on = known(id);
        others.push_back({id, on.location, preferred_.contains(on.name, on.location)});
    }
    const PartnerChoice choice = braid::choose_partners(self, known(self).location, others, dimension_ - 1);
    nearest_ = choice.nearest;
    for (const ControllerId id : choice.partners) {
        const std::vector<AmfId>& theirs = amfs.at(id);
        partners_.insert(theirs[amf_index(view_.self) % theirs.size()]);
    }
    return partners_.size() != before.size() ||
           !std::ranges::all_of(before, [this](AmfId id) { return partners_.contains(id); });
}

void Replicator::prefer(PreferredPartners partners) {
    if (std::exchange(preferred_, std::move(partners)) == preferred_) return;
    choose_again();
}

void Replicator::allow(std::optional<AmfSet> able) {
    able_ = std::move(able);
    choose_again();
}

void Replicator::choose_again() {
    if (fenced_ || !choose_partners()) return;
    copy_open_records();
    wake_open_records();
}

void Replicator::adopt(const AmfView& view, std::optional<AmfSet> able) {
    able_ = std::move(able);
    const AmfView before = std::exchange(view_, view);
    store_.adopt(view_);
    leaving_.clear();
    handed_on_.clear();
    const auto self = std::ranges::find(view_.members, view_.self, &AmfMember::id);
    choose_partners();
    if (incarnation_.v == 0 && self == view_.members.end()) return;  // not attached yet
    fenced_ =
        fenced_ || self == view_.members.end() || (incarnation_.v != 0 && self->incarnation != incarnation_);
    if (!fenced_) incarnation_ = self->incarnation;
    completions_.adopt(view_, fenced_);
    if (!fenced_) {
        adopt_own_records(before);
        adopt_recovery();
    }
    wake_open_records();
    ended_.notify_all();
    answered_.notify_all();
    dropped_.notify_all();
}

void Replicator::wake_open_records() {
    for (Entry& entry : entries_) {
        if (entry.open != nullptr) entry.open->moved_.notify_all();
    }
}

void Replicator::avoid(AmfId leaver) {
    if (fenced_ || !leaving_.insert(controller_of(leaver)).second) return;
    choose_partners();
    copy_open_records();
    wake_open_records();
}

// Ends first: a partner that gets a stripe's next record must have forgotten the one before.
void Replicator::adopt_own_records(const AmfView& before) {
    for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
        Entry& entry = entries_[slot];
        if (entry.sequence == 0) continue;
        keep_stayed(entry.holders, before, view_);
        if (!entry.ended) continue;
        if (entry.holders.empty()) {
            retire(slot);
            continue;
        }
        for (AmfId holder : entry.holders) send_end(entry, holder);
    }
    for (Entry& entry : entries_) {
        if (entry.open == nullptr) continue;
        keep_stayed(entry.open->acked_, before, view_);
        keep_stayed(entry.open->have_data_, before, view_);
        entry.open->sent_to_.clear();
    }
    copy_open_records();
}

/// In the order in which they began.
void Replicator::copy_open_records() {
    completions_.hand_on(partners_);
    copying_.clear();
    std::map<std::uint64_t, Entry*> open;
    for (Entry& entry : entries_) {
        if (entry.open != nullptr) open.emplace(entry.sequence, &entry);
    }
    for (const auto& [sequence, entry] : open) {
        OpenRecord& record = *entry->open;
        for (AmfId partner : partners_) {
            const bool has_data = record.have_data_.contains(partner);
            if (record.acked_.contains(partner) || (has_data && !record.redone_)) continue;
            record.late_ = record.dirty_;
            copying_[partner].waiting.push_back(sequence);
            ++counters_.resent;
        }
    }
    copying_at_first_ = missing().bytes;
    for (AmfId partner : partners_) copy_more(partner);
}

/// What is sent without a redo, and not dirty, is acknowledged later, so nothing waits for that.
void Replicator::copy_more(AmfId to) {
    const auto at = copying_.find(to);
    if (at == copying_.end()) return;
    Copying& copying = at->second;
    while (!copying.waiting.empty() && copying.bytes < copy_window_) {
        const std::uint64_t sequence = copying.waiting.front();
        copying.waiting.pop_front();
        Entry* const entry = find(own_id(sequence));
        if (entry == nullptr || entry->open == nullptr) continue;
        const OpenRecord& record = *entry->open;
        entry->holders.insert(to);
        if (!record.have_data_.contains(to)) send_begin(record, to);
        if (record.redone_) send_redo(record, to);
        if (!record.dirty_ && !record.redone_) continue;
        copying.sent.emplace(sequence, entry->length);
        copying.bytes += entry->length;
    }
    if (copying.waiting.empty() && copying.sent.empty()) copying_.erase(at);
}

bool Replicator::waits_for_copy(AmfId to, std::uint64_t sequence) const {
    const auto at = copying_.find(to);
    return at != copying_.end() && std::ranges::binary_search(at->second.waiting, sequence);
}

void Replicator::adopt_recovery() {
    for (Forgetting& f : forgetting_) {
        f.waiting = others();
        for (AmfId id : f.waiting) transport_.send(id, encode(group_, f.end));
    }
    for (Gathering& g : gathering_) {
        g.waiting = others();
        for (AmfId id : g.waiting) transport_.send(id, encode(group_, g.fetch));
    }
}

// ---- our own records

std::uint32_t Replicator::open_entry(OpenRecord& record) {
    const RecordInfo& info = record.info_;
    std::uint32_t slot;
    if (free_.empty()) {
        slot = static_cast<std::uint32_t>(entries_.size());
        ASSERT(slot < (1u << kSlotBits));
        entries_.emplace_back();
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    Entry& entry = entries_[slot];
    entry.sequence = (next_number_++ << kSlotBits) | slot;
    entry.stripe = info.stripe;
    entry.offset = info.offset;
    entry.length = info.length;
    entry.open = &record;
    entry.holders.clear();
    entry.ended = entry.done = false;
    entry.next = std::exchange(bucket(info.stripe), slot);
    return slot;
}

void Replicator::retire(std::uint32_t slot) {
    Entry& entry = entries_[slot];
    std::uint32_t* link = &bucket(entry.stripe);
    while (*link != slot) link = &entries_[*link].next;
    *link = entry.next;
    entry.sequence = 0;
    entry.open = nullptr;
    free_.push_back(slot);
    ended_.notify_all();
    wake_stripe(entry.stripe);
}

void Replicator::wake_stripe(StripeIndex stripe) {
    for (std::uint32_t i = bucket(stripe); i != kNone; i = entries_[i].next) {
        if (entries_[i].stripe == stripe && entries_[i].open != nullptr)
            entries_[i].open->moved_.notify_all();
    }
}

Replicator::Entry* Replicator::find(const RecordId& id) {
    const std::size_t slot = id.sequence & ((1u << kSlotBits) - 1);
    if (id != own_id(id.sequence) || slot >= entries_.size()) return nullptr;
    Entry& entry = entries_[slot];
    return entry.sequence == id.sequence ? &entry : nullptr;
}

// Whoever has all of this record has it over a link that told the ends before it.
bool Replicator::older_copies_elsewhere(const OpenRecord& record) const {
    const StripeIndex stripe = record.info_.stripe;
    for (std::uint32_t i = buckets_[stripe.v % kBuckets]; i != kNone; i = entries_[i].next) {
        const Entry& entry = entries_[i];
        if (i == record.slot_ || entry.stripe != stripe || !entry.ended) continue;
        for (AmfId holder : entry.holders) {
            if (!record.acked_.contains(holder)) return true;
        }
    }
    return false;
}

Replicator::Missing Replicator::missing() const {
    Missing out{.bytes_at_first = copying_at_first_};
    for (const Entry& entry : entries_) {
        if (entry.open == nullptr || !entry.open->late_ || entry.open->stored()) continue;
        ++out.records;
        out.bytes += entry.length;
    }
    return out;
}

bool Replicator::copied(std::uint64_t begun) const {
    return std::ranges::none_of(entries_, [begun](const Entry& entry) {
        return entry.open != nullptr && entry.open->dirty_ && !entry.open->stored() &&
               entry.sequence >> kSlotBits <= begun;
    });
}

bool Replicator::quiet(StripeIndex first, std::uint64_t count, StripeBytes bytes) const {
    if (count <= 16) {  // the usual lock units: look where these stripes are
        for (std::uint64_t s = first.v; s < first.v + count; ++s) {
            for (std::uint32_t i = buckets_[s % kBuckets]; i != kNone; i = entries_[i].next) {
                const Entry& e = entries_[i];
                if (e.stripe.v == s && bytes.meets(e.offset, e.length)) return false;
            }
        }
        return true;
    }
    return std::ranges::none_of(entries_, [&](const Entry& e) {
        return e.sequence != 0 && e.stripe >= first && e.stripe.v - first.v < count &&
               bytes.meets(e.offset, e.length);
    });
}

Task<void> Replicator::quiesced(StripeIndex first, std::uint64_t count, StripeBytes bytes) {
    while (!quiet(first, count, bytes)) co_await ended_.next();
}

void Replicator::send_begin(const OpenRecord& record, AmfId to) {
    hand_on(record.info_, to);
    const auto bytes = record.data_.bytes;
    for (std::uint32_t at = 0; at < record.info_.length; at += kMaxRecordFrame) {
        const std::uint32_t size = std::min(kMaxRecordFrame, record.info_.length - at);
        const BeginFrame frame{record.info_, at, Slice(record.data_.owner, bytes.subspan(at, size)),
                               record.dirty_};
        Message message = encode(group_, frame);
        // What is sent with the last frame is sent.
        if (record.receipt_ && at + size == record.info_.length)
            message.receipt = encode(group_, AckFrame{record.info_.id, AckedPart::sent}).head;
        transport_.send(to, std::move(message));
    }
}

void Replicator::send_redo(const OpenRecord& record, AmfId to) {
    transport_.send(to, encode(group_, RedoFrame{record.info_.id, record.redo_}));
}

void Replicator::send_end(const Entry& entry, AmfId to) {
    transport_.send(to, encode(group_, EndFrame{own_id(entry.sequence), entry.stripe, 0, entry.done}));
}

OpenRecord::~OpenRecord() {
    if (slot_ == Replicator::kNone) return;
    replicator_.entries_[slot_].open = nullptr;
}

void OpenRecord::begin(StripeIndex stripe, std::uint64_t base, std::uint32_t zone, std::uint32_t offset,
                       Slice data, const Errand& errand, bool dirty, bool receipt) {
    ASSERT(slot_ == Replicator::kNone && !data.owner.empty());
    dirty_ = dirty;
    receipt_ = receipt;
    info_.stripe = stripe;
    info_.base = base;
    info_.zone = zone;
    info_.offset = offset;
    info_.length = static_cast<std::uint32_t>(data.bytes.size());
    info_.errand = errand;
    data_ = std::move(data);
    slot_ = replicator_.open_entry(*this);
    info_.id = replicator_.own_id(replicator_.entries_[slot_].sequence);
    info_.root = info_.id;
    open();
}

void OpenRecord::begin_recovery(const StoredRecord& orphan, std::uint8_t attempts) {
    ASSERT(slot_ == Replicator::kNone && orphan.has_data());
    info_ = orphan.info;
    info_.attempts = attempts;
    data_ = orphan.data;
    slot_ = replicator_.open_entry(*this);
    info_.id = replicator_.own_id(replicator_.entries_[slot_].sequence);
    open();
}

void OpenRecord::open() {
    ++replicator_.counters_.records;
    if (replicator_.fenced_) return;
    Replicator::Entry& entry = replicator_.entries_[slot_];
    for (AmfId partner : replicator_.partners_) {
        const auto copying = replicator_.copying_.find(partner);
        if (replicator_.in_order_ && copying != replicator_.copying_.end() &&
            !copying->second.waiting.empty()) {
            copying->second.waiting.push_back(entry.sequence);
            continue;
        }
        entry.holders.insert(partner);
        replicator_.send_begin(*this, partner);
    }
}

void OpenRecord::redo(Redo redo) {
    ASSERT(slot_ != Replicator::kNone && !redone_);
    redo_ = std::move(redo);
    redone_ = true;
    if (replicator_.fenced_) return;
    const std::uint64_t sequence = replicator_.entries_[slot_].sequence;
    for (AmfId partner : replicator_.partners_) {
        if (!replicator_.waits_for_copy(partner, sequence)) replicator_.send_redo(*this, partner);
    }
}

bool OpenRecord::stored() const {
    ASSERT(dirty_);
    return replicator_.fenced_ || std::ranges::all_of(replicator_.partners_, [this](AmfId partner) {
               return have_data_.contains(partner);
           });
}

bool OpenRecord::sent() const {
    return stored() || std::ranges::all_of(replicator_.partners_, [this](AmfId partner) {
               return sent_to_.contains(partner) || have_data_.contains(partner);
           });
}

bool OpenRecord::waiting() const {
    ASSERT(redone_);
    if (replicator_.fenced_) return false;
    for (AmfId partner : replicator_.partners_) {
        if (!acked_.contains(partner)) return true;
    }
    return replicator_.older_copies_elsewhere(*this);
}

void OpenRecord::end(Effect effect) {
    ASSERT(slot_ != Replicator::kNone);
    const std::uint32_t slot = std::exchange(slot_, Replicator::kNone);
    Replicator::Entry& entry = replicator_.entries_[slot];
    entry.open = nullptr;
    entry.ended = true;
    entry.done = effect == Effect::done;
    if (entry.done) replicator_.note_done(info_);
    ++replicator_.counters_.ended;
    if (entry.holders.empty()) {
        replicator_.retire(slot);
        return;
    }
    if (replicator_.fenced_) return;
    for (AmfId holder : entry.holders) replicator_.send_end(entry, holder);
}

}  // namespace braid
