#include <gtest/gtest.h>

#include "sim/checkers/one_disk.h"

namespace braid::sim {
namespace {

void write(OneDisk& disk, std::uint64_t value, Instant from, Instant to) {
    disk.write_begins(1, value, from);
    if (to != kNever) disk.write_done(1, value, to);
}

TEST(OneDisk, AcceptsAnHonestHistory) {
    OneDisk disk;
    disk.read(1, 0, 0, 5);
    write(disk, 10, 10, 20);
    disk.read(1, 10, 21, 22);
    write(disk, 11, 30, 50);
    disk.read(1, 10, 31, 35);  // overlaps the write: may still be old
    disk.read(1, 11, 36, 40);
    disk.read(1, 11, 60, 61);
    EXPECT_EQ(disk.judge(), "");
}

TEST(OneDisk, SeesAStaleRead) {
    OneDisk disk;
    write(disk, 10, 10, 20);
    write(disk, 11, 30, 40);
    disk.read(1, 10, 50, 60);
    EXPECT_NE(disk.judge(), "");
}

TEST(OneDisk, TellsSectorsApartThatWereWrittenTogether) {
    const auto story = [](std::uint64_t stale, std::uint64_t value) {
        OneDisk disk;
        disk.write_begins({100, 500}, 10, 10);
        disk.write_done({100, 500}, 10, 20);
        disk.write_begins({300, 2}, 11, 30);
        disk.write_done({300, 2}, 11, 40);
        disk.read(stale, value, 50, 60);
        return disk.judge();
    };
    for (const std::uint64_t old : {100u, 255u, 256u, 299u, 302u, 511u, 512u, 599u}) {
        EXPECT_EQ(story(old, 10), "") << old;
        EXPECT_NE(story(old, 0), "") << old;
        EXPECT_NE(story(old, 11), "") << old;
    }
    for (const std::uint64_t fresh : {300u, 301u}) {
        EXPECT_EQ(story(fresh, 11), "") << fresh;
        EXPECT_NE(story(fresh, 10), "") << fresh;
    }
    for (const std::uint64_t beside : {99u, 600u}) EXPECT_EQ(story(beside, 0), "") << beside;
}

TEST(OneDisk, SeesALostWrite) {
    OneDisk disk;
    write(disk, 10, 10, 20);
    disk.read(1, 0, 30, 40);
    EXPECT_NE(disk.judge(), "");
}

TEST(OneDisk, SeesAValueThatComesAndGoes) {
    OneDisk disk;
    write(disk, 10, 10, 20);
    write(disk, 11, 30, kNever);
    disk.read(1, 11, 40, 45);
    disk.read(1, 10, 50, 55);
    EXPECT_NE(disk.judge(), "");
}

TEST(OneDisk, SeesAValueThatComesTwice) {
    OneDisk disk;
    write(disk, 10, 10, kNever);
    write(disk, 11, 12, kNever);
    disk.read(1, 10, 20, 21);
    disk.read(1, 11, 22, 23);
    disk.read(1, 10, 24, 25);
    EXPECT_NE(disk.judge(), "");
}

TEST(OneDisk, LetsAWriteThatMayRepeatComeTwiceUntilItsAnswer) {
    const auto history = [](bool repeats, Instant again) {
        OneDisk disk;
        disk.write_begins(1, 10, 10);
        disk.read(1, 10, 20, 21);
        write(disk, 11, 30, 40);
        disk.read(1, 11, 41, 42);
        disk.read(1, 10, 50, 51);  // again
        disk.write_done(1, 10, 60);
        if (repeats) disk.may_repeat(1, 10);
        if (again != 0) {
            write(disk, 12, 70, 80);
            disk.read(1, 12, 81, 82);
            disk.read(1, 10, again, again + 1);
        }
        return disk.judge();
    };
    EXPECT_NE(history(false, 0), "");
    EXPECT_EQ(history(true, 0), "");
    EXPECT_NE(history(true, 90), "");  // after its answer it does not come back
}

TEST(OneDisk, LetsAnUnansweredWriteLandLaterOrNever) {
    OneDisk disk;
    write(disk, 10, 10, 20);
    write(disk, 11, 30, kNever);
    write(disk, 12, 30, kNever);
    disk.read(1, 10, 40, 45);
    disk.read(1, 12, 60, 65);
    EXPECT_EQ(disk.judge(), "");
}

TEST(OneDisk, SeesAGhostWriteOverAnAnsweredOne) {
    OneDisk disk;
    write(disk, 10, 10, kNever);
    disk.read(1, 10, 20, 25);
    write(disk, 11, 30, 40);
    disk.read(1, 10, 50, 55);
    EXPECT_NE(disk.judge(), "");
}

TEST(OneDisk, SeesAValueFromNowhereAndOneFromTheFuture) {
    OneDisk nowhere;
    nowhere.read(1, 99, 1, 2);
    EXPECT_NE(nowhere.judge(), "");
    OneDisk future;
    future.read(1, 10, 1, 2);
    write(future, 10, 5, 6);
    EXPECT_NE(future.judge(), "");
}

}  // namespace
}  // namespace braid::sim
