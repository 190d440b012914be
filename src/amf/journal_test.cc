// All controllers die at once, at every step of a write, and a member is missing afterwards, whichever: what
// nobody wrote is as it was, what was answered is there, and the rest is old or new by blocks.
#include <gtest/gtest.h>

#include <cstring>

#include "amf/testing.h"
#include "ondisk/journal_batch.h"

namespace braid::testing {
namespace {

constexpr std::size_t kStrip = 16u << 10;

WorldOptions journalled(std::size_t disks, Level level) {
    WorldOptions options{.level = level, .disks = disks, .strip_size = kStrip};
    options.power_loss = PowerLoss::journal;
    return options;
}

/// One or two AMFs; the first writes.
class PowerLossInAWrite {
public:
    PowerLossInAWrite(const WorldOptions& options, std::uint64_t at, std::size_t length)
        : world_(options), at_(at), second_(pattern(2, length)) {
        world_.start(1);
        world_.start(2);
        EXPECT_TRUE(world_.write(1, 0, first_));
        // The first write is not in the journal any more: it would mend what is looked for.
        EXPECT_TRUE(world_.run_until([&] { return world_.amf(1).journal().entries() == 0; }, 5s));
        before_ = ring(1);
        world_.node(1).scope->spawn(World::keep(world_.amf(1).write(at, Slice(second_), false), written_));
    }

    /// What a member has of the first AMF's ring.
    std::map<std::uint64_t, Buffer> ring(std::size_t member) const {
        const std::uint64_t start = world_.config.ring_start(AmfSlot(0)) / kPageSize;
        const auto& pages = world_.media[member]->pages;
        std::map<std::uint64_t, Buffer> out;
        for (auto page = pages.lower_bound(start);
             page != pages.end() && page->first < start + world_.config.journal.ring_size / kPageSize; ++page)
            out.emplace(page->first, Buffer::copy_of(page->second.span()));
        return out;
    }
    bool batch_written() const { return ring(0).size() > before_.size() && ring(1).size() > before_.size(); }
    /// As if the batch had not come so far there.
    void take_batch_from_second() {
        for (const auto& [at, bytes] : ring(1)) world_.media[1]->pages.erase(at);
        for (auto& [at, bytes] : before_) world_.media[1]->pages[at] = std::move(bytes);
    }

