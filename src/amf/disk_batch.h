// Several disk commands that go together and are waited for together, in the frame of the coroutine that
// waits. Declare it after the memory that its commands use: it must go first. By which places they are sent
// is noted with the tables until they are over (tables/zone_uses.h).
#pragma once

#include <array>
#include <new>

#include "io/disk.h"
#include "parity/code.h"
#include "tables/tables.h"

namespace braid {

/// For commands that are about no zone.
constexpr ExtentIndex kNoExtent(~0u);

template <std::size_t most>
class DiskBatchOf {
public:
    /// Of a stripe of this extent: two commands for one role at most, where its segment moves.
    DiskBatchOf(Executor& executor, Tables& tables, ExtentIndex extent, DiskPurpose purpose)
        : join_(executor), tables_(tables), use_(tables.zone_uses(), extent, join_), purpose_(purpose) {}
    DiskBatchOf(const DiskBatchOf&) = delete;
    DiskBatchOf& operator=(const DiskBatchOf&) = delete;
    ~DiskBatchOf() { clear(); }

    /// `at`: where the tables say now that it is.
    void read(unsigned role, const DiskPlace& at, std::uint32_t from, std::span<std::byte> into) {
        submit(role, at.member, DiskVerb::read, at.offset + from, into);
    }
    void write(unsigned role, std::span<const DiskPlace> places, std::uint32_t from,
               std::span<const std::byte> bytes) {
        for (const DiskPlace& at : places) {
            submit(role, at.member, DiskVerb::write, at.offset + from,
                   {const_cast<std::byte*>(bytes.data()), bytes.size()});
        }
    }
    void flush(MemberIndex member) { submit(0, member, DiskVerb::flush, 0, {}); }

    /// `co_await batch.done();` waits for all.
    Join& done() { return join_; }
    std::size_t size() const { return count_; }
    unsigned role(std::size_t i) const { return sent_[i].role; }
    MemberIndex member(std::size_t i) const { return sent_[i].member; }
    const Status& status(std::size_t i) const { return op(i).status; }
    bool all_ok() const { return failed().none(); }
    /// Members that have not done what they were asked.
    MemberMask failed() const {
        MemberMask out;
        for (std::size_t i = 0; i < count_; ++i) {
            if (!op(i).status) out.set(sent_[i].member.v);
        }
        return out;
    }
    /// Forgets commands that are done, for the next round.
    void clear() {
        while (count_ > 0) op(--count_).~DiskOp();
    }

private:
    struct Sent {
        std::uint8_t role;
        MemberIndex member;
    };
    static constexpr std::size_t kMost = most + 1;

    void submit(unsigned role, MemberIndex member, DiskVerb verb, std::uint64_t at,
                std::span<std::byte> memory) {
        ASSERT(count_ < kMost);
        sent_[count_] = {static_cast<std::uint8_t>(role), member};
        DiskOp* op = new (&storage_[count_ * sizeof(DiskOp)]) DiskOp(verb, at, memory);
        op->purpose = purpose_;
        ++count_;
        if (join_.pending() == 0) use_.begin();
        tables_.disk(member)->submit(*op, join_);
    }
    DiskOp& op(std::size_t i) {
        return *std::launder(reinterpret_cast<DiskOp*>(&storage_[i * sizeof(DiskOp)]));
    }
    const DiskOp& op(std::size_t i) const {
        return *std::launder(reinterpret_cast<const DiskOp*>(&storage_[i * sizeof(DiskOp)]));
    }

    Join join_;
    Tables& tables_;
    ZoneUses::Use use_;
    const DiskPurpose purpose_;
    std::size_t count_ = 0;
    std::array<Sent, kMost> sent_;
    alignas(DiskOp) std::array<std::byte, kMost * sizeof(DiskOp)> storage_;
};

using DiskBatch = DiskBatchOf<kMaxWidth>;

}  // namespace braid
