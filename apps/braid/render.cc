#include "braid/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "braid/fields.h"
#include "braid/sizes.h"

namespace braid::cli {

namespace {

std::string size_or_dash(const Json& j, const char* key) {
    const auto at = j.is_object() ? j.find(key) : j.end();
    return at != j.end() && at->is_number() ? size_text(at->get<std::uint64_t>()) : "-";
}

std::string ms_or_dash(const Json& j, const char* key) {
    const double us = real(j, key);
    return us == 0 ? "-" : fmt::format("{:.1f}", us / 1e3);
}

std::string upper(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    return text;
}

std::string redundancy_text(const Json& status) {
    const auto at = status.find("redundancy_remaining");
    if (at == status.end() || !at->is_number()) return "no group yet";
    const auto left = at->get<std::uint64_t>();
    return left == 0 ? "no disk may fail any more"
                     : fmt::format("can still lose {} disk{}", left, left == 1 ? "" : "s");
}

/// "ctl-a 52 %  ctl-c 48 %": whose work what is done was; empty if there are not several.
std::string shares_text(const Json& job) {
    const auto shares = list(job, "shares");
    std::uint64_t all = 0;
    for (const Json& share : shares) all += num(share, "done_bytes");
    std::string out;
    for (const Json& share : shares) {
        if (shares.size() < 2 || all == 0) break;
        out += fmt::format("  {} {:.0f} %", str(share, "controller"),
                           static_cast<double>(num(share, "done_bytes")) * 100 / static_cast<double>(all));
    }
    return out;
}

std::string line_of(const Json& job) {
    const std::uint64_t done = num(job, "done_bytes");
    const std::uint64_t total = num(job, "total_bytes");
    const double fraction = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
    std::string line = fmt::format("{} {}  {}  {:5.1f} %   {} / {}", str(job, "kind"), str(job, "group"),
                                   bar_text(fraction, 20), fraction * 100, size_text(done), size_text(total));
    if (str(job, "state") != "running") return line + "   " + str(job, "state") + shares_text(job);
    if (const std::uint64_t rate = num(job, "rate_bps"); rate > 0)
        line += fmt::format("   {}/s", size_text(rate));
    if (job.contains("eta_s") && job["eta_s"].is_number()) {
        line += fmt::format("   {} left", duration_text(num(job, "eta_s")));
    }
    return line + shares_text(job);
}

std::string group_status_lines(const Json& group, const Json& status) {
    const std::uint64_t usable = num(group, "usable_bytes");
    const std::uint64_t used = usable == 0 ? 0 : num(group, "used_bytes") * 100 / usable;
    std::string space = fmt::format("{} usable, {} % allocated", size_text(usable), used);
    if (group.value("assembling", false)) space = "assembling";
    const std::string level =
        fmt::format("{} {}+{}", str(group, "level"), num(group, "data"), num(group, "parity"));
    std::string out =
        fmt::format("  {:<6}{:<11} {:<44} [{}]\n", str(group, "name"), level, space, str(group, "members"));
    for (const Json& job : list(status, "jobs")) {
        const bool active = str(job, "state") == "running" || str(job, "state") == "paused";
        if (str(job, "group") == str(group, "name") && active) {
            out += "        " + line_of(job) + "\n";
        }
    }
    return out;
}

std::string conditions_lines(const Json& status) {
    std::string out;
    for (const Json& c : list(status, "conditions")) {
        const char mark = str(c, "severity") == "info" ? 'i' : '!';
        out += fmt::format("  {}  {}  {}  {}, since {}\n", mark, str(c, "code"), str(c, "object"),
                           str(c, "text"), str(c, "since"));
        if (const std::string fix = str(c, "fix", ""); !fix.empty())
            out += fmt::format("                 fix:  {}\n", fix);
    }
    return out;
}

}  // namespace

bool has_problems(std::string_view document) { return !list(parse(document), "conditions").empty(); }

std::string status_text(std::string_view document, bool problems_only) {
    const Json status = parse(document);
    if (problems_only) return conditions_lines(status);
    const auto controllers = list(status, "controllers");
    const auto up = std::ranges::count_if(controllers, [](const Json& c) { return str(c, "state") == "up"; });
    std::string out = fmt::format("{:<7} {:<10} {:<40} epoch {}   {}/{} controllers\n", "braid",
                                  upper(str(status, "health")), redundancy_text(status), num(status, "epoch"),
                                  up, controllers.size());
    for (const Json& group : list(status, "groups")) out += group_status_lines(group, status);
    return out + conditions_lines(status);
}

std::string groups_text(std::string_view document) {
    std::vector<std::vector<std::string>> rows{
        {"NAME", "LEVEL", "DISKS", "HEALTH", "USABLE", "ALLOCATED", "CONTROLLERS"}};
    for (const Json& g : list(parse(document), "groups")) {
        rows.push_back({str(g, "name"),
                        fmt::format("{} {}+{}", str(g, "level"), num(g, "data"), num(g, "parity")),
                        "[" + str(g, "members") + "]", str(g, "health"), size_or_dash(g, "usable_bytes"),
                        size_or_dash(g, "used_bytes"), words(g, "attached")});
    }
    return table(rows);
}

/// "ctl-a: ctl-b, ctl-c".
static std::string named_partners(const Json& group) {
    std::string out;
    if (!group.is_object() || !group.contains("named_partners") || !group["named_partners"].is_object())
        return "none";
    for (const auto& [controller, partners] : group["named_partners"].items()) {
        out += (out.empty() ? "" : "; ") + controller + ":";
        for (const Json& partner : partners) {
            if (partner.is_string()) out += " " + partner.get<std::string>();
        }
    }
    return out.empty() ? "none" : out;
}

std::string group_text(std::string_view document) {
    const Json g = parse(document);
    std::vector<std::vector<std::string>> rows{
        {"name", str(g, "name")},
        {"id", str(g, "id")},
        {"level", fmt::format("{} {}+{}", str(g, "level"), num(g, "data"), num(g, "parity"))},
        {"health", str(g, "health")},
        {"redundancy", fmt::format("{} disks may still fail", num(g, "redundancy_remaining"))},
        {"usable", size_or_dash(g, "usable_bytes")},
        {"allocated", size_or_dash(g, "used_bytes")},
        {"spares", fmt::format("{} disks, of these free {}", num(g, "spares"), num(g, "spares_left"))},
        {"strip", size_or_dash(g, "strip_bytes")},
        {"granularity", str(g, "granularity")},
        {"lock order", str(g, "lock_order")},
        {"minimum hold", fmt::format("{} us", num(g, "min_hold_us"))},
        {"prefetch", fmt::format("{} locks", num(g, "prefetch"))},
        {"coherency", str(g, "coherency")},
        {"AMFs", fmt::format("{} on each controller", std::max<std::uint64_t>(1, num(g, "amfs")))},
        {"copies of updates", str(g, "dimension")},
        {"cache", str(g, "cache", "write-through")},
        {"replication", str(g, "replication", "synchronous")},
        {"few partners", str(g, "few_partners", "write-through")},
        {"partners", words(g, "partners")},
        {"named partners", named_partners(g)},
        {"answered early", num(g, "window_bytes") == 0
                               ? "never"
                               : fmt::format("at most {}, for {} ms; {} writes have waited for that",
                                             size_text(num(g, "window_bytes")), num(g, "window_age_ms"),
                                             num(g, "window_waits"))},
        {"not copied yet", fmt::format("{}, the oldest {} ms old", size_or_dash(g, "uncopied_bytes"),
                                       num(g, "uncopied_age_ms"))},
        {"dirty here",
         fmt::format("{}, the oldest {} ms old", size_or_dash(g, "dirty_bytes"), num(g, "dirty_age_ms"))},
        {"loss of power", str(g, "power_loss")},
        {"journal", fmt::format("{} for each AMF", size_or_dash(g, "journal_bytes"))},
        {"checksums", str(g, "checksums", "off")},
        {"scrub every", num(g, "scrub_every_s") == 0 ? "never"
                                                     : fmt::format("{}, the last one {} of service ago",
                                                                   duration_text(num(g, "scrub_every_s")),
                                                                   duration_text(num(g, "scrub_age_s")))},
        {"shared by", words(g, "controllers")},
        {"served by", words(g, "attached")}};
    const std::string members = str(g, "members", "");
    const auto disks = list(g, "disks");
    for (std::size_t i = 0; i < disks.size(); ++i) {
        const std::string mark = i < members.size() ? std::string(1, members[i]) : "?";
        rows.push_back({fmt::format("member {} {}", i, mark),
                        disks[i].is_string() ? disks[i].get<std::string>() : "not found"});
    }
    for (const Json& block : list(g, "wrong_blocks")) {
        rows.push_back({"wrong block", fmt::format("{} byte {}, stripe {}", str(block, "disk"),
                                                   num(block, "offset"), num(block, "stripe"))});
    }
    return table(rows);
}

namespace {

/// ".": free; "12": of this extent, "12>" on its way here, "12+" copied to another shape; "3x": of so many.
std::string cell_text(const Json& cell) {
    if (!cell.is_object()) return ".";
    if (num(cell, "extents") > 1) return fmt::format("{}x", num(cell, "extents"));
    const std::string use = str(cell, "use");
    return fmt::format("{}{}", num(cell, "extent"), use == "moving" ? ">" : use == "copying" ? "+" : "");
}

}  // namespace

std::string map_text(std::string_view document) {
    const Json map = parse(document);
    const std::vector<Json> disks = list(map, "disks");
    const std::uint64_t height = num(map, "band_bytes");
    std::vector<std::vector<std::string>> rows{{"FROM"}, {""}};
    for (const Json& disk : disks) {
        const std::string name = str(disk, "name");
        rows[0].push_back(name.substr(name.rfind('/') + 1));
        rows[1].push_back(str(disk, "state"));
    }
    std::uint64_t from = 0;
    for (const Json& band : list(map, "bands")) {
        std::vector<std::string> row{size_text(from)};
        for (std::size_t i = 0; band.is_array() && i < std::min(band.size(), disks.size()); ++i) {
            const bool beyond = from >= num(disks[i], "data_bytes");
            row.push_back(beyond ? "" : cell_text(band[i]));
        }
        rows.push_back(std::move(row));
        from += height;
    }
    return fmt::format(
        "{}: bands of {}; . free, 12 extent, 12> on its way here, 12+ copied to another shape, "
        "3x several\n\n{}",
        str(map, "group"), size_text(height), table(rows));
}

std::string volumes_text(std::string_view document) {
    std::vector<std::vector<std::string>> rows{{"NAME", "GROUP", "SIZE", "STATE", "PORTS"}};
    for (const Json& v : list(parse(document), "volumes")) {
        rows.push_back({str(v, "name"), str(v, "group"), size_or_dash(v, "size_bytes"), str(v, "state"),
                        words(v, "ports")});
    }
    return table(rows);
}

std::string ports_text(std::string_view document) {
    std::vector<std::vector<std::string>> rows{
        {"VOLUME", "CONTROLLER", "STATE", "THROUGH", "IN FLIGHT", "URI"}};
    for (const Json& p : sorted_list(parse(document), "ports", "controller")) {
        rows.push_back(
            {str(p, "volume"), str(p, "controller"), str(p, "state"),
             p.value("forwarded", false) ? "forwarded to " + str(p, "through", "nobody") : "its own group",
             str(p, "in_flight"), words(p, "uris")});
    }
    return table(rows);
}

std::string disks_text(std::string_view document) {
    std::vector<std::vector<std::string>> rows{
        {"NAME", "SIZE", "STATE", "GROUP", "MEMBER", "READ", "WRITTEN", "P99 MS", "ERRORS", "CONTENT"}};
    for (const Json& d : list(parse(document), "disks")) {
        rows.push_back({str(d, "name"), size_or_dash(d, "size_bytes"),
                        str(d, "slow") == "true" ? "slow" : str(d, "state"), str(d, "group"),
                        str(d, "member"), size_or_dash(d, "read_bytes"), size_or_dash(d, "written_bytes"),
                        ms_or_dash(d, "read_p99_us") + "/" + ms_or_dash(d, "write_p99_us"), str(d, "errors"),
                        str(d, "content")});
    }
    return table(rows);
}

std::string controllers_text(std::string_view document) {
    std::vector<std::vector<std::string>> rows{
        {"NAME", "ID", "STATE", "PID", "HOST", "SITE", "GROUPS", "ADDRESS"}};
    for (const Json& c : sorted_list(parse(document), "controllers", "name")) {
        rows.push_back({str(c, "name"), str(c, "id"), str(c, "state"), str(c, "pid"), str(c, "host"),
                        str(c, "site"), words(c, "groups"), str(c, "address")});
    }
    return table(rows);
}

std::string jobs_text(std::string_view document) {
    std::string out;
    for (const Json& job : list(parse(document), "jobs"))
        out += fmt::format("{:<5} {}\n", num(job, "id"), line_of(job));
    return out.empty() ? "no jobs\n" : out;
}

std::string job_text(std::string_view document) {
    const Json job = parse(document);
    std::vector<std::vector<std::string>> rows{
        {"job", str(job, "id")},      {"kind", str(job, "kind")},         {"group", str(job, "group")},
        {"state", str(job, "state")}, {"priority", str(job, "priority")}, {"started", str(job, "started")},
        {"ended", str(job, "ended")}};
    for (const Json& share : list(job, "shares"))
        rows.push_back({"by " + str(share, "controller"), size_or_dash(share, "done_bytes")});
    rows.push_back({"repaired", str(job, "repaired") + " stripes"});
    rows.push_back({"parity wrong", str(job, "mismatches") + " stripes"});
    rows.push_back({"not judged", str(job, "incomplete") + " stripes"});
    if (const std::string detail = str(job, "detail", ""); !detail.empty()) rows.push_back({"", detail});
    return line_of(job) + "\n" + table(rows);
}

std::string events_text(std::string_view document) {
    std::string out;
    for (const Json& line : list(parse(document), "events"))
        out += (line.is_string() ? line.get<std::string>() : "") + "\n";
    return out;
}

std::string outcome_text(std::string_view document) {
    const Json outcome = parse(document);
    std::string out;
    const bool dry = outcome.is_object() && outcome.value("dry_run", false);
    for (const Json& step : list(outcome, "steps")) {
        out += fmt::format("{}{}\n", dry ? "plan: " : "",
                           step.is_string() ? step.get<std::string>() : step.dump());
    }
    if (const std::uint64_t job = num(outcome, "job"); job != 0)
        out += fmt::format("job {0}: braid job wait {0}\n", job);
    return out;
}

std::string job_line(std::string_view job_document) { return line_of(parse(job_document)); }

}  // namespace braid::cli
