#include "sim/scenario.h"

#include <gtest/gtest.h>

#include <cstring>

#include "sim/scenario_content.h"
#include "sim/scenario_steps.h"

namespace braid::sim {
namespace {

// ---- sequences

Sequence lines(std::initializer_list<const char*> texts) {
    Sequence out;
    std::uint32_t source = 1;
    for (const char* text : texts) out.add(text, source++);
    return out;
}

TEST(ScenarioSequence, FitsByWordsInOrder) {
    const auto line = split_words("a > b lock_grant X write +release");
    EXPECT_TRUE(fits(split_words("a > b lock_grant write"), line));
    EXPECT_TRUE(fits(split_words("* > b lock_grant"), line));
    EXPECT_FALSE(fits(split_words("a > b write lock_grant"), line));
    EXPECT_FALSE(fits(split_words("a > c lock_grant"), line));
    EXPECT_FALSE(fits(split_words("a > b lock_grant read"), line));
}

TEST(ScenarioSequence, WhatIsSpecialMustBeNamed) {
    const auto line = split_words("a > b lock_grant X write +release");
    EXPECT_FALSE(fits_exactly(split_words("a > b lock_grant write"), line));
    EXPECT_TRUE(fits_exactly(split_words("a > b lock_grant +release"), line));
    EXPECT_FALSE(fits(split_words("a > b lock_grant +recover"), line));
}

TEST(ScenarioSequence, KeepsTheOrder) {
    const Sequence wanted = lines({"a > b ping", "a > b pong"});
    EXPECT_EQ(wanted.compare({"a > b ping", "a > b pong"}), "");
    EXPECT_NE(wanted.compare({"a > b pong", "a > b ping"}), "");
    EXPECT_NE(wanted.compare({"a > b ping"}), "");
    EXPECT_NE(wanted.compare({"a > b ping", "a > b pong", "a > b ping"}), "");
    EXPECT_NE(wanted.compare({}), "");
    EXPECT_EQ(lines({}).compare({}), "");
}

TEST(ScenarioSequence, MarksTheFirstDifference) {
    const std::string table = lines({"a > b ping", "a > b pong"}).compare({"a > b ping", "b > a pong"});
    EXPECT_NE(table.find(">> 2: a > b pong"), std::string::npos) << table;
    EXPECT_EQ(table.find(">> 1"), std::string::npos) << table;
}

/// first, then in any order b and (c, d), then last.
Sequence nested() {
    Sequence out;
    out.add("a x first", 1);
    out.open();
    out.add("a x b", 2);
    out.open();
    out.add("a x c", 3);
    out.add("a x d", 4);
    out.close();
    out.close();
    out.add("a x last", 5);
    return out;
}

TEST(ScenarioSequence, AGroupComesInAnyOrderItsSequencesInTheirs) {
    const auto all = [](std::initializer_list<const char*> middle) {
        std::vector<std::string> out = {"a x first"};
        for (const char* text : middle) out.emplace_back(std::string("a x ") + text);
        out.emplace_back("a x last");
        return nested().compare(out);
    };
    EXPECT_EQ(all({"b", "c", "d"}), "");
    EXPECT_EQ(all({"c", "b", "d"}), "");
    EXPECT_EQ(all({"c", "d", "b"}), "");
    EXPECT_NE(all({"d", "c", "b"}), "");
    EXPECT_NE(all({"b", "c"}), "");
    EXPECT_NE(nested().compare({"a x b", "a x first", "a x c", "a x d", "a x last"}), "");
    EXPECT_NE(nested().compare({"a x first", "a x b", "a x c", "a x last", "a x d"}), "");
}

// ---- content

TEST(ScenarioContent, AnAnsweredWriteIsThere) {
    Content content;
    const auto write = content.write_begins(0, 1024, false);
    content.write_done(write, false);
    EXPECT_EQ(content.read_done(content.read_begins(0, 1024), content.bytes_of(write).span()), "");
    const Buffer zeros = Buffer::zeroed(1024);
    EXPECT_NE(content.read_done(content.read_begins(0, 1024), zeros.span()), "");
    EXPECT_EQ(content.read_done(content.read_begins(1024, 1024), zeros.span()), "");
}

TEST(ScenarioContent, ALostWriteIsThereOrNotButDoesNotComeAndGo) {
    Content content;
    const auto lost = content.write_begins(0, 512, false);
    content.write_lost(lost);
    EXPECT_EQ(content.read_done(content.read_begins(0, 512), Buffer::zeroed(512).span()), "");
    EXPECT_NE(content.read_done(content.read_begins(0, 512), content.bytes_of(lost).span()), "");
}

TEST(ScenarioContent, ALostWriteDoesNotLandOverALaterOne) {
    Content content;
    const auto lost = content.write_begins(0, 512, false);
    content.write_lost(lost);
    const auto later = content.write_begins(0, 512, false);
    content.write_done(later, false);
    EXPECT_NE(content.read_done(content.read_begins(0, 512), content.bytes_of(lost).span()), "");
    EXPECT_EQ(content.read_done(content.read_begins(0, 512), content.bytes_of(later).span()), "");
}

TEST(ScenarioContent, OfTwoWritesAtOnceEitherIsLast) {
    Content content;
    const auto one = content.write_begins(0, 512, false), two = content.write_begins(0, 512, false);
    content.write_done(one, false);
    content.write_done(two, false);
    EXPECT_EQ(content.read_done(content.read_begins(0, 512), content.bytes_of(two).span()), "");
    EXPECT_NE(content.read_done(content.read_begins(0, 512), content.bytes_of(one).span()), "");
}

TEST(ScenarioContent, PowerTakesOnlyWhatWasNotFlushed) {
    Content content;
    const auto flushed = content.write_begins(0, 512, false);
    content.write_done(flushed, false);
    content.flush_done(content.flush_begins());
    const auto after = content.write_begins(0, 512, false);
    content.write_done(after, false);
    content.power_lost();
    Content other = content;
    EXPECT_EQ(content.read_done(content.read_begins(0, 512), content.bytes_of(flushed).span()), "");
    EXPECT_EQ(other.read_done(other.read_begins(0, 512), other.bytes_of(after).span()), "");
    Content third = content;
    EXPECT_NE(third.read_done(third.read_begins(0, 512), Buffer::zeroed(512).span()), "");
}

// ---- files

const std::string kHead = "title = \"t\"\n[cluster]\ncontrollers = 3\n[places]\nX = {}\n[[phase]]\n";

TEST(ScenarioFile, MistakesAreNamedWithTheirLine) {
    const struct {
        std::string text;
        std::uint32_t line;
        const char* says;
    } cases[] = {
        {"title = \"t\"\ntitel = 3\n", 2, "unknown key 'titel'"},
        {"title = \"t\"\n", 1, "there is no [[phase]]"},
        {"title = \n", 1, ""},
        {"title = \"t\"\n[cluster]\n\ndisks = 99\n", 4, "'disks' must be a number from 3 to 64"},
        {"title = \"t\"\n[cluster]\nlevel = \"raid9\"\n", 2, "'raid9' is none"},
        {"title = \"t\"\n[cluster]\ncoherency = \"none\"\n", 3, "'coherency' has no such value"},
        {"title = \"t\"\n[cluster]\namfs = 8\n", 2, "at most 16"},
        {"title = \"t\"\n[places]\nx = {}\n", 3, "capitals"},
        {"title = \"t\"\n[places]\nX = { arbiter = \"k\" }\n", 3, "'k' is no controller"},
        {kHead + "does = [\n\"a writes 4K at Y\"]\n", 8, "'Y' is no AT"},
        {kHead + "does = [\n\"a writes 4X at X\"]\n", 8, "'4X' is no SIZE"},
        {kHead + "does = [\n\"a sings\"]\n", 8, "'sings' is not"},
        {kHead + "does = [\n\"crash d\"]\n", 8, "'d' is no CS"},
        {kHead + "does = [\n\"hold a > b lock_song\"]\n", 8, "'lock_song' is no message"},
        {kHead + "does = [\n\"hold a writes X/d9\"]\n", 8, "'X/d9' is no strip"},
        {kHead + "does = [\n\"until a > b lock_song\"]\n", 8, "'lock_song' is no message"},
        {kHead + "does = [\n\"await w1 fails badly\"]\n", 8, "'badly' is no error"},
        {kHead + "does = [\"heal\"]\nmessages = [\n[\"a > z ping\"]]\n", 9, "'z' is no controller"},
        {kHead + "kinds = [\"noise\"]\ndoes = [\"heal\"]\n", 7, "'noise' is no kind"},
        {kHead + "messages = []\n", 6, "does nothing"},
        {"title = \"\xc3\xa4\"\n", 1, "ASCII"},
    };
    for (const auto& wrong : cases) {
        const auto scenario = parse_scenario(wrong.text);
        ASSERT_FALSE(scenario.has_value()) << wrong.text;
        EXPECT_EQ(scenario.error().line, wrong.line) << wrong.text << scenario.error().text;
        EXPECT_NE(scenario.error().text.find(wrong.says), std::string::npos) << scenario.error().text;
    }
}

TEST(ScenarioFile, EachStandsForOneAfterTheOther) {
    const std::string text = kHead + "does = [\"until EACH\"]\n";
    const std::string with = "each = [\"a > b ping\", \"calm\"]\n" + text;
    EXPECT_EQ(parse_scenario(with, 0)->phases[0].steps[0].text, "until a > b ping");
    EXPECT_EQ(verb_of(parse_scenario(with, 1)->phases[0].steps[0]), Verb::until_calm);
    EXPECT_FALSE(parse_scenario(text, 0).has_value());
}

// ---- whole runs

std::string run(const std::string& steps) {
    const auto scenario =
        parse_scenario("title = \"t\"\n[places]\nX = { arbiter = \"c\" }\n[[phase]]\n" + steps);
    EXPECT_TRUE(scenario.has_value()) << scenario.error().text;
    return run_scenario(*scenario, 1).failure;
}

TEST(ScenarioRun, TheSameSeedGivesTheSameRun) {
    const auto scenario =
        parse_scenario(kHead + "does = [\"w: a writes 4K at X\", \"run 5ms\", \"crash a\"]\n");
    EXPECT_EQ(run_scenario(*scenario, 7).hash, run_scenario(*scenario, 7).hash);
    EXPECT_NE(run_scenario(*scenario, 7).hash, run_scenario(*scenario, 8).hash);
}

TEST(ScenarioRun, WhatIsNotAsExpectedIsTold) {
    EXPECT_EQ(run("does = [\"w: a writes 4K at X\", \"await w\", \"b reads 4K at X = w\"]"), "");
    EXPECT_NE(run("does = [\"w: a writes 4K at X\", \"await w\", \"b reads 4K at X = zeros\"]"), "");
    EXPECT_NE(run("does = [\"a writes 4K at X fails offline\"]"), "");
    EXPECT_NE(run("does = [\"w: a writes 4K at X\", \"await w\", \"w waits\"]"), "");
    EXPECT_NE(run("does = [\"expect view a b\"]"), "");
    EXPECT_NE(run("does = [\"expect 1 replayed\"]"), "");
    EXPECT_NE(run("does = [\"expect a holds X write\"]"), "");
    EXPECT_NE(run("does = [\"expect condition DISK_FAILED\"]"), "");
    EXPECT_NE(run("does = [\"expect no a\"]"), "");
    EXPECT_NE(run("does = [\"disk X/d0 refuses writes\", \"run 1ms\", \"release a > b ping\"]"), "");
    EXPECT_NE(run("does = [\"a writes 4K at X\"]\nmessages = []"), "");
    EXPECT_EQ(run("does = [\"heal\"]\nmessages = []"), "");
}

TEST(ScenarioRun, AFailureNamesItsLineAndShowsTheDifference) {
    const std::string step = run("does = [\n\"heal\",\n\"expect view a\"]");
    EXPECT_EQ(step.substr(0, 20), "7: 'expect view a': ") << step;
    const std::string table =
        run("does = [\"b reads 4K at X\"]\nmessages = [\"b > c lock_request X write\"]");
    EXPECT_NE(table.find(">> 6: b > c lock_request X write"), std::string::npos) << table;
    EXPECT_NE(table.find("b > c lock_request X read"), std::string::npos) << table;
}

TEST(ScenarioRun, WhatIsHeldWaitsWithAllThatFollows) {
    EXPECT_EQ(run("does = [\"hold a > b record_begin\", \"w: a writes 4K at X\", \"run 20ms\", \"w waits\", "
                  "\"release\", \"await w\"]\n"),
              "");
    EXPECT_EQ(
        run("does = [\"hold a writes X/P\", \"w: a writes 4K at X\", \"until a wrote X/d0\", \"run 20ms\", "
            "\"w waits\", \"release a writes X/P\", \"await w\"]\n"),
        "");
}

}  // namespace
}  // namespace braid::sim
