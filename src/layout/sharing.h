// How the AMFs of a group share it: what an operator chooses when the group is made, or some of it later, and
// every AMF of it obeys. Kept in the group's configuration page, shown by `braid group show`. Rows A2 C1 C5
// L3 L4 L10 R3 R4.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace braid {

/// Who decides about a lock. The numbers are those on the disk.
enum class Coherency : std::uint8_t {
    arbiter = 0,    ///< the AMF that the view maps the unit to
    broadcast = 1,  ///< all that share it, asked at once
};

/// In which order those are served that wait for one lock. The numbers are those on the disk.
enum class LockOrder : std::uint8_t {
    fifo = 0,
    priority = 1,  ///< hosts before background work, which ages
};

/// When a host hears that its write is done. The numbers are those on the disk.
enum class WriteCache : std::uint8_t {
    through = 0,  ///< when data and parity are on the members
    back = 1,     ///< when as many AMFs as the dimension says have the data
};

/// With write-back: when a host hears that its write is done. The numbers are those on the disk.
enum class Replication : std::uint8_t {
    synchronous = 0,         ///< when all partners have it
    pseudo_synchronous = 1,  ///< when it has left the process for all of them
    asynchronous = 2,        ///< before
};

/// With write-back: what becomes of writes while fewer partners are left than the dimension asks for. The
/// numbers are those on the disk.
enum class FewPartners : std::uint8_t {
    write_through = 0,  ///< they go to the members before the answer
    go_on = 1,          ///< they are dirty with fewer copies, if need be with none
};

/// Where copies of a controller's records stand, if they can: as an operator has named it (row R3). Nothing:
/// nowhere is preferred.
struct NamedPartners {
    std::uint16_t controllers = 0;      ///< by slot, a bit each
    std::vector<std::string> places{};  ///< all controllers that have the label "host:LABEL" or "site:LABEL"
    friend bool operator==(const NamedPartners&, const NamedPartners&) = default;

    bool any() const { return controllers != 0 || !places.empty(); }
};
constexpr std::size_t kMaxPartnerPlaces = 16;  ///< different ones in a group
constexpr std::string_view kHostPlace = "host:", kSitePlace = "site:";

/// What one lock covers. The stripes are locked by whoever changes something in them, or needs them to hold
/// still; with `blocks` their content has locks of its own besides, which are all that most reads take.
struct Granularity {
    std::uint32_t stripes = 1;  ///< neighbouring ones, 1 .. 1 Mi; 1 if there are locks of blocks
    /// 4 KiB blocks under one lock: a power of two, at most a strip; 0: the lock of the stripes covers them.
    std::uint16_t blocks = 0;
    friend bool operator==(const Granularity&, const Granularity&) = default;
};

constexpr std::uint32_t kMaxLockStripes = 1u << 20;
constexpr Nanos kMaxMinHold = 1s;
constexpr unsigned kMaxPrefetch = 63;
constexpr unsigned kDefaultPrefetch = 32;

struct SharingOptions {
    Granularity granularity;
    Coherency coherency = Coherency::arbiter;
    LockOrder lock_order = LockOrder::fifo;
    /// A lock that was granted stays so long before it is given back; whole microseconds, 0: no such time.
    Nanos min_hold{};
    std::uint8_t prefetch = kDefaultPrefetch;  ///< units that a sequential stream names ahead; 0: none
    std::uint8_t amfs = 1;                     ///< of one controller, 1 .. 8
    WriteCache write_cache = WriteCache::through;
    Replication replication = Replication::synchronous;
    FewPartners few_partners = FewPartners::write_through;
    std::array<NamedPartners, kMaxControllers> partners{};  ///< by controller slot

    friend bool operator==(const SharingOptions&, const SharingOptions&) = default;

    /// What is wrong for a group with places for so many controllers and strips of so many bytes, in words
    /// for an operator; empty: nothing.
    std::string_view complaint(std::size_t controllers, std::uint32_t strip_size) const;
};

/// What an operator changes while the group is in use; what is not there stays. The rest of the options is
/// part of what the AMFs have agreed on since the group was made.
struct SharingChange {
    std::optional<LockOrder> lock_order;
    std::optional<Nanos> min_hold;
    std::optional<std::uint8_t> prefetch;
    std::optional<Replication> replication{};
    std::optional<FewPartners> few_partners{};
    std::optional<std::pair<std::uint8_t, NamedPartners>> partners{};  ///< of one slot

    SharingOptions applied_to(SharingOptions options) const {
        if (lock_order) options.lock_order = *lock_order;
        if (min_hold) options.min_hold = *min_hold;
        if (prefetch) options.prefetch = *prefetch;
        if (replication) options.replication = *replication;
        if (few_partners) options.few_partners = *few_partners;
        if (partners) options.partners.at(partners->first) = partners->second;
        return options;
    }
    friend bool operator==(const SharingChange&, const SharingChange&) = default;
};

std::string_view to_string(Coherency coherency);  ///< arbiter, broadcast
std::string_view to_string(LockOrder order);      ///< fifo, priority
std::string_view to_string(WriteCache cache);     ///< write-through, write-back
std::string_view to_string(Replication mode);     ///< synchronous, pseudo-synchronous, asynchronous
std::string_view to_string(FewPartners policy);   ///< write-through, continue
std::string to_string(Granularity granularity);   ///< block, blocks:N, stripe, stripes:N
Result<Coherency> parse_coherency(std::string_view text);
Result<LockOrder> parse_lock_order(std::string_view text);
Result<WriteCache> parse_write_cache(std::string_view text);
Result<Replication> parse_replication(std::string_view text);
Result<FewPartners> parse_few_partners(std::string_view text);
Result<Granularity> parse_granularity(std::string_view text);

}  // namespace braid
