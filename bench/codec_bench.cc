// link: ondisk
// Encoding, checking and decoding of what the disks hold, and the raw codec beneath the messages.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "base/codec.h"
#include "base/crc32c.h"
#include "ondisk/superblock.h"
#include "ondisk/table_pages.h"

namespace braid {
namespace {

using Block = std::array<std::byte, kPageSize>;

PageHeader header(PageNumber page) { return {page, Uuid{}, 2, Epoch(1), AmfSlot(0)}; }

Intent full_intent() {
    Intent intent;
    for (std::uint32_t i = 0; i < kMaxIntentRegions; ++i) intent.regions.push_back(RegionIndex(3 * i));
    return intent;
}

MapPage full_map() {
    MapPage map;
    for (Zone& zone : map.zones) {
        zone.state = ZoneState::allocated;
        zone.width = kMaxWidth;
        zone.shape = {Level::raid5, kMaxWidth - 1, 1};
        for (std::uint8_t i = 0; i < kMaxWidth; ++i) zone.segments[i] = {MemberIndex(i), SegmentIndex(i)};
    }
    return map;
}

template <class Content>
void write(benchmark::State& state, const Content& content, PageNumber page) {
    Block block{};
    for (auto _ : state) {
        write_page(PageBytes(block), content, header(page));
        benchmark::ClobberMemory();
    }
}

template <class Content>
void read(benchmark::State& state, const Content& content, PageNumber page) {
    Block block{};
    write_page(PageBytes(block), content, header(page));
    for (auto _ : state) {
        if (!open_page(block, Uuid{}, page)) state.SkipWithError("page does not open");
        auto decoded = Content::decode(block);
        if (!decoded) state.SkipWithError("page does not decode");
        benchmark::DoNotOptimize(decoded);
    }
}

void write_intent(benchmark::State& state) { write(state, full_intent(), kFirstIntentPage); }
void read_intent(benchmark::State& state) { read(state, full_intent(), kFirstIntentPage); }
void write_map(benchmark::State& state) { write(state, full_map(), kFirstMapPage); }
void read_map(benchmark::State& state) { read(state, full_map(), kFirstMapPage); }

// A message-sized run of integers: per 8-byte field.
void writer_fields(benchmark::State& state) {
    Bytes out;
    for (auto _ : state) {
        out.clear();
        Writer writer(out);
        for (std::uint64_t i = 0; i < 64; ++i) writer.put(i);
        benchmark::DoNotOptimize(out.data());
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64);
}

void reader_fields(benchmark::State& state) {
    Bytes in;
    Writer writer(in);
    for (std::uint64_t i = 0; i < 64; ++i) writer.put(i);
    for (auto _ : state) {
        Reader reader(in);
        std::uint64_t sum = 0;
        for (int i = 0; i < 64; ++i) sum += reader.get<std::uint64_t>();
        benchmark::DoNotOptimize(sum);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * 64);
}

void checksum(benchmark::State& state) {
    const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{7});
    for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * state.range(0));
}

BENCHMARK(write_intent);
BENCHMARK(read_intent);
BENCHMARK(write_map);
BENCHMARK(read_map);
BENCHMARK(writer_fields);
BENCHMARK(reader_fields);
BENCHMARK(checksum)->Arg(64)->Arg(4096)->Arg(64 << 10);

}  // namespace
}  // namespace braid
