// A whole cluster from one seed: shape and faults are drawn, real Controllers run on the simulated seams,
// hosts work on all of them. First a phase with faults, in which promises 1, 2 and 4 must hold; then the
// faults stop, and everything that is open must end within a bound, the copies and the parity be right, and
// every byte be what the hosts were told.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/checkers/single_writer.h"
#include "sim/hosts.h"
#include "sim/node.h"
#include "sim/operator.h"

namespace braid::sim {

/// Bound of jobs once the faults are over: a verify of the whole group over disks that take seconds now and
/// then.
constexpr Nanos kJobs = 400s;

/// What a seed decides.
struct Plan : Shape {
    std::uint64_t seed = 0;
    std::size_t hosts = 4;
    Nanos faults_for = 6s;      ///< length of the first phase
    Nanos fault_pause = 250ms;  ///< mean time between faults
    unsigned disk_faults = 0;   ///< members that may fail, at most the level's parity
    bool crashes = true, pauses = true, cuts = true, resets = true, slow_disks = true, latent_errors = false;
    bool path_losses = false;  ///< a controller alone does not reach the disks
    bool spikes = false;       ///< links slow down for a while
    bool operators = false;    ///< ports, virtual disks and members are changed meanwhile
    bool hot = false;          ///< hosts meet on very few stripes
    /// If not 0: the faults end with so many controllers dying together, and they stay away until the
    /// survivors have been looked at. As many as there are copies: only a resync makes their stripes right.
    unsigned last_deaths = 0;
    unsigned rounds = 0;      ///< of deaths, looks and returns; 0: one long storm instead
    bool power_cuts = false;  ///< in each round all die, and the members' unflushed writes may be lost
    unsigned outliers = 0;    ///< one of so many disk commands takes up to seconds; 0: none
    Nanos operator_pause = 400ms;
    bool cluster_kill = false;  ///< all controllers die at once, in the middle
    Nanos drain_max = 20ms;     ///< how long a dead controller's disk commands may take
    Nanos think_max = 2ms;      ///< between a host's operations
};

Plan draw_plan(std::uint64_t seed);
std::string describe(const Plan& plan);

struct Outcome {
    std::string failure;  ///< empty: all promises held
    std::uint64_t hash = 0;
    std::uint64_t events = 0;
    std::uint64_t operations = 0;
    std::uint64_t checked = 0;
    std::uint64_t faults = 0;
    std::uint64_t recovered = 0;  ///< writes of dead controllers that others finished
    Nanos virtual_time{};
};

Outcome run_plan(const Plan& plan, bool trace);
inline Outcome run_seed(std::uint64_t seed, bool trace) { return run_plan(draw_plan(seed), trace); }

class Cluster final : public Ports {
public:
    Cluster(World& world, const Plan& plan);
    ~Cluster() override;

    Outcome run();
    std::optional<Place> pick(Prng& prng) override;

private:
    struct Node {
        std::string name;
        std::shared_ptr<Process> process;
        std::unique_ptr<Running> running;
        Nanos serving_since{};  ///< 0: not serving
    };

    void start_node(std::size_t index);
    void node_died(std::size_t index);
    static Task<void> live(Cluster& cluster, std::size_t index);
    static Task<void> leave(Cluster& cluster, std::size_t index, bool& done);
    template <class T>
    static Task<void> into(Task<T> task, std::optional<T>& out) {
        out.emplace(co_await std::move(task));
    }
    template <class T>
    bool wait_for(std::size_t node, Task<T> task, std::optional<T>& out, Nanos limit);

    bool set_up();

    // faults.cc
    void schedule_fault();
    void one_fault();
    Nanos pause_of(std::uint64_t low_ms, std::uint64_t high_ms);
    void crash_one();
    void crash_in_the_middle(std::size_t index, std::uint64_t pid, int looks);
    void crash_recoverer(int looks);
    void kill_node(std::size_t index);
    void kill_for_good(std::size_t index);
    void kill_prepared(std::size_t index);
    void pause_one();
    void cut_two();
    void lose_paths();
    void slow_link(std::size_t index, Nanos length);
    void reset_two();
    void disk_fault();
    void spoil_blocks();
    void kill_all();
    Media* healthy_disk();
    /// A copy of every record survives whatever this plan does: no resync ever has anything to correct.
    bool covered() const {
        return plan_.dimension >= 2 && !plan_.cluster_kill && !plan_.power_cuts &&
               plan_.last_deaths < plan_.dimension;
    }

    // rounds.cc
    void run_rounds();
    void kill_soon();
    void kill_when_calm();
    bool all_calm();
    void kill_recoverer(int looks);
    void cut_power();
    void revive();
    void revive_after_power_cut();
    void wait_until_calm();
    bool resync_needed() const { return plan_.last_deaths >= plan_.dimension; }

    void settle();
    void look_after_death();
    void look_at_parity(const std::string& when, std::size_t through);
    void check_resynced(Node& node);
    bool jobs_done();
    std::string unfinished();
    void read_without_some();
    bool read_everywhere();
    bool all_answered();
    void open_all_ports();
    void verify();
    void final_checks();
    void orderly_end();
    void watch();

    Amf* amf_of(Node& node);
    bool serving(Node& node);
    bool rested(Node& node);   ///< has served for a while
    bool settled(Node& node);  ///< and has nothing of others to finish
    bool may_lose_one();
    std::size_t random_node(bool rested_only);
    void doom(Nanos length);
    void fail(const std::string& text) { world_.violation(text); }

    World& world_;
    Plan plan_;
    Wires wires_;
    SharedRecord record_;
    std::vector<std::unique_ptr<Media>> media_;
    std::vector<Node> nodes_;
    std::unique_ptr<Hosts> hosts_;
    std::unique_ptr<Operator> operator_;
    SingleWriter locks_;
    unsigned looks_ = 0;
    bool faulty_ = false;
    bool over_ = false;
    bool dark_ = false;  ///< there is no power: nobody starts
    unsigned disks_failed_ = 0;
    unsigned doomed_ = 0;  ///< serving still, but a fault that is under way will cost one of them
    unsigned deaths_since_calm_ = 0;
    unsigned gone_ = 0;  ///< controllers that died and stay away
    std::uint64_t faults_ = 0;
    std::uint64_t recovered_ = 0;
    Prng prng_;
};

}  // namespace braid::sim
