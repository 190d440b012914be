#include "sim/marks.h"

#include <cstdio>

#include "base/assert.h"

namespace braid::sim {
namespace {

struct Entry {
    Mark mark;
    std::string_view name;
    std::string_view words;  ///< of a fault: % stands for its numbers, one after the other
};

constexpr std::array<Entry, kMarks> kTable{{
    {Mark::crash, "crash", "pid % dies"},
    {Mark::crash_of_recoverer, "crash_of_recoverer", "pid % dies, which finishes writes of the dead"},
    {Mark::pause, "pause", "pid % stands still for % us"},
    {Mark::long_pause, "long_pause", "pid % stands still for % us and is killed for it"},
    {Mark::cut, "cut", "the link of pids % and % is cut"},
    {Mark::reset, "reset", "the connection of pids % and % breaks"},
    {Mark::slow_link, "slow_link", "the links of pid % are slow by up to % us"},
    {Mark::spike, "spike", "all links are slow by up to % us"},
    {Mark::paths, "paths", "pid % does not reach the members for % us"},
    {Mark::all_die, "all_die", "all controllers die"},
    {Mark::power_cut, "power_cut", "power is lost"},
    {Mark::death_in_round, "death_in_round", "pid % dies and stays away, number % of the round"},
    {Mark::slow_disk, "slow_disk", "member % is slow, % times"},
    {Mark::bad_blocks, "bad_blocks", "% blocks of member % become unreadable"},
    {Mark::disk_gone, "disk_gone", "member % is gone"},
    {Mark::disk_refuses_writes, "disk_refuses_writes", "member % refuses writes"},
    {Mark::disk_fails_some, "disk_fails_some", "member % fails % of 1000 commands"},
    {Mark::disk_declared, "disk_declared", "an operator declares member % failed"},
}};

constexpr bool in_order() {
    for (std::size_t i = 0; i < kTable.size(); ++i) {
        if (kTable[i].mark != static_cast<Mark>(i)) return false;
    }
    return true;
}
static_assert(in_order());

const Entry& entry(Mark mark) { return kTable[static_cast<std::size_t>(mark)]; }

}  // namespace

std::string_view name(Mark mark) { return entry(mark).name; }

std::string in_words(const FaultRecord& fault) {
    std::array<char, 64> start;
    std::snprintf(start.data(), start.size(), "%u at %.4f s: ", fault.number,
                  static_cast<double>(fault.at.count()) / 1e9);
    std::string out = start.data();
    const std::array<std::uint64_t, 2> numbers = {fault.a, fault.b};
    std::size_t next = 0;
    for (const char letter : entry(fault.kind).words) {
        if (letter == '%') {
            out += std::to_string(numbers[next++]);
        } else {
            out += letter;
        }
    }
    return out;
}

}  // namespace braid::sim
