// The simulated seams on their own: what a run may rely on, and what a seed decides.
#include <gtest/gtest.h>

#include "sim/cluster.h"

namespace braid::sim {
namespace {

Task<void> sleep_and_count(Clock& clock, Nanos delay, int& count) {
    co_await sleep_for(clock, delay);
    ++count;
}

struct Machine {
    explicit Machine(std::uint64_t seed = 1) : world(seed) {}
    std::shared_ptr<Process> start(const char* name) { return world.start_process(name); }
    void run(Nanos time) {
        world.run_until([] { return false; }, time);
    }
    World world;
};

// ---- world

TEST(SimWorld, FiresInOrderOfTimeAndThenOfAsking) {
    Machine m;
    std::string order;
    m.world.after(2ms, [&] { order += 'c'; });
    m.world.after(1ms, [&] { order += 'a'; });
    m.world.after(1ms, [&] { order += 'b'; });
    const EventKey gone = m.world.after(1ms, [&] { order += 'x'; });
    m.world.cancel(gone);
    m.run(5ms);
    EXPECT_EQ(order, "abc");
}

TEST(SimWorld, APausedProcessStandsStillAndItsTimersFireWhenItGoesOn) {
    Machine m;
    const auto process = m.start("p");
    Scope scope(process->executor);
    int count = 0;
    scope.spawn(sleep_and_count(process->clock, 1ms, count));
    m.run(100us);
    m.world.pause(*process);
    m.run(10ms);
    EXPECT_EQ(count, 0);
    m.world.resume(*process);
    m.world.after(0ms, [] {});
    m.run(1ms);
    EXPECT_EQ(count, 1);
}

TEST(SimWorld, AClockStartsAnywhereRunsAtItsOwnRateAndAJumpWakesNobody) {
    Machine m;
    const auto process = m.start("p");
    process->clock.set(1h, 900);
    Scope scope(process->executor);
    int count = 0;
    m.world.after(10ms, [] {});
    m.run(10ms);
    EXPECT_EQ(process->clock.now(), 1h + 9ms);
    scope.spawn(sleep_and_count(process->clock, 9ms, count));
    m.world.after(9999us, [&] { process->clock.jump(5s); });
    m.run(9999us);
    EXPECT_EQ(count, 0);
    m.run(2us);
    EXPECT_EQ(count, 1);
    EXPECT_GE(process->clock.now(), 1h + 5s + 18ms);
    scope.spawn(sleep_and_count(process->clock, Nanos::max() - process->clock.now(), count));
    m.run(1s);
    EXPECT_EQ(count, 1);
}

TEST(SimWorld, ACrashDropsWhatRunsAndTellsWhoAsked) {
    Machine m;
    const auto process = m.start("p");
    auto scope = std::make_unique<Scope>(process->executor);
    int count = 0, told = 0;
    scope->spawn(sleep_and_count(process->clock, 1ms, count));
    process->destroy = [&] { scope.reset(); };
    process->on_death.push_back([&] { ++told; });
    m.run(100us);
    m.world.crash(*process);
    m.world.crash(*process);
    m.run(10ms);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(told, 1);
    EXPECT_FALSE(process->alive);
}

TEST(SimWorld, TheFirstViolationStaysAndEndsTheRun) {
    Machine m;
    int fired = 0;
    m.world.after(1ms, [&] { m.world.violation("one"); });
    m.world.after(2ms, [&] { m.world.violation("two"); });
    m.world.after(3ms, [&] { ++fired; });
    m.run(10ms);
    EXPECT_EQ(m.world.violated(), "one");
    EXPECT_EQ(fired, 0);
}

// ---- disks

constexpr std::size_t kBlocks = 4;

struct Drive : Machine {
    explicit Drive(std::uint64_t seed = 1) : Machine(seed), media(world, 0, 16u << 20) { restart(); }
    void restart() {
        process = start("p");
        disk = std::make_unique<SimDisk>(*process, media, "d");
    }
    Status run_op(DiskVerb verb, std::uint64_t at, std::span<std::byte> memory, std::uint64_t zeroes = 0) {
        DiskOp op(verb, at, memory, zeroes);
        Join join(process->executor);
        disk->submit(op, join);
        EXPECT_NE(op.in_flight, nullptr);
        run(100ms);
        EXPECT_EQ(op.in_flight, nullptr);
        return op.status;
    }
    Buffer filled(std::uint8_t value) const {
        const Buffer out(kBlocks * kBlockSize);
        std::ranges::fill(out.span(), std::byte{value});
        return out;
    }
    /// Submits a write and dies before it is answered; what stands there when the disk has drained.
    std::string crash_in_a_write() {
        (void)run_op(DiskVerb::write, 0, filled(1).span());
        {
            const Buffer memory = filled(2);
            auto op = std::make_unique<DiskOp>(DiskVerb::write, 0, memory.span());
            Join join(process->executor);
            disk->submit(*op, join);
            process->destroy = [&] { op.reset(); };
            world.crash(*process);
        }
        run(world.knobs.drain_max);
        EXPECT_EQ(process->orphans, 0u);
        const Buffer seen(kBlocks * kBlockSize);
        media.peek(0, seen.span());
        std::string out;
        for (std::size_t at = 0; at < seen.size(); at += 512) {
            const auto first = seen.data()[at];
            for (std::size_t i = 0; i < 512; ++i) EXPECT_EQ(seen.data()[at + i], first);
            out += static_cast<char>('0' + static_cast<int>(first));
        }
        return out;
    }
    Media media;
    std::shared_ptr<Process> process;
    std::unique_ptr<SimDisk> disk;
};

TEST(SimDisk, GivesBackWhatWasWrittenAndGarbageWhereNobodyWrote) {
    Drive d;
    const Buffer seen(kBlocks * kBlockSize);
    EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(7).span()));
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    EXPECT_EQ(std::memcmp(seen.data(), d.filled(7).data(), seen.size()), 0);
    EXPECT_TRUE(d.run_op(DiskVerb::read, 1u << 20, seen.span()));
    EXPECT_EQ(std::ranges::count(seen.span(), std::byte{0}) < 200, true);
    EXPECT_TRUE(d.run_op(DiskVerb::zero, 1u << 20, {}, kBlockSize));
    EXPECT_TRUE(d.run_op(DiskVerb::read, 1u << 20, seen.span(0, kBlockSize)));
    EXPECT_EQ(std::ranges::count(seen.span(0, kBlockSize), std::byte{0}), kBlockSize);
}

