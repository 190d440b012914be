#include "io/uring/shelf.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <fstream>

#include "base/buffer.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

struct ShelfTest : ::testing::Test {
    Loop loop;
    const TemporaryDirectory directory;

    std::string make(const std::string& name, std::uint64_t size = 16u << 20) {
        std::string path = directory / name;
        std::ofstream(path).close();
        std::filesystem::resize_file(path, size);
        return path;
    }
    static void put(const std::string& path, std::uint64_t at, std::span<const unsigned char> bytes) {
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(static_cast<std::streamoff>(at));
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
};

TEST_F(ShelfTest, ScanListsWhatThePatternsMatchSortedAndOnce) {
    make("d1");
    make("d0");
    make("e0");
    FileShelf shelf(loop, {.patterns = {directory / "d*", directory / "?0", directory / "none*"}});
    EXPECT_EQ(shelf.scan(), (std::vector<std::string>{directory / "d0", directory / "d1", directory / "e0"}));
}

TEST_F(ShelfTest, OpensOnlyWhatThePatternsMatch) {
    make("d0");
    make("e0");
    FileShelf shelf(loop, {.patterns = {directory / "d*"}});
    auto disk = shelf.open(directory / "d0");
    ASSERT_TRUE(disk);
    EXPECT_EQ((*disk)->size(), 16u << 20);
    EXPECT_EQ((*disk)->name(), directory / "d0");
    EXPECT_EQ(shelf.open(directory / "e0").error().code, Errc::refused);
    EXPECT_EQ(shelf.open(directory / "d0/../e0").error().code, Errc::refused);
    EXPECT_EQ(shelf.open(directory / "d7").error().code, Errc::not_found);
    EXPECT_EQ(shelf.probe(directory / "e0").error().code, Errc::refused);
    EXPECT_EQ(shelf.probe(directory / "d7").error().code, Errc::not_found);
}

Task<void> write_and_read(Loop& loop, Disk& disk, bool& equal) {
    const Buffer data = Buffer::zeroed(4 * kBlockSize);
    data.data()[5] = std::byte{7};
    Join writes(loop.executor());
    DiskOp first = DiskOp::write(0, data.span());
    DiskOp second = DiskOp::write(1 << 20, data.span());
    disk.submit(first, writes);
    disk.submit(second, writes);
    co_await writes;
    const Buffer got(data.size());
    const Status read_back = co_await read(loop.executor(), disk, 1 << 20, got.span());
    equal = first.status && second.status && read_back && std::ranges::equal(got.span(), data.span());
    loop.stop();
}

TEST_F(ShelfTest, DelaysEachCommand) {
    FileShelf shelf(loop, {.patterns = {directory / "*"}, .delay = 20ms});
    const auto disk = shelf.open(make("slow"));
    ASSERT_TRUE(disk);
    bool equal = false;
    Scope scope(loop.executor());
    const Nanos before = loop.clock().now();
    scope.spawn(write_and_read(loop, **disk, equal));
    loop.run();
    EXPECT_TRUE(equal);
    EXPECT_GE(loop.clock().now() - before, 40ms);
    EXPECT_EQ((*disk)->counters().writes, 2u);
}

TEST_F(ShelfTest, ProbeNamesWhatItFinds) {
    FileShelf shelf(loop, {.patterns = {directory / "*"}});
    EXPECT_TRUE(shelf.probe(make("blank"))->empty);

    // The swap header: its signature at the end of the first page, version 1, a last page.
    const std::string swap = make("swap");
    put(swap, 4086, std::span(reinterpret_cast<const unsigned char*>("SWAPSPACE2"), 10));
    put(swap, 1024, std::array<unsigned char, 8>{1, 0, 0, 0, 0xff, 0x0f, 0, 0});
    EXPECT_FALSE(shelf.probe(swap)->empty);
    EXPECT_EQ(shelf.probe(swap)->what, "swap");

    // A DOS partition table with one Linux partition.
    const std::string dos = make("dos");
    put(dos, 446, std::array<unsigned char, 16>{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x40, 0, 0});
    put(dos, 510, std::array<unsigned char, 2>{0x55, 0xaa});
    EXPECT_FALSE(shelf.probe(dos)->empty);
    EXPECT_EQ(shelf.probe(dos)->what, "dos partition table");
}

TEST_F(ShelfTest, ProbeFindsAFileSystem) {
    const std::string path = make("ext4");
    if (std::system(("mkfs.ext4 -q -F " + path + " >/dev/null 2>&1").c_str()) != 0)
        GTEST_SKIP() << "no mkfs.ext4";
    FileShelf shelf(loop, {.patterns = {directory / "*"}});
    EXPECT_EQ(shelf.probe(path)->what, "ext4 file system");
}

}  // namespace
}  // namespace braid
