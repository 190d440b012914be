// Which units change hands most: for operators, never for decisions of the protocol. Fed by grants alone, so
// an operation whose lock is held costs nothing here.
//
// Space-Saving (Metwally 2005) over weights that halve every second: the table has kSlots places; a unit that
// has none takes that of the lightest and its weight, so a unit with more than one of kSlots of all recent
// grants is always there. What is told of a unit is counted exactly, since it has its place.
//
// Guarantees: bounded memory, no allocation but in hottest(). A unit that two AMFs or more trade often,
// second after second, says so until it ends.
#pragma once

#include <array>
#include <vector>

#include "lock/lock_types.h"

namespace braid {

/// What is known of a hot unit. Rates are of the last whole second of the clock.
struct HotUnit {
    UnitIndex unit;
    std::uint32_t transfers = 0;  ///< grants in that second
    std::uint32_t waits = 0;      ///< acquires here that had waited, in that second
    Nanos waited{};               ///< all these together
    std::uint32_t ping_pong = 0;  ///< so many seconds on end it was traded more than kPingPong times
    std::vector<AmfId> parties;   ///< who got it in that second or since, as far as this AMF knows; ascending
};

class HotUnits {
public:
    static constexpr std::size_t kSlots = 128;
    static constexpr std::size_t kParties = 4;
    static constexpr std::uint32_t kPingPong = 100;       ///< grants in a second
    static constexpr std::uint32_t kPingPongSeconds = 3;  ///< on end, before it is worth telling

    /// The unit was granted to `to`, and before to `former`, if the caller knows. Who it was granted to
    /// before, as far as that is known here; 0: not known.
    AmfId granted(UnitIndex unit, AmfId to, AmfId former, Nanos now);
    /// An operation here waited for the unit.
    void waited(UnitIndex unit, Nanos wait, Nanos now);
    /// At most `limit`, the most transfers first; those without any in the last second are left out.
    std::vector<HotUnit> hottest(std::size_t limit, Nanos now) const;

private:
    struct Second {
        std::uint32_t transfers = 0;
        std::uint32_t waits = 0;
        Nanos waited{};
    };
    struct Party {
        AmfId who;
        std::uint64_t seen = 0;  ///< in this second
    };
    struct Slot {
        std::uint64_t second = 0;  ///< of `current`; what follows is as of then
        std::uint64_t weight = 0;
        Second current, last;
        AmfId newest;              ///< who it was granted to
        std::uint32_t streak = 0;  ///< whole seconds up to `last` that were ping-pong
        std::array<Party, kParties> parties{};
    };

    static std::uint64_t second_of(Nanos now) { return static_cast<std::uint64_t>(now / 1s); }
    static void advance(Slot& slot, std::uint64_t second);
    static void meet(Slot& slot, AmfId who);
    static bool traded(const Slot& slot);
    Slot* find(UnitIndex unit);
    Slot& take_place(UnitIndex unit, std::uint64_t second);

    std::array<UnitIndex, kSlots> units_{};  ///< by itself: every grant looks through it
    std::array<Slot, kSlots> slots_{};
    std::size_t used_ = 0;
};

}  // namespace braid
