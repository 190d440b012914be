#include "ondisk/table_pages.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <bit>

#include "ondisk/testing.h"

namespace braid {
namespace {

using testing::Block;
using testing::uuid;

std::string random_name(std::size_t limit) {
    return *rc::gen::container<std::string>(*rc::gen::inRange<std::size_t>(1, limit + 1),
                                            rc::gen::elementOf(std::string("azAZ09_")));
}

Zone random_zone() {
    Zone zone;
    zone.generation = *rc::gen::arbitrary<std::uint32_t>();
    const bool allocated = *rc::gen::inRange(0, 3) != 0;
    if (allocated || *rc::gen::inRange(0, 2) != 0) {
        const auto m = *rc::gen::inRange<std::uint8_t>(1, kMaxParity + 1);
        const auto k = *rc::gen::inRange<std::uint8_t>(1, static_cast<std::uint8_t>(kMaxWidth - m + 1));
        const std::array levels = {Level::raid5, Level::raid6, Level::raid7_3};
        zone.shape = {k == 1 ? Level::mirror : levels[m - 1u], k, m};
    }
    if (allocated) zone.state = ZoneState::allocated;
    if (allocated) zone.width = static_cast<std::uint8_t>(zone.shape.width());
    const auto turn = *rc::gen::inRange<std::size_t>(0, kMaxMembers);
    for (std::size_t i = 0; i < zone.width; ++i) {
        zone.segments[i] = {MemberIndex(static_cast<std::uint8_t>((turn + i * 5) % kMaxMembers)),
                            SegmentIndex(*rc::gen::arbitrary<std::uint32_t>())};
    }
    if (zone.width != 0) zone.missed = *rc::gen::arbitrary<std::uint16_t>();
    if (zone.width == 0 || *rc::gen::inRange(0, 2) == 0) return zone;
    if (*rc::gen::inRange(0, 2) == 0) {
        zone.successor.shape =
            zone.shape.k == 1 ? StripeShape{Level::raid6, 3, 2} : StripeShape{Level::mirror, 1, 2};
        for (std::uint8_t i = 0; i < zone.successor.shape.width(); ++i)
            zone.successor.segments.push_back(
                {MemberIndex(i), SegmentIndex(*rc::gen::arbitrary<std::uint32_t>())});
        return zone;
    }
    const auto position = *rc::gen::inRange<std::uint8_t>(0, zone.width);
    const auto next = static_cast<std::uint8_t>((turn + zone.width * 5u) % kMaxMembers);
    zone.move = {ZonePosition(position),
                 {MemberIndex(next), SegmentIndex(*rc::gen::arbitrary<std::uint32_t>())},
                 *rc::gen::arbitrary<std::uint32_t>()};
    if (*rc::gen::inRange(0, 2) == 0) zone.move->target = zone.segments[position];
    return zone;
}

VolumeRecord random_volume() {
    VolumeRecord volume;
    if (*rc::gen::inRange(0, 3) == 0) return volume;
    volume.state = *rc::gen::element(VolumeState::ok, VolumeState::deleting);
    volume.id = VolumeId(*rc::gen::arbitrary<std::uint32_t>());
    volume.name = random_name(kMaxNameLength);
    volume.first_extent = ExtentIndex(*rc::gen::inRange<std::uint32_t>(0, 1u << 31));
    volume.extents = *rc::gen::inRange<std::uint32_t>(0, 1u << 31);
    volume.size = *rc::gen::inRange<std::uint64_t>(0, volume.extents * kExtentSize + 1);
    volume.ports = *rc::gen::arbitrary<std::uint32_t>();
    volume.closing = volume.ports & *rc::gen::arbitrary<std::uint32_t>();
    return volume;
}

template <class Content>
void expect_comes_back(const Content& content) {
    Block block;
    block.bytes.fill(std::byte{0xA5});
    content.encode(block.span());
    const auto decoded = Content::decode(block.view());
    RC_ASSERT(decoded.has_value());
    RC_ASSERT(*decoded == content);
}

}  // namespace

TEST(Names, AreLettersDigitsAndMildPunctuation) {
    EXPECT_TRUE(valid_name("ctl-a.1_B"));
    EXPECT_TRUE(valid_name(std::string(63, 'x')));
    for (std::string_view bad : {"", "-a", ".a", "a b", "a/b", "\xc3\xa4"})
        EXPECT_FALSE(valid_name(bad)) << bad;
    EXPECT_FALSE(valid_name(std::string(64, 'x')));
    EXPECT_FALSE(valid_name("12345678", 7));
}

TEST(StatePage, HasTheDocumentedOffsets) {
    Block block;
    GroupState state;
    state.members = {{}, {MemberState::failed, Epoch(7), 3}};
    state.clean = true;
    state.balancing = true;
    state.encode(block.span());
    EXPECT_EQ(block.u32(64), 2u | 1u << 16 | 1u << 24);
    EXPECT_EQ(block.at(72 + 16), 1);
    EXPECT_EQ(block.u32(72 + 16 + 4), 3u);
    EXPECT_EQ(block.u32(72 + 16 + 8), 7u);
    EXPECT_EQ(block.u32(1640), 0u);
    EXPECT_EQ(block.u32(1656), 0u);
    block.bytes[72 + 16] = std::byte{5};
    EXPECT_FALSE(GroupState::decode(block.view()));
    block.bytes[72 + 16] = std::byte{0};
    JournalState& ring = state.journals[1];
    ring = {3, AmfId(5), Incarnation(8), MemberMask(0x8000000000000003), MemberMask(0x2)};
    state.encode(block.span());
    EXPECT_EQ(*GroupState::decode(block.view()), state);
    const std::size_t at = 1096 + 34;
    EXPECT_EQ(block.u32(at), 3u);
    EXPECT_EQ(block.u32(at + 8), 8u);
    EXPECT_EQ(block.at(at + 16), 5);
    EXPECT_EQ(block.at(at + 18), 3);
    EXPECT_EQ(block.at(at + 25), 0x80);
    EXPECT_EQ(block.at(at + 26), 2);
    block.bytes[at + 26] = std::byte{4};  // not one of its members
    EXPECT_FALSE(GroupState::decode(block.view()));
    block.bytes[at + 26] = std::byte{3};
    block.bytes[at + 33] = std::byte{0x80};  // nobody has all
    EXPECT_FALSE(GroupState::decode(block.view()));
    block.bytes[at + 26] = std::byte{2};
    block.bytes[at + 33] = std::byte{0};
    block.bytes[72 + 16] = std::byte{0};
    block.bytes[66] = std::byte{2};
    EXPECT_FALSE(GroupState::decode(block.view()));
}

TEST(StatePage, HasWhatReturningDisksMustHave) {
    Block block;
    GroupState state;
    state.members.resize(5);
    for (const std::uint8_t member : {std::uint8_t{1}, std::uint8_t{4}}) {
        state.members[member].state = MemberState::failed;
        ReturnPoint& point = state.returns.emplace_back(MemberIndex(member));
        point.shrunk[0] = member;
        point.shrunk[15] = 7;
    }
    state.encode(block.span());
    EXPECT_EQ(*GroupState::decode(block.view()), state);
    EXPECT_EQ(block.at(3704), 2);
    EXPECT_EQ(block.at(3705), 1);
    EXPECT_EQ(block.at(3705 + 8 * 15), 7);
    EXPECT_EQ(block.at(3704 + 129), 5);
    EXPECT_EQ(block.at(3704 + 130), 4);
    EXPECT_EQ(block.at(3704 + 2 * 129), 0);
    const auto broken = [&](std::uint8_t member) {
        Block copy = block;
        copy.bytes[3704 + 129] = std::byte{member};
        return !GroupState::decode(copy.view());
    };
    EXPECT_TRUE(broken(2));  // twice
    EXPECT_TRUE(broken(1));  // not failed
    EXPECT_TRUE(broken(6));  // nobody
    EXPECT_FALSE(broken(0));
}

TEST(StatePage, HasTheJobsWhereTheyAreDocumented) {
    Block block;
    GroupState state;
    state.schedule = {3600, 100, 7};
    JobRecord& job = state.jobs[1];
    job.id = 9;
    job.state = JobState::paused;
    job.priority = 2;
    job.started = 11;
    job.cursor = ExtentIndex(12);
    job.counts = {13, 14, 15, StripeIndex(16)};
    job.done[3] = 17;
    job.window.set(1).set(1023);
    state.jobs[2] = {.id = 8, .state = JobState::cancelled, .ended = 5, .left = 6};
    state.encode(block.span());
    EXPECT_EQ(block.u32(1640), 3600u);
    EXPECT_EQ(block.u32(1644), 100u);
    EXPECT_EQ(block.u32(1648), 7u);
    EXPECT_EQ(block.u32(1656), 0u);
    const std::size_t at = 1656 + 256;
    EXPECT_EQ(block.u32(at), 9u);
    EXPECT_EQ(block.u32(at + 4), 1u | 1u << 8 | 2u << 16);
    EXPECT_EQ(block.u32(at + 8), 11u);
    EXPECT_EQ(block.u32(at + 16), 0u);
    EXPECT_EQ(block.u32(at + 24), 12u);
    EXPECT_EQ(block.u32(at + 28), 0u);
    EXPECT_EQ(block.u32(at + 32), 13u);
    EXPECT_EQ(block.u32(at + 36), 14u);
    EXPECT_EQ(block.u32(at + 40), 15u);
    EXPECT_EQ(block.u32(at + 48), 16u);
    EXPECT_EQ(block.u32(at + 64 + 3 * 4), 17u);
    EXPECT_EQ(block.at(at + 128), 2);
    EXPECT_EQ(block.at(at + 255), 0x80);
    EXPECT_EQ(block.u32(at + 256 + 28), 6u);
    ASSERT_TRUE(GroupState::decode(block.view()));
    EXPECT_EQ(*GroupState::decode(block.view()), state);
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block other = block;
        other.bytes[offset] = std::byte{value};
        return !GroupState::decode(other.view());
    };
    EXPECT_TRUE(broken(1648, 101));  // begun after now
    EXPECT_TRUE(broken(at, 0));      // no number
    EXPECT_TRUE(broken(at + 4, 3));  // kind
    EXPECT_TRUE(broken(at + 4, 2));  // a rebuild that scrubs
    EXPECT_TRUE(broken(at + 5, 4));  // state
    EXPECT_TRUE(broken(at + 5, 2));  // done, with a cursor
    EXPECT_TRUE(broken(at + 6, 0));  // priority
    EXPECT_TRUE(broken(at + 6, 10));
    EXPECT_TRUE(broken(at + 16, 1));         // ended and goes on
    EXPECT_TRUE(broken(at + 28, 1));         // the same
    EXPECT_TRUE(broken(at + 36, 0));         // the first of none
    EXPECT_TRUE(broken(at + 128, 3));        // the cursor's is done
    EXPECT_TRUE(broken(at + 256 + 5, 0));    // two that go on
    EXPECT_TRUE(broken(at + 256 + 24, 1));   // a cursor of one that ended
    EXPECT_TRUE(broken(at + 512 + 100, 1));  // something where there is nothing
}

