#include "braid/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace braid::cli {

std::optional<std::uint64_t> parse_size(std::string_view text) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number < 0) return std::nullopt;
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    while (unit.starts_with(' ')) unit.remove_prefix(1);
    if (unit.ends_with("iB")) {
        unit.remove_suffix(2);
    } else if (unit == "B") {
        unit = {};
    }
    constexpr std::string_view kUnits = "KMGTP";
    double factor = 1;
    if (!unit.empty()) {
        const std::size_t at = kUnits.find(unit.front() == 'k' ? 'K' : unit.front());
        if (unit.size() != 1 || at == std::string_view::npos) return std::nullopt;
        factor = std::pow(1024.0, static_cast<double>(at + 1));
    }
    const double bytes = number * factor;
    if (bytes >= 9e18 || bytes != std::floor(bytes)) return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
}

std::optional<std::uint64_t> parse_duration(std::string_view text) {
    if (text == "off") return 0;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kUnits{
        {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 24 * 3600}}};
    const auto at = std::ranges::find(kUnits, unit, [](const auto& entry) { return entry.first; });
    if (error != std::errc{} || at == kUnits.end() || number > UINT32_MAX / at->second) return std::nullopt;
    return number * at->second;
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::size_t unit = 0;
    double value = static_cast<double>(bytes);
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    if (unit == 0) return fmt::format("{} B", bytes);
    return value >= 100 || value == std::floor(value) ? fmt::format("{:.0f} {}", value, kUnits[unit])
                                                      : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string duration_text(std::uint64_t seconds) {
    if (seconds < 100) return fmt::format("{} s", seconds);
    if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
    return fmt::format("{}h{:02}m", seconds / 3600, seconds / 60 % 60);
}

std::string bar_text(double fraction, unsigned width) {
    const auto full = static_cast<unsigned>(std::clamp(fraction, 0.0, 1.0) * width);
    std::string bar(full, '=');
    if (full < width) bar += '>' + std::string(width - full - 1, '.');
    return "[" + bar + "]";
}

}  // namespace braid::cli
