// A whole cluster from one seed: shape and faults are drawn, real Controllers run on the simulated seams,
// hosts work on all of them. First a phase with faults, in which promises 1, 2 and 4 must hold; then the
// faults stop, and everything that is open must end within a bound, the copies and the parity be right, and
// every byte be what the hosts were told.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "sim/checkers/single_writer.h"
#include "sim/hosts.h"
#include "sim/node.h"
#include "sim/operator.h"
#include "sim/plan.h"

namespace braid::sim {

/// Bound of jobs once the faults are over: a scrub of the whole group over disks that take seconds now and
/// then.
constexpr Nanos kJobs = 400s;

class Cluster final : public Ports {
public:
    Cluster(World& world, const Plan& plan, FaultSeen seen = {});
    ~Cluster() override;

    Outcome run();
    std::optional<Place> pick(Prng& prng, bool outside_too) override;
    std::uint64_t moves(std::uint64_t pid) override;
    bool may_land(std::uint64_t pid) override;

private:
    struct Node {
        std::string name;
        std::shared_ptr<Process> process;
        std::unique_ptr<Running> running;
        Nanos serving_since{};  ///< 0: not serving
        Nanos not_before{};     ///< it has just tried in vain
        /// What its AMFs have done, as far as it is counted among the marks.
        struct Counted {
            AmfCounters work;
            LockCounters locks;
            bool degraded = false;  ///< at the last look
        };
        std::array<Counted, kMaxAmfs> counted;
        ForwardCounters forwarded;  ///< as far as it is counted
    };
    /// A controller outside of the group that has died.
    struct Outsider {
        ControllerId id;
        Incarnation incarnation;
        std::uint64_t moves = 0;
    };

    void start_node(std::size_t index);
    void node_died(std::size_t index);
    bool alone_has_data(Node& node);
    void die_with(std::size_t index);
    static Task<void> live(Cluster& cluster, std::size_t index);
    static Task<void> leave(Cluster& cluster, std::size_t index, bool& done);
    template <class T>
    static Task<void> into(Task<T> task, std::optional<T>& out) {
        out.emplace(co_await std::move(task));
    }
    /// Runs it in the node's process. True if it has ended within the limit.
    template <class T>
    bool wait_for(std::size_t node, Task<T> task, std::optional<T>& out, Nanos limit) {
        nodes_[node].running->scope.spawn(into(std::move(task), out));
        return world_.run_until([&] { return out.has_value(); }, limit);
    }

    bool set_up();
    void set_schedule(std::uint32_t seconds);
    bool set_shapes();
    void shape_later();
    static Task<void> set_shape(Amf* amf, ExtentIndex extent, StripeShape shape);

    // faults.cc
    /// One that the run draws: what follows from it draws from its source too.
    struct Fault {
        unsigned number = 0;
        Prng prng{0};
        Nanos pause(std::uint64_t low_ms, std::uint64_t high_ms) {
            return Nanos(static_cast<std::int64_t>(prng.between(low_ms, high_ms) * 1'000'000));
        }
        Nanos below(std::uint64_t ns) { return Nanos(static_cast<std::int64_t>(prng.below(ns))); }
    };
    Fault& new_fault(unsigned number);
    /// It strikes: counted, noted, told.
    void strikes(const Fault& fault, Mark kind, std::uint64_t a = 0, std::uint64_t b = 0);
    void schedule_fault(unsigned number);
    void one_fault(Fault& fault);
    void crash_one(Fault& fault);
    void crash_in_the_middle(Fault& fault, std::size_t index, std::uint64_t pid, int looks);
    void crash_recoverer(Fault& fault, int looks);
    void kill_node(Fault& fault, std::size_t index, Mark kind);
    void kill_for_good(Fault& fault, std::size_t index);
    void kill_prepared(Fault& fault, std::size_t index);
    void pause_one(Fault& fault);
    void suspend(Fault& fault);
    void jump_clock(Fault& fault);
    void lose_paths(Fault& fault);
    void give_paths_back(std::size_t index, std::shared_ptr<Process> process, Nanos after);
    void kill_all(Fault& fault);
    // faults_outside.cc
    void slow_link(Fault& fault, std::size_t index, Nanos length);
    void slow_links(Fault& fault);
    void cut_two(Fault& fault);
    void reset_two(Fault& fault);
    void reset_some(Fault& fault);
    void half_open(Fault& fault);
    void trouble_store(Fault& fault);
    void disk_fault(Fault& fault);
    void slow_disk(Fault& fault);
    void swap_disk(Fault& fault);
    void plug_in_when_noticed(Fault& fault, Media& media, std::optional<Media::Content> old, Nanos age);
    bool noticed(const Media& media);
    void spoil_blocks(Fault& fault);
    void rot_tables(Fault& fault);
    void tell_lies(Fault& fault);
    Media* healthy_disk(Prng& prng);
    static bool healthy(const Media& media);
    std::optional<MemberIndex> member_on(const Media& media);
    bool whole_again(MemberIndex next);
    /// A copy of every record survives whatever this plan does: no resync ever has anything to correct.
    bool covered() const {
        return plan_.dimension >= 2 && !plan_.cluster_kill && !plan_.power_cuts &&
               plan_.last_deaths < plan_.dimension;
    }

