#include "sim/cluster.h"

#include <algorithm>

#include "base/log.h"

namespace braid::sim {
namespace {

// A controller that has served for so long, and finishes nothing for others, has its copies where they
// belong.
constexpr Nanos kSettled = 300ms;

}  // namespace

constexpr std::uint32_t kMixedExtents = 4;  // the first ones

Cluster::Cluster(World& world, const Plan& plan, FaultSeen seen)
    : world_(world),
      plan_(plan),
      wires_(world),
      nodes_(plan.all()),
      seen_(std::move(seen)),
      prng_(world.prng.split(0xc1)) {
    media_ = make_media(world_, plan);
    for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i].name = controller_name(i);
    HostOptions options;
    options.volume_size = kVolumeSize;
    options.stripe_size = geometry_of(plan).stripe_size();
    options.hosts = plan.hosts;
    options.think_max = plan.think_max;
    options.work = plan.work;
    // With write-back the journal keeps what was flushed; what was not dies with all controllers.
    const bool dirty = plan.sharing.write_cache == WriteCache::back && plan.dimension > 1;
    options.early = plan.early_answers() || plan.set_replication;
    const bool all_may_go = dirty && (plan.cluster_kill || plan.sharing.few_partners == FewPartners::go_on);
    options.window = all_may_go ? std::numeric_limits<std::size_t>::max() : plan.window;
    options.power_cuts = plan.power_cuts || all_may_go || options.early;
    options.journal = plan.power_loss == PowerLoss::journal && !dirty;
    options.writes_repeat = resync_needed() || plan.dimension < 2;
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
        return disk_name(id);
    };
    record_.replaced = [this](Epoch before) { count_view(before); };
    operations.pause_max = plan.operator_pause;
    operations.may_lose = all_may_go || options.early;
    operations.outside = outside_names(plan);
    operations.scrub_is_clean =
        plan.disk_faults == 0;  // what a missing member makes half-written stripes of counts
    operations.additions = plan.operators ? plan.additions : 0;
    operations.add = Prng(mix64(plan.seed) ^ 0xadd1ull);
    operations.fit = [this](const std::string& name) {
        return std::ranges::any_of(
            media_, [&](const auto& one) { return name.ends_with(disk_name(one->id())) && healthy(*one); });
    };
    operations.back = [this] {
        std::vector<std::string> out;
        const Tables* tables = some_tables();
        for (const auto& media : media_) {
            const auto member = tables != nullptr ? member_on(*media) : std::nullopt;
            if (!member || media->dead || media->fails_writes || media->errors_of_1000 != 0) continue;
            if (tables->state().members[member->v].state == MemberState::failed)
                out.push_back(disk_name(media->id()));
        }
        return out;
    };
    if (plan.returns) operations.take_back = Prng(mix64(plan.seed) ^ 0x4e70ull);
    operations.reshapes = plan.operators ? plan.reshapes : 0;
    operations.shapes = Prng(mix64(plan.seed) ^ 0x4e5ull);
    operations.removals = plan.operators ? plan.removals : 0;
    operations.remove = Prng(mix64(plan.seed) ^ 0x1ea7eull);
    if (plan.sets_jobs) operations.set_jobs = Prng(mix64(plan.seed) ^ 0x5c12cull);
    operations.set_replication = plan.set_replication;
    if (plan.set_sharing) operations.set_sharing = Prng(mix64(plan.seed) ^ 0x5e76ull);
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
    if (node.running || over_ || dark_ || world_.now() < node.not_before) return;
    node.process = world_.start_process(node.name);
    if (plan_.clocks) {
        Prng prng(mix64(plan_.seed) ^ mix64(node.process->pid));
        node.process->clock.set(Nanos(static_cast<std::int64_t>(prng.below(1ull << 50))),
                                static_cast<unsigned>(prng.between(900, 1100)));
    }
    node.running = std::make_unique<Running>(wires_, record_, media_, *node.process, plan_);
    node.process->destroy = [this, index] { node_died(index); };
    node.running->scope.spawn(live(*this, index));
    if (world_.now() >= asleep_until_) return;
    world_.pause(*node.process);
    world_.after(asleep_until_ - world_.now(), [this, process = node.process] { world_.resume(*process); });
}

void Cluster::node_died(std::size_t index) {
    Node& node = nodes_[index];
    if (!over_) count_death(node);
    if (outside(node)) {
        const View& view = node.running->controller.view();
        const auto self = std::ranges::find(view.members, node.name, &ViewMember::name);
        if (self != view.members.end())
            dead_outside_[node.process->pid] = {self->id, self->incarnation, node.running->moves()};
    }
    const bool takes_all = !over_ && !all_die_ && alone_has_data(node);
    node.running.reset();
    node.serving_since = Nanos{0};
    if (over_) return;
    ++deaths_since_calm_;
    hosts_->process_died(*node.process);
    operator_->process_died(*node.process);
    if (takes_all) die_with(index);
}

