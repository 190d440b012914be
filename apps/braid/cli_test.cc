#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "admin/fake_target.h"
#include "admin/server.h"
#include "braid/client.h"
#include "braid/commands.h"
#include "braid/load.h"
#include "braid/render.h"
#include "braid/sizes.h"

namespace braid::cli {
namespace {

TEST(Sizes, AreReadInIecUnits) {
    EXPECT_EQ(parse_size("4096"), 4096u);
    EXPECT_EQ(parse_size("64K"), 65536u);
    EXPECT_EQ(parse_size("64KiB"), 65536u);
    EXPECT_EQ(parse_size("1.5GiB"), 3ull << 29);
    EXPECT_EQ(parse_size("2T"), 2ull << 40);
    for (const char* wrong : {"", "K", "-1", "1X", "1KB", "0.3", "1e30", "12 34"})
        EXPECT_FALSE(parse_size(wrong)) << wrong;
}

TEST(Sizes, AndTimesHaveUnits) {
    EXPECT_EQ(parse_duration("7d"), 604800u);
    EXPECT_EQ(parse_duration("90"), 90u);
    EXPECT_EQ(parse_duration("12h"), 43200u);
    EXPECT_EQ(parse_duration("off"), 0u);
    for (const char* wrong : {"", "d", "-1d", "1w", "7 d", "99999999999d", "1.5h"})
        EXPECT_FALSE(parse_duration(wrong)) << wrong;
}

TEST(Sizes, AreWrittenForPeople) {
    EXPECT_EQ(size_text(512), "512 B");
    EXPECT_EQ(size_text(65536), "64 KiB");
    EXPECT_EQ(size_text(4187593113), "3.9 GiB");
    EXPECT_EQ(duration_text(47), "47 s");
    EXPECT_EQ(duration_text(4140), "1h09m");
    EXPECT_EQ(bar_text(0, 4), "[>...]");
    EXPECT_EQ(bar_text(0.5, 4), "[==>.]");
    EXPECT_EQ(bar_text(1, 4), "[====]");
}

/// The commands against a controller in memory, through a real socket.
class Commands : public ::testing::Test {
protected:
    Commands() {
        std::string pattern = (std::filesystem::temp_directory_path() / "braid-cli-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
        globals_.apis = {"unix:" + directory_ + "/api.sock"};
        globals_.yes = true;
        data_.call([this] {
            target_ = std::make_unique<admin::FakeTarget>(data_.executor());
            auto started = admin::Server::start(
                data_, *target_,
                {globals_.apis, [] { return admin::UnixMillis{0}; }, std::chrono::milliseconds(300)});
            ASSERT_TRUE(started) << started.error();
            server_ = std::move(*started);
        });
    }
    ~Commands() override {
        server_->close();
        data_.call([this] {
            server_.reset();
            target_.reset();
        });
        std::filesystem::remove_all(directory_);
    }
    GroupRequest group(std::vector<std::string> disks) const {
        return {.name = "g0", .level = "raid6", .disks = disks};
    }

    std::string directory_;
    admin::FakeDataThread data_;
    Globals globals_;
    std::unique_ptr<admin::FakeTarget> target_;
    std::unique_ptr<admin::Server> server_;
};

TEST_F(Commands, StatusShowsHealthGroupsAndTheFixOfEachCondition) {
    ASSERT_EQ(group_create(globals_, group({"d0", "d1", "d2", "d3"})), kOk);
    const auto document = globals_.client().get("/api/v1/status");
    ASSERT_TRUE(document);
    EXPECT_EQ(status_text(*document),
              "braid   DEGRADED   can still lose 1 disk                    epoch 4   1/2 controllers\n"
              "  g0    raid6 2+2   4 GiB usable, 25 % allocated                 [UUU_]\n"
              "  !  CONTROLLER_DOWN  ctl-b  it was fenced, since 1969-12-31T23:59:50Z\n"
              "                 fix:  braid demo start ctl-b\n");
    EXPECT_EQ(status(globals_, false, true), kFailed);  // it printed a problem
}

TEST_F(Commands, JobLineHasBarRateAndTimeLeft) {
    ASSERT_EQ(group_create(globals_, group({"d0", "d1", "d2", "d3"})), kOk);
    ASSERT_EQ(group_scrub(globals_, "g0", 4, false), kOk);
    const auto job = globals_.client().get("/api/v1/jobs/7");
    ASSERT_TRUE(job);
    EXPECT_EQ(job_line(*job),
              "scrub g0  [==========>.........]   50.0 %   50 B / 100 B   10 B/s   5 s left  ctl-a 80 %  "
              "ctl-b 20 %");
    EXPECT_NE(job_text(*job).find("by ctl-a      40 B"), std::string::npos) << job_text(*job);
    EXPECT_EQ(job_change(globals_, 7, "pause"), kOk);
    EXPECT_NE(status_text(*globals_.client().get("/api/v1/status")).find("paused"), std::string::npos);
    EXPECT_EQ(job_change(globals_, 7, "resume"), kOk);
    EXPECT_EQ(job_change(globals_, 8, "cancel"), kNotFound);
    EXPECT_EQ(job_set(globals_, 7, 9), kOk);
    EXPECT_EQ(target_->jobs[0].priority, 9u);
    EXPECT_EQ(job_set(globals_, 7, 10), kUsage);
    EXPECT_EQ(job_set(globals_, 8, 1), kNotFound);
    globals_.timeout_s = 0.3;
    EXPECT_EQ(job_wait(globals_, 7), kTimeout);
    data_.call([this] { target_->jobs[0].state = JobState::done; });
    EXPECT_EQ(job_wait(globals_, 7), kOk);
    data_.call([this] { target_->jobs[0].mismatches = 1; });
    EXPECT_EQ(job_wait(globals_, 7), kFailed);
}

TEST_F(Commands, WaitForTheJobThatTheyBegin) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(disk_remove(globals_, "d1", false), kOk);
    EXPECT_EQ(::testing::internal::GetCapturedStdout(), "remove /srv/disks/d1\njob 9: braid job wait 9\n");
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(disk_remove(globals_, "d1", true), kOk);
    EXPECT_NE(::testing::internal::GetCapturedStdout().find("rebuild g0"), std::string::npos);
    EXPECT_EQ(disk_add(globals_, "d6", "g0", {}, false, true), kOk) << "it begins none";
}

TEST_F(Commands, LocksAndHotUnitsStandInTables) {
    const auto load = globals_.client().get("/api/v1/load");
    ASSERT_TRUE(load);
    EXPECT_EQ(controller_of_load(*load), "ctl-a");
    EXPECT_EQ(locks_text(*load),
              "CONTROLLER  GROUP  HELD  IN USE  LOCAL  FROM PEERS  CANCELLED  MEDIAN WAIT  P99 WAIT\n"
              "ctl-a       g0     0     0       7      3           0          < 2.0 ms     < 4.0 ms\n"
              "GROUP  UNIT  RANGE             HOLDERS  WAITING  TRANSFERS/S  MEAN WAIT\n"
              "g0     3     v0 786432+262144  ctl-a:w  ctl-b:w  120          250 us     ping-pong\n"
              "g0     -     tables            -        -        2            -\n");
    EXPECT_EQ(controller_locks(globals_, "", 5), kOk);
    EXPECT_EQ(controller_locks(globals_, "ctl-z", 5), kNotFound);
}

TEST_F(Commands, TopIsWhatHappenedBetweenTwoLooks) {
    const auto before = globals_.client().get("/api/v1/load");
    const auto now = globals_.client().get("/api/v1/load");
    ASSERT_TRUE(before && now);
    const std::string top_now = top_document({*before}, {*now});
    EXPECT_EQ(top_text(top_now),
              "CONTROLLER  GROUP  READ/S  WRITE/S  DATA/S  LOCKS HELD/S  PEER/S  PREFETCHED/S  CANCELLED/S  "
              "MEAN WAIT  LOCK MSG/S\n"
              "ctl-a       g0     5       2        20 KiB  4             2       0             0            "
              "3.0 ms     2\n"
              "\n"
              "CONTROLLER  MESSAGES/S  PACKETS/S  MSG/PACKET  LINK/S\n"
              "ctl-a       50          10         5.0         32 KiB\n"
              "\n"
              "GROUP  UNIT  RANGE             HOLDERS  WAITING  TRANSFERS/S  MEAN WAIT\n"
              "g0     3     v0 786432+262144  ctl-a:w  ctl-b:w  120          250 us     ping-pong\n"
              "g0     -     tables            -        -        2            -\n");
    EXPECT_EQ(top_text(top_document({}, {*now})).find("ctl-a  "), std::string::npos);
    EXPECT_EQ(top(globals_, 0.01, 10, true), kOk);
    Globals nobody = globals_;
    nobody.apis = {"127.0.0.1:1"};
    EXPECT_EQ(top(nobody, 0.01, 10, true), kUnreachable);
}

TEST_F(Commands, ExitCodesSayWhatKindOfFailureItWas) {
    EXPECT_EQ(group_create(globals_, group({"d5", "d1", "d2"})), kRefused);
    EXPECT_EQ(group_create(globals_, group({"d0", "d1"})), kUsage);
    EXPECT_EQ(group_show(globals_, "none"), kNotFound);
    EXPECT_EQ(group_map(globals_, "none", 32), kNotFound);
    EXPECT_EQ(volume_show(globals_, "none"), kNotFound);
    EXPECT_EQ(volume_delete(globals_, "none", false), kNotFound);
    EXPECT_EQ(controller_fence(globals_, "ctl-b"), kTimeout);
    Globals nobody = globals_;
    nobody.apis = {"unix:" + directory_ + "/nobody", "127.0.0.1:1"};
    EXPECT_EQ(status(nobody, false, false), kUnreachable);
    nobody.apis.push_back(globals_.apis[0]);  // the next one answers
    EXPECT_EQ(status(nobody, false, false), kOk);
}

TEST_F(Commands, DestructiveVerbsWantYesWhenNobodyCanBeAsked) {
    if (::isatty(STDIN_FILENO) != 0) GTEST_SKIP() << "standard input is a terminal";
    ASSERT_EQ(volume_create(globals_, "v0", "", 1 << 20), kOk);
    globals_.yes = false;
    EXPECT_EQ(volume_delete(globals_, "v0", false), kUsage);
    EXPECT_EQ(volume_show(globals_, "v0"), kOk);
    globals_.yes = true;
    EXPECT_EQ(volume_delete(globals_, "v0", false), kOk);
}

TEST_F(Commands, DryRunPrintsThePlanAndChangesNothing) {
    globals_.dry_run = true;
    EXPECT_EQ(group_create(globals_, group({"d0", "d1", "d2"})), kOk);
    EXPECT_TRUE(target_->groups.empty());
    EXPECT_EQ(outcome_text(R"({"dry_run":true,"steps":["create g0"]})"), "plan: create g0\n");
}

TEST(Problems, KeepDetailAndHint) {
    const Failure f =
        failure_of_problem(409, R"({"code":"busy","detail":"v0 is closing","hint":"try again"})");
    EXPECT_EQ(f.exit, kConflict);
    EXPECT_EQ(f.message, "v0 is closing (try again)");
    EXPECT_EQ(failure_of_problem(500, "<html>").message, "the controller answered HTTP 500");
}

TEST(Render, DocumentsOfAnotherVersionAreShownAsFarAsTheyGo) {
    for (const char* odd : {"", "[]", "{}", R"({"groups":[{"name":3}],"controllers":null,"jobs":[1]})"}) {
        EXPECT_FALSE(status_text(odd).empty()) << odd;
        EXPECT_FALSE(groups_text(odd).empty()) << odd;
        EXPECT_FALSE(disks_text(odd).empty()) << odd;
        EXPECT_FALSE(map_text(odd).empty()) << odd;
    }
}

TEST(Render, AMapHasAColumnForEachDiskAndARowForEachBand) {
    const std::string text = map_text(R"({"group":"g0","band_bytes":16777216,"disks":[
        {"name":"/srv/d0","state":"member","data_bytes":67108864},
        {"name":null,"state":"missing","data_bytes":16777216}],"bands":[
        [{"extent":7,"extents":1,"use":"content"},null],
        [{"extent":12,"extents":1,"use":"moving"},null],
        [{"extent":3,"extents":2,"use":"content"},null]]})");
    const std::string rows = text.substr(text.find("\n\n") + 2);
    EXPECT_EQ(rows,
              "FROM    d0      -\n"
              "        member  missing\n"
              "0 B     7       .\n"
              "16 MiB  12>\n"
              "32 MiB  2x\n");
}

}  // namespace
}  // namespace braid::cli
