#include "sim/checkers/early_answers.h"

#include <gtest/gtest.h>

namespace braid::sim {
namespace {

constexpr Answerer kA = answerer(7, 0), kOtherAmf = answerer(7, 1), kB = answerer(8, 0);

/// One after the other: the write of `value` to sector `value`, from instant 10 * value to the next 5.
struct Story {
    OneDisk disk;
    EarlyAnswers early;

    void write(Answerer who, std::uint64_t value, bool fua = false) {
        const auto at = static_cast<Instant>(10 * value);
        disk.write_begins(value, value, at);
        early.begins(who, value, value, at);
        disk.write_done(value, value, at + 5, fua);
        early.done(who, value, at + 5, fua, disk);
    }
    void dies(std::uint64_t pid, Instant now = 50) { early.process_died(pid, now, disk); }
    void read(std::uint64_t sector, std::uint64_t value, Instant at) { disk.read(sector, value, at, at + 1); }
    EarlyAnswers::Lost lost;
    bool good() {
        lost = early.settle(disk);
        return disk.judge().empty();
    }
};

Story three() {
    Story story;
    for (std::uint64_t value = 1; value <= 3; ++value) story.write(kA, value);
    return story;
}

TEST(EarlyAnswers, MayBeLostFromTheEnd) {
    for (std::uint64_t left = 0; left <= 3; ++left) {
        Story story = three();
        story.dies(7);
        for (std::uint64_t i = 1; i <= 3; ++i) story.read(i, i <= left ? i : 0, 100);
        EXPECT_TRUE(story.good()) << left;
        EXPECT_EQ(story.lost.writes, 3 - left);
        EXPECT_EQ(story.lost.sectors, 3 - left);
    }
}

TEST(EarlyAnswers, AreNotLostWithoutADeath) {
    Story story = three();
    story.dies(8);
    story.read(3, 0, 100);
    EXPECT_FALSE(story.good());
}

TEST(EarlyAnswers, ThatAreHeardOutsideAfterADeathMayBeLost) {
    for (const Instant death : {Instant{19}, Instant{23}}) {
        Story story;
        story.write(0, 1);
        story.dies(7, death);
        story.write(0, 2);  // from instant 20 on
        story.read(2, 0, 100);
        EXPECT_EQ(story.good(), death == 23);
    }
}

TEST(EarlyAnswers, LeaveNoHole) {
    Story story = three();
    story.dies(7);
    story.read(1, 0, 100);
    story.read(2, 2, 100);
    EXPECT_FALSE(story.good());
}

TEST(EarlyAnswers, ThatWereSeenAreThere) {
    Story story = three();
    story.read(2, 2, 50);
    story.dies(7);
    story.read(2, 0, 100);
    EXPECT_FALSE(story.good());
}

TEST(EarlyAnswers, DoNotComeAndGo) {
    Story story = three();
    story.dies(7);
    story.read(3, 0, 100);
    story.read(3, 3, 110);
    EXPECT_FALSE(story.good());
}

TEST(EarlyAnswers, ThatWereFlushedAreThere) {
    Story story = three();
    story.early.flushed(30);  // 1 and 2 had their answers
    story.dies(7);
    story.read(3, 0, 100);
    EXPECT_TRUE(story.good());
    story.read(2, 0, 100);
    EXPECT_FALSE(story.good());
}

TEST(EarlyAnswers, BeforeAFuaAreThere) {
    Story story;
    story.write(kA, 1);
    story.write(kA, 2, true);
    story.dies(7);
    story.read(1, 0, 100);
    EXPECT_FALSE(story.good());
}

/// Each AMF has a window of its own.
TEST(EarlyAnswers, AreCountedForEachAmf) {
    Story story;
    for (std::uint64_t value = 1; value <= 5; ++value) story.write(value <= 2 ? kA : kB, value);
    story.dies(7, 55);
    story.dies(8, 55);
    for (std::uint64_t i = 1; i <= 5; ++i) story.read(i, 0, 100);
    EXPECT_TRUE(story.good());
    EXPECT_EQ(story.lost.writes, 5u);
    EXPECT_EQ(story.lost.sectors, 3u);
}

TEST(EarlyAnswers, HaveAnOrderForEachAmf) {
    Story story;
    story.write(kA, 1);
    story.write(kOtherAmf, 2);
    story.write(kB, 3);
    story.dies(7);
    story.read(1, 0, 100);
    story.read(2, 2, 100);
    story.read(3, 3, 100);
    EXPECT_TRUE(story.good());
}

}  // namespace
}  // namespace braid::sim
