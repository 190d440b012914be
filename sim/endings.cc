// When the faults are over, or some of them: everything that is open must end within a bound, and what is
// left must be right.
#include <algorithm>

#include "sim/checkers/at_rest.h"
#include "sim/checkers/checksums.h"
#include "sim/checkers/parity.h"
#include "sim/cluster.h"

namespace braid::sim {

void Cluster::settle() {
    faulty_ = false;
    hosts_->quiet();
    operator_->quiet();
    wires_.heal();
    wires_.spike = Nanos{0};
    wires_.slow.clear();
    world_.knobs.stalls = false;
    record_.slow = Nanos{0};
    record_.refuses = false;
    for (auto& media : media_) {
        media->slow = 1;
        media->bad.clear();
        media->loses = media->misdirects = 0;
    }
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        nodes_[i].process->paused = 0;
        nodes_[i].process->no_path.reset();
    }
    world_.run_until([] { return false; }, 1s);
    if (!all_serve() || !all_answered() || !all_serve()) return;  // one may be fenced until then
    open_all_ports();
    hosts_->resume();
    world_.run_until([] { return false; }, 300ms);
    hosts_->quiet();
    if (!all_answered()) return;
    if (!world_.run_until([this] { return jobs_done(); }, kJobs, 100us))
        fail("liveness: records, recoveries or resyncs do not end:" + unfinished());
    if (world_.violated().empty() && !quiet_jobs())
        fail("liveness: what was begun in the tables does not end:" + unfinished());
    // A disk command may take 30 s, and whoever asked for it may have gone.
    if (!world_.run_until([this] { return left_over().empty(); }, 40s, 100us)) fail("leak: " + left_over());
    // A connection that was left half open may have been found out only now.
    const bool away = std::ranges::any_of(nodes_, [](const Node& node) { return !node.running; });
    if (away && world_.violated().empty() && all_serve()) open_all_ports();
}

bool Cluster::all_serve() {
    const auto serve = [&] {
        for (std::size_t i = 0; i < nodes_.size(); ++i) {
            if (!nodes_[i].running) start_node(i);
        }
        return std::all_of(nodes_.begin(), nodes_.end(), [&](Node& n) { return settled(n); });
    };
    if (world_.run_until(serve, 60s, 100us)) return true;
    std::string who;
    for (Node& node : nodes_)
        who += " " + node.name + (node.running ? works(node) ? "=up" : "=waits" : "=down");
    fail("liveness: not all controllers serve again 60 s after the last fault:" + who);
    return false;
}

std::string Cluster::name_of(const Node& node, const Amf& amf) {
    const unsigned index = amf_index(amf.view().self);
    return index == 0 ? node.name : node.name + "/" + std::to_string(index);
}

/// Of all, who are at rest.
std::string Cluster::left_over() {
    const GroupConfig* config = nullptr;
    for (Node& node : nodes_) {
        for (Amf* amf : amfs_of(node)) {
            if (config == nullptr) config = &amf->tables().config();
            if (amf->tables().config() != *config) return name_of(node, *amf) + " has another configuration";
            const std::string open = check_at_rest(*amf);
            if (!open.empty()) return name_of(node, *amf) + " has " + open;
        }
    }
    return {};
}

std::string Cluster::unfinished() {
    std::string out;
    for (Node& node : nodes_) {
        if (!node.running || !serving(node)) continue;
        for (Amf* amf : amfs_of(node)) {
            const Replicator& records = amf->replicator();
            out += " " + name_of(node, *amf) + " recovers " +
                   std::to_string(amf->conditions().recovering_units) + " units, has " +
                   std::to_string(records.live_records()) + " records of its own and orphans of " +
                   std::to_string(records.store().orphan_stripes().size()) + " stripes;";
        }
        for (const JobInfo& job : node.running->controller.jobs()) {
            if (job.state != JobState::running) continue;
            out += " " + job.kind + " at " + std::to_string(job.done_bytes) + " of " +
                   std::to_string(job.total_bytes) + ";";
        }
    }
    return out;
}

/// Members have failed, and the others have no room for what is to be converted.
bool Cluster::reshape_waits(Node& node) {
    const auto waits = [](const Amf* amf) { return amf->tables().loaded() && amf->tables().reshape_waits(); };
    return std::ranges::any_of(amfs_of(node), waits);
}

