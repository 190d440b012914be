// What an operator asks of controllers that run on simulated seams: a change that is refused has changed
// nothing, and says why.
#include <gtest/gtest.h>

#include "sim/node.h"

namespace braid::sim {
namespace {

using Answer = AdminResult<braid::Outcome>;

/// Two controllers that share the group "g": raid5 on the disks d00 to d03, in stripes of three. d04 and
/// d05 belong to nobody, and nor does d06, which has room for one segment.
struct Site {
    explicit Site(std::function<void(Shape&)> change = {}) {
        shape.controllers = 2;
        shape.disks = 4;
        shape.extra_disks = 2;
        shape.width = 3;
        if (change) change(shape);
        media = make_media(world, shape);
        const std::uint64_t one = (16u << 20) + geometry_of(shape).segment_space();
        media.push_back(std::make_unique<Media>(world, media.size(), one));
        for (std::size_t i = 0; i < 2; ++i) start(i);
        EXPECT_TRUE(ask(controller().create_group(group_request(shape))));
    }
    ~Site() {
        for (Node& node : nodes) {
            node.process->destroy = nullptr;
            node.running.reset();
        }
    }
    void start(std::size_t i) {
        Node& node = nodes[i];
        node.process = world.start_process(controller_name(i));
        node.running = std::make_unique<Running>(wires, record, media, *node.process, shape);
        node.process->destroy = [&node] { node.running.reset(); };
        std::optional<Status> started;
        node.running->scope.spawn(keep(node.running->controller.start(), started));
        EXPECT_TRUE(
            world.run_until([&] { return started && controller().view().members.size() == i + 1; }, 30s));
    }
    template <class T>
    static Task<void> keep(Task<T> task, std::optional<T>& out) {
        out.emplace(co_await std::move(task));
    }
    Answer ask(Task<Answer> task, std::size_t of = 0) {
        std::optional<Answer> out;
        nodes[of].running->scope.spawn(keep(std::move(task), out));
        EXPECT_TRUE(world.run_until([&] { return out.has_value(); }, 60s)) << "no answer";
        return out ? *out : Answer(refuse(Errc::timeout, "no answer"));
    }
    Controller& controller(std::size_t i = 0) { return nodes[i].running->controller; }
    Tables& tables(std::size_t i = 0) { return controller(i).find_group("g")->tables(); }
    /// All that a change could have changed.
    std::pair<GroupConfig, GroupState> all() { return {tables().config(), tables().state()}; }
    bool until(const std::function<bool()>& done) { return world.run_until(done, 120s, 10ms); }
    bool at_rest() {
        return until([&] { return std::ranges::none_of(tables().state().jobs, &JobRecord::active); });
    }
    void fill(std::uint64_t less = 0) {
        const std::uint64_t bytes = (tables().usable_extents() - less) * kExtentSize;
        ASSERT_TRUE(ask(controller().create_volume({"v", "g", bytes, false})));
    }

