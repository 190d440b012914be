// From the text of a scenario's file to a Scenario. What is wrong is told with its line.
#define TOML_EXCEPTIONS 0
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <functional>

#include "sim/scenario.h"
#include "sim/scenario_steps.h"
#include "sim/scenario_trace.h"

namespace braid::sim {
namespace {

[[nodiscard]] std::optional<ScenarioError> wrong_at(const toml::node& node, std::string text) {
    const toml::source_position& at = node.source().begin;
    return ScenarioError{std::move(text), static_cast<std::uint32_t>(at.line),
                         static_cast<std::uint32_t>(at.column)};
}

using Answer = std::optional<ScenarioError>;
using Reader = std::function<Answer(const toml::node&)>;
using Readers = std::vector<std::pair<std::string_view, Reader>>;

/// Every key is one of `readers`.
Answer read_table(const toml::node& node, std::string_view what, const Readers& readers) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) return wrong_at(node, std::string(what) + " must be a table");
    // In the order of the file, so that the first mistake is told.
    std::vector<std::pair<std::uint32_t, std::string>> keys;
    for (const auto& [key, value] : *table) keys.emplace_back(key.source().begin.line, key.str());
    std::ranges::sort(keys);
    for (const auto& [line, key] : keys) {
        const toml::node& value = *table->get(key);
        const auto reader = std::ranges::find(readers, key, [](const auto& r) { return r.first; });
        if (reader == readers.end()) {
            std::string known;
            for (const auto& r : readers) known += (known.empty() ? "" : ", ") + std::string(r.first);
            return wrong_at(value,
                            "unknown key '" + key + "' in " + std::string(what) + ": the keys are " + known);
        }
        if (Answer wrong = reader->second(value)) return wrong;
    }
    return std::nullopt;
}

Reader text(std::string& out, std::string_view key) {
    return [&out, key](const toml::node& node) -> Answer {
        const auto value = node.value_exact<std::string>();
        if (!value || value->empty()) return wrong_at(node, "'" + std::string(key) + "' must be a string");
        out = *value;
        return std::nullopt;
    };
}

Reader flag(bool& out, std::string_view key) {
    return [&out, key](const toml::node& node) -> Answer {
        const auto value = node.value_exact<bool>();
        if (!value) return wrong_at(node, "'" + std::string(key) + "' must be true or false");
        out = *value;
        return std::nullopt;
    };
}

template <class T>
Reader number(T& out, std::string_view key, std::int64_t least, std::int64_t most) {
    return [&out, key, least, most](const toml::node& node) -> Answer {
        const auto value = node.value_exact<std::int64_t>();
        if (!value || *value < least || *value > most) {
            return wrong_at(node, "'" + std::string(key) + "' must be a number from " +
                                      std::to_string(least) + " to " + std::to_string(most));
        }
        out = static_cast<T>(*value);
        return std::nullopt;
    };
}

Reader time(Nanos& out, std::string_view key) {
    return [&out, key](const toml::node& node) -> Answer {
        const auto value = parse_time(node.value_exact<std::string>().value_or(""));
        if (!value) return wrong_at(node, "'" + std::string(key) + "' must be a time, as \"500ms\"");
        out = *value;
        return std::nullopt;
    };
}

Reader size(std::uint64_t& out, std::string_view key) {
    return [&out, key](const toml::node& node) -> Answer {
        const auto value = parse_size(node.value_exact<std::string>().value_or(""));
        if (!value || *value < kMinStripSize || *value > kMaxStripSize || (*value & (*value - 1)) != 0)
            return wrong_at(node,
                            "'" + std::string(key) + "' must be a power of two from 4K to 1M, as \"16K\"");
        out = *value;
        return std::nullopt;
    };
}

/// `take` says what is wrong with an element, or nothing.
Reader list(std::string_view key, std::function<std::string(std::string, std::uint32_t)> take) {
    return [key, take = std::move(take)](const toml::node& node) -> Answer {
        const toml::array* const array = node.as_array();
        if (array == nullptr) return wrong_at(node, "'" + std::string(key) + "' must be a list of strings");
        for (const toml::node& element : *array) {
            const auto value = element.value_exact<std::string>();
            if (!value) return wrong_at(element, "'" + std::string(key) + "' must be a list of strings");
            const std::string wrong = take(*value, static_cast<std::uint32_t>(element.source().begin.line));
            if (!wrong.empty()) return wrong_at(element, "'" + std::string(key) + "': " + wrong);
        }
        return std::nullopt;
    };
}

Reader list(std::vector<std::string>& out, std::string_view key) {
    return list(key, [&out](std::string value, std::uint32_t) {
        out.push_back(std::move(value));
        return std::string();
    });
}

template <class T>
Reader word(T& out, std::string_view key, Result<T> (*parse)(std::string_view)) {
    return [&out, key, parse](const toml::node& node) -> Answer {
        const auto value = parse(node.value_exact<std::string>().value_or(""));
        if (!value) return wrong_at(node, "'" + std::string(key) + "' has no such value");
        out = *value;
        return std::nullopt;
    };
}

