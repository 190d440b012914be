#include "amf/amf.h"

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

bool same(const Buffer& a, std::span<const std::byte> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), b.size()) == 0;
}

/// What the space ought to hold.
class Model {
public:
    explicit Model(std::size_t size) : bytes_(size) {}
    void write(std::uint64_t at, const Buffer& data) { std::memcpy(&bytes_[at], data.data(), data.size()); }
    void zero(std::uint64_t at, std::size_t size) { std::memset(&bytes_[at], 0, size); }
    std::span<const std::byte> span(std::uint64_t at, std::size_t size) const {
        return std::span(bytes_).subspan(at, size);
    }
    std::size_t size() const { return bytes_.size(); }

private:
    std::vector<std::byte> bytes_;
};

void write(World& world, Model& model, std::uint16_t id, std::uint64_t at, std::size_t size,
           std::uint64_t seed) {
    const Buffer data = pattern(seed, size);
    ASSERT_TRUE(world.write(id, at, data).has_value()) << at << " " << size;
    model.write(at, data);
}

struct Shape {
    Level level;
    std::size_t disks;
    unsigned parities;
    unsigned width = 0;
};

class AmfShapes : public ::testing::TestWithParam<Shape> {};

TEST_P(AmfShapes, KeepsWhatIsWrittenAtAnyAlignmentAndDegradation) {
    const Shape shape = GetParam();
    World world({.level = shape.level, .disks = shape.disks, .strip_size = kStrip, .width = shape.width});
    world.start(1);
    world.start(2);
    Model model(1u << 20);
    Prng prng(3);
    for (unsigned missing = 0; missing <= shape.parities; ++missing) {
        if (missing > 0) world.media[(missing - 1) * 2]->dead = true;
        for (int i = 0; i < 60; ++i) {
            const std::uint64_t unit = prng.chance(1, 3) ? 1 : kBlockSize;
            const std::uint64_t at = prng.below(model.size() / unit) * unit;
            const std::uint64_t limit = prng.chance(1, 4) ? 300'000 : 12'000;
            const std::uint64_t size = std::min(prng.between(1, limit / unit + 1) * unit, model.size() - at);
            const auto id = static_cast<std::uint16_t>(prng.between(1, 2));
            if (prng.chance(1, 10)) {
                ASSERT_TRUE(world.run(id, world.amf(id).write_zeroes(at, size, prng.chance(1, 2), false)));
                model.zero(at, size);
            } else {
                write(world, model, id, at, size, prng.next());
            }
            const std::uint64_t back = prng.below(model.size());
            const std::size_t length = std::min<std::size_t>(prng.between(1, 50'000), model.size() - back);
            ASSERT_TRUE(
                same(world.read(static_cast<std::uint16_t>(3 - id), back, length), model.span(back, length)));
        }
        ASSERT_TRUE(same(world.read(1, 0, model.size()), model.span(0, model.size()))) << missing;
        if (missing == 0) EXPECT_TRUE(world.unclean(2, model.size()).empty());
    }
    EXPECT_EQ(world.amf(1).conditions().failed_members, shape.parities);
    const AmfCounters& counters = world.amf(1).counters();
    EXPECT_GT(counters.stripe_writes[static_cast<std::size_t>(WritePath::full)], 0u);
    EXPECT_GT(counters.stripe_writes[static_cast<std::size_t>(WritePath::degraded)], 0u);
    EXPECT_GT(counters.regenerated, 0u);
    world.settle();
    EXPECT_EQ(world.bytes_left_at(1), 0u);
    EXPECT_EQ(world.bytes_left_at(2), 0u);

    // One more is too many: nothing is written, and what is left of the data never lies.
    world.media[1]->dead = true;
    const Buffer data = pattern(9, model.size());
    EXPECT_EQ(world.write(1, 0, data).error().code, Errc::offline);
    EXPECT_TRUE(world.amf(1).conditions().offline);
}

INSTANTIATE_TEST_SUITE_P(Levels, AmfShapes,
                         ::testing::Values(Shape{Level::mirror, 2, 1}, Shape{Level::mirror, 3, 2, 3},
                                           Shape{Level::raid5, 4, 1}, Shape{Level::raid5, 5, 1},
                                           Shape{Level::raid6, 6, 2}, Shape{Level::raid7_3, 7, 3}));

TEST(Amf, UsesEveryWritePath) {
    World world({.level = Level::raid5, .disks = 7, .strip_size = kStrip});
    world.start(1);
    Model model(1u << 20);
    const auto path = [&](WritePath p) {
        return world.amf(1).counters().stripe_writes[static_cast<std::size_t>(p)];
    };
    write(world, model, 1, 0, 6 * kStrip, 1);
    EXPECT_EQ(path(WritePath::full), 1u);
    write(world, model, 1, kBlockSize, kBlockSize, 2);
    EXPECT_EQ(path(WritePath::rmw), 1u);
    write(world, model, 1, 0, 5 * kStrip, 3);
    EXPECT_EQ(path(WritePath::rcw), 1u);
    world.media[0]->dead = true;
    write(world, model, 1, 0, 6 * kStrip, 4);
    write(world, model, 1, 3 * kBlockSize, kBlockSize, 5);
    EXPECT_GE(path(WritePath::degraded), 1u);
    EXPECT_TRUE(same(world.read(1, 0, model.size()), model.span(0, model.size())));
}

TEST(Amf, WritesTheCutLastRowOfAnExtent) {
    World world({.level = Level::raid5, .disks = 4, .strip_size = 64u << 10});
    world.start(1);
    const std::uint64_t row = 3 * (64u << 10);
    ASSERT_NE(kExtentSize % row, 0u);
    const std::uint64_t at = kExtentSize - row - 5000;
    const Buffer data = pattern(1, 2 * row);
    ASSERT_TRUE(world.write(1, at, data));
    EXPECT_TRUE(same(world.read(1, at, 2 * row), data.span()));
    EXPECT_TRUE(world.unclean(1, kExtentSize + row).empty());
    world.media[1]->dead = true;
    EXPECT_TRUE(same(world.read(1, at, 2 * row), data.span()));
    const Buffer more = pattern(2, row);
    ASSERT_TRUE(world.write(1, at + 4096, more));
    EXPECT_TRUE(same(world.read(1, at + 4096, row), more.span()));
}

TEST(Amf, ReadsHolesAsZerosAndLeavesThem) {
    World world({});
    world.start(1);
    EXPECT_TRUE(same(world.read(1, 100, 70'000), Buffer::zeroed(70'000).span()));
    ASSERT_TRUE(world.run(1, world.amf(1).write_zeroes(0, kExtentSize, true, false)));
    EXPECT_FALSE(world.amf(1).allocated(ExtentIndex(0)));
    ASSERT_TRUE(world.run(1, world.amf(1).write_zeroes(0, 100, false, true)));
    EXPECT_TRUE(world.amf(1).allocated(ExtentIndex(0)));
}

TEST(Amf, RepairsAnUnreadableBlock) {
    World world({.level = Level::raid6, .disks = 6, .strip_size = kStrip});
    world.start(1);
    const Buffer data = pattern(1, 4 * kStrip);
    ASSERT_TRUE(world.write(1, 0, data));
    for (auto& media : world.media) {
        for (const auto& [page, bytes] : media->pages) {
            if (same(bytes, data.span(kBlockSize, kBlockSize))) media->bad.insert(page);
        }
    }
    EXPECT_TRUE(same(world.read(1, 0, data.size()), data.span()));
    world.settle();
    EXPECT_EQ(world.amf(1).counters().repaired, 1u);
    for (auto& media : world.media) EXPECT_TRUE(media->bad.empty());
    EXPECT_EQ(world.amf(1).conditions().failed_members, 0u);
    EXPECT_TRUE(world.unclean(1, data.size()).empty());
}

TEST(Amf, FailsAMemberThatFailsAWriteAndGoesOn) {
    for (std::int64_t after = 0; after < 8; ++after) {
        World world({.level = Level::raid6, .disks = 6, .strip_size = kStrip});
        world.start(1);
        world.start(2);
        Model model(12 * kStrip);
        write(world, model, 1, 0, model.size(), 1);
        world.media[2]->fail_writes_after = after;
        for (std::uint64_t i = 0; i < 20; ++i) {
            write(world, model, static_cast<std::uint16_t>(1 + i % 2), i * 37'000 % 180'000, 9'000, i);
        }
        EXPECT_TRUE(same(world.read(2, 0, model.size()), model.span(0, model.size()))) << after;
        EXPECT_EQ(world.amf(2).conditions().failed_members, 1u);
    }
}

TEST(Amf, StopsWithNothingLeftBehind) {
    World world({});
    world.start(1);
    world.start(2);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 100'000), true));
    world.node(1).scope->spawn(world.amf(1).stop());
    ASSERT_TRUE(world.run_until([&] { return world.node(1).scope->running() == 0; }));
    EXPECT_EQ(world.write(1, 0, pattern(1, 4096)).error().code, Errc::not_ready);
    EXPECT_EQ(world.bytes_left_at(2), 0u);
    EXPECT_EQ(world.amf(1).replicator().live_records(), 0u);
    world.nodes.erase(1);
    world.adopt();
    EXPECT_TRUE(same(world.read(2, 0, 100'000), pattern(1, 100'000).span()));
}

// A write that has killed everybody who touched it is not tried by the next one.
TEST(Amf, QuarantinesAStripeWhoseRecoveriesDie) {
    World world({.level = Level::raid5, .disks = 5, .strip_size = kStrip, .dimension = 4});
    for (std::uint16_t id = 1; id <= 5; ++id) world.start(id);
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4 * kStrip)));
    std::optional<Status> result;
    const Buffer data = pattern(2, kBlockSize);
    world.node(1).scope->spawn(World::keep(world.amf(1).write(0, Slice(data), false), result));
    const auto copies = [&](unsigned attempts) {
        std::size_t complete = 0;
        for (const auto& [id, node] : world.nodes) {
            for (const auto& [record, stored] : node->amf->replicator().store().all()) {
                if (stored.complete() && stored.info.attempts == attempts) ++complete;
            }
        }
        return complete;
    };
    ASSERT_TRUE(world.run_until([&] { return copies(0) == 3; }));
    world.kill(1, InFlight::torn);
    world.adopt();
    for (unsigned attempt = 1; attempt <= 2; ++attempt) {
        std::uint16_t victim = 0;
        ASSERT_TRUE(world.run_until([&] {
            for (const auto& [id, node] : world.nodes) {
                const bool tries = node->amf->replicator().live_records() != 0;
                if (tries && node->amf->conditions().recovering_units != 0) victim = id;
            }
            return victim != 0 && copies(attempt) != 0;
        }));
        world.kill(victim, InFlight::torn);
        world.adopt();
    }
    const std::uint16_t left = world.nodes.begin()->first;
    Buffer out(kBlockSize);
    EXPECT_EQ(world.run(left, world.amf(left).read(0, out.span())).error().code, Errc::io_error);
    EXPECT_EQ(world.write(left, 0, data).error().code, Errc::io_error);
    EXPECT_TRUE(world.run(left, world.amf(left).read(4 * kStrip, out.span())).has_value());
    for (const auto& [id, node] : world.nodes) {
        EXPECT_EQ(node->amf->conditions().quarantined_stripes, 1u) << id;
        EXPECT_EQ(world.bytes_left_at(id), 0u) << id;
    }
    while (!world.nodes.empty()) world.kill(world.nodes.begin()->first);
    world.adopt();
    world.start(1);
    EXPECT_EQ(world.amf(1).conditions().quarantined_stripes, 1u) << "nobody knows it after a restart";
    EXPECT_EQ(world.run(1, world.amf(1).read(0, out.span())).error().code, Errc::io_error);
}

}  // namespace
}  // namespace braid