TEST(JobRecords, MoveTheirCursorOverWhatIsDoneAndWhatNobodyAwaits) {
    JobRecord job;
    job.id = 1;
    const auto awaited = [](ExtentIndex extent) { return extent.v % 10 != 3; };
    job.note_done(ExtentIndex(2));
    job.note_done(ExtentIndex(1));
    job.advance(4000, awaited);
    EXPECT_EQ(job.cursor, ExtentIndex(0));
    EXPECT_TRUE(job.awaits(ExtentIndex(0)));
    EXPECT_FALSE(job.awaits(ExtentIndex(2)));
    EXPECT_TRUE(job.awaits(ExtentIndex(3999)));
    job.note_done(ExtentIndex(0));
    job.note_done(ExtentIndex(5));
    job.advance(4000, awaited);
    EXPECT_EQ(job.cursor, ExtentIndex(4));
    EXPECT_FALSE(job.awaits(ExtentIndex(3)));
    EXPECT_FALSE(job.awaits(ExtentIndex(5)));
    EXPECT_TRUE(job.awaits(ExtentIndex(6)));
    EXPECT_TRUE(job.is_valid());
    job.advance(4000, [](ExtentIndex extent) { return extent.v == 3998; });
    EXPECT_EQ(job.cursor, ExtentIndex(3998));
    EXPECT_TRUE(job.window.none());
    job.advance(4000, [](ExtentIndex) { return false; });
    EXPECT_EQ(job.cursor, ExtentIndex(4000));
}

