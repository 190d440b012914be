// link: io_uring
// What the real loop costs: 4 KiB disk commands at depth 1 and 32, and exchanges over a loopback TCP
// connection between two threads with a loop each, polled and slept, over one connection and over 32 at once.
// Usage: io_loop_bench [DIRECTORY]...   (default: /dev/shm and the present directory)
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/buffer.h"
#include "base/prng.h"
#include "io/uring/disk.h"
#include "io/uring/network.h"

namespace braid {
namespace {

constexpr std::uint64_t kDiskSize = 256u << 20;
constexpr std::size_t kMessage = 64;

double seconds(Nanos time) { return std::chrono::duration<double>(time).count(); }

struct Run {
    Loop& loop;
    Disk& disk;
    DiskVerb verb;
    std::size_t left;
};

Task<void> worker(Run& run, std::uint64_t seed) {
    Prng prng(seed);
    Buffer buffer = Buffer::zeroed(kBlockSize);
    while (run.left != 0) {
        --run.left;
        Join join(run.loop.executor());
        DiskOp op(run.verb, prng.below(kDiskSize / kBlockSize) * kBlockSize, buffer.span());
        run.disk.submit(op, join);
        co_await join;
        if (!op.status) std::abort();
    }
}

Task<void> workers(Run& run, std::size_t depth) {
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < depth; ++i) tasks.push_back(worker(run, i));
    co_await gather(run.loop.executor(), std::move(tasks));
}

void bench_disk(const std::string& directory, LoopOptions::EngineKind engine) {
    const std::string path = directory + "/io_loop_bench." + std::to_string(::getpid());
    std::ofstream(path).close();
    std::filesystem::resize_file(path, kDiskSize);
    {
        Loop loop(LoopOptions{.engine = engine});
        auto disk = std::move(*UringDisk::open(loop, path));
        const Buffer fill = Buffer::zeroed(1u << 20);
        for (std::uint64_t at = 0; at < kDiskSize; at += fill.size()) {
            if (!block_on(loop, write(loop.executor(), *disk, at, fill.span()))) std::abort();
        }
        const std::size_t count = static_cast<UringDisk&>(*disk).in_memory() ? 200'000 : 10'000;
        for (const DiskVerb verb : {DiskVerb::read, DiskVerb::write}) {
            for (const std::size_t depth : {1u, 32u}) {
                Run run{loop, *disk, verb, count};
                const Nanos begin = loop.clock().now();
                block_on(loop, workers(run, depth));
                std::printf("%-10s %-8s %-5s 4 KiB depth %2zu  %8.2f us/op\n", directory.c_str(),
                            loop.engine_name(), verb == DiskVerb::read ? "read" : "write", depth,
                            seconds(loop.clock().now() - begin) / static_cast<double>(count) * 1e6);
            }
        }
    }
    std::filesystem::remove(path);
}

Task<void> echo(Loop& loop, std::unique_ptr<ByteStream> stream) {
    std::array<std::byte, kMessage> bytes{};
    while (co_await read_exactly(loop.executor(), *stream, bytes)) {
        if (!co_await write_all(loop.executor(), *stream, bytes)) break;
    }
}

Task<void> serve(Loop& loop, Listener& listener, std::size_t connections) {
    Scope scope(loop.executor());
    for (std::size_t i = 0; i < connections; ++i) {
        scope.spawn(echo(loop, std::move(*co_await listener.accept())));
    }
    co_await scope.join();
}

Task<void> ping(Loop& loop, Network& network, std::string address, std::size_t rounds) {
    auto stream = std::move(*co_await network.connect(std::move(address)));
    std::array<std::byte, kMessage> bytes{};
    for (std::size_t i = 0; i < rounds; ++i) {
        if (!co_await write_all(loop.executor(), *stream, bytes)) std::abort();
        if (!co_await read_exactly(loop.executor(), *stream, bytes)) std::abort();
    }
}

Task<void> pings(Loop& loop, Network& network, std::string address, std::size_t connections,
                 std::size_t rounds) {
    std::vector<Task<void>> tasks;
    for (std::size_t i = 0; i < connections; ++i) tasks.push_back(ping(loop, network, address, rounds));
    co_await gather(loop.executor(), std::move(tasks));
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

void bench_stream(LoopOptions::EngineKind engine, Nanos spin, std::size_t connections,
                  std::size_t exchanges) {
    Loop near(LoopOptions{.engine = engine, .spin = spin});
    std::string address;
    std::atomic<bool> ready = false;
    std::thread other([&] {
        Loop far(LoopOptions{.engine = engine, .spin = spin});
        UringNetwork network(far);
        auto listener = std::move(*network.listen("127.0.0.1:0"));
        address = listener->address();
        ready = true;
        ready.notify_one();
        block_on(far, serve(far, *listener, connections));
    });
    ready.wait(false);
    UringNetwork network(near);
    const Nanos begin = near.clock().now();
    const double cpu = cpu_seconds();
    block_on(near, pings(near, network, address, connections, exchanges / connections));
    const double wall = seconds(near.clock().now() - begin) / static_cast<double>(exchanges) * 1e6;
    const double used = (cpu_seconds() - cpu) / static_cast<double>(exchanges) * 1e6;
    other.join();
    std::printf("tcp %-8s %-6s %2zu connections  %8.2f us/exchange  %8.2f us cpu of both\n",
                near.engine_name(), spin > Nanos{0} ? "polled" : "slept", connections, wall, used);
}

}  // namespace
}  // namespace braid

int main(int argc, char** argv) {
    using namespace braid;
    using Kind = LoopOptions::EngineKind;
    std::vector<std::string> directories(argv + 1, argv + argc);
    if (directories.empty()) directories = {"/dev/shm", "."};
    for (const Kind kind : {Kind::automatic, Kind::threads}) {
        for (const auto& directory : directories) bench_disk(directory, kind);
        for (const Nanos spin : {Nanos{50us}, Nanos{0}}) {
            bench_stream(kind, spin, 1, 32'000);
            bench_stream(kind, spin, 32, 320'000);
        }
    }
    return 0;
}
