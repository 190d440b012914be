#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "admin/documents.h"

namespace braid::admin {
namespace {

using Json = nlohmann::ordered_json;

double seconds(Nanos time) { return std::chrono::duration<double>(time).count(); }

Json counts(const std::vector<std::pair<std::string, std::uint64_t>>& all) {
    Json out = Json::object();
    for (const auto& [name, count] : all) out[name] = count;
    return out;
}

Json to_json(const AmfLoad& a) {
    return Json{{"group", a.group},
                {"amf", a.amf},
                {"reads", a.reads},
                {"read_bytes", a.read_bytes},
                {"writes", a.writes},
                {"written_bytes", a.written_bytes},
                {"locks",
                 {{"held_units", a.held_units},
                  {"units_in_use", a.units_in_use},
                  {"requests", counts(a.lock_requests)},
                  {"messages", counts(a.lock_messages)},
                  {"waits", a.lock_waits},
                  {"wait_sum_s", seconds(a.lock_wait_sum)},
                  {"wait_median_s", seconds(a.lock_wait_median)},
                  {"wait_p99_s", seconds(a.lock_wait_p99)}}}};
}

Json traffic(std::uint64_t messages, std::uint64_t packets, std::uint64_t bytes) {
    return Json{{"messages", messages}, {"packets", packets}, {"bytes", bytes}};
}

Json to_json(const LinkLoad& l) {
    return Json{{"peer", l.peer},
                {"sent", traffic(l.sent_messages, l.sent_packets, l.sent_bytes)},
                {"received", traffic(l.received_messages, l.received_packets, l.received_bytes)}};
}

Json to_json(const std::vector<LockHolderInfo>& amfs) {
    Json out = Json::array();
    for (const LockHolderInfo& a : amfs)
        out.push_back(Json{{"amf", a.amf}, {"mode", a.writes ? "write" : "read"}});
    return out;
}

Json to_json(const HotUnitInfo& h) {
    const bool lies = !h.volume.empty();
    return Json{{"group", h.group},
                {"unit", h.unit ? Json(*h.unit) : Json(nullptr)},
                {"blocks", h.blocks},
                {"offset", h.unit ? Json(h.range.offset) : Json(nullptr)},
                {"length", h.unit ? Json(h.range.length) : Json(nullptr)},
                {"volume", lies ? Json(h.volume) : Json(nullptr)},
                {"volume_offset", lies ? Json(h.volume_offset) : Json(nullptr)},
                {"holders", to_json(h.holders)},
                {"waiting", to_json(h.waiting)},
                {"transfers_per_s", h.transfers_per_s},
                {"mean_wait_s", h.mean_wait ? Json(seconds(*h.mean_wait)) : Json(nullptr)},
                {"ping_pong", h.ping_pong}};
}

template <class T>
Json list_of(const std::vector<T>& items, std::size_t limit) {
    Json list = Json::array();
    for (std::size_t i = 0; i < items.size() && i < limit; ++i) list.push_back(to_json(items[i]));
    return list;
}

}  // namespace

std::string load_document(const LoadReport& report, std::size_t hot) {
    const Json json{{"schema", "braid/load"},
                    {"version", 1},
                    {"controller", report.controller},
                    {"clock_s", seconds(report.now)},
                    {"groups", list_of(report.amfs, report.amfs.size())},
                    {"links", list_of(report.links, report.links.size())},
                    {"hot", list_of(report.hot, hot)}};
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace braid::admin
