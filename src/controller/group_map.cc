// Where what is in a group stands: `braid group map`.
#include <algorithm>

#include "controller/controller.h"

namespace braid {
namespace {

class Bands {
public:
    Bands(const GroupConfig& config, std::size_t most) {
        std::uint32_t longest = 1;
        for (const MemberRecord& member : config.members) longest = std::max(longest, member.units);
        const auto most_units = static_cast<std::uint32_t>((longest + most - 1) / most);
        // No two segments that begin and end together share a row.
        const std::uint32_t segment = config.geometry_of(config.wanted).zone_size().units;
        height_ = (std::max(most_units, segment) + segment - 1) / segment * segment;
        cells_.assign((longest + height_ - 1) / height_, std::vector<MapCell>(config.members.size()));
    }

    void add(ExtentIndex extent, Segment at, std::uint32_t units, MapUse use) {
        const std::uint32_t last = (at.index.v + units - 1) / height_;
        for (std::uint32_t band = at.index.v / height_; band <= last && band < cells_.size(); ++band) {
            MapCell& cell = cells_[band][at.member.v];
            if (cell.extents == 0 || extent.v < cell.extent) cell.extent = extent.v;
            cell.use = std::max(cell.use, use);
            ++cell.extents;
        }
    }

    std::uint64_t height() const { return height_ * kSegmentUnit; }
    std::vector<std::vector<MapCell>> take() { return std::move(cells_); }

private:
    std::uint32_t height_ = 0;  ///< units
    std::vector<std::vector<MapCell>> cells_;
};

}  // namespace

std::optional<GroupMap> Controller::group_map(const std::string& group, std::size_t bands) {
    const std::shared_ptr<GroupRuntime> runtime = find_group(group);
    if (runtime == nullptr || !runtime->tables().loaded()) return std::nullopt;
    const Tables& tables = runtime->tables();
    const GroupConfig& config = tables.config();
    Bands all(config, bands);
    for (std::uint32_t i = 0; i < config.extents; ++i) {
        const ExtentIndex extent(i);
        const Zone* zone = tables.zone(extent);
        if (zone == nullptr) continue;
        const std::uint32_t units = config.geometry_of(zone->shape).zone_size().units;
        for (const Segment& part : zone->parts()) all.add(extent, part, units, MapUse::content);
        if (zone->move) all.add(extent, zone->move->target, units, MapUse::moving);
        if (!zone->successor) continue;
        const std::uint32_t next = config.geometry_of(zone->successor.shape).zone_size().units;
        for (const Segment& part : zone->successor.segments) all.add(extent, part, next, MapUse::copying);
    }
    const GroupInfo info = describe(*runtime);
    GroupMap map{.group = group, .band_bytes = all.height(), .disks = {}, .bands = all.take()};
    for (std::size_t i = 0; i < config.members.size(); ++i)
        map.disks.push_back({info.disks[i], info.members[i], config.members[i].units * kSegmentUnit});
    return map;
}

}  // namespace braid
