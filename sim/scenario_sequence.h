// Which lines a trace must consist of, and in which order: a sequence whose items are lines or groups; the
// items of a group come in any order, each of them whole again a line or a sequence.
//
// A line fits a pattern if the pattern's words occur in it in their order, the first three in the first three
// places; "*" fits any word. Words of a line that begin with "+" say what is special about it: where
// exactness is wanted (fits_exactly) the pattern has to name all of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace braid::sim {

std::vector<std::string> split_words(std::string_view text);
bool fits(const std::vector<std::string>& pattern, const std::vector<std::string>& line);
bool fits_exactly(const std::vector<std::string>& pattern, const std::vector<std::string>& line);

class Sequence {
public:
    /// A line at the end of the part that is open; `source` is its line in the file.
    void add(std::string pattern, std::uint32_t source);
    /// What is added until close() stands in a group, or, inside a group, in a sequence.
    void open();
    void close();

    /// Empty, or a table that shows `seen` beside this, the first difference marked.
    std::string compare(const std::vector<std::string>& seen) const;
    std::size_t size() const { return lines_.size(); }

private:
    struct Line {
        std::vector<std::string> words;
        std::string text;
        std::uint32_t source = 0;
        std::vector<std::size_t> after;  ///< lines that must have come before
    };
    /// A part that is open: what has ended inside it, and what it must come after.
    struct Part {
        bool group = false;
        std::vector<std::size_t> before;  ///< ends of what precedes the next item
        std::vector<std::size_t> ends;    ///< group: of all its items so far
    };
    void ended(std::vector<std::size_t> ends);

    std::vector<Line> lines_;
    std::vector<Part> parts_{Part{}};
};

}  // namespace braid::sim
