#include "sim/sim_sides.h"

#include "async/scope.h"
#include "icl/link.h"

namespace braid::sim {

class SimSides::Side final : public SideThread {
public:
    Side(SimSides& sides, Prng prng)
        : sides_(sides), there_(executor()), back_(executor()), prng_(prng), scope_(executor()) {
        scope_.spawn(run(there_));
        scope_.spawn(run(back_));
    }
    ~Side() override {
        scope_.destroy_all();
        // What is left is dropped, in its order.
        for (Way* way : {&there_, &back_}) {
            while (!way->acts.empty()) way->acts.pop_front();
        }
    }

    void hold_back(bool held) {
        back_.held = held;
        back_.wake.notify_all();
    }
    void post(Act act) override { there_.put(std::move(act)); }
    void post_back(Act act) override { back_.put(std::move(act)); }
    Executor& executor() override { return sides_.process_.executor; }
    Clock& clock() override { return sides_.process_.clock; }
    Network& network() override { return sides_.network_; }
    DiskShelf& shelf() override { return sides_.shelf_; }

private:
    struct Way {
        explicit Way(Executor& executor) : wake(executor) {}
        void put(Act act) {
            acts.push_back(std::move(act));
            wake.notify_all();
        }
        std::deque<Act> acts;
        Event wake;
        bool held = false;
    };

    Task<void> run(Way& way) {
        while (true) {
            if (way.acts.empty()) {
                co_await way.wake.next();
            } else {
                co_await yield_turn(executor());
            }
            if (sides_.slow_) co_await sleep_for(clock(), delay());
            while (way.held) co_await way.wake.next();
            for (std::size_t n = way.acts.size(); n != 0; --n) {
                Act act = std::move(way.acts.front());
                way.acts.pop_front();
                act();
            }
        }
    }
    Nanos delay() {
        if (prng_.chance(1, 3000)) return Nanos(static_cast<std::int64_t>(prng_.below(30'000'000)));
        if (prng_.chance(1, 10)) return Nanos(static_cast<std::int64_t>(prng_.below(300'000)));
        return Nanos(static_cast<std::int64_t>(prng_.below(8'000)));
    }

    SimSides& sides_;
    Way there_, back_;
    Prng prng_;
    Scope scope_;
};

SimSides::SimSides(Process& process, Network& network, DiskShelf& shelf, bool slow)
    : process_(process), network_(network), shelf_(shelf), slow_(slow) {}

SimSides::~SimSides() = default;

SideThread* SimSides::side(unsigned number) {
    auto& side = sides_[number];
    if (side == nullptr) side = std::make_unique<Side>(*this, Prng(mix64(process_.random.next())));
    return side.get();
}

void SimSides::hold_back(unsigned number, bool held) {
    if (const auto at = sides_.find(number); at != sides_.end()) at->second->hold_back(held);
}

}  // namespace braid::sim
