#include "sim/scenario_sequence.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/assert.h"

namespace braid::sim {
namespace {

constexpr std::size_t kFixedWords = 3;  // who, what, whom: "a > b", "a reads X/d0"
constexpr std::size_t kColumn = 56;

bool same(const std::string& pattern, const std::string& word) { return pattern == "*" || pattern == word; }

std::string row(std::string left, const std::string& right) {
    left.resize(std::max(left.size(), kColumn), ' ');
    return left + "  " + right + '\n';
}

}  // namespace

std::vector<std::string> split_words(std::string_view text) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (end != at) words.emplace_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

bool fits(const std::vector<std::string>& pattern, const std::vector<std::string>& line) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (i >= kFixedWords) {
            while (at < line.size() && !same(pattern[i], line[at])) ++at;
        }
        if (at >= line.size() || !same(pattern[i], line[at])) return false;
        ++at;
    }
    return true;
}

bool fits_exactly(const std::vector<std::string>& pattern, const std::vector<std::string>& line) {
    if (!fits(pattern, line)) return false;
    return std::ranges::all_of(line, [&](const std::string& word) {
        return !word.starts_with('+') || std::ranges::find(pattern, word) != pattern.end();
    });
}

void Sequence::ended(std::vector<std::size_t> ends) {
    Part& part = parts_.back();
    if (part.group) {
        part.ends.insert(part.ends.end(), ends.begin(), ends.end());
    } else if (!ends.empty()) {
        part.before = std::move(ends);
    }
}

void Sequence::add(std::string pattern, std::uint32_t source) {
    lines_.push_back({split_words(pattern), std::move(pattern), source, parts_.back().before});
    ended({lines_.size() - 1});
}

void Sequence::open() {
    const Part& outer = parts_.back();
    parts_.push_back({!outer.group, outer.before, {}});
}

void Sequence::close() {
    ASSERT(parts_.size() > 1);
    const Part part = std::move(parts_.back());
    parts_.pop_back();
    // A sequence in which nothing stood ends where it began: nothing comes after it in particular.
    ended(part.group ? part.ends : part.before);
}

std::string Sequence::compare(const std::vector<std::string>& seen) const {
    std::vector<bool> matched(lines_.size());
    const auto enabled = [&](std::size_t i) {
        return !matched[i] && std::ranges::all_of(lines_[i].after, [&](std::size_t b) { return matched[b]; });
    };
    const auto next = [&](const std::string& text) -> std::optional<std::size_t> {
        const std::vector<std::string> words = split_words(text);
        for (std::size_t i = 0; i < lines_.size(); ++i) {
            if (enabled(i) && fits_exactly(lines_[i].words, words)) return i;
        }
        return std::nullopt;
    };
    std::string table = row("   expected", "seen");
    const auto expected = [&](std::size_t i) {
        return std::to_string(lines_[i].source) + ": " + lines_[i].text;
    };
    std::size_t at = 0;
    for (; at < seen.size(); ++at) {
        const auto match = next(seen[at]);
        if (!match) break;
        matched[*match] = true;
        table += row("   " + expected(*match), seen[at]);
    }
    if (at == seen.size() && std::ranges::find(matched, false) == matched.end()) return {};
    // The first difference: all that could have come, beside what came.
    bool first = true;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
        if (!enabled(i)) continue;
        const std::string came = at < seen.size() ? seen[at] : "(nothing more)";
        table += row((first ? ">> " : "or ") + expected(i), first ? came : "");
        first = false;
    }
    if (first) table += row(">> (nothing more)", seen[at]);
    for (++at; at < seen.size(); ++at) table += row("", seen[at]);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
        if (!matched[i] && !enabled(i)) table += row("   " + expected(i), "");
    }
    return table;
}

}  // namespace braid::sim
