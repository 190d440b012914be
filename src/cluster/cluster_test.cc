#include <gtest/gtest.h>

#include "cluster/local_membership.h"
#include "cluster/transitions.h"
#include "icl/icl.h"
#include "icl/testing.h"

namespace braid {
namespace {

using testing::CountingRandom;
using testing::Machine;
using testing::ManualClock;
using testing::MemoryNetwork;
using testing::MemoryStore;

const Uuid kGroup{{7}};

struct World {
    Executor executor;
    ManualClock clock{executor};
    MemoryNetwork network{executor};
    Machine machine{executor};
    CountingRandom random;
};

/// What a controller is to these parts: links and membership wired together, the views they gave.
struct Node final : IclEvents, MembershipEvents {
    Node(World& world, std::string label)
        : name(std::move(label)),
          process(world.machine.spawn()),
          store(world.machine, process),
          icl(world.executor, world.clock, world.network, *this),
          membership(world.executor, world.clock, store, world.random, icl, *this),
          scope(world.executor) {
        address = *icl.listen("at-" + name + std::to_string(process.pid));
    }
    void on_suspect(ControllerId peer, SuspectReason reason) override { membership.suspect(peer, reason); }
    void on_restored(ControllerId peer) override {
        ++restored;
        membership.restored(peer);
    }
    void on_newer_epoch(Epoch) override { membership.refresh(); }
    void on_heard(ControllerId peer) override { membership.heard(peer); }
    bool condemned(ControllerId peer) const override { return membership.condemned(peer); }
    void on_joined(const Joined& us) override {
        EXPECT_TRUE(epochs.empty());
        icl.start(us.cluster, us.self, us.incarnation);
    }
    void on_view(const View& view) override {
        EXPECT_TRUE(epochs.empty() || epochs.back() < view.epoch.v);
        EXPECT_FALSE(fenced);
        epochs.push_back(view.epoch.v);
        icl.adopt(view);
    }
    void on_fenced() override { fenced = true; }

    Task<void> join() { joined = co_await membership.join({name, address, {}}); }
    Task<void> leave() { left = co_await membership.leave(); }
    Task<void> attach(Uuid group) { attached = co_await membership.attach(group, 1); }
    Task<void> detach(Uuid group) { detached = co_await membership.detach(group); }

    std::string name, address;
    ProcessRef process;
    MemoryStore store;
    Result<Joined> joined = fail(Errc::not_ready);
    Status left = fail(Errc::not_ready), attached = fail(Errc::not_ready), detached = fail(Errc::not_ready);
    std::vector<std::uint64_t> epochs;
    int restored = 0;
    bool fenced = false;
    Icl icl;
    LocalMembership membership;
    Scope scope;
};

struct ClusterTest : ::testing::Test {
    ClusterTest() {
        // A process that ends takes everything of it along.
        world.machine.on_end = [this](ProcessRef process) {
            for (auto& node : nodes) {
                if (node && node->process == process) node.reset();
            }
        };
    }
    ~ClusterTest() override { world.machine.on_end = nullptr; }

    Node& start(const std::string& name) {
        nodes.push_back(std::make_unique<Node>(world, name));
        nodes.back()->scope.spawn(nodes.back()->join());
        run(150ms);
        return *nodes.back();
    }
    void start_three() {
        for (const char* name : {"a", "b", "c"}) start(name);
        run(20ms);
        ASSERT_EQ(epochs(), (std::vector<std::uint64_t>{3, 3, 3}));
        ASSERT_TRUE(nodes[0]->icl.session_up(ControllerId(3)) && nodes[1]->icl.session_up(ControllerId(3)));
    }
    /// kill -9
    void end(std::size_t n) { world.machine.end(nodes[n]->process); }
    void run(Nanos time) { world.clock.advance(time); }
    std::vector<std::uint64_t> epochs() const {
        std::vector<std::uint64_t> out;
        for (const auto& node : nodes) {
            if (node) out.push_back(node->membership.view().epoch.v);
        }
        return out;
    }
    const View& view(std::size_t n) const { return nodes[n]->membership.view(); }

