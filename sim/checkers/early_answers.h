// What a controller that answers before its copies stand may take along when it dies (row R4, H20): of what
// each of its AMFs had answered, and no flush has covered since, a part from the end. So if any write of such
// an AMF is seen, or was FUA, all that had their answer before it was invoked are there, too. The one-disk
// checker judges what follows. And it is no more than the window that is promised.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sim/checkers/one_disk.h"

namespace braid::sim {

/// An AMF of one process, or 0: some AMF behind a controller outside of the group.
using Answerer = std::uint64_t;
constexpr Answerer answerer(std::uint64_t pid, std::size_t side) { return pid * 16 + side; }
constexpr std::uint64_t pid_of(Answerer who) { return who / 16; }

class EarlyAnswers {
public:
    void begins(Answerer who, Sectors sectors, std::uint64_t value, Instant invoked);
    void done(Answerer who, std::uint64_t value, Instant completed, bool durable, OneDisk& disk);
    /// Of a write that has its answer: it may come from one of the group who has died since.
    bool told_by_the_dead(Answerer who, Instant invoked) const { return who == 0 && invoked < last_death_; }
    /// A flush has an answer.
    void flushed(Instant invoked) { last_flush_ = std::max(last_flush_, invoked); }
    void process_died(std::uint64_t pid, Instant now, OneDisk& disk);
    struct Lost {
        std::size_t writes = 0;
        std::uint64_t sectors = 0;  ///< of the AMF that has lost most
    };
    /// Before the one-disk checker judges. What is lost: somebody has looked.
    Lost settle(OneDisk& disk);
    /// All died, with all that they knew.
    void forget() { writes_.clear(); }

private:
    struct Write {
        std::uint64_t value = 0;
        Sectors sectors{0};
        Instant invoked = 0;
        Instant completed = kNever;
        bool durable = false;
        bool perhaps_lost = false;
    };
    std::map<Answerer, std::vector<Write>> writes_;  ///< by value
    Instant last_flush_ = std::numeric_limits<Instant>::min();
    Instant last_death_ = std::numeric_limits<Instant>::min();
};

}  // namespace braid::sim
