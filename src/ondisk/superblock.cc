#include "ondisk/superblock.h"

#include "ondisk/fields.h"
#include "ondisk/space.h"
#include "ondisk/table_pages.h"

namespace braid {
namespace {

constexpr std::uint64_t kSuperblockMagic = 0x3147526469617262;  // "braidRG1"
constexpr std::uint16_t kSuperblockVersion = 1;
constexpr std::size_t kCrcOffset = 12;
constexpr std::size_t kNameField = kMaxNameLength + 1;
constexpr std::size_t kUsedBytes = 112 + kNameField;
static_assert(kUsedBytes == 176 && kUsedBytes <= kPageSize);

// The numbers describe areas that lie on the disk in this order: superblock, tables, data, copy.
bool is_consistent(const Superblock& s) {
    constexpr std::uint64_t limit = 1ull << 62;
    if (s.disk_size < 2 * kPageSize || s.disk_size > limit || s.member.v >= kMaxMembers) return false;
    const std::uint64_t end = superblock_copy_offset(s.disk_size);
    if (s.table_start % kPageSize != 0 || s.table_start < kPageSize || s.table_start > end) return false;
    if (s.data_start % kPageSize != 0 || s.data_start > end || s.data_start < s.table_start) return false;
    if (s.page_count <= kFirstMapPage.v) return false;
    if (s.page_count > (s.data_start - s.table_start) / (2 * kPageSize)) return false;
    return s.units <= (end - s.data_start) / kSegmentUnit;
}

}  // namespace

void Superblock::encode(PageBytes block) const {
    ASSERT(is_consistent(*this) && valid_name(group_name));
    FieldWriter out(block);
    out.put(kSuperblockMagic);
    out.put(kSuperblockVersion);
    out.zeros(2);
    out.put(std::uint32_t{0});
    out.put(incompat_features);
    out.put(compat_features);
    out.put(sequence);
    out.put(group);
    out.put(disk);
    out.put(disk_size);
    out.put(table_start);
    out.put(data_start);
    out.put(page_count);
    out.put(units);
    out.put(member);
    out.zeros(7);
    out.name(group_name, kNameField);
    ASSERT(out.written() == kUsedBytes);
    out.finish();
    FieldWriter(block.subspan(kCrcOffset, 4)).put(block_checksum(block, kCrcOffset));
}

Result<Superblock> Superblock::decode(ConstPageBytes block) {
    Reader in(block);
    if (in.get<std::uint64_t>() != kSuperblockMagic) return fail(Errc::not_found);
    const auto version = in.get<std::uint16_t>();
    in.raw(2);
    if (in.get<std::uint32_t>() != block_checksum(block, kCrcOffset)) return fail(Errc::corrupt);
    if (version != kSuperblockVersion) return fail(Errc::unsupported, version);
    Superblock s;
    s.incompat_features = in.get<std::uint64_t>();
    if ((s.incompat_features & ~kKnownIncompatFeatures) != 0) return fail(Errc::unsupported);
    s.compat_features = in.get<std::uint64_t>();
    s.sequence = in.get<std::uint64_t>();
    s.group = in.uuid();
    s.disk = in.uuid();
    s.disk_size = in.get<std::uint64_t>();
    s.table_start = in.get<std::uint64_t>();
    s.data_start = in.get<std::uint64_t>();
    s.page_count = in.get<std::uint32_t>();
    s.units = in.get<std::uint32_t>();
    s.member = in.get<MemberIndex>();
    in.raw(7);
    s.group_name = read_name(in, kNameField);
    if (!in.ok() || !is_consistent(s) || !valid_name(s.group_name)) return fail(Errc::corrupt);
    return s;
}

Result<SuperblockChoice> choose_superblock(ConstPageBytes first, ConstPageBytes copy) {
    auto a = Superblock::decode(first);
    auto b = Superblock::decode(copy);
    const auto code_of = [](const Result<Superblock>& r) { return r ? Errc::exists : r.error().code; };
    if (code_of(a) == Errc::unsupported || code_of(b) == Errc::unsupported) return fail(Errc::unsupported);
    if (!a && !b) {
        return fail(code_of(a) == Errc::corrupt || code_of(b) == Errc::corrupt ? Errc::corrupt
                                                                               : Errc::not_found);
    }
    const bool same_disk = a && b && a->group == b->group && a->disk == b->disk;
    const bool from_copy = !a || (same_disk && b->sequence > a->sequence);
    return SuperblockChoice{from_copy ? *b : *a, from_copy, a && b && *a == *b};
}

}  // namespace braid
