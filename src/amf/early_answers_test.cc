// A writer that answers before its copies stand dies at every step of some writes, one of its partners behind
// the others, and whoever finishes them dies after it: of what its host was told the first part is there, the
// rest is not, no hole; parity is right, no record is left.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

/// From one write to the next: each has an arbiter of its own.
constexpr std::size_t kStripe = std::size_t{64} << 16;
constexpr std::size_t kWrites = 5;

struct Case {
    Replication mode = Replication::asynchronous;
    std::uint16_t slow = 0;   ///< nothing reaches this partner, 0: all is well
    std::size_t from = 0;     ///< from this write on
    std::size_t partner = 0;  ///< steps to the death of partner 2; 0: it lives
    std::size_t step = 0;     ///< steps from there to the death of the writer
    std::size_t hush = 0;     ///< steps from there until what 5 says to the others comes no more
    std::size_t second = 0;  ///< steps from there to the death of who finishes the writes; 0: it does not die
    std::uint64_t seed = 0;  ///< of the order in which things happen
    bool set = false;        ///< just before the writer dies the group becomes synchronous
};

WorldOptions options_of(const Case& c) {
    WorldOptions options{.level = Level::raid5, .disks = 5, .dimension = 3, .seed = c.seed};
    options.sharing.write_cache = WriteCache::back;
    options.sharing.replication = c.mode;
    options.amf.dirty_age = 20s;
    options.amf.window_age = 20s;
    return options;
}

class Story {
public:
    explicit Story(const Case& c) : case_(c), world_(options_of(c)) {
        for (std::uint16_t id = 1; id <= 5; ++id) world_.start(id);
        for (std::size_t i = 0; i < kWrites; ++i)
            EXPECT_TRUE(world_.write(1, i * kStripe, pattern(100 + i, 4096)));
        EXPECT_TRUE(world_.run(1, world_.amf(1).flush()));
        world_.settle();
        world_.node(1).scope->spawn(work(*this));
    }

    /// How long it takes, until nothing happens any more.
    std::size_t count() {
        const std::size_t first = world_.steps();
        world_.settle();
        EXPECT_EQ(answered, kWrites);
        return world_.steps() - first;
    }

    void run() {
        if (case_.partner != 0) {
            steps(case_.partner);
            world_.kill(2, InFlight::mixed);
            world_.adopt();
        }
        steps(case_.step);
        if (case_.set) set_synchronous();
        kill(1);
        if (case_.hush != 0) {
            steps(case_.hush);
            for (const std::uint16_t id : std::array<std::uint16_t, 3>{2, 3, 4}) world_.slow.insert({5, id});
        }
        steps(case_.second);
        for (const auto& [id, node] : world_.nodes) {
            if (case_.second == 0 || node->amf->conditions().recovering_units == 0) continue;
            kill(id);
            break;
        }
        world_.slow.clear();
        check();
    }

    std::size_t answered = 0, there = 0;

private:
    void steps(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) world_.step();
    }

    void set_synchronous() {
        GroupChange change;
        change.sharing.replication = Replication::synchronous;
        std::optional<Status> done;
        world_.node(5).scope->spawn(World::keep(world_.amf(5).tables().set(change), done));
        world_.run_until([&] { return done.has_value(); }, 1s);
        ASSERT_TRUE(done && *done);
    }

    void kill(std::uint16_t id) {
        world_.kill(id, InFlight::mixed);
        world_.slow.clear();
        world_.adopt();
    }

    static Task<void> work(Story& story) {
        for (std::size_t i = 0; i < kWrites; ++i) {
            if (i == story.case_.from && story.case_.slow != 0)
                story.world_.slow.insert({1, story.case_.slow});
            const Buffer fresh = pattern(200 + i, 4096);
            const Status status = co_await story.world_.amf(1).write(i * kStripe, Slice(fresh), false);
            EXPECT_TRUE(status.has_value());
            ++story.answered;
        }
    }

    /// From the last on: who looks at a stripe lets it be finished first.
    void check() {
        const std::uint16_t reader = world_.nodes.rbegin()->first;
        std::array<bool, kWrites> is_there{};
        for (std::size_t i = kWrites; i-- != 0;) {
            const Buffer got = world_.read(reader, i * kStripe, 4096);
            ASSERT_EQ(got.size(), 4096u);
            is_there[i] = std::memcmp(got.data(), pattern(200 + i, 4096).data(), 4096) == 0;
            const bool old = std::memcmp(got.data(), pattern(100 + i, 4096).data(), 4096) == 0;
            ASSERT_TRUE(is_there[i] || old) << "write " << i << " is half there";
            there += is_there[i] ? 1 : 0;
        }
        for (std::size_t i = 1; i < kWrites; ++i)
            ASSERT_TRUE(is_there[i - 1] || !is_there[i])
                << "write " << i << " is there, the one before it is not";
        world_.run_until([] { return false; }, 100ms);
        EXPECT_TRUE(world_.unclean(reader, kWrites * kStripe).empty());
        for (const auto& [id, node] : world_.nodes) {
            EXPECT_EQ(node->amf->replicator().store().bytes(), 0u) << "record left at " << id;
            EXPECT_EQ(node->amf->conditions().recovering_units, 0u) << id;
        }
    }

    Case case_;
    World world_;
};

