// The cluster of a scenario.
#include <algorithm>

#include "sim/checkers/cache_coherence.h"
#include "sim/scenario_run.h"

namespace braid::sim {
namespace {

AmfId amf_id_of(std::string_view word) {
    return amf_id(ControllerId(static_cast<std::uint16_t>(controller_of(word) + 1)), index_of(word));
}

}  // namespace

ScenarioRun::ScenarioRun(World& world, const Scenario& scenario)
    : world_(world),
      scenario_(scenario),
      wires_(world),
      trace_(world, scenario.shape),
      nodes_(scenario.shape.all()) {
    world_.knobs.volatile_cache = scenario.volatile_cache;
    world_.knobs.stream_window = 64u << 20;  // frames are not cut in two
    media_ = make_media(world_, scenario.shape);
    trace_.use_tables([this] { return some_tables(); });
}

ScenarioRun::~ScenarioRun() {
    over_ = true;
    for (Node& node : nodes_) {
        if (node.process) node.process->destroy = nullptr;
        node.running.reset();
    }
}

const Tables* ScenarioRun::some_tables() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (const Amf* of = amf(i)) return &of->tables();
    }
    return nullptr;
}

// ---- processes

void ScenarioRun::start(std::size_t index) {
    Node& node = nodes_[index];
    if (node.running || over_) return;
    node.again = false;
    node.process = world_.start_process(controller_name(index));
    node.running = std::make_unique<Running>(wires_, record_, media_, *node.process, scenario_.shape);
    node.process->destroy = [this, index] { died(index); };
    node.running->scope.spawn(live(*this, index));
}

void ScenarioRun::died(std::size_t index) {
    Node& node = nodes_[index];
    if (!over_) trace_.say(controller_name(index) + " is gone");
    for (const Amf* of : amfs(index)) of_dead_ += of->counters();
    node.running.reset();
    for (Operation& operation : operations_) {
        if (operation.node != index) continue;
        const bool early = operation.verb == Verb::write || operation.verb == Verb::zero;
        if (operation.state == State::answered && early && operation.status && early_answers_)
            content_.answer_lost(operation.content);
        if (operation.state != State::open) continue;
        operation.state = State::lost;
        if (is_write(operation.verb)) content_.write_lost(operation.content);
    }
}

/// Not from inside the process.
void ScenarioRun::crash(std::size_t index) {
    nodes_[index].again = false;
    if (nodes_[index].running) world_.crash(*nodes_[index].process);
}

Task<void> ScenarioRun::live(ScenarioRun& run, std::size_t index) {
    Process& process = *run.nodes_[index].process;
    World& world = run.world_;
    Controller& controller = run.nodes_[index].running->controller;
    const Status started = co_await controller.start();
    run.nodes_[index].again = !started;
    if (started) co_await controller.fenced();
    // Not let in (its name is still alive), or thrown out: the program ends.
    world.after(1us, [&world, &process] { world.crash(process); });
    world.after(100ms, [&run, index] {
        if (run.nodes_[index].again) run.start(index);
    });
}

bool ScenarioRun::admin(std::size_t index, Task<AdminResult<braid::Outcome>> task, std::string_view what) {
    const auto out = std::make_shared<std::optional<AdminResult<braid::Outcome>>>();
    nodes_[index].running->scope.spawn(into(std::move(task), out));
    if (!run_until([&] { return out->has_value(); }, 30s)) return wrong(std::string(what) + ": no answer");
    if (!**out) return wrong(std::string(what) + ": " + (*out)->error().detail);
    return true;
}

// ---- setting up

/// One after the other, so that a is 1, b is 2, and so on.
bool ScenarioRun::set_up() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        start(i);
        const auto all_in = [&] {
            for (std::size_t j = 0; j <= i; ++j) {
                if (!nodes_[j].running || nodes_[j].running->controller.view().members.size() != i + 1)
                    return false;
            }
            return true;
        };
        if (!run_until(all_in, 20s)) return wrong("the controllers did not form one view");
    }
    if (!create() || !find_places() || !give_zones()) return false;
    if (!run_until([this] { return calm(); }, 30s))
        return wrong("the cluster does not come to rest:" + unrest());
    at_start_ = counts();
    kills_at_start_ = record_.kills;
    trace_.say("here the story begins");
    return true;
}

bool ScenarioRun::create() {
    Controller& first = nodes_[0].running->controller;
    if (!admin(0, first.create_group(group_request(scenario_.shape)), "create group")) return false;
    for (auto& media : media_) media->belongs_to(amf(0)->tables().config());
    if (!admin(0, first.create_volume({"v", "g", kVolumeSize, false}), "create volume")) return false;
    if (!admin(0, first.create_ports({"v", {}, false}), "create ports")) return false;
    const std::vector<std::string> outside = outside_names(scenario_.shape);
    if (!outside.empty() && !admin(0, first.create_ports({"v", outside, false}), "create ports outside"))
        return false;
    volume_base_ = amf(0)->tables().volumes().front().first_extent.v * kExtentSize;
    return true;
}

