#include "admin/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

namespace braid::admin {

namespace {

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '"') {
            out += "\\\"";
        } else if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    return out;
}

using Labels = std::vector<std::pair<std::string, std::string>>;

void sample(std::string& page, const std::string& name, const Labels& labels, double value) {
    page += name;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        page += fmt::format("{}{}=\"{}\"", i == 0 ? '{' : ',', labels[i].first, escaped(labels[i].second));
    }
    page += fmt::format("{} {}\n", labels.empty() ? "" : "}", value);
}

void gauge(std::vector<Metric>& out, const char* name, const char* help, double value,
           std::vector<std::pair<std::string, std::string>> labels = {}) {
    out.push_back(Metric{name, help, false, std::move(labels), value});
}

std::string_view severity_name(Severity s) {
    return s == Severity::info ? "info" : s == Severity::warning ? "warning" : "error";
}

void group_metrics(std::vector<Metric>& out, const GroupInfo& g) {
    const char* const state = g.assembling                  ? "assembling"
                              : g.health == Health::offline ? "offline"
                              : g.health == Health::ok      ? "ok"
                                                            : "degraded";
    for (const char* name : {"ok", "degraded", "offline", "assembling"}) {
        gauge(out, "braid_group_state", "One-hot state of a group", std::string_view(state) == name,
              {{"group", g.name}, {"state", name}});
    }
    gauge(out, "braid_group_redundancy_remaining_disks", "Disks that may still fail", g.redundancy_remaining,
          {{"group", g.name}});
    gauge(out, "braid_group_capacity_bytes", "Size of a group's logical space",
          static_cast<double>(g.usable_bytes), {{"group", g.name}, {"kind", "usable"}});
    gauge(out, "braid_group_capacity_bytes", "", static_cast<double>(g.used_bytes),
          {{"group", g.name}, {"kind", "allocated"}});
    gauge(out, "braid_group_dirty_regions", "Regions whose stripes may be half-written by this controller",
          static_cast<double>(g.dirty_regions), {{"group", g.name}});
}

}  // namespace

std::vector<Metric> status_metrics(const StatusReport& report) {
    std::vector<Metric> out;
    gauge(out, "braid_epoch", "Number of the present view", static_cast<double>(report.epoch.v));
    double up = 0;
    for (const ControllerInfo& c : report.controllers) up += c.state == ControllerState::up ? 1 : 0;
    gauge(out, "braid_controllers_up", "Controllers of the present view", up);
    for (const Condition& c : report.conditions) {
        gauge(out, "braid_condition", "1 while the condition is there", 1,
              {{"code", c.code}, {"severity", std::string(severity_name(c.severity))}, {"object", c.object}});
    }
    for (const GroupInfo& g : report.groups) group_metrics(out, g);
    for (const JobInfo& j : report.jobs) {
        if (j.state != JobState::running) continue;
        gauge(out, "braid_job_done_bytes", "Finished bytes of a running job",
              static_cast<double>(j.done_bytes),
              {{"job", std::to_string(j.id)}, {"kind", j.kind}, {"group", j.group}});
        gauge(out, "braid_job_total_bytes", "All bytes of a running job", static_cast<double>(j.total_bytes),
              {{"job", std::to_string(j.id)}, {"kind", j.kind}, {"group", j.group}});
    }
    return out;
}

std::string metrics_page(const std::vector<Metric>& metrics) {
    std::map<std::string_view, std::string> families;  // all samples of a name must follow each other
    std::vector<std::string_view> order;
    for (const Metric& m : metrics) {
        auto [family, fresh] = families.try_emplace(m.name);
        std::string& text = family->second;
        if (fresh) {
            order.push_back(m.name);
            if (!m.help.empty()) text += fmt::format("# HELP {} {}\n", m.name, escaped(m.help));
            const char* const type = !m.buckets.empty() ? "histogram" : m.counter ? "counter" : "gauge";
            text += fmt::format("# TYPE {} {}\n", m.name, type);
        }
        if (m.buckets.empty()) {
            sample(text, m.name, m.labels, m.value);
            continue;
        }
        for (const auto& [bound, count] : m.buckets) {
            Labels labels = m.labels;
            labels.emplace_back("le", std::isinf(bound) ? "+Inf" : fmt::format("{}", bound));
            sample(text, m.name + "_bucket", labels, static_cast<double>(count));
        }
        sample(text, m.name + "_sum", m.labels, m.value);
        sample(text, m.name + "_count", m.labels, static_cast<double>(m.buckets.back().second));
    }
    std::string page;
    for (const std::string_view name : order) page += families[name];
    return page;
}

}  // namespace braid::admin
