// Which members take much longer for their commands than the others (H32), as one AMF sees it. Pure: it is
// shown how long commands took, window after window.
//
//   fine -> limping: kSlow windows in a row whose p99 is above kTimes the median of the other members' p99,
//                    and above the floor; reads and writes each for themselves
//   limping -> fine: kWell windows in a row below half of that
//   and beside that: as long as a command hangs
//
// A window is a time in which there were enough commands of the kind, so it may be several long; a member
// that nobody uses stays what it was. Members are compared with windows of the others that are not too old.
// Those that nobody can be compared with, and groups in which most are slow, have nobody who limps.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/disk.h"
#include "layout/zone.h"

namespace braid {

struct LimpOptions {
    Nanos window = 5s;           ///< at least
    std::uint64_t enough = 100;  ///< commands: of so many the slowest does not count
    Nanos floor = 20ms;          ///< what is quicker than this is quick enough
    Nanos hangs = 5s;            ///< a command that has been under way for so long
    friend bool operator==(const LimpOptions&, const LimpOptions&) = default;
};

/// For people. Of the last windows; 0: there was none.
struct MemberLatency {
    Nanos reads{}, writes{};  ///< p99
    bool limps = false;
    bool in_reads = false;  ///< in these, or else in writes alone
    Nanos others{};         ///< limps: the median of theirs, of the kind
    Nanos waits{};          ///< limps: so long a command has been under way; 0: none hangs

    Nanos p99() const { return in_reads ? reads : writes; }
    /// As several AMFs of a controller see it.
    MemberLatency& operator|=(const MemberLatency& other);
};

class Limping {
public:
    static constexpr int kTimes = 8;
    static constexpr unsigned kSlow = 3, kWell = 6;
    static constexpr std::uint64_t kForgotten = 60;  ///< windows' times

    explicit Limping(LimpOptions options) : options_(options) {}

    /// The time of a window is over. `disks` by member, null where there is none that serves; what they say
    /// of commands is taken from them.
    void end_window(std::span<Disk* const> disks, Nanos now);
    const MemberMask& members() const { return limping_; }
    std::vector<MemberLatency> report() const;

private:
    enum Kind : std::uint8_t { kReads, kWrites };
    struct Seen {
        Nanos p99{}, others{};
        std::uint64_t at = 0;  ///< the end of its last window; 0: none yet
        unsigned in_a_row = 0;
        bool limps = false;
    };
    using Member = std::array<Seen, 2>;

    void judge(std::size_t member, Kind kind);
    std::optional<Nanos> others(std::size_t member, Kind kind) const;

    LimpOptions options_;
    std::uint64_t now_ = 0;
    std::vector<Member> seen_;
    std::vector<Nanos> waits_;
    MemberMask limping_;
};

}  // namespace braid
