// Extents that give their zone back (decisions/019): beside writes and reads of the other AMFs at every step,
// with the death of whoever does it at every step, and of all others right after.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr std::size_t kPiece = 8192;
/// In the first, a middle and the last stripe of the extent.
constexpr std::array<std::uint64_t, 3> kPlaces = {0, 33ull << 20, kExtentSize - kPiece};

struct Shape {
    const char* name;
    bool write_back = false;
    bool journal = false;
    Granularity granularity{.stripes = 5};  // one unit reaches into the next extent
    Coherency coherency = Coherency::arbiter;
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

WorldOptions options_of(const Shape& shape, std::uint64_t seed = 1) {
    WorldOptions out;
    out.strip_size = 512u << 10;  // few stripes, few steps
    out.seed = seed;
    out.sharing.granularity = shape.granularity;
    out.sharing.coherency = shape.coherency;
    if (shape.write_back) out.sharing.write_cache = WriteCache::back;
    if (shape.journal) out.power_loss = PowerLoss::journal;
    out.amf.cache = 1u << 20;
    return out;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}
Buffer zeros() { return Buffer::zeroed(kPiece); }
bool has_zone(Amf& amf, std::uint32_t extent = 0) {
    return amf.tables().zone(ExtentIndex(extent)) != nullptr;
}
Status trim(World& world, std::uint16_t id, std::uint64_t at, std::uint64_t length) {
    return world.run(id, world.amf(id).write_zeroes(at, length, true, false));
}

class Trim : public ::testing::TestWithParam<Shape> {};

TEST_P(Trim, AWholeExtentGivesItsZoneBackAndReadsAsZerosEverywhere) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (std::uint16_t id = 1; id <= 3; ++id)
        ASSERT_TRUE(world.write(id, kPlaces[id - 1], pattern(id, kPiece)));
    ASSERT_TRUE(world.write(1, kExtentSize, pattern(7, kPiece)));
    for (std::uint16_t id = 1; id <= 3; ++id) (void)world.read(id, kPlaces[0], kPiece);
    const std::uint32_t before = world.amf(1).tables().zone(ExtentIndex(0))->generation;

    ASSERT_TRUE(trim(world, 2, 0, kExtentSize));
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_FALSE(has_zone(world.amf(id)));
        EXPECT_TRUE(has_zone(world.amf(id), 1));
        for (const std::uint64_t at : kPlaces) EXPECT_TRUE(same(world.read(id, at, kPiece), zeros()));
    }
    EXPECT_EQ(world.amf(2).counters().released_extents, 1u);

    ASSERT_TRUE(world.write(3, kPlaces[1], pattern(9, kPiece)));
    EXPECT_GT(world.amf(1).tables().zone(ExtentIndex(0))->generation, before);
    for (std::uint16_t id = 1; id <= 3; ++id) {
        EXPECT_TRUE(same(world.read(id, kPlaces[1], kPiece), pattern(9, kPiece)));
        EXPECT_TRUE(same(world.read(id, kPlaces[0], kPiece), zeros()));
        EXPECT_TRUE(same(world.read(id, kExtentSize, kPiece), pattern(7, kPiece)));
    }
    ASSERT_TRUE(world.run(3, world.amf(3).flush()));
    EXPECT_TRUE(world.unclean(1, 2 * kExtentSize).empty());
}

