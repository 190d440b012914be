#include "sim/cluster.h"

#include <algorithm>

#include "base/log.h"
#include "sim/checkers/parity.h"

namespace braid::sim {
namespace {

// A controller that has served for so long, and finishes nothing for others, has its copies where they
// belong.
constexpr Nanos kSettled = 300ms;

}  // namespace

Cluster::Running::Running(Cluster& cluster, Process& process, const std::string& name)
    : network(cluster.wires_, process),
      store(process, cluster.record_),
      shelf(process, cluster.media_),
      controller(Environment{process.executor, process.clock, network, store, shelf, process.random},
                 ControllerConfig{.name = name,
                                  .peer_address = "sim:0",
                                  .ping_timeout = cluster.plan_.ping_timeout,
                                  .intent_idle = cluster.plan_.intent_idle}),
      scope(process.executor) {}

Cluster::Cluster(World& world, const Plan& plan, FaultSeen seen)
    : world_(world),
      plan_(plan),
      wires_(world),
      nodes_(plan.controllers),
      seen_(std::move(seen)),
      prng_(world.prng.split(0xc1)) {
    const auto level = *parse_level(plan.level);
    const Geometry geometry =
        *Geometry::make(level, plan.disks, static_cast<std::uint32_t>(plan.strip_size), plan.copies);
    const std::uint64_t segments = (4 * geometry.width() + plan.disks - 1) / plan.disks + 1;
    const std::uint64_t size = (16u << 20) + segments * geometry.segment_size();
    for (std::size_t i = 0; i < plan.disks; ++i) {
        media_.push_back(std::make_unique<Media>(world_, i, size / kBlockSize * kBlockSize));
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i)
        nodes_[i].name = "ctl-" + std::string(1, static_cast<char>('a' + i));
    HostOptions options;
    options.volume_size = 3 * kExtentSize - 3 * kSector;
    options.stripe_size = geometry.stripe_size();
    options.hosts = plan.hosts;
    options.think_max = plan.think_max;
    options.hot = plan.hot;
    options.power_cuts = plan.power_cuts;
    hosts_ = std::make_unique<Hosts>(world_, *this, options);
    Operator::Options operations;
    operations.pick = [this](Prng& prng) -> std::optional<Operator::Desk> {
        const std::size_t first = prng.below(nodes_.size());
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            Node& node = nodes_[(first + i) % nodes_.size()];
            if (serving(node))
                return Operator::Desk{node.process, &node.running->controller, &node.running->scope};
        }
        return std::nullopt;
    };
    operations.may_fail_disk = [this]() -> std::optional<std::string> {
        Media* media = healthy_disk(prng_);
        if (media == nullptr) return std::nullopt;
        const auto id = media->id();
        strikes({}, Mark::disk_declared, id);
        media->dead = prng_.chance(1, 2);  // else it goes on answering with what it has
        media->declared = true;
        ++disks_failed_;
        return (id < 10 ? "d0" : "d") + std::to_string(id);
    };
    operations.pause_max = plan.operator_pause;
    operations.verify_is_clean = covered() && plan.disk_faults == 0;  // an unreadable strip counts
    operator_ = std::make_unique<Operator>(world_, std::move(operations));
}

Cluster::~Cluster() {
    over_ = true;
    for (Node& node : nodes_) {
        if (node.process) node.process->destroy = nullptr;
        node.running.reset();
    }
}

// ---- processes

void Cluster::start_node(std::size_t index) {
    Node& node = nodes_[index];
    if (node.running || over_ || dark_) return;
    node.process = world_.start_process(node.name);
    node.running = std::make_unique<Running>(*this, *node.process, node.name);
    node.process->destroy = [this, index] { node_died(index); };
    node.running->scope.spawn(live(*this, index));
}

