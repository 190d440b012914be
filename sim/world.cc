#include "sim/world.h"

#include <algorithm>
#include <cstdio>

#include "base/assert.h"

namespace braid::sim {

void SimClock::set(Nanos start, unsigned per_mille) {
    since_ = world_.now();
    start_ = start;
    per_mille_ = per_mille;
}

Nanos SimClock::now() const { return start_ + (world_.now() - since_) * per_mille_ / 1000; }

void SimClock::arm(TimerOp& op) {
    op.armed_by = this;
    op.fired = false;
    TimerOp* timer = &op;
    // The first moment at which it shows the deadline.
    const Nanos left = std::min<Nanos>(op.deadline - start_, 1000h);  // beyond it is never
    const Nanos due = since_ + (left * 1000 + Nanos(per_mille_ - 1)) / per_mille_;
    const EventKey key = world_.at(std::max(due, world_.now()), [this, timer] {
        timer->armed_by = nullptr;
        timer->fired = true;
        executor_.post(*timer->wakeup);
    });
    op.deadline = key.first;
    op.sequence = key.second;
}

void SimClock::disarm(TimerOp& op) {
    world_.cancel({op.deadline, op.sequence});
    op.armed_by = nullptr;
}

Process::Process(World& w, std::uint64_t p, std::string n)
    : world(w), pid(p), name(std::move(n)), clock(w, executor), random(w.prng.split(p)) {}

Process::~Process() {
    if (destroy) destroy();
}

World::World(std::uint64_t seed) : prng(seed) {}

World::~World() {
    for (const auto& process : processes_) {
        if (auto destroy = std::exchange(process->destroy, nullptr)) destroy();
    }
}

EventKey World::after(Nanos delay, Action action) { return at(now_ + delay, std::move(action)); }

EventKey World::at(Nanos when, Action action) {
    if (free_places_.empty()) {
        ASSERT(places_.size() < 1u << kPlaceBits);
        free_places_.push_back(static_cast<std::uint32_t>(places_.size()));
        places_.emplace_back();
    }
    const EventKey key{when, ++sequence_ << kPlaceBits | free_places_.back()};
    free_places_.pop_back();
    Place& place = place_of(key.second);
    place.number = key.second;
    place.action = std::move(action);
    queue_.push_back(key);
    std::ranges::push_heap(queue_, std::greater{});
    return key;
}

Action World::vacate(std::uint64_t number) {
    Place& place = place_of(number);
    place.number = 0;
    free_places_.push_back(static_cast<std::uint32_t>(&place - places_.data()));
    return std::exchange(place.action, nullptr);
}

void World::cancel(const EventKey& key) {
    if (place_of(key.second).number == key.second) (void)vacate(key.second);
}

const EventKey* World::next_event() {
    while (!queue_.empty() && place_of(queue_.front().second).number != queue_.front().second) {
        std::ranges::pop_heap(queue_, std::greater{});
        queue_.pop_back();
    }
    return queue_.empty() ? nullptr : &queue_.front();
}

void World::run_ready() {
    bool ran = true;
    while (ran) {
        ran = false;
        for (std::size_t i = 0; i < living_.size(); ++i) {
            Process& process = *living_[i];
            if (process.paused || process.executor.idle()) continue;
            process.executor.run_until_idle();
            ran = true;
        }
    }
}

bool World::step() {
    run_ready();
    const EventKey* next = next_event();
    if (next == nullptr) return false;
    now_ = next->first;
    ++fired_;
    hash_ = mix64(hash_ ^ static_cast<std::uint64_t>(now_.count()));
    vacate(next->second)();
    run_ready();
    return true;
}

bool World::run_until(const std::function<bool()>& done, Nanos limit, Nanos every) {
    const Nanos end = now_ + limit;
    Nanos ask_at = now_;
    run_ready();
    while (true) {
        if (now_ >= ask_at) {
            if (done()) return true;
            ask_at = now_ + every;
        }
        const EventKey* next = violation_.empty() ? next_event() : nullptr;
        if (next == nullptr || next->first > end) return every != Nanos{0} && done();
        step();
    }
}

std::shared_ptr<Process> World::start_process(std::string name) {
    auto process = std::make_shared<Process>(*this, next_pid_++, std::move(name));
    processes_.push_back(process);
    living_.push_back(process.get());
    note("process.start", process->pid);
    return process;
}

Process* World::find(std::uint64_t pid) {
    for (const auto& process : processes_) {
        if (process->pid == pid) return process.get();
    }
    return nullptr;
}

void World::crash(Process& process) {
    if (!process.alive) return;
    note("process.crash", process.pid);
    process.alive = false;
    std::erase(living_, &process);
    if (auto destroy = std::exchange(process.destroy, nullptr)) destroy();
    auto told = std::move(process.on_death);
    process.on_death.clear();
    for (auto& tell : told) tell();
}

void World::note(std::string_view what, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    std::uint64_t kind = what.size();
    for (const char letter : what) kind = kind * 131 + static_cast<unsigned char>(letter);
    hash_ = mix64(hash_ ^ kind);
    hash_ = mix64(hash_ ^ a);
    hash_ = mix64(hash_ ^ b);
    hash_ = mix64(hash_ ^ c);
    if (trace) {
        std::printf("%12.6f  %-18.*s %llu %llu %llu\n", static_cast<double>(now_.count()) / 1e9,
                    static_cast<int>(what.size()), what.data(), static_cast<unsigned long long>(a),
                    static_cast<unsigned long long>(b), static_cast<unsigned long long>(c));
    }
}

void World::violation(std::string text) {
    if (violation_.empty()) violation_ = std::move(text);
}

}  // namespace braid::sim
