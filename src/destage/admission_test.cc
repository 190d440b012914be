#include "destage/admission.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

constexpr std::size_t kRoom = 32u << 20, kScarce = kRoom / 16, kBlock = 4096;

TEST(Admission, SlowsNobodyDownWhileThereIsRoom) {
    EXPECT_EQ(admission_pause(kRoom, kRoom, kBlock), 0ns);
    EXPECT_EQ(admission_pause(kRoom, kScarce, kBlock), 0ns);
    EXPECT_EQ(admission_pause(kRoom, ~std::size_t{0} / 2, kBlock), 0ns) << "for all, because we are fenced";
}

TEST(Admission, SlowsDownTheMoreTheLessRoomIsLeft) {
    EXPECT_EQ(admission_pause(kRoom, kScarce / 2, kBlock), kLongestAdmissionPause / 2);
    Nanos before{};
    for (std::size_t free = kScarce - kBlock; free >= kBlock; free -= kBlock) {
        const Nanos pause = admission_pause(kRoom, free, kBlock);
        EXPECT_GT(pause, before) << free;
        EXPECT_LE(pause, kLongestAdmissionPause);
        before = pause;
    }
    EXPECT_GT(before, kLongestAdmissionPause * 99 / 100);
}

TEST(Admission, LeavesWhatDoesNotFitToTheQueue) {
    EXPECT_EQ(admission_pause(kRoom, kBlock - 1, kBlock), 0ns);
    EXPECT_EQ(admission_pause(kRoom, 0, kBlock), 0ns);
    EXPECT_EQ(admission_pause(kBlock, 0, kBlock), 0ns);
    EXPECT_EQ(admission_pause(8, 0, 0), 0ns) << "so little has no sixteenth";
}

}  // namespace
}  // namespace braid
