#include "io/uring/disk.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>

#include "base/buffer.h"
#include "base/prng.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

constexpr std::uint64_t kSize = 8u << 20;

std::string make_file(const TemporaryDirectory& directory, std::uint64_t size = kSize) {
    std::string path = directory / "disk";
    std::ofstream(path).close();
    std::filesystem::resize_file(path, size);
    return path;
}

Buffer pattern(std::size_t size, std::uint64_t seed) {
    Buffer buffer(size);
    Prng prng(seed);
    for (std::size_t i = 0; i < size; i += 8) {
        const std::uint64_t word = prng.next();
        std::memcpy(buffer.data() + i, &word, 8);
    }
    return buffer;
}

bool same(const Buffer& a, std::span<const std::byte> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), b.size()) == 0;
}

/// On a disk file system and on one in memory, where the commands go another way.
class DiskTest : public EngineTest {
protected:
    void each(void (*check)(Loop&, const TemporaryDirectory&, UringDisk&)) {
        for (const char* parent : {"/dev/shm", "."}) {
            SCOPED_TRACE(parent);
            const TemporaryDirectory directory(parent);
            auto disk = UringDisk::open(loop, make_file(directory));
            ASSERT_TRUE(disk);
            check(loop, directory, static_cast<UringDisk&>(**disk));
        }
    }
};
FOR_BOTH_ENGINES(DiskTest);

Task<Status> zero(Loop& loop, Disk& disk, std::uint64_t at, std::uint64_t length) {
    Join join(loop.executor());
    DiskOp op(DiskVerb::zero, at, {}, length);
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

Task<Status> flush(Loop& loop, Disk& disk) {
    Join join(loop.executor());
    DiskOp op(DiskVerb::flush, 0, {});
    disk.submit(op, join);
    co_await join;
    co_return op.status;
}

TEST_P(DiskTest, ReadsBackWhatWasWrittenAlsoThroughTheFile) {
    each([](Loop& loop, const TemporaryDirectory& directory, UringDisk& disk) {
        EXPECT_EQ(disk.size(), kSize);
        const Buffer data = pattern(3u << 20, 1);
        ASSERT_TRUE(block_on(loop, write(loop.executor(), disk, 8192, data.span())));
        ASSERT_TRUE(block_on(loop, flush(loop, disk)));
        Buffer back(data.size());
        ASSERT_TRUE(block_on(loop, read(loop.executor(), disk, 8192, back.span())));
        EXPECT_TRUE(same(data, back.span()));
        std::ifstream file(directory / "disk", std::ios::binary);
        std::vector<char> raw(data.size());
        file.seekg(8192);
        file.read(raw.data(), static_cast<std::streamsize>(raw.size()));
        EXPECT_TRUE(same(data, std::as_bytes(std::span(raw))));
        EXPECT_EQ(disk.counters().writes, 1u);
        EXPECT_EQ(disk.counters().written_bytes(), data.size());
        EXPECT_EQ(disk.counters().flushes, 1u);
    });
}

TEST_P(DiskTest, ADurableWriteIsLikeAnyOther) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) {
        const Buffer data = pattern(128u << 10, 2);
        ASSERT_TRUE(block_on(loop, write_durably(loop.executor(), disk, 4096, data.span())));
        ASSERT_TRUE(block_on(loop, write(loop.executor(), disk, 8192, data.span(0, 4096))));
        Buffer back(data.size());
        ASSERT_TRUE(block_on(loop, read(loop.executor(), disk, 4096, back.span())));
        EXPECT_EQ(std::memcmp(back.data(), data.data(), 4096), 0);
        EXPECT_EQ(std::memcmp(back.data() + 4096, data.data(), 4096), 0);
        EXPECT_EQ(std::memcmp(back.data() + 8192, data.data() + 8192, data.size() - 8192), 0);
        EXPECT_EQ(disk.counters().writes, 2u);
    });
}

Task<void> many(Loop& loop, Disk& disk) {
    constexpr std::size_t count = 2000;  // more than the ring has entries
    std::vector<Buffer> buffers;
    std::vector<std::unique_ptr<DiskOp>> ops;
    Join join(loop.executor());
    for (std::size_t i = 0; i < count; ++i) {
        buffers.push_back(pattern(4096, i));
        ops.push_back(std::make_unique<DiskOp>(DiskVerb::write, i * 4096, buffers.back().span()));
        disk.submit(*ops.back(), join);
        EXPECT_GT(join.pending(), 0u);
    }
    EXPECT_EQ(join.pending(), count) << "nothing may end inside submit";
    co_await join;
    for (auto& op : ops) {
        EXPECT_TRUE(op->status);
        op->verb = DiskVerb::read;
        std::memset(op->memory.data(), 0, op->memory.size());
        disk.submit(*op, join);
    }
    co_await join;
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(same(pattern(4096, i), buffers[i].span())) << i;
}

TEST_P(DiskTest, ManyCommandsInFlightAllEndAndNoneInsideSubmit) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) { block_on(loop, many(loop, disk)); });
}