/// A group that goes on with few partners may have writes that one controller alone knows of, and that hosts
/// have read. Rounds begin when all copies stand.
bool Cluster::alone_has_data(Node& node) {
    if (plan_.rounds != 0 || plan_.sharing.few_partners != FewPartners::go_on) return false;
    return std::ranges::any_of(amfs_of(node), [](Amf* amf) {
        const Replicator& records = amf->replicator();
        return records.missing().records != 0 || (records.copies() == 1 && records.live_records() != 0);
    });
}

/// What is lost with it is lost as if all had died: so they do.
void Cluster::die_with(std::size_t index) {
    all_die_ = true;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (i == index || !nodes_[i].process || !nodes_[i].process->alive) continue;
        world_.crash(*nodes_[i].process);
        world_.after(300ms, [this, i] { start_node(i); });
    }
    all_die_ = false;
    hosts_->power_lost();
    if (faulty_) hosts_->resume();
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
    node.not_before = world.now() + 300ms;
    world.after(300ms, [&cluster, index] { cluster.start_node(index); });
}

Amf* Cluster::amf_of(Node& node) { return node.running ? node.running->amf() : nullptr; }

std::vector<Amf*> Cluster::amfs_of(Node& node) {
    return node.running ? node.running->amfs() : std::vector<Amf*>{};
}

/// One of its AMFs finishes something of the dead.
bool Cluster::recovers(Node& node) {
    return std::ranges::any_of(amfs_of(node),
                               [](Amf* amf) { return amf->conditions().recovering_units != 0; });
}

std::size_t Cluster::live_records(Node& node) {
    std::size_t out = 0;
    for (const Amf* amf : amfs_of(node)) out += amf->replicator().live_records();
    return out;
}

bool Cluster::serving(Node& node) { return node.running && node.running->serving(); }

bool Cluster::works(Node& node) {
    return outside(node) ? node.running && node.running->fits(nullptr) : serving(node);
}

const Tables* Cluster::some_tables() {
    for (Node& node : nodes_) {
        if (serving(node)) return &amf_of(node)->tables();
    }
    return nullptr;
}

std::uint64_t Cluster::moves(std::uint64_t pid) {
    if (const auto dead = dead_outside_.find(pid); dead != dead_outside_.end()) return dead->second.moves;
    const auto node =
        std::ranges::find_if(nodes_, [pid](const Node& n) { return n.running && n.process->pid == pid; });
    return node == nodes_.end() ? 0 : node->running->moves();
}

bool Cluster::may_land(std::uint64_t pid) {
    const auto dead = dead_outside_.find(pid);
    if (dead == dead_outside_.end()) return false;
    const auto& [id, incarnation, moved] = dead->second;
    const auto has_some = [&](GroupRuntime& group) {
        for (unsigned i = 0; i < group.amfs(); ++i) {
            if (!group.seat(i).made() || group.seat(i).runtime().forwarded().serves(id, incarnation))
                return true;
        }
        return false;
    };
    return std::ranges::any_of(nodes_, [&](Node& node) {
        if (!node.running) return false;
        return std::ranges::any_of(node.running->controller.groups(),
                                   [&](const auto& entry) { return has_some(*entry.second); });
    });
}

bool Cluster::rested(Node& node) {
    return works(node) && !node.process->paused && node.serving_since != Nanos{0} &&
           world_.now() - node.serving_since >= kSettled;
}

bool Cluster::settled(Node& node) {
    return rested(node) && !recovers(node) && std::ranges::all_of(amfs_of(node), [](Amf* amf) {
               return amf->replicator().store().orphan_stripes().empty() &&
                      amf->replicator().missing().records == 0;
           });
}

std::optional<Ports::Place> Cluster::pick(Prng& prng, bool outside_too) {
    const std::size_t first = prng.below(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        Node& node = nodes_[(first + i) % nodes_.size()];
        if (!works(node) || (outside(node) && !outside_too)) continue;
        const Running::Side side = node.running->take_turn("v");
        if (side.port != nullptr)
            return Place{node.process, side.port, &node.running->scope, outside(node), side.index};
    }
    return std::nullopt;
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
    std::optional<AdminResult<braid::Outcome>> made, volume, ports;
    Controller& first = nodes_[0].running->controller;
    const auto all_serve = [&] {
        return std::ranges::all_of(nodes_, [&](Node& n) { return outside(n) || serving(n); });
    };
    // On disks of which a command may take seconds some serve it later than it is worth waiting for.
    const bool answered = wait_for(0, first.create_group(group_request(plan_)), made, 30s);
    const bool late = answered && !*made && made->error().code == Errc::timeout && plan_.outliers != 0;
    if (!answered || (late ? !world_.run_until(all_serve, 60s) : !*made)) {
        fail("the group was not created: " + (made ? made->error().detail : std::string("no answer")));
        return false;
    }
    const GroupConfig& config = amf_of(nodes_[0])->tables().config();
    for (auto& media : media_) media->belongs_to(config);
    if (!set_shapes()) {
        fail("extents did not get their shapes");
        return false;
    }
    if (!wait_for(0, first.create_volume({"v", "g", kVolumeSize, false}), volume, 30s) || !*volume) {
        fail("the volume was not created: " + (volume ? volume->error().detail : std::string("no answer")));
        return false;
    }
    if (!wait_for(0, first.create_ports({"v", {}, false}), ports, 30s) || !*ports) {
        fail("the ports were not created: " + (ports ? ports->error().detail : std::string("no answer")));
        return false;
    }
    open_outside_ports();
    if (plan_.scrub_every != 0) set_schedule(plan_.scrub_every);
    return world_.violated().empty();
}