TEST(EarlyAnswers, LeaveAPrefixAtEveryStep) {
    std::set<std::size_t> lost;
    for (const Replication mode : {Replication::asynchronous, Replication::synchronous}) {
        for (const std::uint16_t slow : std::array<std::uint16_t, 3>{0, 2, 3}) {
            for (std::size_t from = 0; from < (slow == 0 ? 1 : kWrites); from += 2) {
                if (slow != 0 && mode == Replication::synchronous) continue;
                const std::size_t steps = Story({.mode = mode, .slow = slow, .from = from}).count();
                for (std::size_t step = 0; step <= steps; ++step) {
                    SCOPED_TRACE(::testing::Message()
                                 << "slow " << slow << " from " << from << ", step " << step);
                    Story story({.mode = mode, .slow = slow, .from = from, .step = step});
                    story.run();
                    if (HasFatalFailure() || HasNonfatalFailure()) return;
                    if (mode == Replication::synchronous)
                        ASSERT_GE(story.there, story.answered);
                    else if (story.answered > story.there)
                        lost.insert(story.answered - story.there);
                }
            }
        }
    }
    EXPECT_GE(lost.size(), 2u) << "how many answered writes were lost";
}

TEST(EarlyAnswers, LeaveAPrefixWhenTheRecovererDiesToo) {
    for (std::size_t from = 0; from < kWrites; ++from) {
        for (std::uint64_t seed = 1; seed <= 2; ++seed) {
            const std::size_t steps = Story({.slow = 3, .from = from, .seed = seed}).count();
            for (std::size_t hush = 4; hush < 64; hush += 6) {
                for (std::size_t second = 10; second < 160; second += 30) {
                    SCOPED_TRACE(::testing::Message() << "from " << from << ", seed " << seed << ", hush "
                                                      << hush << ", then " << second);
                    Story({.slow = 3,
                           .from = from,
                           .step = steps,
                           .hush = hush,
                           .second = second,
                           .seed = seed})
                        .run();
                    if (HasFatalFailure() || HasNonfatalFailure()) return;
                }
            }
        }
    }
}

TEST(EarlyAnswers, LeaveAPrefixWhenTheGroupHasBecomeSynchronous) {
    for (std::size_t from = 0; from < kWrites; ++from) {
        const std::size_t steps = Story({.slow = 3, .from = from}).count();
        for (std::size_t hush = 4; hush < 64; hush += 12) {
            for (std::size_t second = 10; second < 160; second += 30) {
                SCOPED_TRACE(::testing::Message()
                             << "from " << from << ", hush " << hush << ", then " << second);
                Story({.slow = 3, .from = from, .step = steps, .hush = hush, .second = second, .set = true})
                    .run();
                if (HasFatalFailure() || HasNonfatalFailure()) return;
            }
        }
    }
}

TEST(EarlyAnswers, LeaveAPrefixAtANewPartner) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const std::size_t steps = Story({.slow = 3, .seed = seed}).count();
        for (std::size_t step = 1; step <= 60; ++step) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed << ", step " << step);
            Story({.slow = 3, .partner = steps, .step = step, .seed = seed}).run();
            if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
    }
}

}  // namespace
}  // namespace braid::testing
