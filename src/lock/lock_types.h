// What the lock protocol talks about: units, modes, and the frames of docs/protocols.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "base/result.h"
#include "icl/message.h"
#include "icl/view.h"

namespace braid {

/// A lock unit of a group: neighbouring stripes, or, from kFirstBlockUnit on, neighbouring blocks of the
/// logical space (unit_map.h).
using UnitIndex = Strong<struct UnitIndexTag, std::uint64_t>;
constexpr UnitIndex kFirstBlockUnit{1ull << 63};
/// The group's tables.
constexpr UnitIndex kTablesUnit{~0ull};
/// Neighbouring units that share an arbiter, so that a failure moves few neighbourhoods and neighbours cost
/// one look.
constexpr std::uint64_t kNeighbourhoodUnits = 64;

/// Many readers or one writer. A write lock covers reads. `none` says that nothing is held, kept or wanted.
enum class LockMode : std::uint8_t { none = 0, read = 1, write = 2 };

constexpr bool covers(LockMode held, LockMode wanted) { return held >= wanted; }
constexpr bool compatible(LockMode a, LockMode b) { return a == LockMode::read && b == LockMode::read; }

/// This AMF keeps records of a dead writer for stripes of the unit. More progress goes first.
struct LockClaim {
    UnitIndex unit;
    std::uint8_t progress = 0;
};

/// Who decides about the unit in this view: rendezvous hash of its neighbourhood. Needs a view with members.
AmfId arbiter_of(UnitIndex unit, const AmfView& view);

/// Bytes of the group's logical space.
struct LockRange {
    std::uint64_t offset = 0;
    std::uint32_t length = 0;      ///< 0: none
    std::uint32_t generation = 0;  ///< of their zone: another one holds other data
    friend bool operator==(const LockRange&, const LockRange&) = default;
};

/// A request, grant, revoke, released or returned; a claim or yield of the broadcast. `ticket` is the
/// requester's number of the request that is meant; it is never used twice by one client, so what crosses on
/// the way is told apart; returned has none.
struct LockFrame {
    MessageType type{};
    UnitIndex unit;
    std::uint64_t ticket = 0;
    LockMode mode = LockMode::none;    ///< request, grant, claim; released: what is kept
    LockMode wanted = LockMode::none;  ///< revoke: by others; grant: the same already, no revoke will come
    bool recover = false;              ///< grant: answers a claim of a report; claim: is one
    bool background = false;           ///< request: no host waits for it
    std::uint8_t ahead = 0;            ///< request: so many units behind this one are wanted too, if free;
                                       ///< their tickets follow this one's
    std::uint64_t granted_ahead = 0;   ///< grant: bit i: the unit i + 1 behind this one, in the same mode
    AmfId holder;                      ///< grant, yield: this one may have the data too; 0: nobody
    AmfId former;                      ///< grant: who had it before, for operators; 0: not known
    AmfId next;                        ///< revoke, grant with `wanted`: who waits to write and gets it next;
                 ///< released: has what was dirty, and gets it next. 0: not known, nobody
    bool changed = false;       ///< yield: the sender may have written since the claim was made
    std::uint8_t progress = 0;  ///< claim to recover
    std::uint64_t stamp = 0;    ///< claim, yield: the sender's clock
    /// Request, claim: what a reader wants to see. Grant: what `data` is. Yield, on its way out: what may be
    /// sent along; it does not travel.
    LockRange range;
    Slice data;  ///< grant, yield: all of the range or nothing; travels as the payload
    friend bool operator==(const LockFrame&, const LockFrame&) = default;
};

enum class ReportKind : std::uint8_t { held = 0, recovering = 1, claim = 2 };

/// One line of a report: what the sender holds or claims.
struct LockReportEntry {
    UnitIndex unit;
    std::uint64_t ticket = 0;
    ReportKind kind = ReportKind::held;
    LockMode mode = LockMode::read;  ///< of what is held; a claim is for writing
    std::uint8_t progress = 0;       ///< of a claim
    friend bool operator==(const LockReportEntry&, const LockReportEntry&) = default;
};

/// Lines for one arbiter. A report may come in several frames; `last` ends it.
struct LockReport {
    std::vector<LockReportEntry> entries;
    bool last = true;
    friend bool operator==(const LockReport&, const LockReport&) = default;
};

constexpr std::size_t kReportEntries = 2048;  ///< of one frame: below 64 KiB

Bytes encode(const LockFrame& frame);
Bytes encode(const LockReport& report);
/// corrupt: short, long, or values that mean nothing.
Result<LockFrame> decode_lock_frame(MessageType type, std::span<const std::byte> head);
Result<LockReport> decode_lock_report(std::span<const std::byte> head);

/// Who holds a unit and who waits for it, as far as an AMF knows: for operators.
struct LockStanding {
    struct Party {
        AmfId who;
        LockMode mode = LockMode::read;
        friend bool operator==(const Party&, const Party&) = default;
    };
    std::vector<Party> holders, waiting;  ///< ascending by AMF
    friend bool operator==(const LockStanding&, const LockStanding&) = default;
};

/// A frame and where it goes: what the machines put out.
struct LockSend {
    AmfId to;
    LockFrame frame;
    friend bool operator==(const LockSend&, const LockSend&) = default;
};

}  // namespace braid
