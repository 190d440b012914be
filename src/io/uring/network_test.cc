#include "io/uring/network.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "base/prng.h"
#include "io/uring/socket_stream.h"
#include "io/uring/test_engines.h"

namespace braid {
namespace {

struct Ends {
    std::unique_ptr<ByteStream> near, far;
};

class NetworkTest : public EngineTest {
protected:
    UringNetwork network{loop};
    const TemporaryDirectory directory;

    std::unique_ptr<Listener> listen(const std::string& address) {
        auto listener = network.listen(address);
        EXPECT_TRUE(listener) << address;
        return listener ? std::move(*listener) : nullptr;
    }
    static Task<Ends> pair_of(Loop& loop, Network& net, Listener& listener) {
        std::vector<Task<int>> tasks;
        Ends ends;
        tasks.push_back(keep_accepted(listener, ends));
        tasks.push_back(keep_connected(net, listener.address(), ends));
        co_await gather(loop.executor(), std::move(tasks));
        co_return ends;
    }
    static Task<int> keep_accepted(Listener& listener, Ends& ends) {
        auto got = co_await listener.accept();
        EXPECT_TRUE(got);
        if (got) ends.far = std::move(*got);
        co_return 0;
    }
    static Task<int> keep_connected(Network& net, std::string address, Ends& ends) {
        auto got = co_await net.connect(std::move(address));
        EXPECT_TRUE(got);
        if (got) ends.near = std::move(*got);
        co_return 0;
    }
    Ends ends_over(const std::string& address) {
        auto listener = listen(address);
        return block_on(loop, pair_of(loop, network, *listener));
    }
};
FOR_BOTH_ENGINES(NetworkTest);

std::vector<std::byte> noise(std::size_t size, std::uint64_t seed) {
    std::vector<std::byte> out(size);
    Prng prng(seed);
    for (auto& b : out) b = static_cast<std::byte>(prng.next() & 0xff);
    return out;
}

Task<Status> send_pieces(Executor& executor, ByteStream& stream, std::vector<std::byte> data) {
    // More pieces than one call takes, of uneven lengths, some empty.
    std::vector<std::span<const std::byte>> pieces;
    std::span<const std::byte> left(data);
    for (std::size_t i = 0; !left.empty(); ++i) {
        const std::size_t size = std::min(left.size(), i % 7 * 1311);
        pieces.push_back(left.first(size));
        left = left.subspan(size);
    }
    co_return co_await write_pieces(executor, stream, pieces);
}

Task<Status> receive(Executor& executor, ByteStream& stream, std::vector<std::byte>& into) {
    co_return co_await read_exactly(executor, stream, into);
}

Task<std::vector<Status>> both(Executor& executor, Ends& ends, std::vector<std::byte> data,
                               std::vector<std::byte>& there, std::vector<std::byte>& back) {
    std::vector<Task<Status>> tasks;
    tasks.push_back(send_pieces(executor, *ends.near, data));
    tasks.push_back(send_pieces(executor, *ends.far, data));
    tasks.push_back(receive(executor, *ends.far, there));
    tasks.push_back(receive(executor, *ends.near, back));
    co_return co_await gather(executor, std::move(tasks));
}

TEST_P(NetworkTest, CarriesMuchInBothDirectionsAtOnce) {
    for (const std::string& address : {std::string("127.0.0.1:0"), "unix:" + (directory / "s")}) {
        SCOPED_TRACE(address);
        Ends ends = ends_over(address);
        const auto data = noise(5'000'003, 11);
        std::vector<std::byte> there(data.size()), back(data.size());
        for (const Status& status : block_on(loop, both(loop.executor(), ends, data, there, back))) {
            EXPECT_TRUE(status);
        }
        EXPECT_TRUE(there == data);
        EXPECT_TRUE(back == data);
    }
}

TEST_P(NetworkTest, BothEndsAreAskedNowAndThenWhetherTheyAreThere) {
    Ends ends = ends_over("127.0.0.1:0");
    for (const auto& stream : {ends.near.get(), ends.far.get()}) {
        const auto loose = stream->let_go();
        const int fd = static_cast<LooseSocket&>(*loose).fd.get();
        int asks = 0, idle = 0;
        socklen_t size = sizeof asks;
        ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &asks, &size), 0);
        ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size), 0);
        EXPECT_EQ(asks, 1);
        EXPECT_LE(idle, 120);
    }
}

