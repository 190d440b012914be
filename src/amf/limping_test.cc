#include "amf/limping.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

class Clocked final : public Disk {
public:
    std::uint64_t size() const override { return 0; }
    const std::string& name() const override { return name_; }
    void submit(DiskOp&, Join&) override {}
    void abandon(DiskOp&) override {}
    void reads(int count, Nanos took) { add(latencies().reads, count, took); }
    void writes(int count, Nanos took) { add(latencies().writes, count, took); }
    std::optional<Nanos> oldest() const override { return since; }
    std::optional<Nanos> since;

private:
    static void add(Latencies& to, int count, Nanos took) {
        for (int i = 0; i < count; ++i) to.add(took);
    }
    std::string name_;
};

struct Group {
    explicit Group(std::size_t members) : disks(members) {
        for (Clocked& disk : disks) serving.push_back(&disk);
    }
    /// Of so many windows: reads take so long, at all, and at one of them.
    void pass(unsigned windows, Nanos usual, Nanos at_0, int commands = 200) {
        for (unsigned i = 0; i < windows; ++i) {
            for (Clocked& disk : disks) disk.reads(commands, &disk == disks.data() ? at_0 : usual);
            limping.end_window(serving, now);
        }
    }
    bool limps(std::size_t member) const { return limping.members()[member]; }
    bool nobody() const { return limping.members().none(); }

    std::vector<Clocked> disks;
    std::vector<Disk*> serving;
    Nanos now = 1000s;
    Limping limping{LimpOptions{}};
};

TEST(Limping, IsToTakeMuchLongerThanTheOthersForSomeWindows) {
    Group g(5);
    g.pass(Limping::kSlow - 1, 5ms, 100ms);
    EXPECT_TRUE(g.nobody());
    g.pass(1, 5ms, 100ms);
    EXPECT_TRUE(g.limps(0));
    EXPECT_EQ(g.limping.members().count(), 1u);
    const MemberLatency seen = g.limping.report()[0];
    EXPECT_TRUE(seen.limps && seen.in_reads);
    EXPECT_GE(seen.p99(), 100ms);
    EXPECT_NEAR(static_cast<double>(seen.others / 1us), 5000, 700);
}

TEST(Limping, EndsWhenSomeWindowsWereFine) {
    Group g(5);
    g.pass(Limping::kSlow, 5ms, 100ms);
    g.pass(Limping::kWell - 1, 5ms, 5ms);
    g.pass(1, 5ms, 35ms);  // below 8 times, and above half of that
    g.pass(Limping::kWell - 1, 5ms, 5ms);
    EXPECT_TRUE(g.limps(0));
    g.pass(1, 5ms, 5ms);
    EXPECT_TRUE(g.nobody());
}

TEST(Limping, IsNotToBeSlowNowAndThen) {
    Group g(5);
    for (int i = 0; i < 20; ++i) {
        g.pass(Limping::kSlow - 1, 5ms, 100ms);
        g.pass(1, 5ms, 5ms);
    }
    EXPECT_TRUE(g.nobody());
}

TEST(Limping, IsNotToBeQuickerThanTheFloor) {
    Group g(5);
    g.pass(10, 100us, 17ms);
    EXPECT_TRUE(g.nobody());
    g.pass(10, 100us, 25ms);
    EXPECT_TRUE(g.limps(0));
}

TEST(Limping, NeedsEnoughCommandsHoweverLongThatTakes) {
    Group g(5);
    g.pass(14, 5ms, 100ms, 20);  // a window of commands in five of time
    EXPECT_TRUE(g.nobody());
    g.pass(1, 5ms, 100ms, 20);
    EXPECT_TRUE(g.limps(0));
}

TEST(Limping, IsNotOneSlowCommandOfMany) {
    Group g(5);
    for (int i = 0; i < 20; ++i) {
        g.disks[0].reads(1, 1s);
        g.pass(1, 5ms, 5ms, 100);
    }
    EXPECT_TRUE(g.nobody());
}

TEST(Limping, IsNobodyWhereMostAreSlow) {
    Group g(5);
    for (int i = 0; i < 10; ++i) {
        for (std::size_t member = 0; member < 5; ++member) g.disks[member].reads(200, member < 3 ? 1s : 5ms);
        g.limping.end_window(g.serving, g.now);
    }
    EXPECT_TRUE(g.nobody());
    Group all(5);
    all.pass(10, 1s, 1s);
    EXPECT_TRUE(all.nobody());
}

TEST(Limping, IsSeenInWritesAlone) {
    Group g(3);
    for (unsigned i = 0; i < Limping::kSlow; ++i) {
        for (Clocked& disk : g.disks) disk.writes(200, &disk == &g.disks[2] ? 400ms : 10ms);
        g.pass(1, 5ms, 5ms);
    }
    EXPECT_TRUE(g.limps(2));
    const MemberLatency seen = g.limping.report()[2];
    EXPECT_FALSE(seen.in_reads);
    EXPECT_GE(seen.p99(), 400ms);
    // Reads that are fine do not end it.
    g.pass(2 * Limping::kWell, 5ms, 5ms);
    EXPECT_TRUE(g.limps(2));
}

TEST(Limping, IsToHaveACommandThatHangs) {
    Group g(3);
    g.disks[1].since = g.now - 4900ms;
    g.pass(1, 5ms, 5ms);
    EXPECT_TRUE(g.nobody());
    g.disks[1].since = g.now - 5s;
    g.pass(1, 5ms, 5ms, 0);
    EXPECT_TRUE(g.limps(1));
    EXPECT_EQ(g.limping.members().count(), 1u);
    EXPECT_TRUE(g.limping.report()[1].limps);
    EXPECT_EQ(g.limping.report()[1].waits, 5s);
    g.disks[1].since.reset();
    g.pass(1, 5ms, 5ms);
    EXPECT_TRUE(g.nobody());
    EXPECT_FALSE(g.limping.report()[1].limps);
}

TEST(Limping, IsForgottenWithTheDisk) {
    Group g(2);
    g.pass(Limping::kSlow, 5ms, 100ms);
    EXPECT_TRUE(g.limps(0));  // a mirror's other half tells
    g.serving[0] = nullptr;
    g.limping.end_window(g.serving, g.now);
    EXPECT_TRUE(g.nobody());
    g.serving[0] = g.disks.data();
    g.pass(1, 5ms, 100ms);
    EXPECT_TRUE(g.nobody());
}

TEST(Limping, OneAloneDoesNot) {
    Group g(3);
    g.serving[1] = g.serving[2] = nullptr;
    g.pass(10, 5ms, 1s);
    EXPECT_TRUE(g.nobody());
}

TEST(Limping, AsSeveralSeeIt) {
    MemberLatency a{.reads = 1ms, .writes = 9ms};
    a |= {.reads = 50ms, .writes = 3ms, .limps = true, .in_reads = true, .others = 2ms};
    EXPECT_TRUE(a.limps && a.in_reads);
    EXPECT_EQ(a.p99(), 50ms);
    EXPECT_EQ(a.others, 2ms);
    EXPECT_EQ(a.writes, 9ms);
    a |= {.reads = 60ms};
    EXPECT_TRUE(a.limps);
    EXPECT_EQ(a.reads, 60ms);
}

}  // namespace
}  // namespace braid
