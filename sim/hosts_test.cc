// The hosts as judges: on a space that keeps its word they find nothing, on one that lies in one way they
// find it, also when everything happens at the same virtual nanosecond.
#include "sim/hosts.h"

#include <gtest/gtest.h>

#include "base/codec.h"

namespace braid::sim {
namespace {

enum class Lie : std::uint8_t {
    none,
    forgets_a_write,       ///< answers one and does not do it
    goes_back,             ///< undoes an answered write later
    is_late_by_events,     ///< a write is seen some events after its answer, at the same instant
    ghosts,                ///< a dead process's writes land when others have gone on
    leaves_ghosts,         ///< the same for one that lives, whose answer is late
    spoils_what_it_drops,  ///< an unanswered write leaves bytes that nobody wrote
    answers_with_an_error,
};

constexpr std::uint64_t kVolume = kExtentSize + (4u << 20);
constexpr std::size_t kHosts = 3;

/// The virtual disk's bytes, whichever process serves them.
struct Store {
    World& world;
    Lie lie;
    bool ghosts_are_private = false;
    std::vector<std::byte> bytes = std::vector<std::byte>(kVolume);
    std::map<std::uint64_t, Bytes> in_flight;  ///< writes by offset
    std::uint64_t writes = 0;

    std::span<std::byte> at(std::uint64_t offset, std::uint64_t length) {
        return std::span(bytes).subspan(offset, length);
    }
    void put_after(int events, std::uint64_t offset, Bytes data) {
        world.after(Nanos{0}, [this, events, offset, d = std::move(data)]() mutable {
            if (events > 0) return put_after(events - 1, offset, std::move(d));
            std::ranges::copy(d, at(offset, d.size()).begin());
        });
    }
    void put_later(std::uint64_t offset, Bytes data) {
        world.after(30ms, [this, offset, d = std::move(data)] {
            std::ranges::copy(d, at(offset, d.size()).begin());
        });
    }
    /// What was under way in a process happens or not, by chance.
    void process_died() {
        for (const auto& [offset, data] : in_flight) {
            const bool is_private = offset >= kVolume - kHosts * (256u << 10);
            if (lie == Lie::ghosts) {
                if (is_private == ghosts_are_private) put_later(offset, data);
            } else if (lie == Lie::spoils_what_it_drops && is_private) {
                std::ranges::fill(at(offset, data.size()), std::byte{0x5a});
            } else if (world.prng.chance(1, 2)) {
                std::ranges::copy(data, at(offset, data.size()).begin());
            }
        }
        in_flight.clear();
    }
};

class Space final : public GroupSpace {
public:
    Space(Process& process, Store& store) : process_(process), store_(store) {}

