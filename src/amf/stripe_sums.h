// The checksums of one stripe, as one operation uses them; nothing at all in a group without.
//
//   Sums sums(amf, spot, use); sums.begin();       // beside whatever else is read
//   co_await arrived(sums);                        // free if they were at hand
//   fits(sums, role, ...)                          // each block that came from a member
//   sums.write(what changes); co_await sums.batch.done(); sums.keep();
#pragma once

#include "amf/amf.h"

namespace braid {

/// Tasks in the background; what is not repaired now is found again.
constexpr std::size_t kMaxRepairs = 64;

struct Amf::Sums {
    enum class Use : std::uint8_t {
        blocks,   ///< only blocks are locked: somebody may be writing others of the stripe
        reading,  ///< the stripe holds still
        writing,  ///< the same, and it is about to change
        looking,  ///< the same, and what is on the members counts, not what is remembered
    };

    Sums(Amf& a, const Spot& s, Use u)
        : amf(a), spot(s), use(u), batch(a.executor_, a.tables_, a.extent(s), s.purpose) {
        if (amf.geometry_.checksums) find();
    }
    Sums(const Sums&) = delete;
    Sums& operator=(const Sums&) = delete;
    ~Sums() { amf.sums_.give_up(spot.stripe, claim); }

    bool on() const { return amf.geometry_.checksums; }
    void begin() {
        if (on() && !record) read_copies();
    }
    /// To all copies; when the batch is done, it says which members to declare failed.
    void write();
    /// As the newest copies have it, to this member, or to all: also if one is not so. So nobody has to note
    /// that one which is away has missed it.
    void write_again(std::optional<MemberIndex> member);
    /// With what a write changes.
    void write(const StripeWrite& change, std::span<const std::byte> data, const ParityPart& parity) {
        if (on()) record.apply(change, data, parity);
        write();
    }
    /// The members have it.
    void keep() { amf.sums_.put(spot.stripe, std::exchange(claim, 0), record); }

    ChecksumOwner owner() const { return {amf.group_, spot.stripe, spot.zone->generation}; }
    std::span<std::byte> bytes_of(unsigned copy) const {
        const std::size_t size = spot.geometry.checksum_record_size();
        return copies.span(copy * size, size);
    }

    Amf& amf;
    const Spot spot;
    const Use use;
    ChecksumRecord record;
    ChecksumCache::Claim claim = 0;
    bool due = false;      ///< copies are being read
    bool stale = false;    ///< a copy is not what it should be
    bool asked = false;    ///< whether the stripe is in doubt
    bool trial = false;    ///< what cannot be regenerated is read where it is
    bool believe = false;  ///< what is found is right, whatever the record says
    Buffer copies;
    DiskBatchOf<kMaxParity + 1> batch;  ///< roles: copies

private:
    void find();
    void read_copies();
    void write(std::span<const std::byte> bytes, std::optional<MemberIndex> member);
};

}  // namespace braid