void Cluster::node_died(std::size_t index) {
    Node& node = nodes_[index];
    if (Amf* amf = amf_of(node)) {
        recovered_ += amf->counters().recovered_redo + amf->counters().recovered_data;
        if (!over_) check_resynced(node);
    }
    node.running.reset();
    node.serving_since = Nanos{0};
    if (over_) return;
    ++deaths_since_calm_;
    hosts_->process_died(*node.process);
    operator_->process_died(*node.process);
}

Task<void> Cluster::live(Cluster& cluster, std::size_t index) {
    Node& node = cluster.nodes_[index];
    Process& process = *node.process;
    World& world = cluster.world_;
    Controller& controller = node.running->controller;
    const Status started = co_await controller.start();
    if (started) co_await controller.fenced();
    // Not let in (its name is still alive), or thrown out: the program ends.
    world.after(1us, [&world, &process] { world.crash(process); });
    world.after(300ms, [&cluster, index] { cluster.start_node(index); });
}

Amf* Cluster::amf_of(Node& node) {
    if (!node.running || node.running->controller.groups().empty()) return nullptr;
    GroupRuntime& group = *node.running->controller.groups().begin()->second;
    return group.tables().loaded() ? &group.amf() : nullptr;
}

bool Cluster::serving(Node& node) {
    if (!node.running || node.running->controller.groups().empty()) return false;
    return node.running->controller.groups().begin()->second->state() == GroupRuntime::State::serving;
}

bool Cluster::rested(Node& node) {
    return serving(node) && !node.process->paused && node.serving_since != Nanos{0} &&
           world_.now() - node.serving_since >= kSettled;
}

bool Cluster::settled(Node& node) {
    return rested(node) && amf_of(node)->conditions().recovering_units == 0 &&
           amf_of(node)->replicator().store().orphan_stripes().empty();
}

std::optional<Ports::Place> Cluster::pick(Prng& prng) {
    const std::size_t first = prng.below(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        Node& node = nodes_[(first + i) % nodes_.size()];
        if (!serving(node)) continue;
        if (auto port = node.running->controller.registry().find("v")) {
            return Place{node.process, std::move(port), &node.running->scope};
        }
    }
    return std::nullopt;
}

template <class T>
bool Cluster::wait_for(std::size_t index, Task<T> task, std::optional<T>& out, Nanos limit) {
    nodes_[index].running->scope.spawn(into(std::move(task), out));
    return world_.run_until([&] { return out.has_value(); }, limit);
}

// ---- phases

bool Cluster::set_up() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) start_node(i);
    const auto all_in = [&] {
        return std::all_of(nodes_.begin(), nodes_.end(), [&](const Node& n) {
            return n.running && n.running->controller.view().members.size() == nodes_.size();
        });
    };
    if (!world_.run_until(all_in, 20s)) {
        fail("the controllers did not form one view");
        return false;
    }
    CreateGroup group;
    group.name = "g";
    group.level = plan_.level;
    group.strip_size = plan_.strip_size;
    group.lock_unit = plan_.lock_unit;
    group.dimension = plan_.dimension;
    group.copies = plan_.copies;
    for (std::size_t i = 0; i < plan_.disks; ++i)
        group.disks.push_back((i < 10 ? "d0" : "d") + std::to_string(i));
    std::optional<AdminResult<braid::Outcome>> made, volume, ports;
    Controller& first = nodes_[0].running->controller;
    if (!wait_for(0, first.create_group(group), made, 30s) || !*made) {
        fail("the group was not created: " + (made ? made->error().detail : std::string("no answer")));
        return false;
    }
    const std::uint64_t data_start = amf_of(nodes_[0])->tables().config().data_start;
    for (auto& media : media_) media->data_starts(data_start);
    if (!wait_for(0, first.create_volume({"v", "g", 3 * kExtentSize - 3 * kSector, false}), volume, 30s) ||
        !*volume) {
        fail("the volume was not created: " + (volume ? volume->error().detail : std::string("no answer")));
        return false;
    }
    if (!wait_for(0, first.create_ports({"v", {}, false}), ports, 30s) || !*ports) {
        fail("the ports were not created: " + (ports ? ports->error().detail : std::string("no answer")));
        return false;
    }
    return true;
}

