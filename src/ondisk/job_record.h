// Long work over a whole group as it stands in the state page (bytes: docs/on-disk.md), so that it outlives
// whoever works on it. A unit of a scrub or a reshape is an extent, one of a rebuild or a rebalance a
// segment.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <numeric>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "ondisk/page.h"

namespace braid {

class FieldWriter;
class Reader;

/// The numbers are those on the disk.
enum class JobKind : std::uint8_t {
    scrub = 1,
    rebuild = 2,    ///< what is missing is made again, and what stands on members that leave goes elsewhere
    reshape = 3,    ///< extents get another shape
    rebalance = 4,  ///< segments move until all members are as full as the others
};
constexpr std::size_t kJobKinds = 4;
/// The numbers are those on the disk; `failed` does not stand there.
enum class JobState : std::uint8_t { running = 0, paused = 1, done = 2, cancelled = 3, failed = 4 };
std::string_view to_string(JobKind kind);
std::string_view to_string(JobState state);
constexpr bool is_active(JobState state) { return state == JobState::running || state == JobState::paused; }

constexpr std::size_t kJobRecords = 8;
constexpr std::uint32_t kScrubWindow = 1024;  ///< extents that AMFs may be ahead of the slowest
constexpr std::uint8_t kDefaultPriority = 4, kMaxPriority = 9;

/// What a scrub has met, in stripes.
struct ScrubCounts {
    std::uint32_t repaired = 0;      ///< blocks were not what had been written, and have been written again
    std::uint32_t unattributed = 0;  ///< parity does not fit, and nothing tells what is right
    std::uint32_t incomplete = 0;    ///< data of missing members: nothing can be said
    StripeIndex first_unattributed{kNoStripe};

    static constexpr std::uint64_t kNoStripe = ~0ull;
    void add(const ScrubCounts& other);
    friend bool operator==(const ScrubCounts&, const ScrubCounts&) = default;
};

struct JobRecord {
    std::uint32_t id = 0;  ///< 0: there is none
    JobKind kind = JobKind::scrub;
    JobState state = JobState::running;
    std::uint8_t priority = kDefaultPriority;  ///< 1 .. 9: stripes in work at once, of each AMF
    std::uint64_t started = 0, ended = 0;      ///< seconds since 1970, for people; 0: not known, or not yet
    ScrubCounts counts{};
    std::uint32_t left = 0;                           ///< units that it had not done when it ended
    std::array<std::uint32_t, kMaxGroupAmfs> done{};  ///< units, by AmfSlot
    // Of a scrub that goes on:
    ExtentIndex cursor{};                ///< all extents before it are done
    std::bitset<kScrubWindow> window{};  ///< those from the cursor on that are; the first one is not

    bool active() const { return id != 0 && is_active(state); }
    std::uint64_t units_done() const { return std::accumulate(done.begin(), done.end(), std::uint64_t{0}); }
    /// Whether a scrub has not been there yet, as far as it stands here.
    bool awaits(ExtentIndex extent) const {
        return extent >= cursor && (extent.v - cursor.v >= kScrubWindow || !window[extent.v - cursor.v]);
    }
    void note_done(ExtentIndex extent);
    /// To the first extent from here on that `awaited` says yes of, or the end.
    template <class Awaited>
    void advance(std::uint32_t extents, Awaited&& awaited) {
        std::uint32_t to = cursor.v;
        while (to < extents && !(awaits(ExtentIndex(to)) && awaited(ExtentIndex(to)))) ++to;
        window >>= to - cursor.v;
        cursor = ExtentIndex(to);
    }

    friend bool operator==(const JobRecord&, const JobRecord&) = default;
    bool is_valid() const;
    void encode(FieldWriter& out) const;
    /// corrupt.
    static Result<JobRecord> decode(Reader& in);
};
constexpr std::size_t kJobRecordSize = 256;

/// When a group is scrubbed by itself. Ages are of time in service, in seconds, since the last scrub that
/// came to its end; nobody compares clocks.
struct ScrubSchedule {
    std::uint32_t every = 0;  ///< seconds; 0: never
    std::uint32_t age = 0;    ///< counted while there is a schedule
    std::uint32_t begun = 0;  ///< the age at which the last one began, at most `age`

    bool due(std::uint64_t now) const { return every != 0 && now - begun >= every; }
    bool overdue() const { return every != 0 && age / 2 >= every; }
    friend bool operator==(const ScrubSchedule&, const ScrubSchedule&) = default;
    bool is_valid() const { return begun <= age && every <= kLongest && (every != 0 || age == 0); }
    static constexpr std::uint32_t kLongest = 10u * 366 * 24 * 3600;
};

}  // namespace braid
