#include "io/uring/member_store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/buffer.h"
#include "io/uring/disk.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

/// A child that runs `body` and then waits to be killed; it says on a pipe when it has come that far.
class Child {
public:
    template <class Body>
    explicit Child(Body body) {
        int ready[2];
        if (::pipe(ready) != 0) ADD_FAILURE();
        pid_ = ::fork();
        if (pid_ == 0) {
            body();
            if (::write(ready[1], "x", 1) != 1) ::_exit(1);
            while (true) ::pause();
        }
        char c = 0;
        EXPECT_EQ(::read(ready[0], &c, 1), 1);
        ::close(ready[0]);
        ::close(ready[1]);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child() {
        ::kill(pid_, SIGKILL);
        reap();
    }
    void reap() {
        if (!reaped_) ::waitpid(pid_, &status_, 0);
        reaped_ = true;
    }
    ProcessRef ref() const {
        return {static_cast<std::uint64_t>(pid_), start_time_of(static_cast<std::uint64_t>(pid_))};
    }
    pid_t pid() const { return pid_; }
    int status() const { return status_; }

private:
    pid_t pid_ = 0;
    int status_ = 0;
    bool reaped_ = false;
};

void nothing() {}

class MemberStoreTest : public EngineTest {
protected:
    const TemporaryDirectory directory;
    std::unique_ptr<FileMemberStore> open_store() {
        auto store = FileMemberStore::open(loop, directory / "members");
        EXPECT_TRUE(store);
        return store ? std::move(*store) : nullptr;
    }
    static Bytes bytes(std::size_t size, int value) { return Bytes(size, static_cast<std::byte>(value)); }
};
FOR_BOTH_ENGINES(MemberStoreTest);

Task<Status> replace(FileMemberStore& store, Bytes record) {
    CO_TRY(co_await store.lock());
    const Status status = co_await store.write(std::move(record));
    store.unlock();
    co_return status;
}

TEST_P(MemberStoreTest, ARecordIsEmptyAtFirstAndThenWhatWasWritten) {
    auto one = open_store(), other = open_store();
    EXPECT_EQ(*block_on(loop, one->read()), Bytes{});
    ASSERT_TRUE(block_on(loop, replace(*one, bytes(100'000, 1))));
    EXPECT_EQ(*block_on(loop, other->read()), bytes(100'000, 1));
    ASSERT_TRUE(block_on(loop, replace(*other, bytes(3, 2))));
    EXPECT_EQ(*block_on(loop, one->read()), bytes(3, 2));
    EXPECT_EQ(one->self().pid, static_cast<std::uint64_t>(::getpid()));
    EXPECT_NE(one->self().start_time, 0u);
}

Task<void> take_lock(FileMemberStore& store, int id, std::vector<int>& out) {
    EXPECT_TRUE(co_await store.lock());
    out.push_back(id);
}

Task<void> nap(Loop& loop, Nanos time) { co_await sleep_for(loop.clock(), time); }

TEST_P(MemberStoreTest, OneHoldsTheLockAtATimeAlsoWithinAProcess) {
    auto one = open_store(), other = open_store();
    std::vector<int> out;
    Scope scope(loop.executor());
    scope.spawn(take_lock(*one, 1, out));
    scope.spawn(take_lock(*one, 2, out));
    scope.spawn(take_lock(*other, 3, out));
    block_on(loop, nap(loop, 5ms));
    EXPECT_EQ(out, (std::vector<int>{1}));
    one->unlock();
    block_on(loop, nap(loop, 5ms));
    ASSERT_EQ(out.size(), 2u);
    (out[1] == 2 ? one : other)->unlock();
    block_on(loop, scope.join());
    EXPECT_EQ(out.size(), 3u);
    (out[2] == 2 ? one : other)->unlock();
}

TEST_P(MemberStoreTest, AWaiterThatGoesAwayLeavesTheLockToOthers) {
    auto one = open_store(), other = open_store();
    std::vector<int> out;
    block_on(loop, take_lock(*one, 1, out));
    {
        Scope scope(loop.executor());
        scope.spawn(take_lock(*other, 2, out));
        block_on(loop, nap(loop, 3ms));
    }
    one->unlock();
    block_on(loop, take_lock(*other, 3, out));
    EXPECT_EQ(out, (std::vector<int>{1, 3}));
    other->unlock();
}

void hold_lock(EngineKind kind, const std::string& path) {
    auto* loop = new Loop(LoopOptions{.engine = kind});
    auto* store = FileMemberStore::open(*loop, path)->release();
    std::vector<int> out;
    block_on(*loop, take_lock(*store, 1, out));
}

TEST_P(MemberStoreTest, TheLockDiesWithItsHolder) {
    Child child([&] { hold_lock(GetParam(), directory / "members"); });
    auto store = open_store();
    std::vector<int> out;
    Scope scope(loop.executor());
    scope.spawn(take_lock(*store, 1, out));
    block_on(loop, nap(loop, 5ms));
    EXPECT_TRUE(out.empty());
    const FenceReport report = block_on(loop, store->kill(child.ref()));
    EXPECT_TRUE(report.cut && report.drained);
    block_on(loop, scope.join());
    EXPECT_EQ(out.size(), 1u);
    store->unlock();
}

TEST_P(MemberStoreTest, ReadersNeverSeeHalfARecord) {
    const std::string path = directory / "members";
    const EngineKind kind = GetParam();
    auto store = open_store();
    ASSERT_TRUE(block_on(loop, replace(*store, bytes(50'000, 1))));
    const pid_t writer = ::fork();
    if (writer == 0) {
        auto* mine = new Loop(LoopOptions{.engine = kind});
        auto* writes = FileMemberStore::open(*mine, path)->release();
        for (int i = 0;; ++i) block_on(*mine, replace(*writes, Bytes(50'000, static_cast<std::byte>(i))));
    }
    std::size_t changes = 0;
    std::byte last{1};
    const Nanos end = loop.clock().now() + 5s;
    while (changes < 20 && loop.clock().now() < end) {
        const Bytes seen = *block_on(loop, store->read());
        ASSERT_EQ(seen.size(), 50'000u);
        ASSERT_TRUE(seen == Bytes(50'000, seen[0]));
        changes += seen[0] != last ? 1 : 0;
        last = seen[0];
    }
    EXPECT_GE(changes, 20u);
    ::kill(writer, SIGKILL);
    ::waitpid(writer, nullptr, 0);
}

TEST_P(MemberStoreTest, TheLockSaysWhoTookItAndHowOften) {
    auto store = open_store();
    EXPECT_EQ(store->last_lock(), LockTurn{});
    for (std::uint64_t number = 1; number <= 2; ++number) {
        ASSERT_TRUE(block_on(loop, store->lock()));
        EXPECT_EQ(store->last_lock(), (LockTurn{store->self(), number}));
        store->unlock();
    }
}

TEST_P(MemberStoreTest, KillEndsAlsoAStoppedProcess) {
    auto store = open_store();
    Child child(nothing);
    ::kill(child.pid(), SIGSTOP);
    const FenceReport report = block_on(loop, store->kill(child.ref()));
    EXPECT_TRUE(report.cut && report.drained);
    child.reap();
    EXPECT_TRUE(WIFSIGNALED(child.status()));
}

TEST_P(MemberStoreTest, KillDoesNotTouchALaterProcessWithTheSameNumber) {
    auto store = open_store();
    Child child(nothing);
    ProcessRef old = child.ref();
    --old.start_time;
    EXPECT_TRUE(block_on(loop, store->kill(old)).drained);
    EXPECT_EQ(::kill(child.pid(), 0), 0);
    EXPECT_EQ(::waitpid(child.pid(), nullptr, WNOHANG), 0) << "it must still run";
    Event died(loop.executor());
    store->watch(1, old, died);
    EXPECT_TRUE(died.is_set());
}

TEST_P(MemberStoreTest, KillOfTheDeadIsDone) {
    auto store = open_store();
    Child child(nothing);
    const ProcessRef ref = child.ref();
    ::kill(child.pid(), SIGKILL);
    child.reap();
    EXPECT_TRUE(block_on(loop, store->kill(ref)).drained);
}

Task<bool> set_within(Loop& loop, Event& event, Nanos patience) {
    co_return co_await wait_until(event, loop.clock(), loop.clock().now() + patience);
}

TEST_P(MemberStoreTest, WatchTellsOfADeathAlsoOfAZombie) {
    auto store = open_store();
    Child child(nothing);
    Event died(loop.executor()), late(loop.executor());
    store->watch(1, child.ref(), died);
    EXPECT_FALSE(block_on(loop, set_within(loop, died, 5ms)));
    ::kill(child.pid(), SIGKILL);
    EXPECT_TRUE(block_on(loop, set_within(loop, died, 5s)));
    store->watch(2, child.ref(), late);  // still a zombie
    EXPECT_TRUE(late.is_set());
}

TEST_P(MemberStoreTest, AWatchThatWasTakenBackStaysSilent) {
    auto store = open_store();
    Child child(nothing), other(nothing);
    Event first(loop.executor()), second(loop.executor());
    store->watch(1, child.ref(), first);
    store->watch(1, other.ref(), second);  // replaces the first
    ::kill(child.pid(), SIGKILL);
    child.reap();
    EXPECT_FALSE(block_on(loop, set_within(loop, first, 5ms)));
    store->unwatch(1);
    ::kill(other.pid(), SIGKILL);
    other.reap();
    EXPECT_FALSE(block_on(loop, set_within(loop, second, 5ms)));
}

TEST_P(MemberStoreTest, DrainedWaitsForCommandsThatOutliveTheirProcess) {
    int asked = 0;
    auto store =
        FileMemberStore::open(loop, directory / "members", [&](std::uint64_t) { return ++asked < 4; });
    ASSERT_TRUE(store);
    Child child(nothing);
    const FenceReport report = block_on(loop, (*store)->kill(child.ref()));
    EXPECT_TRUE(report.cut && report.drained);
    EXPECT_EQ(asked, 4);
}

void keep_writing(EngineKind kind, const std::string& path) {
    struct Writer {
        static Task<void> run(Loop& loop, Disk& disk, std::uint64_t at, std::byte value) {
            Buffer buffer(1u << 20);
            while (true) {
                std::fill_n(buffer.data(), buffer.size(), value);
                co_await write(loop.executor(), disk, at, buffer.span());
                value = static_cast<std::byte>(static_cast<unsigned>(value) + 1);
            }
        }
    };
    Loop loop(LoopOptions{.engine = kind});
    auto disk = std::move(*UringDisk::open(loop, path));
    Scope scope(loop.executor());
    for (unsigned i = 0; i < 16; ++i)
        scope.spawn(Writer::run(loop, *disk, std::uint64_t{i} << 20, std::byte{1}));
    loop.run();
}

TEST_P(MemberStoreTest, AfterTheFenceTheDiskStandsStill) {
    const TemporaryDirectory here(".");
    const std::string path = here / "disk";
    std::ofstream(path).close();
    std::filesystem::resize_file(path, 16u << 20);
    auto store = FileMemberStore::open(loop, directory / "members",
                                       [&](std::uint64_t pid) { return may_still_write(path, pid); });
    ASSERT_TRUE(store);
    const pid_t writer = ::fork();
    if (writer == 0) {
        keep_writing(GetParam(), path);
        ::_exit(0);
    }
    block_on(loop, nap(loop, 50ms));
    const auto pid = static_cast<std::uint64_t>(writer);
    EXPECT_TRUE(may_still_write(path, pid));
    const FenceReport report = block_on(loop, (*store)->kill({pid, start_time_of(pid)}));
    EXPECT_TRUE(report.cut && report.drained);
    auto disk = std::move(*UringDisk::open(loop, path));
    Buffer at_once(16u << 20), later(16u << 20);
    ASSERT_TRUE(block_on(loop, read(loop.executor(), *disk, 0, at_once.span())));
    block_on(loop, nap(loop, 30ms));
    ASSERT_TRUE(block_on(loop, read(loop.executor(), *disk, 0, later.span())));
    EXPECT_EQ(std::memcmp(at_once.data(), later.data(), later.size()), 0);
    ::waitpid(writer, nullptr, 0);
}

}  // namespace
}  // namespace braid
