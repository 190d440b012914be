#include "admin/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

namespace braid::admin {

namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json document(std::string_view schema) {
    return Json{{"schema", fmt::format("braid/{}", schema)}, {"version", 1}};
}

template <class T>
Json or_null(const std::optional<T>& value) {
    return value ? Json(*value) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string_view name_of(Health health) {
    constexpr std::array<std::string_view, 4> names{"ok", "degraded", "critical", "offline"};
    return names[static_cast<std::size_t>(health)];
}
std::string_view name_of(Severity severity) {
    constexpr std::array<std::string_view, 3> names{"info", "warning", "error"};
    return names[static_cast<std::size_t>(severity)];
}
std::string_view name_of(ControllerState state) {
    constexpr std::array<std::string_view, 3> names{"up", "down", "fenced"};
    return names[static_cast<std::size_t>(state)];
}
std::string_view name_of(PortState state) {
    constexpr std::array<std::string_view, 3> names{"open", "closing", "absent"};
    return names[static_cast<std::size_t>(state)];
}
std::string_view name_of(DiskState state) {
    constexpr std::array<std::string_view, 8> names{"member", "failed", "missing", "leaving",
                                                    "gone",   "empty",  "foreign", "unreadable"};
    return names[static_cast<std::size_t>(state)];
}

Json to_json(const ControllerInfo& c) {
    return Json{{"name", c.name},
                {"id", c.id.v},
                {"pid", c.pid == 0 ? Json(nullptr) : Json(c.pid)},
                {"state", name_of(c.state)},
                {"incarnation", c.incarnation.v == 0 ? Json(nullptr) : Json(c.incarnation.v)},
                {"address", text_or_null(c.address)},
                {"host", text_or_null(c.host)},
                {"site", text_or_null(c.site)},
                {"left_epoch", c.left_epoch == 0 ? Json(nullptr) : Json(c.left_epoch)},
                {"groups", c.groups}};
}

Json to_json(const GroupInfo& g) {
    std::string members;
    for (const MemberCondition m : g.members) {
        constexpr std::string_view letters = "U_?l-";  // as MemberCondition
        members += letters[static_cast<std::size_t>(m)];
    }
    Json disks = Json::array();
    for (const std::string& disk : g.disks) disks.push_back(text_or_null(disk));
    Json named = Json::object();
    for (const auto& [controller, partners] : g.named_partners) named[controller] = partners;
    Json wrong = Json::array();
    for (const GroupInfo::WrongBlock& block : g.wrong_blocks)
        wrong.push_back(Json{{"disk", block.disk}, {"offset", block.offset}, {"stripe", block.stripe}});
    return Json{{"name", g.name},
                {"id", to_string(g.id)},
                {"level", g.level},
                {"data", g.data},
                {"parity", g.parity},
                {"health", name_of(g.health)},
                {"assembling", g.assembling},
                {"members", members},
                {"usable_bytes", g.usable_bytes},
                {"used_bytes", g.used_bytes},
                {"redundancy_remaining", g.redundancy_remaining},
                {"strip_bytes", g.strip_size},
                {"granularity", to_string(g.sharing.granularity)},
                {"lock_order", to_string(g.sharing.lock_order)},
                {"coherency", to_string(g.sharing.coherency)},
                {"min_hold_us", g.sharing.min_hold / std::chrono::microseconds(1)},
                {"prefetch", g.sharing.prefetch},
                {"amfs", g.sharing.amfs},
                {"cache", to_string(g.sharing.write_cache)},
                {"replication", to_string(g.sharing.replication)},
                {"few_partners", to_string(g.sharing.few_partners)},
                {"partners", g.partners},
                {"named_partners", std::move(named)},
                {"uncopied_bytes", g.uncopied_bytes},
                {"uncopied_age_ms", g.uncopied_age / std::chrono::milliseconds(1)},
                {"window_bytes", g.window_bytes == 0 ? Json(nullptr) : Json(g.window_bytes)},
                {"window_age_ms",
                 g.window_bytes == 0 ? Json(nullptr) : Json(g.window_age / std::chrono::milliseconds(1))},
                {"window_waits", g.window_waits},
                {"dirty_bytes", g.dirty_bytes},
                {"dirty_age_ms", g.dirty_age / std::chrono::milliseconds(1)},
                {"power_loss", to_string(g.power_loss)},
                {"checksums", g.checksums ? "on" : "off"},
                {"scrub_every_s", g.scrub.every == 0 ? Json(nullptr) : Json(g.scrub.every)},
                {"scrub_age_s", g.scrub.every == 0 ? Json(nullptr) : Json(g.scrub.age)},
                {"journal_bytes", g.journal_bytes},
                {"dimension", g.dimension},
                {"spares", g.spares},
                {"spares_left", g.spares_left},
                {"dirty_regions", g.dirty_regions},
                {"disks", std::move(disks)},
                {"wrong_blocks", std::move(wrong)},
                {"controllers", g.controllers},
                {"attached", g.attached}};
}

Json to_json(const JobInfo& j) {
    Json eta = nullptr;
    if (j.state == JobState::running && j.rate_bps && *j.rate_bps > 0) {
        eta = (j.total_bytes - std::min(j.done_bytes, j.total_bytes)) / *j.rate_bps;
    }
    Json shares = Json::array();
    for (const auto& [controller, bytes] : j.shares)
        shares.push_back(Json{{"controller", controller}, {"done_bytes", bytes}});
    const auto time_or_null = [](std::uint64_t seconds) {
        return seconds == 0 ? Json(nullptr) : Json(rfc3339(static_cast<UnixMillis>(seconds) * 1000));
    };
    return Json{{"id", j.id},
                {"kind", j.kind},
                {"group", j.group},
                {"done_bytes", j.done_bytes},
                {"total_bytes", j.total_bytes},
                {"rate_bps", or_null(j.rate_bps)},
                {"eta_s", std::move(eta)},
                {"state", to_string(j.state)},
                {"priority", j.priority == 0 ? Json(nullptr) : Json(j.priority)},
                {"started", time_or_null(j.started)},
                {"ended", time_or_null(j.ended)},
                {"shares", std::move(shares)},
                {"mismatches", j.mismatches},
                {"repaired", j.repaired},
                {"incomplete", j.incomplete},
                {"detail", text_or_null(j.detail)}};
}

Json to_json(const Condition& c, Nanos now, UnixMillis wall) {
    const auto age_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - c.since).count();
    return Json{{"code", c.code},
                {"severity", name_of(c.severity)},
                {"object", c.object},
                {"since", rfc3339(wall - age_ms)},
                {"age_s", std::max<std::int64_t>(0, age_ms / 1000)},
                {"text", c.text},
                {"fix", c.fix}};
}

template <class T>
Json list_of(const std::vector<T>& items) {
    Json list = Json::array();
    for (const T& item : items) list.push_back(to_json(item));
    return list;
}

}  // namespace