    /// False when the write had ended before.
    bool step(std::size_t count) {
        for (std::size_t i = 0; i < count && !written_; ++i) world_.step();
        return !written_;
    }
    void lose_power(InFlight fate) {
        answered_ = written_ && *written_;
        for (const std::uint16_t id : std::array<std::uint16_t, 2>{1, 2}) {
            if (world_.alive(id)) world_.kill(id, fate);
        }
    }
    /// As many as the level survives, this one first.
    void lose(std::size_t member) {
        whole_ = false;
        for (unsigned i = 0; i < world_.config.geometry.m; ++i)
            world_.media[(member + i) % world_.media.size()]->dead = true;
    }
    /// Begins to assemble, and dies after so many steps. False if it had ended before.
    bool begin_to_start(std::size_t steps, InFlight fate) {
        world_.nodes[1] = std::make_unique<Node>(world_, AmfId(1), Incarnation(world_.epoch.v + 1));
        world_.adopt();
        std::optional<Status> started;
        world_.node(1).scope->spawn(World::keep(world_.amf(1).start(), started));
        for (std::size_t i = 0; i < steps && !started; ++i) {
            if (!world_.step()) world_.clock.advance(100s);
        }
        const bool ended = started.has_value();
        world_.kill(1, fate);
        return !ended;
    }
    void check(const std::string& what) {
        world_.start(2);
        const Buffer got = world_.read(2, 0, first_.size());
        ASSERT_EQ(got.size(), first_.size()) << what;
        for (std::size_t block = 0; block < first_.size(); block += kBlockSize) {
            const bool written = block >= at_ && block < at_ + second_.size();
            const bool old = std::memcmp(got.data() + block, first_.data() + block, kBlockSize) == 0;
            const bool fresh =
                written && std::memcmp(got.data() + block, second_.data() + (block - at_), kBlockSize) == 0;
            EXPECT_TRUE(answered_ ? (written ? fresh : old) : old || fresh) << what << ", block " << block;
        }
        if (whole_) EXPECT_TRUE(world_.unclean(2, first_.size()).empty()) << what;
    }

private:
    World world_;
    std::uint64_t at_;
    Buffer first_ = pattern(1, 8 * kStrip);
    Buffer second_;
    std::optional<Status> written_;
    bool answered_ = false;
    std::map<std::uint64_t, Buffer> before_;
    bool whole_ = true;  ///< no member is missing
};

std::string story(std::size_t step, std::size_t member, InFlight fate) {
    return "step " + std::to_string(step) + ", without member " + std::to_string(member) + ", commands " +
           std::to_string(static_cast<int>(fate));
}

void every_step(const WorldOptions& options, std::uint64_t at, std::size_t length) {
    std::size_t states = 0;
    for (std::size_t step = 0, more = 1; more != 0; ++step) {
        for (std::size_t member = 0; member <= options.disks; ++member) {
            for (const InFlight fate : {InFlight::lost, InFlight::landed, InFlight::torn, InFlight::mixed}) {
                PowerLossInAWrite run(options, at, length);
                more = run.step(step) ? 1 : 0;
                run.lose_power(fate);
                if (member < options.disks) run.lose(member);
                run.check(story(step, member, fate));
                ++states;
                if (::testing::Test::HasFailure()) return;
            }
        }
    }
    std::cout << states << " states\n";
}

TEST(Journal, EveryStepOfASmallWriteAndAMissingMember) {
    every_step(journalled(5, Level::raid5), kStrip - 4096, 8192);
}

TEST(Journal, EveryStepOfAFullStripeAndAMissingMember) {
    every_step(journalled(5, Level::raid5), 0, 4 * kStrip);
}

TEST(Journal, EveryStepOfARaid6WriteAndAMissingMember) {
    every_step(journalled(6, Level::raid6), kStrip + 4096, 4096);
}

/// A batch that was on its way is on one of the two members of its ring only. It is done again, and in the
/// middle of that power goes once more, and that member with it.
TEST(Journal, EveryStepOfAReplayOfABatchOnOneMember) {
    WorldOptions options = journalled(5, Level::raid5);
    std::size_t states = 0;
    for (std::size_t step = 0, more = 1; more != 0; ++step) {
        for (const std::uint64_t at : {std::uint64_t{0}, 2 * kStrip}) {
            const InFlight fate = InFlight::lost;
            PowerLossInAWrite run(options, at, 4096);
            while (!run.batch_written()) ASSERT_TRUE(run.step(1));
            run.lose_power(InFlight::lost);
            run.take_batch_from_second();
            more = run.begin_to_start(step, fate) ? 1 : 0;
            run.lose(0);
            run.check(story(step, 0, fate));
            ++states;
            if (::testing::Test::HasFailure()) return;
        }
    }
    std::cout << states << " states\n";
}

/// Many times the ring, at once and one after the other.
TEST(Journal, TheRingGoesRound) {
    WorldOptions options = journalled(5, Level::raid5);
    World world(options);
    world.start(1);
    world.start(2);
    const Buffer data = pattern(3, 4 * kStrip);
    const std::uint64_t ring = world.config.journal.ring_size;
    const Journal& journal = world.amf(1).journal();
    for (int round = 0; round < 8; ++round) {
        std::array<std::optional<Status>, 32> done;
        for (std::size_t i = 0; i < done.size(); ++i) {
            world.node(1).scope->spawn(
                World::keep(world.amf(1).write(i * data.size(), Slice(data), false), done[i]));
        }
        ASSERT_TRUE(world.run_until([&] {
            EXPECT_LE(journal.used_bytes(), ring);
            return std::ranges::all_of(done, [](const auto& one) { return one.has_value(); });
        }));
        for (const auto& one : done) EXPECT_TRUE(*one);
    }
    EXPECT_GT(journal.counters().bytes, 8 * ring);
    EXPECT_GT(journal.counters().full, 0u);
    // What is done does not stay.
    EXPECT_TRUE(world.run_until([&] { return journal.entries() == 0; }, 5s));
}

/// While stripes are destaged a flush puts the same content behind their entries. When the destages have
/// ended nobody needs it, but a replay meets it there, and nothing that covers it.
TEST(Journal, AReplayHasRoomForDataThatNothingCoversInAFullRing) {
    WorldOptions options = journalled(5, Level::raid5);
    options.checksums = false;
    options.sharing.write_cache = WriteCache::back;
    options.amf.dirty_age = 1ms;
    World world(options);
    world.start(1);
    world.start(2);
    const Journal& journal = world.amf(1).journal();
    const auto rest = [&] { EXPECT_FALSE(world.run_until([] { return false; }, 1s)); };
    // Their first strips and parities are not on the first member of the zone.
    const auto stripe = [](std::size_t i) { return i / 3 * 5 + i % 3 + 2; };
    const auto write = [&](std::size_t i) {
        return world.write(1, stripe(i) * 4 * kStrip, pattern(i, kBlockSize));
    };
    ASSERT_TRUE(write(0));
    rest();
    ASSERT_EQ(journal.entries(), 0u);
    // The whole stripe does not end, so that nothing behind its entry is retired.
    const MemberIndex member = world.amf(1).tables().zone(ExtentIndex(0))->segments[0].member;
    world.held.insert(world.node(1).disks[member.v].get());
    world.hold_data = true;
    ASSERT_TRUE(world.write(1, 0, pattern(100, 4 * kStrip)));
    constexpr std::size_t kStripes = 8;
    for (std::size_t i = 0; i < kStripes; ++i) ASSERT_TRUE(write(i));
    rest();
    world.hold_data = false;  // what they have to read
    ASSERT_TRUE(world.run_until([&] { return journal.entries() == 1 + kStripes; }));
    world.hold_data = true;
    std::optional<Status> flushed;
    world.node(1).scope->spawn(World::keep(world.amf(1).flush(), flushed));
    rest();
    ASSERT_EQ(journal.counters().data_entries, kStripes);
    world.hold_data = false;
    rest();
    ASSERT_FALSE(journal.has_data());
    for (std::size_t i = kStripes; i < 128; ++i) {
        ASSERT_TRUE(write(i));
        EXPECT_FALSE(world.run_until([] { return false; }, 5ms));  // a batch each
    }
    EXPECT_GT(journal.counters().full, 0u);

    std::vector<Pages> disks;
    for (const auto& media : world.media) disks.push_back(media->pages);
    World found(world, disks);
    found.start(2);
    for (std::size_t i = 0; i < kStripes; ++i) {
        const Buffer got = found.read(2, stripe(i) * 4 * kStrip, kBlockSize);
        EXPECT_EQ(std::memcmp(got.data(), pattern(i, kBlockSize).data(), kBlockSize), 0);
    }
}

/// What was answered is safe: a flush has nothing to do.
TEST(Journal, AFlushSendsNothing) {
    World world(journalled(5, Level::raid5));
    world.start(1);
    world.start(2);
    ASSERT_TRUE(world.write(1, 0, pattern(4, 4096)));
    world.node(2).cut.fill(true);
    EXPECT_TRUE(world.run(2, world.amf(2).flush()));
    EXPECT_FALSE(world.amf(2).tables().offline());
}

/// A member of the ring leaves, and another one takes its place, while a batch is on its way.
class RingMoves {
public:
    RingMoves() : world_(options()) {
        world_.start(1);
        world_.start(2);
        EXPECT_TRUE(world_.write(1, 0, pattern(1, 4 * kStrip)));
        EXPECT_TRUE(world_.run_until([&] { return world_.amf(1).journal().entries() == 0; }, 5s));
    }
    /// False: the write began when the ring had moved.
    bool go(std::size_t steps) {
        const MemberMask before = ring().members;
        std::uint8_t leaver = 0;
        while (!before[leaver]) ++leaver;
        std::optional<Status> leaves, written;
        world_.node(2).scope->spawn(
            World::keep(world_.amf(2).tables().take_out(MemberIndex(leaver)), leaves));
        for (std::size_t i = 0; i < steps; ++i) world_.step();
        const auto moved = [&] { return !ring().members[leaver] && ring().filling.none(); };
        if (moved()) return false;
        world_.node(1).scope->spawn(
            World::keep(world_.amf(1).write(8192, Slice(pattern(2, 8192)), false), written));
        EXPECT_TRUE(world_.run_until([&] { return written && moved(); }));
        EXPECT_TRUE(*written);
        if (world_.amf(1).journal().entries() != 0) EXPECT_TRUE(same_everywhere());
        return true;
    }

private:
    static WorldOptions options() {
        WorldOptions out = journalled(6, Level::raid5);
        out.width = 5;
        return out;
    }
    const JournalState& ring() { return world_.amf(1).tables().journal(AmfSlot(0)); }
    /// What is needed of the ring.
    std::set<std::uint64_t> batches(std::uint8_t member) {
        const JournalOwner owner{world_.group, world_.config.journal.key, AmfSlot(0), ring().life};
        const std::uint64_t start = world_.config.ring_start(AmfSlot(0)) / kPageSize;
        const std::uint64_t end = start + world_.config.journal.ring_size / kPageSize;
        std::set<std::uint64_t> out;
        for (const auto& [at, page] : world_.media[member]->pages) {
            if (at < start || at >= end) continue;
            const auto batch = open_journal_header(ConstPageBytes(page.span()), owner);
            if (batch && !batch->entries.empty()) out.insert(batch->number);
            if (batch) tail_ = std::max(tail_, batch->tail);
        }
        return out;
    }
    bool same_everywhere() {
        std::vector<std::set<std::uint64_t>> all;
        for (std::uint8_t i = 0; i < world_.media.size(); ++i) {
            if (ring().members[i]) all.push_back(batches(i));
        }
        for (auto& one : all) one.erase(one.begin(), one.lower_bound(tail_));
        return std::ranges::all_of(all, [&](const auto& one) { return one == all.front(); });
    }
    World world_;
    std::uint64_t tail_ = 0;
};

TEST(Journal, ARingThatMovesTakesWhatIsOnItsWayAlong) {
    for (std::size_t step = 0; RingMoves().go(step) && !HasFailure(); ++step) SCOPED_TRACE(step);
}

}  // namespace
}  // namespace braid::testing
