#include "sim/checkers/parity.h"

#include <cstring>

#include "parity/code.h"

namespace braid::sim {

std::string check_parity(const Tables& tables, const MemberMedia& media) {
    for (std::uint32_t extent = 0; extent < tables.config().extents; ++extent) {
        const Zone* zone = tables.zone(ExtentIndex(extent));
        if (zone == nullptr) continue;
        std::string wrong = check_parity(tables.config(), tables.state(), ExtentIndex(extent), *zone, media);
        if (!wrong.empty()) return wrong;
    }
    return {};
}

std::string check_parity(const GroupConfig& config, const GroupState& state, ExtentIndex extent,
                         const Zone& zone, const MemberMedia& media) {
    const Geometry geometry = config.geometry_of(zone.shape);
    const Code code(geometry.k, geometry.m);
    const std::size_t strip = geometry.strip_size;
    const unsigned width = geometry.width();
    const Buffer memory(2 * width * strip);
    std::vector<std::byte*> seen(width), computed(width);
    for (unsigned role = 0; role < width; ++role) {
        seen[role] = memory.data() + role * strip;
        computed[role] = memory.data() + (width + role) * strip;
    }
    for (std::uint32_t row = 0; row < geometry.rows_per_extent(); ++row) {
        RoleMask present, missing;
        std::array<DiskPlace, kMaxWidth> places;
        bool any = false;
        for (unsigned role = 0; role < width; ++role) {
            const Places at = strip_places(
                geometry, zone, Row(row), Role(static_cast<std::uint8_t>(role)), config.data_start,
                [&](MemberIndex member) { return serves(state.members[member.v].state); });
            if (!at.read || media[at.read->member.v]->lies(at.read->offset, strip)) {
                missing.set(role);
                continue;
            }
            const DiskPlace& place = places[role] = *at.read;
            present.set(role);
            any |= !media[place.member.v]->all_zeros(place.offset, strip);
        }
        if (!any || present.count() <= geometry.k) continue;
        for (unsigned role = 0; role < width; ++role)
            if (present[role]) media[places[role].member.v]->peek(places[role].offset, {seen[role], strip});
        // Everything from the first k that are there, then compared with all that are there.
        RoleMask first, rest = missing;
        for (unsigned role = 0; role < width; ++role) {
            if (present[role] && first.count() < geometry.k) {
                first.set(role);
            } else {
                rest.set(role);
            }
        }
        std::vector<std::byte*> strips(width);
        for (unsigned role = 0; role < width; ++role)
            strips[role] = first[role] ? seen[role] : computed[role];
        if (!code.decode(first, strips, rest, strip)) return "a stripe could not be decoded";
        for (unsigned role = 0; role < width; ++role) {
            if (first[role] || !present[role]) continue;
            if (std::memcmp(seen[role], computed[role], strip) != 0) {
                const StripeIndex stripe = geometry.stripe_of(extent, Row(row));
                return "stripe " + std::to_string(stripe.v) + ": role " + std::to_string(role) +
                       " does not fit the others";
            }
        }
    }
    return {};
}

}  // namespace braid::sim
