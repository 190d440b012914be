#include "sim/scenario_steps.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ranges>

#include "icl/frame.h"
#include "sim/scenario_trace.h"

namespace braid::sim {
namespace {

constexpr std::array kForms = {
    "A writes SIZE at AT",
    "A writes SIZE at AT fua",
    "A reads SIZE at AT",
    "A reads SIZE at AT = NAME",
    "A sees hole SIZE at AT",
    "A sees data SIZE at AT",
    "A zeroes SIZE at AT",
    "A trims extent of AT",
    "A flushes",
    "await NAME",
    "NAME waits",
    "crash CS",
    "start CS",
    "stop CS",
    "pause CS",
    "resume CS",
    "C loses its disks",
    "C has its disks again",
    "C loses disk DISK",
    "power cut",
    "cut C C",
    "cut C > C",
    "heal",
    "reset C C",
    "A speaks late",
    "A is heard again",
    "disk DISK dies",
    "disks DISK DISK die",
    "disk DISK returns",
    "disk DISK is remembered",
    "disk DISK returns as remembered",
    "disk DISK refuses writes",
    "disk DISK breaks N of 1000 commands",
    "disk DISK takes N times as long",
    "disk DISK loses N writes",
    "disk DISK misdirects N writes",
    "spoil STRIP",
    "rot STRIP",
    "orphans WORD",
    "hold LINE",
    "release LINE",
    "release",
    "until calm",
    "until view CS",
    "until rebuilt",
    "until reshaped",
    "until N scrubbed",
    "until LINE",
    "run T",
    "C declares disk DISK failed",
    "C removes disk DISK",
    "C adds disk DISK",
    "C replaces disk DISK by DISK",
    "C takes disk DISK back",
    "C expands",
    "C wants width N",
    "C wants level WORD",
    "C closes port C",
    "C opens ports",
    "C opens port C",
    "C sets min hold T",
    "C sets lock order WORD",
    "C sets prefetch N",
    "C sets replication WORD",
    "C sets few partners WORD",
    "C sets partners of C CS",
    "C sets partners of C to WORD",
    "C begins a scrub",
    "C pauses the scrub",
    "C resumes the scrub",
    "C cancels the scrub",
    "C fences C",
    "C verifies",
    "expect view CS",
    "expect N WORD",
    "expect C has N copies",
    "expect C has partners CS",
    "expect C sent N messages in N packets",
    "expect A holds AT WORD",
    "expect A does not hold AT",
    "expect condition WORD",
    "expect no condition WORD",
    "expect C shows condition WORD",
    "expect no C",
    "expect parity",
};
static_assert(kForms.size() == static_cast<std::size_t>(Verb::expect_parity) + 1);

constexpr std::array<std::string_view, 12> kCapitals = {"A",  "C",    "CS",   "SIZE", "T",    "N",
                                                        "AT", "DISK", "NAME", "LINE", "WORD", "STRIP"};

bool is_place(std::string_view word, const Scenario& scenario) {
    const std::size_t plus = word.find('+');
    const auto known = [&](const PlaceSpec& place) { return place.name == word.substr(0, plus); };
    if (!std::ranges::any_of(scenario.places, known)) return false;
    return plus == std::string_view::npos || parse_size(word.substr(plus + 1));
}

/// X/d0, X/P: a strip of a stripe.
bool is_strip(std::string_view word, const Scenario& scenario) {
    const std::size_t slash = word.find('/');
    return slash != std::string_view::npos && is_place(word.substr(0, slash), scenario) &&
           role_of_name(word.substr(slash + 1, word.find('+', slash) - slash - 1),
                        geometry_of(scenario.shape));
}

bool is_controller(std::string_view word, const Scenario& scenario) {
    return word.size() == 1 && word[0] >= 'a' && controller_of(word) < scenario.shape.all();
}

bool is_number(std::string_view word) {
    return !word.empty() && std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
}

/// In the trace's lines also of a further stripe of a unit: X#1/d0.
bool is_strip_of_unit(std::string_view word, const Scenario& scenario) {
    const std::size_t mark = word.find('#'), slash = word.find('/');
    if (mark == std::string_view::npos || slash == std::string_view::npos || slash < mark)
        return is_strip(word, scenario);
    return is_number(word.substr(mark + 1, slash - mark - 1)) &&
           is_strip(std::string(word.substr(0, mark)) + std::string(word.substr(slash)), scenario);
}

/// True if `word` may stand for the capitals.
bool stands_for(std::string_view capitals, std::string_view word, const Scenario& scenario) {
    if (capitals == "A") return is_amf(word, scenario.shape);
    if (capitals == "C" || capitals == "CS") return is_controller(word, scenario);
    if (capitals == "SIZE") {
        const auto size = parse_size(word);
        return size && *size % kSector == 0 && *size != 0;
    }
    if (capitals == "T") return parse_time(word).has_value();
    if (capitals == "N") return is_number(word);
    if (capitals == "AT") return is_place(word, scenario);
    if (capitals == "STRIP") return is_strip(word, scenario);
    if (capitals == "DISK") {
        if (!is_number(word)) return is_strip(word, scenario);
        return word.size() <= 2 &&
               std::stoul(std::string(word)) < scenario.shape.disks + scenario.shape.extra_disks;
    }
    return true;
}

struct Fit {
    std::size_t words = 0;  ///< that fit, from the left
    std::size_t score = 0;  ///< how likely this form was meant
    std::string wrong;      ///< empty: all do
    std::vector<std::string> arguments;
};

Fit fit(std::string_view form, const std::vector<std::string>& words, const Scenario& scenario) {
    Fit out;
    const std::vector<std::string> parts = split_words(form);
    for (const std::string& part : parts) {
        const bool capital = std::ranges::find(kCapitals, part) != kCapitals.end();
        if (part == "LINE") {
            const std::vector<std::string> line(words.begin() + static_cast<std::ptrdiff_t>(out.words),
                                                words.end());
            out.wrong = check_line(line, scenario);
            out.arguments = line;
            if (out.wrong.empty()) out.words = words.size();
            if (line.size() >= 3) ++out.score;  // then nothing else was meant
            return out;
        }
        if (out.words == words.size()) {
            out.wrong = "something is missing at its end";
            return out;
        }
        do {
            const std::string& word = words[out.words];
            const bool good = capital ? stands_for(part, word, scenario) : part == word;
            if (!good) {
                out.wrong = "'" + word + "' is " + (capital ? "no " : "not ") + part;
                return out;
            }
            if (capital) out.arguments.push_back(word);
            ++out.words;
            out.score += capital ? 1 : 2;
        } while (part == "CS" && out.words < words.size());
    }
    if (out.words != words.size()) out.wrong = "'" + words[out.words] + "' is too much";
    return out;
}

std::optional<Errc> parse_code(std::string_view text) {
    for (unsigned code = 0; code <= static_cast<unsigned>(Errc::cancelled); ++code) {
        if (to_string(static_cast<Errc>(code)) == text) return static_cast<Errc>(code);
    }
    return std::nullopt;
}

}  // namespace

bool is_amf(std::string_view word, const Shape& shape) {
    const bool plain = word.size() == 1;
    const bool numbered = word.size() == 3 && word[1] == '/' && word[2] >= '1';
    if ((!plain && !numbered) || word[0] < 'a' || controller_of(word) >= shape.all()) return false;
    return plain || (controller_of(word) < shape.controllers && index_of(word) < shape.sharing.amfs);
}

Verb verb_of(const Step& step) { return static_cast<Verb>(step.form); }

std::optional<std::uint64_t> parse_size(std::string_view text) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (error != std::errc{} || number > kVolumeSize) return std::nullopt;
    if (unit.empty()) return number;
    if (unit == "K") return number << 10;
    if (unit == "M") return number << 20;
    return std::nullopt;
}

