// The only way any code reaches a disk. Offsets and lengths are multiples of 4 KiB, memory is 4 KiB aligned.
// Several controllers open the same disk at once; a disk gives no order between operations in flight and no
// atomicity above 512 bytes. A write that was acknowledged may still be lost at a power failure until a later
// flush was acknowledged, unless it was durable itself.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "base/latencies.h"
#include "base/result.h"
#include "base/types.h"

namespace braid {

class Disk;

enum class DiskVerb : std::uint8_t { read, write, zero, flush };

/// What for, as people are told.
enum class DiskPurpose : std::uint8_t {
    host,      ///< reads, writes, destages
    rebuild,   ///< also of what leaves a member, or evens members out
    scrub,     ///< also a resync
    expand,    ///< another shape
    recovery,  ///< of what the dead have left, from records or journals
    log,       ///< journals
    tables,    ///< and superblocks
};
constexpr std::size_t kDiskPurposes = 7;
std::string_view to_string(DiskPurpose purpose);

/// One command. Lives in the frame of the coroutine that waits for it; `join` is told once, when `status` is
/// set. Destroying it in flight abandons the command: the simulated disk then decides whether a write still
/// lands; the real disk forbids it, because the kernel still owns the memory.
struct DiskOp {
    DiskOp() = default;
    DiskOp(DiskVerb v, std::uint64_t at, std::span<std::byte> bytes, std::uint64_t zeroes = 0)
        : verb(v), offset(at), memory(bytes), zero_length(zeroes) {}
    DiskOp(const DiskOp&) = delete;
    DiskOp& operator=(const DiskOp&) = delete;
    ~DiskOp();

    static DiskOp read(std::uint64_t at, std::span<std::byte> into) {
        return DiskOp(DiskVerb::read, at, into);
    }
    static DiskOp write(std::uint64_t at, std::span<const std::byte> from) {
        return DiskOp(DiskVerb::write, at, {const_cast<std::byte*>(from.data()), from.size()});
    }
    static DiskOp flush() { return DiskOp(DiskVerb::flush, 0, {}); }
    /// Zeroes a range without sending the zeros where the device can.
    static DiskOp zero(std::uint64_t at, std::uint64_t length) {
        return DiskOp(DiskVerb::zero, at, {}, length);
    }

    DiskVerb verb = DiskVerb::read;
    DiskPurpose purpose = DiskPurpose::tables;
    bool durable = false;  ///< a write: on stable storage when it ends; says nothing about others
    std::uint64_t offset = 0;
    std::span<std::byte> memory;
    std::uint64_t zero_length = 0;
    Status status;
    Join* join = nullptr;
    Disk* in_flight = nullptr;     ///< the disk that holds it
    void* device_state = nullptr;  ///< the disk's own
    std::size_t progress = 0;      ///< the disk's own
    Nanos started{};               ///< when the first disk got it
};

struct DiskCounters {
    std::uint64_t reads = 0, writes = 0, flushes = 0, zeroes = 0, errors = 0;
    std::array<std::uint64_t, kDiskPurposes> read_by{}, written_by{};  ///< bytes, by purpose
    std::uint64_t read_bytes() const { return std::reduce(read_by.begin(), read_by.end()); }
    std::uint64_t written_bytes() const { return std::reduce(written_by.begin(), written_by.end()); }
    /// Of a command that did what it should.
    void count_bytes(const DiskOp& op) {
        auto& by = op.verb == DiskVerb::read ? read_by : written_by;
        by.at(static_cast<std::size_t>(op.purpose)) += op.memory.size();
    }
    DiskCounters& operator+=(const DiskCounters& more) {
        reads += more.reads;
        writes += more.writes;
        flushes += more.flushes;
        zeroes += more.zeroes;
        for (std::size_t i = 0; i < kDiskPurposes; ++i) {
            read_by[i] += more.read_by[i];
            written_by[i] += more.written_by[i];
        }
        errors += more.errors;
        return *this;
    }
};

/// Of commands that have ended, however.
struct DiskLatencies {
    Latencies reads, writes;
};

class Disk {
public:
    virtual ~Disk() = default;
    /// Bytes, a multiple of 4 KiB.
    virtual std::uint64_t size() const = 0;
    /// What an operator calls it: a path.
    virtual const std::string& name() const = 0;
    /// Starts `op` and adds it to `join`, which is told later, never before this returns.
    virtual void submit(DiskOp& op, Join& join) = 0;
    virtual void abandon(DiskOp& op) = 0;
    virtual const DiskCounters& counters() const { return counters_; }
    /// Whoever looks at them clears them.
    virtual DiskLatencies& latencies() { return latencies_; }
    /// When the oldest of the commands that have not ended began.
    virtual std::optional<Nanos> oldest() const { return std::nullopt; }

protected:
    template <class Ops>
    static std::optional<Nanos> oldest_of(const Ops& ops) {
        std::optional<Nanos> out;
        for (const DiskOp* op : ops) {
            if (op != nullptr) out = std::min(out.value_or(op->started), op->started);
        }
        return out;
    }
    static void starts(DiskOp& op, Nanos now) {
        if (op.started == Nanos{0}) op.started = now;
    }
    void ends(const DiskOp& op, Nanos now) {
        if (op.verb == DiskVerb::read) latencies_.reads.add(now - op.started);
        if (op.verb == DiskVerb::write) latencies_.writes.add(now - op.started);
    }
    DiskCounters counters_;

private:
    DiskLatencies latencies_;
};

inline DiskOp::~DiskOp() {
    if (in_flight != nullptr) in_flight->abandon(*this);
}

/// One command and its end, for code that is not on the data path.
Task<Status> run(Executor& executor, Disk& disk, DiskVerb verb, std::uint64_t at,
                 std::span<std::byte> memory);
inline Task<Status> read(Executor& e, Disk& d, std::uint64_t at, std::span<std::byte> into) {
    return run(e, d, DiskVerb::read, at, into);
}
inline Task<Status> write(Executor& e, Disk& d, std::uint64_t at, std::span<const std::byte> from) {
    return run(e, d, DiskVerb::write, at, {const_cast<std::byte*>(from.data()), from.size()});
}
Task<Status> write_durably(Executor& executor, Disk& disk, std::uint64_t at, std::span<const std::byte> from);

/// What was found on a disk before we own it.
struct DiskContent {
    bool empty = true;
    std::string what;  ///< "ext4 file system", "gpt partition table": for the message that refuses it
};

/// The disks that this machine reaches.
class DiskShelf {
public:
    virtual ~DiskShelf() = default;
    /// Names of all disks that the configuration's patterns match now, sorted.
    virtual std::vector<std::string> scan() = 0;
    /// Opens a disk by name. refused, not_found, io_error.
    virtual Result<std::unique_ptr<Disk>> open(std::string_view name) = 0;
    /// Foreign signatures (file systems, partition tables, other arrays). Ours are not foreign.
    virtual Result<DiskContent> probe(std::string_view name) = 0;
};

}  // namespace braid
