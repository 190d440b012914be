// A controller that exists in memory only, and the thread it lives on: what tests of the control API and of
// its command line talk to.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <limits>
#include <mutex>
#include <thread>

#include "admin/calls.h"
#include "controller/admin_target.h"

namespace braid::admin {

class FakeTarget final : public AdminTarget {
public:
    explicit FakeTarget(Executor& executor) : never_(executor) {
        for (int i = 0; i < 6; ++i) disk_names.push_back(fmt::format("/srv/disks/d{}", i));
    }

    StatusReport status() override {
        StatusReport r;
        r.observed_by = "ctl-a";
        r.now = 100s;
        r.epoch = Epoch(4);
        r.health = Health::degraded;
        r.controllers = {
            {"ctl-a",
             ControllerId(1),
             41,
             ControllerState::up,
             Incarnation(1),
             "127.0.0.1:7420",
             "rack1",
             "north",
             0,
             {"g0"}},
            {"ctl-b", ControllerId(2), 42, ControllerState::fenced, Incarnation(0), "", "", "", 4, {}}};
        for (const CreateGroup& g : groups) {
            GroupInfo info;
            info.name = g.name;
            info.level = g.level;
            info.data = static_cast<unsigned>(g.disks.size()) - 2;
            info.parity = 2;
            info.health = Health::degraded;
            info.usable_bytes = 4ull << 30;
            info.used_bytes = 1ull << 30;
            info.redundancy_remaining = 1;
            info.members.assign(g.disks.size(), MemberCondition::ok);
            info.members[3] = MemberCondition::failed;
            info.disks = g.disks;
            info.sharing = g.sharing;
            info.power_loss = g.power_loss;
            info.checksums = g.checksums.value_or(true);
            r.groups.push_back(info);
            r.redundancy_remaining = 1;
        }
        r.jobs = jobs;
        r.conditions = {
            {"CONTROLLER_DOWN", Severity::warning, "ctl-b", "it was fenced", 90s, "braid demo start ctl-b"}};
        r.nbd_addresses = {"127.0.0.1:10809", "unix:/run/nbd.sock"};
        return r;
    }
    std::vector<VolumeInfo> volumes() override { return volumes_; }
    std::vector<PortInfo> ports() override {
        return {{"v0", "g0", "ctl-a", PortState::open, 3},
                {"v0", "g0", "ctl-b", PortState::absent, {}},
                {"v0", "g0", "ctl-x", PortState::open, {}, true, "ctl-a"}};
    }
    std::vector<DiskInfo> disks() override {
        std::vector<DiskInfo> all;
        for (const std::string& name : disk_names) all.push_back(DiskInfo{.name = name, .size = 1ull << 30});
        return all;
    }
    std::vector<Metric> metrics() override {
        return {{"braid_disk_io_bytes_total", "Bytes", true, {{"disk", "d\"0"}}, 4096},
                {"braid_other", "Other", false, {}, 1.5},
                {"braid_wait_seconds",
                 "Waits",
                 false,
                 {{"group", "g0"}},
                 2.5,
                 {{0.5, 3}, {std::numeric_limits<double>::infinity(), 4}}},
                {"braid_disk_io_bytes_total", "Bytes", true, {{"disk", "d1"}}, 1}};
    }
    LoadReport load(std::size_t) override {
        ++looks;
        AmfLoad amf{.group = "g0", .reads = 10 * looks, .read_bytes = 40960 * looks, .writes = 5 * looks};
        amf.lock_requests = {{"held", 7 * looks}, {"peer", 3 * looks}, {"cancelled", 0}};
        amf.lock_messages = {{"lock_request", 4 * looks}};
        amf.lock_waits = 2 * looks;
        amf.lock_wait_sum = looks * Nanos(6ms);
        amf.lock_wait_median = 2ms;
        amf.lock_wait_p99 = 4ms;
        HotUnitInfo hot{.group = "g0", .unit = 3, .range = {786432, 262144}, .volume = "v0"};
        hot.volume_offset = 786432;
        hot.holders = {{"ctl-a", true}};
        hot.waiting = {{"ctl-b", true}};
        hot.transfers_per_s = 120;
        hot.mean_wait = 250us;
        hot.ping_pong = true;
        HotUnitInfo tables{.group = "g0", .transfers_per_s = 2};
        return {"ctl-a",
                looks * Nanos(2s),
                {amf},
                {{"ctl-b", 100 * looks, 20 * looks, 65536 * looks}},
                {hot, tables}};
    }
    std::optional<GroupMap> group_map(const std::string& group, std::size_t bands) override {
        if (groups.empty() || groups[0].name != group) return std::nullopt;
        GroupMap map{.group = group, .band_bytes = 16 << 20, .disks = {}, .bands = {}};
        map.disks = {{"/srv/disks/d0", MemberCondition::ok, 64 << 20},
                     {"", MemberCondition::missing, 64 << 20},
                     {"/srv/disks/d2", MemberCondition::ok, 32 << 20}};
        map.bands = {{{1, 7, MapUse::content}, {1, 7, MapUse::content}, {}},
                     {{1, 12, MapUse::moving}, {2, 3, MapUse::content}, {1, 7, MapUse::copying}}};
        map.bands.resize(std::min(bands, map.bands.size()));
        return map;
    }
    Task<AdminResult<Outcome>> create_group(CreateGroup r) override {
        if (!r.force && r.disks[0].ends_with("d5")) {
            co_return refuse(Errc::would_lose_data, "disk d5 carries an ext4 file system",
                             "--force overwrites it");
        }
        if (!r.dry_run) groups.push_back(r);
        co_return Outcome{{fmt::format("create {}", r.name)}, {}};
    }
    Task<AdminResult<Outcome>> set_group(SetGroup r) override {
        if (groups.empty() || groups[0].name != r.name)
            co_return refuse(Errc::not_found, "no group " + r.name);
        if (!r.dry_run) groups[0].sharing = r.change.applied_to(groups[0].sharing);
        co_return Outcome{{"set " + r.name}, {}};
    }
    Task<AdminResult<Outcome>> scrub_group(ScrubGroup r) override {
        const std::string& group = r.name;
        if (groups.empty() || groups[0].name != group) co_return refuse(Errc::not_found, "no group " + group);
        jobs = {{.id = 7,
                 .kind = "scrub",
                 .group = group,
                 .done_bytes = 50,
                 .total_bytes = 100,
                 .rate_bps = 10,
                 .priority = r.priority,
                 .shares = {{"ctl-a", 40}, {"ctl-b", 10}}}};
        co_return Outcome{{"scrub " + group}, 7};
    }
    Task<AdminResult<Outcome>> change_job(std::uint64_t id, JobChange change, bool dry_run) override {
        if (jobs.empty() || jobs[0].id != id) co_return refuse(Errc::not_found, "no such job");
        constexpr std::array states{JobState::paused, JobState::running, JobState::cancelled};
        if (!dry_run) jobs[0].state = states[static_cast<std::size_t>(change)];
        co_return Outcome{{"change it"}, {}};
    }
    Task<AdminResult<Outcome>> set_job(SetJob r) override {
        if (jobs.empty() || jobs[0].id != r.id) co_return refuse(Errc::not_found, "no such job");
        if (!r.dry_run) jobs[0].priority = r.priority;
        co_return Outcome{{"set it"}, {}};
    }
    Task<AdminResult<Outcome>> create_volume(CreateVolume r) override {
        if (!r.dry_run) volumes_.push_back({r.name, r.group, 1, r.size, false, {}});
        co_return Outcome{{"create " + r.name}, {}};
    }
    Task<AdminResult<Outcome>> delete_volume(std::string volume, bool, bool) override {
        const auto gone = std::erase_if(volumes_, [&](const VolumeInfo& v) { return v.name == volume; });
        if (gone == 0) co_return refuse(Errc::not_found, "no virtual disk " + volume);
        co_return Outcome{{"delete " + volume}, {}};
    }
    Task<AdminResult<Outcome>> create_ports(CreatePorts r) override {
        co_return Outcome{{"port " + r.volume}, {}};
    }
    Task<AdminResult<Outcome>> delete_port(std::string volume, std::string controller, bool) override {
        co_return Outcome{{fmt::format("delete {} {}", volume, controller)}, {}};
    }
    Task<AdminResult<Outcome>> add_disk(AddDisk r) override {
        if (r.replaces.empty()) co_return Outcome{{fmt::format("add {} to {}", r.disk, r.group)}, {}};
        co_return Outcome{{fmt::format("replace {} by {}", r.replaces, r.disk)}, {}};
    }
    Task<AdminResult<Outcome>> expand_group(ExpandGroup r) override {
        co_return Outcome{{fmt::format("expand {} by {} disks", r.name, r.disks.size())}, {}};
    }
    Task<AdminResult<Outcome>> remove_disk(std::string disk, bool) override {
        jobs = {{.id = 9, .kind = "rebuild", .group = "g0", .state = JobState::done}};
        co_return Outcome{{"remove " + disk}, 9};
    }
    Task<AdminResult<Outcome>> fail_disk(std::string disk, bool) override {
        co_return Outcome{{"fail " + disk}, {}};
    }
    Task<AdminResult<Outcome>> fence_controller(std::string, bool) override {
        co_await never_;
        co_return refuse(Errc::busy, "never said");
    }

