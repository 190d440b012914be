// A host that trims whole extents of the shared area, through any controller, while the others write there:
// in one request, or in several that cover the extent together, each of them through another controller if it
// comes so. A trim that gets no answer is done again until it has one.
//
// For the one-disk checker a trim writes a value of its own. Who reads zeros cannot tell whose they are: they
// are told as the last trim's if it was over before the read began, and not at all if one was under way.
//
// Another host asks meanwhile which parts of these extents are holes: for the checker it has read zeros
// there.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "layout/geometry.h"
#include "sim/hosts.h"

namespace braid::sim {

class ExtentTrims {
public:
    struct Options {
        Nanos pause_max{};      ///< between two; 0: none at all
        bool in_parts = false;  ///< and through controllers outside: zeros are written
        bool spread = false;    ///< the parts of some through different controllers
        bool maps = false;      ///< holes are asked for
        bool journal = false;
    };
    /// `errors`: whether this error of this process is held against anybody.
    ExtentTrims(World& world, Ports& ports, OneDisk& one_disk, Options options,
                std::function<Instant()> instant, std::function<std::uint64_t()> next_id,
                std::function<bool(std::uint64_t)> excused);

    void start() {
        next();
        look();
    }
    void quiet() { quiet_ = true; }
    void resume();
    bool idle() const { return (!at_work_ || quiet_stuck_) && !looking_; }
    std::string pending() const;
    void process_died(const Process& process);
    void power_lost();
    /// Parts of an extent through one port after the other.
    Task<Status> trim_apart(std::uint64_t extent, std::vector<std::shared_ptr<Port>> ports);
    /// The value that zeros in this extent stand for; nothing: they may be anybody's.
    std::optional<std::uint64_t> zeros(std::uint64_t extent, Instant invoked, Instant completed) const;

private:
    static constexpr std::uint64_t kExtents = 2;
    struct Zeroed {
        std::uint64_t id = 0;
        Instant invoked = 0;
        Instant completed = kNever;
    };
    void next();
    void begin(std::uint64_t extent);
    void issue();
    void done();
    void look();
    static Task<void> ask(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port, Sectors range,
                          std::size_t most);
    void told(Sectors range, Instant invoked, const std::vector<AllocationRun>& runs);
    static Task<void> run(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port,
                          LogicalRange range, std::uint64_t split, bool as_zeros);
    void ended(std::uint64_t turn, Status status);
    void again(Nanos pause);
    void again_when_it_cannot_land();

    World& world_;
    Ports& ports_;
    OneDisk& one_disk_;
    Options options_;
    std::function<Instant()> instant_;
    std::function<std::uint64_t()> next_id_;
    std::function<bool(std::uint64_t)> excused_;
    Prng prng_, spread_, maps_;
    std::array<Zeroed, kExtents> last_{};
    std::array<bool, kExtents> in_doubt_{};  ///< power went since
    std::uint64_t extent_ = 0;
    std::uint64_t turn_ = 0;
    std::uint64_t process_ = 0;
    std::vector<LogicalRange> parts_;  ///< of the extent, what is left to be trimmed; the last one is next
    std::uint64_t looks_ = 0, look_process_ = 0;
    bool looking_ = false;
    bool whole_ = false;  ///< in one request, here
    bool at_work_ = false, asked_ = false, quiet_ = false, quiet_stuck_ = false;
};

}  // namespace braid::sim