/// How often a loss of power changes a write that was answered, in 60 tries; something else was written
/// before or beside it.
std::size_t undone_by_power(bool durable) {
    std::size_t undone = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        Drive d(seed);
        d.world.knobs.volatile_cache = true;
        EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(1).span()));
        const Buffer bytes = d.filled(2);
        DiskOp op = DiskOp::write(0, bytes.span());
        op.durable = durable;
        Join join(d.process->executor);
        d.disk->submit(op, join);
        d.run(100ms);
        EXPECT_TRUE(d.run_op(DiskVerb::write, 1u << 20, d.filled(3).span()));
        d.media.lose_power();
        const Buffer seen(kBlocks * kBlockSize);
        d.media.peek(0, seen.span());
        undone += std::ranges::equal(seen.span(), bytes.span()) ? 0 : 1;
    }
    return undone;
}

TEST(SimDisk, ALossOfPowerUndoesAWriteThatNobodyFlushedUnlessItWasDurable) {
    EXPECT_GT(undone_by_power(false), 30u);
    EXPECT_EQ(undone_by_power(true), 0u);
}

TEST(SimDisk, AWriteOfADeadProcessLandsWholeOrTornOrVanishes) {
    std::size_t whole = 0, vanished = 0, torn = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        Drive d(seed);
        const std::string seen = d.crash_in_a_write();
        if (seen == std::string(seen.size(), '2')) {
            ++whole;
        } else if (seen == std::string(seen.size(), '1')) {
            ++vanished;
        } else {
            ++torn;
        }
    }
    EXPECT_GT(whole, 5u);
    EXPECT_GT(vanished, 5u);
    EXPECT_GT(torn, 5u);
}

TEST(SimDisk, ASeedDecidesWhatACrashLeaves) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        Drive one(seed), two(seed);
        EXPECT_EQ(one.crash_in_a_write(), two.crash_in_a_write());
        EXPECT_EQ(one.world.hash(), two.world.hash());
    }
}

TEST(SimDisk, FailsAsToldAndABadBlockIsGoodAgainWhenItIsWritten) {
    Drive d;
    const Buffer seen(kBlocks * kBlockSize);
    d.media.bad.insert(1);
    EXPECT_EQ(d.run_op(DiskVerb::read, 0, seen.span()).error().code, Errc::media_error);
    EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(1).span()));
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    d.media.fails_writes = true;
    EXPECT_EQ(d.run_op(DiskVerb::write, 0, d.filled(2).span()).error().code, Errc::io_error);
    EXPECT_FALSE(d.run_op(DiskVerb::flush, 0, {}));
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    d.media.fails_writes = false;
    d.media.errors_of_1000 = 1000;
    EXPECT_FALSE(d.run_op(DiskVerb::read, 0, seen.span()));
    d.media.errors_of_1000 = 0;
    d.media.dead = true;
    EXPECT_FALSE(d.run_op(DiskVerb::read, 0, seen.span()));
    EXPECT_EQ(d.disk->counters().errors, 5u);
}

