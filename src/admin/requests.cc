#include "admin/requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

namespace braid::admin {

namespace {

using Json = nlohmann::ordered_json;

/// Takes the fields of a request one by one; the first wrong one stays the error.
class Fields {
public:
    explicit Fields(std::string_view body) : json_(Json::parse(body, nullptr, false)) {
        if (json_.is_discarded()) {
            wrong("the request is not JSON");
        } else if (!json_.is_object()) {
            wrong("the request is not a JSON object");
        }
    }

    void text(const char* key, std::string& out, bool required = false) {
        const Json* field = take(key, required);
        if (field == nullptr) return;
        if (!field->is_string()) return wrong(fmt::format("field '{}' is not a string", key));
        out = field->get<std::string>();
    }
    /// True: it is there.
    template <class T>
    bool number(const char* key, T& out, std::uint64_t most, bool required = false) {
        const Json* field = take(key, required);
        if (field == nullptr) return false;
        if (!field->is_number_unsigned() || field->get<std::uint64_t>() > most) {
            wrong(fmt::format("field '{}' is not a number from 0 to {}", key, most));
            return false;
        }
        out = static_cast<T>(field->get<std::uint64_t>());
        return true;
    }
    /// A word that `parse` knows. True: it is there.
    template <class T>
    bool word(const char* key, T& out, Result<T> (*parse)(std::string_view)) {
        if (take(key, false) == nullptr) return false;
        std::string word;
        text(key, word);
        const Result<T> value = parse(word);
        if (!value) wrong(fmt::format("field '{}' cannot be '{}'", key, word));
        if (!value) return false;
        out = *value;
        return true;
    }
    /// For good since the object was made, and why.
    void fixed(const char* key, const char* why) {
        if (take(key, false) == nullptr) return;
        wrong(fmt::format("{} is chosen when a group is made and stays as it is: {}", key, why));
        hint_ = "make another group with braid group create, and copy what is in this one";
    }
    void flag(const char* key, bool& out) {
        const Json* field = take(key, false);
        if (field == nullptr) return;
        if (!field->is_boolean()) return wrong(fmt::format("field '{}' is not true or false", key));
        out = field->get<bool>();
    }
    void texts(const char* key, std::vector<std::string>& out, bool required = false) {
        const Json* field = take(key, required);
        if (field == nullptr) return;
        if (!field->is_array() || !std::ranges::all_of(*field, [](const Json& e) { return e.is_string(); })) {
            return wrong(fmt::format("field '{}' is not a list of strings", key));
        }
        out = field->get<std::vector<std::string>>();
    }
    /// After the last field: fields that nobody asked for are an error too.
    template <class T>
    AdminResult<T> finish(T request) {
        if (error_.empty()) {
            for (const auto& [key, value] : json_.items()) {
                if (!known_.contains(key)) wrong(fmt::format("unknown field '{}'", key));
            }
        }
        if (!error_.empty()) return refuse(Errc::invalid, error_, hint_);
        return request;
    }

private:
    const Json* take(const char* key, bool required) {
        known_.insert(key);
        if (!error_.empty()) return nullptr;
        const auto at = json_.find(key);
        if (at != json_.end() && !at->is_null()) return &*at;
        if (required) wrong(fmt::format("field '{}' is missing", key));
        return nullptr;
    }
    void wrong(std::string text) {
        if (error_.empty()) error_ = std::move(text);
    }

