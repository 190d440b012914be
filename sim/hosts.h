// Hosts of the simulated cluster: each has some operations in flight, on ports of some controllers, one of
// its lanes each. When a controller dies, or does not answer in time, its hosts go to another one, and often
// do the same write again.
//
// A host may use a controller outside of the group, which gives its operations to one inside. What that one
// had in hand may land after the first has died, for a moment.
//
// The rule for that: a write whose host gave up is repeated, or anything else is done to its range by its
// lane, only when it cannot land any more: its answer has come after all, or its controller is dead. From the
// answer to the repetition on nothing of the first may be seen.
//
// What they saw goes to the one-disk checker. Shared area: writes and reads of whole sectors by all lanes,
// over a few spots that collide often; every written sector carries a value of its own, a repetition too.
// Some extents of it are trimmed as a whole meanwhile (sim/extent_trims.h). Private area: one block run per
// lane, any byte range, zeros and trims too, checked against what this lane wrote (an operation without an
// answer may have happened or not, once).
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/buffer.h"
#include "sim/checkers/early_answers.h"
#include "sim/checkers/one_disk.h"
#include "sim/workload.h"
#include "sim/world.h"
#include "volume/port.h"

namespace braid::sim {

constexpr std::uint32_t kSector = 512;
class ExtentTrims;

/// Where a host may send its operations.
class Ports {
public:
    virtual ~Ports() = default;
    struct Place {
        std::shared_ptr<Process> process;
        std::shared_ptr<Port> port;
        Scope* scope = nullptr;  ///< of the process: operations run in it
        bool outside = false;    ///< the controller does not share the group
        std::size_t side = 0;    ///< of its AMFs
    };
    /// A port on some living controller by chance, or nothing. `outside_too`: also on one that does not share
    /// the group.
    virtual std::optional<Place> pick(Prng& prng, bool outside_too) = 0;
    /// How often a controller outside has given an operation to a second one, up to now or to its death.
    virtual std::uint64_t moves(std::uint64_t) { return 0; }
    /// What a controller outside had given away before it died may still land.
    virtual bool may_land(std::uint64_t) { return false; }
};

struct HostOptions {
    std::uint64_t volume_size = 0;
    std::uint64_t stripe_size = 0;  ///< to aim at stripe borders
    std::size_t hosts = 4;
    Nanos think_max = 2ms;
    bool power_cuts = false;
    bool journal = false;    ///< what was answered survives them
    bool early = false;      ///< writes are answered before their copies stand
    std::size_t window = 0;  ///< bytes at most that an AMF answers so
    /// All copies of a record may die: a write through a controller outside of the group may come twice.
    bool writes_repeat = false;
    Workload work;
};

class Hosts {
public:
    Hosts(World& world, Ports& ports, HostOptions options);
    ~Hosts();

    void start();
    /// No new operations; those in flight go on.
    void quiet();
    void resume();
    bool idle() const;
    /// Bytes at most of what was written privately and is remembered, because no flush has covered it yet or
    /// it has no answer.
    std::size_t remembered() const;
    /// Its operations have no answer any more; the hosts go elsewhere.
    void process_died(const Process& process);
    /// All processes are dead and what was not flushed may be gone.
    void power_lost();
    std::uint64_t finished() const { return finished_; }
    std::uint64_t failed() const { return failed_; }
    /// Of what is in flight: one line each.
    std::string pending() const;
    /// Reads all that was ever written, through the port given, and records it.
    Task<Status> read_all(std::shared_ptr<Port> port);
    /// Trims the first extent, parts of it through one port after the other.
    Task<Status> trim_apart(std::vector<std::shared_ptr<Port>> ports);
    std::string judge() {
        settle_early();
        return one_disk_.judge();
    }
    std::size_t checked() const { return one_disk_.operations(); }
    /// Errors are answers that hosts of a healthy cluster must not see.
    bool errors_allowed = false;
    /// Errors of this process are not held against anybody from now on: the hosts find another one.
    void excuse(std::uint64_t pid) { excused_.insert(pid); }

private:
    enum class Kind : std::uint8_t { read, write, private_read, private_write, private_zero, trim, flush };
    struct Operation {
        Kind kind = Kind::read;
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        Buffer data;
        std::uint64_t id = 0;
        std::vector<std::uint64_t> former;  ///< of the same write, done elsewhere before, without an answer
        bool fua = false;
        bool fast = false;
        Instant invoked = 0;
        Instant completed = kNever;
        Answerer who = 0;
        Sectors sectors() const { return {offset / kSector, length / kSector}; }
        bool changes_private() const {
            return kind == Kind::private_write || kind == Kind::private_zero || kind == Kind::trim;
        }
    };
    struct Host {
        std::optional<Ports::Place> place;  ///< its connection
    };
    enum class State : std::uint8_t {
        free,
        waiting,  ///< for the answer
        left,     ///< the host has gone; the operation may still land
        again,    ///< to be done again somewhere
    };
    struct Lane {
        std::size_t index = 0;
        Host* host = nullptr;
        Prng prng{0};
        State state = State::free;
        Operation operation;        ///< unless free
        std::uint64_t process = 0;  ///< pid that has the operation
        bool outside = false;       ///< and it is outside of the group
        std::uint64_t moves = 0;    ///< of it, when it was asked
        std::uint64_t turn = 0;
        std::uint64_t stream_at = 0;
        std::vector<std::byte> expected;  ///< private area
        std::vector<std::uint8_t>
            uncertain;  ///< bytes that may be as expected or as an unanswered write left them
        std::vector<Operation> unanswered;  ///< of the private area, while a byte of theirs is uncertain
        std::vector<std::byte>
            durable;  ///< private area as power cannot take it, without what is in `unflushed`
        std::vector<Operation> unflushed;  ///< in the order of their ends
    };