/// On those who are there.
bool Cluster::jobs_done() {
    for (Node& node : nodes_) {
        if (!node.running) continue;
        if (!works(node)) return false;
        for (Amf* amf : amfs_of(node)) {
            const Replicator& records = amf->replicator();
            if (records.live_records() != 0 || !records.store().orphan_stripes().empty()) return false;
        }
        if (recovers(node)) return false;
    }
    for (Node& node : nodes_) {
        if (!node.running) continue;
        const std::vector<JobInfo> jobs = node.running->controller.jobs();
        const auto paused = [&jobs](std::string_view kind) {
            return std::ranges::any_of(jobs, [kind](const JobInfo& job) {
                return job.kind == kind && job.state == JobState::paused;
            });
        };
        // What has been begun to move is not converted before it is there, and redundancy comes first.
        const bool converts = !reshape_waits(node) && !paused("rebuild") && !paused("rebalance");
        const bool evens_out = !paused("rebuild");
        const auto runs = [&](const JobInfo& job) {
            return job.kind != "scrub" && job.state == JobState::running &&
                   (job.kind != "reshape" || converts) && (job.kind != "rebalance" || evens_out);
        };
        if (std::ranges::any_of(jobs, runs)) return false;
    }
    for (Node& node : nodes_) {
        if (!node.running) continue;
        const auto due = [](const Condition& condition) { return condition.code == "RESYNC"; };
        if (std::ranges::any_of(node.running->controller.status().conditions, due)) return false;
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
    if (!world_.run_until(survivors_rest, kJobs, 100us))
        return fail("liveness: the survivors of a death do not come to rest:" + unfinished());
    world_.run_until([] { return false; }, 10ms);
    if (!world_.run_until([this] { return jobs_done(); }, kJobs, 100us))
        return fail("liveness: a resync after a death does not end:" + unfinished());
    const auto survivor = std::ranges::find_if(nodes_, [&](Node& n) { return serving(n); });
    if (survivor == nodes_.end()) return fail("nobody serves after a death");
    look_at_parity("after a death", static_cast<std::size_t>(survivor - nodes_.begin()));
}

void Cluster::look_at_parity(const std::string& when, std::size_t through) {
    const Tables& tables = amf_of(nodes_[through])->tables();
    const std::string wrong = check_parity(tables, by_member(tables.config(), media_));
    if (!wrong.empty()) fail("parity " + when + ": " + wrong);
    const std::string strange = check_checksums(tables, by_member(tables.config(), media_));
    if (!strange.empty()) fail("checksums " + when + ": " + strange);
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
    open_outside_ports();
}

/// They open a moment after the tables say so.
void Cluster::open_outside_ports() {
    for (const std::string& name : outside_names(plan_)) {
        std::optional<AdminResult<braid::Outcome>> made;
        const bool answered =
            wait_for(0, nodes_[0].running->controller.create_ports({"v", {name}, false}), made, 30s);
        if (answered && (*made || made->error().code == Errc::exists)) continue;
        return fail("no port outside: " + (made ? made->error().detail : std::string("no answer")));
    }
    const auto all_open = [&] {
        const Tables* tables = some_tables();
        return std::ranges::all_of(nodes_, [&](Node& n) { return !outside(n) || n.running->fits(tables); });
    };
    if (!world_.run_until(all_open, 30s, 100us)) fail("liveness: a port outside of the group does not open");
}

/// What a member says that was not written is put right by one look at everything: a second one finds
/// nothing, and so do the checkers from now on.
void Cluster::scrub_lies() {
    scrub();
    if (!world_.violated().empty()) return;
    const std::uint64_t left = scrub();
    if (left != 0) fail("the second scrub still finds " + std::to_string(left) + " stripes to repair");
    for (auto& media : media_) media->forget_lies();
}

/// The group's own opinion of all that it has, through some controller. Stripes that it had to repair.
std::uint64_t Cluster::scrub() {
    Running& running = *nodes_[prng_.below(plan_.controllers)].running;
    const std::size_t index = static_cast<std::size_t>(
        std::ranges::find_if(nodes_, [&](const Node& n) { return n.running.get() == &running; }) -
        nodes_.begin());
    std::optional<AdminResult<braid::Outcome>> begun;
    bool answered = wait_for(index, running.controller.scrub_group({"g"}), begun, 30s);
    // An operator who asked for one earlier may have got it now.
    if (answered && !*begun && begun->error().code == Errc::busy && quiet_jobs())
        answered = wait_for(index, running.controller.scrub_group({"g"}), begun, 30s);
    if (!answered || !*begun || !(*begun)->job) {
        fail("the final scrub did not begin: " +
             (answered && !*begun ? begun->error().detail : std::string("no answer")));
        return 0;
    }
    std::optional<JobInfo> job;
    const auto ended = [&] {
        for (JobInfo& info : running.controller.jobs()) {
            if (info.id == *(*begun)->job) job = std::move(info);
        }
        return job && !is_active(job->state);
    };
    const bool in_time = world_.run_until(ended, 3 * kJobs, 100us);
    if (!in_time || job->state != JobState::done) fail("the final scrub did not end well");
    if (job && job->mismatches != 0) {
        fail("the final scrub found " + std::to_string(job->mismatches) + " stripes: " + job->detail);
    }
    if (job && job->state == JobState::done) {
        const std::uint64_t all = amf_of(nodes_[index])->tables().allocated_extents() * kExtentSize;
        // Trims that add up may have given something back meanwhile.
        if (job->done_bytes != job->total_bytes || job->total_bytes < all)
            fail("the final scrub went over " + std::to_string(job->done_bytes) + " bytes of " +
                 std::to_string(all));
        if (job->shares.size() > 1) world_.mark(Mark::scrub_shared);
    }
    return job ? job->repaired : 0;
}

/// No scrub is begun any more, and those that have been come to their end, paused ones too.
bool Cluster::quiet_jobs() {
    set_schedule(0);
    const auto ended = [this] {
        return std::ranges::all_of(nodes_, [this](Node& node) {
            const auto goes_on = [waits = node.running && reshape_waits(node)](const JobInfo& job) {
                return is_active(job.state) && !(job.kind == "reshape" && waits);
            };
            return !node.running || std::ranges::none_of(node.running->controller.jobs(), goes_on);
        });
    };
    for (const JobInfo& job : nodes_[0].running->controller.jobs()) {
        if (job.state != JobState::paused) continue;
        std::optional<AdminResult<braid::Outcome>> resumed;
        auto request = nodes_[0].running->controller.change_job(job.id, JobChange::resume, false);
        if (!wait_for(0, std::move(request), resumed, 30s) || !*resumed) return false;
    }
    return world_.run_until(ended, kJobs, 100us);
}

/// Trims of one extent through two controllers, with nobody else at work there, give its zone back.
void Cluster::add_up_trims() {
    const Amf& amf = *amf_of(nodes_[0]);
    constexpr std::uint64_t kMost = 8u << 20;  // of what the second takes from the first with a lock
    const std::uint64_t unit = amf.units().stripes() * std::uint64_t{amf.tables().geometry().stripe_size()};
    const auto& work = plan_.work;
    // Several AMFs of a controller take the rest from each other for longer than this waits.
    const bool one_each = plan_.sharing.amfs == 1 && plan_.controllers > 1;
    if (!work.trims_spread || work.trim_pause == Nanos{0} || unit > kMost || !one_each) return;
    // Whoever converts an extent takes its locks, by which the others forget.
    const auto reshaped = [&] {
        return amf.tables().extents_of_other_shapes() == 0 || amf.tables().reshape_waits();
    };
    if (!world_.run_until(reshaped, kJobs, 1ms)) return fail("liveness: a reshape does not end");
    const std::size_t second = 1 + Prng(prng_).below(plan_.controllers - 1);
    std::optional<Status> trimmed;
    std::vector<std::shared_ptr<Port>> ports = {nodes_[0].running->sides("v").front(),
                                                nodes_[second].running->sides("v").back()};
    if (!wait_for(0, hosts_->trim_apart(std::move(ports)), trimmed, 60s) || !*trimmed)
        return fail("trims: an extent was not trimmed at the end");
    if (!world_.run_until([&] { return !amf.allocated(ExtentIndex(0)); }, kJobs, 1ms))
        fail("trims: through two controllers they do not give the zone back");
    world_.run_until([] { return false; }, 100ms);
}

void Cluster::final_checks() {
    look_at_parity("at the end", 0);
    if (!read_everywhere()) return;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        count_work(nodes_[i]);
        for (Amf* amf : amfs_of(nodes_[i])) {
            if (amf->conditions().quarantined_stripes != 0) fail("stripes were quarantined");
        }
    }
    const std::string judged = hosts_->judge();
    if (!judged.empty()) fail("one disk: " + judged);
}

bool Cluster::read_everywhere() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        for (auto& side : nodes_[i].running->sides("v")) {
            std::optional<Status> read;
            if (!wait_for(i, hosts_->read_all(side), read, 60s) || !*read) {
                fail("read: everything was not read through " + nodes_[i].name);
                return false;
            }
        }
    }
    return true;
}

/// As many members as the level survives are gone: what parity says is what was written.
void Cluster::read_without_some() {
    const Tables& tables = amf_of(nodes_[0])->tables();
    const MemberMedia media = by_member(tables.config(), media_);
    const std::size_t first = prng_.below(media.size());
    MemberMask dead;
    for (std::size_t i = 0; i < media.size(); ++i) {
        const std::size_t member = (first + i) % media.size();
        if (!tables.member_ok(MemberIndex(static_cast<std::uint8_t>(member)))) continue;
        if (!tables.survives(MemberMask(dead).set(member))) continue;
        dead.set(member);
        media[member]->dead = true;
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

}  // namespace braid::sim