TEST(IntentPage, RefusesTooManyUnsortedAndDoubleRegions) {
    Block block;
    Intent intent;
    for (std::uint32_t i = 0; i < kMaxIntentRegions; ++i) intent.regions.push_back(RegionIndex(2 * i));
    intent.encode(block.span());
    ASSERT_TRUE(Intent::decode(block.view()));
    EXPECT_EQ(*Intent::decode(block.view()), intent);
    intent.former = {RegionIndex(4)};
    intent.owner = AmfId(7);
    intent.incarnation = Incarnation(9);
    intent.shrunk = 11;
    intent.encode(block.span());
    EXPECT_EQ(*Intent::decode(block.view()), intent);
    EXPECT_EQ(block.u32(72 + 8), 0x80000004u);
    EXPECT_EQ(block.u32(4072), 9u);
    EXPECT_EQ(block.u32(4080) & 0xffff, 7u);
    EXPECT_EQ(block.at(4082), 11);
    EXPECT_EQ(block.u32(64), 1000u);
    EXPECT_EQ(block.u32(72 + 4 * 999), 1998u);
    block.bytes[72 + 4] = std::byte{0};
    EXPECT_FALSE(Intent::decode(block.view()));
    block.bytes[72 + 4] = std::byte{2};
    block.bytes[64] = std::byte{0xE9};  // 1001
    EXPECT_FALSE(Intent::decode(block.view()));
}

