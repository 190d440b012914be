#include "braid/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "braid/load.h"
#include "braid/render.h"
#include "braid/sizes.h"

namespace braid::cli {

namespace {

using Json = nlohmann::ordered_json;
using Render = std::string (*)(std::string_view);

void print(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

int show(const Globals& g, const std::string& path, Render render) {
    const auto answer = g.client().get(path);
    if (!answer) return report(answer.error());
    print(g.json ? *answer : render(*answer));
    return kOk;
}

std::string with_flags(const Globals& g, std::string path, bool force = false) {
    std::string flags;
    if (g.dry_run) flags += "&dry_run=1";
    if (force) flags += "&force=1";
    if (!flags.empty()) flags.front() = '?';
    return path + flags;
}

int finish(const Globals& g, const Answer<std::string>& answer) {
    if (!answer) return report(answer.error());
    print(g.json ? *answer : outcome_text(*answer));
    return kOk;
}

int wait_for_job(const Globals& g, std::uint64_t id);

/// With `wait` until the job that it begins, if there is one, has ended.
int change(const Globals& g, const std::string& path, const Json& body, bool wait = false) {
    const auto answer = g.client().post(with_flags(g, path), body.dump());
    if (!answer || !wait || g.dry_run) return finish(g, answer);
    const Json outcome = Json::parse(*answer, nullptr, false);
    const bool has_job =
        outcome.is_object() && outcome.contains("job") && outcome["job"].is_number_unsigned();
    if (!has_job) return finish(g, answer);
    return wait_for_job(g, outcome["job"].get<std::uint64_t>());
}

/// One element of a list document by a field's value, as a document of its own.
int show_one(const Globals& g, const std::string& path, const char* list, const std::string& what,
             const std::function<bool(const Json&)>& is_it, Render render) {
    const auto answer = g.client().get(path);
    if (!answer) return report(answer.error());
    Json document = Json::parse(*answer, nullptr, false);
    Json found = Json::array();
    if (document.is_object() && document.contains(list)) {
        for (const Json& item : document[list]) {
            if (is_it(item)) found.push_back(item);
        }
    }
    if (found.empty()) return report({kNotFound, fmt::format("there is no {}", what)});
    document[list] = std::move(found);
    const std::string text = document.dump(2);
    print(g.json ? text + "\n" : render(text));
    return kOk;
}

bool named(const Json& item, const std::string& name) {
    if (!item.is_object() || !item.contains("name")) return false;
    const std::string full = item["name"].get<std::string>();
    return full == name || full.ends_with("/" + name);
}

/// The load documents of all controllers that answer; the failure of the last if none does.
Answer<std::vector<std::string>> all_loads(const Globals& g, unsigned hot) {
    std::vector<std::string> out;
    Failure why;
    for (const std::string& api : g.apis) {
        auto load = Client({api}, g.timeout_s).get(fmt::format("/api/v1/load?hot={}", hot));
        if (load) {
            out.push_back(std::move(*load));
        } else {
            why = load.error();
        }
    }
    if (out.empty()) return std::unexpected(why);
    return out;
}

/// Destructive verbs want the name typed back, or --yes.
bool confirmed(const Globals& g, const std::string& name, const std::string& what) {
    if (g.yes || g.dry_run) return true;
    if (::isatty(STDIN_FILENO) == 0) {
        report({kUsage, fmt::format("{} needs --yes when nobody can be asked", what)});
        return false;
    }
    std::cerr << what << ". Type '" << name << "' to go on: " << std::flush;
    std::string typed;
    std::getline(std::cin, typed);
    if (typed == name) return true;
    report({kUsage, "not confirmed, nothing was changed"});
    return false;
}

/// A bar that is redrawn on a terminal, and a line per 10 % elsewhere.
class Progress {
public:
    explicit Progress(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) != 0) {}
    void update(const std::string& job_document, const Json& job) {
        if (quiet_ || std::chrono::steady_clock::now() - started_ < std::chrono::seconds(1)) return;
        if (terminal_) {
            fmt::print(stderr, "\r\033[K{}", job_line(job_document));
            std::fflush(stderr);
            drawn_ = true;
            return;
        }
        const auto total = job.value("total_bytes", std::uint64_t{0});
        const auto tenth =
            total == 0 ? 0 : static_cast<int>(job.value("done_bytes", std::uint64_t{0}) * 10 / total);
        if (tenth == last_tenth_) return;
        last_tenth_ = tenth;
        fmt::print(stderr, "{}\n", job_line(job_document));
    }
    void finish() {
        if (drawn_) std::fputs("\r\033[K", stderr);
    }

private:
    const bool quiet_;
    const bool terminal_;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    bool drawn_ = false;
    int last_tenth_ = -1;
};

int wait_for_job(const Globals& g, const std::string& path, std::chrono::steady_clock::time_point end) {
    Progress progress(g.json);
    for (;;) {
        const auto answer = g.client().get(path);
        if (!answer) {
            progress.finish();
            return report(answer.error());
        }
        const Json job = Json::parse(*answer, nullptr, false);
        const std::string state = job.is_object() ? job.value("state", "") : "";
        if (state != "running" && state != "paused") {
            progress.finish();
            print(g.json ? *answer : job_line(*answer) + "\n");
            const auto mismatches = job.is_object() ? job.value("mismatches", std::uint64_t{0}) : 0;
            const auto detail =
                job.is_object() && job["detail"].is_string() ? job["detail"].get<std::string>() : "";
            if (mismatches > 0) {
                return report(
                    {kFailed,
                     fmt::format("{} stripes have a parity that does not fit their data{}{}: braid status",
                                 mismatches, detail.empty() ? "" : ": ", detail)});
            }
            const auto repaired = job.is_object() ? job.value("repaired", std::uint64_t{0}) : 0;
            if (repaired > 0 && !g.json)
                print(fmt::format("{} stripes had blocks that were not what was written; they are repaired\n",
                                  repaired));
            if (state != "done") return report({kFailed, fmt::format("the job {}: {}", state, detail)});
            return kOk;
        }
        progress.update(*answer, job);
        if (g.timeout_s > 0 && std::chrono::steady_clock::now() >= end) {
            progress.finish();
            const std::string next = state == "paused" ? "resume" : "wait";
            return report({kTimeout, fmt::format("job {} is {} and goes on: braid job {} {}",
                                                 job.value("id", 0), state, next, job.value("id", 0))});
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

int wait_for_job(const Globals& g, std::uint64_t id) {
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<long>(g.timeout_s * 1000));
    return wait_for_job(g, fmt::format("/api/v1/jobs/{}", id), end);
}

}  // namespace

int report(const Failure& failure) {
    fmt::print(stderr, "braid: {}\n", failure.message);
    return failure.exit;
}

std::vector<std::pair<std::string, std::string>> SharingRequest::fields() const {
    std::vector<std::pair<std::string, std::string>> out{
        {"granularity", Json(granularity).dump()}, {"coherency", Json(coherency).dump()},
        {"lock_order", Json(lock_order).dump()},   {"min_hold_us", std::to_string(min_hold_us)},
        {"prefetch", std::to_string(prefetch)},    {"amfs", std::to_string(amfs)},
        {"power_loss", Json(power_loss).dump()},   {"cache", Json(cache).dump()},
        {"replication", Json(replication).dump()}, {"few_partners", Json(few_partners).dump()}};
    if (!checksums.empty()) out.emplace_back("checksums", Json(checksums).dump());
    if (dimension != 0) out.emplace_back("dimension", std::to_string(dimension));
    return out;
}

int status(const Globals& g, bool watch, bool problems_only) {
    for (;;) {
        const auto answer = g.client().get("/api/v1/status");
        if (!answer && !watch) return report(answer.error());
        if (watch && !g.json) print("\033[H\033[J");
        if (!answer) {
            report(answer.error());
        } else {
            print(g.json ? *answer : status_text(*answer, problems_only));
        }
        if (!watch) return problems_only && has_problems(*answer) ? kFailed : kOk;
        std::this_thread::sleep_for(std::chrono::seconds(1));
    }
}

int events(const Globals& g) { return show(g, "/api/v1/events", events_text); }

int group_create(const Globals& g, const GroupRequest& r) {
    Json body{{"name", r.name},
              {"level", r.level},
              {"disks", r.disks},
              {"strip_size", r.strip_size},
              {"force", r.force}};
    for (const auto& [key, value] : r.sharing.fields()) body[key] = Json::parse(value);
    if (!r.controllers.empty()) body["controllers"] = r.controllers;
    if (r.copies != 0) body["copies"] = r.copies;
    if (r.width != 0) body["width"] = r.width;
    if (r.spares != 0) body["spares"] = r.spares;
    return change(g, "/api/v1/groups", body);
}
int group_set(const Globals& g, const std::string& name, const GroupChange& c, bool wait) {
    Json body = Json::object();
    const auto put = [&](const char* key, const auto& value) {
        if (value) body[key] = *value;
    };
    put("lock_order", c.lock_order);
    put("min_hold_us", c.min_hold_us);
    put("prefetch", c.prefetch);
    put("replication", c.replication);
    put("few_partners", c.few_partners);
    if (c.partners) {
        const std::size_t equals = c.partners->find('=');
        body["partners_of"] = c.partners->substr(0, equals);
        body["partners"] = Json::array();
        std::istringstream names(c.partners->substr(equals + 1));
        for (std::string partner; std::getline(names, partner, ',');) body["partners"].push_back(partner);
    }
    if (c.scrub_every) body["scrub_every_s"] = parse_duration(*c.scrub_every).value_or(0);
    put("spares", c.spares);
    put("level", c.level);
    for (const auto& [key, value] : c.fixed) body[key] = value;
    return change(g, "/api/v1/groups/" + path_part(name) + "/set", body, wait);
}
int group_list(const Globals& g) { return show(g, "/api/v1/groups", groups_text); }
int group_show(const Globals& g, const std::string& name) {
    return show(g, "/api/v1/groups/" + path_part(name), group_text);
}
int group_map(const Globals& g, const std::string& name, unsigned bands) {
    return show(g, fmt::format("/api/v1/groups/{}/map?bands={}", path_part(name), bands), map_text);
}
int group_scrub(const Globals& g, const std::string& name, unsigned priority, bool wait) {
    return change(g, "/api/v1/groups/" + path_part(name) + "/scrub", Json{{"priority", priority}}, wait);
}

int volume_create(const Globals& g, const std::string& name, const std::string& group, std::uint64_t size) {
    Json body{{"name", name}, {"size", size}};
    if (!group.empty()) body["group"] = group;
    return change(g, "/api/v1/volumes", body);
}
int volume_list(const Globals& g) { return show(g, "/api/v1/volumes", volumes_text); }
int volume_show(const Globals& g, const std::string& name) {
    return show_one(
        g, "/api/v1/volumes", "volumes",
        fmt::format("virtual disk '{}': 'braid volume list' shows all", name),
        [&](const Json& v) { return named(v, name); }, volumes_text);
}
int volume_delete(const Globals& g, const std::string& name, bool force) {
    if (!confirmed(g, name, fmt::format("deleting virtual disk {} destroys its data", name))) return kUsage;
    return finish(g, g.client().remove(with_flags(g, "/api/v1/volumes/" + path_part(name), force)));
}

int port_create(const Globals& g, const std::string& volume, const std::vector<std::string>& controllers) {
    Json body{{"volume", volume}};
    if (!controllers.empty()) body["controllers"] = controllers;
    return change(g, "/api/v1/ports", body);
}
int port_list(const Globals& g) { return show(g, "/api/v1/ports", ports_text); }
int port_delete(const Globals& g, const std::string& volume, const std::string& controller) {
    return finish(g, g.client().remove(with_flags(
                         g, fmt::format("/api/v1/ports/{}/{}", path_part(volume), path_part(controller)))));
}

int disk_list(const Globals& g) { return show(g, "/api/v1/disks", disks_text); }
int disk_show(const Globals& g, const std::string& name) {
    return show_one(
        g, "/api/v1/disks", "disks", fmt::format("disk '{}': 'braid disk list' shows all", name),
        [&](const Json& d) { return named(d, name); }, disks_text);
}
int disk_add(const Globals& g, const std::string& name, const std::string& group, const std::string& replaces,
             bool force, bool wait) {
    Json body{{"disk", name}, {"force", force}};
    if (!group.empty()) body["group"] = group;
    if (!replaces.empty()) body["replaces"] = replaces;
    return change(g, "/api/v1/disks", body, wait);
}
int group_expand(const Globals& g, const std::string& name, const std::vector<std::string>& disks,
                 unsigned width, bool force, bool wait) {
    Json body{{"disks", disks}, {"force", force}};
    if (width != 0) body["width"] = width;
    return change(g, fmt::format("/api/v1/groups/{}/expand", path_part(name)), body, wait);
}
int disk_remove(const Globals& g, const std::string& name, bool wait) {
    return change(g, fmt::format("/api/v1/disks/{}/remove", path_part(name)), Json::object(), wait);
}
int disk_fail(const Globals& g, const std::string& name) {
    if (!confirmed(g, name, fmt::format("failing disk {} takes it out of its group", name))) return kUsage;
    return change(g, fmt::format("/api/v1/disks/{}/fail", path_part(name)), Json::object());
}

int controller_list(const Globals& g) { return show(g, "/api/v1/controllers", controllers_text); }
int controller_show(const Globals& g, const std::string& name) {
    return show_one(
        g, "/api/v1/controllers", "controllers",
        fmt::format("controller '{}': 'braid controller list' shows all", name),
        [&](const Json& c) { return named(c, name); }, controllers_text);
}
int controller_fence(const Globals& g, const std::string& name) {
    if (!confirmed(g, name, fmt::format("fencing controller {} kills its process", name))) return kUsage;
    return change(g, fmt::format("/api/v1/controllers/{}/fence", path_part(name)), Json::object());
}

int controller_locks(const Globals& g, const std::string& name, unsigned hot) {
    auto loads = all_loads(g, hot);
    if (!loads) return report(loads.error());
    std::erase_if(*loads,
                  [&](const std::string& l) { return !name.empty() && controller_of_load(l) != name; });
    if (loads->empty()) {
        return report(
            {kNotFound, fmt::format("controller '{}' is not among those that answer here: name its own "
                                    "control API with --api",
                                    name)});
    }
    if (!g.json) {
        for (const std::string& load : *loads) print((&load == loads->data() ? "" : "\n") + locks_text(load));
        return kOk;
    }
    Json all{{"schema", "braid/locks"}, {"version", 1}, {"controllers", Json::array()}};
    for (const std::string& load : *loads) all["controllers"].push_back(Json::parse(load, nullptr, false));
    print(all.dump(2) + "\n");
    return kOk;
}

int top(const Globals& g, double interval_s, unsigned hot, bool once) {
    auto before = all_loads(g, hot);
    for (;;) {
        if (!before && once) return report(before.error());
        std::this_thread::sleep_for(std::chrono::duration<double>(interval_s));
        auto now = all_loads(g, hot);
        if (!now && once) return report(now.error());
        if (!once && !g.json) print("\033[H\033[J");
        if (!now) {
            report(now.error());
        } else if (before) {
            const std::string document = top_document(*before, *now);
            print(g.json ? document : top_text(document));
        }
        if (once) return kOk;
        before = std::move(now);
    }
}

int job_list(const Globals& g) { return show(g, "/api/v1/jobs", jobs_text); }
int job_show(const Globals& g, std::uint64_t id) {
    return show(g, fmt::format("/api/v1/jobs/{}", id), job_text);
}
int job_wait(const Globals& g, std::uint64_t id) { return wait_for_job(g, id); }
int job_set(const Globals& g, std::uint64_t id, unsigned priority) {
    return change(g, fmt::format("/api/v1/jobs/{}/set", id), Json{{"priority", priority}});
}
int job_change(const Globals& g, std::uint64_t id, const std::string& word) {
    return change(g, fmt::format("/api/v1/jobs/{}/{}", id, word), Json::object());
}

}  // namespace braid::cli