bool ScenarioRun::find_places() {
    const AmfView view = amf(0)->view();
    const Geometry geometry = geometry_of(scenario_.shape);
    const UnitMap& map = amf(0)->units();
    const std::uint64_t stripes = map.stripes();
    const std::uint64_t units =
        geometry.rows_per_extent() / stripes - 1;  // those that begin in the first extent
    const std::uint64_t first = geometry.locate(volume_base_).stripe.v / stripes;
    const auto fits = [&](const PlaceSpec& spec, UnitIndex unit) {
        const auto is = [&](const std::string& who, const AmfView& of) {
            return who.empty() || arbiter_of(unit, of) == amf_id_of(who);
        };
        if (!is(spec.arbiter, view)) return false;
        const StripeIndex stripe = map.first_stripe(unit);
        const UnitIndex blocks =
            map.content({stripe, 0, geometry.stripe_size(), geometry.range_of(stripe).offset}).first;
        if (!spec.blocks.empty() && arbiter_of(blocks, view) != amf_id_of(spec.blocks)) return false;
        AmfView rest = view;
        const ControllerId gone = braid::controller_of(arbiter_of(unit, view));
        std::erase_if(rest.members, [&](const AmfMember& m) { return braid::controller_of(m.id) == gone; });
        return rest.members.empty() || is(spec.then, rest);
    };
    for (const PlaceSpec& spec : scenario_.places) {
        for (std::uint64_t at = 1; at < units && !places_.contains(spec.name); ++at) {
            const UnitIndex unit(first + at);
            const bool taken =
                std::ranges::any_of(places_, [&](const auto& p) { return p.second.unit == unit; });
            if (taken || !fits(spec, unit)) continue;
            const StripeIndex stripe(unit.v * stripes);
            const std::uint64_t offset = geometry.range_of(stripe).offset - volume_base_;
            places_[spec.name] = {unit, stripe, offset, stripes * geometry.stripe_size()};
            trace_.name_place(spec.name, unit);
        }
        if (!places_.contains(spec.name))
            return wrong("there is no unit as place " + spec.name + " wants it");
    }
    return true;
}

/// Somewhere else in their extent.
bool ScenarioRun::give_zones() {
    if (scenario_.thin) return true;
    const auto done = std::make_shared<std::optional<Status>>();
    const std::uint64_t offset = kExtentSize - kBlockSize;
    const Content::Operation write = content_.write_begins(offset, kBlockSize, false);
    auto port = nodes_[0].running->controller.registry().find("v");
    nodes_[0].running->scope.spawn(into(port->write(offset, Slice(content_.bytes_of(write)), true), done));
    if (!run_until([&] { return done->has_value(); }, 30s) || !**done) return wrong("the first write failed");
    content_.write_done(write, true);
    return true;
}

// ---- what is true now

std::string ScenarioRun::view_of(const Node& node) const {
    std::string out;
    for (const ViewMember& member : node.running->controller.view().members) out += member.name.back();
    std::ranges::sort(out);
    return out;
}

/// For all who live and are not out of it themselves.
bool ScenarioRun::view_is(const std::vector<std::string>& letters) const {
    std::string wanted;
    for (const std::string& letter : letters) wanted += letter;
    std::ranges::sort(wanted);
    return std::ranges::all_of(wanted, [&](char letter) {
        const Node& node = nodes_[static_cast<std::size_t>(letter - 'a')];
        return node.running && view_of(node) == wanted;
    });
}

bool ScenarioRun::calm(Node& node) {
    if (!awake(node)) return true;
    const auto index = static_cast<std::size_t>(&node - nodes_.data());
    if (index >= scenario_.shape.controllers) return node.running->fits(some_tables());
    if (!node.running->serving()) return false;
    const StatusReport report = node.running->controller.status();
    // Extents with stripes that have been given up keep their shape.
    const auto lost = [](const Condition& c) { return c.code == "STRIPES_QUARANTINED"; };
    const bool stays = std::ranges::any_of(report.conditions, lost);
    const auto goes_on = [stays](const JobInfo& j) {
        return is_active(j.state) && !(stays && j.kind == "reshape");
    };
    if (std::ranges::any_of(report.jobs, goes_on)) return false;
    if (std::ranges::any_of(report.conditions, [](const Condition& c) { return c.code == "RESYNC"; }))
        return false;
    return std::ranges::all_of(node.running->amfs(), [](Amf* of) {
        const Replicator& records = of->replicator();
        return of->conditions().recovering_units == 0 && records.live_records() == 0 &&
               records.store().orphan_stripes().empty() && of->tables().settled() && of->tables().agreed();
    });
}

/// Nobody has anything to do any more, and those who live stand in one view.
bool ScenarioRun::calm() {
    std::string living;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (nodes_[i].again) return false;
        if (nodes_[i].running && !nodes_[i].process->paused) living += static_cast<char>('a' + i);
    }
    return std::ranges::all_of(
        nodes_, [&](Node& node) { return calm(node) && (!awake(node) || view_of(node) == living); });
}