    Json json_;
    std::set<std::string, std::less<>> known_;
    std::string error_, hint_;
};

}  // namespace

static void parse_sharing(Fields& fields, SharingOptions& s) {
    std::uint64_t min_hold_us = 0;
    fields.word("coherency", s.coherency, parse_coherency);
    fields.word("granularity", s.granularity, parse_granularity);
    fields.word("lock_order", s.lock_order, parse_lock_order);
    fields.number("min_hold_us", min_hold_us, kMaxMinHold / std::chrono::microseconds(1));
    s.min_hold = std::chrono::microseconds(min_hold_us);
    fields.number("prefetch", s.prefetch, kMaxPrefetch);
    fields.number("amfs", s.amfs, kMaxAmfs);
    fields.word("cache", s.write_cache, parse_write_cache);
    fields.word("replication", s.replication, parse_replication);
    fields.word("few_partners", s.few_partners, parse_few_partners);
}

static Result<bool> parse_on_off(std::string_view text) {
    if (text == "on" || text == "off") return text == "on";
    return fail(Errc::invalid);
}

AdminResult<CreateGroup> parse_create_group(std::string_view body) {
    Fields fields(body);
    CreateGroup r;
    fields.text("name", r.name, true);
    fields.text("level", r.level, true);
    fields.texts("disks", r.disks, true);
    fields.number("strip_size", r.strip_size, 1 << 20);
    fields.texts("controllers", r.controllers);
    fields.number("dimension", r.dimension, 8);
    parse_sharing(fields, r.sharing);
    fields.word("power_loss", r.power_loss, parse_power_loss);
    bool checksums = false;
    if (fields.word("checksums", checksums, parse_on_off)) r.checksums = checksums;
    fields.number("copies", r.copies, kMaxWidth);
    fields.number("width", r.width, kMaxWidth);
    fields.number("spares", r.spares, kMaxMembers);
    fields.flag("force", r.force);
    auto request = fields.finish(std::move(r));
    if (request && (request->disks.size() < 3 || request->disks.size() > kMaxMembers)) {
        return refuse(Errc::invalid,
                      fmt::format("a group has 3 to {} disks, not {}", kMaxMembers, request->disks.size()));
    }
    return request;
}

/// Of a group; and why.
constexpr std::pair<const char*, const char*> kFixed[]{
    {"coherency", "all controllers decide about every lock by it"},
    {"granularity", "all controllers name every lock by it"},
    {"amfs", "the journals on the disks are laid out for it"},
    {"cache", "what the dead have left is finished by it"},
    {"dimension", "what the dead have left is looked for in so many copies"},
    {"power_loss", "the journals stand before the data on every disk"},
    {"strip_size", "where every byte stands follows from it"},
    {"checksums", "they stand between the data on every disk"},
    {"copies", "the number of parities or copies of a mirror follows from it"},
};

AdminResult<SetGroup> parse_set_group(std::string_view body) {
    Fields fields(body);
    SetGroup r;
    LockOrder order{};
    std::uint64_t min_hold_us = 0;
    std::uint8_t prefetch = 0;
    if (fields.word("lock_order", order, parse_lock_order)) r.change.lock_order = order;
    if (fields.number("min_hold_us", min_hold_us, kMaxMinHold / std::chrono::microseconds(1)))
        r.change.min_hold = std::chrono::microseconds(min_hold_us);
    if (fields.number("prefetch", prefetch, kMaxPrefetch)) r.change.prefetch = prefetch;
    Replication replication{};
    if (fields.word("replication", replication, parse_replication)) r.change.replication = replication;
    FewPartners few_partners{};
    if (fields.word("few_partners", few_partners, parse_few_partners)) r.change.few_partners = few_partners;
    std::uint32_t scrub_every = 0;
    if (fields.number("scrub_every_s", scrub_every, ScrubSchedule::kLongest)) r.scrub_every = scrub_every;
    std::uint8_t spares = 0;
    if (fields.number("spares", spares, kMaxMembers)) r.spares = spares;
    Level level{};
    if (fields.word("level", level, parse_level)) r.level = level;
    fields.text("partners_of", r.partners_of);
    fields.texts("partners", r.partners);
    for (const auto& [key, why] : kFixed) fields.fixed(key, why);
    return fields.finish(std::move(r));
}

AdminResult<ScrubGroup> parse_scrub_group(std::string_view body) {
    Fields fields(body);
    ScrubGroup r;
    fields.number("priority", r.priority, kMaxPriority);
    return fields.finish(std::move(r));
}

AdminResult<SetJob> parse_set_job(std::string_view body) {
    Fields fields(body);
    SetJob r;
    fields.number("priority", r.priority, kMaxPriority, true);
    return fields.finish(r);
}

AdminResult<CreateVolume> parse_create_volume(std::string_view body) {
    Fields fields(body);
    CreateVolume r;
    fields.text("name", r.name, true);
    fields.text("group", r.group);
    fields.number("size", r.size, std::uint64_t{1} << 60, true);
    return fields.finish(std::move(r));
}

AdminResult<AddDisk> parse_add_disk(std::string_view body) {
    Fields fields(body);
    AddDisk r;
    fields.text("disk", r.disk, true);
    fields.text("group", r.group);
    fields.text("replaces", r.replaces);
    fields.flag("force", r.force);
    return fields.finish(std::move(r));
}

AdminResult<ExpandGroup> parse_expand_group(std::string_view body) {
    Fields fields(body);
    ExpandGroup r;
    fields.texts("disks", r.disks);
    fields.number("width", r.width, kMaxWidth);
    fields.flag("force", r.force);
    return fields.finish(std::move(r));
}

AdminResult<CreatePorts> parse_create_ports(std::string_view body) {
    Fields fields(body);
    CreatePorts r;
    fields.text("volume", r.volume, true);
    fields.texts("controllers", r.controllers);
    return fields.finish(std::move(r));
}

}  // namespace braid::admin
