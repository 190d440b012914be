#include "jobs/pace.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "jobs/pace_frames.h"

namespace braid {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::uint64_t kPiece = kMiB / 4;  // that a job asks for at once

/// Disks that can do so much, and hosts and jobs that want some of it. Time passes in milliseconds.
struct Machine {
    std::uint64_t capacity = 800 * kMiB;  ///< bytes per second
    Nanos quick = 1ms;                    ///< what an operation of a host takes at rest
    unsigned host_rate = 10'000;          ///< operations per second
    Pace pace{{10ms, 10 * kMiB}};
    struct Job {
        JobKind kind = JobKind::scrub;
        unsigned priority = kDefaultPriority;
        std::uint64_t done = 0;
        Nanos asks_at{};
    };
    std::vector<Job> jobs{{}};

    /// Of hosts, at the present rate of jobs: as in a queue, and a hundredth of it much more.
    Nanos latency(unsigned operation) const {
        const std::uint64_t left = capacity - std::min(rate, capacity * 99 / 100);
        return quick * (100 + operation % 100) / 100 * static_cast<std::int64_t>(capacity / kMiB) /
               static_cast<std::int64_t>(left / kMiB + 1);
    }
    void tick() {
        now += 1ms;
        std::uint64_t budget = capacity / 1000;
        for (Job& job : jobs) {
            while (job.asks_at <= now && budget > 0) {
                const Nanos wait = pace.ask(now, job.kind, job.priority, kPiece);
                if (wait != Nanos{0}) {
                    job.asks_at = now + wait;
                    break;
                }
                job.done += kPiece;
                recent += kPiece;
                budget -= std::min(budget, kPiece);
            }
        }
        if (now % 50ms == Nanos{0}) {
            rate = recent * 20;
            recent = 0;
        }
        for (unsigned i = 0; i < host_rate / 1000; ++i) {
            const Nanos took = latency(++operations);
            seen.add(took);
            pace.host_began(now);
            pace.host_left();
            (void)pace.host_took(now, took);
        }
    }
    void run(Nanos time) {
        for (const Nanos end = now + time; now < end;) tick();
    }
    /// Bytes per second of all jobs.
    std::uint64_t speed(Nanos time) {
        const auto all = [this] {
            std::uint64_t sum = 0;
            for (const Job& job : jobs) sum += job.done;
            return sum;
        };
        const std::uint64_t before = all();
        run(time);
        return (all() - before) * 1000 / static_cast<std::uint64_t>(time / 1ms);
    }

