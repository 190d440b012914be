#include "braid/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "braid/fields.h"
#include "braid/sizes.h"

namespace braid::cli {
namespace {

/// "1.2 ms", "-" for null.
std::string wait_text(const Json& j, const char* key) {
    const auto at = j.is_object() ? j.find(key) : j.end();
    if (at == j.end() || !at->is_number()) return "-";
    const double s = at->get<double>();
    return s < 1e-3 ? fmt::format("{:.0f} us", s * 1e6)
           : s < 1  ? fmt::format("{:.1f} ms", s * 1e3)
                    : fmt::format("{:.1f} s", s);
}

/// "ctl-a:w,ctl-b:r".
std::string parties(const Json& j, const char* key) {
    std::string out;
    for (const Json& party : list(j, key)) {
        out += fmt::format("{}{}:{:.1}", out.empty() ? "" : ",", str(party, "amf"), str(party, "mode"));
    }
    return out.empty() ? "-" : out;
}

std::string place(const Json& hot) {
    if (!hot.contains("offset") || !hot["offset"].is_number()) return "tables";
    const bool lies = hot.contains("volume") && hot["volume"].is_string();
    return fmt::format("{} {}+{}", lies ? str(hot, "volume") : "-",
                       num(hot, lies ? "volume_offset" : "offset"), num(hot, "length"));
}

/// Units of blocks are numbered for themselves.
std::string unit_name(const Json& hot) {
    return (hot.value("blocks", false) ? "blocks " : "") + str(hot, "unit");
}

std::string hot_table(const std::vector<Json>& units) {
    if (units.empty()) return "no unit changed hands in the last second\n";
    std::vector<std::vector<std::string>> rows{
        {"GROUP", "UNIT", "RANGE", "HOLDERS", "WAITING", "TRANSFERS/S", "MEAN WAIT", ""}};
    for (const Json& h : units) {
        rows.push_back({str(h, "group"), unit_name(h), place(h), parties(h, "holders"), parties(h, "waiting"),
                        str(h, "transfers_per_s"), wait_text(h, "mean_wait_s"),
                        h.value("ping_pong", false) ? "ping-pong" : ""});
    }
    return table(rows);
}

std::string amf_name(const Json& amf) {
    const auto index = num(amf, "amf");
    return index == 0 ? str(amf, "group") : fmt::format("{}/{}", str(amf, "group"), index);
}

// ---- top

/// What grew between two objects of the same counters, per second.
Json rates(const Json& before, const Json& now, double seconds) {
    Json out = Json::object();
    for (const auto& [key, value] : now.items()) {
        if (!value.is_number()) continue;
        const double earlier = before.is_object() && before.contains(key) && before[key].is_number()
                                   ? before[key].get<double>()
                                   : 0;
        out[key + "_per_s"] = std::max(0.0, value.get<double>() - earlier) / seconds;
    }
    return out;
}

const Json& at(const Json& j, const char* key) {
    static const Json nothing;
    const auto place = j.is_object() ? j.find(key) : j.end();
    return place == j.end() ? nothing : *place;
}

Json group_rates(const Json& before, const Json& now, double seconds) {
    Json out{{"group", at(now, "group")}, {"amf", at(now, "amf")}};
    for (const char* key : {"reads", "read_bytes", "writes", "written_bytes"}) {
        out.update(rates(Json{{key, at(before, key)}}, Json{{key, at(now, key)}}, seconds));
    }
    const Json &locks = at(now, "locks"), &earlier = at(before, "locks");
    out["lock_requests"] = rates(at(earlier, "requests"), at(locks, "requests"), seconds);
    out["lock_messages"] = rates(at(earlier, "messages"), at(locks, "messages"), seconds);
    const double waits = real(locks, "waits") - real(earlier, "waits");
    out["lock_mean_wait_s"] =
        waits > 0 ? Json((real(locks, "wait_sum_s") - real(earlier, "wait_sum_s")) / waits) : Json(nullptr);
    return out;
}

/// The element of a list with the same values in these fields, or null.
const Json& same(const Json& in, const char* key, const Json& like,
                 std::initializer_list<const char*> fields) {
    static const Json nothing;
    for (const Json& item : at(in, key)) {
        if (std::ranges::all_of(fields, [&](const char* f) { return at(item, f) == at(like, f); }))
            return item;
    }
    return nothing;
}

Json controller_rates(const Json& before, const Json& now) {
    const double seconds = real(now, "clock_s") - real(before, "clock_s");
    if (seconds <= 0) return nullptr;
    Json out{{"controller", at(now, "controller")}, {"groups", Json::array()}};
    for (const Json& group : at(now, "groups")) {
        out["groups"].push_back(group_rates(same(before, "groups", group, {"group", "amf"}), group, seconds));
    }
    Json sent{{"messages_per_s", 0.0}, {"packets_per_s", 0.0}, {"bytes_per_s", 0.0}};
    for (const Json& link : at(now, "links")) {
        const Json one = rates(at(same(before, "links", link, {"peer"}), "sent"), at(link, "sent"), seconds);
        for (auto& [key, value] : sent.items()) value = value.get<double>() + real(one, key.c_str());
    }
    const double packets = real(sent, "packets_per_s");
    sent["messages_per_packet"] = packets > 0 ? Json(real(sent, "messages_per_s") / packets) : Json(nullptr);
    out["sent"] = std::move(sent);
    return out;
}

/// A unit that several controllers name is told once: by the one that saw the most of it, with all holders.
Json merge_hot(const std::vector<Json>& loads) {
    std::map<std::pair<std::string, std::string>, Json> units;
    const auto add = [](Json& to, const Json& from) {
        for (const Json& party : from) {
            if (std::ranges::find(to, party) == to.end()) to.push_back(party);
        }
    };
    for (const Json& load : loads) {
        for (const Json& hot : at(load, "hot")) {
            const auto [place, fresh] = units.try_emplace({str(hot, "group"), unit_name(hot)}, hot);
            if (fresh) continue;
            Json one =
                num(hot, "transfers_per_s") > num(place->second, "transfers_per_s") ? hot : place->second;
            for (const char* key : {"holders", "waiting"}) {
                add(one[key], at(hot, key));
                add(one[key], at(place->second, key));
            }
            place->second = std::move(one);
        }
    }
    std::vector<Json> sorted;
    for (auto& [key, unit] : units) sorted.push_back(std::move(unit));
    std::ranges::sort(sorted, [](const Json& a, const Json& b) {
        const auto left = num(a, "transfers_per_s"), right = num(b, "transfers_per_s");
        if (left != right) return left > right;
        return str(a, "group") + unit_name(a) < str(b, "group") + unit_name(b);
    });
    return sorted;
}

std::vector<Json> parse_all(const std::vector<std::string>& documents) {
    std::vector<Json> out;
    for (const std::string& text : documents) out.push_back(parse(text));
    return out;
}

}  // namespace

std::string controller_of_load(std::string_view document) { return str(parse(document), "controller", ""); }

std::string locks_text(std::string_view document) {
    const Json load = parse(document);
    std::vector<std::vector<std::string>> rows{{"CONTROLLER", "GROUP", "HELD", "IN USE", "LOCAL",
                                                "FROM PEERS", "CANCELLED", "MEDIAN WAIT", "P99 WAIT"}};
    for (const Json& amf : list(load, "groups")) {
        const Json &locks = at(amf, "locks"), &requests = at(locks, "requests");
        const bool waited = num(locks, "waits") != 0;
        rows.push_back({str(load, "controller"), amf_name(amf), str(locks, "held_units"),
                        str(locks, "units_in_use"), str(requests, "held"), str(requests, "peer"),
                        str(requests, "cancelled"), waited ? "< " + wait_text(locks, "wait_median_s") : "-",
                        waited ? "< " + wait_text(locks, "wait_p99_s") : "-"});
    }
    return table(rows) + hot_table(list(load, "hot"));
}

std::string top_document(const std::vector<std::string>& before, const std::vector<std::string>& now) {
    const std::vector<Json> earlier = parse_all(before), later = parse_all(now);
    Json out{{"schema", "braid/top"}, {"version", 1}, {"controllers", Json::array()}};
    for (const Json& load : later) {
        const auto one = std::ranges::find_if(
            earlier, [&](const Json& e) { return at(e, "controller") == at(load, "controller"); });
        if (one == earlier.end()) continue;
        Json rates = controller_rates(*one, load);
        if (!rates.is_null()) out["controllers"].push_back(std::move(rates));
    }
    out["hot"] = merge_hot(later);
    return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string top_text(std::string_view document) {
    const Json top = parse(document);
    std::vector<std::vector<std::string>> groups{{"CONTROLLER", "GROUP", "READ/S", "WRITE/S", "DATA/S",
                                                  "LOCKS HELD/S", "PEER/S", "PREFETCHED/S", "CANCELLED/S",
                                                  "MEAN WAIT", "LOCK MSG/S"}};
    std::vector<std::vector<std::string>> links{
        {"CONTROLLER", "MESSAGES/S", "PACKETS/S", "MSG/PACKET", "LINK/S"}};
    const auto whole = [](const Json& j, const char* key) { return fmt::format("{:.0f}", real(j, key)); };
    const auto bytes = [](double per_s) { return size_text(static_cast<std::uint64_t>(per_s)); };
    for (const Json& controller : list(top, "controllers")) {
        const std::string name = str(controller, "controller");
        for (const Json& g : list(controller, "groups")) {
            const Json& requests = at(g, "lock_requests");
            double messages = 0;
            for (const auto& [type, rate] : at(g, "lock_messages").items()) messages += rate.get<double>();
            groups.push_back({name, amf_name(g), whole(g, "reads_per_s"), whole(g, "writes_per_s"),
                              bytes(real(g, "read_bytes_per_s") + real(g, "written_bytes_per_s")),
                              whole(requests, "held_per_s"), whole(requests, "peer_per_s"),
                              whole(requests, "prefetched_per_s"), whole(requests, "cancelled_per_s"),
                              wait_text(g, "lock_mean_wait_s"), fmt::format("{:.0f}", messages)});
        }
        const Json& sent = at(controller, "sent");
        const bool any = real(sent, "packets_per_s") > 0;
        links.push_back({name, whole(sent, "messages_per_s"), whole(sent, "packets_per_s"),
                         any ? fmt::format("{:.1f}", real(sent, "messages_per_packet")) : "-",
                         bytes(real(sent, "bytes_per_s"))});
    }
    return table(groups) + "\n" + table(links) + "\n" + hot_table(list(top, "hot"));
}

}  // namespace braid::cli
