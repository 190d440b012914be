// Integers with a meaning: two of different meaning do not mix, and none converts by itself.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace braid {

template <class Tag, class Rep>
struct Strong {
    using rep = Rep;
    Rep v{};

    constexpr Strong() = default;
    constexpr explicit Strong(Rep value) : v(value) {}
    friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
    constexpr Strong next() const { return Strong(static_cast<Rep>(v + 1)); }
};

}  // namespace braid

template <class Tag, class Rep>
struct std::hash<braid::Strong<Tag, Rep>> {
    std::size_t operator()(const braid::Strong<Tag, Rep>& s) const { return std::hash<Rep>{}(s.v); }
};
