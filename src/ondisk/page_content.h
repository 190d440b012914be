// The content of a table page, behind its header, and what stands in more than one of them.
#pragma once

#include "ondisk/fields.h"
#include "ondisk/table_pages.h"

namespace braid {

constexpr std::size_t kNameField = kMaxNameLength + 1;
constexpr std::size_t kControllerNameField = kMaxControllerNameLength + 1;

inline FieldWriter content_writer(PageBytes page) { return FieldWriter(page.subspan(kPageHeaderSize)); }
inline Reader content_reader(ConstPageBytes page) { return Reader(page.subspan(kPageHeaderSize)); }
/// From a page offset to what a content writer counts.
constexpr std::size_t in_content(std::size_t page_offset) { return page_offset - kPageHeaderSize; }

inline void put_shape(FieldWriter& out, StripeShape shape) {
    out.put(static_cast<std::uint8_t>(shape.level));
    out.put(shape.k);
    out.put(shape.m);
}

inline StripeShape get_shape(Reader& in) {
    const auto level = static_cast<Level>(in.get<std::uint8_t>());
    const auto k = in.get<std::uint8_t>();
    return {level, k, in.get<std::uint8_t>()};
}

}  // namespace braid
