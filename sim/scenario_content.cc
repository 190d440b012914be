#include "sim/scenario_content.h"

#include <cstring>

#include "base/assert.h"
#include "base/prng.h"
#include "sim/hosts.h"

namespace braid::sim {

template <class F>
void Content::for_each_sector(const Op& op, F f) {
    for (std::uint64_t at = op.offset; at < op.offset + op.length; at += kSector) f(at / kSector);
}

Content::Operation Content::begin(std::uint64_t offset, std::uint64_t length, bool zeros) {
    ASSERT(offset % kSector == 0 && length % kSector == 0);
    ops_.push_back({offset, length, zeros, true, false, clock_++, 0, {}});
    return ops_.size() - 1;
}

Content::Operation Content::write_begins(std::uint64_t offset, std::uint64_t length, bool zeros) {
    const Operation write = begin(offset, length, zeros);
    for_each_sector(ops_[write], [&](std::uint64_t number) {
        sectors_[number].maybe.insert(write);
        sectors_[number].recent.insert(write);
    });
    return write;
}

void Content::write_done(Operation write, bool durable) {
    Op& op = ops_[write];
    op.open = false;
    op.ended = clock_++;
    for_each_sector(op, [&](std::uint64_t number) {
        Sector& sector = sectors_[number];
        // Nothing that had ended before this began can come after it.
        std::erase_if(sector.maybe,
                      [&](Operation old) { return !ops_[old].open && ops_[old].ended < op.begun; });
        if (sector.maybe.contains(write) && sector.since < op.begun) {
            sector.maybe.erase(write);
            sector.certain = write;
            sector.since = op.ended;
        }
        if (durable) {
            sector.durable = write;
            std::erase_if(sector.recent, [&](Operation old) { return old <= write && !ops_[old].open; });
        }
    });
}

void Content::write_lost(Operation write) {
    ops_[write].open = false;
    ops_[write].ended = clock_++;
}

void Content::answer_lost(Operation write) {
    if (ops_[write].seen) return;
    const std::uint64_t now = clock_++;
    for_each_sector(ops_[write], [&](std::uint64_t number) {
        Sector& sector = sectors_[number];
        if (sector.certain != write || sector.durable == write) return;
        sector.certain = sector.durable;
        sector.since = now;
        sector.maybe = sector.recent;
    });
}

void Content::put(Operation write, std::uint64_t sector, std::byte* into) const {
    std::memset(into, 0, kSector);
    if (ops_[write].zeros) return;
    for (std::size_t at = 0; at < kSector; at += 8) {
        const std::uint64_t word = mix64(write << 40 ^ sector) + at;
        std::memcpy(into + at, &word, 8);
    }
}

Buffer Content::bytes_of(Operation write) const {
    const Op& op = ops_[write];
    Buffer bytes(op.length);
    for (std::uint64_t at = 0; at < op.length; at += kSector)
        put(write, (op.offset + at) / kSector, bytes.data() + at);
    return bytes;
}

Content::Operation Content::read_begins(std::uint64_t offset, std::uint64_t length) {
    const Operation read = begin(offset, length, false);
    Op& op = ops_[read];
    for_each_sector(op, [&](std::uint64_t number) {
        op.allowed[number] = sectors_[number].maybe;
        op.allowed[number].insert(sectors_[number].certain);
    });
    return read;
}

std::string Content::read_done(Operation read, std::span<const std::byte> seen) {
    Op& op = ops_[read];
    op.open = false;
    op.ended = clock_++;
    std::string wrong;
    for_each_sector(op, [&](std::uint64_t number) {
        Sector& sector = sectors_[number];
        std::set<Operation>& allowed = op.allowed[number];
        allowed.insert(sector.maybe.begin(), sector.maybe.end());
        allowed.insert(sector.certain);
        const std::byte* bytes = seen.data() + (number * kSector - op.offset);
        std::array<std::byte, kSector> content;
        for (const Operation write : allowed) {
            put(write, number, content.data());
            if (std::memcmp(content.data(), bytes, kSector) != 0) continue;
            ops_[write].seen = true;
            if (sector.maybe.erase(write) != 0) {
                sector.certain = write;
                sector.since = op.ended;
            }
            // What had ended before this read began and was not seen was never there.
            std::erase_if(sector.maybe,
                          [&](Operation old) { return !ops_[old].open && ops_[old].ended < op.begun; });
            return;
        }
        if (!wrong.empty()) return;
        wrong = "sector " + std::to_string(number) + " holds nothing that may be there";
        for (Operation write = 0; write < ops_.size(); ++write) {
            put(write, number, content.data());
            if (std::memcmp(content.data(), bytes, kSector) == 0)
                wrong += " (but what operation " + std::to_string(write) + " put there)";
        }
    });
    return wrong;
}

void Content::flush_done(Operation flush) {
    Op& op = ops_[flush];
    op.open = false;
    op.ended = clock_++;
    for (auto& [number, sector] : sectors_) {
        const Op& certain = ops_[sector.certain];
        if (certain.open || certain.ended > op.begun) continue;
        sector.durable = sector.certain;
        std::erase_if(sector.recent,
                      [&](Operation old) { return !ops_[old].open && ops_[old].ended < op.begun; });
    }
}

void Content::power_lost() {
    const std::uint64_t now = clock_++;
    for (auto& [number, sector] : sectors_) {
        sector.certain = sector.durable;
        sector.since = now;
        sector.maybe = sector.recent;
    }
}

}  // namespace braid::sim
