#include "ondisk/page.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/zeros.h"
#include "ondisk/fields.h"

namespace braid {
namespace {

constexpr std::uint32_t kPageMagic = 0x50547262;  // "brTP"
constexpr std::uint16_t kPageVersion = 1;
constexpr std::size_t kCrcOffset = 12;

}  // namespace

std::uint32_t block_checksum(ConstPageBytes bytes, std::size_t crc_offset) {
    static constexpr std::array<std::byte, 4> zeros{};
    std::uint32_t crc = crc32c(bytes.first(crc_offset));
    crc = crc32c(zeros, crc);
    return crc32c(bytes.subspan(crc_offset + zeros.size()), crc);
}

void seal_page(PageBytes bytes, const PageHeader& header) {
    FieldWriter out(bytes.first(kPageHeaderSize));
    out.put(kPageMagic);
    out.put(kPageVersion);
    out.put(static_cast<std::uint16_t>(kind_of(header.page)));
    out.put(header.page);
    out.put(std::uint32_t{0});
    out.put(header.group);
    out.put(header.sequence);
    out.put(header.epoch);
    out.put(header.writer);
    out.finish();
    FieldWriter(bytes.subspan(kCrcOffset, 4)).put(block_checksum(bytes, kCrcOffset));
}

Result<PageHeader> open_page(ConstPageBytes bytes, const Uuid& group, PageNumber page) {
    Reader in(bytes);
    if (in.get<std::uint32_t>() != kPageMagic) return fail(all_zero(bytes) ? Errc::not_found : Errc::corrupt);
    const auto version = in.get<std::uint16_t>();
    const auto kind = in.get<std::uint16_t>();
    PageHeader header;
    header.page = in.get<PageNumber>();
    if (in.get<std::uint32_t>() != block_checksum(bytes, kCrcOffset)) return fail(Errc::corrupt);
    header.group = in.uuid();
    header.sequence = in.get<std::uint64_t>();
    header.epoch = in.get<Epoch>();
    header.writer = in.get<AmfSlot>();
    if (header.group != group || header.page != page) return fail(Errc::corrupt);
    if (version != kPageVersion) return fail(Errc::unsupported, version);
    if (kind != static_cast<std::uint16_t>(kind_of(page)) || header.sequence == 0) return fail(Errc::corrupt);
    return header;
}

PagePick pick_slot(ConstPageBytes slot0, ConstPageBytes slot1, const Uuid& group, PageNumber page) {
    PagePick pick;
    const std::array<ConstPageBytes, 2> slots = {slot0, slot1};
    for (unsigned slot = 0; slot < slots.size(); ++slot) {
        const auto header = open_page(slots[slot], group, page);
        if (!header) {
            pick.slots[slot] = header.error().code == Errc::not_found     ? SlotState::blank
                               : header.error().code == Errc::unsupported ? SlotState::unsupported
                                                                          : SlotState::bad;
            continue;
        }
        if (slot_of(header->sequence) != slot) {
            pick.slots[slot] = SlotState::bad;
            continue;
        }
        pick.slots[slot] = SlotState::valid;
        if (!pick.found || header->sequence > pick.header.sequence) {
            pick.found = true;
            pick.slot = slot;
            pick.header = *header;
        }
    }
    return pick;
}

}  // namespace braid
