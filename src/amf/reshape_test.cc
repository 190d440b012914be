// Extents with content that get another shape while hosts go on (decisions/021, H23): deaths, losses of power
// and failing members at every part of it.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/power_cut.h"
#include "amf/testing.h"

namespace braid::testing {
namespace {

constexpr StripeShape kNarrow{Level::raid5, 2, 1};
constexpr StripeShape kWide{Level::raid5, 4, 1};
constexpr StripeShape kDouble{Level::raid6, 3, 2};
constexpr StripeShape kMirror{Level::mirror, 1, 2};
constexpr ExtentIndex kExtent(1);
constexpr std::size_t kPiece = 3u << 20;  // several stripes of each
constexpr std::array<std::uint64_t, 3> kPlaces{kExtentSize, kExtentSize + (21u << 20) + 4096,
                                               2 * kExtentSize - kPiece};

struct Kind {
    const char* name;
    bool write_back = false;
    bool journal = false;
    bool checksums = true;
    Granularity granularity{};
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

WorldOptions options_of(const Kind& kind, std::uint64_t seed = 1) {
    WorldOptions out;
    out.strip_size = 1u << 20;  // few stripes, few steps
    out.disks = 6;
    out.width = 3;
    out.extents = 6;
    out.seed = seed;
    out.checksums = kind.checksums;
    out.sharing.granularity = kind.granularity;
    if (kind.write_back) out.sharing.write_cache = WriteCache::back;
    if (kind.journal) out.power_loss = PowerLoss::journal;
    out.amf.cache = 8u << 20;
    return out;
}

bool same(const Buffer& a, const Buffer& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

class Story {
public:
    explicit Story(const Kind& kind, StripeShape from = kNarrow, std::uint64_t seed = 1)
        : world(options_of(kind, seed)) {
        for (std::uint16_t id = 1; id <= 3; ++id) world.start(id);
        if (from != kNarrow) EXPECT_TRUE(world.run(1, world.amf(1).set_shape(kExtent, from)));
        for (std::size_t i = 0; i < kPlaces.size(); ++i)
            EXPECT_TRUE(world.write(static_cast<std::uint16_t>(1 + i), kPlaces[i], pattern(i, kPiece)));
        EXPECT_TRUE(world.run(2, world.amf(2).flush()));
        world.settle();
    }
    void begin(std::uint16_t id, StripeShape to) {
        done.reset();
        world.node(id).scope->spawn(World::keep(world.amf(id).reshape(kExtent, to), done));
    }
    /// False: it was over before.
    bool steps(std::size_t count) {
        for (std::size_t i = 0; i < count && !done; ++i) {
            if (!world.step()) world.clock.advance(world.clock.now() + 10ms);
        }
        return !done;
    }
    bool ended() {
        return world.run_until([&] { return done.has_value(); });
    }
    bool has(std::uint16_t id, std::size_t place, const Buffer& data) {
        return same(world.read(id, kPlaces[place], kPiece), data);
    }
    void all_there(std::uint16_t id) {
        for (std::size_t i = 0; i < kPlaces.size(); ++i) EXPECT_TRUE(has(id, i, pattern(i, kPiece))) << i;
    }
    StripeShape shape(std::uint16_t id) { return world.amf(id).tables().shape_of(kExtent); }
    const Zone& zone(std::uint16_t id) { return *world.amf(id).tables().zone(kExtent); }
    bool all_clean(std::uint16_t id) { return world.unclean(id, 2 * kExtentSize).empty(); }

    World world;
    std::optional<Status> done;
};

/// Instants of a story that ends after so many steps: now and then while it copies, and closer at the end.
std::vector<std::size_t> instants(std::size_t all, std::size_t part, std::size_t fine) {
    std::vector<std::size_t> out;
    const std::size_t tail = std::min<std::size_t>(all, 400);
    for (std::size_t i = 0; i < part; ++i) out.push_back((all - tail) * i / part);
    for (std::size_t i = all - tail; i < all; i += fine) out.push_back(i);
    return out;
}

std::size_t length_of(const Kind& kind, StripeShape to) {
    Story story(kind);
    const std::size_t before = story.world.steps();
    story.begin(1, to);
    EXPECT_TRUE(story.ended() && *story.done);
    return story.world.steps() - before;
}

class Reshape : public ::testing::TestWithParam<Kind> {};

/// Of checksums a copy that came to nothing has left at the same places.
TEST(ReshapeTwice, ALostWriteBringsNothingBackFromTheFirst) {
    const Kind kind{"plain"};
    Story story(kind);
    World& world = story.world;
    ASSERT_TRUE(world.run(1, world.amf(1).tables().clear_idle_intents(Nanos{0})));  // it leaves no resync
    story.begin(1, kWide);
    ASSERT_TRUE(story.steps(length_of(kind, kWide) * 3 / 4));
    world.kill(1, InFlight::landed);
    world.adopt();
    std::vector<Pages> first;
    for (const auto& media : world.media) first.push_back(media->pages);
    for (std::size_t i = 0; i < kPlaces.size(); ++i)
        EXPECT_TRUE(world.write(2, kPlaces[i], pattern(9 + i, kPiece)));
    story.begin(3, kWide);
    ASSERT_TRUE(story.ended() && *story.done);
    const Zone zone = story.zone(3);
    const Geometry geometry = world.amf(3).tables().geometry_of(kExtent);
    for (const std::uint16_t id : {std::uint16_t{2}, std::uint16_t{3}}) {
        world.leave(id);
        world.nodes.erase(id);
    }
    unsigned lost = 0;
    for (std::uint32_t row = 0; row < geometry.rows_per_extent(); ++row) {
        const DiskPlace at = checksum_place(geometry, zone, Row(row), 0, world.config.data_start);
        const auto old = first[at.member.v].find(at.offset / kPageSize);
        if (old == first[at.member.v].end()) continue;
        Buffer& now = world.media[at.member.v]->pages.at(old->first);
        lost += same(now, old->second) ? 0 : 1;
        now = old->second;
    }
    EXPECT_GT(lost, 4u);
    world.start(1);
    for (std::size_t i = 0; i < kPlaces.size(); ++i)
        EXPECT_TRUE(story.has(1, i, pattern(9 + i, kPiece))) << i;
}

TEST_P(Reshape, KeepsTheContent) {
    for (const auto& [from, to] :
         {std::pair(kNarrow, kWide), std::pair(kNarrow, kDouble), std::pair(kMirror, kWide)}) {
        Story story(GetParam(), from);
        World& world = story.world;
        const Zone before = story.zone(1);
        story.begin(2, to);
        ASSERT_TRUE(story.ended());
        ASSERT_TRUE(*story.done) << to_string(story.done->error().code);
        for (std::uint16_t id = 1; id <= 3; ++id) {
            EXPECT_EQ(story.shape(id), to);
            EXPECT_FALSE(story.zone(id).successor);
            EXPECT_FALSE(story.zone(id).emptying());
            EXPECT_EQ(story.zone(id).generation, before.generation + 1);
            story.all_there(id);
        }
        EXPECT_TRUE(story.all_clean(3));
        ASSERT_TRUE(world.write(1, kPlaces[0] + 8192, pattern(9, 4096)));
        EXPECT_TRUE(same(world.read(3, kPlaces[0] + 8192, 4096), pattern(9, 4096)));
        ASSERT_TRUE(world.write(2, kPlaces[0], pattern(0, kPiece)));
        // Its parity is what the others need.
        ASSERT_TRUE(world.run(1, world.amf(1).flush()));
        ASSERT_TRUE(world.run(1, world.amf(1).tables().fail_member(story.zone(1).segments[0].member)));
        for (std::uint16_t id = 1; id <= 3; ++id) story.all_there(id);
        for (std::uint16_t id = 1; id <= 3; ++id) {
            world.leave(id);
            world.nodes.erase(id);
        }
        world.start(1);
        EXPECT_EQ(story.shape(1), to);
        story.all_there(1);
    }
}

/// Writes on all, begun so many steps later, and read where they were not written.
void beside(const Kind& kind, StripeShape to, std::size_t steps, std::uint64_t& recopied) {
    Story story(kind);
    World& world = story.world;
    story.begin(1, to);
    (void)story.steps(steps);
    std::array<std::optional<Status>, 3> wrote;
    std::array<Buffer, 3> fresh;
    for (std::uint16_t id = 1; id <= 3; ++id) {
        fresh[id - 1u] = pattern(10u + id, kPiece);
        world.node(id).scope->spawn(
            World::keep(world.amf(id).write(kPlaces[id - 1u], Slice(fresh[id - 1u]), false), wrote[id - 1u]));
    }
    ASSERT_TRUE(world.run_until([&] { return story.done && wrote[0] && wrote[1] && wrote[2]; }));
    ASSERT_TRUE(*story.done) << to_string(story.done->error().code);
    for (std::uint16_t id = 1; id <= 3; ++id) {
        ASSERT_TRUE(*wrote[id - 1u]);
        EXPECT_EQ(story.shape(id), to);
        for (std::size_t i = 0; i < kPlaces.size(); ++i) EXPECT_TRUE(story.has(id, i, fresh[i])) << i;
        ASSERT_TRUE(world.run(id, world.amf(id).flush()));
    }
    EXPECT_TRUE(story.all_clean(2));
    const std::uint64_t rows = world.config.geometry_of(to).rows_per_extent();
    recopied += world.amf(1).counters().reshaped_rows - rows;
}

TEST_P(Reshape, GoesOnBesideWrites) {
    const std::size_t all = length_of(GetParam(), kWide);
    std::uint64_t recopied = 0;
    for (const std::size_t at : instants(all, 6, 100)) {
        beside(GetParam(), kWide, at, recopied);
        ASSERT_FALSE(HasFailure()) << "step " << at << " of " << all;
    }
    EXPECT_GT(recopied, 0u);
}

/// Who converts dies; others write; all die. What was written is there, and the rest is what it was.
void dies_at(const Kind& kind, StripeShape to, std::size_t steps, InFlight fate, bool others_write) {
    Story story(kind);
    World& world = story.world;
    story.begin(1, to);
    (void)story.steps(steps);
    world.kill(1, fate);
    world.adopt();
    const Buffer fresh = pattern(20, kPiece);
    if (others_write) {
        ASSERT_TRUE(world.write(2, kPlaces[1], fresh, true));
        ASSERT_TRUE(world.run(2, world.amf(2).flush()));
        EXPECT_TRUE(story.has(3, 1, fresh));
    }
    for (std::uint16_t id = 2; id <= 3; ++id) world.kill(id, fate);
    world.start(4);
    EXPECT_TRUE(story.has(4, 0, pattern(0, kPiece)));
    EXPECT_TRUE(story.has(4, 1, others_write ? fresh : pattern(1, kPiece)));
    EXPECT_TRUE(story.has(4, 2, pattern(2, kPiece)));
    EXPECT_FALSE(story.zone(4).successor);
    EXPECT_FALSE(story.zone(4).emptying());
    world.start(2);
    if (story.shape(4) != to) {
        story.begin(4, to);
        ASSERT_TRUE(story.ended());
        EXPECT_TRUE(*story.done || story.done->error().code == Errc::busy);
        EXPECT_TRUE(story.has(2, 1, others_write ? fresh : pattern(1, kPiece)));
    }
}

TEST_P(Reshape, ADeathLosesNothing) {
    const std::size_t all = length_of(GetParam(), kWide);
    for (const InFlight fate : {InFlight::landed, InFlight::torn}) {
        for (const std::size_t at : instants(all, 3, 73)) {
            dies_at(GetParam(), kWide, at, fate, at % 2 == 0);
            ASSERT_FALSE(HasFailure())
                << "step " << at << " of " << all << ", fate " << static_cast<int>(fate);
        }
    }
}

/// All power goes: what was not flushed is there in part.
TEST_P(Reshape, APowerCutLosesNothing) {
    const std::size_t all = length_of(GetParam(), kWide);
    Prng prng(5);
    for (const std::size_t at : instants(all, 3, 47)) {
        Story story(GetParam());
        story.world.keep_unstable();
        story.begin(1, kWide);
        (void)story.steps(at);
        const PowerCut cut(story.world);
        const std::vector<std::size_t> sectors = cut.sectors();
        for (const int kind : {0, 1, 2}) {
            std::vector<Landing> fate(sectors.size());
            for (std::size_t i = 0; i < fate.size(); ++i) {
                if (kind == 1) fate[i] = {0, sectors[i]};
                if (kind == 2 && prng.below(2) != 0) fate[i] = {0, prng.below(sectors[i] + 1)};
            }
            World found(story.world, cut.disks(cut.differences(fate)));
            found.start(1);
            for (std::size_t i = 0; i < kPlaces.size(); ++i)
                EXPECT_TRUE(same(found.read(1, kPlaces[i], kPiece), pattern(i, kPiece))) << i << " " << kind;
        }
        ASSERT_FALSE(HasFailure()) << "step " << at << " of " << all;
    }
}

/// One of the old zone, or of the successor.
TEST_P(Reshape, AMemberFailsMeanwhile) {
    const std::size_t all = length_of(GetParam(), kDouble);
    for (const bool old : {true, false}) {
        for (const std::size_t at : instants(all, 4, 119)) {
            Story story(GetParam());
            World& world = story.world;
            story.begin(1, kDouble);
            if (!story.steps(at) || !story.zone(1).successor) continue;
            const Zone zone = story.zone(1);
            const Segment part = old ? zone.segments[1] : zone.successor.segments[2];
            world.media[part.member.v]->dead = true;
            ASSERT_TRUE(story.ended());
            for (std::uint16_t id = 1; id <= 3; ++id) story.all_there(id);
            ASSERT_TRUE(world.run(2, world.amf(2).tables().fail_member(part.member)));
            story.all_there(3);
            ASSERT_FALSE(HasFailure()) << "step " << at << " of " << all << old;
            if (story.shape(1) == kDouble) continue;
            EXPECT_FALSE(story.zone(2).emptying());
            // Five are left, and the extent is degraded, or not.
            story.begin(2, kDouble);
            ASSERT_TRUE(story.ended());
            EXPECT_TRUE(*story.done || story.done->error().code == Errc::busy ||
                        story.done->error().code == Errc::no_space)
                << to_string(story.done->error().code);
            story.all_there(1);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Reshape,
                         ::testing::Values(Kind{"stripes"}, Kind{"plain", false, false, false},
                                           Kind{"groups_of_stripes", false, false, true, {.stripes = 5}},
                                           Kind{"blocks", false, false, true, {.blocks = 16}},
                                           Kind{"journal", false, true}, Kind{"write_back", true, true}),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- what is wanted

TEST(Wanted, IsRefusedWithAReason) {
    Story story({"stripes"});
    World& world = story.world;
    Tables& tables = world.amf(1).tables();
    EXPECT_EQ(world.run(1, tables.set({.wanted = StripeShape{Level::raid5, 7, 1}})).error().code,
              Errc::invalid);
    EXPECT_EQ(tables.why_not({Level::raid5, 7, 1}), Obstacle::few_members);
    EXPECT_EQ(tables.why_not({Level::raid6, 2, 1}), Obstacle::no_such_shape);
    ASSERT_TRUE(world.run(1, tables.set({.wanted = kDouble})));
    EXPECT_EQ(world.amf(3).tables().config().wanted, kDouble);
    EXPECT_EQ(world.amf(2).tables().extents_of_other_shapes(), tables.config().extents);
    EXPECT_EQ(tables.why_not({Level::raid5, 3, 1}), Obstacle::fewer_parities);
    EXPECT_EQ(tables.why_not({Level::raid6, 2, 2}), Obstacle::narrower);
    story.begin(1, kDouble);
    ASSERT_TRUE(story.ended() && *story.done);
    EXPECT_EQ(world.amf(2).tables().extents_of_other_shapes(), tables.config().extents - 1);
    EXPECT_EQ(tables.zones_to_reshape(), 0u);
}

constexpr std::array<std::uint16_t, 2> kTwo{1, 2};

/// A world of groups that are narrower than they have members.
WorldOptions room_of(std::size_t disks, std::uint32_t extents, PowerLoss power = PowerLoss::resync) {
    WorldOptions out{.disks = disks, .strip_size = 1u << 20, .width = 3};
    out.extents = extents;
    out.power_loss = power;
    return out;
}

/// Virtual disks have all that there is: with a second parity there would be less.
TEST(Wanted, IsRefusedWithoutRoom) {
    World world(room_of(4, 8));
    world.start(1);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.run(1, tables.create_volume("v", tables.usable_extents() * kExtentSize)));
    EXPECT_EQ(world.run(1, tables.set({.wanted = StripeShape{Level::raid6, 2, 2}})).error().code,
              Errc::no_space);
    EXPECT_EQ(tables.config().wanted, kNarrow);
    EXPECT_EQ(tables.extents_of_other_shapes(), 0u);
}

TEST(Wanted, FindsRoomInTheJournal) {
    World world(room_of(16, 2, PowerLoss::journal));
    world.start(1);
    const Tables& tables = world.amf(1).tables();
    const std::uint64_t ring = tables.config().journal.ring_size;
    unsigned refused = 0;
    for (std::uint8_t k = 2; k < 16; ++k) {
        const bool fits = (k + 1u) * (1u << 20) <= ring / 2;
        EXPECT_EQ(tables.why_not({Level::raid5, k, 1}) != Obstacle::small_journal, fits) << k;
        refused += fits ? 0 : 1;
    }
    EXPECT_GT(refused, 0u);
}

/// What virtual disks may still need is not taken for a copy.
TEST(Successor, LeavesWhatIsPromised) {
    World world(room_of(4, 6));
    world.start(1);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.run(1, tables.create_volume("v", tables.usable_extents() * kExtentSize)));
    ASSERT_TRUE(world.write(1, 0, pattern(1, 4096)));
    const auto reserved = world.run(1, tables.reserve_successor(ExtentIndex(0), {Level::raid6, 2, 2}));
    EXPECT_EQ(reserved.error().code, Errc::no_space);
    EXPECT_FALSE(tables.zone(ExtentIndex(0))->successor);
}

TEST(Successor, WaitsForMembersAndSaysSo) {
    World world(room_of(6, 4));
    world.start(1);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(world.run(1, tables.set({.wanted = StripeShape{Level::raid5, 5, 1}})));
    EXPECT_FALSE(tables.reshape_waits());
    // One that has nothing of it.
    const MemberMask has = members_of(*tables.zone(ExtentIndex(0)));
    std::uint8_t other = 0;
    while (has[other]) ++other;
    ASSERT_TRUE(world.run(1, tables.fail_member(MemberIndex(other))));
    EXPECT_TRUE(tables.reshape_waits());
    EXPECT_EQ(world.run(1, world.amf(1).reshape(ExtentIndex(0), tables.config().wanted)).error().code,
              Errc::no_space);
    EXPECT_TRUE(same(world.read(1, 0, kPiece), pattern(1, kPiece)));
}

/// Whoever comes second takes no space.
TEST(Successor, IsOfOneExtentAtATime) {
    World world(room_of(6, 8));
    world.start(1);
    Amf& amf = world.amf(1);
    std::array<std::optional<Status>, 2> done;
    for (std::uint32_t i = 0; i < done.size(); ++i)
        ASSERT_TRUE(world.write(1, i * kExtentSize, pattern(i, kPiece)));
    for (std::uint32_t i = 0; i < done.size(); ++i)
        world.node(1).scope->spawn(World::keep(amf.reshape(ExtentIndex(i), kWide), done[i]));
    ASSERT_TRUE(world.run_until([&] { return done[0] && done[1]; }));
    EXPECT_TRUE(*done[0]);
    EXPECT_EQ(done[1]->error().code, Errc::busy);
    EXPECT_FALSE(amf.tables().zone(ExtentIndex(1))->successor);
    EXPECT_TRUE(world.run(1, amf.reshape(ExtentIndex(1), kWide)));
}

/// What is missing comes first.
TEST(Successor, GoesWhenAPartOfTheZoneMoves) {
    World world(room_of(6, 4));
    world.start(1);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(world.run(1, tables.reserve_successor(ExtentIndex(0), kWide)));
    const Zone before = *tables.zone(ExtentIndex(0));
    ASSERT_TRUE(before.successor);
    ASSERT_TRUE(world.run(1, tables.fail_member(before.segments[0].member)));
    ASSERT_TRUE(world.run(1, tables.open_move(ExtentIndex(0))));
    EXPECT_FALSE(tables.zone(ExtentIndex(0))->successor);
    EXPECT_TRUE(tables.zone(ExtentIndex(0))->move);
    EXPECT_TRUE(same(world.read(1, 0, kPiece), pattern(1, kPiece)));
}

/// There is no place to make again what is missing: it is regenerated on the way.
TEST(Successor, IsMadeOfADegradedZone) {
    WorldOptions options = room_of(4, 4);
    options.level = Level::raid6;
    options.width = 4;
    World world(options);
    for (const std::uint16_t id : kTwo) world.start(id);
    Tables& tables = world.amf(1).tables();
    ASSERT_TRUE(world.write(1, 0, pattern(1, kPiece)));
    ASSERT_TRUE(world.write(2, kExtentSize - kPiece, pattern(2, kPiece)));
    ASSERT_TRUE(world.run(1, tables.fail_member(tables.zone(ExtentIndex(0))->segments[0].member)));
    ASSERT_TRUE(world.run(2, world.amf(2).reshape(ExtentIndex(0), kNarrow)));
    EXPECT_EQ(tables.shape_of(ExtentIndex(0)), kNarrow);
    EXPECT_TRUE(world.unclean(1, kExtentSize).empty());
    ASSERT_TRUE(world.run(1, tables.fail_member(tables.zone(ExtentIndex(0))->segments[1].member)));
    for (const std::uint16_t id : kTwo) {
        EXPECT_TRUE(same(world.read(id, 0, kPiece), pattern(1, kPiece)));
        EXPECT_TRUE(same(world.read(id, kExtentSize - kPiece, kPiece), pattern(2, kPiece)));
    }
}

}  // namespace
}  // namespace braid::testing
