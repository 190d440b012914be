// What stands in the hosts' writes, and what must stand in their reads.
#include <algorithm>
#include <cstring>

#include "sim/extent_trims.h"

namespace braid::sim {
namespace {

constexpr std::uint64_t kFillerStep = 0xd1342543de82ef95ull;
/// Word 2 of a sector that a write stamped, and what each further word is more than the one before it: they
/// differ in every word between any two writes.
std::uint64_t filler(std::uint64_t id, std::uint64_t sector) {
    return (id * 0x9e3779b97f4a7c15ull ^ sector) + 2 * kFillerStep;
}

}  // namespace

std::uint64_t Hosts::private_base(const Lane& lane) const {
    return options_.volume_size - (lane.index + 1) * private_size_;
}

std::uint64_t Hosts::draw_length(Prng& prng, bool is_private) {
    const Workload& work = options_.work;
    std::uint64_t dice = prng.below(work.small + work.tiny + work.stripes + work.huge);
    const auto is = [&dice](unsigned weight) {
        const bool here = dice < weight;
        dice -= here ? 0 : weight;
        return here;
    };
    if (is(work.small)) return 1 + prng.below(is_private ? 9000 : (16u << 10) / kSector);
    if (is(work.tiny)) return 1 + prng.below(is_private ? 600 : 1);
    if (is_private) return 1 + prng.below(private_size_ / 2);
    return 1 + prng.below((is(work.stripes) ? 3 * options_.stripe_size : kLongestOperation) / kSector);
}

Hosts::Operation Hosts::draw(Lane& lane) {
    const Workload& work = options_.work;
    Prng& prng = lane.prng;
    Operation op;
    op.id = next_id_++;
    const std::array<std::pair<Kind, unsigned>, 7> kinds = {{
        {Kind::write, work.writes},
        {Kind::read, work.reads},
        {Kind::private_write, work.private_writes},
        {Kind::private_read, work.private_reads},
        {Kind::private_zero, work.zeroes},
        {Kind::trim, work.trims},
        {Kind::flush, work.flushes},
    }};
    std::uint64_t all = 0;
    for (const auto& [kind, weight] : kinds) all += weight;
    std::uint64_t dice = prng.below(all);
    for (const auto& [kind, weight] : kinds) {
        op.kind = kind;
        if (dice < weight) break;
        dice -= weight;
    }
    if (op.kind == Kind::flush) return op;
    if (op.kind != Kind::write && op.kind != Kind::read) {
        op.length = std::min(draw_length(prng, true), private_size_ - 1);
        op.offset = private_base(lane) + prng.below(private_size_ - op.length);
        op.fast = op.kind == Kind::private_zero && prng.chance(1, 8);
        return op;
    }
    op.length = draw_length(prng, false) * kSector;
    op.fua = prng.chance(work.fua_of_100, 100);
    if (prng.chance(work.streams_of_100, 100)) {
        op.length = std::min(op.length, kStreamArea - lane.stream_at);
        op.offset = stream_area_ + lane.stream_at;
        lane.stream_at = (lane.stream_at + op.length) % kStreamArea;
        return op;
    }
    if (prng.chance(1, 4)) op.length = std::max<std::uint64_t>(op.length / kBlockSize, 1) * kBlockSize;
    const bool meet = work.hot && prng.chance(3, 4);
    const std::uint64_t near =
        spots_[prng.below(meet ? 2 : spots_.size())] + prng.below(meet ? 2 : 8) * kBlockSize;
    op.offset = std::min(near, shared_size() - op.length) / kSector * kSector;
    return op;
}

/// Every sector of a shared write names itself and the write; private bytes are a function of the write.
void Hosts::stamp(Operation& op) {
    op.data = Buffer(op.length);
    if (op.kind == Kind::private_write) {
        for (std::uint64_t i = 0; i < op.length; i += 8) {
            const std::uint64_t word = mix64(op.id * 1'000'003 + i) | 0x0101010101010101ull;
            std::memcpy(op.data.data() + i, &word, std::min<std::uint64_t>(8, op.length - i));
        }
        return;
    }
    for (std::uint64_t at = 0; at < op.length; at += kSector) {
        std::array<std::uint64_t, kSector / 8> words;
        const std::uint64_t sector = (op.offset + at) / kSector;
        words[2] = filler(op.id, sector);
        for (std::size_t i = 3; i < words.size(); ++i) words[i] = words[i - 1] + kFillerStep;
        words[0] = op.id;
        words[1] = sector;
        std::memcpy(op.data.data() + at, words.data(), kSector);
    }
}

void Hosts::record_read(const Operation& op, Instant completed) {
    const std::uint64_t end = (op.offset + op.length) / kSector;
    Sectors same{op.offset / kSector, 0};  // with this value; nothing: nobody can say whose it is
    std::optional<std::uint64_t> value = 0;
    const auto tell = [&] {
        if (same.count != 0 && value) one_disk_.read(same, *value, op.invoked, completed);
    };
    for (std::uint64_t sector = same.first; sector < end; ++sector) {
        std::array<std::uint64_t, kSector / 8> words;
        std::memcpy(words.data(), op.data.data() + (sector * kSector - op.offset), kSector);
        const std::uint64_t id = words[0];
        std::uint64_t wrong = words[1] ^ sector, any = id | words[1], expected = filler(id, sector);
        for (std::size_t i = 2; i < words.size(); ++i, expected += kFillerStep) {
            wrong |= words[i] ^ expected;
            any |= words[i];
        }
        if (wrong != 0 && any != 0) {
            world_.violation("sector " + std::to_string(sector) + " is torn or misplaced: words " +
                             std::to_string(id) + ' ' + std::to_string(words[1]));
            return;
        }
        std::optional<std::uint64_t> here = id;
        if (any == 0) here = trims_->zeros(sector * kSector / kExtentSize, op.invoked, completed);
        if (same.count != 0 && here != value) {
            tell();
            same = {sector, 0};
        }
        value = here;
        ++same.count;
    }
    tell();
}

/// An operation of the private area that had no answer, or an error for one: it may have happened.
void Hosts::leave_unanswered(Lane& lane, Operation op) {
    if (!op.changes_private()) return;
    const std::uint64_t base = private_base(lane);
    if (!options_.power_cuts)
        std::erase_if(lane.unanswered, [&](const Operation& old) {
            return std::memchr(lane.uncertain.data() + (old.offset - base), 1, old.length) == nullptr;
        });
    if (options_.power_cuts) lane.unflushed.push_back(op);
    lane.unanswered.push_back(std::move(op));
}

void Hosts::apply(const Lane& lane, const Operation& op, std::vector<std::byte>& area) const {
    const auto at = area.begin() + static_cast<std::ptrdiff_t>(op.offset - private_base(lane));
    if (op.kind != Kind::private_write) {
        std::fill_n(at, op.length, std::byte{0});
    } else {
        std::copy_n(op.data.data(), op.length, at);
    }
}

/// What had an answer when a flush was asked for, by whomever through whatever controller, is durable.
void Hosts::flushed(const Operation& flush) {
    one_disk_.flushed(flush.invoked);
    early_.flushed(flush.invoked);
    for (Lane& lane : lanes_) {
        for (const Operation& op : lane.unflushed) {
            if (op.completed <= flush.invoked) apply(lane, op, lane.durable);
        }
        std::erase_if(lane.unflushed, [&](const Operation& op) { return op.completed <= flush.invoked; });
    }
}

bool Hosts::may_be_there(const Lane& lane, std::uint64_t offset, std::byte seen) const {
    return std::ranges::any_of(lane.unanswered, [&](const Operation& op) {
        if (offset < op.offset || offset >= op.offset + op.length) return false;
        return seen == (op.kind != Kind::private_write ? std::byte{0} : op.data.data()[offset - op.offset]);
    });
}

/// Bytes under unanswered writes are as they were or as one of these left them, and become certain by being
/// read; all others are as this host left them.
void Hosts::check_private(Lane& lane, const Operation& op) {
    const std::uint64_t from = op.offset - private_base(lane);
    const std::span<const std::byte> all = op.data.span(0, op.length);
    for (std::uint64_t done = 0; done < op.length; done += kSector) {
        const std::span<const std::byte> seen =
            all.subspan(done, std::min<std::uint64_t>(kSector, op.length - done));
        const auto at = static_cast<std::ptrdiff_t>(from + done);
        if (std::memcmp(&lane.expected[from + done], seen.data(), seen.size()) != 0) {
            for (std::uint64_t i = 0; i < seen.size(); ++i) {
                const std::uint64_t byte = from + done + i;
                if (seen[i] == lane.expected[byte]) continue;
                if (lane.uncertain[byte] != 0 && may_be_there(lane, op.offset + done + i, seen[i])) continue;
                world_.violation("private byte " + std::to_string(op.offset + done + i) + " of lane " +
                                 std::to_string(lane.index) + " is not what it wrote");
                return;
            }
            std::ranges::copy(seen, lane.expected.begin() + at);
        }
        std::fill_n(lane.uncertain.begin() + at, seen.size(), std::uint8_t{0});
    }
}

}  // namespace braid::sim