TEST_P(NetworkTest, NamesItsEnds) {
    auto listener = listen("127.0.0.1:0");
    EXPECT_FALSE(listener->address().ends_with(":0"));
    Ends ends = block_on(loop, pair_of(loop, network, *listener));
    EXPECT_EQ(ends.near->peer_name(), listener->address());
    EXPECT_TRUE(ends.far->peer_name().starts_with("127.0.0.1:"));
    const std::string path = "unix:" + (directory / "s");
    Ends local = ends_over(path);
    EXPECT_EQ(local.near->peer_name(), path);
    EXPECT_EQ(local.far->peer_name(), path);
}

Task<Result<std::size_t>> read_one(Executor& executor, ByteStream& stream, std::span<std::byte> into) {
    co_return co_await read_some(executor, stream, into);
}

TEST_P(NetworkTest, AnOrderlyEndReadsAsZeroAndWritingThereFails) {
    Ends ends = ends_over("127.0.0.1:0");
    ends.near.reset();
    std::vector<std::byte> into(10);
    const auto got = block_on(loop, read_one(loop.executor(), *ends.far, into));
    ASSERT_TRUE(got);
    EXPECT_EQ(*got, 0u);
    Status status;
    for (int i = 0; i < 100 && status; ++i) {
        status = block_on(loop, write_all(loop.executor(), *ends.far, into));
    }
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errc::closed);
}

Task<void> read_into(Executor& executor, ByteStream& stream, std::span<std::byte> into,
                     std::optional<Result<std::size_t>>& out) {
    out = co_await read_some(executor, stream, into);
}

Task<void> write_until_full(Executor& executor, ByteStream& stream, std::optional<Status>& out) {
    std::vector<std::byte> block(1u << 20);
    Status status;
    while (status) status = co_await write_all(executor, stream, block);
    out = status;
}

TEST_P(NetworkTest, ShutdownWakesTheCallsInFlight) {
    Ends ends = ends_over("127.0.0.1:0");
    std::vector<std::byte> into(10);
    std::optional<Result<std::size_t>> got;
    std::optional<Status> sent;
    Scope scope(loop.executor());
    scope.spawn(read_into(loop.executor(), *ends.near, into, got));
    scope.spawn(write_until_full(loop.executor(), *ends.near, sent));
    for (int i = 0; i < 100; ++i) loop.turn(false);
    EXPECT_FALSE(got || sent);
    ends.near->shutdown();
    block_on(loop, scope.join());
    EXPECT_EQ(got->error().code, Errc::closed);
    EXPECT_EQ(sent->error().code, Errc::closed);
    EXPECT_EQ(block_on(loop, read_one(loop.executor(), *ends.near, into)).error().code, Errc::closed);
}

TEST_P(NetworkTest, AStreamThatGoesAwayEndsItsCalls) {
    Ends ends = ends_over("127.0.0.1:0");
    std::vector<std::byte> into(10);
    std::optional<Result<std::size_t>> got;
    Scope scope(loop.executor());
    scope.spawn(read_into(loop.executor(), *ends.near, into, got));
    loop.turn(false);
    ends.near.reset();
    block_on(loop, scope.join());
    EXPECT_EQ(got->error().code, Errc::closed);
}

TEST_P(NetworkTest, TheKernelDoesNotWriteIntoAnAbandonedRead) {
    Ends ends = ends_over("127.0.0.1:0");
    std::optional<Result<std::size_t>> got;
    std::vector<std::byte> into(100);
    {
        Scope scope(loop.executor());
        scope.spawn(read_into(loop.executor(), *ends.near, into, got));
        loop.turn(false);
    }
    const std::vector<std::byte> data(100, std::byte{7});
    ASSERT_TRUE(block_on(loop, write_all(loop.executor(), *ends.far, data)));
    for (int i = 0; i < 20; ++i) loop.turn(false);
    EXPECT_TRUE(into == std::vector<std::byte>(100));
    std::vector<std::byte> again(100);
    ASSERT_TRUE(
        block_on(loop, receive(loop.executor(), *ends.near, again)));  // nothing was taken, nothing is lost
    EXPECT_TRUE(again == data);
}

