#include "sim/scenario_trace.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "cache/cache_frames.h"
#include "destage/pass_frames.h"
#include "forward/forward_frames.h"
#include "icl/frame.h"
#include "lock/lock_types.h"
#include "replica/completion_frames.h"
#include "sim/scenario_sequence.h"

namespace braid::sim {
namespace {

constexpr std::array<std::string_view, 13> kKinds = {"other", "lock",    "report", "record", "table",
                                                     "cache", "forward", "ports",  "link",   "disk",
                                                     "sums",  "tables",  "arrival"};
constexpr std::array<std::string_view, 3> kParity = {"P", "Q", "R"};

std::string name_of(AmfId id) {
    const unsigned index = amf_index(id);
    const std::string letter(1, static_cast<char>('a' + braid::controller_of(id).v - 1));
    return index == 0 ? letter : letter + '/' + std::to_string(index);
}
std::string letter(const Process& process) { return process.name.substr(process.name.size() - 1); }

std::string name_of(MessageType type) {
    if (type == kRecordFetch) return "record_fetch";
    if (type == kRecordFetched) return "record_fetched";
    return std::string(to_string(type));
}

std::string role_name(unsigned role, unsigned k) {
    return role < k ? "d" + std::to_string(role) : std::string(kParity[role - k]);
}

/// The frame as its receiver will see it; what is not a frame of ours ends the run.
Message message_of(std::span<const std::byte> frame) {
    const auto header = decode_frame_header(FrameHeaderBytes(frame.data(), kFrameHeaderSize));
    ASSERT(header.has_value());
    Message message{header->group, header->type, {}, {}, header->from_index, header->to_index};
    const auto head = frame.subspan(kFrameHeaderSize, header->head_size);
    message.head.assign(head.begin(), head.end());
    // Decoders look at the payload's length only; it is never used after this frame is gone.
    message.payload.bytes = frame.subspan(kFrameHeaderSize + header->head_size, header->payload_size);
    return message;
}

/// Of a line about a unit or a stripe: if that has no name it is not what the story is about.
std::string_view kind_if_named(std::string_view kind, const std::string& name) {
    return name[0] >= '0' && name[0] <= '9' ? "other" : kind;
}

std::string_view kind_of(MessageType type) {
    if (is_link_type(type) || type == MessageType::groups_changed) return "link";
    if (type == MessageType::lock_report) return "report";
    if (type == MessageType::forward_ports || type == MessageType::forward_drained) return "ports";
    if (type >= MessageType::forward_read) return "forward";
    if (type < MessageType::record_begin) return "lock";
    if (type == MessageType::cache_fetch || type == MessageType::cache_data) return "cache";
    return type >= MessageType::table_update && type < MessageType::amf_first ? "table" : "record";
}

}  // namespace

bool is_trace_kind(std::string_view kind) { return std::ranges::find(kKinds, kind) != kKinds.end(); }

bool is_message_name(std::string_view name) {
    for (unsigned type = 1; type <= static_cast<unsigned>(MessageType::last); ++type) {
        const std::string known = name_of(static_cast<MessageType>(type));
        if (known == name && known != "unknown" && known != "amf") return true;
    }
    return false;
}

std::optional<unsigned> role_of_name(std::string_view name, const Geometry& geometry) {
    for (unsigned role = 0; role < geometry.width(); ++role) {
        if (role_name(role, geometry.k) == name) return role;
    }
    for (unsigned copy = 0; copy < geometry.checksum_copies(); ++copy) {
        if ('s' + std::to_string(copy) == name) return geometry.width() + copy;
    }
    return std::nullopt;
}

Trace::Trace(World& world, const Shape& shape)
    : world_(world), geometry_(geometry_of(shape)), units_(shape.sharing.granularity) {
    world_.tap = this;
}

Trace::~Trace() { world_.tap = nullptr; }

void Trace::add(std::string_view kind, std::string text) {
    lines_.push_back({world_.now(), kind, std::move(text)});
}

void Trace::say(std::string text) { add("", "-- " + std::move(text)); }

std::string Trace::text() const {
    std::string out;
    for (const Line& line : lines_) {
        std::array<char, 32> time{};
        std::snprintf(time.data(), time.size(), "%12.6f  ", static_cast<double>(line.at.count()) / 1e9);
        out += time.data() + line.text + '\n';
    }
    return out;
}

// ---- names

std::string Trace::unit_name(UnitIndex unit) const {
    if (unit == kTablesUnit) return "tables";
    if (units_.is_blocks(unit)) {
        const StripePlace place = geometry_.locate(units_.bytes_of(unit).offset);
        const std::uint32_t at = place.offset;
        if (!places_.contains(place.stripe.v)) return std::to_string(unit.v);
        return places_.at(place.stripe.v) + '+' + (at == 0 ? "0" : std::to_string(at / 1024) + 'K');
    }
    const auto place = places_.find(unit.v);
    return place != places_.end() ? place->second : std::to_string(unit.v);
}

std::string Trace::stripe_name(StripeIndex stripe) const {
    const std::uint64_t unit = units_.of_stripe(stripe).v;
    const std::uint64_t rest = stripe.v % units_.stripes();
    if (!places_.contains(unit)) return std::to_string(stripe.v);
    return places_.at(unit) + (rest == 0 ? "" : "#" + std::to_string(rest));
}

/// Where the strip that begins at `offset` of a member, or holds it, belongs.
std::string Trace::place_of(std::uint64_t member, std::uint64_t offset) const {
    const Tables* tables = tables_();
    if (tables == nullptr || offset < tables->config().data_start) return "tables";
    std::uint64_t inside = 0;
    const auto has = [&](const Segment& segment) {
        const std::uint64_t from = tables->config().data_start + segment.index.v * kSegmentUnit;
        inside = offset - from;
        return segment.member.v == member && offset >= from && inside < geometry_.segment_size();
    };
    for (std::uint32_t extent = 0; extent < tables->config().extents; ++extent) {
        const Zone* zone = tables->zone(ExtentIndex(extent));
        if (zone == nullptr) continue;
        const auto name = [&](ZonePosition position) {
            if (inside >= geometry_.rows_size())
                return checksums_of(ExtentIndex(extent), position, inside - geometry_.rows_size());
            const Row row(static_cast<std::uint32_t>(inside / geometry_.strip_size));
            return stripe_name(geometry_.stripe_of(ExtentIndex(extent), row)) + '/' +
                   role_name(geometry_.role_at(position, row).v, geometry_.k);
        };
        for (std::uint8_t i = 0; i < zone->width; ++i) {
            if (has(zone->segments[i])) return name(ZonePosition(i));
        }
        const std::optional<ZoneMove>& move = zone->move;
        if (move && has(move->target)) return name(move->position) + '+';
    }
    return "tables";
}

/// A copy of a stripe's record, by where it is in its segment's area.
std::string Trace::checksums_of(ExtentIndex extent, ZonePosition position, std::uint64_t offset) const {
    const auto number = static_cast<unsigned>(offset / geometry_.checksum_record_size());
    const unsigned copy = number % geometry_.checksum_copies(), width = geometry_.width();
    const Row row(number / geometry_.checksum_copies() * width + (position.v + width - copy) % width);
    return stripe_name(geometry_.stripe_of(extent, row)) + "/s" + std::to_string(copy);
}

// ---- messages

std::string Trace::lock_text(const Message& message, std::string_view& kind) const {
    const Result<LockFrame> frame = decode_lock_frame(message.type, message.head);
    ASSERT(frame.has_value());
    const std::string name = unit_name(frame->unit);
    kind = frame->unit == kTablesUnit ? "table" : kind_if_named(kind, name);
    std::string out = ' ' + name;
    if (message.type == MessageType::lock_request || message.type == MessageType::lock_grant ||
        message.type == MessageType::lock_claim)
        out += frame->mode == LockMode::write ? " write" : " read";
    if (frame->wanted != LockMode::none && message.type == MessageType::lock_grant) out += " +release";
    if (frame->mode != LockMode::none && message.type == MessageType::lock_released) out += " +keeps";
    if (frame->granted_ahead != 0) out += " +ahead";
    if (frame->recover) out += " +recover";
    if (frame->changed) out += " +changed";
    if (!message.payload.bytes.empty()) out += " +data";
    return out;
}

/// What the sender says of named units.
std::string Trace::report_text(const Message& message) const {
    const Result<LockReport> report = decode_lock_report(message.head);
    ASSERT(report.has_value());
    std::string out;
    for (const LockReportEntry& entry : report->entries) {
        const std::string name = unit_name(entry.unit);
        if (entry.unit == kTablesUnit || (name[0] >= '0' && name[0] <= '9')) continue;
        out += ' ' + name;
        if (entry.kind == ReportKind::claim) {
            out += "-claim";
        } else {
            out += entry.kind == ReportKind::recovering ? "-recovering"
                   : entry.mode == LockMode::write      ? "-write"
                                                        : "-read";
        }
    }
    return out;
}

/// `writer`: whose records are nothing special here.
std::string Trace::record_name(const RecordId& id, AmfId writer) const {
    const auto known = records_.find(id);
    std::string out = ' ' + (known == records_.end() ? "?" : stripe_name(known->second.stripe));
    if (id.origin != writer) out += " +of " + name_of(id.origin);
    if (known != records_.end() && known->second.root != id.origin)
        out += " +for " + name_of(known->second.root);
    return out;
}

std::string Trace::record_text(const Message& message, AmfId from, AmfId to) {
    const RecordLimits limits;
    switch (message.type) {
        case MessageType::record_begin: {
            const Result<BeginFrame> frame = decode_begin(message, limits);
            ASSERT(frame.has_value());
            records_[frame->info.id] = {frame->info.stripe, frame->info.root.origin};
            return record_name(frame->info.id, from);
        }
        case MessageType::record_redo:
            return record_name(decode_redo(message, limits)->id, from);
        case MessageType::record_end: {
            const Result<EndFrame> frame = decode_end(message);
            records_.try_emplace(frame->id, frame->stripe, frame->id.origin);
            return record_name(frame->id, from);
        }
        case MessageType::record_ack: {
            const Result<AckFrame> frame = decode_ack(message);
            return record_name(frame->id, to) + (frame->part == AckedPart::stored  ? " stored"
                                                 : frame->part == AckedPart::ended ? " ended"
                                                                                   : " data");
        }
        default:
            if (message.type == MessageType::dirty_pass)
                return ' ' + unit_name(UnitIndex(decode_dirty_pass(message)->unit));
            if (message.type == kRecordFetch) return ' ' + stripe_name(decode_fetch(message)->first);
            return completion_text(message);
    }
}

/// What is asked or told first; nothing if it is about no errand.
std::string Trace::completion_text(const Message& message) const {
    const auto text = [&](const Completion& about) {
        return ' ' + stripe_name(geometry_.locate(about.begin).stripe);
    };
    if (message.type == MessageType::completion_ask) {
        const Result<CompletionAsk> ask = decode_completion_ask(message);
        return ask->about.errand ? text(ask->about) : std::string();
    }
    if (message.type != MessageType::completion_tell) return {};
    const Result<CompletionTell> tell = decode_completion_tell(message);
    return tell->known.empty() ? std::string() : text(tell->known.front());
}

/// `asker`: who fetches.
std::string Trace::cache_text(const Message& message, AmfId asker, std::string_view& kind) {
    const bool answers = message.type == MessageType::cache_data;
    const std::uint64_t number =
        answers ? decode_cache_data(message)->number : decode_cache_fetch(message.head)->number;
    StripeIndex& stripe = fetches_[{asker, number}];
    if (!answers) stripe = geometry_.locate(decode_cache_fetch(message.head)->at).stripe;
    const std::string name = stripe_name(stripe);
    kind = kind_if_named(kind, name);
    return ' ' + name + (answers && message.payload.bytes.empty() ? " +nothing" : "");
}

std::string Trace::ports_text(const Message& message) const {
    std::string out;
    for (const ForwardPorts::Port& port : decode_forward_ports(message)->ports)
        out += ' ' + port.controller + (port.closing ? "-closing" : "");
    return out;
}

/// `asker`: the controller outside of the group. What is about no place is a flush.
std::string Trace::forward_text(const Message& message, AmfId asker, std::string_view& kind) {
    if (message.type == MessageType::forward_reply) {
        const Result<ForwardReply> reply = decode_forward_reply(message);
        const std::string& about = forwarded_[{asker, reply->number}];
        if (!about.empty()) kind = kind_if_named(kind, about.substr(1));
        return about + (reply->status ? "" : " +" + std::string(to_string(reply->status.error().code)));
    }
    const Result<ForwardRequest> request = decode_forward_request(message);
    std::string& about = forwarded_[{asker, request->number}];
    const Tables* tables = tables_();
    const VolumeRecord* volume = tables == nullptr ? nullptr : tables->volume(request->volume);
    if (message.type != MessageType::forward_flush && volume != nullptr) {
        const std::uint64_t at = volume->first_extent.v * kExtentSize + request->offset;
        about = ' ' + stripe_name(geometry_.locate(at).stripe);
        kind = kind_if_named(kind, about.substr(1));
    }
    return about;
}

std::string Trace::frame_text(const Process& from, const Process& to, std::string_view arrow,
                              std::span<const std::byte> frame, std::string_view& kind) {
    const Message message = message_of(frame);
    kind = kind_of(message.type);
    const auto id = [](const Process& process, unsigned index) {
        return amf_id(ControllerId(static_cast<std::uint16_t>(letter(process)[0] - 'a' + 1)), index);
    };
    const AmfId sender = id(from, message.from_index), receiver = id(to, message.to_index);
    const bool arrives = arrow == "<";
    std::string text = name_of(arrives ? receiver : sender) + ' ' + std::string(arrow) + ' ' +
                       name_of(arrives ? sender : receiver) + ' ' + name_of(message.type);
    if (kind == "lock") return text + lock_text(message, kind);
    if (kind == "report") return text + report_text(message);
    if (kind == "cache")
        return text + cache_text(message, message.type == MessageType::cache_fetch ? sender : receiver, kind);
    if (message.type == MessageType::forward_ports) return text + ports_text(message);
    if (kind == "forward")
        return text +
               forward_text(message, message.type == MessageType::forward_reply ? receiver : sender, kind);
    if (kind != "record") return text;
    const std::string record = record_text(message, sender, receiver);
    if (!record.empty()) kind = kind_if_named(kind, record.substr(1));
    return text + record;
}

std::size_t Trace::frame_length(std::span<const std::byte> bytes) {
    ASSERT(bytes.size() >= kFrameHeaderSize);
    const auto header = decode_frame_header(FrameHeaderBytes(bytes.data(), kFrameHeaderSize));
    ASSERT(header.has_value());
    return kFrameHeaderSize + header->head_size + header->payload_size;
}

void Trace::sent(const Process& from, const Process& to, std::span<const std::byte> frame) {
    std::string_view kind;
    std::string text = frame_text(from, to, ">", frame, kind);
    add(kind, std::move(text));
}

void Trace::arrives(const Process& from, const Process& to, std::span<const std::byte> frame) {
    std::string_view kind;
    std::string text = frame_text(from, to, "<", frame, kind);
    if (kind != "link") add("arrival", std::move(text));
}

bool Trace::is_held(const std::string& text) const {
    const std::vector<std::string> words = split_words(text);
    return std::ranges::any_of(held_, [&](const auto& pattern) { return fits(pattern, words); });
}

bool Trace::holds(const Process& from, const Process& to, std::span<const std::byte> frame) {
    if (held_.empty()) return false;
    std::string_view kind;
    return is_held(frame_text(from, to, ">", frame, kind));
}

// ---- disk commands

std::string Trace::command_text(const Process& process, std::uint64_t member, const DiskOp& op, bool done,
                                std::string_view& kind) const {
    std::string place = place_of(member, op.offset);
    const bool sums = place.find("/s") != std::string::npos;
    kind = place == "tables" ? "tables" : kind_if_named(sums ? "sums" : "disk", place);
    const bool reads = op.verb == DiskVerb::read;
    return letter(process) + (done ? reads ? " read " : " wrote " : reads ? " reads " : " writes ") + place;
}

void Trace::begins(const Process& process, std::uint64_t member, const DiskOp& op) {
    if (op.verb == DiskVerb::flush) return;
    std::string_view kind;
    std::string text = command_text(process, member, op, false, kind);
    add(kind, std::move(text));
}

bool Trace::holds(const Process& process, std::uint64_t member, const DiskOp& op) {
    if (held_.empty() || op.verb == DiskVerb::flush) return false;
    std::string_view kind;
    return is_held(command_text(process, member, op, false, kind));
}

void Trace::done(const Process& process, std::uint64_t member, const DiskOp& op) {
    if (op.verb == DiskVerb::flush) return;
    std::string_view kind;
    std::string text = command_text(process, member, op, true, kind);
    if (!op.status) text += " +error";
    if (kind != "tables") add(kind, std::move(text));
}

}  // namespace braid::sim
