// Sizes as people write and read them: IEC units, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace braid::cli {

/// "4096", "64K", "64KiB", "1G", "1.5GiB", "2T".
std::optional<std::uint64_t> parse_size(std::string_view text);
/// "7d", "12h", "30m", "90s", "90" in seconds; "off" and "0" are 0.
std::optional<std::uint64_t> parse_duration(std::string_view text);
/// "3.9 GiB", "512 B".
std::string size_text(std::uint64_t bytes);
/// "47 s", "3m20s", "1h09m".
std::string duration_text(std::uint64_t seconds);
/// "[===>....]", `width` cells between the brackets.
std::string bar_text(double fraction, unsigned width);

}  // namespace braid::cli