/// Before anybody writes.
bool Cluster::set_shapes() {
    shapes_ = stripe_shapes_of(plan_);
    shape_prng_ = Prng(mix64(plan_.seed) ^ 0x54a9full);
    for (std::uint32_t extent = 0; !shapes_.empty() && extent < kMixedExtents; ++extent) {
        if (shape_prng_.chance(1, 3)) continue;
        std::optional<Status> set;
        const StripeShape shape = shapes_[shape_prng_.below(shapes_.size())];
        if (!wait_for(0, amf_of(nodes_[0])->set_shape(ExtentIndex(extent), shape), set, 30s) || !*set)
            return false;
    }
    return true;
}

/// Extents get another one, with what is in them; and their AMFs give them the one that is wanted again.
void Cluster::shape_later() {
    if (shapes_.empty()) return;
    const auto longest = static_cast<std::uint64_t>(2 * plan_.shape_pause.count());
    world_.after(Nanos(static_cast<std::int64_t>(shape_prng_.below(longest))), [this] {
        const ExtentIndex extent(static_cast<std::uint32_t>(shape_prng_.below(2)));
        const StripeShape shape = shapes_[shape_prng_.below(shapes_.size())];
        Node& node = nodes_[shape_prng_.below(nodes_.size())];
        if (over_) return;
        if (faulty_ && serving(node)) node.running->scope.spawn(set_shape(amf_of(node), extent, shape));
        shape_later();
    });
}

Task<void> Cluster::set_shape(Amf* amf, ExtentIndex extent, StripeShape shape) {
    (void)co_await amf->reshape(extent, shape);
}

void Cluster::set_schedule(std::uint32_t seconds) {
    std::optional<AdminResult<braid::Outcome>> set;
    SetGroup request{.name = "g", .scrub_every = seconds};
    if (!wait_for(0, nodes_[0].running->controller.set_group(request), set, 30s) || !*set)
        fail("scrubs are not begun as wanted: " + (set ? set->error().detail : std::string("no answer")));
}

bool Cluster::may_lose_one() {
    std::size_t rested_now = 0;
    for (Node& node : nodes_) rested_now += rested(node) ? 1 : 0;
    const std::size_t lost = std::max<std::size_t>(nodes_.size() - rested_now + doomed_, deaths_since_calm_);
    const std::size_t copies = std::min<std::size_t>(std::max(plan_.dimension, 2u), plan_.controllers);
    return rested_now >= 2 && lost + 1 < std::max<std::size_t>(copies, 2);
}

std::size_t Cluster::random_node(Prng& prng, bool rested_only) {
    const std::size_t first = prng.below(nodes_.size());
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        const std::size_t index = (first + i) % nodes_.size();
        if (rested_only ? rested(nodes_[index]) : works(nodes_[index])) return index;
    }
    return nodes_.size();
}

Outcome Cluster::run() {
    if (set_up()) {
        watch();
        hosts_->errors_allowed = false;
        hosts_->start();
        if (plan_.operators) operator_->start();
        shape_later();
        world_.run_until([] { return false; }, 1s);
        if (plan_.rounds != 0) {
            run_rounds();
        } else {
            faulty_ = true;
            world_.knobs.stalls = plan_.stalls;
            schedule_fault(1);
            world_.run_until([] { return false; }, plan_.faults_for);
        }
        if (world_.violated().empty()) settle();
        if (world_.violated().empty() && plan_.lies) scrub_lies();
        if (world_.violated().empty()) add_up_trims();
        if (world_.violated().empty()) final_checks();
        if (world_.violated().empty() && prng_.chance(1, 4)) scrub();
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
    out.recovered = world_.count(Mark::recovery_with_redo) + world_.count(Mark::recovery_with_data);
    out.virtual_time = world_.now();
    return out;
}

}  // namespace braid::sim
