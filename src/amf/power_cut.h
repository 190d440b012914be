// What may stand on the disks when all power is lost at some instant: all of it, not a sample. A write that
// was on its way, or was answered and not flushed since, is there, is not there, or is there up to or from
// any of its 512 byte sectors. Tests only.
#pragma once

#include <unordered_set>

#include "amf/testing.h"

namespace braid::testing {

/// The ways in which one write of so many sectors may land: not at all, whole, and torn at each of its
/// sectors, from either side; with `coarse` torn in its middle alone.
inline std::vector<Landing> landings_of(std::size_t sectors, bool coarse) {
    std::vector<Landing> ways = {Landing{}, Landing{0, sectors}};
    if (coarse && sectors > 1) ways.push_back({0, sectors / 2});
    for (std::size_t cut = 1; !coarse && cut < sectors; ++cut) {
        ways.push_back({0, cut});
        ways.push_back({cut, sectors});
    }
    return ways;
}

/// Calls `each` with every combination of them.
template <class Each>
void for_each_combination(const std::vector<std::vector<Landing>>& ways, Each&& each) {
    std::vector<std::size_t> way(ways.size());
    std::vector<Landing> fate(ways.size());
    for (std::size_t i = 0; i < ways.size();) {
        for (std::size_t w = 0; w < ways.size(); ++w) fate[w] = ways[w][way[w]];
        each(std::span<const Landing>(fate));
        for (i = 0; i < ways.size() && ++way[i] == ways[i].size(); ++i) way[i] = 0;
    }
}

/// Calls `each` with the ways in which writes of so many sectors may land: every combination of every way of
/// each. When these are more than `most`: every combination of none, half and whole, and beside each subset
/// of them whole one torn at each of its sectors.
template <class Each>
void for_each_landing(std::span<const std::size_t> sectors, std::size_t most, Each&& each) {
    const std::size_t count = sectors.size();
    ASSERT(count < 24);
    std::size_t combinations = 1;
    std::vector<std::vector<Landing>> fine, coarse, whole;
    for (const std::size_t n : sectors) {
        fine.push_back(landings_of(n, false));
        coarse.push_back(landings_of(n, true));
        whole.push_back({Landing{}, Landing{0, n}});
        combinations = std::min(combinations * fine.back().size(), most + 1);
    }
    if (count == 0) return each(std::span<const Landing>());
    if (combinations <= most) return for_each_combination(fine, each);
    for_each_combination(coarse, each);
    for (std::size_t torn = 0; torn < count; ++torn) {
        std::vector<std::vector<Landing>> ways = whole;
        ways[torn].assign(fine[torn].begin() + 2, fine[torn].end());
        if (!ways[torn].empty()) for_each_combination(ways, each);
    }
}

/// What a power cut would leave of a world's disks.
class PowerCut {
public:
    explicit PowerCut(const World& world) : writes_(world.unstable()) {
        for (const auto& media : world.media) {
            for (const auto& [at, page] : media->stable) hash_ += hash(stable_.size(), at, page);
            stable_.push_back(media->stable);
        }
    }
    std::vector<std::size_t> sectors() const {
        std::vector<std::size_t> out;
        for (const Unstable& write : writes_) out.push_back(write.bytes.size() / kSectorSize);
        return out;
    }
    /// Told apart by hash(): what differs from what is stable.
    std::vector<Pages> differences(std::span<const Landing> fate) const {
        std::vector<Pages> out(stable_.size());
        for (std::size_t i = 0; i < writes_.size(); ++i) {
            const Unstable& write = writes_[i];
            if (fate[i].from == fate[i].to) continue;
            Pages& pages = out[write.member];
            for (std::uint64_t at = write.at / kBlockSize; at * kBlockSize < write.at + write.bytes.size();
                 ++at) {
                const auto stable = stable_[write.member].find(at);
                if (stable != stable_[write.member].end()) pages.try_emplace(at, stable->second);
            }
            put_sectors(pages, write.at, write.bytes.span(), fate[i]);
        }
        return out;
    }
    std::uint64_t hash(const std::vector<Pages>& differences) const {
        std::uint64_t out = hash_;
        for (std::size_t member = 0; member < differences.size(); ++member) {
            for (const auto& [at, page] : differences[member]) {
                const auto stable = stable_[member].find(at);
                if (stable != stable_[member].end()) out -= hash(member, at, stable->second);
                out += hash(member, at, page);
            }
        }
        return out;
    }
    std::vector<Pages> disks(const std::vector<Pages>& differences) const {
        std::vector<Pages> out = stable_;
        for (std::size_t member = 0; member < out.size(); ++member) {
            for (const auto& [at, page] : differences[member]) out[member][at] = page;
        }
        return out;
    }

private:
    static std::uint64_t hash(std::size_t member, std::uint64_t at, const Buffer& page) {
        std::uint64_t out = at * kMaxMembers + member + 1;
        for (std::size_t i = 0; i < page.size(); i += 8) {
            std::uint64_t word;
            std::memcpy(&word, page.data() + i, 8);
            out = (out ^ word) * 0x9e3779b97f4a7c15;
            out ^= out >> 32;
        }
        return out;
    }

    std::vector<Unstable> writes_;
    std::vector<Pages> stable_;
    std::uint64_t hash_ = 0;
};

}  // namespace braid::testing
