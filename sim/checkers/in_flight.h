// On one member, from outside: while a write is at work on a block, nobody else reads or writes it; neither
// another controller, dead ones whose commands may still land included, nor the same one twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"

namespace braid::sim {

class InFlight {
public:
    /// Blocks before `from` and from `to` on are not judged.
    InFlight(std::uint64_t from, std::uint64_t to) : from_(from), places_(to) {}

    /// Data begins here. Before anything of it is under way.
    void judge_from(std::uint64_t block) { from_ = block; }
    /// Behind so many blocks of each segment of so many stands what readers look at whoever writes there,
    /// because they take it sector by sector: the checksums, where the locks are of blocks.
    void spare_readers(std::uint64_t segment, std::uint64_t behind) {
        segment_ = segment;
        behind_ = behind;
    }

    /// Empty, or who is in whose way.
    /// `anew`: the space is handed out again; who still reads what stood there looks afterwards whether it
    /// was still there, and does not count.
    std::string begin(std::uint64_t pid, std::uint64_t at, std::uint64_t length, bool writes,
                      bool anew = false) {
        std::string wrong;
        for_each(at, length, [&](Place& place, std::uint64_t block) {
            if (!writes && spared(block)) return;
            if (anew) place.readers = 0;
            const bool clash = place.writers != 0 || (writes && place.readers != 0);
            if (clash && wrong.empty()) {
                wrong = "in flight: pid " + std::to_string(pid) + (writes ? " writes" : " reads") +
                        " block " + std::to_string(block) + " while pid " + std::to_string(place.pid) +
                        (place.writers != 0 ? " writes it" : " reads it");
            }
            ++(writes ? place.writers : place.readers);
            place.pid = static_cast<std::uint32_t>(pid);
        });
        return wrong;
    }
    void end(std::uint64_t at, std::uint64_t length, bool writes) {
        for_each(at, length, [&](Place& place, std::uint64_t block) {
            if (!writes && spared(block)) return;
            std::uint16_t& count = writes ? place.writers : place.readers;
            if (count != 0) --count;
        });
    }

private:
    struct Place {
        std::uint32_t pid = 0;  ///< of the last one that began
        std::uint16_t writers = 0, readers = 0;
    };
    template <class F>
    void for_each(std::uint64_t at, std::uint64_t length, F f) {
        const std::uint64_t end = std::min<std::uint64_t>((at + length) / kBlockSize, places_.size());
        for (std::uint64_t block = std::max(at / kBlockSize, from_); block < end; ++block) {
            f(places_[block], block);
        }
    }
    bool spared(std::uint64_t block) const { return segment_ != 0 && (block - from_) % segment_ >= behind_; }
    std::uint64_t from_;
    std::uint64_t segment_ = 0, behind_ = 0;
    std::vector<Place> places_;
};

}  // namespace braid::sim
