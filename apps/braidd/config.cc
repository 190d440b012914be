#include "braidd/config.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
// Release 3.3 asserts that a table header begins with a key character before it reports that it does not
// ("[[="): without the assertion the report is what one gets.
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <utility>

namespace braid {

namespace {

ConfigError error_at(const toml::source_region& where, std::string text) {
    return {std::move(text), static_cast<std::uint32_t>(where.begin.line),
            static_cast<std::uint32_t>(where.begin.column)};
}

/// Reads one value; returns what is wrong with it, or nothing.
using Setter = std::function<std::string(const toml::node&)>;

struct Key {
    const char* section;
    const char* name;
    Setter set;
};

Setter text(std::string& out) {
    return [&out](const toml::node& node) -> std::string {
        const auto value = node.value_exact<std::string>();
        if (!value) return "must be a string";
        if (value->empty()) return "must not be empty";
        out = *value;
        return {};
    };
}

Setter texts(std::vector<std::string>& out) {
    return [&out](const toml::node& node) -> std::string {
        constexpr const char* kWrong = "must be a list of strings";
        const toml::array* const list = node.as_array();
        if (list == nullptr) return kWrong;
        out.clear();
        for (const toml::node& element : *list) {
            const auto value = element.value_exact<std::string>();
            if (!value || value->empty()) return kWrong;
            out.push_back(*value);
        }
        return {};
    };
}

Setter number(std::uint32_t& out, std::uint32_t least, std::uint32_t most) {
    return [&out, least, most](const toml::node& node) -> std::string {
        const auto value = node.value_exact<std::int64_t>();
        if (!value || *value < least || *value > most)
            return fmt::format("must be a number from {} to {}", least, most);
        out = static_cast<std::uint32_t>(*value);
        return {};
    };
}

/// Milliseconds, also parts of one; kept in microseconds.
Setter milliseconds(std::uint32_t& out, std::uint32_t most) {
    return [&out, most](const toml::node& node) -> std::string {
        const auto value = node.value<double>();
        if (!node.is_number() || !value || !(*value >= 0 && *value <= most))
            return fmt::format("must be a number from 0 to {}", most);
        out = static_cast<std::uint32_t>(std::ceil(*value * 1000));
        return {};
    };
}

template <class T>
Setter one_of(T& out, std::vector<std::pair<std::string_view, T>> choices) {
    return [&out, choices = std::move(choices)](const toml::node& node) -> std::string {
        const auto value = node.value_exact<std::string>();
        std::string names;
        for (const auto& [name, choice] : choices) {
            if (value == name) {
                out = choice;
                return {};
            }
            names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", name);
        }
        return "must be one of " + names;
    };
}

/// "256MiB", "1GiB", "65536"; a plain number is bytes.
std::optional<std::uint64_t> parse_size(std::string_view value) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc{}) return std::nullopt;
    const std::string_view unit(end, static_cast<std::size_t>(value.data() + value.size() - end));
    constexpr std::pair<std::string_view, unsigned> kUnits[]{
        {"", 0}, {"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    for (const auto& [name, shift] : kUnits) {
        if (unit == name && number <= (UINT64_MAX >> shift)) return number << shift;
    }
    return std::nullopt;
}

/// Of whole MiB.
std::string in_units(std::uint64_t size) {
    const bool gib = size != 0 && size % (1ull << 30) == 0;
    return fmt::format("{} {}", size >> (gib ? 30 : 20), gib ? "GiB" : "MiB");
}

Setter size(std::uint64_t& out, std::uint64_t least, std::uint64_t most) {
    return [&out, least, most](const toml::node& node) -> std::string {
        std::optional<std::uint64_t> value;
        if (const auto number = node.value_exact<std::int64_t>(); number && *number >= 0) {
            value = static_cast<std::uint64_t>(*number);
        } else if (const auto spelled = node.value_exact<std::string>()) {
            value = parse_size(*spelled);
        }
        if (!value || *value < least || *value > most) {
            return fmt::format("must be a size from {} to {}, as \"256MiB\"", in_units(least),
                               in_units(most));
        }
        out = *value;
        return {};
    };
}

std::vector<Key> keys_of(DaemonConfig& c, std::string& provider) {
    return {
        {"controller", "name", text(c.name)},
        {"controller", "state", text(c.state)},
        {"controller", "host", text(c.host)},
        {"controller", "site", text(c.site)},
        {"listen", "nbd", texts(c.nbd)},
        {"listen", "peers", text(c.peers)},
        {"listen", "api", texts(c.api)},
        {"cluster", "provider", one_of<std::string>(provider, {{"local", "local"}})},
        {"cluster", "directory", text(c.cluster_directory)},
        {"cluster", "ping_timeout_ms", number(c.ping_timeout_ms, 10, 600'000)},
        {"disks", "scan", texts(c.scan)},
        {"disks", "engine",
         one_of<DiskEngine>(c.engine, {{"auto", DiskEngine::automatic},
                                       {"uring", DiskEngine::uring},
                                       {"threads", DiskEngine::threads}})},
        {"disks", "delay_us", number(c.disk_delay_us, 0, 1'000'000)},
        {"limits", "memory", size(c.memory, 16ull << 20, 1ull << 40)},
        {"limits", "cache", size(c.cache, 0, 1ull << 40)},
        {"limits", "checksums", size(c.checksums, 0, 1ull << 40)},
        {"limits", "dirty", size(c.dirty, 1ull << 20, 32ull << 30)},
        {"limits", "dirty_age_ms", number(c.dirty_age_ms, 10, 60'000)},
        {"limits", "passed", size(c.passed, 0, 8ull << 20)},
        {"limits", "window", size(c.window, 0, 1ull << 40)},
        {"limits", "window_age_ms", number(c.window_age_ms, 1, 60'000)},
        {"limits", "spare_delay_s", number(c.spare_delay_s, 0, 31'536'000)},
        {"limits", "host_p99_ms", milliseconds(c.host_p99_us, 60'000)},
        {"limits", "background_min", size(c.background_min, 1ull << 20, 1ull << 40)},
        {"limits", "spin_us", number(c.spin_us, 0, 10'000)},
        {"log", "level",
         one_of<LogLevel>(c.log_level, {{"debug", LogLevel::debug},
                                        {"info", LogLevel::info},
                                        {"warn", LogLevel::warn},
                                        {"error", LogLevel::error}})},
    };
}

std::string known_names(const std::vector<Key>& keys, std::string_view section) {
    std::string names;
    for (const Key& key : keys) {
        const std::string_view name = section.empty() ? key.section : key.name;
        if (!section.empty() && key.section != section) continue;
        if (names.find(name) != std::string::npos && section.empty()) continue;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    }
    return names;
}

std::optional<ConfigError> read_section(const std::vector<Key>& keys, std::string_view section,
                                        const toml::node& node) {
    const bool known = std::ranges::any_of(keys, [&](const Key& k) { return section == k.section; });
    if (!known) {
        return error_at(node.source(), fmt::format("unknown section [{}]: the sections are {}", section,
                                                   known_names(keys, "")));
    }
    const toml::table* const table = node.as_table();
    if (table == nullptr)
        return error_at(node.source(), fmt::format("'{}' must be a section: [{}]", section, section));
    for (const auto& [name, value] : *table) {
        const auto key = std::ranges::find_if(
            keys, [&](const Key& k) { return section == k.section && name.str() == k.name; });
        if (key == keys.end()) {
            return error_at(name.source(), fmt::format("unknown key '{}' in [{}]: the keys are {}",
                                                       name.str(), section, known_names(keys, section)));
        }
        if (const std::string wrong = key->set(value); !wrong.empty()) {
            return error_at(value.source(), fmt::format("'{}' in [{}] {}", name.str(), section, wrong));
        }
    }
    return std::nullopt;
}

/// What the parser may see: release 3.3 takes a character beyond ASCII, wherever it looks for the end of a
/// value, for proof that it cannot be there, and then does anything. In comments such bytes become '?',
/// elsewhere they are an error. Strings of several lines, which no key of ours needs, are refused so that a
/// line tells what is a comment.
std::expected<std::string, ConfigError> plain_text(std::string_view text) {
    std::string plain(text);
    std::uint32_t line = 1, column = 0;
    char quote = 0;
    bool comment = false, escaped = false;
    for (std::size_t i = 0; i < plain.size(); ++i) {
        const char c = plain[i];
        const bool ascii = static_cast<unsigned char>(c) < 0x80;
        ++column;
        if (c == '\n') {
            ++line;
            column = 0;
            quote = 0;
            comment = escaped = false;
        } else if (comment) {
            if (!ascii) plain[i] = '?';
        } else if (!ascii) {
            return std::unexpected(ConfigError{
                "a character beyond ASCII: in a string write it as \\u00e4, in a comment as it is", line,
                column});
        } else if (quote != 0) {
            const bool was_escaped = std::exchange(escaped, quote == '"' && c == '\\' && !escaped);
            if (c == quote && !was_escaped) quote = 0;
        } else if (c == '"' || c == '\'') {
            if (text.substr(i, 3) == std::string(3, c)) {
                return std::unexpected(ConfigError{
                    "strings of several lines are not used here: write one pair of quotes", line, column});
            }
            quote = c;
        } else {
            comment = c == '#';
        }
    }
    return plain;
}

bool valid_controller_name(std::string_view name) {
    return name.size() <= 31 && name[0] != '.' && name[0] != '-' && std::ranges::all_of(name, [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-';
           });
}

/// toml++ 3.3 ends the process on a table header that begins with what no key begins with, so that is looked
/// at first. Control characters are nothing a configuration may hold.
std::optional<ConfigError> refuse_bytes(std::string_view text) {
    std::uint32_t line = 1, column = 1;
    enum { line_start, header, elsewhere } place = line_start;
    for (std::size_t i = 0; i < text.size(); ++i, ++column) {
        const char c = text[i];
        if (c == '\n') {
            if (place == header) return ConfigError{"a section's name is missing after '['", line, column};
            place = line_start;
            ++line;
            column = 0;
            continue;
        }
        const bool line_end = c == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
        const auto code = static_cast<unsigned char>(c);
        if ((code < 0x20 && c != '\t' && !line_end) || code == 0x7f) {
            return ConfigError{fmt::format("control character {:#04x}", code), line, column};
        }
        if (c == ' ' || c == '\t') continue;
        if (place == header && c != '[') {
            const bool key = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                             c == '_' || c == '-' || c == '"' || c == '\'' || c == ']';
            if (!key) return ConfigError{"a section's name is missing after '['", line, column};
            place = elsewhere;
        } else if (place == line_start) {
            place = c == '[' ? header : elsewhere;
        }
    }
    return std::nullopt;
}

}  // namespace

std::expected<DaemonConfig, ConfigError> parse_config(std::string_view text) {
    if (auto wrong = refuse_bytes(text)) return std::unexpected(std::move(*wrong));
    const auto plain = plain_text(text);
    if (!plain) return std::unexpected(plain.error());
    const toml::parse_result parsed = toml::parse(*plain);
    if (!parsed)
        return std::unexpected(error_at(parsed.error().source(), std::string(parsed.error().description())));
    DaemonConfig config;
    std::string provider;
    const std::vector<Key> keys = keys_of(config, provider);
    for (const auto& [section, node] : parsed.table()) {
        if (auto wrong = read_section(keys, section.str(), node)) return std::unexpected(std::move(*wrong));
    }
    if (config.name.empty())
        return std::unexpected(ConfigError{"[controller] name is missing: write name = \"ctl-a\""});
    if (!valid_controller_name(config.name)) {
        return std::unexpected(
            ConfigError{fmt::format("'{}' is not a controller's name: 1 to 31 letters, digits, '.', '_', "
                                    "'-', not beginning with '.' or '-'",
                                    config.name)});
    }
    for (const std::string* label : {&config.host, &config.site}) {
        if (!label->empty() && !valid_controller_name(*label)) {
            return std::unexpected(ConfigError{
                fmt::format("'{}' is not a label of a host or site: 1 to 31 letters, digits, '.', "
                            "'_', '-', not beginning with '.' or '-'",
                            *label)});
        }
    }
    if (config.scan.empty()) {
        return std::unexpected(
            ConfigError{"[disks] scan is missing: write scan = [\"/dev/disk/by-id/...\"]"});
    }
    if (config.cluster_directory.empty()) config.cluster_directory = config.state + "/cluster";
    return config;
}

}  // namespace braid