/// Looks at the living every so often; checks that nobody shares a lock with a writer.
void Cluster::watch() {
    // The members see who is in whose way at any time; locks are looked at now and then.
    const bool look = ++looks_ % 5 == 0;
    locks_.begin();
    for (Node& node : nodes_) {
        if (!serving(node)) {
            node.serving_since = Nanos{0};
            continue;
        }
        if (node.serving_since == Nanos{0}) node.serving_since = world_.now();
        check_resynced(node);
        const std::string wrong = look ? locks_.add(node.name, *amf_of(node)) : std::string{};
        if (!wrong.empty()) fail("single writer: " + wrong);
    }
    const auto calm = [&](Node& node) { return !node.running || settled(node); };
    if (std::ranges::all_of(nodes_, calm)) {
        deaths_since_calm_ = 0;
        for (Node& node : nodes_) deaths_since_calm_ += rested(node) ? 0 : 1;
    }
    if (!over_) world_.after(10ms, [this] { watch(); });
}

/// Where a copy of every record has survived, parity is right before anybody resyncs it.
void Cluster::check_resynced(Node& node) {
    const std::uint64_t stripes = amf_of(node)->counters().resynced;
    if (stripes == 0 || !covered()) return;
    fail("resync: " + node.name + " corrected " + std::to_string(stripes) +
         " stripes although copies of all records survived");
}

bool Cluster::may_lose_one() {
    std::size_t rested_now = 0;
    for (Node& node : nodes_) rested_now += rested(node) ? 1 : 0;
    const std::size_t lost = std::max<std::size_t>(nodes_.size() - rested_now + doomed_, deaths_since_calm_);
    const std::size_t copies = std::min<std::size_t>(std::max(plan_.dimension, 2u), nodes_.size());
    return rested_now >= 2 && lost + 1 < std::max<std::size_t>(copies, 2);
}

std::size_t Cluster::random_node(Prng& prng, bool rested_only) {
    const std::size_t first = prng.below(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const std::size_t index = (first + i) % nodes_.size();
        if (rested_only ? rested(nodes_[index]) : serving(nodes_[index])) return index;
    }
    return nodes_.size();
}

void Cluster::settle() {
    faulty_ = false;
    hosts_->quiet();
    operator_->quiet();
    wires_.heal();
    wires_.spike = Nanos{0};
    wires_.slow.clear();
    for (auto& media : media_) {
        media->slow = 1;
        media->bad.clear();
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].process->paused) world_.resume(*nodes_[i].process);
        nodes_[i].process->no_disks = false;
    }
    const auto all_serve = [&] {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            if (!nodes_[i].running) start_node(i);
        }
        return std::all_of(nodes_.begin(), nodes_.end(), [&](Node& n) { return settled(n); });
    };
    world_.run_until([] { return false; }, 1s);
    if (!world_.run_until(all_serve, 60s)) {
        std::string who;
        for (Node& node : nodes_)
            who += " " + node.name + (node.running ? serving(node) ? "=up" : "=waits" : "=down");
        fail("liveness: not all controllers serve again 60 s after the last fault:" + who);
        return;
    }
    if (!all_answered()) return;
    open_all_ports();
    hosts_->resume();
    world_.run_until([] { return false; }, 300ms);
    hosts_->quiet();
    if (!all_answered()) return;
    if (!world_.run_until([this] { return jobs_done(); }, kJobs))
        fail("liveness: records, recoveries or resyncs do not end:" + unfinished());
}