    World world;
    std::vector<std::unique_ptr<Node>> nodes;
};

using Epochs = std::vector<std::uint64_t>;

TEST_F(ClusterTest, JoinIsOneEpochEachAndEverybodySeesIt) {
    start_three();
    EXPECT_EQ(view(0).members, view(2).members);
    EXPECT_EQ(nodes[2]->joined->self, ControllerId(3));
    EXPECT_EQ(nodes[2]->joined->incarnation, Incarnation(3));
    EXPECT_EQ(nodes[0]->joined->cluster, nodes[2]->joined->cluster);
    EXPECT_EQ(world.machine.writes, 3u);
}

TEST_F(ClusterTest, JoinReachesTheOthersWithoutWaitingForThePoll) {
    start("a");
    nodes.push_back(std::make_unique<Node>(world, "b"));
    nodes.back()->scope.spawn(nodes.back()->join());
    run(1ms);
    EXPECT_EQ(epochs(), (Epochs{2, 2}));
    EXPECT_TRUE(nodes[0]->icl.session_up(ControllerId(2)));
}

TEST_F(ClusterTest, DeathIsOneEpochAlthoughAllSurvivorsRace) {
    start_three();
    start("d");
    const std::size_t writes = world.machine.writes;
    end(1);
    run(5ms);
    EXPECT_EQ(epochs(), (Epochs{5, 5, 5}));
    run(3s);
    EXPECT_EQ(epochs(), (Epochs{5, 5, 5}));
    EXPECT_EQ(world.machine.writes, writes + 1);
    EXPECT_EQ(view(0).find(ControllerId(2)), nullptr);
    EXPECT_TRUE(view(0).known[1].fenced);
    EXPECT_EQ(view(0).known[1].left_epoch, 5u);
    EXPECT_TRUE(world.machine.kills.empty());
}

TEST_F(ClusterTest, DeathsAtOnceAreAllRemoved) {
    start_three();
    start("d");
    end(0);
    end(2);
    run(20ms);
    ASSERT_EQ(view(1).members.size(), 2u);
    EXPECT_EQ(view(1).members, view(3).members);
    EXPECT_EQ(view(1).epoch, view(3).epoch);
}

TEST_F(ClusterTest, RestartedControllerKeepsItsNumberWithANewIncarnation) {
    start_three();
    end(2);
    run(20ms);
    start("c");
    EXPECT_EQ(nodes[3]->joined->self, ControllerId(3));
    EXPECT_EQ(nodes[3]->joined->incarnation, Incarnation(5));
    EXPECT_TRUE(nodes[0]->icl.session_up(ControllerId(3)));
}

TEST_F(ClusterTest, JoinRemovesTheDeadOfAClusterThatEndedAsAWhole) {
    start_three();
    for (std::size_t n : {0u, 1u, 2u}) end(n);
    start("b");
    ASSERT_TRUE(nodes[3]->joined.has_value());
    EXPECT_EQ(nodes[3]->joined->self, ControllerId(2));
    EXPECT_EQ(view(3).members.size(), 1u);
    EXPECT_EQ(view(3).epoch, Epoch(4));
}

TEST_F(ClusterTest, SecondControllerOfALivingNameIsRefused) {
    start_three();
    start("b");
    EXPECT_EQ(nodes[3]->joined.error(), Error(Errc::exists, 2));
    run(3s);
    EXPECT_EQ(epochs(), (Epochs{3, 3, 3, 0}));
    EXPECT_TRUE(world.machine.kills.empty());
}

TEST_F(ClusterTest, UnreadableRecordIsRefusedAndNotOverwritten) {
    world.machine.record = Bytes(100, std::byte{1});
    start("a");
    EXPECT_EQ(nodes[0]->joined.error().code, Errc::corrupt);
    EXPECT_EQ(world.machine.record, Bytes(100, std::byte{1}));
    EXPECT_EQ(world.machine.lock_holder, 0u);
}

TEST_F(ClusterTest, StoppedPeerIsKilledAndRemoved) {
    start_three();
    // It does not run, but its process is there.
    const ProcessRef stopped = nodes[1]->process;
    nodes[1].reset();
    run(900ms);
    EXPECT_TRUE(world.machine.kills.empty());
    run(500ms);
    EXPECT_EQ(world.machine.kills, std::vector<std::uint64_t>{stopped.pid});
    EXPECT_EQ(view(0).find(ControllerId(2)), nullptr);
    EXPECT_EQ(view(0).epoch, view(2).epoch);
}

TEST_F(ClusterTest, StoppedHolderOfTheLockIsKilledToo) {
    start_three();
    const ProcessRef stopped = nodes[1]->process;
    nodes[1].reset();
    world.machine.lock_holder = stopped.pid;
    run(3500ms);
    EXPECT_EQ(world.machine.kills, std::vector<std::uint64_t>{stopped.pid});
    EXPECT_EQ(view(0).find(ControllerId(2)), nullptr);
    EXPECT_EQ(view(0).epoch, view(2).epoch);
    EXPECT_EQ(world.machine.lock_holder, 0u);
}

TEST_F(ClusterTest, AStrangerThatKeepsTheLockIsKilledButNotOneThatTakesItAgainAndAgain) {
    start_three();
    const ProcessRef stranger = world.machine.spawn();
    world.machine.lock_holder = stranger.pid;
    nodes[0]->scope.spawn(nodes[0]->attach(kGroup));
    for (int i = 0; i < 10; ++i) {  // busy, not stuck
        run(900ms);
        ++world.machine.lock_turns;
    }
    EXPECT_TRUE(world.machine.kills.empty());
    EXPECT_FALSE(nodes[0]->attached.has_value());
    run(18s);
    EXPECT_EQ(world.machine.kills, std::vector<std::uint64_t>{stranger.pid});
    EXPECT_TRUE(nodes[0]->attached.has_value());
    EXPECT_EQ(epochs(), (Epochs{4, 4, 4}));
}

TEST_F(ClusterTest, NextEpochWaitsUntilTheFencedOneHasDrained) {
    start_three();
    world.machine.stubborn = true;
    nodes[0]->membership.suspect(ControllerId(3), SuspectReason::operator_request);
    run(1s);
    EXPECT_EQ(epochs(), (Epochs{3, 3, 3}));
    world.machine.stubborn = false;
    run(200ms);
    EXPECT_EQ(epochs(), (Epochs{4, 4}));
    EXPECT_FALSE(nodes[2]);
}

// Somebody else has the store's lock while b, silent for too long, comes back.
TEST_F(ClusterTest, PeerThatIsHeardAgainBeforeItsFenceBeginsIsNotFenced) {
    start_three();
    world.machine.lock_holder = world.machine.spawn().pid;
    nodes[0]->membership.suspect(ControllerId(2), SuspectReason::silent);
    EXPECT_TRUE(nodes[0]->membership.condemned(ControllerId(2)));
    run(300ms);
    EXPECT_TRUE(world.machine.kills.empty());
    nodes[0]->membership.heard(ControllerId(2));
    EXPECT_FALSE(nodes[0]->membership.condemned(ControllerId(2)));
    world.machine.unlock();
    run(3s);
    EXPECT_TRUE(world.machine.kills.empty());
    EXPECT_EQ(epochs(), (Epochs{3, 3, 3}));
}

TEST_F(ClusterTest, FenceThatHasBegunOrWasOrderedIsNotTakenBack) {
    start_three();
    start("d");
    world.machine.stubborn = true;
    nodes[0]->membership.suspect(ControllerId(2), SuspectReason::silent);
    run(10ms);
    nodes[0]->membership.heard(ControllerId(2));
    EXPECT_TRUE(nodes[0]->membership.condemned(ControllerId(2)));
    nodes[0]->membership.suspect(ControllerId(3), SuspectReason::silent);
    nodes[0]->membership.suspect(ControllerId(3), SuspectReason::operator_request);
    nodes[0]->membership.heard(ControllerId(3));
    EXPECT_TRUE(nodes[0]->membership.condemned(ControllerId(3)));
    world.machine.stubborn = false;
    run(200ms);
    EXPECT_EQ(epochs(), (Epochs{5, 5}));
    EXPECT_FALSE(nodes[1] || nodes[2]);
}

// Links and membership together: what is silent is a connection, the process lives and dials again.
TEST_F(ClusterTest, PeerThatCannotBeReachedForAWhileLives) {
    start_three();
    const std::uint64_t stranger = world.machine.spawn().pid;
    world.machine.lock_holder = stranger;
    for (auto& node : nodes) world.network.refused.insert(node->address);
    world.network.cut_all();
    run(1300ms);
    EXPECT_TRUE(nodes[0]->membership.condemned(ControllerId(2)));
    EXPECT_FALSE(nodes[0]->icl.live());
    world.network.refused.clear();
    run(150ms);
    for (auto& node : nodes) {
        for (std::uint16_t id = 1; id <= 3; ++id) EXPECT_FALSE(node->membership.condemned(ControllerId(id)));
    }
    world.machine.unlock();
    run(3s);
    EXPECT_TRUE(world.machine.kills.empty());
    EXPECT_TRUE(nodes[0]->icl.live() && nodes[1]->icl.live() && nodes[2]->icl.live());
}

TEST_F(ClusterTest, TwoWhoSuspectEachOtherAreNotBothKilled) {
    start_three();
    nodes[0]->membership.suspect(ControllerId(2), SuspectReason::silent);
    nodes[1]->membership.suspect(ControllerId(1), SuspectReason::silent);
    run(500ms);
    EXPECT_EQ(world.machine.kills.size(), 1u);
    EXPECT_EQ(epochs(), (Epochs{4, 4}));
}

TEST_F(ClusterTest, LinkThatBreaksAndReturnsIsANewEpochWithTheSameMembers) {
    start_three();
    const auto members = view(0).members;
    world.network.cut_all();
    run(200ms);
    EXPECT_GE(nodes[0]->restored, 1);
    EXPECT_GE(view(0).epoch.v, 4u);
    EXPECT_LE(view(0).epoch.v, 6u);
    EXPECT_EQ(epochs(), Epochs(3, view(0).epoch.v));
    EXPECT_EQ(view(0).members, members);
    const std::uint64_t quiet = view(0).epoch.v;
    run(5s);
    EXPECT_EQ(epochs(), Epochs(3, quiet));
    EXPECT_TRUE(world.machine.kills.empty());
}

TEST_F(ClusterTest, LargerEndRenewsTheEpochIfTheSmallerDoesNot) {
    start_three();
    nodes[2]->membership.restored(ControllerId(1));
    run(40ms);
    EXPECT_EQ(epochs(), (Epochs{3, 3, 3}));
    run(20ms);
    EXPECT_EQ(epochs(), (Epochs{4, 4, 4}));
}

TEST_F(ClusterTest, AttachAndDetachAreEpochsSeenByAllBeforeTheyReturn) {
    start_three();
    nodes[1]->scope.spawn(nodes[1]->attach(kGroup));
    run(5ms);
    EXPECT_TRUE(nodes[1]->attached.has_value());
    EXPECT_EQ(epochs(), (Epochs{4, 4, 4}));
    EXPECT_EQ(amf_view(view(2), kGroup, AmfId(3)).members,
              (std::vector<AmfMember>{{AmfId(2), Incarnation(4)}}));
    nodes[1]->scope.spawn(nodes[1]->detach(kGroup));
    run(5ms);
    EXPECT_TRUE(nodes[1]->detached.has_value());
    EXPECT_EQ(epochs(), (Epochs{5, 5, 5}));
    EXPECT_FALSE(view(0).find(ControllerId(2))->attached(kGroup));
}

TEST_F(ClusterTest, AllAttachAtOnceAndNoneIsLost) {
    start_three();
    for (auto& node : nodes) node->scope.spawn(node->attach(kGroup));
    run(20ms);
    for (auto& node : nodes) EXPECT_TRUE(node->attached.has_value());
    EXPECT_EQ(amf_view(view(0), kGroup, AmfId(1)).members.size(), 3u);
    EXPECT_EQ(view(0).epoch, view(2).epoch);
}

TEST_F(ClusterTest, LeaveIsOrderlyAndSeenAtOnce) {
    start_three();
    nodes[1]->scope.spawn(nodes[1]->leave());
    run(5ms);
    EXPECT_TRUE(nodes[1]->left.has_value());
    EXPECT_EQ(view(0).epoch, Epoch(4));
    EXPECT_EQ(view(2).epoch, Epoch(4));
    EXPECT_FALSE(view(0).known[1].fenced);
    const std::size_t told = nodes[1]->epochs.size();
    run(3s);
    EXPECT_FALSE(nodes[1]->fenced);
    EXPECT_EQ(nodes[1]->epochs.size(), told);
    EXPECT_EQ(view(0).epoch, Epoch(4));
    EXPECT_TRUE(world.machine.kills.empty());
}

TEST_F(ClusterTest, ControllerThatIsNotInTheViewAnyMoreLearnsIt) {
    start_three();
    ClusterRecord record = successor(*decode_record(world.machine.record));
    ASSERT_TRUE(remove_member(record, ControllerId(2), Incarnation(2), true));
    world.machine.record = encode_record(record);
    run(250ms);
    EXPECT_TRUE(nodes[1]->fenced);
    EXPECT_FALSE(nodes[0]->fenced);
    nodes[1]->scope.spawn(nodes[1]->attach(kGroup));
    run(5ms);
    EXPECT_EQ(nodes[1]->attached.error().code, Errc::fenced);
}

TEST_F(ClusterTest, RecordThatWasReplacedStopsEverybody) {
    start_three();
    world.machine.record.clear();
    run(250ms);
    for (auto& node : nodes) EXPECT_TRUE(node->fenced);
}

TEST_F(ClusterTest, RecordThatWasPutBackIsNotBuiltUpon) {
    start_three();
    const Bytes old = world.machine.record;
    nodes[0]->scope.spawn(nodes[0]->attach(kGroup));
    run(5ms);
    world.machine.record = old;
    nodes[1]->scope.spawn(nodes[1]->attach(kGroup));
    run(5ms);
    EXPECT_TRUE(nodes[1]->fenced);
    EXPECT_EQ(world.machine.record, old);
}

}  // namespace
}  // namespace braid
