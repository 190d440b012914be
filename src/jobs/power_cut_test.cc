// Every power cut there is in one step of a rebuild, and of what brings a returned disk up to date, and in
// the last one of an expansion, alone and beside a host's write: as src/amf/power_cut_test.cc.
#include "amf/power_cut_story.h"
#include "jobs/mover.h"
#include "jobs/resync.h"

namespace braid::testing {
namespace {

constexpr ExtentIndex kExtent(0);

/// A Mover, of whose share the extent is, that moves the first row and waits very long for its turn with the
/// next one.
class OneRow {
public:
    explicit OneRow(World& world)
        : world_(world), id_(world.alive(1) ? 1 : 2), mover_(world.amf(id_), world.clock, pace_, kOptions) {
        pace_.host_began(world.clock.now());
        world.node(id_).scope->spawn(mover_.run());
    }
    ~OneRow() { world_.node(id_).scope->destroy_all(); }
    bool moved() const {
        const Zone* zone = world_.amf(id_).tables().zone(kExtent);
        return zone->move && zone->move->rows_done != 0;
    }

private:
    static constexpr MoverOptions kOptions{.delay = Nanos{0}, .run = 1, .poll = 50ms, .retry = 50ms};
    World& world_;
    const std::uint16_t id_;
    Pace pace_{{10ms, 1}};
    Mover mover_;
};

class RebuildStep : public BesideWrites {
public:
    explicit RebuildStep(World& world) : world_(world) {}
    void go() override { row_.emplace(world_); }
    bool ended() const override { return row_->moved(); }
    void again(World& found) const override {
        Resync resync(found.amf(2));
        EXPECT_TRUE(found.run(2, resync.own()));
        EXPECT_TRUE(found.run(2, resync.of(AmfSlot(0), [] { return true; })));
        OneRow row(found);
        EXPECT_TRUE(found.run_until([&] { return row.moved(); }, 5s));
    }

protected:
    MemberIndex first() const { return world_.amf(1).tables().zone(kExtent)->segments[0].member; }
    World& world_;

private:
    std::optional<OneRow> row_;
};

class OfAFailedMember final : public RebuildStep {
public:
    explicit OfAFailedMember(World& world) : RebuildStep(world) {
        world.media[first().v]->dead = true;
        EXPECT_TRUE(world.run(1, world.amf(1).tables().fail_member(first())));
    }
};

class OfOneThatLeaves final : public RebuildStep {
public:
    explicit OfOneThatLeaves(World& world) : RebuildStep(world) {
        EXPECT_TRUE(world.run(1, world.amf(1).tables().take_out(first())));
    }
};

class OfOneTakenBack final : public RebuildStep {
public:
    explicit OfOneTakenBack(World& world) : RebuildStep(world) {
        const MemberIndex away = first();
        world.media[away.v]->dead = true;
        EXPECT_TRUE(world.run(1, world.amf(1).tables().fail_member(away)));
        world.media[away.v]->dead = false;
        MemoryDisk disk(world, *world.media[away.v], "back");
        const auto superblock = world.run(1, read_superblock(world.executor, disk));
        EXPECT_TRUE(world.run(1, world.amf(1).tables().take_back(disk, *superblock, world.random.uuid())));
        world.config = world.amf(1).tables().config();
    }
    unsigned lacking() const override { return 1; }
};

/// The last row of an extent that gets another shape, and all that follows.
class LastRow final : public BesideWrites {
public:
    LastRow(World& world, StripeShape to) : world_(world) {
        const std::uint32_t rows = world.config.geometry_of(to).rows_per_extent();
        const auto turn = [this, rows](std::uint64_t) { return wait(*this, rows); };
        world.node(2).scope->spawn(World::keep(world.amf(2).reshape(kExtent, to, 1, turn), done_));
        EXPECT_TRUE(world.run_until([&] { return turns_ == rows; }));
    }
    ~LastRow() override { world_.node(2).scope->destroy_all(); }
    void go() override { goes_ = true; }
    bool ended() const override { return done_.has_value() && done_->has_value(); }
    void again(World& found) const override {
        const Zone* zone = found.amf(2).tables().zone(kExtent);
        EXPECT_FALSE(zone->successor || zone->emptying());
    }

private:
    static Task<Status> wait(LastRow& row, std::uint32_t rows) {
        ++row.turns_;
        while (row.turns_ == rows && !row.goes_) co_await sleep_for(row.world_.clock, 1ms);
        co_return Status{};
    }

