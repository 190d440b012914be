// link: parity
// Parity against memcpy of the same bytes in the same run. Bytes counted are data bytes, so that the ratio of
// two lines is the ratio of their costs per byte that a host writes.
#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

#include "base/buffer.h"
#include "base/prng.h"
#include "parity/code.h"

namespace braid {
namespace {

struct Strips {
    Strips(unsigned count, std::size_t length) {
        Prng prng(1);
        for (unsigned i = 0; i < count; ++i) {
            buffers.emplace_back(length);
            for (std::byte& b : buffers.back().span()) b = static_cast<std::byte>(prng.next());
            pointers.push_back(buffers.back().data());
        }
    }
    std::vector<Buffer> buffers;
    std::vector<std::byte*> pointers;
};

void count_bytes(benchmark::State& state, std::size_t per_round) {
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(per_round));
}

void copy(benchmark::State& state) {
    const auto k = static_cast<unsigned>(state.range(0));
    const auto length = static_cast<std::size_t>(state.range(1));
    Strips from(k, length);
    Strips to(k, length);
    for (auto _ : state) {
        for (unsigned i = 0; i < k; ++i) std::memcpy(to.pointers[i], from.pointers[i], length);
        benchmark::ClobberMemory();
    }
    count_bytes(state, k * length);
}

void encode(benchmark::State& state) {
    const auto k = static_cast<unsigned>(state.range(0));
    const auto m = static_cast<unsigned>(state.range(1));
    const auto length = static_cast<std::size_t>(state.range(2));
    const Code code(k, m);
    Strips strips(k + m, length);
    const std::vector<const std::byte*> data(strips.pointers.begin(), strips.pointers.begin() + k);
    const std::span parity = std::span(strips.pointers).subspan(k);
    for (auto _ : state) {
        code.encode(data, parity, length);
        benchmark::ClobberMemory();
    }
    count_bytes(state, k * length);
}

void update(benchmark::State& state) {
    const auto k = static_cast<unsigned>(state.range(0));
    const auto m = static_cast<unsigned>(state.range(1));
    const auto length = static_cast<std::size_t>(state.range(2));
    const Code code(k, m);
    Strips strips(1 + m, length);
    const std::span parity = std::span(strips.pointers).subspan(1);
    for (auto _ : state) {
        code.update(k - 1, strips.pointers[0], parity, length);
        benchmark::ClobberMemory();
    }
    count_bytes(state, length);
}

// The first `lost` data strips from the rest.
void decode(benchmark::State& state) {
    const auto k = static_cast<unsigned>(state.range(0));
    const auto m = static_cast<unsigned>(state.range(1));
    const auto lost = static_cast<unsigned>(state.range(2));
    const auto length = static_cast<std::size_t>(state.range(3));
    const Code code(k, m);
    Strips strips(k + m, length);
    const RoleMask wanted((1u << lost) - 1);
    const RoleMask present(((1u << (k + m)) - 1) & ~((1u << lost) - 1));
    for (auto _ : state) {
        if (!code.decode(present, strips.pointers, wanted, length)) state.SkipWithError("decode failed");
        benchmark::ClobberMemory();
    }
    count_bytes(state, lost * length);
}

constexpr std::int64_t kBlock = 4096;
constexpr std::int64_t kStrip = 64 << 10;

BENCHMARK(copy)->ArgNames({"k", "len"})->Args({4, kBlock})->Args({4, kStrip})->Args({8, kStrip});
BENCHMARK(encode)
    ->ArgNames({"k", "m", "len"})
    ->Args({4, 1, kBlock})
    ->Args({4, 1, kStrip})
    ->Args({4, 2, kBlock})
    ->Args({4, 2, kStrip})
    ->Args({8, 3, kBlock})
    ->Args({8, 3, kStrip})
    ->Args({1, 1, kStrip});
BENCHMARK(update)
    ->ArgNames({"k", "m", "len"})
    ->Args({4, 1, kBlock})
    ->Args({4, 2, kBlock})
    ->Args({8, 3, kBlock});
BENCHMARK(decode)
    ->ArgNames({"k", "m", "lost", "len"})
    ->Args({4, 1, 1, kBlock})
    ->Args({4, 1, 1, kStrip})
    ->Args({4, 2, 2, kBlock})
    ->Args({4, 2, 2, kStrip})
    ->Args({8, 3, 3, kStrip});

}  // namespace
}  // namespace braid
