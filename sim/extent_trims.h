// A host that trims whole extents of the shared area, through any controller, while the others write there:
// in one request, or in two that cover the extent together. A trim that gets no answer is done again until it
// has one.
//
// For the one-disk checker a trim writes a value of its own. Who reads zeros cannot tell whose they are: they
// are told as the last trim's if it was over before the read began, and not at all if one was under way.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>

#include "sim/hosts.h"

namespace braid::sim {

class ExtentTrims {
public:
    struct Options {
        Nanos pause_max{};      ///< between two; 0: none at all
        bool in_parts = false;  ///< and through controllers outside: zeros are written
        bool journal = false;
    };
    /// `errors`: whether this error of this process is held against anybody.
    ExtentTrims(World& world, Ports& ports, OneDisk& one_disk, Options options,
                std::function<Instant()> instant, std::function<std::uint64_t()> next_id,
                std::function<bool(std::uint64_t)> excused);

    void start() { next(); }
    void quiet() { quiet_ = true; }
    void resume();
    bool idle() const { return !at_work_ || quiet_stuck_; }
    std::string pending() const;
    void process_died(const Process& process);
    void power_lost();
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
    void issue();
    static Task<void> run(ExtentTrims& trims, std::uint64_t turn, std::shared_ptr<Port> port,
                          std::uint64_t at, std::uint64_t split, bool as_zeros);
    void ended(std::uint64_t turn, Status status);
    void again(Nanos pause);

    World& world_;
    Ports& ports_;
    OneDisk& one_disk_;
    Options options_;
    std::function<Instant()> instant_;
    std::function<std::uint64_t()> next_id_;
    std::function<bool(std::uint64_t)> excused_;
    Prng prng_;
    std::array<Zeroed, kExtents> last_{};
    std::array<bool, kExtents> in_doubt_{};  ///< power went since
    std::uint64_t extent_ = 0;
    std::uint64_t turn_ = 0;
    std::uint64_t process_ = 0;
    bool whole_ = false;  ///< in one request, here
    bool at_work_ = false, asked_ = false, quiet_ = false, quiet_stuck_ = false;
};

}  // namespace braid::sim