TEST(SimDisk, TearsAtSectorsAtBlocksAndAfterSome) {
    Drive d;
    for (int i = 0; i < 40; ++i) (void)d.media.write_torn(0, d.filled(3).span());
    EXPECT_GT(d.world.count(Mark::torn_at_512), 3u);
    EXPECT_GT(d.world.count(Mark::torn_at_4096), 3u);
    EXPECT_GT(d.world.count(Mark::torn_after_some), 3u);
}

TEST(SimDisk, OneThatWasPulledIsLostToItsHandlesWhateverComesBack) {
    Drive d;
    const Buffer seen(kBlocks * kBlockSize);
    EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(1).span()));
    Media::Content old = d.media.snapshot();
    EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(2).span()));
    d.media.pull();
    EXPECT_FALSE(d.run_op(DiskVerb::read, 0, seen.span()));
    d.media.plug_in(std::move(old), false);
    EXPECT_FALSE(d.run_op(DiskVerb::read, 0, seen.span()));
    d.restart();
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    EXPECT_EQ(std::memcmp(seen.data(), d.filled(1).data(), seen.size()), 0);
    d.media.pull();
    d.media.plug_in(std::nullopt, true);
    d.restart();
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    EXPECT_EQ(std::memcmp(seen.data(), d.filled(0).data(), seen.size()), 0);
}

TEST(SimDisk, RotSpoilsWhatWasWrittenAndNothingElse) {
    Drive d;
    Prng prng(3);
    EXPECT_FALSE(d.media.rot(prng, 0, kBlocks));
    EXPECT_TRUE(d.run_op(DiskVerb::write, 0, d.filled(1).span()));
    std::size_t changed = 0;
    for (int i = 0; i < 20; ++i) changed += d.media.rot(prng, 0, kBlocks) ? 1 : 0;
    EXPECT_EQ(changed, 20u);
    const Buffer seen(kBlocks * kBlockSize);
    EXPECT_TRUE(d.run_op(DiskVerb::read, 0, seen.span()));
    EXPECT_NE(std::memcmp(seen.data(), d.filled(1).data(), seen.size()), 0);
}

// ---- links

Task<void> listen_once(Listener& listener, std::unique_ptr<ByteStream>& out) {
    auto stream = co_await listener.accept();
    if (stream) out = std::move(*stream);
}

Task<void> dial(Network& network, std::string address, std::unique_ptr<ByteStream>& out, Errc& error) {
    auto stream = co_await network.connect(std::move(address));
    if (stream) {
        out = std::move(*stream);
    } else {
        error = stream.error().code;
    }
}

Task<void> send(Executor& executor, ByteStream& stream, Bytes bytes, Status& status, bool& done) {
    status = co_await write_all(executor, stream, bytes);
    done = true;
}

Task<void> receive(Executor& executor, ByteStream& stream, Bytes& bytes, Status& status) {
    status = co_await read_exactly(executor, stream, bytes);
}

struct Wire : Machine {
    explicit Wire(std::uint64_t seed = 1) : Machine(seed), wires(world) {
        b = start("b");
        a = start("a");
        network_a.emplace(wires, *a);
        network_b.emplace(wires, *b);
        listener = std::move(*network_b->listen("sim:0"));
        scope_a.emplace(a->executor);
        scope_b.emplace(b->executor);
    }
    void connect() {
        scope_b->spawn(listen_once(*listener, at_b));
        scope_a->spawn(dial(*network_a, listener->address(), at_a, error));
        run(100ms);
    }
    static Bytes pattern(std::size_t size) {
        Bytes out(size);
        for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(mix64(i));
        return out;
    }
    Wires wires;
    std::shared_ptr<Process> a, b;
    std::optional<SimNetwork> network_a, network_b;
    std::unique_ptr<Listener> listener;
    std::unique_ptr<ByteStream> at_a, at_b;
    Errc error{};
    std::optional<Scope> scope_a, scope_b;
};

