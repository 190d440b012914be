// Reading a document of the control API, and tables of what was read, for the files that make text.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace braid::cli {

using Json = nlohmann::json;

inline Json parse(std::string_view document) { return Json::parse(document, nullptr, false); }

/// Field access that survives documents of another version.
inline std::string str(const Json& j, const char* key, const char* otherwise = "-") {
    const auto at = j.is_object() ? j.find(key) : j.end();
    if (at == j.end() || at->is_null()) return otherwise;
    return at->is_string() ? at->get<std::string>() : at->dump();
}
inline std::uint64_t num(const Json& j, const char* key) {
    const auto at = j.is_object() ? j.find(key) : j.end();
    return at != j.end() && at->is_number() ? at->get<std::uint64_t>() : 0;
}
inline std::vector<Json> list(const Json& j, const char* key) {
    const auto at = j.is_object() ? j.find(key) : j.end();
    return at != j.end() && at->is_array() ? at->get<std::vector<Json>>() : std::vector<Json>{};
}
inline double real(const Json& j, const char* key) {
    const auto at = j.is_object() ? j.find(key) : j.end();
    return at != j.end() && at->is_number() ? at->get<double>() : 0;
}
/// The same, sorted by a field: the order in which controllers joined tells people nothing.
inline std::vector<Json> sorted_list(const Json& j, const char* key, const char* field) {
    auto all = list(j, key);
    std::ranges::sort(all, {}, [field](const Json& item) { return str(item, field) + str(item, "volume"); });
    return all;
}
inline std::string words(const Json& j, const char* key) {
    std::vector<std::string> all;
    for (const Json& word : list(j, key))
        all.push_back(word.is_string() ? word.get<std::string>() : word.dump());
    std::ranges::sort(all);
    return all.empty() ? "-" : fmt::format("{}", fmt::join(all, ","));
}
/// Columns as wide as their widest cell, two spaces between.
inline std::string table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string out;
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + "\n";
    }
    return out;
}

}  // namespace braid::cli