    World& world_;
    std::uint32_t turns_ = 0;
    bool goes_ = false;
    std::optional<Status> done_;
};

class PowerCutsInJobs : public ::testing::TestWithParam<Story> {};

TEST_P(PowerCutsInJobs, LeaveOldOrNewAndWhatIsSafe) { cut_everywhere(GetParam()); }

template <class Job, class... Arguments>
auto beside(Arguments... arguments) {
    return [=](World& world) -> std::unique_ptr<BesideWrites> {
        return std::make_unique<Job>(world, arguments...);
    };
}

WorldOptions narrow(Level level, std::size_t disks, unsigned width, bool checksums = false) {
    WorldOptions out = options_of(level, disks, PowerLoss::journal, checksums);
    out.width = width;
    out.extents = 4;
    return out;
}
const WorldOptions kRaid5 = narrow(Level::raid5, 5, 3), kRaid6 = narrow(Level::raid6, 6, 4);
const WorldOptions kMirror = narrow(Level::mirror, 4, 2);
constexpr StripeShape kWider{Level::raid5, 3, 1}, kDouble{Level::raid6, 2, 2}, kThree{Level::mirror, 1, 2};
const std::vector<HostWrite> kWrite = {{4096, 4096}};

std::vector<Story> stories() {
    std::vector<Story> all = {
        Story{.name = "rebuild", .options = kRaid5, .nested = true, .beside = beside<OfAFailedMember>()},
        Story{.name = "rebuild_of_raid6", .options = kRaid6, .beside = beside<OfAFailedMember>()},
        Story{.name = "rebuild_beside_a_write",
              .options = kRaid5,
              .writes = kWrite,
              .beside = beside<OfAFailedMember>()},
        Story{.name = "rebuild_of_raid6_beside_a_write",
              .options = kRaid6,
              .writes = kWrite,
              .takes = Takes::minutes,
              .beside = beside<OfAFailedMember>()},
        Story{.name = "rebuild_with_checksums",
              .options = narrow(Level::raid5, 5, 3, true),
              .writes = kWrite,
              .takes = Takes::minutes,
              .beside = beside<OfAFailedMember>()},
        Story{
            .name = "return", .options = kRaid6, .takes = Takes::minutes, .beside = beside<OfOneTakenBack>()},
        Story{.name = "return_beside_a_write",
              .options = kRaid5,
              .writes = kWrite,
              .beside = beside<OfOneTakenBack>()},
        Story{.name = "leave_beside_a_write",
              .options = kMirror,
              .writes = kWrite,
              .beside = beside<OfOneThatLeaves>()},
        Story{.name = "third_copy", .options = kMirror, .beside = beside<LastRow>(kThree)},
        Story{.name = "wider", .options = kRaid5, .beside = beside<LastRow>(kWider)},
        Story{.name = "wider_beside_a_write",
              .options = kRaid5,
              .writes = kWrite,
              .takes = Takes::minutes,
              .beside = beside<LastRow>(kWider)},
        Story{.name = "second_parity_beside_a_write",
              .options = kRaid5,
              .writes = kWrite,
              .takes = Takes::minutes,
              .beside = beside<LastRow>(kDouble)},
    };
    std::erase_if(all, [](const Story& story) { return !has_time_for(story, false); });
    return all;
}

INSTANTIATE_TEST_SUITE_P(Of, PowerCutsInJobs, ::testing::ValuesIn(stories()),
                         [](const auto& story) { return story.param.name; });

}  // namespace
}  // namespace braid::testing
