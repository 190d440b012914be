// The operator of the simulated cluster: one request after the other to some living controller. Ports of the
// hosts' virtual disk come and go, a second virtual disk is created, used and deleted again and again,
// members are declared failed, the group is scrubbed, its locks are kept another way. A request whose
// controller dies has no known outcome.
//
// Checks: answers are among those a healthy cluster may give; a new virtual disk reads as zeros and what was
// written to it stays; a scrub finds nothing where records cover every crash.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/controller.h"
#include "sim/world.h"

namespace braid::sim {

class Operator {
public:
    /// A controller that takes requests, and where they run.
    struct Desk {
        std::shared_ptr<Process> process;
        Controller* controller = nullptr;
        Scope* scope = nullptr;
    };
    struct Options {
        std::function<std::optional<Desk>(Prng&)> pick;
        std::function<std::optional<std::string>()>
            may_fail_disk;      ///< its name; counts as failed from then on
        bool may_lose = false;  ///< a death may take what was answered and not flushed
        bool scrub_is_clean = false;
        std::vector<std::string> outside;  ///< controllers that do not share the group
        std::optional<Prng> set_sharing;   ///< where from it draws how locks are kept; none: it leaves that
        bool set_replication = false;      ///< and when hosts are answered
        std::optional<Prng> remove;        ///< where from it draws when a member is to leave
        unsigned removals = 0;             ///< members that may
        std::optional<Prng> add;           ///< where from it draws when a disk is to come
        unsigned additions = 0;            ///< disks that may
        std::function<bool(const std::string&)> fit;  ///< this disk works
        std::optional<Prng> take_back;  ///< where from it draws when a failed member's disk is back
        std::function<std::vector<std::string>()> back;  ///< such disks, that work
        std::optional<Prng> set_jobs;                    ///< where from it draws what becomes of scrubs
        std::optional<Prng> shapes;  ///< where from it draws when stripes are to get another shape
        unsigned reshapes = 0;       ///< times that they may
        Nanos pause_max = 400ms;
    };
    static constexpr std::uint64_t kSize = 40u << 20;  ///< of the second virtual disk

    Operator(World& world, Options options);

    void start();
    /// No new requests; the one under way goes on.
    void quiet() { quiet_ = true; }
    bool idle() const { return !busy_; }
    void process_died(const Process& process);
    /// Errors of this process are not held against anybody from now on.
    void excuse(std::uint64_t pid) { excused_.insert(pid); }
    std::string pending() const { return busy_ ? what_ + " on pid " + std::to_string(pid_) : ""; }
    std::uint64_t done() const { return done_; }

private:
    enum class Action : std::uint8_t {
        close_port,
        open_ports,
        create,
        open_second,
        use,
        remove,
        scrub,
        fail,
        set_sharing,
        set_replication,
        remove_disk,
        add_disk,
        set_job,
        expand,
        want_shape,
        take_back
    };
    /// A piece of the second disk: `value` was written there last, 0 is never; perhaps if not `certain`.
    struct Slot {
        std::uint64_t value = 0, maybe = 0;
        std::vector<std::uint64_t> older{};
        bool may_be_older = false;    ///< somebody who may have had the only copies of `value` has died
        std::optional<Buffer> mixed;  ///< in the place of `value`: some blocks of a write that has no answer
    };
    struct Answer {
        bool ok = false;
        Errc code{};
        std::string detail;
        std::optional<std::uint64_t> job;
    };

    void next_later();
    void next();
    void ask(const Desk& desk, Action action, std::string what, Task<AdminResult<Outcome>> request);
    void use_second(const Desk& desk);
    bool set_sharing(const Desk& desk);
    bool remove_disk(const Desk& desk);
    bool add_disk(const Desk& desk);
    bool take_back(const Desk& desk);
    bool set_job(const Desk& desk);
    bool want_shape(const Desk& desk);
    static Task<void> perform(Operator& self, std::uint64_t turn, Task<AdminResult<Outcome>> request);
    static Task<void> write_slot(Operator& self, std::uint64_t turn, std::shared_ptr<Port> port,
                                 std::size_t slot, std::uint64_t value);
    static Task<void> read_slot(Operator& self, std::uint64_t turn, std::shared_ptr<Port> port,
                                std::size_t slot);
    void begin(const Desk& desk, Action action, std::string what);
    void end(std::uint64_t turn, const Answer& answer);
    void check_answer(const Answer& answer);
    bool mixed(std::size_t slot, const Buffer& seen) const;
    void check_slot(std::size_t slot, const Buffer& seen);
    void look_at_jobs(const Desk& desk);
    static Buffer content(std::size_t slot, std::uint64_t value);
    static std::uint64_t place(std::size_t slot) { return slot * (kSize / kSlots) + slot * 1536; }

    static constexpr std::size_t kSlots = 16;
    static constexpr std::size_t kSlotSize = 7 * 1024;
    World& world_;
    Options options_;
    Prng prng_;
    std::set<std::uint64_t> excused_;  ///< processes
    std::array<Slot, kSlots> slots_{};
    std::uint64_t next_value_ = 1;
    std::uint64_t turn_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t pid_ = 0;
    Action action_{};
    std::size_t slot_ = 0;
    std::string what_;
    bool known_ = false;    ///< the second disk is there and `slots_` is about it
    bool created_ = false;  ///< once at least
    bool busy_ = false;
    bool quiet_ = false;
};

}  // namespace braid::sim