TEST(MapPage, HasWhatIsMissedAndMovesInPlace) {
    Block block;
    MapPage page;
    Zone& zone = page.zones[1];
    zone = {.state = ZoneState::allocated, .width = 3, .shape = {Level::raid5, 2, 1}, .missed = 0x8001};
    for (std::uint8_t i = 0; i < 3; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(7)};
    zone.move = {ZonePosition(1), zone.segments[1], 5};
    ASSERT_TRUE(zone.moves_in_place());
    page.encode(block.span());
    EXPECT_EQ(*MapPage::decode(block.view()), page);
    const std::size_t at = 64 + 288;
    EXPECT_EQ(block.u32(at), 1u | 3u << 8 | 0x8001u << 16);
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block copy = block;
        copy.bytes[offset] = std::byte{value};
        return !MapPage::decode(copy.view());
    };
    EXPECT_TRUE(broken(at + 129, 0));  // on another one's member
    EXPECT_TRUE(broken(at + 130, 8));  // elsewhere on its own
    EXPECT_TRUE(broken(64 + 2, 1));    // missed, and no zone
}

TEST(VolumesPage, HasTheDocumentedOffsets) {
    Block block;
    VolumesPage page;
    page.records[2] = {VolumeState::ok, VolumeId(9), "data", ExtentIndex(5), 2, 100 << 20, 0b101};
    page.encode(block.span());
    const std::size_t at = 64 + 2 * 128;
    EXPECT_EQ(block.u32(at), 9u);
    EXPECT_EQ(block.u32(at + 4), 1u | 0b101u << 16);
    EXPECT_EQ(block.u32(at + 8), 5u);
    EXPECT_EQ(block.u32(at + 12), 2u);
    EXPECT_EQ(block.u32(at + 16), 100u << 20);
    EXPECT_EQ(block.at(at + 24), 'd');
    const auto broken = [&](std::size_t offset, std::uint8_t value) {
        Block copy = block;
        copy.bytes[offset] = std::byte{value};
        return !VolumesPage::decode(copy.view());
    };
    EXPECT_TRUE(broken(at + 4, 3));     // state
    EXPECT_TRUE(broken(at + 12, 1));    // size beyond the extents
    EXPECT_TRUE(broken(at + 24, 0));    // no name
    EXPECT_TRUE(broken(64 + 24, 'x'));  // a free record with a name
}