TEST_P(Trim, TrimsThatCoverAnExtentTogetherGiveItBackUnlessItWasWrittenBetween) {
    World world(options_of(GetParam()));
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    const std::uint64_t half = kExtentSize / 2;
    for (const std::uint16_t writer : {std::uint16_t{1}, std::uint16_t{2}}) {
        ASSERT_TRUE(world.write(1, kPlaces[2], pattern(1, kPiece)));
        ASSERT_TRUE(trim(world, 1, 0, half + 1));  // ends inside of a block
        ASSERT_TRUE(world.write(writer, kPlaces[0], pattern(2, kPiece)));
        ASSERT_TRUE(trim(world, 1, half, half));
        EXPECT_TRUE(has_zone(world.amf(1)));
        EXPECT_TRUE(same(world.read(2, kPlaces[0], kPiece), pattern(2, kPiece)));
        EXPECT_TRUE(same(world.read(2, kPlaces[2], kPiece), zeros()));
        ASSERT_TRUE(trim(world, 1, 0, kPiece));
        if (writer == 1) {
            EXPECT_FALSE(has_zone(world.amf(1)));
        } else {  // what was trimmed of the stripes that the other one took is not known any more
            ASSERT_TRUE(trim(world, 1, 0, half));
            EXPECT_FALSE(has_zone(world.amf(1)));
        }
        EXPECT_FALSE(has_zone(world.amf(2)));
        EXPECT_TRUE(same(world.read(2, kPlaces[0], kPiece), zeros()));
    }
}

/// Trims on 1, `other` on 2 begun so many steps later. False when the trim was over before.
template <class Other>
bool beside(World& world, std::size_t steps, Other&& other) {
    std::optional<Status> trimmed;
    world.node(1).scope->spawn(World::keep(world.amf(1).write_zeroes(0, kExtentSize, true, false), trimmed));
    for (std::size_t i = 0; i < steps && !trimmed; ++i) world.step();
    if (trimmed) return false;
    other();
    EXPECT_TRUE(world.run_until([&] { return trimmed.has_value(); }));
    EXPECT_TRUE(trimmed && *trimmed);
    return true;
}

/// A write beside it is there, or not; all see the same, for good.
bool a_write_beside_is_there_or_not(const Shape& shape, std::size_t steps, std::uint64_t seed) {
    World world(options_of(shape, seed));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (const std::uint64_t at : kPlaces) EXPECT_TRUE(world.write(2, at, pattern(1, kPiece)));
    world.settle();
    const std::uint64_t at = kPlaces[seed % kPlaces.size()];
    const Buffer fresh = pattern(2, kPiece);
    Buffer early(kPiece);
    std::optional<Status> wrote, got;
    const bool inside = beside(world, steps, [&] {
        world.node(2).scope->spawn(World::keep(world.amf(2).write(at, Slice(fresh), false), wrote));
        world.node(3).scope->spawn(World::keep(world.amf(3).read(kPlaces[1], early.span()), got));
    });
    if (!inside) return false;
    EXPECT_TRUE(world.run_until([&] { return wrote && got; }));
    EXPECT_TRUE(*wrote && *got);
    if (at != kPlaces[1]) EXPECT_TRUE(same(early, zeros()) || same(early, pattern(1, kPiece)));
    const Buffer seen = world.read(3, at, kPiece);
    EXPECT_TRUE(same(seen, fresh) || same(seen, zeros()));
    for (const std::uint64_t place : kPlaces) {
        for (std::uint16_t id = 1; id <= 3; ++id)
            EXPECT_TRUE(same(world.read(id, place, kPiece), place == at ? seen : zeros()));
    }
    EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_TRUE(world.unclean(3, kExtentSize).empty());
    return !::testing::Test::HasFailure();
}

TEST_P(Trim, AWriteBesideItIsThereOrNot) {
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        std::size_t steps = 0;
        while (a_write_beside_is_there_or_not(GetParam(), steps, seed)) ++steps;
        ASSERT_FALSE(HasFailure()) << "step " << steps << ", seed " << seed;
        EXPECT_GT(steps, 20u);
    }
}