TEST(SimNetwork, BytesArriveInOrderThroughASmallWindow) {
    Wire w;
    w.world.knobs.stream_window = 1000;
    w.connect();
    ASSERT_TRUE(w.at_a && w.at_b);
    Bytes got(50'000);
    Status sent = fail(Errc::cancelled), received = fail(Errc::cancelled);
    bool done = false;
    w.scope_a->spawn(send(w.a->executor, *w.at_a, Wire::pattern(got.size()), sent, done));
    w.run(100ms);
    EXPECT_FALSE(done);  // nobody reads: the window is full
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got, received));
    w.run(1s);
    EXPECT_TRUE(sent.has_value());
    EXPECT_TRUE(received.has_value());
    EXPECT_EQ(got, Wire::pattern(got.size()));
}

TEST(SimNetwork, ACutHoldsBytesBackUntilItIsHealed) {
    Wire w;
    w.connect();
    Bytes got(100);
    Status sent, received = fail(Errc::cancelled);
    bool done = false;
    w.wires.cut(w.a->pid, w.b->pid, false);
    w.scope_a->spawn(send(w.a->executor, *w.at_a, Wire::pattern(got.size()), sent, done));
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got, received));
    w.run(200ms);
    EXPECT_FALSE(received.has_value());
    w.wires.heal();
    w.run(100ms);
    EXPECT_TRUE(received.has_value());
    EXPECT_EQ(got, Wire::pattern(got.size()));
}

Task<void> send_pieces(Executor& executor, ByteStream& stream, Bytes bytes, std::size_t piece) {
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        (void)co_await write_all(executor, stream, std::span(bytes).subspan(at, piece));
    }
}

TEST(SimNetwork, NothingPassesWhatACutHeldBack) {
    Wire w;
    w.world.knobs.link_latency_max = 5ms;
    w.connect();
    Bytes got(4000);
    Status received = fail(Errc::cancelled);
    w.scope_a->spawn(send_pieces(w.a->executor, *w.at_a, Wire::pattern(got.size()), 40));
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got, received));
    for (int i = 0; i < 100; ++i) {
        w.wires.cut(w.a->pid, w.b->pid, false);
        w.run(100us);
        w.wires.heal();
        w.run(100us);
    }
    w.run(1s);
    EXPECT_TRUE(received.has_value());
    EXPECT_EQ(got, Wire::pattern(got.size()));
}

TEST(SimNetwork, NobodyIsDialledAcrossACut) {
    Wire w;
    w.wires.cut(w.b->pid, w.a->pid, false);
    w.connect();
    EXPECT_EQ(w.at_a, nullptr);
    EXPECT_EQ(w.error, Errc::timeout);
}

TEST(SimNetwork, AResetEndsBothSides) {
    Wire w;
    w.connect();
    Bytes got_a(1), got_b(1);
    Status a_reads, b_reads;
    w.scope_a->spawn(receive(w.a->executor, *w.at_a, got_a, a_reads));
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got_b, b_reads));
    w.run(10ms);
    w.wires.reset(w.a->pid, w.b->pid);
    w.run(10ms);
    EXPECT_EQ(a_reads.error().code, Errc::closed);
    EXPECT_EQ(b_reads.error().code, Errc::closed);
}

TEST(SimNetwork, AHalfOpenConnectionIsOverForOneSideAndSilentForTheOther) {
    Wire w;
    w.connect();
    Bytes got_a(1), got_b(1);
    Status a_reads, b_reads, sent = fail(Errc::cancelled);
    bool done = false;
    w.scope_a->spawn(receive(w.a->executor, *w.at_a, got_a, a_reads));
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got_b, b_reads));
    w.run(10ms);
    w.wires.half_open(w.a->pid, w.b->pid, 1s);
    w.scope_b->spawn(send(w.b->executor, *w.at_b, Wire::pattern(100), sent, done));
    w.run(10ms);
    EXPECT_EQ(a_reads.error().code, Errc::closed);
    EXPECT_TRUE(b_reads.has_value());
    EXPECT_TRUE(sent.has_value());
    w.at_a.reset();
    w.run(500ms);
    EXPECT_TRUE(b_reads.has_value());
    w.run(1s);
    EXPECT_EQ(b_reads.error().code, Errc::closed);
}

TEST(SimNetwork, ASpikeMakesALinkSlower) {
    Wire w;
    w.connect();
    w.wires.spike = 1s;
    Bytes got(1);
    Status sent, received = fail(Errc::cancelled);
    bool done = false;
    const Nanos begin = w.world.now();
    w.scope_a->spawn(send(w.a->executor, *w.at_a, Wire::pattern(1), sent, done));
    w.scope_b->spawn(receive(w.b->executor, *w.at_b, got, received));
    w.world.run_until([&] { return received.has_value(); }, 2s);
    EXPECT_TRUE(received.has_value());
    EXPECT_GT(w.world.now() - begin, w.world.knobs.link_latency_max);
}