TEST(TablePagesProperty, EveryContentComesBack) {
    EXPECT_TRUE(rc::check("config", [] {
        GroupConfig config;
        config.name = random_name(kMaxNameLength);
        const auto width = *rc::gen::inRange<std::size_t>(5, kMaxMembers + 1);
        config.geometry =
            *Geometry::make(*rc::gen::element(Level::mirror, Level::raid5, Level::raid6, Level::raid7_3),
                            width, kMinStripSize << *rc::gen::inRange(0, 9));
        config.wanted = {Level::raid5, 4, 1};
        Granularity& locks = config.sharing.granularity;
        if (*rc::gen::arbitrary<bool>()) {
            locks.stripes = *rc::gen::inRange(1u, kMaxLockStripes + 1);
        } else {
            const auto most = static_cast<int>(std::bit_width(config.geometry.strip_size / kBlockSize));
            locks.blocks = static_cast<std::uint16_t>(1u << *rc::gen::inRange(0, most));
        }
        config.dimension = *rc::gen::inRange<std::uint8_t>(1, 9);
        config.created = *rc::gen::arbitrary<std::uint64_t>();
        config.data_start = *rc::gen::inRange<std::uint64_t>(0, 1u << 20) * kPageSize;
        config.page_count = *rc::gen::inRange<std::uint32_t>(37, 10000);
        config.extents = *rc::gen::inRange<std::uint32_t>(0, 31);
        config.controllers.resize(*rc::gen::inRange<std::size_t>(0, 17));
        config.sharing.coherency = *rc::gen::element(Coherency::arbiter, Coherency::broadcast);
        config.sharing.lock_order = *rc::gen::element(LockOrder::fifo, LockOrder::priority);
        config.sharing.min_hold = *rc::gen::inRange(0, 1'000'001) * Nanos(1us);
        config.sharing.write_cache = *rc::gen::element(WriteCache::through, WriteCache::back);
        if (config.sharing.write_cache == WriteCache::back) {
            config.sharing.replication = static_cast<Replication>(*rc::gen::inRange(0, 3));
            config.sharing.few_partners = *rc::gen::element(FewPartners::write_through, FewPartners::go_on);
        }
        for (std::size_t i = 0; i < config.controllers.size(); ++i) {
            const auto used = static_cast<int>(1u << config.controllers.size());
            NamedPartners& named = config.sharing.partners[i];
            named.controllers = static_cast<std::uint16_t>(*rc::gen::inRange(0, used) & ~(1 << i));
            const int places = *rc::gen::inRange(0, 1 << 5);
            for (int place = 0; place < 5; ++place) {
                if ((places >> place & 1) != 0)
                    named.places.push_back((place < 3 ? "host:h" : "site:s") + std::to_string(place));
            }
        }
        config.sharing.prefetch = *rc::gen::inRange<std::uint8_t>(0, kMaxPrefetch + 1);
        if (config.controllers.size() <= 2) config.sharing.amfs = *rc::gen::inRange<std::uint8_t>(1, 9);
        for (auto& name : config.controllers) name = random_name(kMaxControllerNameLength);
        config.outside.resize(*rc::gen::inRange<std::size_t>(0, kMaxOutside + 1));
        for (auto& name : config.outside) name = random_name(kMaxControllerNameLength);
        for (std::size_t i = 0; i < width; ++i) {
            config.members.push_back(
                {uuid(*rc::gen::arbitrary<std::uint8_t>()), *rc::gen::arbitrary<std::uint32_t>()});
        }
        expect_comes_back(config);
    }));
    EXPECT_TRUE(rc::check("state", [] {
        GroupState state;
        state.clean = *rc::gen::arbitrary<bool>();
        state.balancing = *rc::gen::arbitrary<bool>();
        state.members.resize(*rc::gen::inRange<std::size_t>(0, kMaxMembers + 1));
        for (auto& member : state.members) {
            member = {*rc::gen::element(MemberState::ok, MemberState::failed),
                      Epoch(*rc::gen::arbitrary<std::uint64_t>()), *rc::gen::arbitrary<std::uint32_t>()};
        }
        for (std::uint8_t i = 0; i < state.members.size(); ++i) {
            if (state.members[i].state != MemberState::failed || state.returns.size() == kMaxReturnPoints)
                continue;
            state.returns.emplace_back(MemberIndex(i));
            state.returns.back().shrunk[i % kMaxGroupAmfs] = *rc::gen::arbitrary<std::uint64_t>();
        }
        state.schedule.every = *rc::gen::inRange<std::uint32_t>(1, ScrubSchedule::kLongest);
        state.schedule.age = *rc::gen::arbitrary<std::uint32_t>();
        state.schedule.begun = *rc::gen::inRange<std::uint32_t>(0, state.schedule.age);
        for (JobRecord& job : state.jobs) {
            job.id = *rc::gen::arbitrary<std::uint32_t>();
            if (job.id == 0) continue;
            job.kind = *rc::gen::element(JobKind::scrub, JobKind::rebuild, JobKind::reshape);
            job.state =
                *rc::gen::element(JobState::running, JobState::paused, JobState::done, JobState::cancelled);
            if (job.active() && state.active(job.kind) != &job) job.state = JobState::done;
            job.priority = *rc::gen::inRange<std::uint8_t>(1, kMaxPriority + 1);
            job.started = *rc::gen::arbitrary<std::uint64_t>();
            for (std::uint32_t& units : job.done) units = *rc::gen::arbitrary<std::uint32_t>();
            if (!job.active()) job.left = *rc::gen::arbitrary<std::uint32_t>();
            if (!job.active() || job.kind != JobKind::scrub) continue;
            job.cursor = ExtentIndex(*rc::gen::arbitrary<std::uint32_t>());
            for (int i = 0; i < 20; ++i) job.window.set(*rc::gen::inRange<std::size_t>(1, kScrubWindow));
        }
        expect_comes_back(state);
    }));
    EXPECT_TRUE(rc::check("volumes", [] {
        VolumesPage page;
        for (int i = 0; i < 3; ++i) page.records[*rc::gen::inRange<std::size_t>(0, 31)] = random_volume();
        expect_comes_back(page);
    }));
    EXPECT_TRUE(rc::check("map", [] {
        MapPage page;
        for (int i = 0; i < 3; ++i)
            page.zones[*rc::gen::inRange<std::size_t>(0, kZonesPerPage)] = random_zone();
        expect_comes_back(page);
    }));
}

TEST(TablePages, ReadOutsideNothingWhateverTheBytes) {
    EXPECT_TRUE(rc::check("random bytes decode to what encodes again, or not at all", [] {
        Block block;
        MapPage().encode(block.span());
        for (int i = 0; i < 40; ++i) {
            block.bytes[*rc::gen::inRange<std::size_t>(64, kPageSize)] =
                static_cast<std::byte>(*rc::gen::inRange(0, 30));
        }
        if (const auto map = MapPage::decode(block.view())) expect_comes_back(*map);
        if (const auto volumes = VolumesPage::decode(block.view())) expect_comes_back(*volumes);
        if (const auto intent = Intent::decode(block.view())) expect_comes_back(*intent);
        if (const auto state = GroupState::decode(block.view())) expect_comes_back(*state);
        if (const auto config = GroupConfig::decode(block.view())) expect_comes_back(*config);
    }));
}

}  // namespace braid