    // hosts.cc
    void next(Lane& lane);
    void next_after(Lane& lane, Nanos delay);
    std::optional<Ports::Place> place_for(Lane& lane);
    void issue(Lane& lane, const Ports::Place& place);
    static Task<void> run(Hosts& hosts, std::size_t lane, std::uint64_t turn, std::shared_ptr<Port> port);
    static Task<Status> perform(const Operation& op, std::shared_ptr<Port> port);
    void ended(Lane& lane, Status status);
    void complete(Lane& lane, Status status);
    void succeed(Lane& lane, Operation op);
    void give_up(Lane& lane, Mark why);
    void gone(Lane& lane);
    void gone_when_it_cannot_land(Lane& lane);
    void look_at_moves(const Lane& lane);
    void again(Lane& lane);
    void forget(Lane& lane);
    void look_at_the_clock();
    void back_to_durable(Lane& lane, const Operation& op) const;
    void may_be_lost(Lane& lane, const std::function<bool(const Operation&)>& lost);
    void lose_early_answers(std::uint64_t pid);
    void settle_early();
    Task<Result<Operation>> read_range(std::shared_ptr<Port> port, std::uint64_t offset,
                                       std::uint64_t length);
    // hosts_content.cc
    Operation draw(Lane& lane);
    std::uint64_t draw_length(Prng& prng, bool is_private);
    void stamp(Operation& operation);
    void record_read(const Operation& operation, Instant completed);
    void check_private(Lane& lane, const Operation& operation);
    void leave_unanswered(Lane& lane, Operation operation);
    bool may_be_there(const Lane& lane, std::uint64_t offset, std::byte seen) const;
    void flushed(const Operation& flush);
    void apply(const Lane& lane, const Operation& operation, std::vector<std::byte>& area) const;
    std::uint64_t private_base(const Lane& lane) const;
    std::uint64_t shared_size() const { return options_.volume_size - lanes_.size() * private_size_; }
    /// Virtual time, but no two events at the same: equal instants would prove no order to the checker.
    Instant instant() { return last_instant_ = std::max(last_instant_ + 1, world_.now().count()); }

    static constexpr std::uint64_t kPrivateSize = 256u << 10;  ///< of a host
    static constexpr std::uint64_t kStreamArea = 1u << 20;
    World& world_;
    Ports& ports_;
    HostOptions options_;
    std::vector<std::uint64_t> spots_;
    std::uint64_t private_size_;  ///< of a lane
    std::uint64_t stream_area_ = 0;
    std::vector<Host> hosts_;
    std::vector<Lane> lanes_;
    Prng prng_{0};
    std::set<std::uint64_t> excused_;  ///< processes
    OneDisk one_disk_;
    EarlyAnswers early_;
    std::unique_ptr<ExtentTrims> trims_;
    Instant last_instant_ = 0;
    std::uint64_t next_id_ = 1;
    std::uint64_t finished_ = 0, failed_ = 0;
    bool quiet_ = false;
};

}  // namespace braid::sim