    Nanos now = 1s;
    std::uint64_t recent = 0, rate = 0;
    unsigned operations = 0;
    Latencies seen;
};

TEST(Pace, KeepsHostsWithinTheirBound) {
    Machine m;
    m.run(10s);
    std::uint64_t least = ~0ull, most = 0;
    for (int second = 0; second < 30; ++second) {
        m.seen.clear();
        const std::uint64_t speed = m.speed(1s);
        least = std::min(least, speed);
        most = std::max(most, speed);
        EXPECT_LE(m.seen.quantile(990), 10ms * 9 / 8) << second;
    }
    // 640 MiB/s are 10 ms.
    EXPECT_GE(least, 480 * kMiB);
    EXPECT_LE(most, 650 * kMiB);
    EXPECT_LE(most - least, most / 5) << "it swings";
}

TEST(Pace, BeginsSlowlyBesideHosts) {
    Machine m;
    const std::vector<Machine::Job> jobs = std::exchange(m.jobs, {});
    m.run(5s);
    m.jobs = jobs;
    m.seen.clear();
    m.run(10s);
    EXPECT_LE(m.seen.quantile(990), 10ms);
    EXPECT_GE(m.speed(1s), 480 * kMiB) << "after ten seconds";
}

/// At a hundredth of the operations that an interval can have.
TEST(Pace, GrowsIntoWhatHostsLeave) {
    Machine m;
    m.host_rate = 1000;
    m.run(4s);
    m.seen.clear();
    EXPECT_GE(m.speed(1s), 480 * kMiB) << "of 640, from 10";
    EXPECT_LE(m.seen.quantile(990), 10ms);
}

/// Members that are quick until they are full: what hosts see tells nothing until then.
TEST(Pace, StaysBelowTheRateThatWasTooFast) {
    Machine m;
    m.quick = 100us;
    m.run(10s);
    m.seen.clear();
    std::uint64_t least = ~0ull;
    for (int second = 0; second < 20; ++second) least = std::min(least, m.speed(1s));
    EXPECT_LE(m.seen.quantile(990), 10ms * 9 / 8);
    EXPECT_GE(least, 640 * kMiB) << "of 800";
}

/// What a work has not used it may use at once up to a tenth of a second's minimum.
TEST(Pace, CatchesUpALittle) {
    Pace pace({10ms, 10 * kMiB});
    pace.host_began(100ms);
    const auto goes = [&](Nanos now) {
        std::uint64_t bytes = 0;
        while (pace.ask(now, JobKind::scrub, 4, kPiece) == Nanos{0}) bytes += kPiece;
        return bytes;
    };
    (void)goes(1s);
    EXPECT_LE(goes(10s), kMiB + kPiece);
    EXPECT_GE(goes(10s + 50ms), kMiB / 2 - kPiece);
    for (Nanos now = 11s; *pace.limit(now) < 400 * kMiB; now += 200ms) {
        (void)goes(now);
        pace.heard(now, AmfId(2), {1ms, 100ms});
        ASSERT_LT(now, 100s);
    }
    (void)goes(110s);
    EXPECT_LE(goes(120s), kMiB + kPiece);
}

/// What hosts lose meanwhile they lose for two seconds.
TEST(Pace, GivesWayWhenHostsNeedMore) {
    Machine m;
    m.run(20s);
    m.capacity = 200 * kMiB;
    m.run(2s);
    m.seen.clear();
    m.run(10s);
    EXPECT_LE(m.seen.quantile(990), 10ms * 9 / 8);
    EXPECT_GE(m.speed(1s), 100 * kMiB);
}

TEST(Pace, HoldsItsMinimum) {
    Machine m;
    m.quick = 50ms;
    m.run(5s);
    const std::uint64_t speed = m.speed(10s);
    EXPECT_GE(speed, 10 * kMiB * 95 / 100);
    EXPECT_LE(speed, 10 * kMiB * 105 / 100);
}

TEST(Pace, HasNoLimitWithoutHosts) {
    Machine m;
    m.host_rate = 0;
    EXPECT_EQ(m.pace.limit(m.now), std::nullopt);
    EXPECT_GE(m.speed(1s), m.capacity * 99 / 100);
    m.host_rate = 10'000;
    m.run(10s);
    const auto beside_hosts = m.pace.limit(m.now);
    ASSERT_TRUE(beside_hosts);
    m.host_rate = 0;
    m.run(Pace::kForgotten + 200ms);
    EXPECT_EQ(m.pace.limit(m.now), std::nullopt);
    EXPECT_GE(m.speed(1s), m.capacity * 99 / 100);
    m.host_rate = 10'000;
    m.tick();
    EXPECT_EQ(m.pace.limit(m.now), beside_hosts) << "it remembers";
}

TEST(Pace, CountsAHostThatWaitsAsAtWork) {
    Pace pace({10ms, kMiB});
    EXPECT_EQ(pace.limit(1s), std::nullopt);
    pace.host_began(1s);
    EXPECT_EQ(pace.limit(100s), kMiB);
    pace.host_left();
    EXPECT_EQ(pace.limit(100s), std::nullopt);
}

TEST(Pace, LetsWorkShareByPriority) {
    Machine m;
    m.quick = 50ms;
    m.jobs = {{JobKind::scrub, 1}, {JobKind::rebuild, 9}};
    m.run(20s);
    EXPECT_NEAR(static_cast<double>(m.jobs[1].done) / static_cast<double>(m.jobs[0].done), 9.0, 0.5);
    m.jobs.pop_back();
    m.run(2s);
    EXPECT_GE(m.speed(5s), 10 * kMiB * 95 / 100) << "who is alone has all of it";
}

/// A thousandth of the work of before: an interval has few operations.
TEST(Pace, FollowsHostsThatDoLittle) {
    Machine m;
    m.host_rate = 1000;
    m.run(60s);
    m.seen.clear();
    m.run(30s);
    EXPECT_LE(m.seen.quantile(990), 10ms * 9 / 8);
    EXPECT_GE(m.speed(1s), 480 * kMiB);
}

TEST(Pace, ReactsOnceToTheSame) {
    Pace pace({10ms, kMiB});
    const AmfId other(2);
    pace.host_began(1s);
    Nanos now = 10s;
    while (*pace.limit(now) < 100 * kMiB) {
        now += 200ms;
        while (pace.ask(now, JobKind::scrub, 4, 10 * kMiB) == Nanos{0}) {
        }
        pace.heard(now, other, {1ms, 100ms});
    }
    const std::uint64_t before = *pace.limit(now);
    now += 100ms;
    pace.heard(now, other, {40ms, 90ms});
    const std::uint64_t after = *pace.limit(now);
    EXPECT_LE(after, before / 4);
    pace.heard(now + 50ms, other, {40ms, 100ms});
    EXPECT_EQ(pace.limit(now + 50ms), after) << "that is from before";
    for (int i = 0; i < 20; ++i) EXPECT_EQ(pace.host_took(now + 60ms, 70ms), std::nullopt);
    EXPECT_EQ(pace.limit(now + 60ms), after) << "that, too";
    pace.heard(now + 110ms, other, {40ms, 100ms});
    EXPECT_LT(*pace.limit(now + 110ms), after);
}

TEST(Pace, WaitsForAllHostsBeforeItGoesFaster) {
    Pace pace({10ms, 100 * kMiB});
    pace.host_began(100ms);
    const auto work = [&](Nanos now) {
        while (pace.ask(now, JobKind::scrub, 4, 10 * kMiB) == Nanos{0}) {
        }
    };
    work(1s);
    pace.heard(1s, AmfId(2), {1ms, 100ms});
    const std::uint64_t faster = *pace.limit(1s);
    EXPECT_GT(faster, 100 * kMiB);
    work(1100ms);
    pace.heard(1100ms, AmfId(3), {9ms, 100ms});
    work(1200ms);
    pace.heard(1200ms, AmfId(2), {1ms, 100ms});
    EXPECT_EQ(pace.limit(1200ms), faster) << "the third one has little left";
}

TEST(Pace, DoesNotGoFasterWhereNobodyWaits) {
    Pace pace({10ms, 100 * kMiB});
    for (Nanos now = 1s; now < 20s; now += 1s) {
        EXPECT_EQ(pace.ask(now, JobKind::scrub, 4, kPiece), Nanos{0});
        pace.heard(now, AmfId(2), {1ms, 100ms});
        EXPECT_EQ(pace.limit(now), 100 * kMiB);
    }
}

TEST(Pace, IsOffWithoutABound) {
    Pace pace({{}, kMiB});
    pace.host_began(1s);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(pace.ask(1s, JobKind::rebuild, 1, kMiB), Nanos{0});
    EXPECT_EQ(pace.report(1s).bytes_of(JobKind::rebuild), 1000 * kMiB);
    EXPECT_EQ(pace.report(1s).limit, 0u);
}

TEST(PaceFrames, AreWhatTheyWere) {
    const HostLatency latency{3ms, 100ms};
    Message message = encode(Uuid{}, latency);
    EXPECT_EQ(message.type, MessageType::host_latency);
    EXPECT_EQ(*decode_host_latency(message), latency);
    EXPECT_TRUE(decode_host_latency(encode(Uuid{}, {Latencies::longest(), HostLatency::kLongestSpan})));
    EXPECT_FALSE(decode_host_latency(encode(Uuid{}, {Nanos{0}, 100ms})));
    EXPECT_FALSE(decode_host_latency(encode(Uuid{}, {Latencies::longest() + 1ns, 100ms})));
    EXPECT_FALSE(decode_host_latency(encode(Uuid{}, {1ms, HostLatency::kLongestSpan + 1ns})));
    message.head.push_back(std::byte{0});
    EXPECT_FALSE(decode_host_latency(message));
    message.head.resize(8);
    EXPECT_FALSE(decode_host_latency(message));
}

}  // namespace
}  // namespace braid