/// Who trims dies; others write; all die. What was written after the death is there, and the rest is old or
/// zero, and stays what it was seen to be.
bool dies_at(const Shape& shape, std::size_t steps, InFlight fate, bool look) {
    World world(options_of(shape));
    for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
    for (const std::uint64_t at : kPlaces) EXPECT_TRUE(world.write(1, at, pattern(1, kPiece)));
    world.settle();
    std::optional<Status> trimmed;
    world.node(1).scope->spawn(World::keep(world.amf(1).write_zeroes(0, kExtentSize, true, false), trimmed));
    for (std::size_t i = 0; i < steps && !trimmed; ++i) world.step();
    const bool over = trimmed.has_value();
    world.kill(1, fate);
    world.adopt();
    Buffer seen;
    const auto old_or_zeros = [](const Buffer& got) {
        return same(got, zeros()) || same(got, pattern(1, kPiece));
    };
    if (look) {
        seen = world.read(2, kPlaces[2], kPiece);
        EXPECT_TRUE(old_or_zeros(seen));
        if (over) EXPECT_TRUE(same(seen, zeros()));
    }
    const Buffer fresh = pattern(2, kPiece);
    EXPECT_TRUE(world.write(2, kPlaces[0], fresh, true));
    if (shape.write_back) EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_TRUE(same(world.read(3, kPlaces[0], kPiece), fresh));
    for (std::uint16_t id = 2; id <= 3; ++id) world.kill(id, fate);
    world.start(4);
    EXPECT_TRUE(same(world.read(4, kPlaces[0], kPiece), fresh)) << "a write after it was lost";
    const Buffer last = world.read(4, kPlaces[2], kPiece);
    EXPECT_TRUE(look ? same(last, seen) : old_or_zeros(last));
    EXPECT_EQ(world.amf(4).tables().emptying(ExtentIndex(0)), false);
    return !over && !::testing::Test::HasFailure();
}

TEST_P(Trim, ItsDeathLosesNothing) {
    for (const InFlight fate : {InFlight::lost, InFlight::landed, InFlight::torn}) {
        for (const bool look : {false, true}) {
            std::size_t steps = 0;
            while (dies_at(GetParam(), steps, fate, look)) ++steps;
            ASSERT_FALSE(HasFailure()) << "step " << steps << ", fate " << static_cast<int>(fate) << look;
            EXPECT_GT(steps, 30u);
        }
    }
}

/// Members fail until no further zone fits: then a write that needs one fails, and nothing else does.
TEST(Space, AWriteWithoutSpaceFailsAndATrimMakesRoomForIt) {
    World world({.disks = 6, .strip_size = 512u << 10, .width = 3, .extents = 8});
    for (std::uint16_t id = 1; id <= 2; ++id) world.start(id);
    for (std::uint8_t i = 0; i < 4; ++i)
        ASSERT_TRUE(world.run(1, world.amf(1).tables().fail_member(MemberIndex(i))));
    const auto at = [](std::uint32_t extent) { return extent * kExtentSize + kPiece; };
    const std::uint32_t extents = world.amf(1).tables().config().extents;
    std::uint32_t full = 0;
    while (full < extents && world.write(1, at(full), pattern(full, kPiece))) ++full;
    ASSERT_GT(full, 1u);
    ASSERT_LT(full, extents);
    for (std::uint16_t id = 1; id <= 2; ++id) {
        EXPECT_EQ(world.write(id, at(full), pattern(9, kPiece)), fail(Errc::no_space));
        EXPECT_TRUE(same(world.read(id, at(full), kPiece), zeros()));
        EXPECT_FALSE(world.amf(id).tables().offline());
        for (std::uint32_t extent = 0; extent < full; ++extent)
            EXPECT_TRUE(same(world.read(id, at(extent), kPiece), pattern(extent, kPiece)));
    }
    ASSERT_TRUE(world.write(2, at(1), pattern(10, kPiece)));
    ASSERT_TRUE(trim(world, 2, 0, kExtentSize));
    ASSERT_TRUE(world.write(2, at(full), pattern(9, kPiece)));
    EXPECT_TRUE(same(world.read(1, at(full), kPiece), pattern(9, kPiece)));
    EXPECT_TRUE(same(world.read(1, at(1), kPiece), pattern(10, kPiece)));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, Trim,
    ::testing::Values(Shape{"write_through"}, Shape{.name = "write_back", .write_back = true},
                      Shape{.name = "journal", .write_back = true, .journal = true},
                      Shape{.name = "blocks", .granularity = {.stripes = 1, .blocks = 128}},
                      Shape{.name = "broadcast", .coherency = Coherency::broadcast}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace braid::testing
