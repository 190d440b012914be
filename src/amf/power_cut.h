// What may stand on the disks when all power is lost at some instant: all of it, not a sample. A write that
// was on its way, or was answered and not flushed since, is there, is not there, or is there up to or from
// any of its 512 byte sectors. Tests only.
#pragma once

#include <unordered_set>

#include "amf/testing.h"

namespace braid::testing {

/// Calls `each` with every way in which writes of so many sectors may land: all subsets of them whole, and
/// beside each of these one torn at each of its sectors, from either side; with `two_torn` any two torn from
/// the front as well.
template <class Each>
void for_each_landing(std::span<const std::size_t> sectors, bool two_torn, Each&& each) {
    const std::size_t count = sectors.size();
    ASSERT(count < 24);
    std::vector<Landing> fate(count);
    const auto tell = [&] { each(std::span<const Landing>(fate)); };
    for (std::uint32_t whole = 0; whole < 1u << count; ++whole) {
        const auto stays_out = [&](std::size_t i) { return (whole >> i & 1u) == 0; };
        for (std::size_t i = 0; i < count; ++i) fate[i] = stays_out(i) ? Landing{} : Landing{0, sectors[i]};
        tell();
        for (std::size_t i = 0; i < count; ++i) {
            if (!stays_out(i)) continue;
            for (std::size_t cut = 1; cut < sectors[i]; ++cut) {
                fate[i] = {cut, sectors[i]};
                tell();
                fate[i] = {0, cut};
                tell();
                for (std::size_t j = i + 1; two_torn && j < count; ++j) {
                    if (!stays_out(j)) continue;
                    for (std::size_t other = 1; other < sectors[j]; ++other) {
                        fate[j] = {0, other};
                        tell();
                    }
                    fate[j] = {};
                }
            }
            fate[i] = {};
        }
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
