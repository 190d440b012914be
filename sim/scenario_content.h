// What the hosts of a scenario may read: every sector of the virtual disk as the operations left it. A write
// without an answer, or with an error for one, may be there or not, once: a later write that was answered
// takes it away for good, and so does a read that shows something else.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"

namespace braid::sim {

class Content {
public:
    using Operation = std::size_t;

    /// Of whole sectors. Zeros are written if `zeros`.
    Operation write_begins(std::uint64_t offset, std::uint64_t length, bool zeros);
    /// `durable`: power cannot take it any more.
    void write_done(Operation write, bool durable);
    /// It has no answer any more, or an error.
    void write_lost(Operation write);
    /// Whoever answered it may have taken it along, unless somebody has read it or it is durable.
    void answer_lost(Operation write);
    /// What the write puts at its place.
    Buffer bytes_of(Operation write) const;

    Operation read_begins(std::uint64_t offset, std::uint64_t length);
    /// Empty, or what is wrong with what was read.
    std::string read_done(Operation read, std::span<const std::byte> seen);

    Operation flush_begins() { return begin(0, 0, false); }
    void flush_done(Operation flush);
    void power_lost();

private:
    struct Op {
        std::uint64_t offset = 0, length = 0;
        bool zeros = false;
        bool open = true;
        bool seen = false;                   ///< some of it was read
        std::uint64_t begun = 0, ended = 0;  ///< places in the order of events; ended 0: not yet
        std::map<std::uint64_t, std::set<Operation>> allowed;  ///< of a read, by sector
    };
    struct Sector {
        Operation certain = 0;       ///< what is there, if none of the others is
        std::uint64_t since = 0;     ///< when that became certain
        Operation durable = 0;       ///< what stays when power is lost
        std::set<Operation> maybe;   ///< writes that may be there instead
        std::set<Operation> recent;  ///< writes since the durable one
    };
    Operation begin(std::uint64_t offset, std::uint64_t length, bool zeros);
    void put(Operation write, std::uint64_t sector, std::byte* into) const;
    template <class F>
    void for_each_sector(const Op& op, F f);

    std::vector<Op> ops_{Op{.zeros = true, .open = false}};  ///< 0: the zeros before everything
    std::map<std::uint64_t, Sector> sectors_;
    std::uint64_t clock_ = 1;
};

}  // namespace braid::sim