std::string ScenarioRun::unrest() {
    std::string out;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        Node& node = nodes_[i];
        out += ' ' + controller_name(i) + '=';
        if (!node.running) {
            out += node.again ? "starting" : "gone";
        } else {
            out += (calm(node) ? "calm" : node.running->serving() ? "busy" : "not serving");
            out += "(" + view_of(node) + ")";
        }
    }
    return out;
}

ScenarioRun::Counts& ScenarioRun::Counts::operator+=(const AmfCounters& counters) {
    replayed += static_cast<std::int64_t>(counters.recovered_redo);
    rewritten += static_cast<std::int64_t>(counters.recovered_data);
    dropped += static_cast<std::int64_t>(counters.recovered_dropped);
    resynced += static_cast<std::int64_t>(counters.resynced);
    regenerated += static_cast<std::int64_t>(counters.regenerated);
    around += static_cast<std::int64_t>(counters.read_around);
    released += static_cast<std::int64_t>(counters.released_extents);
    repaired += static_cast<std::int64_t>(counters.repaired);
    rotten +=
        static_cast<std::int64_t>(counters.rotten_reads + counters.rotten_updates + counters.rotten_checks);
    refreshed += static_cast<std::int64_t>(counters.checksum_repairs);
    moved += static_cast<std::int64_t>(counters.moved_rows);
    cached += static_cast<std::int64_t>(counters.cached_reads);
    from_peers += static_cast<std::int64_t>(counters.peer_reads);
    unleased += static_cast<std::int64_t>(counters.reads_without_lease);
    dirtied += static_cast<std::int64_t>(counters.dirty_writes);
    destaged += static_cast<std::int64_t>(counters.destaged_full + counters.destaged_partial);
    recalled += static_cast<std::int64_t>(counters.destages_recalled);
    passed += static_cast<std::int64_t>(counters.passed_on);
    early += static_cast<std::int64_t>(counters.early_answers);
    return *this;
}

ScenarioRun::Counts ScenarioRun::counts() {
    Counts out = of_dead_;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (const Amf* of : amfs(i)) out += of->counters();
    }
    return out;
}

std::optional<DiskPlace> ScenarioRun::strip_of(const std::string& strip) {
    if (const auto known = strips_.find(strip); known != strips_.end()) return known->second;
    const Tables* tables = some_tables();
    if (tables == nullptr) return std::nullopt;
    const std::size_t slash = strip.find('/');
    const std::uint64_t place = volume_base_ + offset_of(strip.substr(0, slash));
    const Geometry geometry =
        tables->geometry_of(ExtentIndex(static_cast<std::uint32_t>(place / kExtentSize)));
    const StripeIndex stripe = geometry.locate(place).stripe;
    const Zone* zone = tables->zone(geometry.extent_of(stripe));
    if (zone == nullptr) return std::nullopt;
    const bool target = strip.ends_with('+');
    const unsigned role =
        *role_of_name(strip.substr(slash + 1, strip.size() - slash - 1 - (target ? 1 : 0)), geometry);
    const Row row = geometry.row_of(stripe);
    const std::uint64_t start = tables->config().data_start;
    if (target) {
        if (!zone->move) return std::nullopt;
        return strip_place(geometry, zone->move->target, row, start);
    }
    const DiskPlace at = role < geometry.width()
                             ? strip_place(geometry, *zone, row, Role(static_cast<std::uint8_t>(role)), start)
                             : checksum_place(geometry, *zone, row, role - geometry.width(), start);
    return strips_.emplace(strip, at).first->second;
}

/// Its number among the disks.
std::optional<std::size_t> ScenarioRun::disk_of(const std::string& disk) {
    if (disk.find('/') == std::string::npos) return std::stoul(disk);
    const auto at = strip_of(disk);
    if (!at) return std::nullopt;
    const Media* const media = member_media()[at->member.v];
    return media == nullptr ? std::nullopt : std::optional<std::size_t>(media->id());
}

/// By what was last known of the group: perhaps nobody is there.
MemberMedia ScenarioRun::member_media() {
    if (const Tables* tables = some_tables()) config_ = tables->config();
    return by_member(config_, media_);
}

/// All die; what reached the members and was not flushed stays, goes, or stays in part.
void ScenarioRun::cut_power() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) crash(i);
    trace_.release_all();
    (void)run_for(world_.knobs.drain_max + 1ms);  // what is under way lands; nobody runs
    for (auto& media : media_) media->lose_power();
    content_.power_lost();
}

/// At any instant a unit has one writer or readers.
void ScenarioRun::look_at_locks() {
    locks_.begin();
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (!nodes_[i].running || !nodes_[i].running->serving()) continue;
        for (Amf* of : amfs(i)) {
            const std::string clash =
                locks_.add(controller_name(i) + "/" + std::to_string(amf_index(of->view().self)), *of);
            if (!clash.empty()) world_.violation("single writer: " + clash);
            const std::string old = nodes_[i].process->left_view
                                        ? std::string{}
                                        : check_cache(*of, by_member(of->tables().config(), media_));
            if (!old.empty()) world_.violation("cache of " + controller_name(i) + ": " + old);
        }
    }
}

}  // namespace braid::sim
