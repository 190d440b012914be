#include "sim/checkers/cache_coherence.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "sim/checkers/checksums.h"

namespace braid::sim {

std::string check_cache(Amf& amf, const MemberMedia& media) {
    if (amf.cache().size() == 0 && amf.dirty().empty()) return {};
    std::vector<UnitIndex> held, held_for_writing;
    amf.locks().for_each_held([&](UnitIndex unit, LockMode mode) {
        held.push_back(unit);
        if (mode == LockMode::write) held_for_writing.push_back(unit);
    });
    std::ranges::sort(held);
    std::ranges::sort(held_for_writing);
    for (const StripeIndex stripe : amf.dirty().stripes()) {
        if (!std::ranges::binary_search(held_for_writing, amf.units().of_stripe(stripe)))
            return "stripe " + std::to_string(stripe.v) + " is dirty, and not held for writing";
    }
    const Tables& tables = amf.tables();
    std::string wrong;
    amf.cache().for_each(
        [&](UnitIndex unit, std::uint32_t generation, std::uint64_t at, std::span<const std::byte> content) {
            if (!wrong.empty()) return;
            if (!std::ranges::binary_search(held, unit)) {
                wrong = "the block at " + std::to_string(at) + " is remembered, and unit " +
                        std::to_string(unit.v) + " is not held";
                return;
            }
            const Zone* zone = tables.zone(ExtentIndex(static_cast<std::uint32_t>(at / kExtentSize)));
            if (zone == nullptr || zone->generation != generation) return;
            const auto record = [&](StripeIndex stripe) {
                return record_on_members(tables, *zone, stripe, media);
            };
            wrong = check_cached_block(tables.config(), tables.state(), *zone, at, content, media, record);
        });
    return wrong;
}

std::string check_cached_block(const GroupConfig& config, const GroupState& state, const Zone& zone,
                               std::uint64_t at, std::span<const std::byte> content, const MemberMedia& media,
                               const RecordOf& record_of) {
    const Geometry geometry = config.geometry_of(zone.shape);
    const StripePlace stripe = geometry.locate(at);
    const StripPlace strip = geometry.strip_of(stripe.offset);
    const unsigned copies = geometry.k == 1 ? geometry.width() : 1;
    for (unsigned copy = 0; copy < copies; ++copy) {
        const Role role(static_cast<std::uint8_t>(strip.column.v + copy));
        const Places places =
            strip_places(geometry, zone, geometry.row_of(stripe.stripe), role, config.data_start,
                         [&](MemberIndex member) { return serves(state.members[member.v].state); });
        if (!places.read) continue;
        const DiskPlace place = *places.read;
        const Media* disk = media[place.member.v];
        if (disk == nullptr || disk->plugged() != 1) continue;  // another one has been put there
        if (disk->lies(place.offset + strip.offset, kBlockSize)) continue;
        std::array<std::byte, kBlockSize> there;
        disk->peek(place.offset + strip.offset, there);
        if (std::memcmp(there.data(), content.data(), kBlockSize) == 0) return {};
        const std::optional<ChecksumRecord> record = record_of ? record_of(stripe.stripe) : std::nullopt;
        if (record && record->mismatch(role.v, strip.offset, there) &&
            !record->mismatch(role.v, strip.offset, content))
            return {};
        return "the block at " + std::to_string(at) + " (stripe " + std::to_string(stripe.stripe.v) +
               ") is remembered otherwise than member " + std::to_string(place.member.v) + " has it";
    }
    return {};
}

}  // namespace braid::sim