    // rounds.cc
    void run_rounds();
    void end_round(Fault& death);
    void kill_soon(Fault& fault);
    void kill_when_calm(Fault& fault);
    bool all_calm();
    void kill_recoverer(Fault& fault, int looks);
    void cut_power(Fault& fault);
    void revive(Fault& fault);
    void revive_after_power_cut(Fault& fault);
    void wait_until_calm();
    bool resync_needed() const { return plan_.last_deaths >= plan_.dimension; }

    // endings.cc
    void settle();
    void look_after_death();
    void look_at_parity(const std::string& when, std::size_t through);
    bool all_serve();
    bool reshape_waits(Node& node);
    bool jobs_done();
    std::string unfinished();
    std::string left_over();
    static std::string name_of(const Node& node, const Amf& amf);
    void read_without_some();
    bool read_everywhere();
    bool all_answered();
    void open_all_ports();
    void open_outside_ports();
    std::uint64_t scrub();
    void scrub_lies();
    bool quiet_jobs();
    void add_up_trims();
    void final_checks();
    void orderly_end();

    // situations.cc
    void watch();
    void check_resynced(Node& node);
    void count_work(Node& node);
    void count_work(Amf& amf, Node::Counted& before);
    void count_forwarded(Node& node);
    void count_death(Node& node);
    void count_view(Epoch before);
    bool resyncs(Node& node);

    Amf* amf_of(Node& node);
    std::vector<Amf*> amfs_of(Node& node);
    bool recovers(Node& node);
    std::size_t live_records(Node& node);
    bool serving(Node& node);
    bool outside(const Node& node) const {
        return static_cast<std::size_t>(&node - nodes_.data()) >= plan_.controllers;
    }
    /// It serves, or it is outside of the group and has joined.
    bool works(Node& node);
    const Tables* some_tables();
    bool rested(Node& node);   ///< has served for a while
    bool settled(Node& node);  ///< and has nothing of others to finish
    bool may_lose_one();
    std::size_t random_node(Prng& prng, bool rested_only);
    void doom(Nanos length);
    void fail(const std::string& text) { world_.violation(text); }

    World& world_;
    Plan plan_;
    Wires wires_;
    SharedRecord record_;
    std::vector<std::unique_ptr<Media>> media_;
    std::vector<Node> nodes_;                         ///< those outside of the group are the last
    std::map<std::uint64_t, Outsider> dead_outside_;  ///< by pid
    std::unique_ptr<Hosts> hosts_;
    std::unique_ptr<Operator> operator_;
    SingleWriter locks_;
    unsigned looks_ = 0;
    bool faulty_ = false;
    std::vector<StripeShape> shapes_;  ///< that extents may get
    Prng shape_prng_{0};
    bool over_ = false;
    bool all_die_ = false;  ///< at this instant
    bool dark_ = false;     ///< there is no power: nobody starts
    unsigned disks_failed_ = 0;
    Nanos asleep_until_{};  ///< all processes stand still, those that start meanwhile, too
    GroupConfig config_;    ///< as last seen
    unsigned doomed_ = 0;   ///< serving still, but a fault that is under way will cost one of them
    unsigned deaths_since_calm_ = 0;
    unsigned gone_ = 0;         ///< controllers that died and stay away
    std::deque<Fault> faults_;  ///< those that happen: events refer to them
    FaultSeen seen_;
    Prng prng_;
};

}  // namespace braid::sim
