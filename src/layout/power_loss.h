// What a group does for the moment in which all power goes: what an operator chooses when it is made.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace braid {

enum class PowerLoss : std::uint8_t {
    /// Half-written stripes are known by region, and their parity is made right when power is back: this
    /// needs
    /// every member. What was flushed is there.
    resync,
    /// What is about to be written to a stripe is in a journal first: every write that was answered is there,
    /// with as many members missing as the level survives.
    journal,
};

constexpr std::string_view to_string(PowerLoss choice) {
    return choice == PowerLoss::journal ? "journal" : "resync";
}
constexpr Result<PowerLoss> parse_power_loss(std::string_view text) {
    if (text == "journal") return PowerLoss::journal;
    if (text == "resync") return PowerLoss::resync;
    return fail(Errc::invalid);
}

}  // namespace braid
