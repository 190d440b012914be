// What hosts have been answered for and the members do not have yet, by stripe (row C1). Pure: no clock, no
// disk, no message.
//
//   put() -> [choose() ->] content() -> the caller writes it -> drop()
//
// A stripe has content, in runs that do not overlap, and the update records that partners keep of it, by
// their tickets, which ascend. Guarantees: content is always what the newest record of each byte says; every
// byte of it is in a record that is here; a record that a newer one covers wholly is out, and returned, as
// soon as that one is put. What goes first: stripes that are overdue, oldest first, so that age is bounded
// whatever else comes; then those that are dirty all over, which need no reads; then the oldest. A stripe is
// as old as the oldest of the records that are left. Needs: one caller at a time per stripe; all of whole
// blocks.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "layout/geometry.h"

namespace braid {

/// Bytes of a stripe's data.
struct DirtyPiece {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;

    std::uint32_t end() const { return offset + length; }
    bool within(const DirtyPiece& o) const { return offset >= o.offset && end() <= o.end(); }
    friend bool operator==(const DirtyPiece&, const DirtyPiece&) = default;
};

/// All of any.
constexpr DirtyPiece kWholeStripe{0, ~0u};

/// Over which gaps dirty parts of a stripe go to the members together: what is between them is read, and
/// goes through all that they go through.
enum class Gaps : std::uint8_t {
    none,
    small,  ///< as long as a quarter of what is dirty on both sides of it, at most
    all,    ///< one update, which takes the least time
};

class DirtyStripes {
public:
    using Ticket = std::uint64_t;

    struct Record : DirtyPiece {
        Nanos since{};  ///< when the first of its bytes became dirty
    };
    using ByAge = std::set<std::pair<Nanos, StripeIndex>>;

    struct Stripe {
        std::uint32_t generation = 0;         ///< of its zone
        std::uint32_t size = 0;               ///< data bytes of all of it
        std::map<std::uint32_t, Slice> runs;  ///< by offset
        std::map<Ticket, Record> records;
        std::uint32_t bytes = 0;   ///< in runs
        std::uint64_t writes = 0;  ///< of hosts
        Nanos since{};             ///< of the oldest of its records
        bool chosen = false;
        ByAge* in = nullptr;
        bool full() const { return bytes == size; }
    };

    DirtyStripes() = default;
    DirtyStripes(const DirtyStripes&) = delete;
    DirtyStripes& operator=(const DirtyStripes&) = delete;

    /// New content of the bytes from `offset` on of a stripe of `size` data bytes. `host`: a host's, not what
    /// was put together here of several. Returns the older records that it covers wholly; it is as old as
    /// these. The stripe is not dirty in another zone.
    std::vector<Ticket> put(StripeIndex stripe, std::uint32_t generation, std::uint32_t size,
                            std::uint32_t offset, Slice data, Ticket ticket, Nanos now, bool host);
    /// The piece is on the members: its content goes, and the records in it, which are returned.
    std::vector<Ticket> drop(StripeIndex stripe, DirtyPiece piece);

    // ---- content
    const Stripe* find(StripeIndex stripe) const;
    /// Of the same zone.
    bool meets(StripeIndex stripe, std::uint32_t generation, DirtyPiece piece) const;
    bool covers(StripeIndex stripe, std::uint32_t generation, DirtyPiece piece) const;
    /// Puts what is dirty of the bytes from `offset` on over `into`.
    void overlay(StripeIndex stripe, std::uint32_t generation, std::uint32_t offset,
                 std::span<std::byte> into) const;
    /// What is written at once.
    std::vector<DirtyPiece> pieces(StripeIndex stripe, Gaps over) const;
    /// A piece without gaps. Copied only if it is of several runs.
    Slice content(StripeIndex stripe, DirtyPiece piece) const;
    std::vector<Ticket> records_in(StripeIndex stripe, DirtyPiece piece) const;
    /// Ascending; those in [first, first + count).
    std::vector<StripeIndex> stripes(StripeIndex first = StripeIndex(0), std::uint64_t count = ~0ull) const;

    // ---- order
    struct Pressure {
        Nanos now{};
        Nanos age{};            ///< what is older is due
        std::uint64_t low = 0;  ///< beyond so many bytes of records, too
        bool all = false;
    };
    /// The stripe that should be written next, if one is due; it is not chosen again before unchoose().
    std::optional<StripeIndex> choose(const Pressure& pressure);
    void unchoose(StripeIndex stripe);

    bool empty() const { return stripes_.empty(); }
    std::size_t size() const { return stripes_.size(); }
    /// Of all records: what this costs here and at each partner.
    std::uint64_t bytes() const { return bytes_; }
    /// When the oldest of what is dirty became so.
    std::optional<Nanos> oldest() const;

private:
    static void cut(Stripe& stripe, DirtyPiece piece);
    void forget(Stripe& stripe, Ticket ticket);
    void place(StripeIndex index, Stripe& stripe);

    std::map<StripeIndex, Stripe> stripes_;
    ByAge open_, full_, chosen_;  ///< each stripe is in one
    std::uint64_t bytes_ = 0;
};

}  // namespace braid
