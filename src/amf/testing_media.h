// What is on the disks of a small world, and what of it a power cut may undo. Tests only.
#pragma once

#include <cstring>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "io/disk.h"

namespace braid::testing {

constexpr std::size_t kSectorSize = 512;        ///< what a disk writes as one
using Pages = std::map<std::uint64_t, Buffer>;  ///< by 4 KiB page; absent: zeros

/// The sectors [from, to) of a write that land.
struct Landing {
    std::size_t from = 0, to = 0;
};

/// A write that a power cut may undo: it is on its way, or nobody has flushed since.
struct Unstable {
    std::size_t member = 0;
    std::uint64_t at = 0;  ///< bytes, of whole sectors
    Buffer bytes;
};

/// Puts a part of a write on a disk. Pages that somebody keeps stay as they are.
inline void put_sectors(Pages& pages, std::uint64_t at, std::span<const std::byte> bytes, Landing part) {
    std::size_t from = part.from * kSectorSize;
    const std::size_t to = part.to * kSectorSize;
    while (from < to) {
        const std::size_t in_page = (at + from) % kBlockSize;
        const std::size_t length = std::min(to - from, kBlockSize - in_page);
        Buffer& page = pages[(at + from) / kBlockSize];
        Buffer fresh = length == kBlockSize ? Buffer(kBlockSize)
                       : page.empty()       ? Buffer::zeroed(kBlockSize)
                                            : Buffer::copy_of(page.span());
        std::memcpy(fresh.data() + in_page, bytes.data() + from, length);
        page = std::move(fresh);
        from += length;
    }
}

/// What is on a disk, whoever reads it.
struct Media {
    std::uint64_t size = 0;
    Pages pages;
    bool keeps_unstable = false;                              ///< from when on the next two are kept
    Pages stable;                                             ///< what no power cut undoes
    std::vector<std::pair<std::uint64_t, Buffer>> unflushed;  ///< writes behind that, with their places
    std::uint64_t flushed = 0;                                ///< writes that were among these
    std::set<std::uint64_t> bad;          ///< pages that fail to read until they are written
    bool dead = false;                    ///< every command fails
    std::int64_t fail_writes_after = -1;  ///< dies at the write with this number from now; -1: does not
    std::uint64_t writes = 0;
    void write(std::uint64_t at, std::span<const std::byte> bytes, Landing part);
    void make_durable(std::uint64_t at, std::uint64_t length);
    void flush(std::uint64_t until);
    std::vector<std::pair<DiskVerb, std::uint64_t>>
        done;  ///< commands that changed something, with their place
};

inline void Media::write(std::uint64_t at, std::span<const std::byte> bytes, Landing part) {
    put_sectors(pages, at, bytes, part);
    for (std::uint64_t page = at / kBlockSize; page * kBlockSize < at + part.to * kSectorSize; ++page)
        bad.erase(page);
    if (!keeps_unstable || part.from == part.to) return;
    const std::size_t from = part.from * kSectorSize;
    unflushed.emplace_back(at + from, Buffer::copy_of(bytes.subspan(from, part.to * kSectorSize - from)));
}

/// The write that was the last one, to this place. What an earlier one put there is not coming back.
inline void Media::make_durable(std::uint64_t at, std::uint64_t length) {
    if (!keeps_unstable) return;
    put_sectors(stable, at, unflushed.back().second.span(), {0, length / kSectorSize});
    unflushed.pop_back();
    for (auto& [place, bytes] : unflushed) {
        if (place + bytes.size() <= at || at + length <= place) continue;
        ASSERT(at <= place && place + bytes.size() <= at + length);
        bytes = {};
    }
}

/// So many of all writes are stable now.
inline void Media::flush(std::uint64_t until) {
    while (flushed < until && !unflushed.empty()) {
        const auto& [at, bytes] = unflushed.front();
        put_sectors(stable, at, bytes.span(), {0, bytes.size() / kSectorSize});
        unflushed.erase(unflushed.begin());
        ++flushed;
    }
}

}  // namespace braid::testing
