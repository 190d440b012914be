// Promise 1 from outside: every sector of the virtual disk is a linearizable register, whichever controllers
// the hosts used. All written values are unique, so a history is judged exactly and fast (Gibbons and Korach,
// "Testing shared memories", 1997): per register, group the operations by value; a value's zone runs from the
// first completion to the last invocation of its operations. The history is linearizable iff no read precedes
// its write, no two forward zones overlap, and no backward zone lies inside a forward one. A write without an
// answer may have happened at any time later, or never.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace braid::sim {

using Instant = std::int64_t;  ///< virtual nanoseconds
constexpr Instant kNever = std::numeric_limits<Instant>::max();

struct Sectors {
    std::uint64_t first = 0, count = 1;
    Sectors(std::uint64_t sector, std::uint64_t n = 1) : first(sector), count(n) {}
};

/// Told of everything when it happens: of a write when it is invoked, of a read when it has ended. Neighbours
/// that have lived through the same are one register until something happens to one of them alone.
class OneDisk {
public:
    /// A write of `value` (not 0, not used before on these registers) was invoked. Without write_done() it is
    /// uncertain.
    void write_begins(Sectors sectors, std::uint64_t value, Instant invoked);
    /// `durable`: power cannot take it any more.
    void write_done(Sectors sectors, std::uint64_t value, Instant completed, bool durable = false);
    /// Until its answer it may take effect more than once: while it is open it may come and go.
    void may_repeat(Sectors sectors, std::uint64_t value);
    /// A finished read; 0 is the content that nobody wrote.
    void read(Sectors sectors, std::uint64_t value, Instant invoked, Instant completed);

    /// A flush has an answer: what was done when it was invoked is durable.
    void flushed(Instant invoked) { last_flush_ = std::max(last_flush_, invoked); }
    /// Who had answered this write may have taken it along: it was never there, or it is as it was answered.
    void perhaps_lost(Sectors sectors, std::uint64_t value);
    /// It has not.
    void not_lost(Sectors sectors, std::uint64_t value);
    /// Some of it was read.
    bool seen(Sectors sectors, std::uint64_t value);
    /// Sectors of it of which something that was written before it was invoked was read after its answer.
    std::uint64_t gone(Sectors sectors, std::uint64_t value);
    /// Writes that were not durable may be gone, each sector for itself. What a sector then holds does not
    /// change by itself any more.
    void power_lost(Instant now);

    /// Empty if all registers are linearizable, else what is wrong with the first that is not.
    std::string judge() const;
    std::size_t operations() const { return operations_; }

private:
    struct Value {
        std::uint64_t value = 0;
        Instant write_invoked = kNever;
        Instant first_completion = kNever;
        Instant last_invocation = std::numeric_limits<Instant>::min();
        Instant first_read_completion = kNever;
        Instant write_completion = kNever;
        // Of reads that were invoked before the write had its answer.
        Instant open_completion = kNever;
        Instant open_invocation = std::numeric_limits<Instant>::min();
        std::uint32_t reads = 0;
        bool repeats = false;
        bool written = false;   ///< 0 is, before all time
        bool survivor = false;  ///< may have been there when power came back
        bool durable = false;
        bool perhaps_lost = false;
    };
    /// Nobody has seen it, and nobody need.
    static bool lost(const Value& v) { return v.perhaps_lost && v.reads == 0; }
    /// Ends and beginnings that bind the value.
    static Instant first_completion(const Value& v) {
        return v.repeats ? v.first_completion : std::min(v.first_completion, v.open_completion);
    }
    static Instant last_invocation(const Value& v) {
        return v.repeats ? v.last_invocation : std::max(v.last_invocation, v.open_invocation);
    }
    using Register = std::vector<Value>;  ///< by value: new ones come at the end
    static constexpr std::size_t kPage = 256;
    struct Page {
        std::array<Register, kPage> registers;
        /// Where a register begins that speaks for all sectors up to the next one.
        std::array<std::uint64_t, kPage / 64> begins = {1};

        void split(std::size_t at);
        std::size_t next(std::size_t at) const;
    };
    /// Calls `each(register)`, or `each(register, sectors)`, for those of exactly these sectors.
    template <class Each>
    void for_each(Sectors sectors, const Each& each);
    Page& page(std::uint64_t number);
    static Value& value_of(Register& values, std::uint64_t value);
    static std::string judge_register(const Register& values);

    std::map<std::uint64_t, std::unique_ptr<Page>> pages_;
    std::uint64_t last_number_ = ~0ull;
    Page* last_page_ = nullptr;
    Instant last_flush_ = std::numeric_limits<Instant>::min();
    Instant power_back_ = std::numeric_limits<Instant>::min();
    std::string broken_;  ///< of the time before power was lost
    std::size_t operations_ = 0;
};

}  // namespace braid::sim
