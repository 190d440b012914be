#include "replica/record_store.h"

#include <algorithm>
#include <tuple>

#include "base/log.h"

namespace braid {

Result<const StoredRecord*> RecordStore::begin(BeginFrame frame) {
    const auto [at, fresh] = records_.try_emplace(frame.info.id);
    StoredRecord& record = at->second;
    const std::uint32_t frames = (frame.info.length + kMaxRecordFrame - 1) / kMaxRecordFrame;
    if (fresh) {
        record.info = frame.info;
        record.missing_frames = frames;
        count(frame.info.length);
    } else if (record.info != frame.info) {
        return fail(Errc::corrupt);
    }
    const std::uint32_t bit = 1u << (frame.at / kMaxRecordFrame);
    if ((record.frames_received & bit) != 0) return &record;
    if (frames == 1) {
        record.data = std::move(frame.data);
    } else {
        if (record.data.owner.empty()) record.data = Slice(Buffer(frame.info.length));
        std::ranges::copy(frame.data.bytes, record.data.owner.span().begin() + frame.at);
    }
    record.frames_received |= bit;
    --record.missing_frames;
    return &record;
}

Result<const StoredRecord*> RecordStore::redo(RedoFrame frame) {
    const auto at = records_.find(frame.id);
    if (at == records_.end()) return nullptr;
    StoredRecord& record = at->second;
    if (!record.redo) {
        count(frame.redo.bytes.bytes.size());
        record.redo = std::move(frame.redo);
    }
    return &record;
}

void RecordStore::count(std::size_t added_bytes) {
    bytes_ += added_bytes;
    const bool above = records_.size() > kExpectedRecords || bytes_ > kExpectedBytes;
    if (above && !warned_) LOG_WARN("records.many", {"records", records_.size()}, {"bytes", bytes_});
    warned_ = above;
}

void RecordStore::drop(const RecordId& id) {
    if (orphan(id)) forgotten_.insert(id);
    const auto at = records_.find(id);
    if (at == records_.end()) return;
    bytes_ -= at->second.info.length;
    if (at->second.redo) bytes_ -= at->second.redo->bytes.bytes.size();
    records_.erase(at);
}

/// What was sent in an earlier view does not arrive in this one.
void RecordStore::adopt(const AmfView& view) {
    view_ = view;
    forgotten_.clear();
}

std::vector<const StoredRecord*> RecordStore::orphans(StripeIndex first, std::uint64_t count) const {
    std::vector<const StoredRecord*> out;
    for (const auto& [id, record] : records_) {
        const std::uint64_t stripe = record.info.stripe.v;
        if (stripe >= first.v && stripe - first.v < count && orphan(id)) out.push_back(&record);
    }
    std::ranges::sort(
        out, {}, [](const StoredRecord* r) { return std::tuple(r->info.stripe, r->info.root, r->info.id); });
    return out;
}

std::vector<const StoredRecord*> RecordStore::of(const AmfMember& writer) const {
    std::vector<const StoredRecord*> out;
    for (const auto& [id, record] : records_) {
        if (AmfMember{id.origin, id.incarnation} == writer) out.push_back(&record);
    }
    std::ranges::sort(out, {}, [](const StoredRecord* r) { return r->info.id; });
    return out;
}

const StoredRecord* RecordStore::find(const RecordId& id) const {
    const auto at = records_.find(id);
    return at == records_.end() ? nullptr : &at->second;
}

std::set<StripeIndex> RecordStore::orphan_stripes() const {
    std::set<StripeIndex> out;
    for (const auto& [id, record] : records_) {
        if (orphan(id)) out.insert(record.info.stripe);
    }
    return out;
}

}  // namespace braid