Answer read_shape(const toml::node& node, Scenario& scenario) {
    Shape& shape = scenario.shape;
    SharingOptions& sharing = shape.sharing;
    if (Answer wrong =
            read_table(node, "[cluster]",
                       {{"controllers", number(shape.controllers, "controllers", 1, 9)},
                        {"outside", number(shape.outside, "outside", 0, 4)},
                        {"disks", number(shape.disks, "disks", 3, kMaxMembers)},
                        {"extra_disks", number(shape.extra_disks, "extra_disks", 0, 8)},
                        {"level", text(shape.level, "level")},
                        {"copies", number(shape.copies, "copies", 2, 4)},
                        {"width", number(shape.width, "width", 2, kMaxWidth)},
                        {"spare", number(shape.spare, "spare", 1, 16)},
                        {"spare_delay", time(shape.spare_delay, "spare_delay")},
                        {"host_p99", time(shape.host_p99, "host_p99")},
                        {"background_min", number(shape.background_min, "background_min", 1, 1u << 30)},
                        {"strip", size(shape.strip_size, "strip")},
                        {"granularity", word(sharing.granularity, "granularity", parse_granularity)},
                        {"coherency", word(sharing.coherency, "coherency", parse_coherency)},
                        {"lock_order", word(sharing.lock_order, "lock_order", parse_lock_order)},
                        {"min_hold", time(sharing.min_hold, "min_hold")},
                        {"prefetch", number(sharing.prefetch, "prefetch", 0, kMaxPrefetch)},
                        {"amfs", number(sharing.amfs, "amfs", 1, kMaxAmfs)},
                        {"dimension", number(shape.dimension, "dimension", 1, 8)},
                        {"power_loss", word(shape.power_loss, "power_loss", parse_power_loss)},
                        {"checksums", flag(shape.checksums, "checksums")},
                        {"ping_timeout", time(shape.ping_timeout, "ping_timeout")},
                        {"intent_idle", time(shape.intent_idle, "intent_idle")},
                        {"slow_window", time(shape.limping.window, "slow_window")},
                        {"slow_enough", number(shape.limping.enough, "slow_enough", 1, 1000)},
                        {"slow_floor", time(shape.limping.floor, "slow_floor")},
                        {"slow_hangs", time(shape.limping.hangs, "slow_hangs")},
                        {"cache", size(shape.cache, "cache")},
                        {"write_cache", word(sharing.write_cache, "write_cache", parse_write_cache)},
                        {"dirty", size(shape.dirty, "dirty")},
                        {"dirty_age", time(shape.dirty_age, "dirty_age")},
                        {"passed", size(shape.passed, "passed")},
                        {"replication", word(sharing.replication, "replication", parse_replication)},
                        {"few_partners", word(sharing.few_partners, "few_partners", parse_few_partners)},
                        {"window", size(shape.window, "window")},
                        {"copy_window", size(shape.copy_window, "copy_window")},
                        {"window_age", time(shape.window_age, "window_age")},
                        {"hosts", list(shape.hosts_of, "hosts")},
                        {"sites", list(shape.sites_of, "sites")},
                        {"thin", flag(scenario.thin, "thin")},
                        {"volatile", flag(scenario.volatile_cache, "volatile")}})) {
        return wrong;
    }
    const auto level = parse_level(shape.level);
    if (!level)
        return wrong_at(node, "[cluster] level '" + shape.level + "' is none: mirror, raid5, raid6, raid7.3");
    const auto strip = static_cast<std::uint32_t>(shape.strip_size);
    const unsigned width = *level == Level::mirror ? shape.copies : shape.width;
    const auto geometry = Geometry::make(*level, shape.disks, strip, width);
    if (!geometry) return wrong_at(node, "[cluster] " + shape.level + " does not work with so many disks");
    const auto complaint = sharing.complaint(shape.controllers, strip);
    if (!complaint.empty()) return wrong_at(node, "[cluster] " + std::string(complaint));
    return std::nullopt;
}

Answer read_places(const toml::node& node, Scenario& scenario) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) return wrong_at(node, "[places] must be a table");
    for (const auto& [key, value] : *table) {
        PlaceSpec place;
        place.name = key.str();
        const bool plain = std::ranges::all_of(place.name, [](char c) { return c >= 'A' && c <= 'Z'; });
        if (!plain) return wrong_at(value, "a place's name has capitals only, not '" + place.name + "'");
        if (Answer wrong = read_table(value, "place " + place.name,
                                      {{"arbiter", text(place.arbiter, "arbiter")},
                                       {"then", text(place.then, "then")},
                                       {"blocks", text(place.blocks, "blocks")}})) {
            return wrong;
        }
        for (const std::string& who : {place.arbiter, place.then, place.blocks}) {
            if (!who.empty() && !is_amf(who, scenario.shape))
                return wrong_at(value, "'" + who + "' is no controller");
        }
        scenario.places.push_back(std::move(place));
    }
    return std::nullopt;
}

