// The numbers of the metrics page, from the plain counters of the parts.
#include "controller/controller.h"

namespace braid {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Page {
public:
    void counter(std::string name, std::string help, Labels labels, std::uint64_t value) {
        add(std::move(name), std::move(help), true, std::move(labels), static_cast<double>(value));
    }
    void gauge(std::string name, std::string help, Labels labels, double value) {
        add(std::move(name), std::move(help), false, std::move(labels), value);
    }
    std::vector<Metric> take() { return std::move(metrics_); }

private:
    void add(std::string name, std::string help, bool counter, Labels labels, double value) {
        metrics_.push_back({std::move(name), std::move(help), counter, std::move(labels), value});
    }
    std::vector<Metric> metrics_;
};

}  // namespace

std::vector<Metric> Controller::metrics() {
    Page page;
    page.gauge("braid_epoch", "Epoch of the view.", {}, static_cast<double>(view_.epoch.v));
    page.gauge("braid_controllers", "Controllers in the view.", {},
               static_cast<double>(view_.members.size()));
    for (const Condition& condition : status().conditions) {
        page.gauge("braid_condition", "1 while the condition is there.",
                   {{"code", condition.code}, {"object", condition.object}}, 1);
    }
    const auto each_group = [&](auto&& call) {
        for (const auto& [uuid, group] : groups_) {
            if (group->tables().loaded()) call(group->name(), *group);
        }
    };
    each_group([&](const std::string& name, GroupRuntime& group) {
        page.gauge("braid_group_redundancy_remaining_disks", "Disks that may still fail.", {{"group", name}},
                   describe(group).redundancy_remaining);
    });
    each_group([&](const std::string& name, GroupRuntime& group) {
        const GroupInfo info = describe(group);
        page.gauge("braid_group_capacity_bytes", "Logical space.", {{"group", name}, {"kind", "usable"}},
                   static_cast<double>(info.usable_bytes));
        page.gauge("braid_group_capacity_bytes", "Logical space.", {{"group", name}, {"kind", "allocated"}},
                   static_cast<double>(info.used_bytes));
    });
    each_group([&](const std::string& name, GroupRuntime& group) {
        page.gauge("braid_group_dirty_regions",
                   "Regions of 4 MiB that may hold half-written stripes of this controller.",
                   {{"group", name}}, static_cast<double>(group.tables().dirty_regions()));
    });
    static constexpr std::array<const char*, kWritePaths> paths = {"full", "rmw", "rcw", "degraded"};
    each_group([&](const std::string& name, GroupRuntime& group) {
        for (std::size_t i = 0; i < kWritePaths; ++i) {
            page.counter("braid_stripe_writes_total", "Stripe writes by path.",
                         {{"group", name}, {"path", paths[i]}}, group.amf().counters().stripe_writes[i]);
        }
    });
    each_group([&](const std::string& name, GroupRuntime& group) {
        const AmfCounters& c = group.amf().counters();
        const auto add = [&](const char* kind, std::uint64_t value) {
            page.counter("braid_recoveries_total", "Writes of lost controllers that were finished here.",
                         {{"group", name}, {"kind", kind}}, value);
        };
        add("redo", c.recovered_redo);
        add("data", c.recovered_data);
        add("dropped", c.recovered_dropped);
    });
    each_group([&](const std::string& name, GroupRuntime& group) {
        const LockCounters& c = group.amf().locks().counters();
        page.counter("braid_lock_requests_total", "Locks by how they were had.",
                     {{"group", name}, {"result", "held"}}, c.held);
        page.counter("braid_lock_requests_total", "Locks by how they were had.",
                     {{"group", name}, {"result", "peer"}}, c.peer);
    });
    each_group([&](const std::string& name, GroupRuntime& group) {
        page.counter("braid_lock_wait_seconds_total", "Time spent waiting for locks.", {{"group", name}},
                     group.amf().locks().counters().wait_ns / 1'000'000'000);
    });
    for (const DiskInfo& disk : disks()) {
        if (disk.group.empty()) continue;
        page.counter("braid_disk_io_bytes_total", "Bytes moved by this controller.",
                     {{"disk", disk.name}, {"op", "read"}}, disk.read_bytes);
        page.counter("braid_disk_io_bytes_total", "Bytes moved by this controller.",
                     {{"disk", disk.name}, {"op", "write"}}, disk.written_bytes);
    }
    return page.take();
}

}  // namespace braid