    std::vector<std::string> disk_names;
    std::vector<CreateGroup> groups;
    std::uint64_t looks = 0;  ///< at the load
    std::vector<JobInfo> jobs;

private:
    std::vector<VolumeInfo> volumes_;
    Event never_;
};

/// Runs what is posted until it is destroyed.
class FakeDataThread final : public DataThread {
public:
    FakeDataThread() : thread_([this] { run(); }) {}
    ~FakeDataThread() override {
        post([this] { stop_ = true; });
        thread_.join();
    }
    void post(std::move_only_function<void()> act) override {
        const std::lock_guard guard(mutex_);
        acts_.push_back(std::move(act));
        changed_.notify_one();
    }
    Executor& executor() override { return executor_; }
    /// Runs `act` there and waits for it.
    void call(std::move_only_function<void()> act) {
        std::promise<void> done;
        post([&] {
            act();
            done.set_value();
        });
        done.get_future().wait();
    }

private:
    void run() {
        while (!stop_) {
            std::move_only_function<void()> act;
            {
                std::unique_lock guard(mutex_);
                changed_.wait(guard, [this] { return !acts_.empty(); });
                act = std::move(acts_.front());
                acts_.pop_front();
            }
            act();
            executor_.run_until_idle();
        }
    }
    std::mutex mutex_;  // guards acts_
    std::condition_variable changed_;
    std::deque<std::move_only_function<void()>> acts_;
    bool stop_ = false;
    Executor executor_;
    std::thread thread_;
};

}  // namespace braid::admin
