// The simulated machine room: virtual time, one queue of events, processes that can crash or stand still at
// any event. Everything random comes from the seed; equal times fire in the order they were asked for. The
// same seed gives the same run.
//
// A process has an executor of its own; between two events the executors of all processes that are not paused
// run until nothing is ready. A crash destroys what the process owns, frames and all; what it had in flight
// on a disk lands, tears or vanishes within the drain time, and only then does anybody's fence of it return.
#pragma once

#include <bitset>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/scope.h"
#include "base/prng.h"
#include "base/types.h"
#include "io/clock.h"
#include "io/random.h"
#include "sim/marks.h"

namespace braid::sim {

class World;
class Tap;
using Action = std::move_only_function<void()>;
/// When, and the event's number: higher for those that were asked for later, its place in the lowest bits.
using EventKey = std::pair<Nanos, std::uint64_t>;

/// What becomes of a dead process's disk commands that were in flight.
enum class Orphans : std::uint8_t { chance, vanish, land, tear };

/// What may go wrong and how long things take: drawn per seed.
struct Knobs {
    Nanos disk_latency_min = 20us, disk_latency_max = 400us;
    Nanos link_latency_min = 10us, link_latency_max = 200us;
    Nanos drain_max = 20ms;  ///< how long an orphaned disk command may still take
    std::size_t stream_window = 1u << 20;
    std::uint64_t disk_rate = 0;  ///< bytes per second; a member does one command after the other. 0: all at
                                  ///< once, however long they are
    std::uint64_t bus_rate = 0;   ///< bytes per second between a process and all its disks; 0: no limit
    std::uint64_t link_rate = 0;  ///< bytes per second that a process sends to others; 0: no limit
    bool zeros_are_free = false;  ///< written blocks of zeros take no memory, and are as if by zero()
    unsigned outliers = 0;        ///< one of so many disk commands takes up to 3 s; 0: none
    bool stalls = false;          ///< and some of these up to 30 s
    Orphans orphans = Orphans::chance;
    bool volatile_cache = false;  ///< members lose at a power cut what was not flushed
};

/// How long so many bytes take.
inline Nanos at_rate(std::uint64_t bytes, std::uint64_t rate) {
    return Nanos(static_cast<std::int64_t>(bytes * 1'000'000'000 / rate));
}

/// Of one process: it starts anywhere and is not quite as fast as the world.
class SimClock final : public Clock {
public:
    explicit SimClock(World& world, Executor& executor) : world_(world), executor_(executor) {}
    /// Before anybody has seen it.
    void set(Nanos start, unsigned per_mille);
    /// Forward. Timers that are armed keep the moment at which they would have fired.
    void jump(Nanos by) { start_ += by; }
    Nanos now() const override;
    void arm(TimerOp& op) override;
    void disarm(TimerOp& op) override;

private:
    World& world_;
    Executor& executor_;
    Nanos since_{}, start_{};  ///< world time at which it showed `start_`
    unsigned per_mille_ = 1000;
};

class SimRandom final : public Random {
public:
    explicit SimRandom(Prng prng) : prng_(prng) {}
    std::uint64_t next() override { return prng_.next(); }

private:
    Prng prng_;
};

/// One start of a program. `pid` is never used twice.
class Process {
public:
    Process(World& world, std::uint64_t pid, std::string name);
    ~Process();

    World& world;
    const std::uint64_t pid;
    const std::string name;
    Executor executor;
    SimClock clock;
    SimRandom random;
    bool alive = true;
    unsigned paused = 0;              ///< how many want it to stand still
    std::bitset<256> no_path;         ///< to these disks: every command of it fails
    std::uint64_t path_errors = 0;    ///< commands that failed for that
    Nanos bus_until{}, port_until{};  ///< busy, with a bus_rate, a link_rate
    std::size_t orphans = 0;          ///< disk commands that may still land after its death
    bool left_view = false;           ///< the record of members names it no more: it must not change a disk
    std::function<void()> destroy;    ///< drops everything that runs in it
    std::vector<std::function<void()>>
        on_death;  ///< sockets, locks, watches of others: in order of registration
};

class World {
public:
    explicit World(std::uint64_t seed);
    ~World();

    Nanos now() const { return now_; }
    /// Fires `action` after `delay`, after everything asked for earlier at the same time.
    EventKey after(Nanos delay, Action action);
    EventKey at(Nanos when, Action action);
    void cancel(const EventKey& key);

    /// Runs what is ready, then fires the next event. False when there is none.
    bool step();
    /// Steps until `done`, at most for `limit` of virtual time. True if done. Asks after every event, or not
    /// more often than `every`.
    bool run_until(const std::function<bool()>& done, Nanos limit, Nanos every = Nanos{0});
    void run_ready();

    std::shared_ptr<Process> start_process(std::string name);
    /// From an event, never from inside the process: `destroy`, then everybody who asked is told.
    void crash(Process& process);
    /// It stands still until everybody who wanted that has resumed it.
    void pause(Process& process) { ++process.paused; }
    void resume(Process& process) { process.paused -= process.paused != 0 ? 1 : 0; }
    Process* find(std::uint64_t pid);

    /// Folds what happened into the trace hash, and prints it when tracing.
    void note(std::string_view what, std::uint64_t a, std::uint64_t b = 0, std::uint64_t c = 0);
    std::uint64_t hash() const { return hash_; }
    std::uint64_t events() const { return fired_; }

    Prng prng;
    Knobs knobs;
    bool trace = false;
    Marks marks{};
    void mark(Mark mark, std::uint64_t times = 1) { marks[static_cast<std::size_t>(mark)] += times; }
    std::uint64_t count(Mark mark) const { return marks[static_cast<std::size_t>(mark)]; }
    Tap* tap = nullptr;  ///< outlives all processes
    /// Set by whoever sees that a promise is broken; the first one stays.
    void violation(std::string text);
    const std::string& violated() const { return violation_; }

private:
    Nanos now_{1s};
    std::uint64_t sequence_ = 0;
    std::uint64_t fired_ = 0;
    std::uint64_t hash_ = 0x6a09e667f3bcc908ull;
    std::uint64_t next_pid_ = 100;
    /// Where an event's action waits. The queue may still name what was cancelled: the number tells.
    struct Place {
        std::uint64_t number = 0;  ///< 0: free
        Action action;
    };
    static constexpr unsigned kPlaceBits = 20;
    Place& place_of(std::uint64_t number) { return places_[number & ((1u << kPlaceBits) - 1)]; }
    Action vacate(std::uint64_t number);
    /// The next event's key, after what was cancelled has been taken off the queue; null if there is none.
    const EventKey* next_event();

    std::vector<EventKey> queue_;  ///< a heap, the next one first
    std::vector<Place> places_;
    std::vector<std::uint32_t> free_places_;
    std::vector<std::shared_ptr<Process>> processes_;
    std::vector<Process*> living_;
    std::string violation_;
};

}  // namespace braid::sim