    struct Node {
        std::shared_ptr<Process> process;
        std::unique_ptr<Running> running;
    };
    World world{1};
    Wires wires{world};
    SharedRecord record;
    Shape shape;
    std::vector<std::unique_ptr<Media>> media;
    std::array<Node, 2> nodes;
};

std::string text(const Answer& answer) {
    if (!answer) return answer.error().detail + " (" + answer.error().hint + ")";
    std::string out;
    for (const std::string& step : answer->steps) out += step + "; ";
    return out;
}

/// The answer, if it is a refusal that has changed nothing, and if the plan was refused likewise.
#define EXPECT_REFUSED(site, make, words)                                               \
    do {                                                                                \
        const auto as_it_was = (site).all();                                            \
        for (const bool dry_run : {true, false}) {                                      \
            const Answer refusal = (site).ask(make(dry_run));                           \
            EXPECT_FALSE(refusal) << "dry run " << dry_run << ": " << text(refusal);    \
            EXPECT_NE(text(refusal).find(words), std::string::npos) << text(refusal);   \
            if (!refusal) EXPECT_FALSE(refusal.error().hint.empty()) << text(refusal);  \
        }                                                                               \
        EXPECT_TRUE((site).all() == as_it_was) << "something was changed all the same"; \
    } while (false)

TEST(Verbs, GroupSetOfWhichOnePartIsRefusedSetsNothing) {
    Site s;
    s.fill();
    const auto make = [&](bool dry_run) {
        return s.controller().set_group({.name = "g",
                                         .change = {.prefetch = std::uint8_t{3}},
                                         .scrub_every = 600,
                                         .level = Level::raid6,
                                         .dry_run = dry_run});
    };
    EXPECT_REFUSED(s, make, "no room");
}

TEST(Verbs, GroupExpandToStripesWiderThanTheDisksAllowAddsNone) {
    Site s;
    const auto make = [&](bool dry_run) {
        return s.controller().expand_group({.name = "g", .disks = {"d04"}, .width = 6, .dry_run = dry_run});
    };
    EXPECT_REFUSED(s, make, "wider");
}

TEST(Verbs, GroupExpandByADiskThatIsNamedTwiceAddsNone) {
    Site s;
    const auto make = [&](bool dry_run) {
        return s.controller().expand_group({.name = "g", .disks = {"d04", "d04"}, .dry_run = dry_run});
    };
    EXPECT_REFUSED(s, make, "named twice");
}

TEST(Verbs, GroupExpandByADiskThatAnotherDoesNotReachAddsNone) {
    Site s;
    s.nodes[1].process->no_path.set(5);
    const GroupState before = s.tables().state();
    const Answer answer = s.ask(s.controller().expand_group({.name = "g", .disks = {"d04", "d05"}}));
    EXPECT_NE(text(answer).find("ctl-b does not reach"), std::string::npos) << text(answer);
    for (std::size_t i = 0; i < s.tables().state().members.size(); ++i) {
        const bool there = i < before.members.size();
        EXPECT_EQ(s.tables().state().members[i].state, there ? MemberState::ok : MemberState::gone) << i;
    }
    s.nodes[1].process->no_path.reset(5);
    const Answer again = s.ask(s.controller().expand_group({.name = "g", .disks = {"d04", "d05"}}));
    EXPECT_TRUE(again) << text(again);
}

TEST(Verbs, DiskRemoveSaysWhyADiskMustStay) {
    {
        Site s;
        s.fill();
        const auto make = [&](bool dry_run) { return s.controller().remove_disk("d01", dry_run); };
        EXPECT_REFUSED(s, make, "have no room for what it has");
    }
    Site s([](Shape& shape) { shape.disks = 3; });
    const auto make = [&](bool dry_run) { return s.controller().remove_disk("d01", dry_run); };
    EXPECT_REFUSED(s, make, "fewer would be left (braid disk replace");
    ASSERT_TRUE(s.ask(s.controller().fail_disk("d00", false)));
    EXPECT_REFUSED(s, make, "1 are gone already");
    const auto fail = [&](bool dry_run) { return s.controller().fail_disk("d01", dry_run); };
    EXPECT_REFUSED(s, fail, "1 of its disks are gone already");
    const auto again = [&](bool dry_run) { return s.controller().fail_disk("d00", dry_run); };
    EXPECT_REFUSED(s, again, "is failed already (braid disk replace d00 NEW");
    ASSERT_TRUE(s.ask(s.controller().add_disk({"d03", "", "d00", false, false})));
    ASSERT_TRUE(s.ask(s.controller().add_disk({"d04", "g", "", false, false})));
    ASSERT_TRUE(s.ask(s.controller().remove_disk("d01", false)));
    EXPECT_REFUSED(s, make, "already");
}

/// A virtual disk with content in each extent.
void write_all(Site& s) {
    s.fill(2);
    ASSERT_TRUE(s.ask(s.controller().create_ports({"v", {}, false})));
    auto port = s.controller().registry().find("v");
    for (std::uint64_t at = 0; at < port->size(); at += kExtentSize) {
        std::optional<Status> done;
        s.nodes[0].running->scope.spawn(
            Site::keep(port->write(at, Slice(Buffer::zeroed(4096)), false), done));
        ASSERT_TRUE(s.until([&] { return done.has_value(); }) && *done);
    }
}

TEST(Verbs, DiskReplaceHasAJobThatEndsWhenTheOldDiskIsEmpty) {
    Site s;
    write_all(s);
    const Answer answer = s.ask(s.controller().add_disk({"d04", "", "d01", false, false}));
    ASSERT_TRUE(answer) << text(answer);
    ASSERT_TRUE(answer->job);
    const auto id = static_cast<std::uint32_t>(*answer->job);
    ASSERT_NE(s.tables(1).state().job(id), nullptr);
    EXPECT_TRUE(s.tables(1).state().job(id)->active());
    EXPECT_EQ(text(s.ask(s.controller(1).set_job({id, 7}), 1)).find("sets the priority of job"), 0u);
    EXPECT_EQ(s.tables().state().job(id)->priority, 7);
    ASSERT_TRUE(s.until([&] { return !s.tables().state().job(id)->active(); }));
    EXPECT_EQ(s.tables().state().job(id)->state, JobState::done);
    for (std::uint32_t i = 0; i < s.tables().config().extents; ++i) {
        const Zone* zone = s.tables().zone(ExtentIndex(i));
        EXPECT_TRUE(zone == nullptr || !members_of(*zone)[1]) << i;
    }
    const auto late = [&](bool dry_run) { return s.controller().set_job({id, 5, dry_run}); };
    EXPECT_REFUSED(s, late, "is done already");
    EXPECT_TRUE(s.until([&] { return s.tables().state().members[1].state == MemberState::gone; }));
}

TEST(Verbs, JobCancelOfARemovalLeavesTheDiskWhereItIs) {
    Site s;
    write_all(s);
    ASSERT_TRUE(s.ask(s.controller().expand_group({.name = "g", .disks = {"d04"}})));
    ASSERT_TRUE(s.at_rest());
    const Answer removal = s.ask(s.controller().remove_disk("d01", false));
    ASSERT_TRUE(removal && removal->job) << text(removal);
    ASSERT_TRUE(s.until([&] { return s.tables().open_moves() != 0; }));
    const Answer cancelled = s.ask(s.controller(1).change_job(*removal->job, JobChange::cancel, false), 1);
    EXPECT_NE(text(cancelled).find("that were to leave stay"), std::string::npos) << text(cancelled);
    EXPECT_EQ(s.tables().state().members[1].state, MemberState::ok);
    EXPECT_EQ(s.tables().open_moves(), 0u);
    const GroupState before = s.tables().state();
    (void)s.world.run_until([] { return false; }, 3s);
    EXPECT_TRUE(s.tables().state() == before) << "nothing goes on";
    EXPECT_EQ(s.tables().state().job(static_cast<std::uint32_t>(*removal->job))->state, JobState::cancelled);
}

TEST(Verbs, JobCancelOfAnExpansionEndsTheSpreading) {
    Site s;
    write_all(s);
    const Answer expansion = s.ask(s.controller().expand_group({.name = "g", .disks = {"d04", "d05"}}));
    ASSERT_TRUE(expansion && expansion->job) << text(expansion);
    ASSERT_TRUE(s.ask(s.controller().change_job(*expansion->job, JobChange::cancel, false)));
    EXPECT_FALSE(s.tables().state().balancing);
    const GroupState before = s.tables().state();
    (void)s.world.run_until([] { return false; }, 3s);
    EXPECT_TRUE(s.tables().state() == before) << "nothing goes on";
}

TEST(Verbs, JobCancelOfWhatIsMissingIsRefused) {
    Site s;
    write_all(s);
    ASSERT_TRUE(s.ask(s.controller().fail_disk("d01", false)));
    const Answer replaced = s.ask(s.controller().add_disk({"d04", "", "d01", false, false}));
    ASSERT_TRUE(replaced && replaced->job) << text(replaced);
    const Answer answer = s.ask(s.controller().change_job(*replaced->job, JobChange::cancel, true));
    EXPECT_NE(text(answer).find("can lose fewer disks (braid job pause"), std::string::npos) << text(answer);
    ASSERT_TRUE(s.at_rest());
    EXPECT_EQ(s.tables().state().job(static_cast<std::uint32_t>(*replaced->job))->state, JobState::done);
}

TEST(Verbs, GroupScrubThatCannotReadAllSaysSo) {
    Site s;
    write_all(s);
    const auto says = [&]() -> std::string {
        for (const Condition& condition : s.controller().status().conditions) {
            if (condition.code == "SCRUB_INCOMPLETE") return condition.text + " (" + condition.fix + ")";
        }
        return {};
    };
    ASSERT_TRUE(s.ask(s.controller().fail_disk("d01", false)));
    const Answer scrub = s.ask(s.controller().scrub_group({.name = "g"}));
    ASSERT_TRUE(scrub) << text(scrub);
    ASSERT_TRUE(s.at_rest());
    const std::uint32_t stripes =
        s.tables().state().job(static_cast<std::uint32_t>(*scrub->job))->counts.incomplete;
    EXPECT_GT(stripes, 0u);
    EXPECT_EQ(says().find("job " + std::to_string(*scrub->job) + " could not judge " +
                          std::to_string(stripes) + " stripes"),
              0u)
        << says();
    ASSERT_TRUE(s.ask(s.controller().add_disk({"d04", "", "d01", false, false})));
    ASSERT_TRUE(s.at_rest());
    ASSERT_TRUE(s.ask(s.controller().scrub_group({.name = "g"})));
    ASSERT_TRUE(s.at_rest());
    EXPECT_EQ(says(), "");
}

TEST(Verbs, DiskReplaceByOneThatHasNoRoomAddsNone) {
    Site s([](Shape& shape) { shape.disks = 3; });
    s.fill();
    const auto make = [&](bool dry_run) {
        return s.controller().add_disk({"d05", "", "d01", false, dry_run});
    };
    EXPECT_REFUSED(s, make, "no room");
}

TEST(Verbs, GroupCreateWithMoreCopiesThanControllersIsRefused) {
    Site s;
    CreateGroup request{.name = "h", .level = "mirror", .disks = {"d04", "d05", "d06"}, .dry_run = true};
    request.dimension = 3;
    EXPECT_EQ(text(s.ask(s.controller().create_group(request))),
              "group h: dimension 3 is more than the 2 controllers that share it: each keeps one copy "
              "(--dimension 2 at most, or more --controllers)");
    request.dimension = 2;
    request.controllers = {"ctl-a", "ctl-b", "ctl-a"};
    EXPECT_EQ(text(s.ask(s.controller().create_group(request))),
              "group h: controller ctl-a is named twice (name each controller once)");
    request.controllers = {};
    request.sharing.write_cache = WriteCache::back;
    Answer answer = s.ask(s.controller().create_group(request));
    EXPECT_TRUE(answer && text(answer).find("write-back needs") == std::string::npos) << text(answer);
    request.dimension = 1;
    answer = s.ask(s.controller().create_group(request));
    EXPECT_TRUE(answer && text(answer).find("write-back needs a copy elsewhere") != std::string::npos)
        << text(answer);
}

TEST(Verbs, GroupSetPartnersRefusesOneThatIsNamedTwice) {
    Site s;
    const auto make = [&](bool dry_run) {
        return s.controller().set_group({.name = "g",
                                         .change = {.prefetch = std::uint8_t{3}},
                                         .partners_of = "ctl-a",
                                         .partners = {"ctl-b", "ctl-b"},
                                         .dry_run = dry_run});
    };
    EXPECT_REFUSED(s, make, "partner ctl-b is named twice");
}

TEST(Verbs, GroupSetPartnersRefusesWhatIsNoPlace) {
    Site s;
    const auto make = [&](bool dry_run) {
        return s.controller().set_group(
            {.name = "g", .partners_of = "ctl-a", .partners = {"site:"}, .dry_run = dry_run});
    };
    EXPECT_REFUSED(s, make, "site: names no place");
}

/// What is told of a controller that has died, by how its group answers hosts.
std::string told_of_a_death(WriteCache cache, Replication replication) {
    Site s([&](Shape& shape) {
        shape.sharing.write_cache = cache;
        shape.sharing.replication = replication;
        shape.window = 1u << 20;
        shape.window_age = 150ms;
    });
    EXPECT_EQ(s.controller().status().groups.at(0).window_bytes,
              replication == Replication::synchronous ? 0u : 1u << 20);
    s.world.crash(*s.nodes[1].process);
    EXPECT_TRUE(s.until([&] { return s.controller().view().members.size() == 1; }));
    for (const Condition& condition : s.controller().status().conditions) {
        if (condition.code == "CONTROLLER_DOWN") return condition.text;
    }
    return {};
}

TEST(Verbs, StatusSaysHowMuchADeathMayHaveLost) {
    const std::string nothing = "; nothing that hosts of g were answered is lost";
    for (const WriteCache cache : {WriteCache::through, WriteCache::back}) {
        const std::string told = told_of_a_death(cache, Replication::synchronous);
        EXPECT_TRUE(told.ends_with(nothing)) << told;
    }
    for (const Replication mode : {Replication::asynchronous, Replication::pseudo_synchronous}) {
        const std::string told = told_of_a_death(WriteCache::back, mode);
        EXPECT_TRUE(
            told.ends_with("; of what hosts of g were answered at most the last 1048576 bytes, of its last "
                           "150 ms, may be lost, by " +
                           std::string(to_string(mode)) + " replication; what was flushed is there"))
            << told;
    }
}

}  // namespace
}  // namespace braid::sim