std::optional<Nanos> parse_time(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (error != std::errc{} || number < 0 || number > 1'000'000) return std::nullopt;
    if (unit == "us") return Nanos(number * 1'000);
    if (unit == "ms") return Nanos(number * 1'000'000);
    if (unit == "s") return Nanos(number * 1'000'000'000);
    return std::nullopt;
}

std::string check_line(const std::vector<std::string>& words, const Scenario& scenario) {
    const auto controller = [&](const std::string& word) {
        return word == "*" || is_amf(word, scenario.shape);
    };
    const auto no_controller = [](const std::string& word) { return "'" + word + "' is no controller"; };
    if (words.size() < 3) return "a line has three words at least: 'a > b lock_request', 'a writes X/d0'";
    if (!controller(words[0])) return no_controller(words[0]);
    if (words[1] == ">" || words[1] == "<") {
        if (!controller(words[2])) return no_controller(words[2]);
        if (words.size() > 3 && words[3] != "*" && !is_message_name(words[3])) {
            return "'" + words[3] + "' is no message";
        }
        return {};
    }
    constexpr std::array<std::string_view, 4> kDone = {"reads", "writes", "read", "wrote"};
    if (std::ranges::find(kDone, words[1]) == kDone.end()) {
        return "'" + words[1] + "' is none of > < reads read writes wrote";
    }
    if (words[2] == "*" || words[2] == "tables" || is_strip_of_unit(words[2], scenario)) return {};
    return "'" + words[2] + "' is no strip: a place, a slash, and d0, d1, ... or P, Q, R";
}

std::expected<Step, std::string> parse_step(std::string_view text, const Scenario& scenario) {
    Step step;
    step.text = text;
    std::vector<std::string> words = split_words(text);
    if (words.empty()) return std::unexpected("a step without words");
    if (words.front().ends_with(':')) {
        step.label = words.front().substr(0, words.front().size() - 1);
        words.erase(words.begin());
    }
    if (const auto fails = std::ranges::find(words, "fails"); fails != words.end()) {
        step.fails = true;
        if (words.end() - fails > 2) return std::unexpected("after 'fails' stands the error, or nothing");
        if (words.end() - fails == 2) {
            step.code = parse_code(words.back());
            if (!step.code) return std::unexpected("'" + words.back() + "' is no error");
        }
        words.erase(fails, words.end());
    }
    Fit best;
    std::string closest;
    for (std::size_t form = 0; form < kForms.size(); ++form) {
        Fit now = fit(kForms[form], words, scenario);
        if (now.wrong.empty()) {
            step.form = form;
            step.arguments = std::move(now.arguments);
            const bool operation = is_operation(verb_of(step));
            if (!operation && !step.label.empty()) return std::unexpected("only operations have a name");
            if (!operation && verb_of(step) != Verb::await && step.fails)
                return std::unexpected("only operations fail");
            return step;
        }
        if (closest.empty() || now.score > best.score) {
            best = std::move(now);
            closest = kForms[form];
        }
    }
    if (best.score == 0) return std::unexpected("no step begins like '" + std::string(text) + "'");
    return std::unexpected("'" + std::string(text) + "' does not fit '" + closest + "': " + best.wrong);
}

}  // namespace braid::sim