std::string Cluster::unfinished() {
    std::string out;
    for (Node& node : nodes_) {
        if (!node.running || !serving(node)) continue;
        const Replicator& records = amf_of(node)->replicator();
        out += " " + node.name + " recovers " + std::to_string(amf_of(node)->conditions().recovering_units) +
               " units, has " + std::to_string(records.live_records()) +
               " records of its own and orphans of " +
               std::to_string(records.store().orphan_stripes().size()) + " stripes;";
        for (const JobInfo& job : node.running->controller.status().jobs) {
            if (job.state != JobState::running) continue;
            out += " " + job.kind + " at " + std::to_string(job.done_bytes) + " of " +
                   std::to_string(job.total_bytes) + ";";
        }
    }
    return out;
}

/// On those who are there.
bool Cluster::jobs_done() {
    for (Node& node : nodes_) {
        if (!node.running) continue;
        if (!serving(node)) return false;
        const StatusReport report = node.running->controller.status();
        for (const JobInfo& job : report.jobs) {
            if (job.state == JobState::running) return false;
        }
        for (const Condition& condition : report.conditions) {
            if (condition.code == "RESYNC") return false;
        }
        const Replicator& records = amf_of(node)->replicator();
        if (amf_of(node)->conditions().recovering_units != 0 || records.live_records() != 0) return false;
        if (!records.store().orphan_stripes().empty()) return false;
    }
    return true;
}

/// The dead are still away: what they left half-written is right by the records alone, or, if all who had
/// them died, after a resync by the survivors.
void Cluster::look_after_death() {
    if (gone_ == 0) return;
    hosts_->quiet();
    operator_->quiet();
    wires_.spike = Nanos{0};
    wires_.slow.clear();
    const auto survivors_rest = [&] {
        bool rest = hosts_->idle() && operator_->idle();
        for (Node& node : nodes_) {
            if (!node.running) continue;
            rest = rest && node.running->controller.view().members.size() + gone_ == nodes_.size();
        }
        return rest && jobs_done();
    };
    if (!world_.run_until(survivors_rest, kJobs))
        return fail("liveness: the survivors of a death do not come to rest:" + unfinished());
    world_.run_until([] { return false; }, 10ms);
    if (!world_.run_until([this] { return jobs_done(); }, kJobs))
        return fail("liveness: a resync after a death does not end:" + unfinished());
    const auto survivor = std::ranges::find_if(nodes_, [&](Node& n) { return serving(n); });
    if (survivor == nodes_.end()) return fail("nobody serves after a death");
    look_at_parity("after a death", static_cast<std::size_t>(survivor - nodes_.begin()));
}

void Cluster::look_at_parity(const std::string& when, std::size_t through) {
    const std::string wrong = check_parity(amf_of(nodes_[through])->tables(), media_);
    if (!wrong.empty()) fail("parity " + when + ": " + wrong);
}

bool Cluster::all_answered() {
    const bool all = world_.run_until([&] { return hosts_->idle() && operator_->idle(); }, 60s);
    if (!all) {
        fail("liveness: operations still wait 60 s after the last fault:\n" + hosts_->pending() +
             operator_->pending());
    }
    return all;
}

void Cluster::open_all_ports() {
    Controller& first = nodes_[0].running->controller;
    std::optional<AdminResult<braid::Outcome>> ports;
    const bool answered = wait_for(0, first.create_ports({"v", {}, false}), ports, 30s);
    if (!answered || (!*ports && ports->error().code != Errc::exists)) {
        fail("the ports were not opened again: " +
             (ports ? ports->error().detail : std::string("no answer")));
    }
}

/// The group's own opinion of its parity, through some controller.
void Cluster::verify() {
    Running& running = *nodes_[prng_.below(nodes_.size())].running;
    const std::size_t index = static_cast<std::size_t>(
        std::ranges::find_if(nodes_, [&](const Node& n) { return n.running.get() == &running; }) -
        nodes_.begin());
    std::optional<AdminResult<braid::Outcome>> begun;
    if (!wait_for(index, running.controller.verify_group("g", false), begun, 30s) || !*begun ||
        !(*begun)->job) {
        fail("the final verify did not begin");
        return;
    }
    std::optional<JobInfo> job;
    const auto ended = [&] {
        for (JobInfo& info : running.controller.status().jobs) {
            if (info.id == *(*begun)->job) job = std::move(info);
        }
        return job && job->state != JobState::running;
    };
    const bool in_time = world_.run_until(ended, 300s);
    if (!in_time || job->state != JobState::done) fail("the final verify did not end well");
    if (job && job->mismatches != 0) {
        fail("the final verify found " + std::to_string(job->mismatches) + " stripes: " + job->detail);
    }
}

