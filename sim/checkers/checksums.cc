#include "sim/checkers/checksums.h"

#include "ondisk/checksum_record.h"

namespace braid::sim {
namespace {

class Look {
public:
    Look(const Tables& tables, const MemberMedia& media, const Geometry& geometry)
        : tables_(tables),
          media_(media),
          geometry_(geometry),
          size_(geometry_.checksum_record_size()),
          copies_(std::size_t{geometry_.checksum_copies()} * size_),
          block_(kBlockSize) {}

    auto ok() const {
        return [this](MemberIndex member) { return serves(tables_.state().members[member.v].state); };
    }
    /// What the copies say together, and which of them can be looked at.
    ChecksumRecord record_of(const Zone& zone, StripeIndex stripe, std::vector<unsigned>& here) const {
        ChecksumRecord record(geometry_, {tables_.group(), stripe, zone.generation});
        for (unsigned copy = 0; copy < geometry_.checksum_copies(); ++copy) {
            const Places at = checksum_places(geometry_, zone, geometry_.row_of(stripe), copy,
                                              tables_.config().data_start, ok());
            if (!at.read || !counts(*at.read, size_)) continue;
            media_[at.read->member.v]->peek(at.read->offset, bytes_of(copy));
            record.take(bytes_of(copy));
            here.push_back(copy);
        }
        return record;
    }
    std::string stripe(const Zone& zone, StripeIndex stripe) const {
        const Row row = geometry_.row_of(stripe);
        const std::uint64_t start = tables_.config().data_start;
        std::vector<unsigned> here;
        const ChecksumRecord record = record_of(zone, stripe, here);
        const std::string name = "stripe " + std::to_string(stripe.v);
        for (const unsigned copy : here) {
            if (!record.current(bytes_of(copy))) return name + ": copy " + std::to_string(copy) + " is old";
        }
        for (unsigned role = 0; role < geometry_.width() && !here.empty(); ++role) {
            const Places at =
                strip_places(geometry_, zone, row, Role(static_cast<std::uint8_t>(role)), start, ok());
            for (std::uint32_t from = 0; at.read && from < geometry_.strip_size; from += kBlockSize) {
                const DiskPlace block{at.read->member, at.read->offset + from};
                if (!counts(block, kBlockSize)) continue;
                media_[block.member.v]->peek(block.offset, block_.span());
                if (record.mismatch(role, from, block_.span()))
                    return name + ": role " + std::to_string(role) + ", byte " + std::to_string(from) +
                           " is not what its checksum says";
            }
        }
        return {};
    }

private:
    bool counts(DiskPlace at, std::uint64_t length) const {
        return !media_[at.member.v]->lies(at.offset, length);
    }
    std::span<std::byte> bytes_of(unsigned copy) const { return copies_.span(copy * size_, size_); }

    const Tables& tables_;
    const MemberMedia& media_;
    const Geometry geometry_;
    const std::size_t size_;
    const Buffer copies_, block_;
};

}  // namespace

std::optional<ChecksumRecord> record_on_members(const Tables& tables, const Zone& zone, StripeIndex stripe,
                                                const MemberMedia& media) {
    const Geometry geometry = tables.config().geometry_of(zone.shape);
    if (!geometry.checksums) return {};
    std::vector<unsigned> here;
    ChecksumRecord record = Look(tables, media, geometry).record_of(zone, stripe, here);
    if (here.empty()) return {};
    return record;
}

std::string check_checksums(const Tables& tables, const MemberMedia& media) {
    if (!tables.geometry().checksums) return {};
    for (std::uint32_t extent = 0; extent < tables.config().extents; ++extent) {
        const Geometry geometry = tables.geometry_of(ExtentIndex(extent));
        const Look look(tables, media, geometry);
        const Zone* zone = tables.zone(ExtentIndex(extent));
        for (std::uint32_t row = 0; zone != nullptr && row < geometry.rows_per_extent(); ++row) {
            std::string wrong = look.stripe(*zone, geometry.stripe_of(ExtentIndex(extent), Row(row)));
            if (!wrong.empty()) return wrong;
        }
    }
    return {};
}

}  // namespace braid::sim