/// A word of its own in steps and lines.
std::string with_each(std::string line, const Scenario& scenario, std::size_t variant) {
    const std::size_t at = line.find("EACH");
    return scenario.each.empty() || at == std::string::npos ? line
                                                            : line.replace(at, 4, scenario.each[variant]);
}

Answer read_messages(const toml::node& node, const Scenario& scenario, std::size_t variant, Sequence& out) {
    const toml::array* const array = node.as_array();
    if (array == nullptr) return wrong_at(node, "'messages' must be a list of lines and lists");
    for (const toml::node& element : *array) {
        if (element.is_array()) {
            out.open();
            if (Answer wrong = read_messages(element, scenario, variant, out)) return wrong;
            out.close();
            continue;
        }
        auto line = element.value_exact<std::string>();
        if (line) line = with_each(*line, scenario, variant);
        if (!line) return wrong_at(element, "'messages' must be a list of lines and lists");
        const std::string wrong = check_line(split_words(*line), scenario);
        if (!wrong.empty()) return wrong_at(element, "'messages': '" + *line + "': " + wrong);
        out.add(*line, static_cast<std::uint32_t>(element.source().begin.line));
    }
    return std::nullopt;
}

Answer read_phase(const toml::node& node, Scenario& scenario, std::size_t variant) {
    Phase phase;
    phase.kinds = {"lock", "record"};
    phase.line = static_cast<std::uint32_t>(node.source().begin.line);
    bool own_kinds = false;
    const Readers readers = {
        {"title", text(phase.title, "title")},
        {"kinds", list("kinds",
                       [&](const std::string& kind, std::uint32_t) -> std::string {
                           if (!std::exchange(own_kinds, true)) phase.kinds.clear();
                           phase.kinds.push_back(kind);
                           return is_trace_kind(kind) ? "" : "'" + kind + "' is no kind of lines";
                       })},
        {"does", list("does",
                      [&](const std::string& line, std::uint32_t at) -> std::string {
                          auto step = parse_step(with_each(line, scenario, variant), scenario);
                          if (!step) return step.error();
                          step->line = at;
                          phase.steps.push_back(std::move(*step));
                          return {};
                      })},
        {"messages",
         [&](const toml::node& value) {
             return read_messages(value, scenario, variant, phase.messages.emplace());
         }},
    };
    if (Answer wrong = read_table(node, "[[phase]]", readers)) return wrong;
    if (phase.steps.empty()) return wrong_at(node, "a phase that does nothing: 'does' is missing");
    scenario.phases.push_back(std::move(phase));
    return std::nullopt;
}

Answer read_phases(const toml::node& node, Scenario& scenario, std::size_t variant) {
    const toml::array* const array = node.as_array();
    if (array == nullptr) return wrong_at(node, "phases are written as [[phase]]");
    for (const toml::node& phase : *array) {
        if (Answer wrong = read_phase(phase, scenario, variant)) return wrong;
    }
    return std::nullopt;
}

/// The parser of this release may do anything with what is not ASCII.
Answer check_characters(std::string_view text) {
    std::uint32_t line = 1;
    for (const char c : text) {
        if (c == '\n') ++line;
        if ((c < ' ' && c != '\n') || c == 0x7f)
            return ScenarioError{"a character that is not plain ASCII", line, 0};
    }
    return std::nullopt;
}

}  // namespace

std::expected<Scenario, ScenarioError> parse_scenario(std::string_view text_of_file, std::size_t variant) {
    if (Answer wrong = check_characters(text_of_file)) return std::unexpected(std::move(*wrong));
    const toml::parse_result parsed = toml::parse(text_of_file);
    if (!parsed) {
        const auto& at = parsed.error().source().begin;
        return std::unexpected(ScenarioError{std::string(parsed.error().description()),
                                             static_cast<std::uint32_t>(at.line),
                                             static_cast<std::uint32_t>(at.column)});
    }
    Scenario scenario;
    // What later parts go by comes first, wherever it stands.
    const toml::table& table = parsed.table();
    const auto ignore = [](const toml::node&) { return Answer{}; };
    Answer wrong;
    const auto pass = [&](std::string_view key, const Reader& reader) {
        if (wrong || table.get(key) == nullptr) return;
        wrong = reader(*table.get(key));
    };
    wrong = read_table(table, "the file",
                       {{"title", text(scenario.title, "title")},
                        {"shows", list(scenario.shows, "shows")},
                        {"each", list(scenario.each, "each")},
                        {"cluster", ignore},
                        {"places", ignore},
                        {"phase", ignore}});
    pass("cluster", [&](const toml::node& node) { return read_shape(node, scenario); });
    pass("places", [&](const toml::node& node) { return read_places(node, scenario); });
    pass("phase", [&](const toml::node& node) { return read_phases(node, scenario, variant); });
    if (wrong) return std::unexpected(std::move(*wrong));
    if (scenario.title.empty()) return std::unexpected(ScenarioError{"'title' is missing", 1, 1});
    if (scenario.phases.empty()) return std::unexpected(ScenarioError{"there is no [[phase]]", 1, 1});
    return scenario;
}

}  // namespace braid::sim