// ---- the member store

Task<void> take_lock(SimMemberStore& store, bool& taken) {
    (void)co_await store.lock();
    taken = true;
}

Task<void> kill(SimMemberStore& store, ProcessRef victim, std::optional<FenceReport>& out) {
    out = co_await store.kill(victim);
}

struct Record : Machine {
    explicit Record(std::uint64_t seed = 1) : Machine(seed) {
        a = start("a");
        b = start("b");
        store_a = std::make_unique<SimMemberStore>(*a, record);
        store_b = std::make_unique<SimMemberStore>(*b, record);
        scope_a = std::make_unique<Scope>(a->executor);
        scope_b.emplace(b->executor);
        a->destroy = [this] {
            scope_a.reset();
            store_a.reset();
        };
    }
    ~Record() { a->destroy = nullptr; }
    SharedRecord record;
    std::shared_ptr<Process> a, b;
    std::unique_ptr<SimMemberStore> store_a, store_b;
    std::unique_ptr<Scope> scope_a;
    std::optional<Scope> scope_b;
};

TEST(SimMemberStore, ItsLockDiesWithItsHolder) {
    Record r;
    bool first = false, second = false;
    r.scope_a->spawn(take_lock(*r.store_a, first));
    r.run(1ms);
    r.scope_b->spawn(take_lock(*r.store_b, second));
    r.run(10ms);
    EXPECT_TRUE(first);
    EXPECT_FALSE(second);
    r.world.crash(*r.a);
    r.run(10ms);
    EXPECT_TRUE(second);
    r.store_b->unlock();
}

Task<void> read_often(SimMemberStore& store, int times, int& whole, int& spoilt, int& failed) {
    for (int i = 0; i < times; ++i) {
        const Result<Bytes> bytes = co_await store.read();
        ++(!bytes ? failed : *bytes == Bytes(20, std::byte{7}) ? whole : spoilt);
    }
}

TEST(SimMemberStore, FailsOrShowsGarbageWhileItIsToldToAndIsSlow) {
    Record r;
    r.record.bytes = Bytes(20, std::byte{7});
    int whole = 0, spoilt = 0, failed = 0;
    r.record.refuses = true;
    r.scope_b->spawn(read_often(*r.store_b, 40, whole, spoilt, failed));
    r.run(10ms);
    EXPECT_EQ(whole, 0);
    EXPECT_GT(spoilt, 5);
    EXPECT_GT(failed, 5);
    r.record.refuses = false;
    r.record.slow = 1s;
    const Nanos begin = r.world.now();
    r.scope_b->spawn(read_often(*r.store_b, 40, whole, spoilt, failed));
    EXPECT_TRUE(r.world.run_until([&] { return whole == 40; }, 40s));
    EXPECT_GT(r.world.now() - begin, 5s);
}

TEST(SimMemberStore, AKillSaysDrainedOnlyWhenTheLastCommandHasLanded) {
    std::size_t drained = 0, undrained = 0;
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        Record r(seed);
        ++r.a->orphans;
        r.world.after(10ms, [&r] { --r.a->orphans; });
        std::optional<FenceReport> report;
        r.scope_b->spawn(kill(*r.store_b, r.store_a->self(), report));
        ASSERT_TRUE(r.world.run_until([&] { return report.has_value(); }, 1s));
        EXPECT_FALSE(r.a->alive);
        EXPECT_TRUE(report->cut);
        EXPECT_EQ(report->drained, r.a->orphans == 0);
        ++(report->drained ? drained : undrained);
        r.run(20ms);
    }
    EXPECT_GT(drained, 0u);
    EXPECT_GT(undrained, 0u);
}

TEST(SimMemberStore, AWatchIsSetByADeathAndAtOnceForTheDead) {
    Record r;
    Event early(r.b->executor), late(r.b->executor);
    r.store_b->watch(1, r.store_a->self(), early);
    const ProcessRef a = r.store_a->self();
    r.run(1ms);
    EXPECT_FALSE(early.is_set());
    r.world.crash(*r.a);
    r.run(1ms);
    EXPECT_TRUE(early.is_set());
    r.store_b->watch(2, a, late);
    r.run(1ms);
    EXPECT_TRUE(late.is_set());
}

}  // namespace
}  // namespace braid::sim