std::string rfc3339(UnixMillis time) {
    namespace ch = std::chrono;
    const ch::sys_time<ch::milliseconds> at{ch::milliseconds(time)};
    const auto day = ch::floor<ch::days>(at);
    const ch::year_month_day date(day);
    const ch::hh_mm_ss clock(at - day);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::string status_document(const StatusReport& report, UnixMillis wall) {
    Json json = document("status");
    json["observed_by"] = report.observed_by;
    json["time"] = rfc3339(wall);
    json["age_s"] = 0;
    json["health"] = name_of(report.health);
    json["epoch"] = report.epoch.v;
    json["redundancy_remaining"] = or_null(report.redundancy_remaining);
    json["controllers"] = list_of(report.controllers);
    json["groups"] = list_of(report.groups);
    json["jobs"] = list_of(report.jobs);
    json["conditions"] = Json::array();
    for (const Condition& c : report.conditions) json["conditions"].push_back(to_json(c, report.now, wall));
    json["nbd"] = report.nbd_addresses;
    return text_of(json);
}

std::string controllers_document(const StatusReport& report) {
    Json json = document("controllers");
    json["epoch"] = report.epoch.v;
    json["controllers"] = list_of(report.controllers);
    return text_of(json);
}

std::string groups_document(const StatusReport& report) {
    Json json = document("groups");
    json["groups"] = list_of(report.groups);
    return text_of(json);
}

std::string group_document(const StatusReport& report, std::string_view name) {
    for (const GroupInfo& group : report.groups) {
        if (group.name != name) continue;
        Json json = document("group");
        json.update(to_json(group));
        return text_of(json);
    }
    return {};
}

std::string jobs_document(const StatusReport& report) {
    Json json = document("jobs");
    json["jobs"] = list_of(report.jobs);
    return text_of(json);
}

std::string job_document(const StatusReport& report, std::uint64_t id) {
    for (const JobInfo& job : report.jobs) {
        if (job.id != id) continue;
        Json json = document("job");
        json.update(to_json(job));
        return text_of(json);
    }
    return {};
}

std::string disks_document(const std::vector<DiskInfo>& disks) {
    Json json = document("disks");
    json["disks"] = Json::array();
    for (const DiskInfo& d : disks) {
        json["disks"].push_back(Json{{"name", d.name},
                                     {"size_bytes", or_null(d.size)},
                                     {"state", name_of(d.state)},
                                     {"group", text_or_null(d.group)},
                                     {"member", or_null(d.member)},
                                     {"content", text_or_null(d.content)},
                                     {"reads", d.reads},
                                     {"writes", d.writes},
                                     {"read_bytes", d.read_bytes},
                                     {"written_bytes", d.written_bytes},
                                     {"errors", d.errors},
                                     {"read_p99_us", or_null(d.read_p99_us)},
                                     {"write_p99_us", or_null(d.write_p99_us)},
                                     {"slow", d.slow}});
    }
    return text_of(json);
}

std::string volumes_document(const std::vector<VolumeInfo>& volumes) {
    Json json = document("volumes");
    json["volumes"] = Json::array();
    for (const VolumeInfo& v : volumes) {
        json["volumes"].push_back(Json{{"name", v.name},
                                       {"group", v.group},
                                       {"id", v.id},
                                       {"size_bytes", v.size},
                                       {"state", v.deleting ? "deleting" : "ok"},
                                       {"ports", v.ports}});
    }
    return text_of(json);
}

std::string ports_document(const std::vector<PortInfo>& ports, const StatusReport& report) {
    Json json = document("ports");
    json["ports"] = Json::array();
    for (const PortInfo& p : ports) {
        Json uris = nullptr;
        if (p.controller == report.observed_by) {
            uris = Json::array();
            for (const std::string& address : report.nbd_addresses)
                uris.push_back(nbd_uri(address, p.volume));
        }
        json["ports"].push_back(Json{{"volume", p.volume},
                                     {"group", p.group},
                                     {"controller", p.controller},
                                     {"state", name_of(p.state)},
                                     {"in_flight", or_null(p.in_flight)},
                                     {"forwarded", p.forwarded},
                                     {"through", p.through.empty() ? Json() : Json(p.through)},
                                     {"uris", std::move(uris)}});
    }
    return text_of(json);
}

std::string events_document(std::string_view lines) {
    Json json = document("events");
    json["events"] = Json::array();
    while (!lines.empty()) {
        const std::size_t end = std::min(lines.find('\n'), lines.size());
        if (end > 0) json["events"].push_back(lines.substr(0, end));
        lines.remove_prefix(std::min(end + 1, lines.size()));
    }
    return text_of(json);
}

std::string outcome_document(const Outcome& outcome, bool dry_run) {
    Json json = document("outcome");
    json["dry_run"] = dry_run;
    json["steps"] = outcome.steps;
    json["job"] = or_null(outcome.job);
    return text_of(json);
}

std::string problem_document(const AdminError& error) {
    Json json{{"type", "about:blank"}, {"title", to_string(error.code)}, {"code", code_name(error.code)}};
    json["detail"] = error.detail.empty() ? std::string(to_string(error.code)) : error.detail;
    json["hint"] = text_or_null(error.hint);
    json["retryable"] =
        error.code == Errc::busy || error.code == Errc::stale_epoch || error.code == Errc::not_ready;
    return text_of(json);
}

std::string_view code_name(Errc code) {
    switch (code) {
        case Errc::not_found:
            return "not_found";
        case Errc::exists:
            return "exists";
        case Errc::busy:
            return "busy";
        case Errc::stale_epoch:
            return "stale_epoch";
        case Errc::not_ready:
            return "not_ready";
        case Errc::would_lose_data:
            return "would_lose_data";
        case Errc::invalid:
            return "invalid";
        case Errc::too_large:
            return "too_large";
        case Errc::timeout:
            return "timeout";
        case Errc::no_space:
            return "no_space";
        case Errc::offline:
            return "offline";
        case Errc::unsupported:
            return "unsupported";
        case Errc::fenced:
            return "fenced";
        default:
            return "failed";
    }
}

int http_status(Errc code) {
    switch (code) {
        case Errc::invalid:
            return 400;
        case Errc::would_lose_data:
            return 403;
        case Errc::not_found:
            return 404;
        case Errc::exists:
        case Errc::busy:
        case Errc::stale_epoch:
            return 409;
        case Errc::too_large:
            return 413;
        case Errc::unsupported:
            return 501;
        case Errc::not_ready:
        case Errc::fenced:
        case Errc::offline:
            return 503;
        case Errc::timeout:
            return 504;
        case Errc::no_space:
            return 507;
        default:
            return 500;
    }
}

std::string nbd_uri(std::string_view address, std::string_view volume) {
    constexpr std::string_view kUnix = "unix:";
    if (address.starts_with(kUnix)) {
        return fmt::format("nbd+unix:///{}?socket={}", volume, address.substr(kUnix.size()));
    }
    return fmt::format("nbd://{}/{}", address, volume);
}

std::string full_disk_name(const std::vector<DiskInfo>& disks, std::string_view text) {
    const DiskInfo* found = nullptr;
    for (const DiskInfo& disk : disks) {
        if (disk.name == text) return disk.name;
        const std::string_view last = std::string_view(disk.name).substr(disk.name.rfind('/') + 1);
        if (last != text) continue;
        if (found != nullptr) return std::string(text);
        found = &disk;
    }
    return found != nullptr ? found->name : std::string(text);
}

}  // namespace braid::admin
