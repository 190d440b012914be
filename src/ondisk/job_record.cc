#include "ondisk/job_record.h"

#include <algorithm>
#include <limits>

#include "ondisk/fields.h"

namespace braid {
namespace {

void add_to(std::uint32_t& sum, std::uint32_t more) {
    sum += std::min(more, std::numeric_limits<std::uint32_t>::max() - sum);
}

}  // namespace

std::string_view to_string(JobKind kind) {
    constexpr std::array<std::string_view, kJobKinds> names{"scrub", "rebuild", "reshape", "rebalance"};
    return names[static_cast<std::size_t>(kind) - 1];
}

std::string_view to_string(JobState state) {
    constexpr std::array<std::string_view, 5> names{"running", "paused", "done", "cancelled", "failed"};
    return names[static_cast<std::size_t>(state)];
}

void ScrubCounts::add(const ScrubCounts& other) {
    add_to(repaired, other.repaired);
    add_to(unattributed, other.unattributed);
    add_to(incomplete, other.incomplete);
    first_unattributed = std::min(first_unattributed, other.first_unattributed);
}

void JobRecord::note_done(ExtentIndex extent) {
    ASSERT(extent >= cursor && extent.v - cursor.v < kScrubWindow);
    window.set(extent.v - cursor.v);
}

bool JobRecord::is_valid() const {
    if (id == 0) return *this == JobRecord{};
    const bool scrubs = kind == JobKind::scrub && active();
    return kind >= JobKind::scrub && kind <= JobKind::rebalance && state < JobState::failed &&
           priority >= 1 && priority <= kMaxPriority && (ended == 0 || !active()) &&
           (left == 0 || !active()) && !window[0] && (scrubs || (cursor == ExtentIndex() && window.none())) &&
           (kind == JobKind::scrub || counts == ScrubCounts{}) &&
           (counts.unattributed == 0) == (counts.first_unattributed.v == ScrubCounts::kNoStripe);
}

void JobRecord::encode(FieldWriter& out) const {
    ASSERT(is_valid());
    if (id == 0) return out.zeros(kJobRecordSize);
    out.put(id);
    out.put(static_cast<std::uint8_t>(kind));
    out.put(static_cast<std::uint8_t>(state));
    out.put(priority);
    out.zeros(1);
    out.put(started);
    out.put(ended);
    out.put(cursor);
    out.put(left);
    out.put(counts.repaired);
    out.put(counts.unattributed);
    out.put(counts.incomplete);
    out.zeros(4);
    out.put(counts.first_unattributed);
    out.zeros(8);
    for (const std::uint32_t units : done) out.put(units);
    for (std::size_t i = 0; i < kScrubWindow; i += 8) {
        unsigned byte = 0;
        for (std::size_t bit = 0; bit < 8; ++bit) byte |= (window[i + bit] ? 1u : 0u) << bit;
        out.put(static_cast<std::uint8_t>(byte));
    }
}

Result<JobRecord> JobRecord::decode(Reader& in) {
    const auto bytes = in.raw(kJobRecordSize);
    if (!in.ok()) return fail(Errc::corrupt);
    if (all_zero(bytes)) return JobRecord{};
    Reader fields(bytes);
    JobRecord job;
    job.id = fields.get<std::uint32_t>();
    job.kind = static_cast<JobKind>(fields.get<std::uint8_t>());
    job.state = static_cast<JobState>(fields.get<std::uint8_t>());
    job.priority = fields.get<std::uint8_t>();
    fields.raw(1);
    job.started = fields.get<std::uint64_t>();
    job.ended = fields.get<std::uint64_t>();
    job.cursor = fields.get<ExtentIndex>();
    job.left = fields.get<std::uint32_t>();
    job.counts.repaired = fields.get<std::uint32_t>();
    job.counts.unattributed = fields.get<std::uint32_t>();
    job.counts.incomplete = fields.get<std::uint32_t>();
    fields.raw(4);
    job.counts.first_unattributed = fields.get<StripeIndex>();
    fields.raw(8);
    for (std::uint32_t& units : job.done) units = fields.get<std::uint32_t>();
    for (std::size_t i = 0; i < kScrubWindow; i += 8) {
        const auto byte = fields.get<std::uint8_t>();
        for (std::size_t bit = 0; bit < 8; ++bit) job.window[i + bit] = (byte >> bit & 1) != 0;
    }
    if (!fields.done() || job.id == 0 || !job.is_valid()) return fail(Errc::corrupt);
    return job;
}

}  // namespace braid
