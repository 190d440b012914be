// Replay in the making (replay.h): what has been read of the rings, and what is done with it. For replay.cc
// (rings, order, writes) and replay_data.cc (data alone that gets its parity) only.
#pragma once

#include <bitset>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "journal/replay.h"
#include "layout/stripe_write.h"
#include "ondisk/checksum_record.h"
#include "ondisk/journal_batch.h"
#include "parity/code.h"

namespace braid::replay {

/// A batch of a ring, as its first whole copy has it.
struct FoundBatch {
    JournalBatch batch;
    Buffer bytes;
    std::uint64_t at = 0;  ///< in the ring
    MemberMask whole;      ///< members that have it
};
using Ring = std::map<std::uint64_t, FoundBatch>;  ///< by number

/// All that is needed of one ring.
struct FoundRing {
    AmfSlot slot;
    Ring batches;
};

/// One entry, in the bytes of its batch.
struct Work {
    const JournalEntry* entry = nullptr;
    std::span<const std::byte> payload;
    const Zone* zone = nullptr;  ///< that the extent has; null if that is another one
    ChecksumRecord sums;         ///< as the members have them
    AmfSlot slot;                ///< of its ring
};

/// What is left of an entry of data alone: runs that nothing later covers, by their offset in the stripe.
struct DataLeft {
    AmfSlot slot;  ///< whose ring has it
    Epoch epoch;
    const JournalEntry* entry = nullptr;
    std::map<std::uint32_t, std::span<const std::byte>> runs;

    std::uint32_t from() const { return runs.begin()->first; }
    std::uint32_t to() const {
        return runs.rbegin()->first + static_cast<std::uint32_t>(runs.rbegin()->second.size());
    }
};
using StripesLeft = std::map<StripeIndex, std::vector<DataLeft>>;

/// One stripe that gets some: rows [rows.from, rows.to) of all its strips.
struct Filling {
    StripeIndex stripe;
    Geometry geometry;
    std::vector<DataLeft>* left = nullptr;
    StripRange rows;
    Buffer memory;
    RoleMask unread;
    std::byte* strip(unsigned role) const { return memory.data() + std::size_t{role} * rows.length(); }
};

/// Where entries go in a ring that is in use, and those that wait for that.
struct RingEnd {
    std::uint64_t at = 0, free = 0;  ///< where it is free, and for how long in one piece
    std::uint64_t then = 0;          ///< free at its start, too
    std::vector<JournalEntry> entries;
    std::vector<Buffer> payloads;
    std::uint64_t bytes = 0, number = 0;
};

/// Disk commands that go together, each with its member.
struct Commands {
    explicit Commands(Executor& executor) : join(executor) {}
    void add(Tables& tables, MemberIndex member, DiskVerb verb, std::uint64_t at,
             std::span<const std::byte> bytes) {
        const std::span<std::byte> memory{const_cast<std::byte*>(bytes.data()), bytes.size()};
        DiskOp& op = ops.emplace_back(verb, at, memory);
        op.purpose = DiskPurpose::recovery;
        members.push_back(member);
        tables.disk(member)->submit(op, join);
    }
    Join join;
    std::deque<DiskOp> ops;
    std::vector<MemberIndex> members;
    std::deque<Buffer> computed;
};

class Replay {
public:
    Replay(Executor& executor, Tables& tables)
        : executor_(executor), tables_(tables), epoch_(tables.view().epoch) {}

    Task<Result<Replayed>> run(ReplayProgress& progress) {
        for (std::uint8_t i = 0; i < tables_.config().amf_slots(); ++i) {
            if (tables_.journal(AmfSlot(i)).open()) CO_TRY(co_await find(AmfSlot(i)));
        }
        CO_TRY(co_await make_whole());
        CO_TRY(co_await flush());
        CO_TRY(co_await write_again(progress));
        CO_TRY(co_await flush());
        Replayed out;
        CO_TRY_LET(out.in_next_life, co_await put_data_left());
        out.failed = failed_;
        out.regions = std::move(regions_);
        out.lost = std::move(lost_);
        co_return out;
    }

    Task<Result<std::set<StripeIndex>>> stripes(AmfSlot slot);

private:
    bool ok(MemberIndex member) const { return tables_.member_ok(member) && !failed_[member.v]; }
    MemberMask ring_members(AmfSlot slot) const {
        MemberMask out = tables_.journal(slot).members;
        for (std::uint8_t i = 0; i < out.size(); ++i) out[i] = out[i] && ok(MemberIndex(i));
        return out;
    }
    Task<Status> find(AmfSlot slot);
    Task<bool> read_ring(MemberIndex member, std::uint64_t start, std::span<std::byte> into);
    void scan(Ring& ring, MemberIndex member, const JournalOwner& owner, const Buffer& bytes) const;
    Task<Status> make_whole();
    std::multimap<Epoch, Work> in_order() const;
    /// What a ring says to be over in the others. (In itself it is over when it is retired.)
    struct Over {
        AmfSlot said_by;
        const JournalEntry* entry = nullptr;
        bool meant(AmfSlot slot, Epoch epoch) const { return slot != said_by && epoch < entry->before; }
    };
    std::multimap<StripeIndex, Over> over() const;
    const Zone* zone_of(const JournalEntry& entry) const;
    Task<Status> write_again(ReplayProgress& progress);
    StripesLeft data_left() const;
    Task<Result<std::bitset<kMaxGroupAmfs>>> put_data_left();
    Task<Status> read_rows(std::vector<Filling>& fillings);
    bool regenerate(const Filling& filling, const ChecksumRecord& sums) const;
    Task<Status> put_filled(const Filling& filling, std::map<AmfSlot, RingEnd>& ends);
    RingEnd end_of(AmfSlot slot) const;
    /// Of what is put. Those of an earlier attempt, whose life nobody has opened, are smaller.
    std::uint64_t first_number() const { return (epoch_.v << 20) + 1; }
    Task<Status> put_batch(AmfSlot slot, RingEnd& end);
    bool fits(const JournalEntry& entry) const;
    Geometry geometry_of(const Work& work) const { return tables_.config().geometry_of(work.zone->shape); }
    Buffer parity_of(const Geometry& geometry, std::span<const std::byte> stripe) const;
    Task<Status> read_sums(std::vector<Work>& works);
    Places strip_at(const Work& work, unsigned role) const {
        return strip_places(geometry_of(work), *work.zone, tables_.geometry().row_of(work.entry->stripe),
                            Role(static_cast<std::uint8_t>(role)), tables_.config().data_start,
                            [this](MemberIndex member) { return ok(member); });
    }
    Places checksum_at(const Work& work, unsigned copy) const {
        return checksum_places(geometry_of(work), *work.zone, tables_.geometry().row_of(work.entry->stripe),
                               copy, tables_.config().data_start,
                               [this](MemberIndex member) { return ok(member); });
    }
    void add(Commands& commands, Work& work) const;
    Task<Status> flush();
    Status look_at(const Commands& commands);

    Executor& executor_;
    Tables& tables_;
    const Epoch epoch_;  ///< in which it began; others may join meanwhile
    MemberMask failed_;
    std::set<RegionIndex> regions_;  ///< where it has written
    std::set<StripeIndex> lost_;
    std::vector<FoundRing> rings_;
};

}  // namespace braid::replay
