#include "layout/geometry.h"

#include <bit>

namespace braid {
namespace {

struct LevelFacts {
    Level level;
    std::string_view name;
    unsigned parity;  // 0 for a mirror, where the width decides
};
constexpr std::array<LevelFacts, 4> kLevels = {{
    {Level::mirror, "mirror", 0},
    {Level::raid5, "raid5", 1},
    {Level::raid6, "raid6", 2},
    {Level::raid7_3, "raid7.3", 3},
}};

const LevelFacts* facts_of(Level level) {
    const auto found = std::ranges::find(kLevels, level, &LevelFacts::level);
    return found == kLevels.end() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(Level level) {
    const LevelFacts* facts = facts_of(level);
    return facts == nullptr ? "unknown" : facts->name;
}

Result<Level> parse_level(std::string_view text) {
    const auto found = std::ranges::find(kLevels, text, &LevelFacts::name);
    if (found == kLevels.end()) return fail(Errc::invalid);
    return found->level;
}

Result<Geometry> Geometry::make(Level level, std::size_t members, std::uint32_t strip_size, unsigned width) {
    const LevelFacts* facts = facts_of(level);
    if (facts == nullptr || members > kMaxMembers) return fail(Errc::invalid);
    if (width == 0) width = level == Level::mirror ? 2 : static_cast<unsigned>(std::min(members, kMaxWidth));
    if (width > members || width < 2) return fail(Errc::invalid);
    const unsigned parity = level == Level::mirror ? width - 1 : facts->parity;
    if (width <= parity) return fail(Errc::invalid);
    Geometry geometry;
    geometry.level = level;
    geometry.k = static_cast<std::uint8_t>(width - parity);
    geometry.m = static_cast<std::uint8_t>(parity);
    geometry.strip_size = strip_size;
    TRY(geometry.check());
    return geometry;
}

StripeShape StripeShape::at_level(Level other) const {
    if (other == level) return *this;
    const LevelFacts* facts = facts_of(other);
    return {other, k, static_cast<std::uint8_t>(facts == nullptr ? 0 : facts->parity)};
}

Status StripeShape::check() const {
    const LevelFacts* facts = facts_of(level);
    if (facts == nullptr || width() > kMaxWidth) return fail(Errc::invalid);
    const bool parities_fit =
        level == Level::mirror ? k == 1 && m >= 1 && m <= kMaxParity : k >= 2 && m == facts->parity;
    if (!parities_fit) return fail(Errc::invalid);
    return {};
}

Status Geometry::check() const {
    TRY(shape().check());
    const bool strip_fits =
        std::has_single_bit(strip_size) && strip_size >= kMinStripSize && strip_size <= kMaxStripSize;
    if (!strip_fits) return fail(Errc::invalid);
    return {};
}

}  // namespace braid