    Task<Status> read(std::uint64_t offset, std::span<std::byte> into) override {
        co_await pass();
        std::ranges::copy(store_.at(offset, into.size()), into.begin());
        co_return Status{};
    }
    Task<Status> write(std::uint64_t offset, Slice data, bool, Errand) override {
        store_.in_flight[offset] = Bytes(data.bytes.begin(), data.bytes.end());
        co_await pass();
        store_.in_flight.erase(offset);
        const bool now = ++store_.writes % 40 == 0;
        const auto place = store_.at(offset, data.bytes.size());
        if (store_.lie == Lie::answers_with_an_error && now) co_return fail(Errc::io_error);
        if (store_.lie == Lie::forgets_a_write && now) co_return Status{};
        if (store_.lie == Lie::leaves_ghosts && now) {
            // The answer comes when the host has gone, and part of the write later still.
            co_await sleep_for(process_.clock, 100ms);
            store_.put_later(offset, Bytes(data.bytes.begin(), data.bytes.end()));
            co_return Status{};
        }
        if (store_.lie == Lie::goes_back && now) {
            store_.world.after(3ms, [this_store = &store_, offset, old = Bytes(place.begin(), place.end())] {
                std::ranges::copy(old, this_store->at(offset, old.size()).begin());
            });
        }
        if (store_.lie == Lie::is_late_by_events) {
            store_.put_after(12, offset, Bytes(data.bytes.begin(), data.bytes.end()));
        } else {
            std::ranges::copy(data.bytes, place.begin());
        }
        co_return Status{};
    }
    Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, bool, bool, Errand) override {
        co_await pass();
        std::ranges::fill(store_.at(offset, length), std::byte{0});
        co_return Status{};
    }
    Task<Status> flush() override { co_return Status{}; }
    Task<Result<std::vector<AllocationRun>>> allocation(std::uint64_t, std::uint64_t length, std::size_t,
                                                        AllocationDetail) override {
        co_return std::vector{AllocationRun{length, false}};
    }

private:
    Task<void> pass() {
        // The late one is fast: its order is that of events, not of time.
        if (store_.lie != Lie::is_late_by_events) {
            co_await sleep_for(process_.clock, Nanos(process_.world.prng.between(1'000, 400'000)));
            if (process_.world.prng.chance(1, 100)) co_await sleep_for(process_.clock, 60ms);
        }
    }
    Process& process_;
    Store& store_;
};

/// One process at a time serves the port; it dies every few milliseconds.
class Server final : public Ports {
public:
    Server(World& world, Lie lie, Nanos dies_every, const Workload& work, bool ghosts_are_private)
        : store_{world, lie, ghosts_are_private}, hosts_(world, *this, options(work)) {
        restart(dies_every);
        hosts_.start();
    }
    ~Server() override {
        if (process_) process_->destroy = nullptr;
    }
    static HostOptions options(const Workload& work) {
        HostOptions out;
        out.volume_size = kVolume;
        out.stripe_size = 64u << 10;
        out.hosts = kHosts;
        out.think_max = 200us;
        out.work = work;
        return out;
    }
    std::optional<Place> pick(Prng&, bool) override { return Place{process_, port_, scope_.get()}; }
    Hosts& hosts() { return hosts_; }

private:
    void restart(Nanos dies_every) {
        World& world = store_.world;
        process_ = world.start_process("p");
        space_ = std::make_unique<Space>(*process_, store_);
        port_ = std::make_shared<Port>(process_->executor, *space_, VirtualDisk{"v", "", kVolume, {}});
        scope_ = std::make_unique<Scope>(process_->executor);
        process_->destroy = [this] { scope_.reset(); };
        world.after(dies_every, [this, dies_every] {
            const std::shared_ptr<Process> dead = process_;
            store_.world.crash(*dead);
            store_.process_died();
            restart(dies_every);
            hosts_.process_died(*dead);
        });
    }
    Store store_;
    Hosts hosts_;
    std::shared_ptr<Process> process_;
    std::unique_ptr<Space> space_;
    std::shared_ptr<Port> port_;
    std::unique_ptr<Scope> scope_;
};

struct Verdict {
    std::string violation, judged;
    std::uint64_t finished = 0;
};

Verdict run(Lie lie, std::uint64_t seed, const Workload& work = {}, Nanos dies_every = 7ms,
            bool ghosts_are_private = false) {
    World world(seed);
    Server server(world, lie, dies_every, work, ghosts_are_private);
    world.run_until([&] { return server.hosts().finished() > 4000; }, 5s);
    return {world.violated(), server.hosts().judge(), server.hosts().finished()};
}

/// Several operations each, none of which takes longer than the hosts wait.
Workload many_at_a_time() {
    Workload work;
    work.hot = true;
    work.depth = 3;
    work.timeout = 40ms;
    work.leaves_of_1000 = 30;
    work.tiny = 30;
    work.trims = 5;
    work.streams_of_100 = 30;
    return work;
}

TEST(Hosts, FindNothingWrongOnASpaceThatKeepsItsWord) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const Verdict verdict = run(Lie::none, seed);
        EXPECT_EQ(verdict.violation, "");
        EXPECT_EQ(verdict.judged, "");
        EXPECT_GT(verdict.finished, 3000u);
    }
}

TEST(Hosts, FindNothingWrongWhateverTheyDo) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        Prng prng(seed);
        for (const Workload& work : {many_at_a_time(), draw_workload(prng), draw_workload(prng)}) {
            const Verdict verdict = run(Lie::none, seed, work, 200ms);
            EXPECT_EQ(verdict.violation, "");
            EXPECT_EQ(verdict.judged, "");
            EXPECT_GT(verdict.finished, 1000u);
        }
    }
}

TEST(Hosts, SeeAWriteOfTheDeadThatLandsAfterItsRepetition) {
    bool judged = false;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        judged |= !run(Lie::ghosts, seed, many_at_a_time()).judged.empty();
        EXPECT_TRUE(
            run(Lie::ghosts, seed, many_at_a_time(), 7ms, true).violation.starts_with("private byte"));
    }
    EXPECT_TRUE(judged);
}

TEST(Hosts, SeeAWriteTheyGaveUpThatLandsAfterItsRepetition) {
    const Verdict verdict = run(Lie::leaves_ghosts, 1, many_at_a_time(), 3s);
    EXPECT_NE(verdict.violation + verdict.judged, "");
}

TEST(Hosts, SeeAForgottenWriteAndOneThatIsTakenBack) {
    for (const Lie lie : {Lie::forgets_a_write, Lie::goes_back}) {
        const Verdict verdict = run(lie, 1);
        EXPECT_NE(verdict.violation + verdict.judged, "");
    }
}

TEST(Hosts, SeeAReadThatIsOldAtTheVeryInstantOfTheAnswer) {
    // In the shared area: the private one would be seen by its own host anyway.
    bool judged = false;
    for (std::uint64_t seed = 1; seed <= 3; ++seed)
        judged |= !run(Lie::is_late_by_events, seed).judged.empty();
    EXPECT_TRUE(judged);
}

TEST(Hosts, SeeBytesThatNobodyWroteUnderAnUnansweredWrite) {
    const Verdict verdict = run(Lie::spoils_what_it_drops, 1);
    EXPECT_TRUE(verdict.violation.starts_with("private byte")) << verdict.violation;
}

TEST(Hosts, DoNotTakeAnErrorForAnAnswer) {
    const Verdict verdict = run(Lie::answers_with_an_error, 1);
    EXPECT_NE(verdict.violation.find("io_error"), std::string::npos) << verdict.violation;
}

}  // namespace
}  // namespace braid::sim