TEST_P(DiskTest, ZeroClearsItsRangeAndNothingElse) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) {
        const Buffer data = pattern(kSize, 7);
        for (const std::uint64_t length : {std::uint64_t{4096}, std::uint64_t{6} << 20}) {
            ASSERT_TRUE(block_on(loop, write(loop.executor(), disk, 0, data.span())));
            ASSERT_TRUE(block_on(loop, zero(loop, disk, 1u << 20, length)));
            Buffer back(kSize);
            ASSERT_TRUE(block_on(loop, read(loop.executor(), disk, 0, back.span())));
            EXPECT_EQ(std::memcmp(back.data(), data.data(), 1u << 20), 0);
            EXPECT_TRUE(same(Buffer::zeroed(length), back.span(1u << 20, length)));
            const std::size_t end = (1u << 20) + length;
            EXPECT_EQ(std::memcmp(back.data() + end, data.data() + end, kSize - end), 0);
        }
        EXPECT_EQ(disk.size(), kSize);
    });
}

TEST_P(DiskTest, RefusesACommandBeyondItsEndAndGoesOn) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) {
        Buffer data = Buffer::zeroed(8192);
        const Status status = block_on(loop, write(loop.executor(), disk, kSize - 4096, data.span()));
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, Errc::invalid);
        EXPECT_EQ(disk.counters().errors, 1u);
        EXPECT_TRUE(block_on(loop, write(loop.executor(), disk, kSize - 8192, data.span())));
    });
}

TEST_P(DiskTest, AFileThatWasCutIsAnErrorNotAShortRead) {
    each([](Loop& loop, const TemporaryDirectory& directory, UringDisk& disk) {
        std::filesystem::resize_file(directory / "disk", 1u << 20);
        Buffer data(2u << 20);
        const Status status = block_on(loop, read(loop.executor(), disk, 0, data.span()));
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error().code, Errc::io_error);
    });
}

TEST_P(DiskTest, AFailedWriteCarriesItsErrno) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) {
        // Beyond the process's file size limit a write fails with EFBIG.
        std::signal(SIGXFSZ, SIG_IGN);
        rlimit old{};
        ::getrlimit(RLIMIT_FSIZE, &old);
        rlimit low = old;
        low.rlim_cur = 1u << 20;
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
        Buffer data = Buffer::zeroed(4096);
        const Status status = block_on(loop, write(loop.executor(), disk, 2u << 20, data.span()));
        ::setrlimit(RLIMIT_FSIZE, &old);
        ASSERT_FALSE(status);
        EXPECT_EQ(status.error(), Error(Errc::io_error, EFBIG));
    });
}

Task<void> write_and_forget(Loop& loop, Disk& disk, Buffer data) {
    Join join(loop.executor());
    DiskOp op(DiskVerb::write, 0, data.span());
    disk.submit(op, join);
    co_await join;
}

TEST_P(DiskTest, AStoppingLoopWaitsForTheKernelBeforeTheFrameGoes) {
    each([](Loop& loop, const TemporaryDirectory&, UringDisk& disk) {
        loop.stop();
        const Buffer data = pattern(4u << 20, 3);
        {
            Scope scope(loop.executor());
            scope.spawn(write_and_forget(loop, disk, data));
        }
        Buffer back(data.size());
        ASSERT_TRUE(block_on(loop, read(loop.executor(), disk, 0, back.span())));
        EXPECT_TRUE(same(data, back.span()));
    });
}

TEST(UringDiskDeathTest, DestroyingACommandInFlightIsABrokenInvariant) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(
        {
            Loop loop;
            const TemporaryDirectory directory("/dev/shm");
            auto disk = UringDisk::open(loop, make_file(directory));
            Scope scope(loop.executor());
            scope.spawn(write_and_forget(loop, **disk, pattern(4096, 3)));
        },
        "loop_.stopping");
}

TEST_P(DiskTest, OpenTellsWhatIsWrong) {
    const TemporaryDirectory directory;
    EXPECT_EQ(UringDisk::open(loop, directory / "none").error().code, Errc::not_found);
    EXPECT_EQ(UringDisk::open(loop, directory.path()).error().code, Errc::refused);
    EXPECT_EQ(UringDisk::open(loop, make_file(directory, 5000)).error().code, Errc::refused);
    EXPECT_EQ(UringDisk::open(loop, make_file(directory, 0)).error().code, Errc::refused);
}

TEST_P(DiskTest, ItsMarkStandsAsLongAsTheDiskIsOpen) {
    const TemporaryDirectory directory;
    const std::string path = make_file(directory);
    const auto self = static_cast<std::uint64_t>(::getpid());
    {
        auto first = UringDisk::open(loop, path);
        auto second = UringDisk::open(loop, path);
        ASSERT_TRUE(first && second);
        EXPECT_TRUE(may_still_write(path, self));
        EXPECT_FALSE(may_still_write(path, self + 1));
    }
    EXPECT_FALSE(may_still_write(path, self));
}

}  // namespace
}  // namespace braid
