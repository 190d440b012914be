// A forwarded write dies with its AMF at every step, others see and overwrite what it has done, and another
// AMF is asked for it again: what was seen does not come back, what had not happened happens.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid {
namespace {

using testing::InFlight;
using testing::pattern;
using testing::World;
using testing::WorldOptions;

constexpr std::uint32_t kStrip = 16u << 10;
constexpr std::size_t kArea = 8 * kStrip;

Errand errand(bool repeated) { return {{ControllerId(20), Incarnation(1)}, 5, 5, repeated}; }

struct Story {
    const char* name;
    WorldOptions options;
    std::uint64_t at;
    std::size_t size;
    bool second_dies = false;  ///< who was asked next, in the middle of it
};

class Errands {
public:
    explicit Errands(const Story& story) : story_(story), world_(story.options) {
        for (std::uint16_t id = 1; id <= story.options.dimension + 2; ++id)
            world_.start(id).amf->keep_errands(std::array{errand(false).who});
        EXPECT_TRUE(world_.write(1, 0, pattern(1, kArea)).has_value());
        world_.settle();
        fresh_ = pattern(2, story.size);
        newer_ = pattern(3, kArea);
    }

    std::size_t count() {
        ask(1, false);
        const std::size_t first = world_.steps();
        while (!result_ && world_.step()) {
        }
        EXPECT_TRUE(result_ && *result_);
        world_.settle();
        return world_.steps() - first;
    }

    void die_at(std::size_t step, InFlight fate) {
        ask(1, false);
        for (std::size_t i = 0; i < step; ++i) world_.step();
        world_.kill(1, fate);
        world_.adopt();
        overwrite_what_is_there();
        if (story_.second_dies) {
            ask(2, true);
            for (std::size_t i = 0; i < step / 2; ++i) world_.step();
            world_.kill(2, fate);
            world_.adopt();
            overwrite_what_is_there();
        }
        ask(3, true);
        ASSERT_TRUE(world_.run_until([&] { return result_.has_value(); }));
        ASSERT_TRUE(result_->has_value());
        check();
    }

    /// Blocks that were seen, overwritten, and not done again.
    static inline std::size_t kept = 0;
    /// Blocks that had not been done.
    static inline std::size_t made = 0;

private:
    void ask(std::uint16_t id, bool repeated) {
        result_.reset();
        world_.node(id).scope->spawn(
            World::keep(world_.amf(id).write(story_.at, Slice(fresh_), false, errand(repeated)), result_));
    }
    bool same(const Buffer& got, std::size_t at, const Buffer& with, std::size_t from) const {
        return std::memcmp(got.data() + at, with.data() + from, kBlockSize) == 0;
    }
    bool is_done(const Buffer& got, std::size_t at) const { return same(got, at, fresh_, at - story_.at); }

    void overwrite_what_is_there() {
        const Buffer got = world_.read(3, 0, kArea);
        ASSERT_EQ(got.size(), kArea);
        for (std::size_t at = story_.at; at < story_.at + story_.size; at += kBlockSize) {
            if (!is_done(got, at)) continue;
            seen_.insert(at);
            Buffer block = Buffer::copy_of(newer_.span().subspan(at, kBlockSize));
            ASSERT_TRUE(world_.write(3, at, block).has_value());
        }
    }
    void check() {
        const Buffer got = world_.read(3, 0, kArea);
        ASSERT_EQ(got.size(), kArea);
        for (std::size_t at = story_.at; at < story_.at + story_.size; at += kBlockSize) {
            if (seen_.contains(at)) {
                EXPECT_TRUE(same(got, at, newer_, at)) << "block at " << at << " came back";
                ++kept;
            } else {
                EXPECT_TRUE(is_done(got, at)) << "block at " << at << " was not done";
                ++made;
            }
        }
        world_.settle();
        EXPECT_TRUE(world_.unclean(3, kArea).empty());
    }