void Cluster::final_checks() {
    look_at_parity("at the end", 0);
    if (!read_everywhere()) return;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (Amf* amf = amf_of(nodes_[i])) {
            recovered_ += amf->counters().recovered_redo + amf->counters().recovered_data;
            if (amf->conditions().quarantined_stripes != 0) fail("stripes were quarantined");
        }
    }
    const std::string judged = hosts_->judge();
    if (!judged.empty()) fail("one disk: " + judged);
}

bool Cluster::read_everywhere() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        std::optional<Status> read;
        if (!wait_for(i, hosts_->read_all(nodes_[i].running->controller.registry().find("v")), read, 60s) ||
            !*read) {
            fail("read: everything was not read through " + nodes_[i].name);
            return false;
        }
    }
    return true;
}

/// As many members as the level survives are gone: what parity says is what was written.
void Cluster::read_without_some() {
    const Tables& tables = amf_of(nodes_[0])->tables();
    unsigned left = tables.config().geometry.m;
    const std::size_t first = prng_.below(media_.size());
    for (std::size_t i = 0; i < media_.size(); ++i) {
        if (!tables.member_ok(MemberIndex(static_cast<std::uint8_t>(i)))) --left;
    }
    for (std::size_t i = 0; i < media_.size() && left > 0; ++i) {
        const std::size_t member = (first + i) % media_.size();
        if (!tables.member_ok(MemberIndex(static_cast<std::uint8_t>(member)))) continue;
        media_[member]->dead = true;
        --left;
    }
    if (!read_everywhere()) return;
    const std::string judged = hosts_->judge();
    if (!judged.empty()) fail("one disk, without some members: " + judged);
}

Task<void> Cluster::leave(Cluster& cluster, std::size_t index, bool& done) {
    co_await cluster.nodes_[index].running->controller.stop();
    done = true;
}

void Cluster::orderly_end() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        bool done = false;
        nodes_[i].running->scope.spawn(leave(*this, i, done));
        if (!world_.run_until([&] { return done; }, 30s)) {
            fail("liveness: " + nodes_[i].name + " does not stop in order");
            return;
        }
        Process& process = *nodes_[i].process;
        world_.crash(process);
    }
    if (record_.holder != 0) fail("the member store's lock was left taken");
}

Outcome Cluster::run() {
    if (set_up()) {
        watch();
        hosts_->errors_allowed = false;
        hosts_->start();
        if (plan_.operators) operator_->start();
        world_.run_until([] { return false; }, 1s);
        if (plan_.rounds != 0) {
            run_rounds();
        } else {
            faulty_ = true;
            schedule_fault(1);
            world_.run_until([] { return false; }, plan_.faults_for);
        }
        if (world_.violated().empty()) settle();
        if (world_.violated().empty()) final_checks();
        if (world_.violated().empty() && prng_.chance(1, 4)) verify();
        if (world_.violated().empty() && prng_.chance(2, 3)) read_without_some();
        if (world_.violated().empty()) orderly_end();
    }
    over_ = true;
    Outcome out;
    out.failure = world_.violated();
    out.hash = world_.hash();
    out.events = world_.events();
    out.operations = hosts_->finished();
    out.checked = hosts_->checked();
    out.marks = world_.marks;
    out.recovered = recovered_;
    out.virtual_time = world_.now();
    return out;
}

}  // namespace braid::sim
