// Side threads in the simulator: all on the one executor of their process, but what passes between them takes
// its time, now and then long, as between threads of which one is not on a core. So what the threads of the
// real side see of each other, late and in order, is drawn here, and a seed repeats it.
#pragma once

#include <deque>
#include <map>
#include <memory>

#include "base/prng.h"
#include "io/side_thread.h"
#include "sim/world.h"

namespace braid::sim {

class SimSides final : public SideThreads {
public:
    /// `slow`: else all comes in the next turn.
    SimSides(Process& process, Network& network, DiskShelf& shelf, bool slow);
    ~SimSides() override;
    SideThread* side(unsigned number) override;
    /// What this side says to the first thread waits until it may be heard again.
    void hold_back(unsigned number, bool held);

private:
    class Side;
    Process& process_;
    Network& network_;
    DiskShelf& shelf_;
    bool slow_;
    std::map<unsigned, std::unique_ptr<Side>> sides_;
};

}  // namespace braid::sim
