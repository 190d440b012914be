// Extents of one group whose stripes differ in width and level (decisions/021), and extents that get another
// shape beside reads and writes of others, at many steps.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"
#include "base/zeros.h"

namespace braid::testing {
namespace {

constexpr StripeShape kNarrow{Level::raid5, 2, 1};
constexpr StripeShape kWide{Level::raid5, 4, 1};
constexpr StripeShape kDouble{Level::raid6, 3, 2};
constexpr StripeShape kMirror{Level::mirror, 1, 2};
constexpr std::size_t kPiece = 3u << 20;  // several stripes of each

struct Kind {
    const char* name;
    bool write_back = false;
    bool journal = false;
    Granularity granularity{};
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

WorldOptions options_of(const Kind& kind, std::uint64_t seed = 1) {
    WorldOptions out;
    out.strip_size = 512u << 10;  // few stripes, few steps
    out.disks = 6;
    out.width = 3;
    out.extents = 8;
    out.seed = seed;
    out.sharing.granularity = kind.granularity;
    if (kind.write_back) out.sharing.write_cache = WriteCache::back;
    if (kind.journal) out.power_loss = PowerLoss::journal;
    out.amf.cache = 8u << 20;
    return out;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}
Status shape(World& world, std::uint16_t id, std::uint32_t extent, StripeShape to) {
    return world.run(id, world.amf(id).set_shape(ExtentIndex(extent), to));
}

/// All of the first few steps, then fewer: a world for each of some thousand would take minutes.
std::size_t later(std::size_t steps) { return steps + 1 + steps / 4; }

class Shapes : public ::testing::TestWithParam<Kind> {};

TEST_P(Shapes, ExtentsOfOneGroupDiffer) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    const std::array shapes = {kNarrow, kWide, kDouble, kMirror};
    for (std::uint32_t i = 1; i < shapes.size(); ++i) ASSERT_TRUE(shape(world, 1, i, shapes[i]));
    const auto at = [](std::uint32_t extent) { return extent * kExtentSize + (7u << 20) + 12288; };
    const std::uint64_t across = 2 * kExtentSize - kPiece / 2;
    for (std::uint32_t i = 0; i < shapes.size(); ++i) {
        ASSERT_TRUE(world.write(static_cast<std::uint16_t>(1 + i % 3), at(i), pattern(i, kPiece)));
        EXPECT_EQ(world.amf(2).tables().zone(ExtentIndex(i))->shape, shapes[i]);
    }
    ASSERT_TRUE(world.write(2, across, pattern(9, kPiece)));
    const auto all_there = [&](std::uint16_t id) {
        for (std::uint32_t i = 0; i < shapes.size(); ++i)
            EXPECT_TRUE(same(world.read(id, at(i), kPiece), pattern(i, kPiece))) << i;
        EXPECT_TRUE(same(world.read(id, across, kPiece), pattern(9, kPiece)));
    };
    for (std::uint16_t id = 1; id <= 3; ++id) all_there(id);
    ASSERT_TRUE(world.run(1, world.amf(1).flush()));
    EXPECT_EQ(shape(world, 2, 1, kNarrow).error().code, Errc::busy) << "it has a zone";

    // The mirror and the raid6 survive two, the others one; nothing is read from who is not there.
    const auto& mirror = *world.amf(1).tables().zone(ExtentIndex(3));
    const MemberIndex lost = mirror.segments[0].member;
    ASSERT_TRUE(world.run(1, world.amf(1).tables().fail_member(lost)));
    EXPECT_FALSE(world.amf(1).tables().offline());
    for (std::uint16_t id = 1; id <= 3; ++id) all_there(id);
    ASSERT_TRUE(world.write(3, at(1), pattern(11, 4096)));
    EXPECT_TRUE(same(world.read(1, at(1), 4096), pattern(11, 4096)));
    EXPECT_EQ(world.amf(1).tables().least_redundancy(2), 0u);