TEST_P(NetworkTest, AStreamEndsWhenAWriteOnItIsAbandoned) {
    Ends ends = ends_over("127.0.0.1:0");
    std::optional<Status> sent;
    {
        Scope scope(loop.executor());
        scope.spawn(write_until_full(loop.executor(), *ends.near, sent));
        for (int i = 0; i < 20; ++i) loop.turn(false);
    }
    std::vector<std::byte> more(1);
    EXPECT_EQ(block_on(loop, write_all(loop.executor(), *ends.near, more)).error().code, Errc::closed);
}

TEST_P(NetworkTest, ConnectingWhereNobodyListensIsRefused) {
    std::string address;
    {
        auto listener = listen("127.0.0.1:0");
        address = listener->address();
    }
    EXPECT_EQ(block_on(loop, network.connect(address)).error().code, Errc::refused);
    EXPECT_EQ(block_on(loop, network.connect("unix:" + (directory / "none"))).error().code, Errc::refused);
}

TEST_P(NetworkTest, AddressesThatAreNoneAreInvalid) {
    for (const char* bad :
         {"", "localhost", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:1x", "::1:80", "unix:"}) {
        EXPECT_EQ(block_on(loop, network.connect(bad)).error().code, Errc::invalid) << bad;
        EXPECT_EQ(network.listen(bad).error().code, Errc::invalid) << bad;
    }
    EXPECT_EQ(network.listen("unix:" + std::string(200, 'x')).error().code, Errc::invalid);
}

TEST_P(NetworkTest, SpeaksVersionSix) {
    auto listener = network.listen("[::1]:0");
    if (!listener && listener.error().code == Errc::invalid) GTEST_SKIP() << "no IPv6 here";
    ASSERT_TRUE(listener);
    EXPECT_TRUE((*listener)->address().starts_with("[::1]:"));
    Ends ends = block_on(loop, pair_of(loop, network, **listener));
    EXPECT_EQ(ends.near->peer_name(), (*listener)->address());
}

Task<void> accept_until_closed(Listener& listener, std::optional<Errc>& out) {
    auto got = co_await listener.accept();
    if (!got) out = got.error().code;
}

TEST_P(NetworkTest, CloseEndsTheAcceptInFlight) {
    for (const std::string& address : {std::string("127.0.0.1:0"), "unix:" + (directory / "s")}) {
        auto listener = listen(address);
        std::optional<Errc> out;
        Scope scope(loop.executor());
        scope.spawn(accept_until_closed(*listener, out));
        loop.turn(false);
        listener->close();
        block_on(loop, scope.join());
        EXPECT_EQ(out, Errc::closed);
    }
    EXPECT_FALSE(std::filesystem::exists(directory / "s"));
}

TEST_P(NetworkTest, AStaleSocketFileIsReplacedAndALiveOneIsNot) {
    const std::string path = directory / "s";
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::strcpy(un.sun_path, path.c_str());
    const int dead = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(dead, reinterpret_cast<sockaddr*>(&un), sizeof un), 0);
    ::close(dead);
    auto listener = listen("unix:" + path);
    ASSERT_TRUE(listener);
    EXPECT_EQ(network.listen("unix:" + path).error().code, Errc::exists);
    EXPECT_TRUE(std::filesystem::exists(path));
    Ends ends = block_on(loop, pair_of(loop, network, *listener));
    EXPECT_TRUE(ends.near && ends.far);
}

TEST_P(NetworkTest, AFileThatIsNoSocketIsLeftAlone) {
    const std::string path = directory / "file";
    std::ofstream(path) << "kept";
    EXPECT_EQ(network.listen("unix:" + path).error().code, Errc::exists);
    EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace braid
