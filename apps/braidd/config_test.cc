#include "braidd/config.h"

#include <gtest/gtest.h>

namespace braid {
namespace {

constexpr std::string_view kSmallest = "[controller]\nname = \"ctl-a\"\n[disks]\nscan = [\"/srv/d*\"]\n";

ConfigError error_of(const std::string& text) {
    auto parsed = parse_config(text);
    EXPECT_FALSE(parsed) << text;
    return parsed ? ConfigError{} : parsed.error();
}

TEST(Config, SmallestFileHasTheDocumentedDefaults) {
    const auto c = parse_config(kSmallest);
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->name, "ctl-a");
    EXPECT_EQ(c->scan, std::vector<std::string>{"/srv/d*"});
    EXPECT_EQ(c->cluster_directory, "/var/lib/braidd/cluster");
    EXPECT_EQ(c->ping_timeout_ms, 1000u);
    EXPECT_EQ(c->memory, 256ull << 20);
    EXPECT_EQ(c->cache, 64ull << 20);
}

TEST(Config, LabelsAreWordsLikeNames) {
    for (const char* label : {"two words", "-x", "12345678901234567890123456789012"}) {
        const std::string text =
            "[controller]\nname = \"a\"\nsite = \"" + std::string(label) + "\"\n[disks]\nscan = [\"/d\"]\n";
        EXPECT_NE(error_of(text).text.find("is not a label"), std::string::npos) << label;
    }
}

TEST(Config, EveryKeyIsRead) {
    const auto c = parse_config(R"(
[controller]
name = "b"
state = "/s"
host = "rack-1"
site = "north"
[listen]
nbd = ["127.0.0.1:10809", "unix:/run/n"]
peers = "unix:/run/p"
api = ["unix:/run/a"]
[cluster]
provider = "local"
directory = "/c"
ping_timeout_ms = 250
[disks]
scan = ["/a*", "/b"]
engine = "threads"
delay_us = 100
[limits]
memory = "1GiB"
cache = "8MiB"
passed = "128KiB"
window = "2MiB"
window_age_ms = 50
spare_delay_s = 5
host_p99_ms = 0.9
background_min = "32MiB"
spin_us = 0
[log]
level = "debug"
)");
    ASSERT_TRUE(c) << c.error().text;
    EXPECT_EQ(c->state, "/s");
    EXPECT_EQ(c->host + '/' + c->site, "rack-1/north");
    EXPECT_EQ(c->passed, 128u << 10);
    EXPECT_EQ(c->window, 2ull << 20);
    EXPECT_EQ(c->window_age_ms, 50u);
    EXPECT_EQ(c->spare_delay_s, 5u);
    EXPECT_EQ(c->host_p99_us, 900u);
    EXPECT_EQ(c->background_min, 32ull << 20);
    EXPECT_EQ(c->nbd, (std::vector<std::string>{"127.0.0.1:10809", "unix:/run/n"}));
    EXPECT_EQ(c->peers, "unix:/run/p");
    EXPECT_EQ(c->api, std::vector<std::string>{"unix:/run/a"});
    EXPECT_EQ(c->cluster_directory, "/c");
    EXPECT_EQ(c->ping_timeout_ms, 250u);
    EXPECT_EQ(c->scan.size(), 2u);
    EXPECT_EQ(c->engine, DiskEngine::threads);
    EXPECT_EQ(c->disk_delay_us, 100u);
    EXPECT_EQ(c->memory, 1ull << 30);
    EXPECT_EQ(c->cache, 8ull << 20);
    EXPECT_EQ(c->spin_us, 0u);
    EXPECT_EQ(c->log_level, LogLevel::debug);
}

TEST(Config, SyntaxErrorsHaveLineAndColumn) {
    const ConfigError e = error_of("[controller]\nname = \n");
    EXPECT_EQ(e.line, 2u);
    EXPECT_GT(e.column, 5u);
}

TEST(Config, OddTableHeadersAreErrorsNotTheEnd) {
    for (const char* odd : {"[[=", "[\x01", "[[\x01g]", "[]", "[[", "["}) {
        EXPECT_EQ(error_of(odd).line, 1u) << odd;
    }
}

TEST(Config, CharactersBeyondAsciiStandInCommentsOnly) {
    const auto good = parse_config(
        "# gr\u00fc\u00dfe \"\n[controller]\nname = \"a\"\n[disks]\nscan = [\"/\\u00f6 \\\"#\", '#\\'] # "
        "\u00e4 '\n");
    ASSERT_TRUE(good) << good.error().text;
    EXPECT_EQ(good->scan, (std::vector<std::string>{"/\u00f6 \"#", "#\\"}));
    const ConfigError e = error_of("[controller]\nname = \"\u00fc\"\n");
    EXPECT_EQ(e.line, 2u);
    EXPECT_EQ(e.column, 9u);
    EXPECT_EQ(error_of("a = \"\"\"\nb\"\"\"").column, 5u);
}

TEST(Config, UnknownKeysAreErrorsThatNameTheKnownOnes) {
    const ConfigError key = error_of(std::string(kSmallest) + "[log]\n  levle = \"info\"\n");
    EXPECT_EQ(key.text, "unknown key 'levle' in [log]: the keys are level");
    EXPECT_EQ(key.line, 6u);
    EXPECT_EQ(key.column, 3u);
    const ConfigError section = error_of(std::string(kSmallest) + "[logs]\n");
    EXPECT_EQ(section.text,
              "unknown section [logs]: the sections are controller, listen, cluster, disks, limits, log");
}

TEST(Config, WrongValuesSayWhatWouldBeRight) {
    const std::string small(kSmallest);
    EXPECT_EQ(error_of(small + "[limits]\nspin_us = \"fast\"\n").text,
              "'spin_us' in [limits] must be a number from 0 to 10000");
    for (const char* wrong : {"-1", "60001", "nan", "\"1\"", "true"})
        EXPECT_EQ(error_of(small + "[limits]\nhost_p99_ms = " + wrong + "\n").text,
                  "'host_p99_ms' in [limits] must be a number from 0 to 60000");
    EXPECT_EQ(parse_config(small + "[limits]\nhost_p99_ms = 3\n")->host_p99_us, 3000u);
    EXPECT_EQ(error_of(small + "[limits]\nmemory = \"1PB\"\n").line, 6u);
    EXPECT_EQ(error_of(small + "[limits]\nmemory = -1\n").line, 6u);
    EXPECT_EQ(parse_config(small + "[limits]\ncache = 0\n")->cache, 0u);
    EXPECT_EQ(error_of(small + "[limits]\ncache = \"2TiB\"\n").line, 6u);
    EXPECT_EQ(parse_config(small + "[limits]\ndirty = \"32GiB\"\n")->dirty, 32ull << 30);
    EXPECT_EQ(error_of(small + "[limits]\ndirty = \"33GiB\"\n").text,
              "'dirty' in [limits] must be a size from 1 MiB to 32 GiB, as \"256MiB\"");
    EXPECT_EQ(error_of(small + "[limits]\npassed = \"9MiB\"\n").text,
              "'passed' in [limits] must be a size from 0 MiB to 8 MiB, as \"256MiB\"");
    EXPECT_EQ(error_of(small + "[listen]\nnbd = \"127.0.0.1:1\"\n").text,
              "'nbd' in [listen] must be a list of strings");
    EXPECT_EQ(error_of(small + "[cluster]\nprovider = \"corosync\"\n").text,
              "'provider' in [cluster] must be one of \"local\"");
    EXPECT_EQ(error_of("disks = 3\n").text, "'disks' must be a section: [disks]");
}

TEST(Config, HeadersWithoutANameAndControlCharactersAreErrorsNotCrashes) {
    for (const char* text : {"[,lo]\n", "[ ,lo]\n", "[[,a]]\n", "[\n", "[.a]\n", "[+]\n", "\t[#]\n"}) {
        EXPECT_EQ(error_of(text).text, "a section's name is missing after '['") << text;
    }
    const ConfigError control = error_of("[controller]\nname = \"a\x01\"\n");
    EXPECT_EQ(control.text, "control character 0x01");
    EXPECT_EQ(control.line, 2u);
    EXPECT_EQ(control.column, 10u);
}

TEST(Config, NameAndScanAreRequired) {
    EXPECT_EQ(error_of("[disks]\nscan = [\"/d\"]\n").text,
              "[controller] name is missing: write name = \"ctl-a\"");
    EXPECT_EQ(error_of("[controller]\nname = \"a\"\n").text.substr(0, 23), "[disks] scan is missing");
    EXPECT_NE(error_of("[controller]\nname = \"a b\"\n[disks]\nscan = [\"/d\"]\n")
                  .text.find("not a controller's name"),
              std::string::npos);
}

}  // namespace
}  // namespace braid
