#include <nlohmann/json.hpp>

#include "admin/documents.h"

namespace braid::admin {

/// A free cell is null: most are, or are alike.
std::string map_document(const GroupMap& map) {
    using Json = nlohmann::ordered_json;
    constexpr std::string_view conditions[] = {"member", "failed", "missing", "leaving", "gone"};
    constexpr std::string_view uses[] = {"content", "moving", "copying"};
    Json disks = Json::array();
    for (const GroupMap::Disk& disk : map.disks) {
        disks.push_back(Json{{"name", disk.name.empty() ? Json(nullptr) : Json(disk.name)},
                             {"state", conditions[static_cast<std::size_t>(disk.condition)]},
                             {"data_bytes", disk.bytes}});
    }
    Json bands = Json::array();
    for (const std::vector<MapCell>& band : map.bands) {
        Json row = Json::array();
        for (const MapCell& cell : band) {
            row.push_back(cell.extents == 0 ? Json(nullptr)
                                            : Json{{"extent", cell.extent},
                                                   {"extents", cell.extents},
                                                   {"use", uses[static_cast<std::size_t>(cell.use)]}});
        }
        bands.push_back(std::move(row));
    }
    const Json json{{"schema", "braid/map"},     {"version", 1},
                    {"group", map.group},        {"band_bytes", map.band_bytes},
                    {"disks", std::move(disks)}, {"bands", std::move(bands)}};
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace braid::admin
