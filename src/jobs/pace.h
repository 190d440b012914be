// How fast background work (scrub, rebuild, reshape) may go beside hosts: as fast as the 99th percentile of
// their latency stays within a bound, and never slower than a minimum. One for each AMF, for all its work.
// Pure: it is told what hosts see, here and at the other AMFs, and what time it is.
//
//   hosts' operations -> an interval's p99 -> all AMFs of the group: above the bound, so much slower at once;
//                                             below 3/4 of it, of all hosts, and work had to wait: faster,
//                                             but in small steps about the rate that was too fast
//
// An interval has a thousand operations, or a hundred that were all below 3/4, or eleven that were too slow,
// or takes a second; it takes 100 ms at least. Operations that began before the last change of rate say
// nothing about the present one and are left out: so it never reacts twice to the same thing. While no host
// is at work anywhere there is no limit; the rate stays for when they return. It begins with the minimum.
//
// All AMFs hear the same and go the same way. Bytes are finished ones, as a job counts them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "base/latencies.h"
#include "ondisk/job_record.h"

namespace braid {

struct PaceOptions {
    Nanos host_p99{};                     ///< the bound; 0: work goes as fast as it can
    std::uint64_t minimum = 10ull << 20;  ///< bytes per second of the AMF, all its work together; not 0
};

/// What the hosts of an AMF have seen in an interval.
struct HostLatency {
    Nanos p99{};
    Nanos span{};  ///< how long it took, up to now
    static constexpr Nanos kLongestSpan = 1h;
    friend bool operator==(const HostLatency&, const HostLatency&) = default;
};

/// For people.
struct PaceReport {
    std::array<std::uint64_t, kJobKinds> bytes{};  ///< that were let go, by kind
    std::uint64_t limit = 0;                       ///< bytes per second; 0: none
    Nanos host_p99{};                              ///< of the last interval here; 0: no host was at work
    bool on = false;
    std::uint64_t bytes_of(JobKind kind) const { return bytes[static_cast<std::size_t>(kind) - 1]; }
};

class Pace {
public:
    static constexpr Nanos kShortest = 100ms, kLongest = 1s;  ///< interval
    static constexpr Nanos kForgotten = 2500ms;               ///< hosts that have been silent are not at work
    static constexpr Nanos kAskAgain = 100ms;

    explicit Pace(PaceOptions options) : options_(options), rate_(options.minimum) {}

    bool on() const { return options_.host_p99 != Nanos{0}; }

    // ---- hosts of this AMF
    void host_began(Nanos now);
    void host_left() { --inside_; }
    /// If that ends an interval: what the other AMFs are to be told. It is known here already.
    std::optional<HostLatency> host_took(Nanos now, Nanos took);
    // ---- of another one
    void heard(Nanos now, AmfId from, HostLatency latency);

    // ---- work
    /// 0: so many bytes may go now, and are counted. Otherwise nothing may: ask again after so long, at most
    /// kAskAgain. Works at the same time share the rate by their priorities, 1 to 9.
    Nanos ask(Nanos now, JobKind work, unsigned priority, std::uint64_t bytes);

    /// Bytes per second; nothing: as fast as it can.
    std::optional<std::uint64_t> limit(Nanos now) const;
    PaceReport report(Nanos now) const;

private:
    struct Told {
        Nanos at{}, p99{};
        bool fresh = false;  ///< of the present rate, and not thought about yet
    };
    struct Lane {
        std::uint64_t bytes = 0;
        std::optional<Nanos> asked;
        unsigned priority = 0;
        Nanos free_at{};  ///< what was let go has had its time by then
    };
    Lane& lane(JobKind work) { return lanes_[static_cast<std::size_t>(work) - 1]; }
    bool hosts_at_work(Nanos now) const;
    Nanos aim() const { return options_.host_p99 * 3 / 4; }
    void wake(Nanos now);
    void begin_interval();
    void think(Nanos now);
    void change(Nanos now, std::uint64_t rate);

    PaceOptions options_;
    std::uint64_t rate_;
    std::uint64_t too_fast_ = 0;  ///< the rate at which hosts were last too slow; 0: none yet
    std::uint64_t inside_ = 0;    ///< operations of hosts
    std::optional<Nanos> last_host_;
    // The present interval.
    Latencies latencies_;
    std::uint64_t over_ = 0;
    bool all_quick_ = true;
    Nanos begun_{};
    Nanos last_p99_{};
    std::map<AmfId, Told> told_;  ///< AmfId(): by ourselves
    Nanos changed_{};             ///< the rate, or that there is a limit
    bool held_ = false;           ///< somebody had to wait since that was last thought about
    std::array<Lane, kJobKinds> lanes_;
};

}  // namespace braid