    Story story_;
    World world_;
    Buffer fresh_, newer_;
    std::set<std::size_t> seen_;
    std::optional<Status> result_;
};

WorldOptions with(Level level, std::uint8_t dimension, std::uint64_t seed) {
    WorldOptions options;
    options.level = level;
    options.disks = level == Level::mirror ? 2 : 5;
    options.dimension = dimension;
    options.seed = seed;
    return options;
}

class ErrandAtEveryStep : public ::testing::TestWithParam<Story> {};

TEST_P(ErrandAtEveryStep, TakesEffectOnce) {
    const Story& story = GetParam();
    const std::size_t steps = Errands(story).count();
    Errands::kept = Errands::made = 0;
    for (const InFlight fate : {InFlight::lost, InFlight::mixed}) {
        for (std::size_t step = 0; step <= steps; ++step) {
            SCOPED_TRACE(std::string(story.name) + " at step " + std::to_string(step));
            Errands(story).die_at(step, fate);
            if (HasFatalFailure() || HasNonfatalFailure()) return;
        }
    }
    EXPECT_GT(Errands::kept, 0u);
    EXPECT_GT(Errands::made, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Stories, ErrandAtEveryStep,
    ::testing::Values(Story{"one_strip", with(Level::raid5, 2, 0), kStrip, kBlockSize},
                      Story{"two_stripes", with(Level::raid5, 2, 0), 3 * kStrip, 2 * kStrip},
                      Story{"two_stripes_mixed", with(Level::raid5, 2, 11), 3 * kStrip, 2 * kStrip},
                      Story{"mirror", with(Level::mirror, 2, 3), kStrip / 2, kStrip},
                      Story{"two_deaths", with(Level::raid5, 2, 5), 3 * kStrip, 2 * kStrip, true},
                      Story{"two_deaths_of_3", with(Level::raid5, 3, 7), 3 * kStrip, 2 * kStrip, true}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Errand, ZeroesTakeEffectOnceToo) {
    World world(with(Level::raid5, 2, 0));
    for (std::uint16_t id = 1; id <= 3; ++id)
        world.start(id).amf->keep_errands(std::array{errand(false).who});
    const Buffer old = pattern(1, kArea), newer = pattern(2, kBlockSize);
    ASSERT_TRUE(world.write(1, 0, old).has_value());
    ASSERT_TRUE(world.run(1, world.amf(1).write_zeroes(0, kArea, true, false, errand(false))).has_value());
    ASSERT_TRUE(world.write(3, 5 * kStrip, newer).has_value());
    world.settle();
    world.kill(1);
    world.adopt();
    ASSERT_TRUE(world.run(2, world.amf(2).write_zeroes(0, kArea, true, false, errand(true))).has_value());
    const Buffer got = world.read(3, 5 * kStrip, kBlockSize);
    ASSERT_EQ(got.size(), kBlockSize);
    EXPECT_EQ(std::memcmp(got.data(), newer.data(), kBlockSize), 0);
    EXPECT_EQ(world.amf(2).counters().done_before, 2u);
}

TEST(Errand, OfAnotherNumberIsDone) {
    World world(with(Level::raid5, 2, 0));
    for (std::uint16_t id = 1; id <= 2; ++id)
        world.start(id).amf->keep_errands(std::array{errand(false).who});
    const Buffer one = pattern(1, kBlockSize), two = pattern(2, kBlockSize);
    Errand other = errand(true);
    ++other.number;
    ASSERT_TRUE(world.run(1, world.amf(1).write(0, Slice(one), false, errand(false))).has_value());
    ASSERT_TRUE(world.run(2, world.amf(2).write(0, Slice(two), false, other)).has_value());
    const Buffer got = world.read(1, 0, kBlockSize);
    EXPECT_EQ(std::memcmp(got.data(), two.data(), kBlockSize), 0);
}

/// What an AMF has of an errand and has not destaged has no completion yet: it is asked again there after a
/// refusal.
class ErrandAskedAgainHere : public ::testing::Test {
protected:
    static WorldOptions writing_back() {
        WorldOptions options = with(Level::raid5, 2, 0);
        options.sharing.write_cache = WriteCache::back;
        options.sharing.few_partners = FewPartners::go_on;
        options.power_loss = PowerLoss::journal;
        options.amf.dirty_age = 20s;
        return options;
    }
    /// The first of two; the other one has died.
    static void start_alone(World& world) {
        for (std::uint16_t id = 1; id <= 2; ++id)
            world.start(id).amf->keep_errands(std::array{errand(false).who});
        EXPECT_TRUE(world.write(1, 0, pattern(1, kArea)).has_value());
        EXPECT_TRUE(world.run(1, world.amf(1).flush()).has_value());
        world.settle();
        world.kill(2);
        world.adopt();
        world.settle();
    }
};

/// The write is refused because what it needs could not be read at that moment; what it has left is dirty.
TEST_F(ErrandAskedAgainHere, OverNewerContentOfAnotherHost) {
    World world(writing_back());
    start_alone(world);
    const Buffer old = pattern(2, 2 * kBlockSize), newer = pattern(3, kBlockSize);
    world.node(1).cut.fill(true);
    const Status refused = world.run(1, world.amf(1).write(0, Slice(old), true, errand(false)));
    world.node(1).cut.fill(false);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::offline);
    ASSERT_FALSE(world.amf(1).tables().offline());
    ASSERT_TRUE(world.write(1, kBlockSize, newer).has_value());
    ASSERT_TRUE(world.run(1, world.amf(1).write(0, Slice(old), true, errand(true))).has_value());
    const Buffer got = world.read(1, 0, 2 * kBlockSize);
    ASSERT_EQ(got.size(), 2 * kBlockSize);
    EXPECT_EQ(std::memcmp(got.data(), old.data(), kBlockSize), 0);
    EXPECT_EQ(std::memcmp(got.data() + kBlockSize, newer.data(), kBlockSize), 0);
}

/// What of it was dirty at the one that refused has come along with the lock: known, and nowhere safe from a
/// loss of power.
TEST_F(ErrandAskedAgainHere, WithFuaIsSafeAlthoughItWasDirtyElsewhere) {
    World world(writing_back());
    start_alone(world);
    const Buffer data = pattern(2, kBlockSize);
    world.node(1).cut.fill(true);
    ASSERT_FALSE(world.run(1, world.amf(1).write(0, Slice(data), true, errand(false))).has_value());
    world.node(1).cut.fill(false);
    world.start(3).amf->keep_errands(std::array{errand(false).who});
    world.settle();
    ASSERT_TRUE(world.run(3, world.amf(3).write(0, Slice(data), true, errand(true))).has_value());
    EXPECT_EQ(world.amf(3).counters().done_before, 1u);
    EXPECT_EQ(world.amf(1).counters().passed_on, 1u);
    world.kill(1, InFlight::lost);
    world.kill(3, InFlight::lost);
    world.start(4);
    const Buffer got = world.read(4, 0, kBlockSize);
    ASSERT_EQ(got.size(), kBlockSize);
    EXPECT_EQ(std::memcmp(got.data(), data.data(), kBlockSize), 0);
}

}  // namespace
}  // namespace braid