    // Whoever assembles it knows all shapes.
    for (std::uint16_t id = 1; id <= 3; ++id) {
        world.leave(id);
        world.nodes.erase(id);
    }
    world.start(1);
    EXPECT_EQ(world.amf(1).tables().shape_of(ExtentIndex(2)), kDouble);
    EXPECT_TRUE(same(world.read(1, at(2), kPiece), pattern(2, kPiece)));
    EXPECT_TRUE(same(world.read(1, at(3), kPiece), pattern(3, kPiece)));
}

/// The extent has given its zone back, and gets another shape on 1; others write and read there, begun so
/// many steps later. False when it was over before.
bool beside(const Kind& kind, std::size_t steps, StripeShape from, StripeShape to, std::uint64_t& cut_anew) {
    World world(options_of(kind));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    EXPECT_TRUE(shape(world, 2, 1, from));
    const std::uint64_t at = kExtentSize + (9u << 20) + 4096;
    EXPECT_TRUE(world.write(2, at, pattern(1, kPiece)));  // all have units of it
    EXPECT_TRUE(same(world.read(3, at, kPiece), pattern(1, kPiece)));
    EXPECT_TRUE(world.run(2, world.amf(2).write_zeroes(kExtentSize, kExtentSize, true, false)));
    world.settle();
    std::optional<Status> shaped, wrote, got;
    world.node(1).scope->spawn(World::keep(world.amf(1).set_shape(ExtentIndex(1), to), shaped));
    for (std::size_t i = 0; i < steps && !shaped; ++i) world.step();
    if (shaped) return false;
    const Buffer fresh = pattern(2, kPiece);
    Buffer early(kPiece);
    world.node(2).scope->spawn(World::keep(world.amf(2).write(at, Slice(fresh), false), wrote));
    world.node(3).scope->spawn(World::keep(world.amf(3).read(at, early.span()), got));
    EXPECT_TRUE(world.run_until([&] { return shaped && wrote && got; }));
    EXPECT_TRUE(*wrote && *got);
    EXPECT_TRUE(*shaped || shaped->error().code == Errc::busy);
    for (std::size_t i = 0; i < kPiece; i += kBlockSize) {
        const bool old = all_zero(early.span(i, kBlockSize));
        EXPECT_TRUE(old || std::memcmp(early.data() + i, fresh.data() + i, kBlockSize) == 0);
    }
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_TRUE(same(world.read(id, at, kPiece), fresh));
        EXPECT_EQ(world.amf(id).tables().shape_of(ExtentIndex(1)), *shaped ? to : from);
        cut_anew += world.amf(id).counters().cut_anew;
    }
    EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_TRUE(world.unclean(3, 2 * kExtentSize).empty());
    return !::testing::Test::HasFailure();
}

TEST_P(Shapes, ChangeBesideReadsAndWrites) {
    std::uint64_t cut_anew = 0;
    for (const auto& [from, to] : {std::pair(kNarrow, kWide), std::pair(kWide, kMirror)}) {
        std::size_t steps = 0;
        while (beside(GetParam(), steps, from, to, cut_anew)) steps = later(steps);
        ASSERT_FALSE(HasFailure()) << "step " << steps;
        EXPECT_GT(steps, 20u);
    }
    EXPECT_GT(cut_anew, 0u);
}

/// A forwarded write dies with its AMF, so many steps after it has begun; what it has done is trimmed, and
/// the extent is cut otherwise when it is asked for again.
bool an_errand_is_done_once(const Kind& kind, std::size_t steps) {
    const Errand errand{{ControllerId(20), Incarnation(1)}, 5, 5, false};
    Errand again = errand;
    again.repeated = true;
    World world(options_of(kind));
    for (std::uint16_t id = 1; id <= 4; ++id) world.start(id).amf->keep_errands(std::array{errand.who});
    const std::uint64_t at = kExtentSize - kPiece / 2;
    const Buffer data = pattern(3, kPiece);
    std::optional<Status> wrote;
    world.node(1).scope->spawn(World::keep(world.amf(1).write(at, Slice(data), false, errand), wrote));
    for (std::size_t i = 0; i < steps && !wrote; ++i) world.step();
    const bool over = wrote.has_value();
    world.kill(1, InFlight::mixed);
    world.adopt();
    const Buffer seen = world.read(3, at, kPiece);
    EXPECT_EQ(seen.size(), kPiece);
    EXPECT_TRUE(world.run(3, world.amf(3).write_zeroes(0, 2 * kExtentSize, true, false)));
    for (const std::uint32_t extent : {0u, 1u}) EXPECT_TRUE(shape(world, 2, extent, kWide));
    EXPECT_TRUE(world.run(4, world.amf(4).write(at, Slice(data), false, again)));
    const Buffer now = world.read(2, at, kPiece);
    for (std::size_t i = 0; i < kPiece; i += kBlockSize) {
        const bool done = std::memcmp(seen.data() + i, data.data() + i, kBlockSize) == 0;
        const bool there = std::memcmp(now.data() + i, data.data() + i, kBlockSize) == 0;
        EXPECT_NE(done, there) << "block at " << i << (done ? " came back" : " was not done");
    }
    return !over && !::testing::Test::HasFailure();
}

TEST_P(Shapes, AnErrandThatIsRepeatedIsDoneOnceHoweverItIsCut) {
    std::size_t steps = 0;
    while (an_errand_is_done_once(GetParam(), steps)) steps = later(steps);
    ASSERT_FALSE(HasFailure()) << "step " << steps;
    EXPECT_GT(steps, 50u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Shapes,
                         ::testing::Values(Kind{"stripes"},
                                           Kind{"groups_of_stripes", false, false, {.stripes = 5}},
                                           Kind{"blocks", false, false, {.blocks = 16}},
                                           Kind{"journal", false, true}, Kind{"write_back", true, true}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace braid::testing
