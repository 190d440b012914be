// The records that this AMF keeps for others, as their partner. A record stays until its end is told; when
// its writer's incarnation leaves the view it is an orphan, and the stripe it belongs to must be finished
// before anybody uses it. Never touches a disk, never decides: recovery is the AMF's.
#pragma once

#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "icl/view.h"
#include "replica/record.h"

namespace braid {

struct StoredRecord {
    RecordInfo info;
    std::optional<Redo> redo;

    /// All new data is here.
    bool has_data() const { return missing_frames == 0; }
    /// Data and parity: the stripe can be finished from this record alone.
    bool complete() const { return has_data() && redo.has_value(); }

    Slice data;                         ///< info.length bytes, whole once has_data()
    std::uint32_t frames_received = 0;  ///< bit by frame
    std::uint32_t missing_frames = 0;
};

class RecordStore {
public:
    struct Hash {
        std::size_t operator()(const RecordId& id) const {
            return std::hash<std::uint64_t>{}(id.sequence * kMaxGroupAmfs + id.origin.v);
        }
    };
    using Records = std::unordered_map<RecordId, StoredRecord, Hash>;
    /// Beyond these a warning is logged, once until it is below again. Writers are bounded, so it is never
    /// refused.
    static constexpr std::size_t kExpectedRecords = 16384;
    static constexpr std::size_t kExpectedBytes = 1u << 30;

    /// corrupt if a frame contradicts an earlier one of the record. The record, as it is now.
    Result<const StoredRecord*> begin(BeginFrame frame);
    /// Null if nothing of its begin has come.
    Result<const StoredRecord*> redo(RedoFrame frame);
    void drop(const RecordId& id);
    /// An orphan that was dropped in this view: copies that are still on their way are not kept.
    bool forgotten(const RecordId& id) const { return forgotten_.contains(id); }

    void adopt(const AmfView& view);
    bool orphan(const RecordId& id) const { return !view_.contains(AmfMember{id.origin, id.incarnation}); }
    /// Orphans with a stripe in [first, first + count), by stripe, root and id. Valid until the next change.
    std::vector<const StoredRecord*> orphans(StripeIndex first, std::uint64_t count) const;
    /// The stripes that have orphans, ascending.
    std::set<StripeIndex> orphan_stripes() const;

    /// Of one writer, in the order in which they began.
    std::vector<const StoredRecord*> of(const AmfMember& writer) const;
    const StoredRecord* find(const RecordId& id) const;
    /// In no order.
    const Records& all() const { return records_; }
    std::size_t bytes() const { return bytes_; }

private:
    void count(std::size_t added_bytes);
    AmfView view_;
    Records records_;
    std::set<RecordId> forgotten_;
    std::size_t bytes_ = 0;
    bool warned_ = false;
};

}  // namespace braid
