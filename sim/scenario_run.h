// One run of a scenario: the cluster, the hand that does its steps, and the eyes of its checks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/checkers/single_writer.h"
#include "sim/scenario.h"
#include "sim/scenario_content.h"
#include "sim/scenario_steps.h"
#include "sim/scenario_trace.h"

namespace braid::sim {

class ScenarioRun {
public:
    ScenarioRun(World& world, const Scenario& scenario);
    ~ScenarioRun();
    ScenarioRun(const ScenarioRun&) = delete;
    ScenarioRun& operator=(const ScenarioRun&) = delete;

    /// Empty, or what went wrong.
    std::string run();
    const Trace& trace() const { return trace_; }

private:
    enum class State : std::uint8_t { open, answered, lost };
    struct Node {
        std::shared_ptr<Process> process;
        std::unique_ptr<Running> running;
        bool again = false;  ///< it was not let in: it is started again
    };
    struct Operation {
        Verb verb{};
        std::string label;
        std::size_t node = 0;
        Content::Operation content = 0;
        std::uint64_t offset = 0;
        Buffer data;
        std::string value;  ///< of a read: whose data it must be
        State state = State::open;
        Status status;
        bool awaited = false;  ///< its end has been looked at
    };
    struct Place {
        UnitIndex unit;
        StripeIndex stripe;
        std::uint64_t offset = 0;  ///< in the virtual disk
        std::uint64_t length = 0;
    };
    /// What the dead had done, and what had been done before the first phase.
    struct Counts {
        std::int64_t replayed = 0, rewritten = 0, dropped = 0, resynced = 0, regenerated = 0, around = 0,
                     released = 0, repaired = 0, cached = 0, from_peers = 0, unleased = 0, dirtied = 0,
                     destaged = 0, recalled = 0, passed = 0, rotten = 0, refreshed = 0, early = 0, moved = 0;
        Counts& operator+=(const AmfCounters& counters);
    };

    // scenario_cluster.cc: processes, and what is true of them
    bool set_up();
    bool create();
    bool find_places();
    bool give_zones();
    void start(std::size_t index);
    void died(std::size_t index);
    void crash(std::size_t index);
    static Task<void> live(ScenarioRun& run, std::size_t index);
    template <class T>
    static Task<void> into(Task<T> task, std::shared_ptr<std::optional<T>> out) {
        out->emplace(co_await std::move(task));
    }
    bool admin(std::size_t index, Task<AdminResult<braid::Outcome>> task, std::string_view what);
    bool awake(const Node& node) const {
        return node.running && !node.process->paused && !node.process->no_path.all();
    }
    Amf* amf(std::size_t index) { return nodes_[index].running ? nodes_[index].running->amf() : nullptr; }
    std::vector<Amf*> amfs(std::size_t index) {
        return nodes_[index].running ? nodes_[index].running->amfs() : std::vector<Amf*>{};
    }
    const Tables* some_tables();
    std::string view_of(const Node& node) const;
    bool view_is(const std::vector<std::string>& letters) const;
    bool calm();
    bool calm(Node& node);
    std::string unrest();
    Counts counts();
    std::optional<std::size_t> disk_of(const std::string& disk);
    MemberMedia member_media();
    std::optional<DiskPlace> strip_of(const std::string& strip);
    bool rebuilt();
    bool reshaped();
    void cut_power();
    void look_at_locks();

    static constexpr Nanos kPatience = 60s;  ///< for what should come by itself

    // scenario_run.cc: phases, operations, the end
    bool run_phase(const Phase& phase);
    bool compare_messages(const Phase& phase, std::size_t from);
    bool do_step(const Step& step);
    bool do_operation(const Step& step);
    std::size_t begin(const Step& step);
    Task<AdminResult<braid::Outcome>> request(const Step& step, Controller& controller);
    static Task<void> ask(ScenarioRun& run, std::size_t operation, Task<AdminResult<braid::Outcome>> task);
    static Task<void> perform(ScenarioRun& run, std::size_t operation, std::shared_ptr<Port> port);
    void ended(std::size_t operation, Status status);
    bool wait_for(std::size_t operation, const Step& step);
    Operation* find(const std::string& label);
    std::string compare_value(const Operation& read);
    bool run_until(const std::function<bool()>& done, Nanos limit);
    bool final_checks();
    bool look_at_all(const std::string& when);
    std::string left_over();
    bool read_everything(const std::string& when);
    bool read_through(Node& node, Port& port,
                      const std::vector<std::pair<std::uint64_t, std::uint64_t>>& ranges,
                      const std::string& who);
    static Task<void> leave(ScenarioRun& run, std::size_t index);
    bool wrong(std::string text);
    std::uint64_t offset_of(const std::string& place) const;
    /// Of the place, or, as in X+4K, of the block there.
    UnitIndex unit_at(const UnitMap& map, const std::string& place) const;

    // scenario_faults.cc: what is done to the cluster, and waiting
    bool do_fault(const Step& step);
    bool do_disk_fault(const Step& step);
    bool do_wait(const Step& step);
    bool run_for(Nanos time);

    // scenario_expect.cc
    bool do_expect(const Step& step);
    bool expect_count(const Step& step);
    struct ScrubSeen {
        std::int64_t extents = 0, amfs = 0, repaired = 0, unattributed = 0;
    };
    ScrubSeen scrub_counts();
    bool expect_held(const Step& step);
    bool expect_packets(const Step& step);
    bool expect_condition(const Step& step);
    bool verify(std::size_t index);

    World& world_;
    const Scenario& scenario_;
    Wires wires_;
    SharedRecord record_;
    Trace trace_;
    std::vector<std::unique_ptr<Media>> media_;
    Media::Content remembered_;
    GroupConfig config_;  ///< as last seen
    std::vector<Node> nodes_;
    std::vector<Operation> operations_;
    Content content_;
    SingleWriter locks_;
    std::map<std::string, Place> places_;
    std::map<std::string, DiskPlace> strips_;  ///< those that were asked for: known also when nobody lives
    Counts of_dead_, at_start_;
    struct Sent {
        std::uint64_t messages = 0, packets = 0;
    };
    Sent sent_by(std::size_t index);
    std::vector<Sent> sent_before_;  ///< by each when the phase began
    bool early_answers_ =
        scenario_.shape.early_answers();  ///< hosts may miss what a dead controller told them
    std::uint64_t kills_at_start_ = 0;
    std::size_t quarantined_ = 0;    ///< stripes that the scenario says are
    std::uint64_t volume_base_ = 0;  ///< in the group's logical space
    std::size_t seen_ = 0;           ///< trace lines that no `until` looks at any more
    const Step* step_ = nullptr;
    std::string failure_;
    bool over_ = false;
};

}  // namespace braid::sim
