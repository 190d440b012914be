#include "admin/server.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "admin/fake_target.h"

namespace braid::admin {
namespace {

using Json = nlohmann::json;

class AdminServer : public ::testing::Test {
protected:
    AdminServer() {
        std::string pattern = (std::filesystem::temp_directory_path() / "braid-admin-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
        data_.call([this] {
            target_ = std::make_unique<FakeTarget>(data_.executor());
            auto started = Server::start(data_, *target_,
                                         {{"unix:" + socket(), "127.0.0.1:0"},
                                          [] { return UnixMillis{1'795'227'698'114}; },
                                          deadline_});
            ASSERT_TRUE(started) << started.error();
            server_ = std::move(*started);
        });
    }
    ~AdminServer() override {
        server_->close();
        data_.call([this] {
            server_.reset();
            target_.reset();
        });
        std::filesystem::remove_all(directory_);
    }
    std::string socket() const { return directory_ + "/api.sock"; }
    httplib::Client client() const {
        httplib::Client c(socket(), 1);
        c.set_address_family(AF_UNIX);
        return c;
    }
    Json get(const std::string& path, int status = 200) const {
        auto answer = client().Get(path);
        EXPECT_TRUE(answer) << path;
        if (!answer) return {};
        EXPECT_EQ(answer->status, status) << path << ": " << answer->body;
        return Json::parse(answer->body, nullptr, false);
    }
    Json post(const std::string& path, const Json& body, int status = 200) const {
        auto answer = client().Post(path, body.dump(), "application/json");
        EXPECT_TRUE(answer) << path;
        if (!answer) return {};
        EXPECT_EQ(answer->status, status) << path << ": " << answer->body;
        return Json::parse(answer->body, nullptr, false);
    }
    Json group(std::vector<std::string> disks) const {
        return {{"name", "g0"}, {"level", "raid6"}, {"disks", disks}};
    }

    const std::chrono::milliseconds deadline_{300};
    std::string directory_;
    FakeDataThread data_;
    std::unique_ptr<FakeTarget> target_;
    std::unique_ptr<Server> server_;
};

TEST_F(AdminServer, StatusHoldsTheFieldsThatScriptsRelyOn) {
    post("/api/v1/groups", group({"d0", "d1", "d2", "d3"}));
    const Json s = get("/api/v1/status");
    EXPECT_EQ(s["schema"], "braid/status");
    EXPECT_EQ(s["version"], 1);
    EXPECT_EQ(s["health"], "degraded");
    EXPECT_EQ(s["epoch"], 4);
    EXPECT_EQ(s["redundancy_remaining"], 1);
    EXPECT_EQ(s["controllers"][0]["host"], "rack1");
    EXPECT_EQ(s["controllers"][0]["site"], "north");
    EXPECT_TRUE(s["controllers"][1]["host"].is_null());
    EXPECT_EQ(s["controllers"][1]["name"], "ctl-b");
    EXPECT_EQ(s["controllers"][1]["pid"], 42);
    EXPECT_EQ(s["controllers"][1]["state"], "fenced");
    EXPECT_EQ(s["groups"][0]["members"], "UUU_");
    EXPECT_EQ(s["groups"][0]["usable_bytes"], 4ull << 30);
    EXPECT_EQ(s["groups"][0]["used_bytes"], 1ull << 30);
    const Json& c = s["conditions"][0];
    EXPECT_EQ(c["code"], "CONTROLLER_DOWN");
    EXPECT_EQ(c["severity"], "warning");
    EXPECT_EQ(c["object"], "ctl-b");
    EXPECT_EQ(c["since"], "2026-11-21T02:21:28Z");  // ten seconds before the wall clock's now
    EXPECT_EQ(c["fix"], "braid demo start ctl-b");
}

TEST_F(AdminServer, JobsTellTheirEtaFromFinishedBytes) {
    post("/api/v1/groups", group({"d0", "d1", "d2", "d3"}));
    const Json started = post("/api/v1/groups/g0/scrub", Json{{"priority", 2}}, 202);
    EXPECT_EQ(started["job"], 7);
    post("/api/v1/groups/g0/scrub", Json{{"priority", 10}}, 400);
    const Json job = get("/api/v1/jobs/7");
    EXPECT_EQ(job["priority"], 2);
    EXPECT_EQ(job["shares"][1]["controller"], "ctl-b");
    EXPECT_EQ(job["shares"][1]["done_bytes"], 10);
    EXPECT_EQ(job["eta_s"], 5);
    EXPECT_EQ(job["state"], "running");
    get("/api/v1/jobs/8", 404);
    post("/api/v1/jobs/7/pause?dry_run=1", Json::object());
    EXPECT_EQ(get("/api/v1/jobs/7")["state"], "running");
    post("/api/v1/jobs/7/set?dry_run=1", {{"priority", 9}});
    EXPECT_EQ(get("/api/v1/jobs/7")["priority"], 2);
    post("/api/v1/jobs/7/set", {{"priority", 9}});
    EXPECT_EQ(get("/api/v1/jobs/7")["priority"], 9);
    post("/api/v1/jobs/7/set", Json::object(), 400);
    post("/api/v1/jobs/7/set", {{"priority", 10}}, 400);
    post("/api/v1/jobs/8/set", {{"priority", 1}}, 404);
    post("/api/v1/jobs/7/pause", Json::object());
    EXPECT_EQ(get("/api/v1/jobs/7")["state"], "paused");
    EXPECT_TRUE(get("/api/v1/jobs/7")["eta_s"].is_null());
    post("/api/v1/jobs/7/cancel", Json::object());
    EXPECT_EQ(get("/api/v1/jobs/7")["state"], "cancelled");
    post("/api/v1/jobs/8/resume", Json::object(), 404);
    post("/api/v1/jobs/7/stop", Json::object(), 404);
}

TEST_F(AdminServer, TheMapOfAGroupSaysWhatStandsWhere) {
    post("/api/v1/groups", group({"d0", "d1", "d2", "d3"}));
    const Json map = get("/api/v1/groups/g0/map");
    EXPECT_EQ(map["schema"], "braid/map");
    EXPECT_EQ(map["disks"][1]["state"], "missing");
    EXPECT_TRUE(map["disks"][1]["name"].is_null());
    EXPECT_TRUE(map["bands"][0][2].is_null());
    EXPECT_EQ(map["bands"][1][0], (Json{{"extent", 12}, {"extents", 1}, {"use", "moving"}}));
    EXPECT_EQ(get("/api/v1/groups/g0/map?bands=1")["bands"].size(), 1u);
    EXPECT_EQ(get("/api/v1/groups/g0/map?bands=0")["bands"].size(), 2u) << "not a number of bands: as usual";
    get("/api/v1/groups/none/map", 404);
}

TEST_F(AdminServer, ShortDiskNamesBecomeFullOnes) {
    post("/api/v1/groups", group({"d0", "/srv/disks/d1", "d2", "d9"}));
    EXPECT_EQ(target_->groups.at(0).disks,
              (std::vector<std::string>{"/srv/disks/d0", "/srv/disks/d1", "/srv/disks/d2", "d9"}));
    EXPECT_EQ(post("/api/v1/disks/d4/fail", Json::object())["steps"][0], "fail /srv/disks/d4");
    EXPECT_EQ(post("/api/v1/disks/d4/remove", Json::object(), 202)["steps"][0], "remove /srv/disks/d4");
    EXPECT_EQ(post("/api/v1/disks//srv/disks/d4/fail", Json::object())["steps"][0], "fail /srv/disks/d4");
}

TEST_F(AdminServer, HowAGroupIsSharedIsAskedForAndShown) {
    const Json options{{"granularity", "blocks:4"},  {"coherency", "broadcast"},
                       {"lock_order", "priority"},   {"min_hold_us", 250},
                       {"power_loss", "resync"},     {"prefetch", 0},
                       {"cache", "write-back"},      {"replication", "asynchronous"},
                       {"few_partners", "continue"}, {"amfs", 2}};
    Json wish = group({"d0", "d1", "d2", "d3"});
    wish.update(options);
    post("/api/v1/groups", wish);
    const Json shown = get("/api/v1/groups/g0");
    for (const auto& [key, value] : options.items()) EXPECT_EQ(shown[key], value) << key;
    wish["granularity"] = "sectors:8";
    EXPECT_EQ(post("/api/v1/groups", wish, 400)["detail"], "field 'granularity' cannot be 'sectors:8'");
    wish["granularity"] = "block";
    wish["coherency"] = "telepathy";
    EXPECT_EQ(post("/api/v1/groups", wish, 400)["detail"], "field 'coherency' cannot be 'telepathy'");
    wish["coherency"] = "";
    EXPECT_EQ(post("/api/v1/groups", wish, 400)["detail"], "field 'coherency' cannot be ''");
}

TEST_F(AdminServer, WhatOfAGroupCanBeSetIsSetAndTheRestIsRefusedWithTheReason) {
    post("/api/v1/groups", group({"d0", "d1", "d2", "d3"}));
    EXPECT_EQ(post("/api/v1/groups/g0/set", {{"min_hold_us", 500}, {"lock_order", "priority"}})["steps"][0],
              "set g0");
    Json shown = get("/api/v1/groups/g0");
    EXPECT_EQ(shown["min_hold_us"], 500);
    EXPECT_EQ(shown["lock_order"], "priority");
    EXPECT_EQ(shown["prefetch"], 32) << "was not named";
    post("/api/v1/groups/g0/set", {{"prefetch", 0}, {"lock_order", nullptr}});
    post("/api/v1/groups/g0/set?dry_run=1", {{"min_hold_us", 7}});
    post("/api/v1/groups/g0/set", {{"replication", "pseudo-synchronous"}, {"few_partners", "continue"}});
    shown = get("/api/v1/groups/g0");
    EXPECT_EQ(shown["prefetch"], 0);
    EXPECT_EQ(shown["min_hold_us"], 500);
    EXPECT_EQ(shown["lock_order"], "priority");
    EXPECT_EQ(shown["replication"], "pseudo-synchronous");
    EXPECT_EQ(shown["few_partners"], "continue");
    const auto refused = [&](const Json& body) { return post("/api/v1/groups/g0/set", body, 400)["detail"]; };
    EXPECT_EQ(
        refused({{"coherency", "broadcast"}}),
        "coherency is chosen when a group is made and stays as it is: all controllers decide about every "
        "lock by it");
    EXPECT_EQ(
        refused({{"amfs", 2}}),
        "amfs is chosen when a group is made and stays as it is: the journals on the disks are laid out "
        "for it");
    EXPECT_EQ(refused({{"lock_order", "lifo"}}), "field 'lock_order' cannot be 'lifo'");
    EXPECT_EQ(refused({{"min_hold_us", 1'000'001}}), "field 'min_hold_us' is not a number from 0 to 1000000");
    EXPECT_EQ(refused({{"prefech", 1}}), "unknown field 'prefech'");
    post("/api/v1/groups/none/set", {{"prefetch", 1}}, 404);
}

TEST_F(AdminServer, DisksComeAndGroupsGrow) {
    EXPECT_EQ(post("/api/v1/disks", {{"disk", "d1"}, {"group", "g0"}})["steps"][0],
              "add /srv/disks/d1 to g0");
    EXPECT_EQ(post("/api/v1/disks", {{"disk", "d1"}, {"replaces", "g0/3"}})["steps"][0],
              "replace g0/3 by /srv/disks/d1");
    EXPECT_EQ(post("/api/v1/disks", {{"group", "g0"}}, 400)["detail"], "field 'disk' is missing");
    EXPECT_EQ(post("/api/v1/groups/g0/expand", {{"disks", {"d1", "d2"}}})["steps"][0],
              "expand g0 by 2 disks");
    EXPECT_EQ(post("/api/v1/groups/g0/expand", {{"discs", 1}}, 400)["detail"], "unknown field 'discs'");
}

TEST_F(AdminServer, DryRunChangesNothing) {
    const Json plan = post("/api/v1/groups?dry_run=1", group({"d0", "d1", "d2", "d3"}));
    EXPECT_EQ(plan["dry_run"], true);
    EXPECT_EQ(plan["steps"][0], "create g0");
    EXPECT_TRUE(target_->groups.empty());
}

TEST_F(AdminServer, RefusalsAreProblemsWithCodeAndHint) {
    const Json p = post("/api/v1/groups", group({"d5", "d1", "d2", "d3"}), 403);
    EXPECT_EQ(p["code"], "would_lose_data");
    EXPECT_EQ(p["detail"], "disk d5 carries an ext4 file system");
    EXPECT_EQ(p["hint"], "--force overwrites it");
    Json forced = group({"d5", "d1", "d2", "d3"});
    forced["force"] = true;
    post("/api/v1/groups", forced);
    EXPECT_EQ(target_->groups.size(), 1u);
}

TEST_F(AdminServer, BadRequestsNameTheField) {
    EXPECT_EQ(post("/api/v1/volumes", {{"name", "v0"}}, 400)["detail"], "field 'size' is missing");
    EXPECT_EQ(post("/api/v1/volumes", {{"name", 3}, {"size", 1}}, 400)["detail"],
              "field 'name' is not a string");
    EXPECT_EQ(post("/api/v1/volumes", {{"name", "v"}, {"size", 1}, {"sise", 1}}, 400)["detail"],
              "unknown field 'sise'");
    EXPECT_EQ(post("/api/v1/volumes", {{"name", "v"}, {"size", -1}}, 400)["code"], "invalid");
    EXPECT_EQ(post("/api/v1/volumes", "text", 400)["detail"], "the request is not a JSON object");
    EXPECT_EQ(post("/api/v1/groups", group({"d0", "d1"}), 400)["detail"], "a group has 3 to 64 disks, not 2");
    auto broken = client().Post("/api/v1/volumes", "{", "application/json");
    ASSERT_TRUE(broken);
    EXPECT_EQ(broken->status, 400);
    auto form = client().Post("/api/v1/volumes", "{}", "text/plain");
    ASSERT_TRUE(form);
    EXPECT_EQ(form->status, 400);
    EXPECT_EQ(get("/api/v1/nothing", 404)["code"], "not_found");
}

TEST_F(AdminServer, VolumesAndPortsComeAndGo) {
    post("/api/v1/volumes", {{"name", "v0"}, {"group", "g0"}, {"size", 1 << 30}});
    EXPECT_EQ(get("/api/v1/volumes")["volumes"][0]["size_bytes"], 1 << 30);
    post("/api/v1/ports", {{"volume", "v0"}});
    const Json ports = get("/api/v1/ports");
    EXPECT_EQ(ports["ports"][0]["uris"],
              (Json{"nbd://127.0.0.1:10809/v0", "nbd+unix:///v0?socket=/run/nbd.sock"}));
    EXPECT_TRUE(ports["ports"][1]["uris"].is_null());
    EXPECT_TRUE(ports["ports"][1]["through"].is_null());
    EXPECT_EQ(ports["ports"][1]["forwarded"], false);
    EXPECT_EQ(ports["ports"][2]["forwarded"], true);
    EXPECT_EQ(ports["ports"][2]["through"], "ctl-a");
    auto gone = client().Delete("/api/v1/ports/v0/ctl-b");
    ASSERT_TRUE(gone);
    EXPECT_EQ(Json::parse(gone->body)["steps"][0], "delete v0 ctl-b");
    ASSERT_EQ(client().Delete("/api/v1/volumes/v0")->status, 200);
    ASSERT_EQ(client().Delete("/api/v1/volumes/v0")->status, 404);
}

TEST_F(AdminServer, AnswersOnLoopbackTcpToo) {
    ASSERT_EQ(server_->addresses().size(), 2u);
    httplib::Client tcp("http://" + server_->addresses()[1]);
    auto answer = tcp.Get("/livez");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "ok\n");
}

TEST_F(AdminServer, RefusesAddressesBeyondTheMachine) {
    data_.call([this] {
        auto open = Server::start(data_, *target_, {{"0.0.0.0:0"}, [] { return UnixMillis{0}; }, deadline_});
        ASSERT_FALSE(open);
        EXPECT_NE(open.error().find("loopback"), std::string::npos);
        auto odd = Server::start(data_, *target_, {{"here"}, [] { return UnixMillis{0}; }, deadline_});
        ASSERT_FALSE(odd);
    });
}

TEST_F(AdminServer, AnswersWithinTheDeadlineWhateverTheControllerDoes) {
    EXPECT_EQ(post("/api/v1/controllers/ctl-b/fence", Json::object(), 504)["code"], "timeout");
}

TEST_F(AdminServer, WaitingRequestsEndWhenTheServerCloses) {
    std::thread closer([this] {
        ::usleep(50'000);
        server_->close();
    });
    auto answer = client().Post("/api/v1/controllers/ctl-b/fence", "{}", "application/json");
    closer.join();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 503);
}

TEST_F(AdminServer, MetricsOfOneNameStandTogether) {
    auto answer = client().Get("/metrics");
    ASSERT_TRUE(answer);
    EXPECT_NE(answer->body.find("# HELP braid_disk_io_bytes_total Bytes\n"
                                "# TYPE braid_disk_io_bytes_total counter\n"
                                "braid_disk_io_bytes_total{disk=\"d\\\"0\"} 4096\n"
                                "braid_disk_io_bytes_total{disk=\"d1\"} 1\n"),
              std::string::npos)
        << answer->body;
    EXPECT_NE(answer->body.find(
                  "braid_condition{code=\"CONTROLLER_DOWN\",severity=\"warning\",object=\"ctl-b\"} 1\n"),
              std::string::npos);
    EXPECT_NE(answer->body.find("\nbraid_epoch 4\n"), std::string::npos);
    EXPECT_NE(answer->body.find("# TYPE braid_wait_seconds histogram\n"
                                "braid_wait_seconds_bucket{group=\"g0\",le=\"0.5\"} 3\n"
                                "braid_wait_seconds_bucket{group=\"g0\",le=\"+Inf\"} 4\n"
                                "braid_wait_seconds_sum{group=\"g0\"} 2.5\n"
                                "braid_wait_seconds_count{group=\"g0\"} 4\n"),
              std::string::npos)
        << answer->body;
}

TEST_F(AdminServer, LoadTellsWhoTradesWhichLocks) {
    const Json load = get("/api/v1/load?hot=1");
    EXPECT_EQ(load["schema"], "braid/load");
    EXPECT_EQ(load["groups"][0]["locks"]["requests"]["peer"], 3);
    EXPECT_EQ(load["groups"][0]["locks"]["messages"]["lock_request"], 4);
    EXPECT_EQ(load["links"][0]["sent"], (Json{{"messages", 100}, {"packets", 20}, {"bytes", 65536}}));
    ASSERT_EQ(load["hot"].size(), 1u);
    EXPECT_EQ(load["hot"][0]["volume"], "v0");
    EXPECT_EQ(load["hot"][0]["holders"][0], (Json{{"amf", "ctl-a"}, {"mode", "write"}}));
    EXPECT_EQ(load["hot"][0]["ping_pong"], true);
    const Json tables = get("/api/v1/load?hot=x")["hot"][1];
    EXPECT_TRUE(tables["unit"].is_null());
    EXPECT_TRUE(tables["mean_wait_s"].is_null());
}

}  // namespace
}  // namespace braid::admin
