// Hosts of the simulated cluster: each has one operation in flight, on a port of some controller, and goes to
// another one when its controller dies. What they saw goes to the one-disk checker.
//
// Shared area: writes and reads of whole sectors by all hosts, over a few spots that collide often; every
// written sector carries a value of its own. Private area: one block run per host, any byte range, zeros and
// trims too, checked against what this host wrote (an operation without an answer may have happened or not,
// once).
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/buffer.h"
#include "sim/checkers/one_disk.h"
#include "sim/world.h"
#include "volume/port.h"

namespace braid::sim {

constexpr std::uint32_t kSector = 512;

/// Where a host may send its operations.
class Ports {
public:
    virtual ~Ports() = default;
    struct Place {
        std::shared_ptr<Process> process;
        std::shared_ptr<Port> port;
        Scope* scope = nullptr;  ///< of the process: operations run in it
    };
    /// A port on some living controller by chance, or nothing.
    virtual std::optional<Place> pick(Prng& prng) = 0;
};

struct HostOptions {
    std::uint64_t volume_size = 0;
    std::uint64_t stripe_size = 0;  ///< to aim at stripe borders
    std::size_t hosts = 4;
    Nanos think_max = 2ms;
    bool power_cuts = false;
    bool hot = false;  ///< most operations on two spots of one or two blocks
};

class Hosts {
public:
    Hosts(World& world, Ports& ports, HostOptions options);

    void start();
    /// No new operations; those in flight go on.
    void quiet() { quiet_ = true; }
    void resume();
    bool idle() const;
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
    std::string judge() const { return one_disk_.judge(); }
    std::size_t checked() const { return one_disk_.operations(); }
    /// Errors are answers that hosts of a healthy cluster must not see.
    bool errors_allowed = false;
    /// Errors of this process are not held against anybody from now on: the hosts find another one.
    void excuse(std::uint64_t pid) { excused_.insert(pid); }

private:
    enum class Kind : std::uint8_t { read, write, private_read, private_write, private_zero, flush };
    struct Operation {
        Kind kind = Kind::read;
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        Buffer data;
        std::uint64_t id = 0;
        bool fua = false;
        Instant invoked = 0;
        Instant completed = kNever;
    };
    struct Host {
        std::size_t index = 0;
        Prng prng{0};
        std::optional<Operation> operation;
        std::uint64_t process = 0;  ///< pid that has the operation
        std::uint64_t turn = 0;
        std::vector<std::byte> expected;  ///< private area
        std::vector<std::uint8_t>
            uncertain;  ///< bytes that may be as expected or as an unanswered write left them
        std::vector<Operation> unanswered;  ///< of the private area, while a byte of theirs is uncertain
        std::vector<std::byte>
            durable;  ///< private area as power cannot take it, without what is in `unflushed`
        std::vector<Operation> unflushed;  ///< in the order of their ends
    };

    void next(Host& host);
    Operation draw(Host& host);
    static Task<void> run(Hosts& hosts, std::size_t host, std::uint64_t turn, std::shared_ptr<Port> port);
    void complete(Host& host, Status status);
    Task<Result<Operation>> read_range(std::shared_ptr<Port> port, std::uint64_t offset,
                                       std::uint64_t length);
    void record_read(const Operation& operation, Instant completed);
    void check_private(Host& host, const Operation& operation);
    void leave_unanswered(Host& host, Operation operation);
    bool may_be_there(const Host& host, std::uint64_t offset, std::byte seen) const;
    void stamp(Operation& operation);
    void flushed(const Operation& flush);
    void apply(const Host& host, const Operation& operation, std::vector<std::byte>& area) const;
    std::uint64_t private_base(const Host& host) const;
    /// Virtual time, but no two events at the same: equal instants would prove no order to the checker.
    Instant instant() { return last_instant_ = std::max(last_instant_ + 1, world_.now().count()); }

    static constexpr std::uint64_t kPrivateSize = 256u << 10;
    World& world_;
    Ports& ports_;
    HostOptions options_;
    std::vector<std::uint64_t> spots_;
    std::vector<Host> hosts_;
    std::set<std::uint64_t> excused_;  ///< processes
    OneDisk one_disk_;
    Instant last_instant_ = 0;
    std::uint64_t next_id_ = 1;
    std::uint64_t finished_ = 0, failed_ = 0;
    bool quiet_ = false;
};

}  // namespace braid::sim
