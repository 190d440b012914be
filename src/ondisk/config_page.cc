// Page 0 of the tables: what the group is.
#include <algorithm>
#include <chrono>
#include <functional>
#include <set>

#include "ondisk/page_content.h"

namespace braid {
namespace {

// Offsets within a page, as docs/on-disk.md lists them.
constexpr std::size_t kConfigControllers = 176;
constexpr std::size_t kConfigSharing = 1168;
constexpr std::size_t kConfigSharingSize = 12;
constexpr std::size_t kConfigOutside = kConfigSharing + kConfigSharingSize;
constexpr std::size_t kConfigOutsideNames = kConfigOutside + 4;
static_assert(kConfigControllers + kMaxControllers * kControllerNameField <= kConfigSharing &&
              kConfigOutside == 1180 &&
              kConfigOutsideNames + kMaxOutside * kControllerNameField <= kPageSize);

constexpr std::size_t kConfigJournal = kConfigOutsideNames + kMaxOutside * kControllerNameField;
constexpr std::size_t kConfigJournalSize = 16;
constexpr std::size_t kConfigPartners = kConfigJournal + kConfigJournalSize;
constexpr std::size_t kConfigMembers = 2048;
constexpr std::size_t kConfigMemberSize = 20;
constexpr std::size_t kConfigPlaces = kConfigMembers + kMaxMembers * kConfigMemberSize;
constexpr std::size_t kConfigPlaceSize = 1 + kControllerNameField;
static_assert(kConfigJournal == 1696 && kConfigPartners + kMaxControllers * 2 <= kConfigMembers &&
              kConfigPlaces == 3328 &&
              kConfigPlaces + kMaxPartnerPlaces * kConfigPlaceSize + kMaxControllers * 2 <= kPageSize);
static_assert(kHostPlace.size() == kSitePlace.size());

bool is_valid(const NamedPartners& named) {
    const bool sorted = std::ranges::adjacent_find(named.places, std::greater_equal{}) == named.places.end();
    return sorted && std::ranges::all_of(named.places, valid_place);
}

bool is_valid(const GroupConfig& c) {
    const auto name_fits = [](const std::string& name) {
        return name.empty() || valid_name(name, kMaxControllerNameLength);
    };
    return valid_name(c.name) && c.geometry.check() && c.dimension >= 1 && c.dimension <= kMaxDimension &&
           c.controllers.size() <= kMaxControllers && std::ranges::all_of(c.controllers, name_fits) &&
           c.outside.size() <= kMaxOutside && std::ranges::all_of(c.outside, name_fits) && c.wanted.check() &&
           c.members.size() >= c.geometry.width() &&
           c.members.size() >= std::size_t{c.wanted.width()} + c.spares && c.members.size() <= kMaxMembers &&
           c.sharing.complaint(c.controllers.size(), c.geometry.strip_size).empty() &&
           std::ranges::all_of(c.sharing.partners, [](const auto& named) { return is_valid(named); }) &&
           c.data_start % kPageSize == 0 && c.page_count > kFirstMapPage.v &&
           c.journal.ring_size <= kMaxRingSize && c.journal.ring_size % kPageSize == 0 &&
           c.amf_slots() * c.journal.ring_size <= c.data_start &&
           c.extents <= std::uint64_t{c.page_count - kFirstMapPage.v} * kZonesPerPage;
}

// Fields whose default is not 0 are written so that 0, which is what older pages hold, means the default.
void put_sharing(FieldWriter& out, const SharingOptions& s) {
    out.put(static_cast<std::uint8_t>(s.coherency));
    out.put(static_cast<std::uint8_t>(s.lock_order));
    out.put(static_cast<std::uint8_t>(s.amfs - 1));
    out.put(static_cast<std::uint8_t>(s.prefetch ^ kDefaultPrefetch));
    out.put(s.granularity.blocks);
    out.put(static_cast<std::uint8_t>(s.write_cache));
    out.put(static_cast<std::uint8_t>(static_cast<unsigned>(s.few_partners) << 4 |
                                      static_cast<unsigned>(s.replication)));
    out.put(static_cast<std::uint32_t>(s.min_hold / 1us));
}

SharingOptions get_sharing(Reader& in) {
    SharingOptions s;
    s.coherency = static_cast<Coherency>(in.get<std::uint8_t>());
    s.lock_order = static_cast<LockOrder>(in.get<std::uint8_t>());
    s.amfs = static_cast<std::uint8_t>(in.get<std::uint8_t>() + 1);
    s.prefetch = static_cast<std::uint8_t>(in.get<std::uint8_t>() ^ kDefaultPrefetch);
    s.granularity.blocks = in.get<std::uint16_t>();
    s.write_cache = static_cast<WriteCache>(in.get<std::uint8_t>());
    const auto answers = in.get<std::uint8_t>();
    s.replication = static_cast<Replication>(answers & 0x0f);
    s.few_partners = static_cast<FewPartners>(answers >> 4);
    s.min_hold = in.get<std::uint32_t>() * Nanos(1us);
    return s;
}

/// All that are named in the group, in order.
std::vector<std::string> places_of(const SharingOptions& sharing) {
    std::set<std::string> out;
    for (const NamedPartners& named : sharing.partners) out.insert(named.places.begin(), named.places.end());
    return {out.begin(), out.end()};
}

constexpr std::uint8_t kNoPlace = 0, kHost = 1, kSite = 2;

void put_places(FieldWriter& out, const SharingOptions& sharing) {
    const std::vector<std::string> places = places_of(sharing);
    for (const std::string& place : places) {
        out.put(place.starts_with(kHostPlace) ? kHost : kSite);
        out.name(std::string_view(place).substr(kHostPlace.size()), kControllerNameField);
    }
    out.zeros((kMaxPartnerPlaces - places.size()) * kConfigPlaceSize);
    for (const NamedPartners& named : sharing.partners) {
        std::uint16_t mask = 0;
        for (std::size_t i = 0; i < places.size(); ++i) {
            const bool is = std::ranges::find(named.places, places[i]) != named.places.end();
            mask = static_cast<std::uint16_t>(mask | (is ? 1u << i : 0u));
        }
        out.put(mask);
    }
}

void get_places(Reader& in, SharingOptions& sharing) {
    std::vector<std::string> places;
    for (std::size_t i = 0; i < kMaxPartnerPlaces; ++i) {
        const auto kind = in.get<std::uint8_t>();
        const std::string label = read_name(in, kControllerNameField);
        if (kind > kSite || (kind == kNoPlace && !label.empty())) in.fail();
        if (kind != kNoPlace) places.push_back(std::string(kind == kHost ? kHostPlace : kSitePlace) + label);
    }
    for (NamedPartners& named : sharing.partners) {
        const auto mask = in.get<std::uint16_t>();
        if (mask >> places.size() != 0) in.fail();
        for (std::size_t i = 0; i < places.size(); ++i) {
            if ((mask >> i & 1) != 0) named.places.push_back(places[i]);
        }
    }
    if (places != places_of(sharing)) in.fail();
}

}  // namespace

bool valid_place(std::string_view text) {
    return (text.starts_with(kHostPlace) || text.starts_with(kSitePlace)) &&
           valid_name(text.substr(kHostPlace.size()), kMaxControllerNameLength);
}

std::vector<std::string> GroupConfig::partners_of(ControllerSlot slot) const {
    std::vector<std::string> out;
    const NamedPartners& named = sharing.partners.at(slot.v);
    for (std::size_t i = 0; i < controllers.size(); ++i) {
        if ((named.controllers >> i & 1) != 0) out.push_back(controllers[i]);
    }
    out.insert(out.end(), named.places.begin(), named.places.end());
    return out;
}

const std::string& GroupConfig::name_of(ControllerSlot slot) const {
    static const std::string nobody;
    const auto& list = is_outside(slot) ? outside : controllers;
    const std::size_t place = is_outside(slot) ? slot.v - kMaxControllers : slot.v;
    return place < list.size() ? list[place] : nobody;
}

std::optional<ControllerSlot> GroupConfig::slot_of(std::string_view controller) const {
    for (std::uint8_t slot = 0; slot < kMaxControllers + kMaxOutside; ++slot) {
        const std::string& present = name_of(ControllerSlot(slot));
        if (!present.empty() && present == controller) return ControllerSlot(slot);
    }
    return std::nullopt;
}

void GroupConfig::encode(PageBytes page) const {
    ASSERT(is_valid(*this));
    FieldWriter out = content_writer(page);
    out.name(name, kNameField);
    put_shape(out, geometry.shape());
    out.put(dimension);
    out.put(geometry.strip_size);
    out.put(sharing.granularity.stripes);
    out.put(static_cast<std::uint16_t>(members.size()));
    out.put(static_cast<std::uint16_t>(controllers.size()));
    out.put(created);
    out.put(data_start);
    out.put(page_count);
    out.put(extents);
    put_shape(out, wanted);
    out.put(spares);
    out.pad_to(in_content(kConfigControllers));
    for (const std::string& controller : controllers) out.name(controller, kControllerNameField);
    out.pad_to(in_content(kConfigSharing));
    put_sharing(out, sharing);
    out.put(static_cast<std::uint16_t>(outside.size()));
    out.put(static_cast<std::uint16_t>(geometry.checksums ? 1 : 0));
    out.pad_to(in_content(kConfigOutsideNames));
    for (const std::string& controller : outside) out.name(controller, kControllerNameField);
    out.pad_to(in_content(kConfigJournal));
    out.put(static_cast<std::uint32_t>(journal.ring_size / kPageSize));
    out.zeros(4);
    out.put(journal.key);
    for (const NamedPartners& named : sharing.partners) out.put(named.controllers);
    out.pad_to(in_content(kConfigMembers));
    for (const MemberRecord& member : members) {
        out.put(member.disk);
        out.put(member.units);
    }
    out.pad_to(in_content(kConfigPlaces));
    put_places(out, sharing);
    out.finish();
}

bool GroupConfig::may_become(GroupConfig next) const {
    if (next.members.size() < members.size()) return false;
    if (next.extents < extents) return false;
    next.members = members;
    next.extents = extents;
    next.outside = outside;
    next.wanted = wanted;
    next.spares = spares;
    const SharingOptions& s = sharing;
    next.sharing =
        SharingChange{s.lock_order, s.min_hold, s.prefetch, s.replication, s.few_partners}.applied_to(
            next.sharing);
    next.sharing.partners = s.partners;
    return next == *this;
}

Result<GroupConfig> GroupConfig::decode(ConstPageBytes page) {
    Reader in = content_reader(page);
    GroupConfig c;
    c.name = read_name(in, kNameField);
    const StripeShape first = get_shape(in);
    c.geometry.level = first.level;
    c.geometry.k = first.k;
    c.geometry.m = first.m;
    c.dimension = in.get<std::uint8_t>();
    c.geometry.strip_size = in.get<std::uint32_t>();
    const auto lock_stripes = in.get<std::uint32_t>();
    const auto members = in.get<std::uint16_t>();
    const auto controllers = in.get<std::uint16_t>();
    c.created = in.get<std::uint64_t>();
    c.data_start = in.get<std::uint64_t>();
    c.page_count = in.get<std::uint32_t>();
    c.extents = in.get<std::uint32_t>();
    c.wanted = get_shape(in);
    c.spares = in.get<std::uint8_t>();
    if (members > kMaxMembers || controllers > kMaxControllers) return fail(Errc::corrupt);
    in = Reader(page.subspan(kConfigControllers));
    for (unsigned i = 0; i < controllers; ++i) c.controllers.push_back(read_name(in, kControllerNameField));
    const bool names_ok = in.ok();
    in = Reader(page.subspan(kConfigMembers));
    for (unsigned i = 0; i < members; ++i) {
        const Uuid disk = in.uuid();
        c.members.push_back({disk, in.get<std::uint32_t>()});
    }
    const bool members_ok = in.ok();
    in = Reader(page.subspan(kConfigSharing));
    c.sharing = get_sharing(in);
    c.sharing.granularity.stripes = lock_stripes;
    const auto others = in.get<std::uint16_t>();
    if (others > kMaxOutside) return fail(Errc::corrupt);
    const auto checksums = in.get<std::uint16_t>();
    if (checksums > 1) in.fail();
    c.geometry.checksums = checksums == 1;
    for (unsigned i = 0; i < others; ++i) c.outside.push_back(read_name(in, kControllerNameField));
    const bool sharing_ok = in.ok();
    in = Reader(page.subspan(kConfigJournal));
    c.journal.ring_size = std::uint64_t{in.get<std::uint32_t>()} * kPageSize;
    in.raw(4);
    c.journal.key = in.get<std::uint64_t>();
    for (NamedPartners& named : c.sharing.partners) named.controllers = in.get<std::uint16_t>();
    const bool partners_ok = in.ok();
    in = Reader(page.subspan(kConfigPlaces));
    get_places(in, c.sharing);
    if (!names_ok || !members_ok || !sharing_ok || !partners_ok || !in.ok() || !is_valid(c))
        return fail(Errc::corrupt);
    return c;
}

}  // namespace braid
