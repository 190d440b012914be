// The 4 KiB pages of a group's tables. Every member holds the same pages; page p has two slots on each,
// written in turn (sequence & 1 names the slot), so that a torn or rotten slot leaves the version before it.
// Which version of the group is valid is decided above, by majority of the members.
//
// Reading never trusts: open_page() checks magic, checksum, version, group, page number and slot before
// anybody looks at the content. Writing: encode the content (bytes 64 .. 4095), then seal_page() puts header
// and checksum. Byte tables: docs/on-disk.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "base/types.h"

namespace braid {

constexpr std::size_t kPageSize = 4096;
constexpr std::size_t kPageHeaderSize = 64;

using PageBytes = std::span<std::byte, kPageSize>;
using ConstPageBytes = std::span<const std::byte, kPageSize>;

/// Number of a table page.
using PageNumber = Strong<struct PageNumberTag, std::uint32_t>;
/// A controller's place in the group's list of controllers, 0 .. 15; of one outside of the group that has
/// ports of it: 16 and its place in the list of those, 16 .. 31.
using ControllerSlot = Strong<struct ControllerSlotTag, std::uint8_t>;
constexpr std::size_t kMaxOutside = 16;  ///< controllers outside of a group that have ports of it
constexpr ControllerSlot outside_slot(std::size_t place) {
    return ControllerSlot(static_cast<std::uint8_t>(kMaxControllers + place));
}
constexpr bool is_outside(ControllerSlot slot) { return slot.v >= kMaxControllers; }
/// An AMF's place among all that the group's list provides for: its controller's place times the AMFs that
/// each controller runs, plus its index. 0 .. 15.
using AmfSlot = Strong<struct AmfSlotTag, std::uint8_t>;
constexpr AmfSlot amf_slot(ControllerSlot controller, unsigned amfs, unsigned index) {
    return AmfSlot(static_cast<std::uint8_t>(controller.v * amfs + index));
}
constexpr ControllerSlot controller_of(AmfSlot slot, unsigned amfs) {
    return ControllerSlot(static_cast<std::uint8_t>(slot.v / amfs));
}

enum class PageKind : std::uint16_t { config = 1, state = 2, intent = 3, volumes = 4, map = 5 };

constexpr std::uint32_t kIntentPages = 16;
constexpr std::uint32_t kVolumePages = 16;
constexpr std::uint32_t kZonesPerPage = 14;
constexpr std::uint32_t kVolumesPerPage = 31;

constexpr PageNumber kConfigPage{0};
constexpr PageNumber kStatePage{1};
constexpr PageNumber kFirstIntentPage{2};
constexpr PageNumber kFirstVolumePage{kFirstIntentPage.v + kIntentPages};
constexpr PageNumber kFirstMapPage{kFirstVolumePage.v + kVolumePages};
static_assert(kFirstVolumePage.v == 18 && kFirstMapPage.v == 34 && kIntentPages == kMaxGroupAmfs);

constexpr PageNumber intent_page(AmfSlot slot) { return PageNumber(kFirstIntentPage.v + slot.v); }
constexpr PageNumber map_page(ExtentIndex extent) {
    return PageNumber(kFirstMapPage.v + extent.v / kZonesPerPage);
}
constexpr std::uint32_t map_entry(ExtentIndex extent) { return extent.v % kZonesPerPage; }
/// The kind that the page of this number has.
constexpr PageKind kind_of(PageNumber page) {
    if (page == kConfigPage) return PageKind::config;
    if (page == kStatePage) return PageKind::state;
    if (page < kFirstVolumePage) return PageKind::intent;
    return page < kFirstMapPage ? PageKind::volumes : PageKind::map;
}

struct PageHeader {
    PageNumber page;
    Uuid group;
    std::uint64_t sequence = 0;  ///< from 1, one more at every write of the page
    Epoch epoch;                 ///< of the view that wrote it
    AmfSlot writer;              ///< for people who look at dumps
    friend bool operator==(const PageHeader&, const PageHeader&) = default;
};

constexpr unsigned slot_of(std::uint64_t sequence) { return static_cast<unsigned>(sequence & 1); }
/// Disk offset of a slot. `table_start` is the superblock's.
constexpr std::uint64_t slot_offset(std::uint64_t table_start, PageNumber page, unsigned slot) {
    return table_start + std::uint64_t{page.v} * (2 * kPageSize) + std::uint64_t{slot} * kPageSize;
}

/// Writes the header and the checksum over the page's content. The kind follows from the number.
void seal_page(PageBytes bytes, const PageHeader& header);

/// Checks everything but the content. not_found for a page of zeros, corrupt, unsupported for a version of
/// later.
Result<PageHeader> open_page(ConstPageBytes bytes, const Uuid& group, PageNumber page);

enum class SlotState : std::uint8_t {
    valid,
    blank,        ///< zeros: never written
    bad,          ///< torn, rotten, or not this page
    unsupported,  ///< whole, but of a version of later
};

/// What the two slots of a page hold on one member.
struct PagePick {
    std::array<SlotState, 2> slots{};
    bool found = false;  ///< a slot is valid; the rest is about the newest such
    unsigned slot = 0;
    PageHeader header;
};

PagePick pick_slot(ConstPageBytes slot0, ConstPageBytes slot1, const Uuid& group, PageNumber page);

}  // namespace braid
